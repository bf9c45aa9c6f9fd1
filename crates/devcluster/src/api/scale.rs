//! The scale subresource: replicas of anything, in one shape.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::request::{Call, FieldValidation};
use super::server::{Server, Target};
use super::write::{self, Context};
use super::{patch, yaml};
use crate::admission::strategy::Door;
use crate::apply::{self, Apply, FieldSet, Scope};
use crate::object::{self, at};
use crate::resource::ScalePaths;
use crate::schema::Shape;
use crate::selector::LabelSelector;
use crate::status::{FieldError, Outcome, Status};
use crate::store::{Key, Object, Transaction};

/// Shape of the subresource itself.
const SHAPE: Shape = Shape::Named("autoscaling/v1.Scale");

/// The `Scale` of an object.
pub fn scale_of(paths: &ScalePaths, target: &Value) -> Value {
    let meta = &target["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": { "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"] },
        "spec": {}, "status": { "replicas": at(target, &paths.status_replicas).as_i64().unwrap_or(0) },
    });
    let wanted = at(target, &paths.spec_replicas).as_i64().unwrap_or(0);
    if wanted != 0 {
        scale["spec"]["replicas"] = wanted.into();
    }
    let selector = match &paths.label_selector {
        Some(path) => at(target, path).as_str().unwrap_or_default().to_string(),
        None => LabelSelector::from_object(&target["spec"]["selector"]).to_string(),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

fn set_at(object: &mut Value, path: &str, value: Value) {
    let mut slot = object;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        slot = object::map_at_slot(slot, part);
    }
    *slot = value;
}

/// What is asked of a scale.
enum Request {
    Replace(Value),
    Patch(patch::Patch, FieldValidation),
    Apply(Value, bool),
}

/// Answers a call on the scale of an object.
pub async fn scale(server: &Arc<Server>, call: &Call, target: Target, verb: &str) -> Outcome<Answer> {
    let Some(paths) = target.resource.scale.clone() else {
        return Err(Status::no_such_resource());
    };
    if verb == "get" {
        let object = server.store.read().state.get(&target.key()).cloned();
        let object = object.ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
        return Ok(Answer::ok(scale_of(&paths, &object)));
    }
    let options = if verb == "update" {
        "UpdateOptions"
    } else {
        "PatchOptions"
    };
    let context = server.context(call, &target, options)?;
    let policy = call.field_validation(options)?;
    let request = match (verb, call.content_type()) {
        ("update", _) => Request::Replace(call.parse_body()?),
        (_, "application/apply-patch+yaml") => {
            patch::check_options(call)?;
            Request::Apply(yaml::parse(&call.body)?, call.params.flag("force"))
        }
        _ => {
            patch::check_options(call)?;
            Request::Patch(patch::read_patch(call, &target.resource)?, policy)
        }
    };
    let key = target.key();
    let scale_paths = paths.clone();
    let object = server
        .store
        .write(move |tx| {
            if context.dry_run {
                tx.discard();
            }
            write_scale(tx, &context, &key, &scale_paths, request)
        })
        .await?;
    Ok(Answer::ok(scale_of(&paths, &object)))
}

fn write_scale(
    tx: &mut Transaction<'_>,
    context: &Context,
    key: &Key,
    paths: &ScalePaths,
    request: Request,
) -> Outcome<Object> {
    let resource = &context.resource;
    let Some(old) = tx.state().get(key).cloned() else {
        return Err(Status::not_found(resource, &key.name));
    };
    let before = scale_of(paths, &old);
    let (mut new, applied) = match request {
        Request::Replace(scale) => (scale, None),
        Request::Patch(patch, policy) => (patch::patched_with(&SHAPE, &before, &patch, policy)?.0, None),
        Request::Apply(config, force) => {
            let managed = apply_scale(tx, context, paths, &old, &config, force)?;
            let replicas = config["spec"]["replicas"].clone();
            let mut scale = before.clone();
            scale["spec"]["replicas"] = replicas;
            (scale, Some(managed))
        }
    };
    let name = object::name(&new).to_string();
    if !name.is_empty() && name != key.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    crate::schema::decode(&SHAPE, &mut new).map_err(|error| {
        Status::bad_request(format!(
            "Scale in version \"v1\" cannot be handled as a Scale: {}",
            error.0
        ))
    })?;
    let wanted = new["spec"]["replicas"].as_i64().unwrap_or(0);
    if wanted < 0 {
        let error = FieldError::invalid("spec.replicas", &wanted.into(), "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", &key.name, &[error]));
    }
    let mut object = (*old).clone();
    set_at(&mut object, &paths.spec_replicas, wanted.into());
    let version = object::resource_version(&new).to_string();
    object::put(
        object::metadata_mut(&mut object),
        "resourceVersion",
        if version.is_empty() {
            Value::Null
        } else {
            version.into()
        },
    );
    let tracked = applied.is_some();
    if let Some(managed) = applied {
        object::put(object::metadata_mut(&mut object), "managedFields", managed);
    }
    write::update(tx, context, Door::Scale, key, object, tracked)
}

/// Ownership of the replicas when a scale is applied: the manager owns exactly `spec.replicas` of the object.
fn apply_scale(
    tx: &Transaction<'_>,
    context: &Context,
    paths: &ScalePaths,
    old: &Value,
    config: &Value,
    force: bool,
) -> Outcome<Value> {
    if let Some(why) = apply::type_error(&SHAPE, config, "") {
        let name = object::name(config);
        return Err(Status::unclassified(format!(
            "failed to create typed patch object ({}/{name}; autoscaling/v1, Kind=Scale): {why}",
            object::namespace(config)
        )));
    }
    let mut wanted =
        json!({ "apiVersion": context.resource.api_version(), "kind": context.resource.kind, "metadata": {} });
    set_at(&mut wanted, &paths.spec_replicas, config["spec"]["replicas"].clone());
    let reset = FieldSet::default();
    let shape = context.shape();
    let scope = Scope {
        shape: &shape,
        api_version: &context.resource.api_version(),
        subresource: "scale",
        reset: &reset,
        zero: &crate::admission::zero(&context.resource),
        now: &object::rfc3339(tx.now()),
    };
    let request = Apply {
        manager: &context.manager,
        force,
        config: &wanted,
    };
    let applied = apply::apply(&scope, Some(old), &request)?;
    Ok(applied["metadata"]["managedFields"].clone())
}
