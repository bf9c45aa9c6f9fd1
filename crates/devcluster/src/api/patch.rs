//! Patches: JSON patch, merge patch, strategic merge patch, server-side apply.

use std::sync::Arc;

use serde_json::Value;

use super::answer::Answer;
use super::request::{Call, FieldValidation, go_json_error};
use super::server::{Server, Target, shown, uid_mismatch};
use super::write::{self, Context};
use super::yaml;
use crate::admission::strategy::{self, Door};
use crate::apply::{self, Apply};
use crate::json_text::patched_object;
use crate::object;
use crate::patch;
use crate::resource::Resource;
use crate::schema::Shape;
use crate::status::{FieldError, Outcome, Status};
use crate::store::{Key, Object, Transaction};

/// A patch, read but not applied.
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' own.
    Strategic(Value),
}

/// Answers a `PATCH`.
pub async fn patch(server: &Arc<Server>, call: &Call, target: Target, door: Door) -> Outcome<Answer> {
    check_options(call)?;
    let context = server.context(call, &target, "PatchOptions")?;
    if call.content_type() == "application/apply-patch+yaml" {
        return apply_patch(server, call, target, door, context).await;
    }
    let policy = call.field_validation("PatchOptions")?;
    let patch = read_patch(call, &target.resource)?;
    let (key, resource) = (target.key(), target.resource.clone());
    let (object, warnings) = server
        .store
        .write(move |tx| {
            if context.dry_run {
                tx.discard();
            }
            let Some(old) = tx.state().get(&key).cloned() else {
                return Err(Status::not_found(&context.resource, &key.name));
            };
            let view = shown(&context.resource, &old);
            let (new, warnings) = patched(&context, &view, &patch, policy)?;
            check_identity(&context.resource, &key, &old, &new)?;
            Ok((write::update(tx, &context, door, &key, new, false)?, warnings))
        })
        .await?;
    Ok(Answer::with_warnings(200, shown(&resource, &object), warnings))
}

pub(super) fn check_options(call: &Call) -> Outcome<()> {
    let applying = call.content_type() == "application/apply-patch+yaml";
    let mut errors = Vec::new();
    if applying && call.params.get("fieldManager").is_none() {
        errors.push(FieldError::required("fieldManager", "is required for apply patch"));
    }
    if !applying && call.params.get("force").is_some() {
        errors.push(FieldError::forbidden(
            "force",
            "may not be specified for non-apply patch",
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors))
    }
}

pub(super) fn read_patch(call: &Call, resource: &Resource) -> Outcome<Patch> {
    let json = || {
        serde_json::from_slice::<Value>(&call.body).map_err(|error| {
            Status::bad_request(format!("error decoding patch: {}", go_json_error(&call.body, &error)))
        })
    };
    let object = || match json()? {
        value @ Value::Object(_) => Ok(value),
        other => {
            let kind = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Number(_) => "number",
                Value::Bool(_) => "bool",
                _ => return Ok(Value::Object(serde_json::Map::new())),
            };
            Err(Status::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            )))
        }
    };
    match call.content_type() {
        "application/merge-patch+json" => Ok(Patch::Merge(object()?)),
        "application/strategic-merge-patch+json" if resource.built_in() => Ok(Patch::Strategic(object()?)),
        "application/json-patch+json" => {
            let value = json()?;
            serde_json::from_value(value)
                .map(Patch::Json)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))
        }
        _ => {
            let rest = if resource.built_in() {
                "application/strategic-merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor"
            } else {
                "application/apply-patch+yaml"
            };
            Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, {rest}"
            )))
        }
    }
}

fn patched_json(shape: &Shape, old: &Value, patch: &Patch) -> Outcome<Value> {
    let mut new = old.clone();
    match patch {
        Patch::Merge(patch) => json_patch::merge(&mut new, patch),
        Patch::Json(patch) => patch::json::apply(&mut new, patch).map_err(|why| patch_failed(&why))?,
        Patch::Strategic(patch) => patch::strategic::apply(shape, &mut new, patch).map_err(Status::unclassified)?,
    }
    Ok(new)
}

/// The patched subresource, decoded by a shape of its own. Pure.
pub(super) fn patched_with(
    shape: &Shape,
    old: &Value,
    patch: &Patch,
    policy: FieldValidation,
) -> Outcome<(Value, Vec<String>)> {
    let mut new = patched_json(shape, old, patch)?;
    let sent = new.clone();
    let unknown = crate::schema::decode(shape, &mut new).map_err(|error| invalid_patch(&sent, &error.0))?;
    let warnings = unknown_fields(&sent, patch, &unknown, policy)?;
    Ok((new, warnings))
}

fn unknown_fields(sent: &Value, patch: &Patch, unknown: &[String], policy: FieldValidation) -> Outcome<Vec<String>> {
    let warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    match policy {
        FieldValidation::Strict if !warnings.is_empty() => {
            let why = format!("strict decoding error: {}", warnings.join(", "));
            Err(match patch {
                Patch::Strategic(patch) => invalid_strategic(patch, why),
                _ => invalid_patch(sent, &why),
            })
        }
        FieldValidation::Ignore => Ok(Vec::new()),
        _ => Ok(warnings),
    }
}

/// The patched object, decoded. Pure.
pub fn patched(
    context: &Context,
    old: &Value,
    patch: &Patch,
    policy: FieldValidation,
) -> Outcome<(Value, Vec<String>)> {
    let resource = &context.resource;
    let mut new = patched_json(&context.shape(), old, patch)?;
    let type_of = |object: &Value| (object["apiVersion"].clone(), object["kind"].clone());
    if type_of(&new) != type_of(old) {
        let kind = new["kind"].as_str().unwrap_or_default();
        let why = format!(
            "converting ({}.{kind}) to ({}.{}): unknown conversion",
            resource.version,
            if resource.group.is_empty() {
                "core"
            } else {
                resource.group.split('.').next().unwrap_or_default()
            },
            resource.kind
        );
        return Err(invalid_patch(&new, &why));
    }
    let sent = new.clone();
    let unknown = context.decode(&mut new).map_err(|error| match patch {
        Patch::Strategic(patch) => {
            let wanted = error.0.rsplit(" of type ").next().unwrap_or_default();
            invalid_strategic(patch, format!("unrecognized type: {wanted}"))
        }
        _ => invalid_patch(&sent, &error.0),
    })?;
    let warnings = unknown_fields(&sent, patch, &unknown, policy)?;
    Ok((new, warnings))
}

/// 422 of a JSON patch that cannot be applied. Like the real server, this one tells its log why, not the client.
fn patch_failed(why: &str) -> Status {
    tracing::debug!(why, "a JSON patch was refused");
    let mut status = Status::bad_request("the server rejected our request due to an error in our request".to_string());
    status.code = 422;
    status.reason = "Invalid";
    status.details = Some(Box::new(serde_json::json!({})));
    status
}

/// 422 of a strategic merge patch whose result is not of its type; the real server shows the patch.
fn invalid_strategic(patch: &Value, why: String) -> Status {
    let shown = crate::json_text::go_value(patch);
    let error = FieldError::invalid("patch", &shown.into(), why);
    Status::invalid("", "", "", &[error])
}

/// 422 of a patch whose result is not of its type; the real server shows the whole object.
fn invalid_patch(object: &Value, why: &str) -> Status {
    let mut error = FieldError::invalid("patch", &patched_object(object).into(), why);
    error.value = Some(Value::from(patched_object(object)).to_string());
    Status::invalid("", "", "", &[error])
}

fn check_identity(resource: &Resource, key: &Key, old: &Value, new: &Value) -> Outcome<()> {
    let name = object::name(new);
    if !name.is_empty() && name != key.name {
        let message = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        );
        return Err(Status::bad_request(message));
    }
    strategy::check_namespace(resource, &key.namespace, new)?;
    let (sent, current) = (object::uid(new), object::uid(old));
    if !sent.is_empty() && sent != current {
        return Err(uid_mismatch(resource, key, sent, current));
    }
    Ok(())
}

async fn apply_patch(
    server: &Arc<Server>,
    call: &Call,
    target: Target,
    door: Door,
    context: Context,
) -> Outcome<Answer> {
    let config = yaml::parse(&call.body)?;
    let force = call.params.flag("force");
    let (key, resource, namespace) = (target.key(), target.resource.clone(), target.namespace.clone());
    let (code, object) = server
        .store
        .write(move |tx| {
            if context.dry_run {
                tx.discard();
            }
            apply_config(tx, &context, door, &key, &namespace, config, force)
        })
        .await?;
    Ok(Answer::json(code, shown(&resource, &object)))
}

fn apply_config(
    tx: &mut Transaction<'_>,
    context: &Context,
    door: Door,
    key: &Key,
    namespace: &str,
    mut config: Value,
    force: bool,
) -> Outcome<(u16, Object)> {
    let resource = &context.resource;
    check_config(context, &config)?;
    let old = tx.state().get(key).map(|old| shown(resource, old));
    if old.is_none() && door != Door::Main {
        return Err(Status::not_found(resource, &key.name));
    }
    let name = object::name(&config);
    if !name.is_empty() && name != key.name {
        let message = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        );
        return Err(Status::bad_request(message));
    }
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".into(), key.name.clone().into());
    }
    let request = Apply {
        manager: &context.manager,
        force,
        config: &config,
    };
    let live = old.as_ref();
    let mut new = context.with_scope(tx, door, |scope| apply::apply(scope, live, &request))?;
    context.decode(&mut new).map_err(|error| Status::bad_request(error.0))?;
    let Some(old) = old else {
        object::metadata_mut(&mut new).insert("name".into(), key.name.clone().into());
        if !object::uid(&new).is_empty() {
            return Err(uid_on_create(resource, key, object::uid(&new)));
        }
        return Ok((201, write::create_applied(tx, context, namespace, new)?));
    };
    let sent = object::uid(&new);
    if !sent.is_empty() && sent != object::uid(&old) {
        let error = FieldError::invalid("metadata.uid", &sent.into(), "field is immutable");
        return Err(Status::invalid(
            &resource.group,
            &resource.kind,
            &key.name,
            &[error.clone(), error],
        ));
    }
    Ok((200, write::update(tx, context, door, key, new, true)?))
}

fn uid_on_create(resource: &Resource, key: &Key, uid: &str) -> Status {
    let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
    Status::conflict(resource, &key.name, &why)
}

fn check_config(context: &Context, config: &Value) -> Outcome<()> {
    let resource = &context.resource;
    let text = |key: &str| config[key].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version != resource.api_version() || kind != resource.kind {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        return Err(Status::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={kind}"
        )));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    match apply::type_error(&context.shape(), config, "") {
        None => Ok(()),
        Some(why) => {
            let (namespace, name) = (object::namespace(config), object::name(config));
            Err(Status::unclassified(format!(
                "failed to create typed patch object ({namespace}/{name}; {}/{}, Kind={kind}): {why}",
                resource.group, resource.version
            )))
        }
    }
}
