//! The manifest says what the programs need, and may be deployed in a foreign cluster.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use hanse_cluster::{KindPolicy, Manifest, Object};

fn manifest() -> Manifest {
    let text = include_str!("../catalogue/object-detection/manifest.yaml");
    Manifest::parse(text, &KindPolicy::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn names(manifest: &Manifest) -> BTreeSet<String> {
    manifest
        .objects()
        .iter()
        .map(|object| object.reference().to_string())
        .collect()
}

#[test]
fn it_has_the_names_that_federations_know() {
    let manifest = manifest();
    let images = ["object-detector", "receiver", "sampler-sender"].map(|name| format!("hanse.example/{name}:0.1"));
    assert_eq!(manifest.images().into_iter().collect::<Vec<_>>(), images);
    let deployments: Vec<_> = manifest
        .deployments()
        .filter_map(|d| d.metadata.name.as_deref())
        .collect();
    let services: BTreeSet<_> = manifest.services().filter_map(|s| s.metadata.name.as_deref()).collect();
    assert_eq!(services, deployments.iter().copied().collect());
    let to = BTreeMap::from([("destination_ip".to_owned(), "10.0.0.9".to_owned())]);
    for map in ["sampler-sender-config-map", "object-detector-config-map"] {
        let changed = manifest
            .override_config(&BTreeMap::from([(map.to_owned(), to.clone())]))
            .unwrap();
        assert!(changed.objects().iter().any(|object| matches!(
            object, Object::ConfigMap(map) if map.data.as_ref().is_some_and(|data| data["destination_ip"] == "10.0.0.9")
        )));
    }
}

#[test]
fn the_detector_alone_is_a_component() {
    let component = manifest().only(&["object-detector"]).unwrap();
    assert_eq!(component.objects().len(), 3, "{:?}", names(&component));
    let rest = manifest().without(&["object-detector"]).unwrap();
    assert_eq!(
        rest.objects().len(),
        manifest().objects().len() - 3,
        "{:?}",
        names(&rest)
    );
}

#[test]
fn ports_and_probes_agree() {
    let manifest = manifest();
    for deployment in manifest.deployments() {
        let container = &deployment.spec.template.spec.as_ref().unwrap().containers[0];
        let ports: BTreeMap<_, _> = container
            .ports
            .iter()
            .flatten()
            .map(|port| (port.name.clone().unwrap(), port.container_port))
            .collect();
        assert!(container.readiness_probe.is_some() && ports.contains_key("http"));
        let service = manifest
            .services()
            .find(|s| s.metadata.name == deployment.metadata.name)
            .unwrap();
        for port in service.spec.as_ref().unwrap().ports.iter().flatten() {
            assert_eq!(
                ports.get(port.name.as_ref().unwrap()),
                Some(&port.port),
                "the port outside is the one inside"
            );
        }
    }
}
