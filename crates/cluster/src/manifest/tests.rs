#![allow(clippy::unwrap_used)]
//! What a manifest promises: read exactly, refused clearly, adjusted without surprise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::owner::Owner;

/// Two components that share one ConfigMap, each with its own Service.
const VIDEO: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: object-detector}
spec:
  type: LoadBalancer
  selector: {app: object-detector}
  ports: [{name: frames, port: 5559, protocol: UDP}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: object-detector, labels: {app: object-detector}}
spec:
  replicas: 2
  selector: {matchLabels: {app: object-detector}}
  template:
    metadata: {labels: {app: object-detector}}
    spec:
      containers:
        - name: detector
          image: object-detector:1
          envFrom: [{configMapRef: {name: shared}}]
          env: [{name: MODEL, valueFrom: {configMapKeyRef: {name: detector-only, key: model}}}]
          resources: {requests: {cpu: 250m, memory: 64Mi}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {destination_ip: "127.0.0.1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: detector-only}
data: {model: small}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: of-nobody}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sampler-sender}
spec:
  selector: {matchLabels: {app: sampler-sender}}
  template:
    metadata: {labels: {app: sampler-sender}}
    spec:
      containers:
        - name: sender
          image: sampler-sender:1
          envFrom: [{configMapRef: {name: shared}}]
          resources: {limits: {cpu: "1", memory: 100M}}
"#;

pub(super) fn video() -> Manifest {
    Manifest::parse(VIDEO, &KindPolicy::default()).unwrap()
}

fn names(manifest: &Manifest) -> Vec<String> {
    manifest.objects().iter().map(|o| o.reference().to_string()).collect()
}

fn refused(yaml: &str) -> String {
    Manifest::parse(yaml, &KindPolicy::default()).unwrap_err().to_string()
}

/// A Deployment whose pod spec gets one more line.
fn deployment_with(pod_line: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  \
         template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n      {pod_line}\n      containers: [{{name: c, image: i}}]\n"
    )
}

fn container_with(fields: &str) -> String {
    deployment_with("restartPolicy: Always").replace("{name: c, image: i}", &format!("{{name: c, image: i, {fields}}}"))
}

#[test]
fn objects_come_in_the_order_in_which_they_are_applied() {
    assert_eq!(
        names(&video()),
        [
            "ConfigMap \"detector-only\"",
            "ConfigMap \"of-nobody\"",
            "ConfigMap \"shared\"",
            "Service \"object-detector\"",
            "Deployment \"object-detector\"",
            "Deployment \"sampler-sender\"",
        ]
    );
}

#[test]
fn a_manifest_says_what_it_runs_and_what_that_costs() {
    let manifest = video();
    assert_eq!(
        manifest.images().into_iter().collect::<Vec<_>>(),
        ["object-detector:1", "sampler-sender:1"]
    );
    // 2 × (250m, 64Mi) + 1 × (1 core, 100 MB by its limits); 128 MiB + 95.4 MiB rounded up
    let wanted = ResourceTotals {
        cpu_millicores: 1500,
        memory_mebibytes: 224,
        pods: 3,
    };
    assert_eq!(manifest.resource_totals(), wanted);
}

#[test]
fn the_hash_is_that_of_the_bytes_and_survives_adjustments() {
    let manifest = video();
    assert_eq!(manifest.hash(), ManifestHash::of(VIDEO));
    assert_eq!(
        manifest.with_replicas("object-detector", 7).unwrap().hash(),
        manifest.hash()
    );
    // printf 'abc' | sha256sum
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(ManifestHash::of("abc").to_string(), abc);
}

#[test]
fn replicas_and_configuration_can_be_adjusted_and_nothing_else_changes() {
    let config = BTreeMap::from([(
        "shared".to_owned(),
        BTreeMap::from([("destination_ip".to_owned(), "10.0.0.9".to_owned())]),
    )]);
    let adjusted = video()
        .with_replicas("object-detector", 4)
        .unwrap()
        .override_config(&config)
        .unwrap();
    assert_eq!(adjusted.resource_totals().pods, 5);
    let Some(Object::ConfigMap(shared)) = adjusted.objects().iter().find(|o| o.name() == "shared") else {
        panic!()
    };
    assert_eq!(shared.data.as_ref().unwrap()["destination_ip"], "10.0.0.9");
    assert_eq!(names(&adjusted), names(&video()));
}

#[test]
fn adjusting_what_is_not_there_names_what_is() {
    let error = video().with_replicas("object-detektor", 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "the manifest has no Deployment \"object-detektor\" (it has: object-detector, sampler-sender): correct the name"
    );
    let config = BTreeMap::from([("nope".to_owned(), BTreeMap::new())]);
    assert!(
        video()
            .override_config(&config)
            .unwrap_err()
            .to_string()
            .contains("ConfigMap \"nope\"")
    );
}

#[test]
fn one_component_comes_with_what_it_needs() {
    let component = video().only(&["object-detector"]).unwrap();
    let wanted = [
        "ConfigMap \"detector-only\"",
        "ConfigMap \"shared\"",
        "Service \"object-detector\"",
        "Deployment \"object-detector\"",
    ];
    assert_eq!(names(&component), wanted);
}

#[test]
fn the_rest_keeps_what_it_shares_with_the_component() {
    let rest = video().without(&["object-detector"]).unwrap();
    let wanted = [
        "ConfigMap \"of-nobody\"",
        "ConfigMap \"shared\"",
        "Deployment \"sampler-sender\"",
    ];
    assert_eq!(names(&rest), wanted);
    assert!(video().without(&["nobody"]).is_err());
    assert!(video().only(&["nobody"]).is_err());
}

#[test]
fn deployed_objects_carry_their_owner_and_pods_get_no_token() {
    let owner = Owner::new("agreement-1").unwrap();
    let manifest = video();
    let deployment = manifest
        .objects()
        .iter()
        .find(|o| o.kind() == Kind::Deployment)
        .unwrap();
    let sent = serde_json::to_value(deployment.for_owner("ns", &owner, "ff")).unwrap();
    assert_eq!(sent["metadata"]["namespace"], "ns");
    for labels in [
        &sent["metadata"]["labels"],
        &sent["spec"]["template"]["metadata"]["labels"],
    ] {
        assert_eq!(labels["hanse.dev/agreement"], "agreement-1");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "hanse");
        assert_eq!(labels["app"], "object-detector");
    }
    assert_eq!(
        sent["spec"]["selector"],
        serde_json::json!({"matchLabels": {"app": "object-detector"}})
    );
    assert_eq!(sent["spec"]["template"]["spec"]["automountServiceAccountToken"], false);
    assert_eq!(sent["apiVersion"], "apps/v1");
    assert_eq!(sent["kind"], "Deployment");
}

#[test]
fn kinds_that_are_cluster_wide_or_grant_rights_are_refused_by_name() {
    for (api_version, kind) in [
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("v1", "Namespace"),
        ("v1", "Pod"),
        ("v1", "List"),
        ("apps/v1", "DaemonSet"),
        ("v1", "ServiceAccount"),
        ("apps/v1beta1", "Deployment"),
    ] {
        let error = refused(&format!(
            "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n"
        ));
        assert!(
            error.starts_with(&format!(
                "document 1 ({kind} \"x\"): this kind of {api_version} may not be deployed here"
            )),
            "{error}"
        );
    }
}

#[test]
fn an_account_passes_only_if_the_domain_allows_the_kind_and_the_manifest_brings_it() {
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: puller}\n---\n";
    let pods = deployment_with("serviceAccountName: puller");
    let policy = KindPolicy::default().allow(Kind::ServiceAccount);
    assert!(Manifest::parse(&format!("{account}{pods}"), &policy).is_ok());
    let error = Manifest::parse(&pods, &policy).unwrap_err().to_string();
    assert!(
        error.contains("service account \"puller\" is not part of the manifest"),
        "{error}"
    );
}

#[test]
fn pods_that_reach_for_the_node_are_refused_with_field_and_remedy() {
    for (yaml, field) in [
        (deployment_with("hostNetwork: true"), "hostNetwork"),
        (deployment_with("hostPID: true"), "hostPID"),
        (deployment_with("hostIPC: true"), "hostIPC"),
        (deployment_with("nodeName: n1"), "nodeName"),
        (deployment_with("priorityClassName: high"), "priorityClassName"),
        (deployment_with("runtimeClassName: kata"), "runtimeClassName"),
        (
            deployment_with("automountServiceAccountToken: true"),
            "automountServiceAccountToken",
        ),
        (deployment_with("serviceAccountName: admin"), "serviceAccountName"),
        (
            deployment_with("volumes: [{name: v, hostPath: {path: /}}]"),
            "volumes[0].source",
        ),
        (
            deployment_with("volumes: [{name: v, nfs: {server: s, path: /}}]"),
            "volumes[0].source",
        ),
        (
            deployment_with("volumes: [{name: v, csi: {driver: d}}]"),
            "volumes[0].source",
        ),
        (
            deployment_with("volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]"),
            "volumes[0].projected.sources",
        ),
        (
            deployment_with("securityContext: {sysctls: [{name: kernel.msgmax, value: \"1\"}]}"),
            "sysctls",
        ),
        (
            deployment_with("securityContext: {seccompProfile: {type: Unconfined}}"),
            "seccompProfile",
        ),
        (
            deployment_with("securityContext: {seLinuxOptions: {user: u}}"),
            "seLinuxOptions",
        ),
        (
            deployment_with("initContainers: [{name: i, image: x, securityContext: {privileged: true}}]"),
            "initContainers[0]",
        ),
        (
            container_with("securityContext: {privileged: true}"),
            "containers[0].securityContext.privileged",
        ),
        (container_with("securityContext: {procMount: Unmasked}"), "procMount"),
        (
            container_with("securityContext: {capabilities: {add: [SYS_ADMIN]}}"),
            "capabilities.add",
        ),
        (container_with("ports: [{containerPort: 80, hostPort: 80}]"), "hostPort"),
        (
            container_with("livenessProbe: {httpGet: {port: 80, host: 169.254.169.254}}"),
            "livenessProbe.host",
        ),
        (container_with("resources: {requests: {memory: lots}}"), "resources"),
        (
            container_with("lifecycle: {preStop: {httpGet: {port: 80, host: h}}}"),
            "lifecycle.host",
        ),
    ] {
        let error = refused(&yaml);
        assert!(error.starts_with("document 1 (Deployment \"d\"): "), "{error}");
        assert!(
            error.contains(field) && error.contains("is not permitted"),
            "{field}: {error}"
        );
    }
}

#[test]
fn harmless_pods_pass() {
    for yaml in [
        deployment_with(
            "volumes: [{name: v, emptyDir: {}}, {name: c, configMap: {name: x}}, {name: s, secret: {secretName: x}}]",
        ),
        deployment_with("securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}"),
        container_with("securityContext: {capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}"),
        container_with("readinessProbe: {tcpSocket: {port: 80}}, ports: [{containerPort: 80}]"),
    ] {
        Manifest::parse(&yaml, &KindPolicy::default()).unwrap();
    }
}

#[test]
fn services_and_secrets_that_reach_outside_are_refused() {
    let service = |spec: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {spec}\n");
    assert!(refused(&service("{externalIPs: [8.8.8.8], ports: [{port: 53}]}")).contains("spec.externalIPs"));
    assert!(refused(&service("{type: ExternalName, externalName: kubernetes.default.svc}")).contains("spec.type"));
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/service-account-token\n";
    assert!(refused(secret).contains("credentials of the cluster"));
}

#[test]
fn the_manifest_does_not_choose_the_place_or_the_end_of_an_object() {
    for (metadata, field) in [
        ("namespace: kube-system", "metadata.namespace"),
        ("finalizers: [a.example/b]", "metadata.finalizers"),
        ("ownerReferences: []", "metadata.ownerReferences"),
        ("uid: x", "metadata.uid"),
        ("resourceVersion: \"1\"", "metadata.resourceVersion"),
        ("labels: {hanse.dev/agreement: other}", "hanse.dev/agreement"),
        (
            "labels: {app.kubernetes.io/managed-by: Helm}",
            "app.kubernetes.io/managed-by",
        ),
    ] {
        let error = refused(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, {metadata}}}\n"
        ));
        assert!(error.contains(field) && error.contains("remove it"), "{error}");
    }
    assert!(refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n").contains("rename it"));
}

#[test]
fn mistakes_are_named_with_document_and_field() {
    let misspelt = deployment_with("restartPolicy: Always").replace("  selector", "  replica: 3\n  selector");
    assert_eq!(
        refused(&misspelt),
        "document 1 (Deployment \"d\"): unknown field spec.replica: correct its name or its indentation"
    );
    let number = container_with("command: [sleep, 10]");
    assert!(
        refused(&number).contains("spec.template.spec.containers[0].command[1]"),
        "{}",
        refused(&number)
    );
    let second = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: ConfigMap\nmetadata: {name: b}\n";
    assert_eq!(
        refused(second),
        "document 2 (ConfigMap \"b\"): apiVersion is missing or not a text: add it"
    );
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    assert!(refused(twice).starts_with("document 2 (ConfigMap \"a\"): an object of this kind and name"));
    assert_eq!(
        refused("- 1\n"),
        "document 1 is not a mapping: a Kubernetes object starts with apiVersion and kind"
    );
    assert!(refused("a: [").starts_with("document 1 is not acceptable YAML"));
    assert!(refused("a: 1\na: 2\n").contains("duplicate"));
    assert!(refused("").contains("holds no object"));
    assert!(refused("---\n---\n# nothing\n").contains("holds no object"));
}

#[test]
fn bounds_hold() {
    let limits = Limits {
        bytes: 2000,
        documents: 2,
        depth: 8,
        replicas: 3,
    };
    let policy = KindPolicy::default().with_limits(limits);
    let parse = |yaml: &str| Manifest::parse(yaml, &policy).unwrap_err();
    assert_eq!(
        parse(&"x".repeat(2001)),
        ManifestError::TooLarge {
            bytes: 2001,
            limit: 2000
        }
    );
    let many: String = (0..3)
        .map(|i| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{i}}}\n---\n"))
        .collect();
    assert_eq!(parse(&many), ManifestError::TooManyDocuments { limit: 2 });
    assert!(matches!(
        parse(&format!("{}{}", "[".repeat(50), "]".repeat(50))),
        ManifestError::NotYaml { .. }
    ));
    let replicas = deployment_with("restartPolicy: Always").replace("  selector", "  replicas: 4\n  selector");
    assert!(parse(&replicas).to_string().contains("between 0 and 3"));
    let negative = replicas.replace("replicas: 4", "replicas: -1");
    assert!(parse(&negative).to_string().contains("between 0 and 3"));
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(",")));
    }
    assert!(matches!(
        Manifest::parse(&bomb, &KindPolicy::default()).unwrap_err(),
        ManifestError::NotYaml { .. }
    ));
}

#[test]
fn an_exported_status_is_ignored() {
    let yaml = format!("{}status: {{replicas: 3}}\n", deployment_with("restartPolicy: Always"));
    Manifest::parse(&yaml, &KindPolicy::default()).unwrap();
}

proptest! {
    /// Whatever arrives, there is an answer.
    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Manifest::parse(&String::from_utf8_lossy(&bytes), &KindPolicy::default());
    }

    /// The same for text that is nearly right: a valid manifest with a piece cut out or replaced.
    #[test]
    fn parsing_never_panics_on_damaged_manifests(start in 0..VIDEO.len(), length in 0..80_usize, patch in "[ -~\n]{0,40}") {
        let end = (start + length).min(VIDEO.len());
        let _ = Manifest::parse(&format!("{}{patch}{}", &VIDEO[..start], &VIDEO[end..]), &KindPolicy::default());
    }

    /// What was accepted stays acceptable: the typed form, written out and read again, is the same manifest.
    #[test]
    fn what_is_applied_is_what_was_checked(replicas in 0..1000_u32, value in "[ -~]{0,40}") {
        let config = BTreeMap::from([("shared".to_owned(), BTreeMap::from([("destination_ip".to_owned(), value)]))]);
        let manifest = video().with_replicas("object-detector", replicas).unwrap().override_config(&config).unwrap();
        let written: Vec<String> = manifest.objects().iter().map(|o| serde_json::to_string(o).unwrap()).collect();
        let read = Manifest::parse(&written.join("\n---\n"), &KindPolicy::default()).unwrap();
        prop_assert_eq!(read.objects(), manifest.objects());
    }

    #[test]
    fn the_hash_depends_on_every_byte(text in "[ -~\n]{1,200}", at in any::<proptest::sample::Index>()) {
        let mut other = text.clone().into_bytes();
        let i = at.index(other.len());
        other[i] ^= 1;
        let other = String::from_utf8(other).unwrap();
        prop_assert_eq!(ManifestHash::of(&text), ManifestHash::of(&text));
        prop_assert_ne!(ManifestHash::of(&text), ManifestHash::of(&other));
    }
}
