//! Get and list.

use std::time::Duration;

use base64::Engine;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::request::Call;
use super::server::{Server, Target, shown};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{FieldError, Outcome, Status};
use crate::store::{Key, Object};

/// How long a read waits for a revision that has not been reached, as the real server does.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// Answers `GET` of one object.
pub async fn get(server: &Server, call: &Call, target: &Target) -> Outcome<Answer> {
    if let Some(asked) = call.params.get("resourceVersion") {
        wait_for(server, parse_version(asked)?, true).await?;
    }
    let object = server.store.read().state.get(&target.key()).cloned();
    let object = object.ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
    Ok(Answer::ok(shown(&target.resource, &object)))
}

/// What a list or watch selects.
pub struct Selection {
    /// By labels.
    pub labels: LabelSelector,
    /// By fields.
    pub fields: FieldSelector,
}

impl Selection {
    /// From the query.
    ///
    /// # Errors
    /// 400 for selectors that cannot be read.
    pub fn of(call: &Call, target: &Target) -> Outcome<Self> {
        let selectable = target.custom.as_ref().map(|c| c.selectable.clone()).unwrap_or_default();
        let fields = call.params.get("fieldSelector").unwrap_or_default();
        Ok(Self {
            labels: LabelSelector::parse(call.params.get("labelSelector").unwrap_or_default())?,
            fields: FieldSelector::parse(fields, &target.resource, &selectable)?,
        })
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

/// Refuses combinations of list options that contradict each other.
pub fn check_options(call: &Call, watch: bool) -> Outcome<()> {
    let mut errors = Vec::new();
    let matching = call.params.get("resourceVersionMatch");
    let version = call.params.get("resourceVersion");
    let forbidden = |detail: &str| FieldError::forbidden("resourceVersionMatch", detail);
    let initial = call.params.get("sendInitialEvents").is_some();
    match matching {
        Some(_) if watch && !initial => {
            errors.push(forbidden(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        Some(other) if watch && other != "NotOlderThan" => {
            errors.push(forbidden(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        None if watch && initial => {
            errors.push(forbidden(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        Some(_) if watch => {}
        Some(_) if call.params.get("continue").is_some() => {
            errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        Some(_) if version.is_none() => {
            errors.push(forbidden(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        Some("Exact") if version == Some("0") => {
            errors.push(forbidden(
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        Some("Exact" | "NotOlderThan") | None => {}
        Some(other) => errors.push(FieldError::not_supported(
            "resourceVersionMatch",
            &other.into(),
            &["Exact", "NotOlderThan", ""],
        )),
    }
    if !watch && initial {
        errors.push(FieldError::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors))
    }
}

/// Reads a resource version.
///
/// # Errors
/// 500 for text that is no number, as the real server answers.
pub fn parse_version(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| {
        Status::unclassified(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// Waits a little for a revision that lies in the future.
///
/// # Errors
/// 504 if it does not come.
pub async fn wait_for(server: &Server, revision: u64, retry: bool) -> Outcome<()> {
    let mut revisions = server.store.revisions();
    let reached = revisions.wait_for(|now| *now >= revision);
    if tokio::time::timeout(FUTURE_WAIT, reached)
        .await
        .is_ok_and(|r| r.is_ok())
    {
        return Ok(());
    }
    let current = server.store.read().state.revision();
    Err(Status::too_large_resource_version(revision, current, retry))
}

/// Where the next page starts.
struct Continue {
    revision: u64,
    after: Key,
}

impl Continue {
    fn encode(&self) -> String {
        let text = json!({ "v": "meta.k8s.io/v1", "rv": self.revision, "namespace": self.after.namespace, "name": self.after.name });
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text.to_string())
    }

    fn decode(token: &str, storage: &str) -> Outcome<Self> {
        let refused = || Status::bad_request("continue key is not valid: the token is not one this server made");
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| refused())?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| refused())?;
        let text = |key: &str| value[key].as_str().map(str::to_string).ok_or_else(refused);
        Ok(Self {
            revision: value["rv"].as_u64().ok_or_else(refused)?,
            after: Key {
                storage: storage.into(),
                namespace: text("namespace")?,
                name: text("name")?,
            },
        })
    }
}

/// Answers a list.
pub async fn list(server: &Server, call: &Call, target: &Target) -> Outcome<Answer> {
    check_options(call, false)?;
    let selection = Selection::of(call, target)?;
    let limit = usize::try_from(call.params.number("limit").unwrap_or(0)).unwrap_or(0);
    let storage = target.resource.storage();
    let namespace = (!target.namespace.is_empty()).then_some(target.namespace.as_str());
    let version = call.params.get("resourceVersion");
    let token = call.params.get("continue");
    if token.is_some() && version.is_some_and(|v| v != "0") {
        return Err(Status::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let page = token.map(|token| Continue::decode(token, &storage)).transpose()?;
    let asked = version.map(parse_version).transpose()?.unwrap_or(0);
    if page.is_none() && asked > 0 {
        wait_for(server, asked, call.params.get("resourceVersionMatch") != Some("Exact")).await?;
    }
    let exact = (call.params.get("resourceVersionMatch") == Some("Exact")
        || (limit > 0 && asked > 0 && call.params.get("resourceVersionMatch").is_none()))
    .then_some(asked);
    let (revision, objects) = {
        let published = server.store.read();
        match page.as_ref().map(|page| page.revision).or(exact) {
            Some(revision) => {
                let expired = |status: Status| {
                    if page.is_some() {
                        continue_expired(status)
                    } else {
                        status
                    }
                };
                let list = published
                    .history
                    .list_at(&published.state, &storage, namespace, revision)
                    .map_err(expired)?;
                (revision, list)
            }
            None => {
                let list = published
                    .state
                    .list(&storage, namespace)
                    .map(|(k, o)| (k.clone(), o.clone()))
                    .collect();
                (published.state.revision(), list)
            }
        }
    };
    // `resourceVersion=0` with a continue token ignores the limit, as the real server's cache does.
    let limit = if token.is_some() && version == Some("0") {
        0
    } else {
        limit
    };
    let start = page
        .as_ref()
        .map_or(0, |page| objects.partition_point(|(key, _)| *key <= page.after));
    Ok(Answer::ok(page_of(
        target,
        &selection,
        &objects[start..],
        limit,
        revision,
    )))
}

fn continue_expired(mut status: Status) -> Status {
    status.message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.".into();
    status
}

fn page_of(target: &Target, selection: &Selection, objects: &[(Key, Object)], limit: usize, revision: u64) -> Value {
    let mut items = Vec::new();
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), revision.to_string().into());
    for (index, (key, object)) in objects.iter().enumerate() {
        if !selection.matches(object) {
            continue;
        }
        items.push(list_item(target, object));
        if limit > 0 && items.len() == limit {
            let rest = &objects[index + 1..];
            let selective = !(selection.labels.is_empty() && selection.fields.is_empty());
            if !rest.is_empty() {
                metadata.insert(
                    "continue".into(),
                    Continue {
                        revision,
                        after: key.clone(),
                    }
                    .encode()
                    .into(),
                );
                if !selective {
                    metadata.insert("remainingItemCount".into(), rest.len().into());
                }
            }
            break;
        }
    }
    if !target.resource.built_in() {
        metadata.entry("continue").or_insert_with(|| "".into());
    }
    json!({
        "kind": target.resource.list_kind, "apiVersion": target.resource.api_version(),
        "metadata": metadata, "items": items,
    })
}

/// Items of built-in lists do not repeat their kind.
fn list_item(target: &Target, object: &Value) -> Value {
    let mut item = shown(&target.resource, object);
    if let (true, Some(map)) = (target.resource.built_in(), item.as_object_mut()) {
        map.remove("kind");
        map.remove("apiVersion");
    }
    item
}
