//! What varies between two runs, taken out of both sides before they are compared.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Patterns and what stands for what they match.
static VARYING: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<uuid>",
        ),
        (r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z", "<time>"),
        (r"\w{3}, \d{2} \w{3} \d{4} [0-9:]+( GMT)?", "<time>"),
        (r"\(\d+\)", "(<n>)"),
        (r"(current: |ResourceVersion: |current:|ResourceVersion:)\d+", "$1<n>"),
        (r#"(resourceVersion\\*":\\*")\d+"#, "$1<n>"),
        (r"([-_])[bcdfghjklmnpqrstvwxz2456789]{5}\b", "$1<random>"),
        (r"127\.0\.0\.1:\d+", "<address>"),
        // The hash of a pod template is made from how Go prints a struct; any other hash serves as well.
        (r"-[bcdfghjklmnpqrstvwxz2456789]{8,10}(-|$)", "-<hash>$1"),
    ]
    .into_iter()
    .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
    .collect()
});

/// A text without what varies.
pub fn text(text: &str) -> String {
    VARYING.iter().fold(text.to_string(), |text, (pattern, with)| {
        pattern.replace_all(&text, *with).into_owned()
    })
}

/// A body without what varies: `volatile` are JSON pointers, `*` one segment, `**` any number.
pub fn body(value: &Value, volatile: &[String]) -> Value {
    let patterns: Vec<Vec<&str>> = volatile
        .iter()
        .map(|p| p.trim_start_matches('/').split('/').collect())
        .collect();
    visit(value, &patterns)
}

fn visit(value: &Value, patterns: &[Vec<&str>]) -> Value {
    if patterns
        .iter()
        .any(|pattern| pattern.iter().all(|segment| *segment == "**"))
        && !patterns.is_empty()
    {
        return "<volatile>".into();
    }
    match value {
        Value::String(string) => text(string).into(),
        Value::Array(items) => {
            let items = items
                .iter()
                .enumerate()
                .map(|(index, item)| visit(item, &below(patterns, &index.to_string())));
            items.collect()
        }
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, item) in map {
                out.insert(text(key), visit(item, &below(patterns, key)));
            }
            shared_oddities(&mut out);
            if let Some(Value::Array(warnings)) = out.get_mut("warning") {
                warnings.sort_by_key(Value::to_string);
            }
            if let Some(Value::Array(entries)) = out.get_mut("managedFields") {
                entries.retain(|entry| entry["manager"] != "kube-controller-manager");
                entries.sort_by_key(|entry| {
                    let part = |key: &str| entry[key].as_str().unwrap_or_default().to_string();
                    (
                        part("manager"),
                        part("operation"),
                        part("apiVersion"),
                        part("subresource"),
                    )
                });
                // Bob's entry of a conflict has no time at all; times are volatile everywhere.
                entries
                    .iter_mut()
                    .filter_map(Value::as_object_mut)
                    .for_each(|entry| drop(entry.remove("time")));
                if entries.is_empty() {
                    out.remove("managedFields");
                }
            }
            unordered(&mut out);
            if out.contains_key("gitVersion") {
                // What the server was built with.
                ["gitCommit", "goVersion", "compiler"]
                    .iter()
                    .for_each(|key| drop(out.remove(*key)));
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

fn below<'a>(patterns: &[Vec<&'a str>], key: &str) -> Vec<Vec<&'a str>> {
    // Segments of a JSON pointer are escaped (RFC 6901).
    let key = &key.replace('~', "~0").replace('/', "~1");
    let mut out = Vec::new();
    for pattern in patterns {
        let Some((first, rest)) = pattern.split_first() else {
            continue;
        };
        if *first == "**" {
            out.push(pattern.clone());
            if let Some((next, rest)) = rest.split_first()
                && (*next == "*" || *next == key)
            {
                out.push(if rest.is_empty() { vec!["**"] } else { rest.to_vec() });
            }
        } else if *first == "*" || *first == key {
            out.push(if rest.is_empty() { vec!["**"] } else { rest.to_vec() });
        }
    }
    out
}

/// The recorded server is OpenShift's build: it puts a second certificate into the token volume of each pod.
fn shared_oddities(map: &mut Map<String, Value>) {
    if let Some(Value::Array(sources)) = map.get_mut("sources") {
        sources.retain(|source| source["configMap"]["name"] != "openshift-service-ca.crt");
    }
}

/// The order of several causes, and of the parts of the message they make, is not fixed.
fn unordered(map: &mut Map<String, Value>) {
    if let Some(Value::String(message)) = map.get_mut("message") {
        // Unknown fields come in the order of the request's text, which the recording does not keep.
        if let Some((head, list)) = message.split_once("strict decoding error: ") {
            let mut parts: Vec<&str> = list.split(", ").collect();
            parts.sort_unstable();
            *message = format!("{head}strict decoding error: {}", parts.join(", "));
        }
    }
    let causes = map
        .get_mut("details")
        .and_then(|details| details.get_mut("causes"))
        .and_then(Value::as_array_mut);
    let Some(causes) = causes.filter(|causes| causes.len() > 1) else {
        return;
    };
    causes.sort_by_key(Value::to_string);
    if let Some(Value::String(message)) = map.get_mut("message") {
        let clean = message
            .replace(['[', ']'], "")
            .replace(" is invalid: ", " is invalid, ");
        let mut parts: Vec<&str> = clean.split(", ").flat_map(|part| part.split('\n')).collect();
        parts.sort_unstable();
        *message = parts.join(" | ");
    }
}

/// Every place where two normalised values differ.
pub fn differences(path: &str, expected: &Value, found: &Value, out: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                match found.get(key) {
                    Some(other) => differences(&format!("{path}/{key}"), value, other, out),
                    None => out.push(format!("{path}/{key}: missing, expected {value}")),
                }
            }
            for (key, value) in found.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                out.push(format!("{path}/{key}: should not be there: {value}"));
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                differences(&format!("{path}/{index}"), expected, found, out);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => out.push(format!("{path}:\n      expected {expected}\n      found    {found}")),
    }
}
