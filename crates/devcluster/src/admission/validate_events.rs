//! Validation of events. Errors name the fields of core/v1, whatever API the event came through.

use serde_json::Value;

use crate::resource::Resource;
use crate::status::FieldError;

/// Longest `reason` and `action`.
const WORD_LIMIT: usize = 128;
/// Longest note.
const NOTE_LIMIT: usize = 1024;

/// What keeps a new event out.
pub(super) fn create(resource: &Resource, event: &Value) -> Vec<FieldError> {
    let new_api = resource.group == "events.k8s.io";
    let about = &event[if new_api { "regarding" } else { "involvedObject" }];
    let mut errors = Vec::new();
    let namespace = crate::object::namespace(event);
    let about_namespace = about["namespace"].as_str().unwrap_or_default();
    let of_cluster = about_namespace.is_empty() && matches!(namespace, "default" | "kube-system");
    if about_namespace != namespace && !of_cluster {
        let detail = "does not match event.namespace";
        return vec![FieldError::invalid(
            "involvedObject.namespace",
            &about_namespace.into(),
            detail,
        )];
    }
    if !new_api {
        return errors;
    }
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    if event["eventTime"].is_null() {
        errors.push(FieldError::required("eventTime", ""));
    }
    for (field, name) in [
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
        ("action", "action"),
        ("reason", "reason"),
    ] {
        if text(field).is_empty() {
            errors.push(FieldError::required(name, ""));
        } else if text(field).len() > WORD_LIMIT {
            errors.push(FieldError::invalid(
                name,
                &"".into(),
                format!("can have at most {WORD_LIMIT} characters"),
            ));
        }
    }
    if text("note").len() > NOTE_LIMIT {
        errors.push(FieldError::invalid(
            "message",
            &"".into(),
            format!("can have at most {NOTE_LIMIT} characters"),
        ));
    }
    if !matches!(text("type"), "Normal" | "Warning") {
        errors.push(FieldError::invalid(
            "type",
            &"".into(),
            format!("has invalid value: {}", text("type")),
        ));
    }
    errors
}

/// What keeps a change of an event out: through the new API only the series may change.
pub(super) fn update(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    if resource.group != "events.k8s.io" {
        return Vec::new();
    }
    let fields = [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    fields
        .into_iter()
        .filter(|(field, _)| old[*field] != new[*field])
        .map(|(field, name)| FieldError::invalid(name, &new[field], "field is immutable"))
        .collect()
}
