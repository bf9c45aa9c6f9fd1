//! Printer columns of custom resources: each shows what a JSONPath finds.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{columns, duration};

/// Columns of one version of a custom resource.
#[derive(Debug)]
pub struct PrinterColumns {
    definitions: Vec<Value>,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    kind: String,
    /// `None` if the path cannot be read: such a column stays empty.
    path: Option<JpQuery>,
}

impl PrinterColumns {
    /// From the `additionalPrinterColumns` of a version; without any, the age is shown.
    pub fn of(version: &Value) -> Self {
        let listed = version["additionalPrinterColumns"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut definitions = vec![columns::definition(
            "Name",
            "string",
            "name",
            0,
            columns::shared("name"),
        )];
        let mut out = Vec::new();
        for column in &listed {
            let text = |field: &str| column[field].as_str().unwrap_or_default();
            let described = match text("description") {
                "" => format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    text("jsonPath")
                ),
                description => description.to_string(),
            };
            let priority = column["priority"].as_i64().unwrap_or(0);
            definitions.push(columns::definition(
                text("name"),
                text("type"),
                text("format"),
                priority,
                &described,
            ));
            out.push(Column {
                kind: text("type").into(),
                path: parse_json_path(&query(text("jsonPath"))).ok(),
            });
        }
        if listed.is_empty() {
            definitions.push(columns::definition("Age", "date", "", 0, columns::shared("created")));
            out.push(Column {
                kind: "date".into(),
                path: parse_json_path("$.metadata.creationTimestamp").ok(),
            });
        }
        Self {
            definitions,
            columns: out,
        }
    }

    /// Column definitions, the name first.
    pub fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    /// Cells of an object.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![object["metadata"]["name"].clone()];
        for column in &self.columns {
            let found = column.path.as_ref().and_then(|path| js_path_process(path, object).ok());
            let first = found.and_then(|found| found.into_iter().next().map(|one| one.val().clone()));
            cells.push(first.map_or(Value::Null, |value| cell(&column.kind, &value, now)));
        }
        cells
    }
}

/// What a column of a type shows of a value; null for one that does not fit.
fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("string", Value::Null) => "<nil>".into(),
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|n| n as i64));
            whole.map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(_) => duration::since(value, now).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

/// A path as Kubernetes writes it (`.a.b\.c`) as a query of RFC 9535 (`$.a['b.c']`).
fn query(path: &str) -> String {
    let path = path
        .trim()
        .trim_start_matches('{')
        .trim_end_matches('}')
        .trim_start_matches('$');
    let mut out = String::from("$");
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        if first != '.' || rest.starts_with("..") || rest.starts_with(".*") || rest.starts_with(".[") {
            // Brackets are the same in both, up to the quotes of what is in them.
            let take = match first {
                '[' => closing(rest),
                '.' if rest.starts_with("..") => 2,
                '.' if rest.starts_with(".*") => 2,
                '.' => 1,
                _ => first.len_utf8(),
            };
            if !(first == '.' && take == 1) {
                out.push_str(&rest[..take].replace("\\.", "."));
            }
            rest = &rest[take..];
            continue;
        }
        let mut name = String::new();
        let mut escaped = false;
        let mut used = 1;
        for letter in rest[1..].chars() {
            if !escaped && (letter == '.' || letter == '[') {
                break;
            }
            used += letter.len_utf8();
            if !escaped && letter == '\\' {
                escaped = true;
                continue;
            }
            name.push(letter);
            escaped = false;
        }
        rest = &rest[used..];
        if !name.is_empty() {
            out.push_str(&format!("['{}']", name.replace('\'', "\\'")));
        }
    }
    out
}

/// Bytes up to and with the bracket that closes the first one; brackets in quotes do not count.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    let mut quote = None;
    for (index, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(path: &str, kind: &str, object: Value) -> Value {
        let version = json!({ "additionalPrinterColumns": [{ "name": "C", "type": kind, "jsonPath": path }] });
        let now = "2026-01-01T01:00:00Z".parse().expect("a time");
        PrinterColumns::of(&version).cells(&object, now)[1].clone()
    }

    #[test]
    fn columns_show_what_their_path_finds() {
        let object = json!({
            "metadata": { "annotations": { "a.b/c": "x" }, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "size": 3, "tags": ["a", "b"], "on": true },
            "status": { "conditions": [{ "type": "Other", "status": "no" }, { "type": "Ready", "status": "True" }] },
        });
        let cases = [
            (".spec.size", "integer", json!(3)),
            (".spec.size", "string", json!("3")),
            (".spec.tags", "string", json!("[\"a\",\"b\"]")),
            (".spec.tags[1]", "string", json!("b")),
            (".spec.tags[*]", "string", json!("a")),
            (".spec.on", "boolean", json!(true)),
            (".spec.nothing", "string", Value::Null),
            (".metadata.annotations.a\\.b/c", "string", json!("x")),
            (".metadata.annotations['a\\.b/c']", "string", json!("x")),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                "string",
                json!("True"),
            ),
            (".status.conditions[?(@.type=='Ready')].status", "string", json!("True")),
            (".metadata.creationTimestamp", "date", json!("60m")),
            (".spec.size", "date", Value::Null),
            ("][", "string", Value::Null),
        ];
        for (path, kind, expected) in cases {
            assert_eq!(shown(path, kind, object.clone()), expected, "{path} as {kind}");
        }
    }
}
