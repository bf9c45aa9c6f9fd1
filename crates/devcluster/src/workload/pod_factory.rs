//! Makes pods from templates, within the quotas of their namespace.

use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Api, api::ObjectMeta};

use super::{
    control::{Context, post},
    quota,
};

/// A pod of `template`, controlled by `owner`. The API server completes the name.
pub(crate) fn pod(template: &PodTemplateSpec, name_prefix: &str, namespace: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix(name_prefix)),
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// `NAME-`, shortened so that five more characters make a valid name.
fn prefix(name: &str) -> String {
    let kept: String = name.chars().take(57).collect();
    format!("{kept}-")
}

/// Creates `pod` unless a quota forbids it.
///
/// # Errors
/// The message for the `FailedCreate` event: what the API server answered, or what it would have
/// answered because of a quota.
pub(crate) async fn create(context: &Context, namespace: &str, pod: &Pod) -> Result<Pod, String> {
    let explain = |error: kube::Error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    let name = pod.metadata.generate_name.clone().unwrap_or_default();
    if let Some(exceeded) = quota::exceeded(context, namespace, pod).await.map_err(explain)? {
        return Err(format!("pods \"{name}\" is forbidden: {exceeded}"));
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    api.create(&post(), pod).await.map_err(explain)
}
