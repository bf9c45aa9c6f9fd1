//! ResourceQuotas on the number of pods, their CPU and their memory.
//!
//! A real API server checks quotas when a pod is created. Here the controllers that create pods check
//! them, with the same message, and the usage is published in the quota's status. A pod that a user
//! creates directly is counted but not refused: a stated limit.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Pod, PodSpec, ResourceQuota},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch},
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    control::{self, Context, ReconcileError},
    quantity,
    requests::{self, Figure},
};

/// A quantity in the smallest unit of its resource: thousandths for CPU, else whole.
fn amount(resource: &str, quantity: &Quantity) -> i64 {
    let amount = if resource.ends_with("cpu") {
        quantity::milli(quantity)
    } else {
        quantity::whole(quantity)
    };
    amount.unwrap_or(0)
}

fn quantity_of(resource: &str, amount: i64) -> Quantity {
    if resource.ends_with("cpu") && amount % 1000 != 0 {
        return Quantity(format!("{amount}m"));
    }
    Quantity(
        if resource.ends_with("cpu") {
            amount / 1000
        } else {
            amount
        }
        .to_string(),
    )
}

/// How much of a quota's resource a pod takes; `None` if this resource is not about pods.
fn taken(resource: &str, spec: &PodSpec) -> Option<i64> {
    let of = |figure| requests::of_pod(spec, figure);
    match resource {
        "pods" | "count/pods" => Some(1),
        "cpu" | "requests.cpu" => Some(of(Figure::Request).cpu_milli),
        "memory" | "requests.memory" => Some(of(Figure::Request).memory_bytes),
        "limits.cpu" => Some(of(Figure::Limit).cpu_milli),
        "limits.memory" => Some(of(Figure::Limit).memory_bytes),
        _ => None,
    }
}

/// What the pods of a namespace take of each resource that the quota limits.
fn usage(quota: &ResourceQuota, pods: &[Pod]) -> BTreeMap<String, i64> {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let specs = || {
        pods.iter()
            .filter(|pod| !requests::ended(pod))
            .filter_map(|pod| pod.spec.as_ref())
    };
    let used = |resource: &String| specs().map(|spec| taken(resource, spec)).sum::<Option<i64>>();
    hard.into_iter()
        .flatten()
        .filter_map(|(name, _)| Some((name.clone(), used(name)?)))
        .collect()
}

/// Why `spec` may not be created beside `pods`, in the words of a real API server.
fn refusal(quota: &ResourceQuota, pods: &[Pod], spec: &PodSpec) -> Option<String> {
    let hard = quota.spec.as_ref()?.hard.as_ref()?;
    let used = usage(quota, pods);
    let mut exceeded = Vec::new();
    for (name, used) in used {
        let (Some(wanted), Some(limit)) = (taken(&name, spec), hard.get(&name)) else {
            continue;
        };
        if wanted > 0 && used.saturating_add(wanted) > amount(&name, limit) {
            exceeded.push((name, wanted, used));
        }
    }
    if exceeded.is_empty() {
        return None;
    }
    let list = |figure: &dyn Fn(&(String, i64, i64)) -> String| {
        exceeded
            .iter()
            .map(|entry| format!("{}={}", entry.0, figure(entry)))
            .collect::<Vec<_>>()
            .join(",")
    };
    Some(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        quota.name_any(),
        list(&|(name, wanted, _)| quantity_of(name, *wanted).0),
        list(&|(name, _, used)| quantity_of(name, *used).0),
        list(&|(name, ..)| hard.get(name).map(|limit| limit.0.clone()).unwrap_or_default()),
    ))
}

/// Why `pod` may not be created in `namespace`, if a quota forbids it.
///
/// # Errors
/// What the API answered.
pub(crate) async fn exceeded(context: &Context, namespace: &str, pod: &Pod) -> Result<Option<String>, kube::Error> {
    let quotas: Api<ResourceQuota> = Api::namespaced(context.client.clone(), namespace);
    let quotas = quotas.list(&ListParams::default()).await?.items;
    if quotas.is_empty() {
        return Ok(None);
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let pods = pods.list(&ListParams::default()).await?.items;
    let spec = pod.spec.clone().unwrap_or_default();
    Ok(quotas.iter().find_map(|quota| refusal(quota, &pods, &spec)))
}

/// Publishes the usage of each quota.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let quotas: Api<ResourceQuota> = Api::all(context.client.clone());
    let pods: Api<Pod> = Api::all(context.client.clone());
    let controller = Controller::new(quotas, watcher::Config::default());
    let known = controller.store();
    let controller = controller.watches(pods, watcher::Config::default(), move |pod| {
        let namespace = pod.namespace();
        let same = known
            .state()
            .into_iter()
            .filter(move |quota| quota.namespace() == namespace);
        same.map(|quota| ObjectRef::from_obj(&*quota)).collect::<Vec<_>>()
    });
    control::run("resourcequota", controller, Arc::new(context), reconcile, shutdown).await;
}

async fn reconcile(quota: Arc<ResourceQuota>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let namespace = quota.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let pods = pods.list(&ListParams::default()).await?.items;
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone());
    let used: BTreeMap<String, Quantity> = usage(&quota, &pods)
        .into_iter()
        .map(|(name, used)| (name.clone(), quantity_of(&name, used)))
        .collect();
    let status = quota.status.clone().unwrap_or_default();
    if status.hard == hard && status.used.as_ref() == Some(&used) {
        return Ok(Action::await_change());
    }
    let api: Api<ResourceQuota> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({"status": {"hard": hard, "used": used}});
    match api
        .patch_status(&quota.name_any(), &control::patch(), &Patch::Merge(patch))
        .await
    {
        Err(error) if !control::is_gone(&error) => Err(error.into()),
        _ => Ok(Action::await_change()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_refusal_is_that_of_a_real_server() {
        let quota: ResourceQuota = serde_json::from_value(json!({"metadata": {"name": "small"},
            "spec": {"hard": {"pods": "1", "requests.cpu": "1", "services": "3"}}}))
        .unwrap();
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [{"name": "m",
                "resources": {"requests": {"cpu": "600m"}}}]}, "status": {"phase": phase}}))
            .unwrap()
        };
        let spec = pod("Pending").spec.unwrap();
        assert_eq!(
            refusal(&quota, &[pod("Succeeded")], &spec),
            None,
            "a pod that ended holds nothing"
        );
        assert_eq!(
            refusal(&quota, &[pod("Running")], &spec).unwrap(),
            "exceeded quota: small, requested: pods=1,requests.cpu=600m, used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1"
        );
    }
}
