//! Decoding a built-in object: unknown fields go (and are reported), wrong types are refused in the words of
//! Go's `encoding/json`, and what a Go program would leave out when it prints the object again goes too.

use base64::Engine;
use serde_json::Value;

use super::{Scalar, Shape};

/// Why an object is not of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeError(pub String);

/// Decodes in place; returns the paths of unknown fields in the order of the object.
///
/// # Errors
/// The first value of a wrong type.
pub fn decode(shape: &Shape, value: &mut Value) -> Result<Vec<String>, DecodeError> {
    let mut unknown = Vec::new();
    let root = shape.as_struct().map(|s| s.name.clone()).unwrap_or_default();
    visit(
        shape,
        value,
        &Place {
            owner: &root,
            go: String::new(),
            path: String::new(),
        },
        &mut unknown,
    )?;
    Ok(unknown)
}

struct Place<'a> {
    /// Innermost struct.
    owner: &'a str,
    /// Path of struct fields only, as Go names it.
    go: String,
    /// Full path.
    path: String,
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_string()
    } else {
        format!("{path}.{name}")
    }
}

fn mismatch(value: &Value, go_type: &str, place: &Place<'_>) -> DecodeError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    DecodeError(format!(
        "json: cannot unmarshal {found} into Go struct field {}.{} of type {go_type}",
        place.owner, place.go
    ))
}

/// Name of a type as Go prints it.
fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(Scalar::String) => "string".into(),
        Shape::Scalar(Scalar::Int32) => "int32".into(),
        Shape::Scalar(Scalar::Int64) => "int64".into(),
        Shape::Scalar(Scalar::Float64) => "float64".into(),
        Shape::Scalar(Scalar::Bool) => "bool".into(),
        Shape::Scalar(Scalar::Bytes) => "[]uint8".into(),
        Shape::Scalar(Scalar::IntOrString) => "intstr.IntOrString".into(),
        Shape::Scalar(Scalar::Quantity) => "resource.Quantity".into(),
        Shape::Scalar(Scalar::Time) => "v1.Time".into(),
        Shape::Scalar(Scalar::MicroTime) => "v1.MicroTime".into(),
        Shape::Any => "interface {}".into(),
        Shape::Struct(fields) => fields.name.clone(),
        Shape::Named(name) => {
            let (package, name) = name.split_once('.').unwrap_or(("", name));
            format!("{}.{name}", package.rsplit('/').next().unwrap_or_default())
        }
        Shape::Map { values, .. } => format!("map[string]{}", go_type(values)),
        Shape::List { items, .. } => format!("[]{}", go_type(items)),
    }
}

fn visit(shape: &Shape, value: &mut Value, place: &Place<'_>, unknown: &mut Vec<String>) -> Result<(), DecodeError> {
    let wrong = |value: &Value| Err(mismatch(value, &go_type(shape), place));
    match shape {
        Shape::Any => Ok(()),
        Shape::Scalar(scalar) => scalar_fits(*scalar, value, place, &go_type(shape)),
        Shape::List { items, .. } => {
            let Value::Array(list) = value else { return wrong(value) };
            for (index, item) in list.iter_mut().enumerate() {
                let below = Place {
                    path: format!("{}[{index}]", place.path),
                    go: place.go.clone(),
                    ..*place
                };
                visit(items, item, &below, unknown)?;
            }
            Ok(())
        }
        Shape::Map { values, .. } => {
            let Value::Object(map) = value else { return wrong(value) };
            for (key, item) in map.iter_mut() {
                let below = Place {
                    path: join(&place.path, key),
                    go: place.go.clone(),
                    ..*place
                };
                if item.is_null() {
                    *item = zero(values);
                }
                visit(values, item, &below, unknown)?;
            }
            Ok(())
        }
        Shape::Struct(_) | Shape::Named(_) => {
            let Some(fields) = shape.as_struct() else { return Ok(()) };
            let Value::Object(map) = value else { return wrong(value) };
            let keys: Vec<String> = map.keys().cloned().collect();
            for key in keys {
                let path = join(&place.path, &key);
                let Some(field) = fields.fields.get(&key) else {
                    unknown.push(path);
                    map.remove(&key);
                    continue;
                };
                let Some(item) = map.get_mut(&key) else { continue };
                if item.is_null() {
                    map.remove(&key);
                    continue;
                }
                let below = Place {
                    owner: &fields.name,
                    go: join(&place.go, &key),
                    path,
                };
                visit(&field.shape, item, &below, unknown)?;
                // An empty `managedFields` is a request: forget who set what.
                if !field.required && key != "managedFields" && left_out(&field.shape, item) {
                    map.remove(&key);
                }
            }
            Ok(())
        }
    }
}

/// The zero value of a map's values, which null stands for.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Scalar(Scalar::String | Scalar::Bytes) => "".into(),
        Shape::Scalar(Scalar::Quantity) => "0".into(),
        Shape::List { .. } => Value::Array(vec![]),
        _ => Value::Object(serde_json::Map::new()),
    }
}

/// What `omitempty` leaves out: empty lists, maps and strings. Pointers to strings are rare enough to be told
/// apart by nobody here.
fn left_out(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::List { .. }, Value::Array(list)) => list.is_empty(),
        (Shape::Map { .. }, Value::Object(map)) => map.is_empty(),
        (Shape::Scalar(Scalar::String), Value::String(text)) => text.is_empty(),
        _ => false,
    }
}

fn scalar_fits(scalar: Scalar, value: &mut Value, place: &Place<'_>, go_type: &str) -> Result<(), DecodeError> {
    let number_error = |value: &Value| {
        let found = format!("number {value}");
        DecodeError(format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {go_type}",
            place.owner, place.go
        ))
    };
    match scalar {
        Scalar::String if value.is_string() => Ok(()),
        Scalar::Bool if value.is_boolean() => Ok(()),
        Scalar::Float64 if value.is_number() => Ok(()),
        Scalar::Int32 if value.is_number() => match value.as_i64() {
            Some(number) if i32::try_from(number).is_ok() => Ok(()),
            _ => Err(number_error(value)),
        },
        Scalar::Int64 if value.is_number() => {
            if value.as_i64().is_some() {
                Ok(())
            } else {
                Err(number_error(value))
            }
        }
        Scalar::IntOrString if value.is_string() || value.as_i64().is_some() => Ok(()),
        Scalar::Bytes => match value.as_str() {
            Some(text) => decode_base64(text).map(|_| ()),
            None => Err(mismatch(value, go_type, place)),
        },
        Scalar::Quantity => match value {
            Value::String(_) => crate::quantity::normalise(value),
            Value::Number(number) => {
                *value = number.to_string().into();
                crate::quantity::normalise(value)
            }
            other => Err(mismatch(other, go_type, place)),
        },
        Scalar::Time | Scalar::MicroTime => match value.as_str() {
            Some(text) => time(text),
            None => Err(mismatch(value, go_type, place)),
        },
        _ => Err(mismatch(value, go_type, place)),
    }
}

fn time(text: &str) -> Result<(), DecodeError> {
    match text.parse::<k8s_openapi::jiff::Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) => Err(DecodeError(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        ))),
    }
}

/// Decodes standard base64; the error names the first bad byte like Go's.
///
/// # Errors
/// Text that is not base64.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(&clean)
        .map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => clean.len() / 4 * 4,
            };
            DecodeError(format!("illegal base64 data at input byte {at}"))
        })
}
