//! ReplicaSets of a Deployment: which one belongs to the template, names, revisions. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
    core::v1::PodTemplateSpec,
};
use kube::{ResourceExt as _, api::ObjectMeta};

use super::{DESIRED_REPLICAS, HASH_LABEL, MAX_REPLICAS, REVISION, rolling::Wanted};
use crate::workload::control;

/// Annotations of the Deployment that are its own and not copied to its ReplicaSets.
const OWN_ANNOTATIONS: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// The hash of a template: ten characters that make a ReplicaSet's name and label.
///
/// Upstream hashes a Go-specific dump; the value is opaque there too. This is FNV-1a (32 bit) over the
/// canonical JSON, in the alphabet of upstream's names (no vowels, so no words).
pub(super) fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // Serialisation of a typed Kubernetes object has no failing part.
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    if collisions > 0 {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    let hash = bytes.iter().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash.to_string()
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}

/// The set whose template is the Deployment's; the oldest if there are several.
pub(super) fn current<'a>(sets: &'a [ReplicaSet], template: &PodTemplateSpec) -> Option<&'a ReplicaSet> {
    sets.iter().find(|set| {
        let stored = set.spec.template.clone().unwrap_or_default();
        without_hash(stored) == without_hash(template.clone())
    })
}

fn without_hash(mut template: PodTemplateSpec) -> PodTemplateSpec {
    let meta = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH_LABEL);
    }
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    template
}

pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotations()
        .get(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The revision that the current set has or gets: above all others.
pub(super) fn next_revision(sets: &[ReplicaSet], current: Option<&ReplicaSet>) -> i64 {
    let name = current.map(|set| set.name_any());
    let others = sets
        .iter()
        .filter(|set| Some(set.name_any()) != name)
        .map(revision)
        .max()
        .unwrap_or(0);
    current.map_or(others + 1, |set| revision(set).max(others + 1))
}

/// A new set for the Deployment's template.
pub(super) fn new_set(deployment: &Deployment, hash: &str, wanted: Wanted, replicas: i32, revision: i64) -> ReplicaSet {
    let spec = deployment.spec.clone();
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.to_owned());
    let mut annotations: BTreeMap<String, String> = deployment
        .annotations()
        .iter()
        .filter(|(name, _)| !OWN_ANNOTATIONS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    annotations.extend(scale_annotations(wanted));
    annotations.insert(REVISION.to_owned(), revision.to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![control::controlled_by(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}

/// What a set notes of the Deployment when it is scaled.
pub(super) fn scale_annotations(wanted: Wanted) -> [(String, String); 2] {
    let max = if wanted.replicas > 0 { wanted.max_total() } else { 0 };
    [
        (DESIRED_REPLICAS.to_owned(), wanted.replicas.to_string()),
        (MAX_REPLICAS.to_owned(), max.to_string()),
    ]
}

/// Old sets beyond the history limit, the oldest first.
pub(super) fn surplus(old: &[ReplicaSet], limit: i32) -> Vec<String> {
    let idle = |set: &&ReplicaSet| {
        let status = set.status.clone().unwrap_or_default();
        let spec = set.spec.replicas.unwrap_or(1);
        let observed = status.observed_generation >= set.metadata.generation;
        spec == 0 && status.replicas == 0 && observed && set.metadata.deletion_timestamp.is_none()
    };
    let mut idle: Vec<&ReplicaSet> = old.iter().filter(idle).collect();
    idle.sort_by_key(|set| revision(set));
    let surplus = old
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0))
        .min(idle.len());
    idle[..surplus].iter().map(|set| set.name_any()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": image}]}}))
        .unwrap()
    }

    fn deployment(image: &str) -> Deployment {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "n", "uid": "u",
            "annotations": {REVISION: "1", "note": "x"}},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(image)}}))
        .unwrap()
    }

    #[test]
    fn a_set_is_found_again_by_its_template() {
        let wanted = Wanted {
            replicas: 2,
            max_surge: 1,
            max_unavailable: 0,
            rolling: true,
        };
        let hashes = [
            hash(&template("a"), 0),
            hash(&template("b"), 0),
            hash(&template("a"), 1),
        ];
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2]);
        let sets: Vec<ReplicaSet> = ["a", "b"]
            .iter()
            .zip(1..)
            .map(|(image, revision)| new_set(&deployment(image), &hash(&template(image), 0), wanted, 2, revision))
            .collect();
        assert_eq!(
            current(&sets, &template("b")).unwrap().name_any(),
            format!("web-{}", hashes[1])
        );
        assert!(current(&sets, &template("c")).is_none());
        assert_eq!(next_revision(&sets, None), 3);
        assert_eq!(next_revision(&sets, Some(&sets[1])), 2, "the newest keeps its revision");
        assert_eq!(
            next_revision(&sets, Some(&sets[0])),
            3,
            "rolling back makes a new revision"
        );
        assert_eq!(sets[0].annotations().get("note").map(String::as_str), Some("x"));
        assert_eq!(sets[0].annotations()[MAX_REPLICAS], "3");
    }
}
