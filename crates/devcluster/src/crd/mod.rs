//! Custom resources: what their definitions say, and what follows from it.

mod definition;
mod rules;
mod schema;
mod structural;
mod validate;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use kube_cel::RootContext;
use serde_json::Value;

pub use definition::{accepted_status, established, storage_versions, validate_definition};

use rules::Rules;

use crate::admission::strategy::Door;
use crate::resource::{Catalog, Resource, ScalePaths};
use crate::schema::{DecodeError, Shape};
use crate::status::FieldError;
use crate::store::State;
use crate::table::PrinterColumns;

const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// One version of a custom resource.
#[derive(Debug)]
pub struct Custom {
    /// Its structural schema.
    pub schema: Value,
    /// The same for merging.
    pub shape: Shape,
    /// What Table answers show.
    pub columns: PrinterColumns,
    /// Rules in CEL.
    rules: Rules,
    /// What rules at the root may ask for.
    root: RootContext,
    /// JSON paths of fields that can be selected by.
    pub selectable: Vec<String>,
    /// The revision at which it was first served: what happened before is not known to watches.
    pub since: u64,
}

impl Custom {
    /// Drops fields the schema does not know; returns their paths.
    ///
    /// # Errors
    /// Metadata with a value of a wrong type.
    pub fn prune(&self, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        schema::prune_object(&self.schema, object)
    }

    /// Fills defaults.
    pub fn default(&self, object: &mut Value) {
        schema::default(&self.schema, object);
    }

    /// What is wrong with an object: its structure first, then the rules, which suppose that the structure is right.
    pub fn validate(&self, old: Option<&Value>, new: &Value, door: Door) -> Vec<FieldError> {
        let mut errors = match door {
            Door::Status => validate::validate_status(&self.schema, new),
            _ => validate::validate(&self.schema, new),
        };
        if self.rules.is_empty() {
            return errors;
        }
        match rules::unchecked(&errors) {
            Some(note) => errors.push(note),
            None => errors.extend(self.rules.check(old, new, &self.root)),
        }
        errors
    }
}

/// Group, version, plural.
type PathKey = (String, String, String);

/// All custom resources at one time.
#[derive(Debug, Default)]
pub struct Definitions {
    stamp: Vec<(String, String)>,
    by_path: BTreeMap<PathKey, (Arc<Resource>, Arc<Custom>)>,
}

impl Definitions {
    /// What tells two sets of definitions apart: names and versions.
    pub fn stamp(state: &State) -> Vec<(String, String)> {
        let entry = |object: &Value| {
            (
                crate::object::name(object).to_string(),
                crate::object::resource_version(object).to_string(),
            )
        };
        state.list(STORAGE, None).map(|(_, object)| entry(object)).collect()
    }

    /// Whether this is the set with that stamp.
    pub fn is_at(&self, stamp: &[(String, String)]) -> bool {
        self.stamp == stamp
    }

    /// Reads the definitions that are established.
    pub fn read(state: &State, stamp: Vec<(String, String)>, before: &Self) -> Self {
        let mut by_path = BTreeMap::new();
        for (_, definition) in state
            .list(STORAGE, None)
            .filter(|(_, definition)| established(definition))
        {
            for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
                if version["served"] != true {
                    continue;
                }
                let resource = resource_of(definition, version);
                let schema = version["schema"]["openAPIV3Schema"].clone();
                let shape = schema::root_shape(&schema);
                let root = RootContext {
                    api_version: resource.api_version(),
                    api_group: resource.group.clone(),
                    kind: resource.kind.clone(),
                };
                let selectable = version["selectableFields"].as_array().into_iter().flatten();
                let selectable = selectable
                    .filter_map(|f| f["jsonPath"].as_str().map(str::to_string))
                    .collect();
                let key = (
                    resource.group.clone(),
                    resource.version.clone(),
                    resource.plural.clone(),
                );
                let since = before
                    .by_path
                    .get(&key)
                    .map_or(state.revision(), |(_, custom)| custom.since);
                by_path.insert(
                    key,
                    (
                        Arc::new(resource),
                        Arc::new(Custom {
                            rules: Rules::of(&schema),
                            root,
                            schema,
                            shape,
                            columns: PrinterColumns::of(version),
                            selectable,
                            since,
                        }),
                    ),
                );
            }
        }
        Self { stamp, by_path }
    }

    /// The resource at a path, with its definition if it is custom.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<(Arc<Resource>, Option<Arc<Custom>>)> {
        if let Some(resource) = Catalog::built_in().find(group, version, plural) {
            return Some((resource, None));
        }
        let (resource, custom) = self.by_path.get(&(group.into(), version.into(), plural.into()))?;
        Some((resource.clone(), Some(custom.clone())))
    }

    /// All resources, built in and custom.
    pub fn resources(&self) -> impl Iterator<Item = Arc<Resource>> {
        Catalog::built_in()
            .iter()
            .cloned()
            .chain(self.by_path.values().map(|(resource, _)| resource.clone()))
    }

    /// All resources, with the definitions of the custom ones.
    pub fn resources_with_definition(&self) -> impl Iterator<Item = (Arc<Resource>, Option<Arc<Custom>>)> {
        let built_in = Catalog::built_in().iter().map(|resource| (resource.clone(), None));
        let custom = self.by_path.values();
        built_in.chain(custom.map(|(resource, custom)| (resource.clone(), Some(custom.clone()))))
    }

    /// Whether anything is served in a group.
    pub fn has_group(&self, group: &str) -> bool {
        ["authentication.k8s.io", "authorization.k8s.io"].contains(&group) || self.resources().any(|r| r.group == group)
    }
}

fn resource_of(definition: &Value, version: &Value) -> Resource {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let scale = &version["subresources"]["scale"];
    Resource {
        group: text(&spec["group"]),
        version: text(&version["name"]),
        plural: text(&names["plural"]),
        singular: text(&names["singular"]),
        kind: text(&names["kind"]),
        list_kind: text(&names["listKind"]),
        namespaced: spec["scope"] == "Namespaced",
        short_names: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        status: version["subresources"]["status"].is_object(),
        scale: scale.is_object().then(|| ScalePaths {
            spec_replicas: text(&scale["specReplicasPath"]),
            status_replicas: text(&scale["statusReplicasPath"]),
            label_selector: Some(text(&scale["labelSelectorPath"])),
        }),
        generation: true,
        delete_collection: true,
        put_creates: false,
        shape: None,
    }
}

/// Order of versions by priority: GA before beta before alpha, higher numbers first; the greater is preferred.
pub fn version_order(a: &str, b: &str) -> Ordering {
    fn rank(version: &str) -> (u8, u64, u64) {
        let Some(rest) = version.strip_prefix('v') else {
            return (0, 0, 0);
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (Ok(major), tail) = (rest[..digits].parse::<u64>(), &rest[digits..]) else {
            return (0, 0, 0);
        };
        let minor = |tail: &str| tail.parse::<u64>().ok();
        match tail {
            "" => (3, major, 0),
            tail => match (
                tail.strip_prefix("beta").and_then(minor),
                tail.strip_prefix("alpha").and_then(minor),
            ) {
                (Some(minor), _) => (2, major, minor),
                (_, Some(minor)) => (1, major, minor),
                _ => (0, 0, 0),
            },
        }
    }
    rank(a).cmp(&rank(b)).then_with(|| b.cmp(a))
}

#[cfg(test)]
mod tests {
    use super::version_order;

    #[test]
    fn released_versions_come_before_beta_and_alpha() {
        let mut versions = vec![
            "foo1",
            "v1alpha1",
            "v10beta3",
            "v2",
            "v11alpha2",
            "v12alpha1",
            "v3beta1",
            "v11beta2",
            "v10",
            "v1",
        ];
        versions.sort_by(|a, b| version_order(b, a));
        let expected = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "v1alpha1",
            "foo1",
        ];
        assert_eq!(versions, expected);
    }
}
