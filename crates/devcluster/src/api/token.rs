//! TokenRequest, and the binding of a pod to a node.

use std::sync::Arc;

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::answer::Answer;
use super::request::Call;
use super::server::{Server, Target};
use crate::auth::token::{Claims, DEFAULT_AUDIENCE};
use crate::object::{self, rfc3339};
use crate::status::{FieldError, Outcome, Status};
use crate::store::Key;

/// Shortest life of a token, as the real server's.
const MIN_SECONDS: i64 = 600;
/// Longest: 2^32 seconds.
const MAX_SECONDS: i64 = 1 << 32;

/// Answers a TokenRequest for a service account.
pub async fn create(server: &Arc<Server>, call: &Call, target: &Target) -> Outcome<Answer> {
    let mut request = if call.body.is_empty() {
        json!({})
    } else {
        call.parse_body()?
    };
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["kind"] = "TokenRequest".into();
    if !request["metadata"].is_object() {
        request["metadata"] = json!({});
    }
    let spec = object::map_at(&mut request, "spec");
    spec.entry("boundObjectRef").or_insert(Value::Null);
    if spec.get("expirationSeconds").is_none_or(Value::is_null) {
        spec.insert("expirationSeconds".into(), 3600.into());
    }
    // Audiences are filled in behind the record of who sent what.
    let zero = json!({ "metadata": {}, "spec": { "audiences": null, "boundObjectRef": null }, "status": {} });
    let manager = call.manager();
    super::write::track_unstored("authentication/v1.TokenRequest", "token", &zero, &mut request, &manager);
    let spec = object::map_at(&mut request, "spec");
    if spec
        .get("audiences")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        spec.insert("audiences".into(), json!([DEFAULT_AUDIENCE]));
    }
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(3600);
    let mut errors = Vec::new();
    if seconds < MIN_SECONDS {
        errors.push(FieldError::invalid(
            "spec.expirationSeconds",
            &seconds.into(),
            "may not specify a duration less than 10 minutes",
        ));
    }
    if seconds > MAX_SECONDS {
        errors.push(FieldError::invalid(
            "spec.expirationSeconds",
            &seconds.into(),
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", &errors));
    }
    let published = server.store.read();
    let account = published
        .state
        .get(&target.key())
        .ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
    let bound = bound_object(&published.state, &target.namespace, &request["spec"]["boundObjectRef"])?;
    let now = k8s_openapi::jiff::Timestamp::now();
    let expires = now + SignedDuration::from_secs(seconds);
    let audiences = request["spec"]["audiences"].as_array().into_iter().flatten();
    let claims = Claims::for_account(
        account,
        bound,
        audiences.filter_map(|a| a.as_str().map(str::to_string)).collect(),
        now,
        expires,
    );
    let token = server.credentials.sign(&claims);
    request["status"] = json!({ "token": token, "expirationTimestamp": rfc3339(expires) });
    let metadata = object::metadata_mut(&mut request);
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("name".into(), target.name.clone().into());
    metadata.insert("namespace".into(), target.namespace.clone().into());
    metadata.insert("creationTimestamp".into(), rfc3339(now).into());
    Ok(Answer::json(201, request))
}

fn bound_object(
    state: &crate::store::State,
    namespace: &str,
    reference: &Value,
) -> Outcome<Option<(String, String, String)>> {
    let Some(kind) = reference["kind"].as_str() else {
        return Ok(None);
    };
    let plural = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        "Node" => "nodes",
        other => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {other}"
            )));
        }
    };
    let name = reference["name"].as_str().unwrap_or_default();
    let space = if kind == "Node" { "" } else { namespace };
    let Some(found) = state.get(&Key::core(plural, space, name)) else {
        let resource = crate::resource::Catalog::built_in()
            .find("", "v1", plural)
            .ok_or_else(Status::no_such_resource)?;
        return Err(Status::not_found(&resource, name));
    };
    let uid = object::uid(found);
    if let Some(sent) = reference["uid"].as_str().filter(|sent| *sent != uid) {
        let resource = crate::resource::Catalog::built_in()
            .find("", "v1", plural)
            .ok_or_else(Status::no_such_resource)?;
        let why = format!(
            "the UID in the bound object reference ({sent}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&resource, name, &why));
    }
    Ok(Some((kind.to_lowercase(), name.into(), uid.into())))
}

/// Answers a Binding: sets the node of a pod that has none.
pub async fn bind(server: &Arc<Server>, call: &Call, target: Target) -> Outcome<Answer> {
    let node = call.parse_body()?["target"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    if node.is_empty() {
        let error = FieldError::required("target.name", "");
        return Err(Status::invalid("", "Binding", &target.name, &[error]));
    }
    let (key, resource) = (target.key(), target.resource.clone());
    server
        .store
        .write(move |tx| {
            let Some(pod) = tx.state().get(&key) else {
                return Err(Status::not_found(&resource, &key.name));
            };
            let current = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            if !current.is_empty() {
                let why = format!("pod {} is already assigned to node {current:?}", key.name);
                let mut binding = (*resource).clone();
                binding.plural = "pods/binding".into();
                return Err(Status::conflict(&binding, &key.name, &why));
            }
            let mut pod = (**pod).clone();
            pod["spec"]["nodeName"] = node.into();
            let now = rfc3339(tx.now());
            let condition =
                json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now });
            let status = object::map_at(&mut pod, "status");
            let conditions = status.entry("conditions").or_insert_with(|| json!([]));
            if let Some(conditions) = conditions.as_array_mut() {
                conditions.retain(|c| c["type"] != "PodScheduled");
                conditions.push(condition);
            }
            tx.put(key, pod);
            Ok(())
        })
        .await?;
    Ok(Answer::json(
        201,
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }),
    ))
}
