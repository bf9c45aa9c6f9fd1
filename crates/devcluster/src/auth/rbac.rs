//! Role-based access control: which rule, if any, allows a request. Pure functions of the state.

use serde_json::{Value, json};

use super::User;
use crate::object;
use crate::store::{Key, State};

const GROUP: &str = "rbac.authorization.k8s.io";
/// Paths everybody may read.
const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
/// Paths everybody with an identity may read; `*` at the end matches the rest.
const DISCOVERY: [&str; 6] = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"];

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Verb.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural, with a subresource after a slash.
    pub resource: &'a str,
    /// Name, or empty.
    pub name: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn resource_matches(pattern: &str, resource: &str) -> bool {
    pattern == "*"
        || pattern == resource
        || pattern
            .strip_prefix("*/")
            .is_some_and(|sub| resource.split_once('/').is_some_and(|(_, s)| s == sub))
}

/// Whether a rule allows a request.
pub fn rule_allows(rule: &Value, wanted: &Attributes<'_>) -> bool {
    let any = |key: &str, value: &str| strings(&rule[key]).any(|x| x == "*" || x == value);
    let names: Vec<&str> = strings(&rule["resourceNames"]).collect();
    any("verbs", wanted.verb)
        && any("apiGroups", wanted.group)
        && strings(&rule["resources"]).any(|pattern| resource_matches(pattern, wanted.resource))
        && (names.is_empty() || (!wanted.name.is_empty() && names.contains(&wanted.name)))
}

/// The subject of a binding that a user is, in words.
fn subject_of<'a>(binding: &'a Value, user: &User) -> Option<&'a Value> {
    binding["subjects"].as_array()?.iter().find(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == user.name,
            Some("Group") => user.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or_default();
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn rules_of<'a>(state: &'a State, binding: &Value, namespace: &str) -> Option<&'a Value> {
    let name = binding["roleRef"]["name"].as_str()?;
    let key = match binding["roleRef"]["kind"].as_str()? {
        "Role" => Key {
            storage: format!("{GROUP}/roles"),
            namespace: namespace.into(),
            name: name.into(),
        },
        "ClusterRole" => Key {
            storage: format!("{GROUP}/clusterroles"),
            namespace: String::new(),
            name: name.into(),
        },
        _ => return None,
    };
    Some(&state.get(&key)?["rules"])
}

fn subject_words(subject: &Value) -> String {
    let text = |key: &str| subject[key].as_str().unwrap_or_default();
    match text("kind") {
        "ServiceAccount" => format!("ServiceAccount \"{}/{}\"", text("name"), text("namespace")),
        kind => format!("{kind} {:?}", text("name")),
    }
}

/// Each rule that applies to a user in a namespace (empty: cluster-wide ones only), with why it applies.
pub fn rules(state: &State, user: &User, namespace: &str) -> Vec<(Value, String)> {
    let mut out = Vec::new();
    let authenticated = user.groups.iter().any(|group| group == "system:authenticated");
    if authenticated {
        let why = |name: &str| {
            format!(
                "RBAC: allowed by ClusterRoleBinding \"{name}\" of ClusterRole \"{name}\" to Group \"system:authenticated\""
            )
        };
        out.push((
            json!({ "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"] }),
            why("system:basic-user"),
        ));
        out.push((
            json!({ "verbs": ["create"], "apiGroups": ["authentication.k8s.io"],
            "resources": ["selfsubjectreviews"] }),
            why("system:basic-user"),
        ));
    }
    let mut add = |binding: &Value, kind: &str, place: &str| {
        let Some(subject) = subject_of(binding, user) else {
            return;
        };
        let role = &binding["roleRef"];
        let name = if place.is_empty() {
            object::name(binding).to_string()
        } else {
            format!("{}/{place}", object::name(binding))
        };
        let why = format!(
            "RBAC: allowed by {kind} \"{name}\" of {} {:?} to {}",
            role["kind"].as_str().unwrap_or_default(),
            role["name"].as_str().unwrap_or_default(),
            subject_words(subject)
        );
        let rules = rules_of(state, binding, place)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        out.extend(rules.map(|rule| (rule.clone(), why.clone())));
    };
    for (_, binding) in state.list(&format!("{GROUP}/clusterrolebindings"), None) {
        add(binding, "ClusterRoleBinding", "");
    }
    if !namespace.is_empty() {
        for (_, binding) in state.list(&format!("{GROUP}/rolebindings"), Some(namespace)) {
            add(binding, "RoleBinding", namespace);
        }
    }
    out
}

/// Why a request is allowed; `None` if it is not.
pub fn allowed(state: &State, user: &User, wanted: &Attributes<'_>) -> Option<String> {
    if user.is_master() {
        return Some(String::new());
    }
    rules(state, user, wanted.namespace)
        .into_iter()
        .find(|(rule, _)| rule_allows(rule, wanted))
        .map(|(_, why)| why)
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == "*" || pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// Whether a path that is no object may be used.
pub fn path_allowed(state: &State, user: &User, path: &str, verb: &str) -> bool {
    let reads = verb == "get" || verb == "head";
    let authenticated = user.groups.iter().any(|group| group == "system:authenticated");
    if reads && (PUBLIC.contains(&path) || (authenticated && DISCOVERY.iter().any(|p| path_matches(p, path)))) {
        return true;
    }
    rules(state, user, "").iter().any(|(rule, _)| {
        strings(&rule["verbs"]).any(|v| v == "*" || v == verb)
            && strings(&rule["nonResourceURLs"]).any(|pattern| path_matches(pattern, path))
    })
}

/// Rules of `wanted` that `user` does not hold: nobody may grant more than they have.
pub fn missing(state: &State, user: &User, namespace: &str, wanted: &Value) -> Vec<Value> {
    if user.is_master() {
        return Vec::new();
    }
    let held: Vec<Value> = rules(state, user, namespace)
        .into_iter()
        .map(|(rule, _)| rule)
        .collect();
    let mut out = Vec::new();
    for rule in wanted.as_array().into_iter().flatten() {
        let names: Vec<&str> = strings(&rule["resourceNames"]).collect();
        let names = if names.is_empty() { vec![""] } else { names };
        let covered = strings(&rule["apiGroups"]).all(|group| {
            strings(&rule["resources"]).all(|resource| {
                strings(&rule["verbs"]).all(|verb| {
                    names.iter().all(|name| {
                        let attributes = Attributes {
                            verb,
                            group,
                            resource,
                            name,
                            namespace,
                        };
                        held.iter().any(|rule| rule_allows(rule, &attributes))
                    })
                })
            })
        });
        if !covered {
            out.push(rule.clone());
        }
    }
    out
}

/// The rules a binding grants.
pub fn bound_rules(state: &State, binding: &Value, namespace: &str) -> Value {
    rules_of(state, binding, namespace).cloned().unwrap_or_default()
}

/// A rule as the refusal of an escalation shows it.
pub fn rule_in_words(rule: &Value) -> String {
    let names = [
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("ResourceNames", "resourceNames"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("Verbs", "verbs"),
    ];
    let fields: Vec<String> = names
        .into_iter()
        .filter(|(_, key)| rule[*key].is_array())
        .map(|(word, key)| {
            format!(
                "{word}:[{}]",
                strings(&rule[key])
                    .map(|s| format!("{s:?}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            )
        })
        .collect();
    format!("{{{}}}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(verb: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
        Attributes {
            verb,
            group: "apps",
            resource,
            name,
            namespace: "n",
        }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_no_more() {
        let rule = json!({"apiGroups": ["apps"], "resources": ["deployments", "*/scale"], "verbs": ["get"]});
        assert!(rule_allows(&rule, &wanted("get", "deployments", "x")));
        assert!(rule_allows(&rule, &wanted("get", "deployments/scale", "x")));
        assert!(!rule_allows(&rule, &wanted("get", "deployments/status", "x")));
        assert!(!rule_allows(&rule, &wanted("list", "deployments", "")));
        let named = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["x"]});
        assert!(rule_allows(&named, &wanted("delete", "deployments", "x")));
        assert!(!rule_allows(&named, &wanted("delete", "deployments", "y")));
        assert!(
            !rule_allows(&named, &wanted("list", "deployments", "")),
            "a collection has no name"
        );
    }
}
