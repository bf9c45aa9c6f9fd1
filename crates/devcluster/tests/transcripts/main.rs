//! Recorded answers of a real kube-apiserver 1.36, replayed against the development cluster.
//!
//! `a/*.json` (what controllers do) and `b/*.json` (what kubectl does) are the recordings, as data. A file is
//! **claimed** when every answer is equal; what is not claimed is listed with its reason, and that list only shrinks.
//! `TRANSCRIPT=name` replays one file and shows every difference.
#![allow(clippy::unwrap_used)]

mod commands;
#[path = "../support/kubectl.rs"]
mod kubectl;
mod normalise;
mod replay;
mod served;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use hanse_devcluster::{DevCluster, DevClusterConfig};
use replay::Replay;
use serde_json::Value;

/// Recordings whose answers are all equal.
const CLAIMED: &[&str] = &[
    "configmap-crud",
    "cr-crud-pruning-defaulting",
    "cr-selectable-fields",
    "cr-validation-cel",
    "cr-watch-finalizer",
    "crd-lifecycle",
    "deployment-flow",
    "discovery",
    "discovery-crd",
    "error-already-exists",
    "error-invalid",
    "error-not-found",
    "events-api",
    "field-validation",
    "finalizers",
    "generate-name",
    "generation-rules",
    "kubectl-apply",
    "kubectl-auth-token",
    "kubectl-configmap",
    "kubectl-explain",
    "kubectl-namespace-misc",
    "kubectl-pod-service",
    "list-limit-continue",
    "list-resource-version-match",
    "list-selector-fields",
    "namespace-lifecycle",
    "ownerrefs-background",
    "ownerrefs-foreground",
    "ownerrefs-missing-owner",
    "patch-merge",
    "patch-strategic-deployment",
    "peerdiscovery-objects",
    "pod-graceful-delete",
    "put-creates-not",
    "rbac",
    "scale-subresource-deployment",
    "secret-rules",
    "service-loadbalancer",
    "ssa-basic",
    "ssa-conflict-force",
    "ssa-defaults-and-update",
    "ssa-deployment-scale-handover",
    "ssa-errors",
    "ssa-migration",
    "ssa-set-list-finalizers",
    "status-subresource-ingress",
    "table-builtins",
    "watch-bookmark",
    "watch-history",
    "watch-live",
    "watch-too-old",
];

/// Recordings that are not equal yet, and why.
const NOT_CLAIMED: &[(&str, &str)] = &[(
    "openapi-v3-index",
    "documents are there for the groups that are served, and none for paths that are no objects (api, apis, version)",
)];

/// Single answers that are not compared, and why. The rest of their recording is.
const APART: &[(&str, usize, &str)] = &[
    (
        "watch-too-old",
        8,
        "the recorded server could not stream lists (etcd 3.4); this one does",
    ),
    (
        "cr-crud-pruning-defaulting",
        19,
        "no warning about the fields of a version that is refused anyway",
    ),
    (
        "kubectl-apply",
        13,
        "kubectl asks OpenAPI v2, which is not served, about kinds that v3 does not know, and shows that first",
    ),
    (
        "kubectl-auth-token",
        13,
        "OpenShift's build serves keys and metadata of its token issuer, and has more roles for everybody",
    ),
    (
        "kubectl-auth-token",
        16,
        "the recorded administrator has a certificate, which has an id; this one has a token",
    ),
    ("kubectl-explain", 3, "built-in types have no descriptions here"),
    ("kubectl-explain", 4, "built-in types have no descriptions here"),
    ("kubectl-explain", 10, "built-in types have no descriptions here"),
    (
        "kubectl-pod-service",
        7,
        "no controller of EndpointSlices runs in this replay, so there is none to be shown as empty",
    ),
    ("kubectl-namespace-misc", 1, "the version of the recorder's kubectl"),
    ("kubectl-namespace-misc", 5, "fewer groups are served: see served.rs"),
    ("kubectl-namespace-misc", 11, "the name of the build"),
];

/// Recordings in which controllers of Deployments, ReplicaSets and Jobs act, and the step after which they first had.
const WITH_CONTROLLERS: &[(&str, usize)] = &[
    ("deployment-flow", 0),
    ("patch-strategic-deployment", 0),
    ("ssa-deployment-scale-handover", 3),
];

/// Recordings replayed at once, each on a cluster of its own.
const AT_ONCE: usize = 4;

fn folders() -> [PathBuf; 2] {
    ["a", "b"].map(|folder| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/transcripts")
            .join(folder)
    })
}

fn read(name: &str) -> Value {
    let paths = folders().map(|folder| folder.join(format!("{name}.json")));
    let path = paths.iter().find(|path| path.exists()).unwrap();
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn differences(name: &str) -> Vec<String> {
    // The client of the tests speaks plain HTTP, but its library wants a provider for TLS to be named.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let recording = read(name);
    let data = tempfile::tempdir().unwrap();
    let config = DevClusterConfig::new(data.path());
    let cluster = DevCluster::start_api(config).await.unwrap();
    let controllers = WITH_CONTROLLERS
        .iter()
        .find(|(file, _)| *file == name)
        .map(|(_, step)| *step);
    let apart: Vec<usize> = APART
        .iter()
        .filter(|(file, ..)| *file == name)
        .map(|(_, step, _)| *step)
        .collect();
    let mut replay = Replay::new(&cluster, apart, controllers);
    if NOT_CLAIMED.iter().any(|(file, _)| *file == name) {
        // What is known to differ is not waited for.
        replay.patience = 0;
    }
    replay.run(&recording).await;
    let differences = std::mem::take(&mut replay.differences);
    drop(replay);
    cluster.shutdown().await;
    differences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claimed_recordings_are_answered_equally() {
    let only = std::env::var("TRANSCRIPT").ok();
    let all: Vec<&str> = CLAIMED
        .iter()
        .copied()
        .chain(NOT_CLAIMED.iter().map(|(name, _)| *name))
        .collect();
    let chosen: Vec<&str> = match &only {
        Some(names) => names
            .split(',')
            .map(|n| {
                all.iter()
                    .copied()
                    .find(|a| *a == n)
                    .unwrap_or_else(|| panic!("no {n}"))
            })
            .collect(),
        None => CLAIMED.to_vec(),
    };
    let mut failed = Vec::new();
    // Most of the time is spent waiting for what takes its time on a real server too.
    let mut results = futures::stream::iter(
        chosen
            .into_iter()
            .map(|name| async move { (name, differences(name).await) }),
    )
    .buffer_unordered(AT_ONCE);
    while let Some((name, found)) = results.next().await {
        if !found.is_empty() {
            failed.push(format!("== {name}\n  {}", found.join("\n  ")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_that_are_not_claimed_differ_for_a_reason() {
    let mut equal = Vec::new();
    for (name, reason) in NOT_CLAIMED {
        let found = differences(name).await;
        println!("not claimed: {name}: {} differences: {reason}", found.len());
        if found.is_empty() {
            equal.push(*name);
        }
    }
    assert!(equal.is_empty(), "these are equal now: claim them: {equal:?}");
}

#[test]
fn every_recording_is_claimed_or_listed_with_a_reason() {
    let entries = folders().map(|folder| std::fs::read_dir(folder).unwrap());
    let names = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = names
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let listed: Vec<String> = CLAIMED
        .iter()
        .copied()
        .chain(NOT_CLAIMED.iter().map(|(name, _)| *name))
        .map(str::to_string)
        .collect();
    assert_eq!(
        listed.len(),
        listed.iter().collect::<BTreeSet<_>>().len(),
        "a recording is listed twice"
    );
    assert_eq!(files, listed.into_iter().collect());
}
