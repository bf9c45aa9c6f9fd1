//! The node's own object in the store.

use k8s_openapi::{
    api::core::v1::{Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::collections::BTreeMap;

use super::node::HOST_IP;
use crate::workload::WorkloadConfig;

/// Writes the node object: capacity and readiness. It has no heartbeat: when the cluster's process is
/// gone, so is the API.
///
/// # Errors
/// What the API answered.
pub(crate) async fn register(client: &Client, config: &WorkloadConfig) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let name = &config.node_name;
    let labels = [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", std::env::consts::OS),
        ("kubernetes.io/arch", architecture()),
    ];
    let labels: BTreeMap<String, String> = labels
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    let node = Node {
        metadata,
        ..Node::default()
    };
    match api
        .create(
            &PostParams {
                field_manager: Some("kubelet".to_owned()),
                ..PostParams::default()
            },
            &node,
        )
        .await
    {
        Err(kube::Error::Api(error)) if error.code == 409 => {}
        other => drop(other?),
    }
    let patch = json!({"status": status(config, Timestamp::now())});
    let parameters = PatchParams {
        field_manager: Some("kubelet".to_owned()),
        ..PatchParams::default()
    };
    api.patch_status(name, &parameters, &Patch::Merge(patch))
        .await
        .map(drop)
}

fn status(config: &WorkloadConfig, now: Timestamp) -> NodeStatus {
    let capacity = config.capacity;
    let quantities: BTreeMap<String, Quantity> = [
        ("cpu", format!("{}m", capacity.cpu_milli)),
        ("memory", format!("{}Ki", capacity.memory_bytes / 1024)),
        ("pods", capacity.pods.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Quantity(value)))
    .collect();
    let condition = |type_: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    NodeStatus {
        capacity: Some(quantities.clone()),
        allocatable: Some(quantities),
        addresses: Some(vec![
            NodeAddress {
                type_: "InternalIP".to_owned(),
                address: HOST_IP.to_owned(),
            },
            NodeAddress {
                type_: "Hostname".to_owned(),
                address: config.node_name.clone(),
            },
        ]),
        conditions: Some(vec![
            condition(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition(
                "DiskPressure",
                "False",
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
            ),
            condition(
                "PIDPressure",
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]),
        daemon_endpoints: Some(NodeDaemonEndpoints::default()),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().to_owned(),
            operating_system: std::env::consts::OS.to_owned(),
            os_image: "hanse development cluster".to_owned(),
            container_runtime_version: format!("hanse://{}", env!("CARGO_PKG_VERSION")),
            kubelet_version: format!("v1.36.2-hanse-{}", env!("CARGO_PKG_VERSION")),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

/// The architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
