//! Validation of custom objects against their structural schema.

use serde_json::Value;

use crate::status::{FieldError, FieldErrorKind};

/// What is wrong with an object.
pub fn validate(schema: &Value, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    visit(schema, object, "", &mut errors);
    errors
}

/// What is wrong with the status of an object, when that alone is written.
pub fn validate_status(schema: &Value, object: &Value) -> Vec<FieldError> {
    let (schema, status) = (&schema["properties"]["status"], &object["status"]);
    let mut errors = Vec::new();
    if !status.is_null() {
        visit(schema, status, "", &mut errors);
    }
    for error in &mut errors {
        error.field = if error.field == place("") {
            "status".into()
        } else {
            format!("status.{}", error.field)
        };
    }
    errors
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn place(path: &str) -> String {
    if path.is_empty() { "<nil>".into() } else { path.into() }
}

fn visit(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !type_fits(schema, value, path, errors) {
        return;
    }
    match value {
        Value::Object(_) => object(schema, value, path, errors),
        Value::Array(items) => array(schema, items, path, errors),
        Value::String(text) => string(schema, text, path, errors),
        Value::Number(_) => number(schema, value, path, errors),
        _ => {}
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let shown: Vec<String> = allowed
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), |s| format!("{s:?}")))
            .collect();
        errors.push(FieldError {
            kind: FieldErrorKind::NotSupported,
            field: place(path),
            value: Some(value.to_string()),
            detail: format!("supported values: {}", shown.join(", ")),
        });
    }
    combine(schema, value, path, errors);
}

fn type_fits(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) -> bool {
    let found = type_name(value);
    if schema["x-kubernetes-int-or-string"] == true {
        let fits = matches!(found, "integer" | "string");
        if !fits {
            let detail = format!("{} in body must be of type integer,string: {found:?}", in_body(path));
            errors.push(typed(path, value, detail));
        }
        return fits;
    }
    let Some(wanted) = schema["type"].as_str() else {
        return true;
    };
    let whole = value.as_f64().is_some_and(|n| n.fract() == 0.0);
    let fits = wanted == found
        || (wanted == "number" && found == "integer")
        || (wanted == "integer" && found == "number" && whole);
    if !fits {
        let detail = format!("{} in body must be of type {wanted}: {found:?}", in_body(path));
        errors.push(typed(path, value, detail));
        if wanted == "integer" && found == "number" {
            // The real server's check of formats takes part, too.
            let detail = format!("Checked value must be of type integer (default format) in {path}");
            errors.push(FieldError::invalid(place(""), &"".into(), detail));
        }
    }
    fits
}

fn in_body(path: &str) -> String {
    path.to_string()
}

fn typed(path: &str, value: &Value, detail: String) -> FieldError {
    FieldError {
        kind: FieldErrorKind::TypeInvalid,
        field: place(path),
        value: Some(format!("{:?}", type_name(value))),
        detail,
    }
}

fn invalid(path: &str, value: &Value, detail: String) -> FieldError {
    FieldError::invalid(place(path), value, detail)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.into()
    } else {
        format!("{path}.{name}")
    }
}

fn object(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(map) = value.as_object() else { return };
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !map.contains_key(name) {
            errors.push(FieldError::required(join(path, name), ""));
        }
    }
    let count = map.len() as u64;
    if let Some(limit) = schema["maxProperties"].as_u64().filter(|limit| count > *limit) {
        errors.push(invalid(
            path,
            value,
            format!("{path} in body should have at most {limit} properties"),
        ));
    }
    if let Some(limit) = schema["minProperties"].as_u64().filter(|limit| count < *limit) {
        errors.push(invalid(
            path,
            value,
            format!("{path} in body should have at least {limit} properties"),
        ));
    }
    for (name, item) in map {
        let property = &schema["properties"][name];
        if property.is_object() {
            visit(property, item, &join(path, name), errors);
        } else if schema["additionalProperties"].is_object() {
            visit(&schema["additionalProperties"], item, &join(path, name), errors);
        }
    }
}

fn array(schema: &Value, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let count = items.len() as u64;
    if let Some(limit) = schema["maxItems"].as_u64().filter(|limit| count > *limit) {
        errors.push(FieldError {
            kind: FieldErrorKind::TooMany,
            field: place(path),
            value: Some(count.to_string()),
            detail: format!("must have at most {limit} items"),
        });
    }
    if let Some(limit) = schema["minItems"].as_u64().filter(|limit| count < *limit) {
        errors.push(invalid(
            path,
            &count.into(),
            format!("{path} in body should have at least {limit} items"),
        ));
    }
    for (index, item) in items.iter().enumerate() {
        visit(&schema["items"], item, &format!("{path}[{index}]"), errors);
    }
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let identity = |item: &Value| -> Value {
        if keys.is_empty() {
            item.clone()
        } else {
            keys.iter().map(|key| item[*key].clone()).collect()
        }
    };
    if matches!(schema["x-kubernetes-list-type"].as_str(), Some("set" | "map")) || schema["uniqueItems"] == true {
        let mut seen: Vec<Value> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let id = identity(item);
            if seen.contains(&id) {
                let shown: Value = if keys.is_empty() {
                    item.clone()
                } else {
                    keys.iter().map(|k| ((*k).to_string(), item[*k].clone())).collect()
                };
                errors.push(FieldError::duplicate(format!("{path}[{index}]"), &shown));
            }
            seen.push(id);
        }
    }
}

fn string(schema: &Value, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let count = text.chars().count() as u64;
    if let Some(limit) = schema["maxLength"].as_u64().filter(|limit| count > *limit) {
        let detail = format!("may not be more than {limit} bytes");
        errors.push(FieldError {
            kind: FieldErrorKind::TooLong,
            field: place(path),
            value: None,
            detail,
        });
    }
    if let Some(limit) = schema["minLength"].as_u64().filter(|limit| count < *limit) {
        errors.push(invalid(
            path,
            &text.into(),
            format!("{path} in body should be at least {limit} chars long"),
        ));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        match regex::Regex::new(pattern) {
            Ok(regex) if regex.is_match(text) => {}
            _ => errors.push(invalid(
                path,
                &text.into(),
                format!("{path} in body should match '{pattern}'"),
            )),
        }
    }
    if let Some(format) = schema["format"].as_str() {
        let fits = match format {
            "date-time" => text.parse::<k8s_openapi::jiff::Timestamp>().is_ok(),
            "uuid" => uuid::Uuid::parse_str(text).is_ok(),
            "byte" => crate::schema::decode_base64(text).is_ok(),
            "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
            "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
            _ => true,
        };
        if !fits {
            let mut error = invalid(
                path,
                &text.into(),
                format!("{path} in body must be of type {format}: {text:?}"),
            );
            error.kind = FieldErrorKind::TypeInvalid;
            errors.push(error);
        }
    }
}

fn number(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(n) = value.as_f64() else { return };
    if let Some(limit) = schema["maximum"].as_f64() {
        let exclusive = schema["exclusiveMaximum"] == true;
        if n > limit || (exclusive && n >= limit) {
            let words = if exclusive {
                "less than"
            } else {
                "less than or equal to"
            };
            errors.push(invalid(
                path,
                value,
                format!("{path} in body should be {words} {}", schema["maximum"]),
            ));
        }
    }
    if let Some(limit) = schema["minimum"].as_f64() {
        let exclusive = schema["exclusiveMinimum"] == true;
        if n < limit || (exclusive && n <= limit) {
            let words = if exclusive {
                "greater than"
            } else {
                "greater than or equal to"
            };
            errors.push(invalid(
                path,
                value,
                format!("{path} in body should be {words} {}", schema["minimum"]),
            ));
        }
    }
    if let Some(step) = schema["multipleOf"]
        .as_f64()
        .filter(|step| *step != 0.0 && (n / step).fract() != 0.0)
    {
        errors.push(invalid(
            path,
            value,
            format!("{path} in body should be a multiple of {step}"),
        ));
    }
}

fn combine(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let holds = |schema: &Value| {
        let mut errors = Vec::new();
        visit(schema, value, path, &mut errors);
        errors.is_empty()
    };
    let branches = |name: &str| schema[name].as_array().into_iter().flatten();
    for branch in branches("allOf") {
        visit(branch, value, path, errors);
    }
    if schema["anyOf"].is_array() && !branches("anyOf").any(holds) {
        errors.push(invalid(
            path,
            value,
            format!("{path} in body must validate at least one schema (anyOf)"),
        ));
    }
    if schema["oneOf"].is_array() && branches("oneOf").filter(|branch| holds(branch)).count() != 1 {
        errors.push(invalid(
            path,
            value,
            format!("{path} in body must validate one and only one schema (oneOf)"),
        ));
    }
    if schema["not"].is_object() && holds(&schema["not"]) {
        errors.push(invalid(
            path,
            value,
            format!("{path} in body must not validate the schema (not)"),
        ));
    }
}
