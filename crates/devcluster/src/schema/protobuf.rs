//! Kubernetes' protobuf encoding of built-in types, which typed clients of Go send (kubectl's `create` among them), read into
//! the JSON of the same object. Nothing is answered in it: those clients accept JSON as well.
//!
//! The encoding: <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>. Field numbers are in the
//! table of types; the few types that encode themselves (`Time`, `Quantity`, `IntOrString`, raw JSON) are read here.

use base64::Engine;
use quick_protobuf::reader::BytesReader;
use serde_json::{Map, Value};

use super::{Scalar, Shape, Struct, built_in};

/// Four bytes before every object.
const MAGIC: &[u8] = b"k8s\0";

/// No built-in type is as deep.
const DEEPEST: usize = 32;

/// Why bytes are not an object.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    /// The magic number is missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// No built-in type, or one whose fields have no numbers here.
    #[error("no kind {kind:?} is registered for version {api_version:?} in protobuf")]
    UnknownType {
        /// As sent.
        api_version: String,
        /// As sent.
        kind: String,
    },
    /// Not of the encoding.
    #[error("proto: {0}")]
    Malformed(String),
}

impl From<quick_protobuf::Error> for ProtobufError {
    fn from(error: quick_protobuf::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

type Read<T> = Result<T, ProtobufError>;

/// A field of a message as it comes: number and content.
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    fn bytes(&self) -> Read<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) => Err(ProtobufError::Malformed("a number where bytes belong".into())),
        }
    }

    fn text(&self) -> Read<String> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map(str::to_string)
            .map_err(|_| ProtobufError::Malformed("a string is not UTF-8".into()))
    }

    fn number(&self) -> Read<i64> {
        match self {
            Self::Number(number) => Ok(number.cast_signed()),
            Self::Bytes(_) => Err(ProtobufError::Malformed("bytes where a number belongs".into())),
        }
    }
}

/// Reads an object with its envelope (`runtime.Unknown`).
///
/// # Errors
/// Bytes that are no object of a built-in type.
pub fn read_object(body: &[u8]) -> Read<Value> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw): (String, String, &[u8]) = Default::default();
    each_field(body, |number, content| {
        match number {
            1 => each_field(content.bytes()?, |number, content| {
                match number {
                    1 => api_version = content.text()?,
                    2 => kind = content.text()?,
                    _ => {}
                }
                Ok(())
            })?,
            2 => raw = content.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    let fields = type_of(&api_version, &kind).filter(|fields| fields.fields.values().any(|field| field.wire.is_some()));
    let Some(fields) = fields else {
        return Err(ProtobufError::UnknownType { api_version, kind });
    };
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    message(raw, fields, &mut Vec::new(), &mut object, 0)?;
    Ok(Value::Object(object))
}

/// Options of a deletion are sent under the version of what is deleted.
fn type_of(api_version: &str, kind: &str) -> Option<&'static Struct> {
    if kind == "DeleteOptions" {
        return built_in("meta/v1.DeleteOptions");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    built_in(&format!("{group}/{version}.{kind}"))
}

/// Visits the fields of a message in their order.
fn each_field<'a>(bytes: &'a [u8], mut visit: impl FnMut(u32, Content<'a>) -> Read<()>) -> Read<()> {
    let mut reader = BytesReader::from_bytes(bytes);
    while !reader.is_eof() {
        let tag = reader.next_tag(bytes)?;
        let content = match tag & 7 {
            0 => Content::Number(reader.read_varint64(bytes)?),
            1 => Content::Number(reader.read_fixed64(bytes)?),
            2 => Content::Bytes(reader.read_bytes(bytes)?),
            _ => {
                reader.read_unknown(bytes, tag)?;
                continue;
            }
        };
        visit(tag >> 3, content)?;
    }
    Ok(())
}

/// Reads a message of a struct into its JSON. `embedded` are the numbers of the messages this one is embedded in: Go embeds
/// structs, in JSON their fields stand beside the others.
fn message(
    bytes: &[u8],
    fields: &Struct,
    embedded: &mut Vec<u32>,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Read<()> {
    if depth > DEEPEST {
        return Err(ProtobufError::Malformed("nested too deeply".into()));
    }
    each_field(bytes, |number, content| {
        embedded.push(number);
        let found = fields.fields.iter().find_map(|(name, field)| {
            let wire = field.wire.as_ref()?;
            wire.path.starts_with(embedded).then_some((name, field, wire))
        });
        if let Some((name, field, wire)) = found {
            if wire.path.len() > embedded.len() {
                message(content.bytes()?, fields, embedded, into, depth + 1)?;
            } else {
                field_value(name, &field.shape, wire.zero, &content, into, depth)?;
            }
        }
        embedded.pop();
        Ok(())
    })
}

/// Adds one occurrence of a field: lists and maps grow by it.
fn field_value(
    name: &str,
    shape: &Shape,
    zero: bool,
    content: &Content<'_>,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Read<()> {
    match shape {
        Shape::List { items, .. } => {
            let item = value(items, content, depth)?.unwrap_or_default();
            let list = into.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(item);
            }
        }
        Shape::Map { values, .. } => {
            let mut key = String::new();
            let mut entry = empty(values);
            each_field(content.bytes()?, |number, content| {
                match number {
                    1 => key = content.text()?,
                    2 => entry = map_value(values, &content, depth)?,
                    _ => {}
                }
                Ok(())
            })?;
            let map = into.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(key, entry);
            }
        }
        _ => {
            // Go writes the zero values of what is no pointer too.
            if let Some(found) = value(shape, content, depth)?
                && (zero || !is_zero(&found))
            {
                into.insert(name.to_string(), found);
            }
        }
    }
    Ok(())
}

/// What a map holds under a key whose value is left out of the entry.
fn empty(shape: &Shape) -> Value {
    match shape {
        Shape::List { .. } => Value::Array(Vec::new()),
        Shape::Scalar(Scalar::String | Scalar::Bytes) => "".into(),
        Shape::Scalar(Scalar::Quantity) => "0".into(),
        _ => Value::Object(Map::new()),
    }
}

/// Lists that are values of a map have a message of their own (`ExtraValue`).
fn map_value(shape: &Shape, content: &Content<'_>, depth: usize) -> Read<Value> {
    let Shape::List { items, .. } = shape else {
        return Ok(value(shape, content, depth)?.unwrap_or_else(|| empty(shape)));
    };
    let mut list = Vec::new();
    each_field(content.bytes()?, |number, content| {
        if number == 1 {
            list.push(value(items, &content, depth)?.unwrap_or_default());
        }
        Ok(())
    })?;
    Ok(Value::Array(list))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

/// One value; `None` where the encoding says "not set".
fn value(shape: &Shape, content: &Content<'_>, depth: usize) -> Read<Option<Value>> {
    Ok(Some(match shape {
        Shape::Scalar(scalar) => return scalar_value(*scalar, content),
        // `RawExtension`, `FieldsV1`: JSON in a message.
        Shape::Any => {
            let Some(raw) = single(content.bytes()?, 1)? else {
                return Ok(None);
            };
            let json = raw.bytes()?;
            if json.is_empty() {
                return Ok(None);
            }
            serde_json::from_slice(json).map_err(|error| ProtobufError::Malformed(error.to_string()))?
        }
        Shape::Struct(_) | Shape::Named(_) => {
            let mut object = Map::new();
            if let Some(fields) = shape.as_struct() {
                message(content.bytes()?, fields, &mut Vec::new(), &mut object, depth + 1)?;
            }
            Value::Object(object)
        }
        Shape::List { .. } | Shape::Map { .. } => {
            return Err(ProtobufError::Malformed("a list within a list".into()));
        }
    }))
}

fn scalar_value(scalar: Scalar, content: &Content<'_>) -> Read<Option<Value>> {
    Ok(Some(match scalar {
        Scalar::String => content.text()?.into(),
        Scalar::Bool => (content.number()? != 0).into(),
        Scalar::Int64 => content.number()?.into(),
        Scalar::Int32 => int32(content.number()?).into(),
        Scalar::Float64 => f64::from_bits(content.number()?.cast_unsigned()).into(),
        Scalar::Bytes => base64::engine::general_purpose::STANDARD
            .encode(content.bytes()?)
            .into(),
        Scalar::Quantity => match single(content.bytes()?, 1)? {
            Some(text) => text.text()?.into(),
            None => "0".into(),
        },
        Scalar::IntOrString => {
            let bytes = content.bytes()?;
            let is_text = single(bytes, 1)?.map_or(Ok(0), |c| c.number())? == 1;
            match single(bytes, if is_text { 3 } else { 2 })? {
                Some(text) if is_text => text.text()?.into(),
                None if is_text => "".into(),
                Some(number) => int32(number.number()?).into(),
                None => 0.into(),
            }
        }
        Scalar::Time | Scalar::MicroTime => return time(content.bytes()?, scalar),
    }))
}

/// Negative numbers are sent in 64 bits.
fn int32(number: i64) -> i64 {
    // The encoding's own rule for values out of range: the upper bits are dropped.
    #[allow(clippy::cast_possible_truncation)]
    let number = number as i32;
    number.into()
}

/// The last occurrence of a field.
fn single(bytes: &[u8], wanted: u32) -> Read<Option<Content<'_>>> {
    let mut found = None;
    each_field(bytes, |number, content| {
        if number == wanted {
            found = Some(content);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Seconds and nanoseconds since 1970; empty is a time that is not set.
fn time(bytes: &[u8], scalar: Scalar) -> Read<Option<Value>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let part = |number| -> Read<i64> { single(bytes, number)?.map_or(Ok(0), |c| c.number()) };
    let nanoseconds = i32::try_from(part(2)?).unwrap_or_default();
    let time = k8s_openapi::jiff::Timestamp::new(part(1)?, nanoseconds)
        .map_err(|error| ProtobufError::Malformed(error.to_string()))?;
    Ok(Some(match scalar {
        Scalar::MicroTime => format!("{time:.6}").into(),
        _ => format!("{time:.0}").into(),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ConfigMap as Go writes it: the empty strings of its metadata are sent, too.
    const CONFIG_MAP: &[u8] = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01a\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x06\n\x01k\x12\x01v\x1a\x00\"\x00";

    #[test]
    fn zero_values_that_mean_nothing_are_left_out() {
        let expected = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "a" }, "data": { "k": "v" } });
        assert_eq!(read_object(CONFIG_MAP).expect("an object"), expected);
    }

    #[test]
    fn an_unknown_type_is_named() {
        let mut other = CONFIG_MAP.to_vec();
        other[12] = b'X';
        assert_eq!(
            read_object(&other).expect_err("no such kind").to_string(),
            "no kind \"XonfigMap\" is registered for version \"v1\" in protobuf"
        );
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_and_never_panic(at in 0..CONFIG_MAP.len(), byte: u8, cut in 0..CONFIG_MAP.len(), tail: Vec<u8>) {
            let mut changed = CONFIG_MAP.to_vec();
            changed[at] = byte;
            let _ = read_object(&changed);
            let _ = read_object(&changed[..cut]);
            changed.truncate(cut);
            changed.extend(tail);
            let _ = read_object(&changed);
        }
    }
}
