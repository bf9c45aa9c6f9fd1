//! What an object of a foreign manifest may say, beyond its kind.

use super::object::Object;
use super::pod_rules::{self, Violation};
use super::policy::Limits;
use super::totals;
use crate::owner::{MANAGED_BY_LABEL, RESERVED_PREFIX};

/// Secret types that only hold data. The others make the cluster mint or reveal credentials of its own.
const SECRET_TYPES: [&str; 6] = [
    "Opaque",
    "kubernetes.io/basic-auth",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
];

/// Checks one object.
pub(super) fn check(object: &Object, limits: Limits) -> Result<(), Violation> {
    metadata(object)?;
    match object {
        Object::Service(service) => {
            let spec = service.spec.as_ref();
            if spec.is_some_and(|s| s.external_ips.as_ref().is_some_and(|ips| !ips.is_empty())) {
                // CVE-2020-8554: with externalIPs a tenant can take over traffic to any address.
                return Err(Violation::new(
                    "spec.externalIPs",
                    "it can divert other traffic; use type LoadBalancer",
                ));
            }
            if spec.and_then(|s| s.type_.as_deref()) == Some("ExternalName") {
                return Err(Violation::new(
                    "spec.type",
                    "ExternalName can alias names inside the cluster; use another type",
                ));
            }
        }
        Object::Secret(secret) => {
            let type_ = secret.type_.as_deref().unwrap_or("Opaque");
            if type_.starts_with("kubernetes.io/") && !SECRET_TYPES.contains(&type_)
                || type_.starts_with("bootstrap.kubernetes.io/")
            {
                return Err(Violation::new(
                    "type",
                    format!("secrets of type {type_} are credentials of the cluster; use Opaque"),
                ));
            }
        }
        Object::Deployment(_) | Object::Job(_) => pods(object, limits)?,
        Object::ServiceAccount(_) | Object::ConfigMap(_) => {}
    }
    Ok(())
}

fn pods(object: &Object, limits: Limits) -> Result<(), Violation> {
    let count = match object {
        Object::Deployment(o) => o.spec.replicas.map(|n| ("spec.replicas", n)),
        Object::Job(o) => o
            .spec
            .as_ref()
            .and_then(|s| s.parallelism)
            .map(|n| ("spec.parallelism", n)),
        _ => None,
    };
    if let Some((field, n)) = count
        && u32::try_from(n).map_or(true, |n| n > limits.replicas)
    {
        return Err(Violation::new(
            field,
            format!("it must be between 0 and {}; lower it", limits.replicas),
        ));
    }
    let Some(template) = object.pod_template() else {
        return Err(Violation::new("spec", "it is required; add it"));
    };
    if let Some(metadata) = &template.metadata {
        reserved(
            metadata
                .labels
                .iter()
                .flatten()
                .chain(metadata.annotations.iter().flatten()),
            "spec.template.metadata",
        )?;
    }
    let Some(spec) = &template.spec else {
        return Err(Violation::new("spec.template.spec", "it is required; add it"));
    };
    if let Some(quantity) = totals::unreadable_quantity(spec) {
        let rule = format!("\"{}\" is no quantity; write e.g. 250m or 64Mi", quantity.0);
        return Err(Violation::new("spec.template.spec.containers[].resources", rule));
    }
    pod_rules::check(spec, "spec.template.spec")
}

/// The deploying domain decides where an object stands and what happens when it goes; the manifest does not.
fn metadata(object: &Object) -> Result<(), Violation> {
    let metadata = object.metadata();
    if metadata.namespace.is_some() {
        return Err(Violation::new(
            "metadata.namespace",
            "the deploying domain chooses the namespace; remove it",
        ));
    }
    for (set, field) in [
        (metadata.generate_name.is_some(), "metadata.generateName"),
        (metadata.finalizers.is_some(), "metadata.finalizers"),
        (metadata.owner_references.is_some(), "metadata.ownerReferences"),
        (metadata.managed_fields.is_some(), "metadata.managedFields"),
        (metadata.uid.is_some(), "metadata.uid"),
        (metadata.resource_version.is_some(), "metadata.resourceVersion"),
        (metadata.deletion_timestamp.is_some(), "metadata.deletionTimestamp"),
    ] {
        if set {
            return Err(Violation::new(
                field,
                "it belongs to a live object, not to a manifest; remove it",
            ));
        }
    }
    let name = object.name();
    if !is_dns_subdomain(name) {
        let rule = "a name has 1 to 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends; rename it";
        return Err(Violation::new("metadata.name", rule));
    }
    reserved(
        metadata
            .labels
            .iter()
            .flatten()
            .chain(metadata.annotations.iter().flatten()),
        "metadata",
    )
}

fn reserved<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>, path: &str) -> Result<(), Violation> {
    for (key, _) in entries {
        if key.starts_with(RESERVED_PREFIX) || key == MANAGED_BY_LABEL {
            return Err(Violation::new(
                format!("{path} \"{key}\""),
                "this key is set by Hanse; remove it",
            ));
        }
    }
    Ok(())
}

/// RFC 1123 subdomain, as Kubernetes checks object names.
fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|part| {
            let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let bytes = part.as_bytes();
            ends(bytes.first())
                && ends(bytes.last())
                && bytes
                    .iter()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        })
}
