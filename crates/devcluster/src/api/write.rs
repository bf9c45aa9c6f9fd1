//! Creating and updating: functions of a transaction and an object. Whatever the verb, an object takes this road:
//! metadata, defaults, what the door may change, validation, the record of owners, the store.

use std::sync::Arc;

use serde_json::Value;

use super::request::FieldValidation;
use crate::admission::{
    self,
    strategy::{self, Door},
};
use crate::apply::{self, Scope};
use crate::crd::Custom;
use crate::object;
use crate::resource::Resource;
use crate::schema::{self, Shape};
use crate::status::{FieldError, Outcome, Status};
use crate::store::{Key, Object, Transaction};
use crate::workload::AddressRange;

/// What a write knows besides the object.
#[derive(Clone)]
pub struct Context {
    /// The resource type.
    pub resource: Arc<Resource>,
    /// Its definition, if it is a custom one.
    pub custom: Option<Arc<Custom>>,
    /// Who writes, for `managedFields`.
    pub manager: String,
    /// Addresses for Services.
    pub services: AddressRange,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
}

/// An object that was read from a request, and what was not understood in it.
pub struct Decoded {
    /// The object, of its type.
    pub object: Value,
    /// Warnings about unknown and duplicate fields.
    pub warnings: Vec<String>,
}

impl Context {
    /// The shape of the resource.
    pub fn shape(&self) -> Shape {
        match (
            &self.custom,
            self.resource.shape.as_deref().and_then(schema::built_in_name),
        ) {
            (Some(custom), _) => custom.shape.clone(),
            (None, Some(name)) => Shape::Named(name),
            (None, None) => Shape::Any,
        }
    }

    /// Brings an object into its type; unknown fields are dropped and named.
    ///
    /// # Errors
    /// What is of a wrong type, in Go's words.
    pub fn decode(&self, object: &mut Value) -> Result<Vec<String>, schema::DecodeError> {
        match &self.custom {
            Some(custom) => custom.prune(object),
            None => {
                let unknown = schema::decode(&self.shape(), object)?;
                admission::fill_zero(&self.resource, object);
                Ok(unknown)
            }
        }
    }

    /// Defaults.
    pub fn default(&self, object: &mut Value) {
        match &self.custom {
            Some(custom) => custom.default(object),
            None => admission::default_object(&self.resource, object),
        }
    }

    fn validate(&self, old: Option<&Value>, new: &Value, door: Door) -> Outcome<()> {
        let mut errors = match old {
            None => admission::validate_create(&self.resource, new),
            Some(old) => admission::validate_update(&self.resource, door, old, new),
        };
        if let Some(custom) = &self.custom {
            errors.extend(custom.validate(old, new, door));
        }
        if errors.is_empty() {
            return Ok(());
        }
        // Events are validated as core/v1 objects, whatever API they come through.
        let group = if self.resource.plural == "events" {
            ""
        } else {
            &self.resource.group
        };
        Err(Status::invalid(group, &self.resource.kind, object::name(new), &errors))
    }

    fn track(&self, tx: &Transaction<'_>, door: Door, live: Option<&Value>, new: &mut Value) {
        self.with_scope(tx, door, |scope| apply::update(scope, live, new, &self.manager));
    }

    /// Calls `use_scope` with the scope of ownership for a door.
    pub fn with_scope<T>(&self, tx: &Transaction<'_>, door: Door, use_scope: impl FnOnce(&Scope<'_>) -> T) -> T {
        let reset = strategy::reset_fields(&self.resource, door);
        let scope = Scope {
            shape: &self.shape(),
            api_version: &self.resource.api_version(),
            subresource: door.subresource(),
            reset: &reset,
            zero: &admission::zero(&self.resource),
            now: &object::rfc3339(tx.now()),
        };
        use_scope(&scope)
    }
}

/// Reads an object from the body of a create or replace.
///
/// # Errors
/// 400 for another type, for values of wrong types, and for unknown fields if they are refused.
pub fn decode_request(
    context: &Context,
    mut object: Value,
    policy: FieldValidation,
    duplicates: Vec<String>,
) -> Outcome<Decoded> {
    let resource = &context.resource;
    let text = |key: &str| object[key].as_str().unwrap_or_default().to_string();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let expected = resource.api_version();
    if !object.is_object() {
        let found = crate::json_text::ordered(&object);
        return Err(Status::bad_request(format!(
            "couldn't get version/kind; json parse error: the body is {found}, not an object"
        )));
    }
    if context.custom.is_some() && !kind.is_empty() && kind != resource.kind && api_version == expected {
        let error = FieldError::invalid("kind", &kind.as_str().into(), format!("must be {}", resource.kind));
        return Err(Status::invalid(&resource.group, &kind, object::name(&object), &[error]));
    }
    if (!kind.is_empty() && kind != resource.kind) || (!api_version.is_empty() && api_version != expected) {
        return Err(wrong_type(resource, &api_version, &kind));
    }
    if context.custom.is_some() && (kind.is_empty() || api_version.is_empty()) {
        return Err(Status::bad_request(
            "Object 'Kind' is missing in the body: send apiVersion and kind",
        ));
    }
    object["apiVersion"] = expected.clone().into();
    object["kind"] = resource.kind.clone().into();
    let unknown = context.decode(&mut object).map_err(|error| {
        let (kind, version) = (&resource.kind, &resource.version);
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {}",
            error.0
        ))
    })?;
    let mut warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    warnings.extend(duplicates);
    match policy {
        FieldValidation::Strict if !warnings.is_empty() => {
            let (kind, version) = (&resource.kind, &resource.version);
            let list = warnings.join(", ");
            Err(Status::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {list}"
            )))
        }
        FieldValidation::Ignore => Ok(Decoded {
            object,
            warnings: Vec::new(),
        }),
        _ => Ok(Decoded { object, warnings }),
    }
}

fn wrong_type(resource: &Resource, api_version: &str, kind: &str) -> Status {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let sent = format!("{group}/{version}, Kind={kind}");
    let wanted = format!("{}/{}, Kind={}", resource.group, resource.version, resource.kind);
    if kind == resource.kind {
        let message = format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            resource.api_version()
        );
        return Status::bad_request(message);
    }
    let _ = (sent, wanted);
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {kind} in version {version:?} cannot be handled as a {}",
        resource.kind, resource.kind
    ))
}

/// Whether a namespace takes new content.
fn check_namespace(tx: &Transaction<'_>, resource: &Resource, namespace: &str, name: &str) -> Outcome<()> {
    if !resource.namespaced {
        return Ok(());
    }
    match tx.state().get(&Key::core("namespaces", "", namespace)) {
        None => Err(Status::namespace_not_found(namespace)),
        Some(found) if object::is_terminating(found) => {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut status = Status::forbidden(resource, name, &why);
            if let Some(details) = &mut status.details {
                let message = format!("namespace {namespace} is being terminated");
                details["causes"] = serde_json::json!([
                    { "reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace" },
                ]);
            }
            Err(status)
        }
        Some(_) => Ok(()),
    }
}

/// Stores a new object.
///
/// # Errors
/// Every refusal a create can meet.
pub fn create(tx: &mut Transaction<'_>, context: &Context, namespace: &str, mut object: Value) -> Outcome<Object> {
    let resource = &context.resource;
    check_namespace(tx, resource, namespace, object::name(&object))?;
    // Owners are recorded of what was asked for; what the server adds below belongs to nobody.
    context.default(&mut object);
    context.track(tx, Door::Main, None, &mut object);
    strategy::before_create(resource, namespace, &mut object, tx.now())?;
    prepare(tx, context, &mut object)?;
    finish_create(tx, context, namespace, object)
}

/// The kinds whose creation looks at other objects.
fn prepare(tx: &Transaction<'_>, context: &Context, object: &mut Value) -> Outcome<()> {
    match context.resource.shape.as_deref() {
        Some("core/v1.Pod") => admission::pods::prepare(tx.state(), &context.resource, object),
        _ => Ok(()),
    }
}

/// Validates and stores what [`create`] or an apply prepared.
pub(super) fn finish_create(
    tx: &mut Transaction<'_>,
    context: &Context,
    namespace: &str,
    mut object: Value,
) -> Outcome<Object> {
    let resource = &context.resource;
    context.validate(None, &object, Door::Main)?;
    if resource.is_core("services") {
        admission::allocate::service(tx.state(), context.services, &mut object)?;
    }
    let namespace = if resource.namespaced { namespace } else { "" };
    let key = Key::new(resource, namespace, object::name(&object));
    if let Some(existing) = tx.state().get(&key) {
        let mut status = Status::already_exists(resource, &key.name);
        if object::is_terminating(existing) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        return Err(status);
    }
    Ok(tx.put(key, crate::events::stored(resource, object)))
}

/// Creates what an apply on a missing object describes; `object` carries its `managedFields`.
pub(super) fn create_applied(
    tx: &mut Transaction<'_>,
    context: &Context,
    namespace: &str,
    mut object: Value,
) -> Outcome<Object> {
    check_namespace(tx, &context.resource, namespace, object::name(&object))?;
    object::metadata_mut(&mut object).remove("resourceVersion");
    strategy::before_create(&context.resource, namespace, &mut object, tx.now())?;
    context.default(&mut object);
    prepare(tx, context, &mut object)?;
    finish_create(tx, context, namespace, object)
}

/// Replaces an object by what a request sent through a door. `tracked`: `managedFields` are already right.
///
/// # Errors
/// Every refusal an update can meet.
pub fn update(
    tx: &mut Transaction<'_>,
    context: &Context,
    door: Door,
    key: &Key,
    mut new: Value,
    tracked: bool,
) -> Outcome<Object> {
    let resource = &context.resource;
    let Some(stored) = tx.state().get(key).cloned() else {
        return Err(Status::not_found(resource, &key.name));
    };
    let old = crate::events::shown(resource, &stored);
    strategy::check_namespace(resource, &key.namespace, &new)?;
    let sent_version = object::resource_version(&new).to_string();
    if !sent_version.is_empty() && sent_version != "0" && sent_version != object::resource_version(&old) {
        return Err(Status::modified(resource, &key.name));
    }
    strategy::before_update(resource, door, &old, &mut new);
    object::metadata_mut(&mut new).insert("resourceVersion".into(), old["metadata"]["resourceVersion"].clone());
    context.default(&mut new);
    if resource.is_core("services") && door == Door::Main {
        keep_addresses(&old, &mut new);
        admission::allocate::service(tx.state(), context.services, &mut new)?;
    }
    if !tracked {
        context.track(tx, door, Some(&old), &mut new);
    }
    if resource.is_core("services") && door == Door::Main {
        admission::allocate::release(&old, &mut new);
    }
    context.validate(Some(&old), &new, door)?;
    if strategy::same_but_for_managers(&old, &new) {
        return Ok(stored);
    }
    // A namespace is held by `spec.finalizers` too: a write of its status while it waits must not end it.
    if strategy::should_go(resource, &new) || gone_namespace(resource, &new) {
        tx.delete(key);
        return Ok(Arc::new(crate::events::stored(resource, new)));
    }
    Ok(tx.put(key.clone(), crate::events::stored(resource, new)))
}

/// Whether a namespace has been finalised.
fn gone_namespace(resource: &Resource, object: &Value) -> bool {
    resource.is_core("namespaces")
        && object::is_terminating(object)
        && object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty)
        && object::finalizers(object).is_empty()
}

/// An update that leaves out a Service's addresses keeps them.
fn keep_addresses(old: &Value, new: &mut Value) {
    let external = new["spec"]["type"] == "ExternalName";
    let spec = object::map_at(new, "spec");
    if external {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if spec.get(field).is_none_or(|v| v.is_null() || v == "") && !old["spec"][field].is_null() {
            spec.insert(field.into(), old["spec"][field].clone());
        }
    }
    let old_ports = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let by_node = matches!(
        spec.get("type").and_then(Value::as_str),
        Some("NodePort" | "LoadBalancer")
    );
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter(|_| by_node)
    {
        let same = |old: &&Value| old["port"] == port["port"] && old["protocol"] == port["protocol"];
        if let Some(number) = old_ports.iter().find(same).and_then(|old| old["nodePort"].as_u64())
            && port["nodePort"].as_u64().unwrap_or(0) == 0
        {
            port["nodePort"] = number.into();
        }
    }
}

/// Records who sent an object that is answered but not stored (a review, a token request). `shape` is its built-in type.
pub(super) fn track_unstored(shape: &'static str, subresource: &str, zero: &Value, object: &mut Value, manager: &str) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default().to_string();
    let scope = Scope {
        shape: &Shape::Named(shape),
        api_version: &api_version,
        subresource,
        reset: &apply::FieldSet::default(),
        zero,
        now: &object::rfc3339(k8s_openapi::jiff::Timestamp::now()),
    };
    apply::update(&scope, None, object, manager);
}
