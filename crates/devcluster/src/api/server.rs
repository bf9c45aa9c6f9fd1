//! The server: from an HTTP request to an answer.

use std::sync::{Arc, OnceLock, RwLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::form::Form;
use super::logs::PodLogs;
use super::request::{Call, Params};
use super::route::{self, ObjectPath, Path};
use super::write::{self, Context};
use super::{delete, discovery, patch, read, reviews, scale, token, watch};
use crate::admission::strategy::Door;
use crate::auth::{self, Credentials};
use crate::crd::{Custom, Definitions};
use crate::resource::Resource;
use crate::status::{FieldError, Outcome, Status};
use crate::store::{Key, Store};
use crate::workload::AddressRange;

/// Largest request body, as the real server's default.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// Watches open at once.
const WATCH_LIMIT: usize = 2048;

/// Everything a request needs.
pub struct Server {
    /// The objects.
    pub store: Store,
    /// Who may come in.
    pub credentials: Credentials,
    /// Where container output is; set by the workload side when it has started.
    pub logs: OnceLock<Arc<dyn PodLogs>>,
    /// Addresses for Services.
    pub services: AddressRange,
    /// Certificate that clients check the server's by, in PEM; published in every namespace.
    pub authority: String,
    /// Ends all watches.
    pub stop: CancellationToken,
    /// Bounds the watches.
    pub watches: Arc<Semaphore>,
    definitions: RwLock<Arc<Definitions>>,
}

/// An object path with its resource found.
pub struct Target {
    /// The resource type.
    pub resource: Arc<Resource>,
    /// Its definition, for custom ones.
    pub custom: Option<Arc<Custom>>,
    /// Namespace, empty for none or all.
    pub namespace: String,
    /// Name, empty for collections.
    pub name: String,
    /// Subresource, empty for none.
    pub subresource: String,
}

impl Target {
    /// Key of the object.
    pub fn key(&self) -> Key {
        Key::new(&self.resource, &self.namespace, &self.name)
    }
}

impl Server {
    /// A server on a store.
    pub fn new(
        store: Store,
        credentials: Credentials,
        services: AddressRange,
        authority: String,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            credentials,
            logs: OnceLock::new(),
            services,
            authority,
            stop,
            watches: Arc::new(Semaphore::new(WATCH_LIMIT)),
            definitions: RwLock::default(),
        }
    }

    /// The custom resource definitions as they are now.
    pub fn definitions(&self) -> Arc<Definitions> {
        let published = self.store.read();
        let stamp = Definitions::stamp(&published.state);
        let current = self
            .definitions
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        if current.is_at(&stamp) {
            return current;
        }
        let fresh = Arc::new(Definitions::read(&published.state, stamp, &current));
        *self
            .definitions
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = fresh.clone();
        fresh
    }

    /// What a write on a target knows.
    pub fn context(&self, call: &Call, target: &Target, options: &str) -> Outcome<Context> {
        call.check_manager(options)?;
        Ok(Context {
            resource: target.resource.clone(),
            custom: target.custom.clone(),
            manager: call.manager(),
            services: self.services,
            dry_run: call.dry_run(options)?,
        })
    }
}

/// The router of the whole API.
pub fn router(server: Arc<Server>) -> Router {
    Router::new().fallback(entry).with_state(server)
}

async fn entry(State(server): State<Arc<Server>>, request: Request) -> Response {
    match read_call(&server, request).await {
        Ok(call) => handle(&server, &call)
            .await
            .unwrap_or_else(Answer::from)
            .into_response(),
        Err(status) => Answer::from(status).into_response(),
    }
}

async fn read_call(server: &Server, request: Request) -> Outcome<Call> {
    let (parts, body) = request.into_parts();
    let path = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let path: Vec<String> = path.trim_start_matches('/').split('/').map(str::to_string).collect();
    let user = server.credentials.authenticate(&server.store, &parts.headers)?;
    let user = auth::impersonate::resolve(&server.store, &parts.headers, user)?;
    let body = read_body(body).await?;
    Ok(Call {
        method: parts.method,
        path,
        params: Params::of(&parts.uri),
        headers: parts.headers,
        body,
        user,
    })
}

async fn read_body(body: Body) -> Outcome<bytes::Bytes> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(BODY_LIMIT)),
        Err(error) => Err(Status::bad_request(format!("the body could not be read: {error}"))),
    }
}

async fn handle(server: &Arc<Server>, call: &Call) -> Outcome<Answer> {
    match route::parse(&call.path) {
        Path::Objects(path) => objects(server, call, path).await,
        other => {
            auth::authorize_path(server, call)?;
            Ok(discovery::answer(server, call, &other))
        }
    }
}

async fn objects(server: &Arc<Server>, call: &Call, path: ObjectPath) -> Outcome<Answer> {
    if let Some(answer) = reviews::answer(server, call, &path)? {
        return Ok(answer);
    }
    let definitions = server.definitions();
    let found = definitions.find(&path.group, &path.version, &path.plural);
    let Some((resource, custom)) = found else {
        let known = path.group.is_empty() || definitions.has_group(&path.group);
        return if known {
            Err(Status::no_such_resource())
        } else {
            Ok(Answer::no_such_page())
        };
    };
    let target = Target {
        namespace: path.namespace.clone().unwrap_or_default(),
        name: path.name.clone().unwrap_or_default(),
        subresource: path.subresource.clone().unwrap_or_default(),
        resource,
        custom,
    };
    let has_namespace = path.namespace.is_some();
    if has_namespace != target.resource.namespaced && (has_namespace || path.name.is_some()) {
        return Err(Status::no_such_resource());
    }
    auth::authorize(server, call, &path, &target)?;
    dispatch(server, call, target).await
}

async fn dispatch(server: &Arc<Server>, call: &Call, target: Target) -> Outcome<Answer> {
    let verb = route::verb(call, !target.name.is_empty());
    match (target.subresource.as_str(), verb) {
        ("" | "status", "get") if target.subresource.is_empty() || target.resource.status => {
            let answer = read::get(server, call, &target).await?;
            Ok(Form::of(call).apply(&target, answer))
        }
        ("", "list") => {
            let answer = read::list(server, call, &target).await?;
            Ok(Form::of(call).apply(&target, answer))
        }
        ("", "watch") => watch::watch(server, call, &target).await,
        ("", "create") if target.name.is_empty() => create(server, call, target).await,
        ("", "update") => update(server, call, target, Door::Main).await,
        ("", "patch") => patch::patch(server, call, target, Door::Main).await,
        ("", "delete") => delete::delete(server, call, target).await,
        ("", "deletecollection")
            if target.resource.delete_collection && (target.resource.namespaced != target.namespace.is_empty()) =>
        {
            delete::delete_collection(server, call, target).await
        }
        ("status", "update") if target.resource.status => update(server, call, target, Door::Status).await,
        ("status", "patch") if target.resource.status => patch::patch(server, call, target, Door::Status).await,
        ("scale", "get" | "update" | "patch") if target.resource.scale.is_some() => {
            scale::scale(server, call, target, verb).await
        }
        ("finalize", "update") if target.resource.is_core("namespaces") => {
            update(server, call, target, Door::Finalize).await
        }
        ("token", "create") if target.resource.is_core("serviceaccounts") => token::create(server, call, &target).await,
        ("log", "get") if target.resource.is_core("pods") => super::logs::answer(server, call, &target).await,
        ("eviction", "create") if target.resource.is_core("pods") => delete::evict(server, call, target).await,
        ("binding", "create") if target.resource.is_core("pods") => token::bind(server, call, target).await,
        ("status", _) if target.resource.status => Err(Status::method_not_allowed()),
        ("scale", _) if target.resource.scale.is_some() => Err(Status::method_not_allowed()),
        ("", _) => Err(Status::method_not_allowed()),
        _ => Err(Status::no_such_resource()),
    }
}

/// How an object appears through a resource (`events` are shown by two APIs).
pub fn shown(resource: &Resource, object: &Value) -> Value {
    crate::events::shown(resource, object)
}

async fn create(server: &Arc<Server>, call: &Call, target: Target) -> Outcome<Answer> {
    let context = server.context(call, &target, "CreateOptions")?;
    let policy = call.field_validation("CreateOptions")?;
    let duplicates = crate::duplicates::find(call);
    let mut decoded = write::decode_request(&context, call.parse_body()?, policy, duplicates)?;
    decoded.warnings.extend(duplicate_owners(&decoded.object));
    if target.resource.namespaced && target.namespace.is_empty() {
        return Err(Status::method_not_allowed());
    }
    auth::check_escalation(server, call, &target, &decoded.object)?;
    let (namespace, object) = (target.namespace, decoded.object);
    let dry_run = context.dry_run;
    let created = server
        .store
        .write(move |tx| {
            if context.dry_run {
                tx.discard();
            }
            write::create(tx, &context, &namespace, object)
        })
        .await?;
    let mut body = shown(&target.resource, &created);
    if dry_run {
        // What is not stored has no version.
        crate::object::metadata_mut(&mut body).remove("resourceVersion");
    }
    Ok(Answer::with_warnings(201, body, decoded.warnings))
}

/// A warning for each owner named twice.
fn duplicate_owners(object: &Value) -> Option<String> {
    let mut seen = Vec::new();
    let mut twice = Vec::new();
    for owner in crate::object::owners(object) {
        let uid = owner["uid"].as_str().unwrap_or_default();
        if seen.contains(&uid) && !twice.contains(&uid) {
            twice.push(uid);
        }
        seen.push(uid);
    }
    (!twice.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            twice.join(", ")
        )
    })
}

async fn update(server: &Arc<Server>, call: &Call, target: Target, door: Door) -> Outcome<Answer> {
    let context = server.context(call, &target, "UpdateOptions")?;
    let policy = call.field_validation("UpdateOptions")?;
    let duplicates = crate::duplicates::find(call);
    let decoded = write::decode_request(&context, call.parse_body()?, policy, duplicates)?;
    let name = crate::object::name(&decoded.object);
    if name.is_empty() && door == Door::Main {
        return Err(Status::bad_request("name must be provided"));
    }
    if !name.is_empty() && name != target.name {
        let message = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        );
        return Err(Status::bad_request(message));
    }
    auth::check_escalation(server, call, &target, &decoded.object)?;
    let key = target.key();
    let resource = target.resource.clone();
    let object = decoded.object;
    let namespace = target.namespace.clone();
    let (code, stored) = server
        .store
        .write(move |tx| {
            if context.dry_run {
                tx.discard();
            }
            let Some(old) = tx.state().get(&key) else {
                if !(context.resource.put_creates && door == Door::Main) {
                    return Err(Status::not_found(&context.resource, &key.name));
                }
                let mut object = object;
                crate::object::metadata_mut(&mut object).remove("resourceVersion");
                return Ok((201, write::create(tx, &context, &namespace, object)?));
            };
            let (sent, current) = (crate::object::uid(&object), crate::object::uid(old));
            if !sent.is_empty() && sent != current {
                return Err(uid_mismatch(&context.resource, &key, sent, current));
            }
            if context.custom.is_some() && crate::object::resource_version(&object).is_empty() {
                return Err(unversioned(&context.resource, &key.name));
            }
            Ok((200, write::update(tx, &context, door, &key, object, false)?))
        })
        .await?;
    Ok(Answer::with_warnings(code, shown(&resource, &stored), decoded.warnings))
}

/// 422 for a replacement of a custom object that does not say what it replaces.
fn unversioned(resource: &Resource, name: &str) -> Status {
    let error = FieldError::invalid("metadata.resourceVersion", &0.into(), "must be specified for an update");
    Status::invalid(&resource.group, &resource.plural, name, &[error])
}

/// 409 for a uid that is not the object's.
pub fn uid_mismatch(resource: &Resource, key: &Key, sent: &str, current: &str) -> Status {
    let place = if key.namespace.is_empty() {
        String::new()
    } else {
        format!("{}/", key.namespace)
    };
    let plural = if resource.built_in() {
        resource.plural.clone()
    } else {
        format!("{}/{}", resource.group, resource.plural)
    };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{plural}/{place}{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {current}",
        key.name
    );
    Status::conflict(resource, &key.name, &why)
}

impl Server {
    /// Whether a request may change nothing: used to refuse writes while shutting down.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }
}
