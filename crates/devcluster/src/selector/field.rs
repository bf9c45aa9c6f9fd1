//! Field selectors: `metadata.name=a,status.phase!=Running`.

use serde_json::Value;

use crate::object::at;
use crate::resource::Resource;
use crate::status::{Outcome, Status};

/// All terms must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<(String, bool, String)>,
}

/// Fields of a built-in resource that can be selected by, besides name and namespace.
pub fn known_fields(resource: &Resource) -> &'static [&'static str] {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
            "status.podIPs",
        ],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase", "name"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "events") | ("events.k8s.io", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    }
}

impl FieldSelector {
    /// Parses a selector of fields that `resource` knows; `selectable` are those of a custom resource.
    ///
    /// # Errors
    /// 400 for text that is no selector, and for fields that cannot be selected by.
    pub fn parse(text: &str, resource: &Resource, selectable: &[String]) -> Outcome<Self> {
        let mut terms = Vec::new();
        for term in text.split(',').filter(|term| !term.is_empty()) {
            let split = ["!=", "==", "="]
                .iter()
                .find_map(|op| term.split_once(op).map(|(f, v)| (f, *op != "!=", v)));
            let Some((field, equal, value)) = split else {
                return Err(Status::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            check_known(field, resource, selectable)?;
            terms.push((field.to_string(), equal, value.to_string()));
        }
        Ok(Self { terms })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an object satisfies it.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms
            .iter()
            .all(|(field, equal, wanted)| (field_values(object, field) == *wanted) == *equal)
    }
}

fn check_known(field: &str, resource: &Resource, selectable: &[String]) -> Outcome<()> {
    let mut known = vec!["metadata.name"];
    if resource.namespaced || resource.built_in() {
        known.push("metadata.namespace");
    }
    let extra = known_fields(resource);
    if known.contains(&field) || extra.contains(&field) || selectable.iter().any(|f| f.trim_start_matches('.') == field)
    {
        return Ok(());
    }
    if resource.built_in() && extra.is_empty() {
        return Err(Status::bad_request(format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )));
    }
    Err(Status::bad_request(format!("field label not supported: {field}")))
}

/// The text a field is compared by.
pub fn field_values(object: &Value, field: &str) -> String {
    let field = match field {
        "name" => "metadata.name",
        "source" => "source.component",
        "status.successful" => "status.succeeded",
        other => other,
    };
    match at(object, field) {
        Value::String(text) => text.clone(),
        Value::Null if field == "spec.hostNetwork" || field == "spec.unschedulable" => "false".into(),
        Value::Null if field == "status.succeeded" => "0".into(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
