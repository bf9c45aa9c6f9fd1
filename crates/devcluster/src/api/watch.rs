//! Watches: each reads the shared history from where it is, so that a slow one costs nothing but itself.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::Answer;
use super::form::Form;
use super::read::{Selection, check_options, parse_version};
use super::request::Call;
use super::server::{Server, Target, shown};
use crate::status::{Outcome, Status};
use crate::store::{Event, EventKind, Object};

/// A watch without `timeoutSeconds` ends after this; clients start another.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// Time between bookmarks.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(30);
/// A watch that ends sends its bookmark this long before.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Events sent as one piece at most.
const BATCH_LIMIT: usize = 100;

/// Answers a watch.
pub async fn watch(server: &Arc<Server>, call: &Call, target: &Target) -> Outcome<Answer> {
    check_options(call, true)?;
    let selection = Selection::of(call, target)?;
    let asked = call.params.get("resourceVersion").map(parse_version).transpose()?;
    let permit = server.watches.clone().try_acquire_owned();
    let permit =
        permit.map_err(|_| Status::too_many_requests("too many watches are open: close some and try again"))?;
    let bookmarks = call.params.flag("allowWatchBookmarks");
    let initial_events = call.params.get("sendInitialEvents").map(|text| text == "true");
    let timeout = call
        .params
        .number("timeoutSeconds")
        .and_then(|s| u64::try_from(s).ok())
        .filter(|s| *s > 0);
    let timeout = timeout.map_or(DEFAULT_TIMEOUT, Duration::from_secs);

    let mut watch = Watch {
        server: server.clone(),
        target: clone_target(target),
        selection,
        form: Form::of(call),
        columns_sent: false,
        position: 0,
        deadline: Instant::now() + timeout,
        next_bookmark: bookmarks.then(|| Instant::now() + BOOKMARK_PERIOD.min(timeout.saturating_sub(LAST_BOOKMARK))),
        ended: false,
    };
    let first = watch.start(asked, initial_events, bookmarks);
    let stream = futures::stream::unfold((watch, first, permit), |(mut watch, first, permit)| async move {
        let chunk = match first {
            Some(first) => first,
            None => watch.next().await?,
        };
        Some((Ok::<Bytes, std::convert::Infallible>(chunk), (watch, None, permit)))
    });
    Ok(Answer::Stream(Body::from_stream(stream), "application/json"))
}

fn clone_target(target: &Target) -> Target {
    Target {
        resource: target.resource.clone(),
        custom: target.custom.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        subresource: String::new(),
    }
}

struct Watch {
    server: Arc<Server>,
    target: Target,
    selection: Selection,
    form: Form,
    /// Whether a table with its columns has been sent.
    columns_sent: bool,
    /// The last revision that has been sent or passed over.
    position: u64,
    deadline: Instant,
    next_bookmark: Option<Instant>,
    ended: bool,
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

impl Watch {
    /// An event about an object, in the form that was asked for.
    fn event(&mut self, kind: &str, object: &Value) -> String {
        let object = self.form.object(&self.target, object, !self.columns_sent);
        self.columns_sent = true;
        line(kind, &object)
    }

    /// Finds the start; returns what is sent at once.
    fn start(&mut self, asked: Option<u64>, initial_events: Option<bool>, bookmarks: bool) -> Option<Bytes> {
        let server = self.server.clone();
        let published = server.store.read();
        let current = published.state.revision();
        let from_now = matches!(asked, None | Some(0));
        let with_state = initial_events.unwrap_or(from_now);
        if !with_state {
            self.position = if from_now { current } else { asked.unwrap_or(current) };
            return None;
        }
        self.position = current;
        let storage = self.target.resource.storage();
        let place = self.target.namespace.clone();
        let namespace = (!place.is_empty()).then_some(place.as_str());
        let mut text = String::new();
        for (_, object) in published.state.list(&storage, namespace) {
            if self.selection.matches(object) {
                text.push_str(&self.event("ADDED", &shown(&self.target.resource, object)));
            }
        }
        if initial_events == Some(true) && bookmarks {
            let mut mark = self.bookmark();
            mark["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
            text.push_str(&self.event("BOOKMARK", &mark));
        }
        (!text.is_empty()).then(|| text.into())
    }

    fn bookmark(&self) -> Value {
        let resource = &self.target.resource;
        let mut mark = json!({
            "kind": resource.kind, "apiVersion": resource.api_version(),
            "metadata": { "resourceVersion": self.position.to_string() },
        });
        if !resource.built_in() {
            return mark;
        }
        if let (Value::Object(zero), Value::Object(map)) = (crate::admission::zero(resource), &mut mark) {
            for (key, value) in zero {
                map.entry(key).or_insert(value);
            }
        }
        mark
    }

    /// The next piece, `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut revisions = self.server.store.revisions();
        loop {
            match self.pending() {
                Ok(text) if !text.is_empty() => return Some(text.into()),
                Ok(_) => {}
                Err(status) => {
                    self.ended = true;
                    return Some(line("ERROR", &status.body()).into());
                }
            }
            let now = Instant::now();
            if now >= self.deadline {
                return None;
            }
            if self.next_bookmark.is_some_and(|at| now >= at) {
                self.next_bookmark = Some((now + BOOKMARK_PERIOD).min(self.deadline + BOOKMARK_PERIOD));
                let mark = self.bookmark();
                return Some(self.event("BOOKMARK", &mark).into());
            }
            let wake = self.next_bookmark.map_or(self.deadline, |at| at.min(self.deadline));
            let position = self.position;
            tokio::select! {
                () = self.server.stop.cancelled() => return None,
                changed = revisions.wait_for(|revision| *revision > position) => if changed.is_err() { return None },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Events since the position, as text; moves the position.
    fn pending(&mut self) -> Outcome<String> {
        let server = self.server.clone();
        let published = server.store.read();
        let storage = self.target.resource.storage();
        let mut text = String::new();
        let mut count = 0;
        let first = self.target.custom.as_ref().map_or(0, |custom| custom.since);
        if self.position < first {
            return Err(Status::expired(format!(
                "too old resource version: {} ({first})",
                self.position
            )));
        }
        for change in published.history.since(self.position)? {
            self.position = change.revision();
            let key = change.key();
            let here =
                key.storage == storage && (self.target.namespace.is_empty() || self.target.namespace == key.namespace);
            if !here {
                continue;
            }
            if let Some((kind, object)) = self.seen(&change.event()) {
                text.push_str(&self.event(kind, &shown(&self.target.resource, &object)));
                count += 1;
                if count >= BATCH_LIMIT {
                    break;
                }
            }
        }
        Ok(text)
    }

    /// How an event looks through the selection: entering it is an addition, leaving it a deletion.
    fn seen(&self, event: &Event) -> Option<(&'static str, Object)> {
        let before = event
            .previous
            .as_ref()
            .is_some_and(|object| self.selection.matches(object));
        let after = event.kind != EventKind::Deleted && self.selection.matches(&event.object);
        match (before, after) {
            (false, true) => Some(("ADDED", event.object.clone())),
            (true, true) => Some(("MODIFIED", event.object.clone())),
            (true, false) if event.kind == EventKind::Deleted => Some(("DELETED", event.object.clone())),
            (true, false) => {
                let mut last = event.previous.as_deref().cloned().unwrap_or_default();
                last["metadata"]["resourceVersion"] = event.revision.to_string().into();
                Some(("DELETED", Arc::new(last)))
            }
            (false, false) => None,
        }
    }
}
