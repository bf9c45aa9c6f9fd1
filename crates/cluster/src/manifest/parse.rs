//! From text to typed objects, with an error that names the place.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ManifestError, Place};
use super::kind::Kind;
use super::object::Object;
use super::policy::{KindPolicy, Limits};
use super::rules;

/// Reads every document and checks it against the policy.
pub(super) fn objects(yaml: &str, policy: &KindPolicy) -> Result<Vec<Object>, ManifestError> {
    let limits = policy.limits();
    if yaml.len() > limits.bytes {
        return Err(ManifestError::TooLarge {
            bytes: yaml.len(),
            limit: limits.bytes,
        });
    }
    let mut objects = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, value) in documents(yaml, limits)?.into_iter().enumerate() {
        let (object, place) = object(index + 1, value, policy)?;
        if !seen.insert(object.reference()) {
            return Err(ManifestError::Duplicate { place });
        }
        objects.push(object);
    }
    if objects.is_empty() {
        return Err(ManifestError::Empty);
    }
    Ok(objects)
}

fn documents(yaml: &str, limits: Limits) -> Result<Vec<Value>, ManifestError> {
    // Every bound is proportional to the size of the text, so that aliases cannot make little text into much data.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: limits.depth,
            max_documents: limits.documents.saturating_add(1),
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 16,
        },
        with_snippet: false,
    };
    let mut reader = yaml.as_bytes();
    let mut documents = Vec::new();
    for value in serde_saphyr::read_with_options::<_, Value>(&mut reader, options) {
        if documents.len() == limits.documents {
            return Err(ManifestError::TooManyDocuments {
                limit: limits.documents,
            });
        }
        let value = value.map_err(|e| ManifestError::NotYaml {
            document: documents.len() + 1,
            message: e.to_string(),
        })?;
        documents.push(value);
    }
    Ok(documents)
}

fn object(document: usize, mut value: Value, policy: &KindPolicy) -> Result<(Object, Place), ManifestError> {
    let Some(map) = value.as_object_mut() else {
        return Err(ManifestError::NotAnObject { document });
    };
    // What the cluster reports is no wish; exported manifests often carry it along.
    map.remove("status");
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let place = Place {
        document,
        kind: kind.clone(),
        name: name.clone(),
    };
    let required = |value: Option<String>, field| {
        value
            .filter(|v| !v.is_empty())
            .ok_or_else(|| ManifestError::MissingField {
                place: place.clone(),
                field,
            })
    };
    let api_version = required(api_version, "apiVersion")?;
    let kind_name = required(kind, "kind")?;
    let Some(kind) = Kind::named(&api_version, &kind_name).filter(|k| policy.allows(*k)) else {
        return Err(ManifestError::KindNotAllowed {
            place,
            api_version,
            allowed: policy.list(),
        });
    };
    required(name, "metadata.name")?;

    let object = match kind {
        Kind::ServiceAccount => Object::ServiceAccount(typed(&value, &place)?),
        Kind::ConfigMap => Object::ConfigMap(typed(&value, &place)?),
        Kind::Secret => Object::Secret(typed(&value, &place)?),
        Kind::Service => Object::Service(typed(&value, &place)?),
        Kind::Deployment => Object::Deployment(typed(&value, &place)?),
        Kind::Job => Object::Job(typed(&value, &place)?),
    };
    refuse_unknown_fields(&value, &object, &place)?;
    rules::check(&object, policy.limits()).map_err(|violation| ManifestError::NotPermitted {
        place: place.clone(),
        field: violation.field,
        rule: violation.rule,
    })?;
    Ok((object, place))
}

fn typed<K: DeserializeOwned>(value: &Value, place: &Place) -> Result<K, ManifestError> {
    serde_path_to_error::deserialize(value).map_err(|e| ManifestError::Malformed {
        place: place.clone(),
        field: e.path().to_string(),
        message: e.inner().to_string(),
    })
}

/// Refuses fields that the typed form does not have.
///
/// Only the typed form is checked and applied; a field it lost would be neither, so a misspelt `replicas` would silently be 1.
fn refuse_unknown_fields(value: &Value, object: &Object, place: &Place) -> Result<(), ManifestError> {
    let unknown = |field: String| ManifestError::UnknownField {
        place: place.clone(),
        field,
    };
    let typed = serde_json::to_value(object).map_err(|e| ManifestError::Malformed {
        place: place.clone(),
        field: ".".to_owned(),
        message: e.to_string(),
    })?;
    match lost_field(value, &typed) {
        Some(path) => Err(unknown(path)),
        None => Ok(()),
    }
}

/// The path of the first field of `written` that is absent from `kept`.
fn lost_field(written: &Value, kept: &Value) -> Option<String> {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => written.iter().find_map(|(key, value)| match kept.get(key) {
            Some(kept) => lost_field(value, kept).map(|rest| join(key, &rest)),
            // An explicit null is the same as leaving the field out.
            None if value.is_null() => None,
            None => Some(key.clone()),
        }),
        (Value::Array(written), Value::Array(kept)) => written.iter().enumerate().find_map(|(i, value)| {
            let rest = lost_field(value, kept.get(i).unwrap_or(&Value::Null))?;
            Some(join(&format!("[{i}]"), &rest))
        }),
        _ => None,
    }
}

fn join(key: &str, rest: &str) -> String {
    if rest.is_empty() || rest.starts_with('[') {
        format!("{key}{rest}")
    } else {
        format!("{key}.{rest}")
    }
}
