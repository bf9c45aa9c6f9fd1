//! Small readings of an object that cells are made of.

use serde_json::Value;

/// What stands for nothing.
pub const NONE: &str = "<none>";

/// A text, or nothing.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or `<none>`.
pub fn or_none(value: &Value) -> Value {
    match text(value) {
        "" => NONE.into(),
        text => text.into(),
    }
}

/// A number, 0 if it is missing.
pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// Items of a list that may be missing.
pub fn items(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// How many entries a map or list has.
pub fn count(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    }
}

/// Texts joined by commas, `<none>` for none.
pub fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    if texts.is_empty() {
        NONE.into()
    } else {
        texts.join(",").into()
    }
}

/// The first few of a list, and how many there are more.
pub fn first_few(texts: Vec<String>, at_most: usize) -> Value {
    if texts.is_empty() {
        return NONE.into();
    }
    let more = texts.len().saturating_sub(at_most);
    let shown = texts[..texts.len().min(at_most)].join(",");
    if more > 0 {
        format!("{shown} + {more} more...").into()
    } else {
        shown.into()
    }
}

/// A map of labels as a selector, `<none>` if empty.
pub fn labels(value: &Value) -> Value {
    let entries = value.as_object().into_iter().flatten();
    let entries: Vec<String> = entries.map(|(key, value)| format!("{key}={}", text(value))).collect();
    joined(entries.iter().map(String::as_str))
}

/// A label selector in words.
pub fn selector(value: &Value) -> Value {
    let mut parts: Vec<String> = value["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    for expression in items(&value["matchExpressions"]) {
        let key = text(&expression["key"]);
        let values: Vec<&str> = items(&expression["values"]).map(text).collect();
        parts.push(match text(&expression["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        });
    }
    joined(parts.iter().map(String::as_str))
}

/// Names and images of the containers of a pod template.
pub fn containers(template: &Value) -> [Value; 2] {
    let containers = &template["spec"]["containers"];
    ["name", "image"].map(|field| {
        items(containers)
            .map(|c| text(&c[field]))
            .collect::<Vec<_>>()
            .join(",")
            .into()
    })
}

/// An integer or a string as it is written.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
