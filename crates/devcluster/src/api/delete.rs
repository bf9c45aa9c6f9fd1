//! Deleting: grace, finalizers, propagation, collections.

use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::answer::Answer;
use super::read::Selection;
use super::request::Call;
use super::server::{Server, Target, shown};
use crate::admission::strategy::bump_generation;
use crate::object::{self, metadata_mut, rfc3339};
use crate::resource::Resource;
use crate::status::{FieldError, Outcome, Status};
use crate::store::{Key, Object, Transaction};

/// Keeps the definition of a custom resource until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Namespaces that stay.
const PERMANENT: [&str; 3] = ["default", "kube-system", "kube-public"];

/// What a deletion asks for.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds; `None`: the object's own.
    pub grace: Option<i64>,
    /// `Foreground`, `Background` or `Orphan`.
    pub propagation: Option<String>,
    /// Only this object.
    pub uid: Option<String>,
    /// Only this version of it.
    pub resource_version: Option<String>,
    /// Changes nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// From query and body.
    ///
    /// # Errors
    /// 400 for a body that is no `DeleteOptions`, 422 for options that do not exist.
    pub fn of(call: &Call) -> Outcome<Self> {
        let body = if call.body.is_empty() {
            Value::Null
        } else {
            call.parse_body()?
        };
        let kind = body["kind"].as_str().unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            return Err(Status::bad_request(format!("expected a DeleteOptions, got {kind}")));
        }
        let text = |name: &str| call.params.get(name).or(body[name].as_str()).map(str::to_string);
        let orphan = call
            .params
            .get("orphanDependents")
            .map(|t| t == "true")
            .or(body["orphanDependents"].as_bool());
        let propagation =
            text("propagationPolicy").or(orphan.map(|o| if o { "Orphan" } else { "Background" }.to_string()));
        if let Some(policy) = &propagation
            && !["Foreground", "Background", "Orphan"].contains(&policy.as_str())
        {
            let error = FieldError::not_supported(
                "propagationPolicy",
                &policy.as_str().into(),
                &["Foreground", "Background", "Orphan", "nil"],
            );
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &[error]));
        }
        let precondition = |name: &str| body["preconditions"][name].as_str().map(str::to_string);
        Ok(Self {
            grace: call
                .params
                .number("gracePeriodSeconds")
                .or(body["gracePeriodSeconds"].as_i64()),
            propagation,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            dry_run: call.dry_run("DeleteOptions")? || body["dryRun"].as_array().is_some_and(|d| !d.is_empty()),
        })
    }
}

/// How a deletion ended.
pub enum Deleted {
    /// Gone; the last state.
    Gone(Object),
    /// Marked; finalizers or grace keep it.
    Marked(Object),
}

/// Deletes one object. A function of the transaction.
///
/// # Errors
/// 404, 409 for preconditions, 403 for what must stay.
pub fn delete_object(
    tx: &mut Transaction<'_>,
    resource: &Resource,
    key: &Key,
    options: &DeleteOptions,
) -> Outcome<Deleted> {
    let Some(object) = tx.state().get(key).cloned() else {
        return Err(Status::not_found(resource, &key.name));
    };
    check_preconditions(resource, key, &object, options)?;
    if resource.is_core("namespaces") {
        return delete_namespace(tx, resource, key, &object);
    }
    let mut marked = (*object).clone();
    add_propagation_finalizer(&mut marked, options.propagation.as_deref());
    let grace = grace_period(resource, &object, options);
    if is_definition(resource) {
        add_finalizer(&mut marked, CLEANUP);
    }
    let held = !object::finalizers(&marked).is_empty();
    if object::is_terminating(&object) {
        let shorter = object["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .is_some_and(|now| grace < now);
        if shorter {
            set_deletion(&mut marked, grace, started(&object));
        }
        let over = marked["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0;
        if !held && over {
            return Ok(gone(tx, resource, key, &object, &marked));
        }
        if marked == *object {
            return Ok(Deleted::Marked(object));
        }
        return Ok(Deleted::Marked(tx.put(key.clone(), marked)));
    }
    if !held && grace == 0 {
        return Ok(gone(tx, resource, key, &object, &marked));
    }
    set_deletion(&mut marked, grace, tx.now());
    if is_definition(resource) {
        metadata_mut(&mut marked).remove("deletionGracePeriodSeconds");
        let condition = json!({
            "type": "Terminating", "status": "True", "lastTransitionTime": rfc3339(tx.now()),
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        });
        let conditions = object::map_at(&mut marked, "status")
            .entry("conditions")
            .or_insert_with(|| json!([]));
        if let Some(list) = conditions.as_array_mut() {
            list.push(condition);
        }
    } else if marked["metadata"]["generation"].is_i64() {
        bump_generation(resource, &mut marked);
    }
    Ok(Deleted::Marked(tx.put(key.clone(), marked)))
}

/// Removes the object. A pod is marked first, as graceful deletion is, and so shown with the marks.
fn gone(tx: &mut Transaction<'_>, resource: &Resource, key: &Key, object: &Object, marked: &Value) -> Deleted {
    if resource.is_core("pods") {
        let mut marked = marked.clone();
        if !object::is_terminating(object) {
            bump_generation(resource, &mut marked);
        }
        set_deletion(&mut marked, 0, tx.now());
        tx.put(key.clone(), marked);
    }
    let last = tx.delete(key).unwrap_or_else(|| object.clone());
    Deleted::Gone(last)
}

fn check_preconditions(resource: &Resource, key: &Key, object: &Value, options: &DeleteOptions) -> Outcome<()> {
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object::uid(object)) {
        return Err(uid_precondition(resource, key, uid, object::uid(object)));
    }
    if let Some(version) = options
        .resource_version
        .as_deref()
        .filter(|v| *v != object::resource_version(object))
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            object::resource_version(object)
        );
        return Err(Status::conflict(resource, &key.name, &why));
    }
    Ok(())
}

fn uid_precondition(resource: &Resource, key: &Key, sent: &str, current: &str) -> Status {
    let why = format!("Precondition failed: UID in precondition: {sent}, UID in object meta: {current}");
    Status::conflict(resource, &key.name, &why)
}

fn add_propagation_finalizer(object: &mut Value, propagation: Option<&str>) {
    let mut finalizers: Vec<String> = object::finalizers(object).into_iter().map(str::to_string).collect();
    let wanted = match propagation {
        Some("Foreground") => Some("foregroundDeletion"),
        Some("Orphan") => Some("orphan"),
        _ => None,
    };
    if propagation.is_some() {
        finalizers.retain(|f| (f != "orphan" && f != "foregroundDeletion") || Some(f.as_str()) == wanted);
    }
    if let Some(wanted) = wanted.filter(|wanted| !finalizers.iter().any(|f| f == wanted)) {
        finalizers.push(wanted.into());
    }
    let value = if finalizers.is_empty() {
        Value::Null
    } else {
        finalizers.into()
    };
    object::put(metadata_mut(object), "finalizers", value);
}

fn is_definition(resource: &Resource) -> bool {
    resource.group == "apiextensions.k8s.io"
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let mut list: Vec<Value> = object::finalizers(object).into_iter().map(Value::from).collect();
    if !list.iter().any(|f| f == finalizer) && !object::is_terminating(object) {
        list.push(finalizer.into());
        metadata_mut(object).insert("finalizers".into(), list.into());
    }
}

/// When a deletion that is under way was asked for.
fn started(object: &Value) -> Timestamp {
    let end: Option<Timestamp> = object["metadata"]["deletionTimestamp"]
        .as_str()
        .and_then(|t| t.parse().ok());
    let grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    end.map_or(Timestamp::UNIX_EPOCH, |end| end - SignedDuration::from_secs(grace))
}

fn set_deletion(object: &mut Value, grace: i64, from: Timestamp) {
    let metadata = metadata_mut(object);
    metadata.insert(
        "deletionTimestamp".into(),
        rfc3339(from + SignedDuration::from_secs(grace)).into(),
    );
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// Seconds a pod may take; everything else goes at once.
fn grace_period(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if !resource.is_core("pods") {
        return 0;
    }
    let finished = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let unscheduled = object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    if finished || unscheduled {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    match options.grace {
        Some(seconds) if seconds < 0 => 1,
        Some(seconds) => seconds,
        None => own.max(0),
    }
}

fn delete_namespace(tx: &mut Transaction<'_>, resource: &Resource, key: &Key, object: &Object) -> Outcome<Deleted> {
    if PERMANENT.contains(&key.name.as_str()) {
        return Err(Status::forbidden(
            resource,
            &key.name,
            "this namespace may not be deleted",
        ));
    }
    if object::is_terminating(object) {
        return Ok(Deleted::Marked(object.clone()));
    }
    let mut marked = (**object).clone();
    metadata_mut(&mut marked).insert("deletionTimestamp".into(), rfc3339(tx.now()).into());
    marked["status"]["phase"] = "Terminating".into();
    Ok(Deleted::Marked(tx.put(key.clone(), marked)))
}

/// Whether the answer to a deletion is the object rather than a `Status`.
fn answers_with_object(resource: &Resource) -> bool {
    resource.is_core("pods")
        || resource.is_core("namespaces")
        || resource.is_core("services")
        || resource.is_core("serviceaccounts")
}

fn success(resource: &Resource, object: &Value) -> Value {
    let mut details = json!({ "name": object::name(object), "kind": resource.plural, "uid": object::uid(object) });
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// Answers `DELETE` of one object.
pub async fn delete(server: &Arc<Server>, call: &Call, target: Target) -> Outcome<Answer> {
    let options = DeleteOptions::of(call)?;
    let (key, resource) = (target.key(), target.resource.clone());
    let deleted = server
        .store
        .write(move |tx| {
            if options.dry_run {
                tx.discard();
            }
            delete_object(tx, &resource, &key, &options)
        })
        .await?;
    let resource = &target.resource;
    Ok(Answer::ok(match deleted {
        Deleted::Marked(object) => shown(resource, &object),
        Deleted::Gone(object) if answers_with_object(resource) => shown(resource, &object),
        Deleted::Gone(object) => success(resource, &object),
    }))
}

/// Answers `DELETE` of a collection: the list of what was deleted.
pub async fn delete_collection(server: &Arc<Server>, call: &Call, target: Target) -> Outcome<Answer> {
    let options = DeleteOptions::of(call)?;
    let selection = Selection::of(call, &target)?;
    let storage = target.resource.storage();
    let chosen: Vec<Key> = {
        let published = server.store.read();
        let list = published.state.list(&storage, Some(&target.namespace));
        list.filter(|(_, object)| selection.matches(object))
            .map(|(key, _)| key.clone())
            .collect()
    };
    let resource = target.resource.clone();
    let items = server
        .store
        .write(move |tx| {
            if options.dry_run {
                tx.discard();
            }
            let mut items = Vec::new();
            for key in chosen {
                let Some(before) = tx.state().get(&key).cloned() else {
                    continue;
                };
                let shown = match delete_object(tx, &resource, &key, &options)? {
                    Deleted::Gone(_) => before,
                    Deleted::Marked(object) => object,
                };
                items.push(shown);
            }
            Ok((items, tx.state().revision()))
        })
        .await?;
    let (items, revision) = items;
    let items: Vec<Value> = items
        .iter()
        .map(|object| {
            let mut item = shown(&target.resource, object);
            if let (true, Some(map)) = (target.resource.built_in(), item.as_object_mut()) {
                map.remove("kind");
                map.remove("apiVersion");
            }
            item
        })
        .collect();
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if !target.resource.built_in() {
        metadata["continue"] = "".into();
    }
    Ok(Answer::ok(json!({
        "kind": target.resource.list_kind, "apiVersion": target.resource.api_version(),
        "metadata": metadata, "items": items,
    })))
}

/// Answers an eviction: says so in the pod's status and deletes the pod. Disruption budgets are not served.
pub async fn evict(server: &Arc<Server>, call: &Call, target: Target) -> Outcome<Answer> {
    let body = call.parse_body()?;
    let grace = body["deleteOptions"]["gracePeriodSeconds"].as_i64();
    let options = DeleteOptions {
        grace,
        ..DeleteOptions::default()
    };
    let (key, resource) = (target.key(), target.resource.clone());
    server
        .store
        .write(move |tx| {
            let Some(pod) = tx.state().get(&key) else { return Err(Status::not_found(&resource, &key.name)) };
            let mut pod = (**pod).clone();
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
                "lastTransitionTime": rfc3339(tx.now()), "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
            });
            let status = object::map_at(&mut pod, "status");
            if let Some(list) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() {
                list.retain(|c| c["type"] != "DisruptionTarget");
                list.push(condition);
            }
            tx.put(key.clone(), pod);
            delete_object(tx, &resource, &key, &options).map(drop)
        })
        .await?;
    Ok(Answer::json(
        201,
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }),
    ))
}
