//! In what form a client wants objects: as they are, as a table, or their metadata alone.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::Answer;
use super::request::Call;
use super::server::Target;
use crate::table::{Include, TableMaker, metadata_only};

/// The form of an answer, from `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Objects as they are.
    Whole,
    /// Rows of cells.
    Table(Include),
    /// `PartialObjectMetadata`.
    Metadata,
}

impl Form {
    /// The first form in `Accept` that this server has; whole objects if there is none.
    pub fn of(call: &Call) -> Self {
        let include = match call.params.get("includeObject") {
            Some("None") => Include::None,
            Some("Object") => Include::Object,
            _ => Include::Metadata,
        };
        for clause in call.accept().split(',') {
            let parameter = |name: &str| {
                let mut parameters = clause.split(';').skip(1).filter_map(|p| p.trim().split_once('='));
                parameters.find(|(key, _)| *key == name).map(|(_, value)| value)
            };
            match (parameter("as"), parameter("g"), parameter("v")) {
                (Some("Table"), Some("meta.k8s.io"), Some("v1")) => return Self::Table(include),
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
                    return Self::Metadata;
                }
                (None, ..) => return Self::Whole,
                _ => {}
            }
        }
        Self::Whole
    }

    /// An answer about objects of a type, in this form. Refusals stay what they are.
    pub fn apply(self, target: &Target, answer: Answer) -> Answer {
        match answer {
            Answer::Json {
                code,
                body,
                warnings,
                content_type,
            } if self != Self::Whole && code < 400 => Answer::Json {
                code,
                body: self.convert(target, body),
                warnings,
                content_type,
            },
            other => other,
        }
    }

    fn convert(self, target: &Target, body: Value) -> Value {
        if body["kind"] == target.resource.list_kind.as_str() {
            let items: Vec<&Value> = body["items"].as_array().into_iter().flatten().collect();
            return match self {
                Self::Whole => body,
                Self::Table(include) => self.maker(target, include).table(&body["metadata"], &items, true),
                Self::Metadata => json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"],
                    "items": items.into_iter().map(metadata_only).collect::<Vec<_>>(),
                }),
            };
        }
        // A deletion may be answered by a Status, a scale by a Scale.
        if body["kind"] == target.resource.kind.as_str() {
            self.object(target, &body, true)
        } else {
            body
        }
    }

    /// One object in this form; the columns of a watch's tables are sent once.
    pub fn object(self, target: &Target, object: &Value, with_columns: bool) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Table(include) => self
                .maker(target, include)
                .table(&object["metadata"], &[object], with_columns),
            Self::Metadata => metadata_only(object),
        }
    }

    fn maker(self, target: &Target, include: Include) -> TableMaker<'_> {
        TableMaker {
            resource: &target.resource,
            custom: target.custom.as_ref().map(|custom| &custom.columns),
            include,
            now: Timestamp::now(),
        }
    }
}
