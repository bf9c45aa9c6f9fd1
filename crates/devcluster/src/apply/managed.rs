//! `metadata.managedFields`: tracking who set what, on updates and on applies.

use serde_json::{Value, json};

use super::compare::compare;
use super::fields::FieldSet;
use super::merge::{merge, remove};
use super::walk::fields_of;
use crate::schema::Shape;
use crate::status::{Outcome, Status};

/// Managers that update are merged into one beyond this number.
const UPDATE_MANAGERS_LIMIT: usize = 10;
/// Their common name then.
const ANCIENT: &str = "ancient-changes";
/// Owner of fields that were there before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields of metadata that nobody owns.
const UNOWNED: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// On what, and through which door, a write happens.
pub struct Scope<'a> {
    /// Shape of the object.
    pub shape: &'a Shape,
    /// `apiVersion` of the request.
    pub api_version: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Subtrees this door may not set (`status` on the main resource).
    pub reset: &'a FieldSet,
    /// The object before it has any field: what a Go program marshals from a zero value.
    pub zero: &'a Value,
    /// RFC 3339 time.
    pub now: &'a str,
}

#[derive(Debug, Clone, PartialEq)]
struct Manager {
    name: String,
    apply: bool,
    api_version: String,
    subresource: String,
    time: Option<String>,
    fields: FieldSet,
}

impl Manager {
    fn same_as(&self, other: &Manager) -> bool {
        let identity = |m: &Manager| (m.name.clone(), m.apply, m.subresource.clone());
        identity(self) == identity(other) && (self.apply || self.api_version == other.api_version)
    }

    fn described(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.apply {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

fn parse(entries: &Value) -> Option<Vec<Manager>> {
    let mut managers = Vec::new();
    for entry in entries.as_array()? {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        managers.push(Manager {
            name: text("manager"),
            apply: match text("operation").as_str() {
                "Apply" => true,
                "Update" => false,
                _ => return None,
            },
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry.get("time").and_then(Value::as_str).map(str::to_string),
            fields: FieldSet::from_json(entry.get("fieldsV1").unwrap_or(&json!({})))?,
        });
    }
    Some(managers)
}

fn stored(object: Option<&Value>) -> Vec<Manager> {
    object
        .and_then(|o| parse(&o["metadata"]["managedFields"]))
        .unwrap_or_default()
}

/// Managers to start from on an update: those the request sends, unless it sends none that can be read.
fn starting_point(live: Option<&Value>, new: &Value, subresource: &str) -> Vec<Manager> {
    let sent = &new["metadata"]["managedFields"];
    if let (true, Some(entries)) = (subresource.is_empty(), sent.as_array()) {
        let reset = entries.is_empty() || (entries.len() == 1 && entries[0].as_object().is_some_and(|e| e.is_empty()));
        if reset {
            return Vec::new();
        }
        if let Some(managers) = parse(sent).filter(|managers| !managers.is_empty()) {
            return managers;
        }
    }
    stored(live)
}

fn write_back(object: &mut Value, mut managers: Vec<Manager>) {
    managers.retain(|manager| !manager.fields.is_empty());
    managers.sort_by(|a, b| {
        (!a.apply, &a.time, &a.name, &a.subresource).cmp(&(!b.apply, &b.time, &b.name, &b.subresource))
    });
    let entries: Vec<Value> = managers
        .into_iter()
        .map(|manager| {
            let mut entry = json!({
                "manager": manager.name, "operation": if manager.apply { "Apply" } else { "Update" },
                "apiVersion": manager.api_version, "fieldsType": "FieldsV1", "fieldsV1": manager.fields.to_json(),
            });
            if let Some(time) = manager.time {
                entry["time"] = time.into();
            }
            if !manager.subresource.is_empty() {
                entry["subresource"] = manager.subresource.into();
            }
            entry
        })
        .collect();
    strip_managed_fields(object);
    if !entries.is_empty() {
        object["metadata"]["managedFields"] = entries.into();
    }
}

/// Takes `managedFields` out.
pub fn strip_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    strip_managed_fields(&mut object);
    object
}

fn unowned() -> FieldSet {
    let path = |names: &[&str]| names.iter().map(|name| format!("f:{name}")).collect::<Vec<_>>();
    let mut set = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(&path(&[name]));
    }
    for name in UNOWNED {
        set.insert(&path(&["metadata", name]));
    }
    set
}

fn ownable(fields: &FieldSet, scope: &Scope<'_>) -> FieldSet {
    fields.difference(&unowned()).without_subtrees(scope.reset)
}

/// Records an update by `manager`: `new` gets its `managedFields`. `live` is `None` on create.
pub fn update(scope: &Scope<'_>, live: Option<&Value>, new: &mut Value, manager: &str) {
    let managers = starting_point(live, new, scope.subresource);
    if live.is_some() && managers.is_empty() {
        // Nobody tracks this object: tracking starts with a create or an apply.
        return strip_managed_fields(new);
    }
    let before = live.map_or_else(|| scope.zero.clone(), bare);
    let managers = record(scope, &before, &bare(new), managers, manager);
    write_back(new, managers);
}

fn record(scope: &Scope<'_>, before: &Value, after: &Value, mut managers: Vec<Manager>, name: &str) -> Vec<Manager> {
    let comparison = compare(scope.shape, before, after);
    let changed = comparison.added.union(&comparison.modified);
    let lost = changed.union(&comparison.removed);
    let mine = ownable(&changed, scope);
    let existing = Manager {
        name: name.into(),
        apply: false,
        api_version: scope.api_version.into(),
        subresource: scope.subresource.into(),
        time: Some(scope.now.into()),
        fields: mine,
    };
    for manager in &mut managers {
        manager.fields = manager.fields.difference(&lost);
    }
    if !existing.fields.is_empty() {
        match managers.iter_mut().find(|manager| manager.same_as(&existing)) {
            Some(manager) => {
                manager.fields = manager.fields.union(&existing.fields);
                manager.time = existing.time;
            }
            None => managers.push(existing),
        }
    }
    cap(managers, scope.api_version)
}

/// Merges the oldest updating managers when there are too many.
fn cap(mut managers: Vec<Manager>, api_version: &str) -> Vec<Manager> {
    managers.retain(|manager| !manager.fields.is_empty());
    let updates = managers.iter().filter(|manager| !manager.apply).count();
    if updates <= UPDATE_MANAGERS_LIMIT {
        return managers;
    }
    managers.sort_by(|a, b| (a.apply, &a.time).cmp(&(b.apply, &b.time)));
    let mut merged = FieldSet::default();
    let mut time = None;
    for manager in managers.drain(..=(updates - UPDATE_MANAGERS_LIMIT)) {
        merged = merged.union(&manager.fields);
        time = manager.time;
    }
    let api_version = api_version.to_string();
    managers.push(Manager {
        name: ANCIENT.into(),
        apply: false,
        api_version,
        subresource: String::new(),
        time,
        fields: merged,
    });
    managers
}

/// An apply request.
pub struct Apply<'a> {
    /// Who.
    pub manager: &'a str,
    /// Take fields from other managers.
    pub force: bool,
    /// What is wanted.
    pub config: &'a Value,
}

/// Applies to an object (`None`: it does not exist yet); returns the object with its `managedFields`.
///
/// # Errors
/// 409 with a cause for each field that another manager owns and that would change.
pub fn apply(scope: &Scope<'_>, live: Option<&Value>, request: &Apply<'_>) -> Outcome<Value> {
    let before = live.map_or_else(|| scope.zero.clone(), bare);
    let mut managers = stored(live);
    if managers.is_empty() && live.is_some() {
        managers = record(scope, scope.zero, &before, managers, BEFORE_FIRST_APPLY);
        managers.iter_mut().for_each(|manager| manager.subresource.clear());
    }
    let config = bare(request.config);
    let config = remove(scope.shape, &config, scope.reset).unwrap_or(config);
    let me = Manager {
        name: request.manager.into(),
        apply: true,
        api_version: scope.api_version.into(),
        subresource: scope.subresource.into(),
        time: Some(scope.now.into()),
        fields: ownable(&fields_of(scope.shape, &config), scope),
    };
    let at = managers.iter().position(|manager| manager.same_as(&me));
    let last = at.map(|at| managers[at].clone());
    managers.retain(|manager| !manager.same_as(&me));

    let merged = merge(scope.shape, Some(&before), &config);
    // With the name and the like: they keep their parents when everything else below goes.
    let mut owned = fields_of(scope.shape, &config);
    for manager in &managers {
        owned = owned.union(&manager.fields);
    }
    let after = prune(scope.shape, merged, last.as_ref().map(|last| &last.fields), &owned);

    let comparison = compare(scope.shape, &before, &after);
    let changed = comparison.added.union(&comparison.modified);
    if !request.force {
        refuse_conflicts(&managers, &changed)?;
    }
    let lost = changed.union(&comparison.removed);
    for manager in &mut managers {
        manager.fields = manager.fields.difference(&lost);
    }
    let mut object = if comparison.is_same() { before } else { after };
    let unchanged = comparison
        .is_same()
        .then_some(last)
        .flatten()
        .filter(|last| last.fields == me.fields);
    managers.push(unchanged.unwrap_or(me));
    write_back(&mut object, managers);
    Ok(object)
}

/// Takes out what this manager applied before, does not any more, and nobody else owns.
fn prune(shape: &Shape, merged: Value, last: Option<&FieldSet>, owned: &FieldSet) -> Value {
    let Some(last) = last.filter(|last| !last.is_empty()) else {
        return merged;
    };
    let named = |set: &FieldSet| set.with_named_parents(shape);
    let fields = |value: &Value| named(&fields_of(shape, value));
    let empty = || json!({});
    let everything = fields(&merged);
    let pruned = remove(shape, &merged, &named(last)).unwrap_or_else(empty);
    let unowned = everything.difference(&fields(&pruned)).difference(&named(owned));
    let pruned = remove(shape, &merged, &unowned).unwrap_or_else(empty);
    let dangling = everything.difference(&fields(&pruned)).intersection(&named(last));
    remove(shape, &merged, &dangling).unwrap_or_else(empty)
}

fn refuse_conflicts(managers: &[Manager], changed: &FieldSet) -> Outcome<()> {
    let mut causes = Vec::new();
    let mut by_manager: Vec<(String, Vec<String>)> = Vec::new();
    for manager in managers {
        let paths = manager.fields.intersection(changed).paths();
        for path in &paths {
            let message = format!("conflict with {}", manager.described());
            causes.push(json!({ "reason": "FieldManagerConflict", "message": message, "field": path }));
        }
        if !paths.is_empty() {
            by_manager.push((manager.described(), paths));
        }
    }
    by_manager.sort();
    let message = match by_manager.as_slice() {
        [] => return Ok(()),
        [(manager, paths)] if paths.len() == 1 => {
            format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths[0])
        }
        several => {
            let lines: Vec<String> = several
                .iter()
                .map(|(manager, paths)| format!("conflicts with {manager}:\n- {}", paths.join("\n- ")))
                .collect();
            format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
        }
    };
    Err(Status::apply_conflict(message, causes))
}
