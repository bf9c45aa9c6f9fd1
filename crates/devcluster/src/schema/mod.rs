//! Shapes: what server-side apply, strategic merge, pruning and decoding must know about a type.
//!
//! Built-in types come from a table derived from the published API types; custom resources from their
//! definition. Both become the same [`Shape`].

mod decode;
mod protobuf;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use decode::{DecodeError, decode, decode_base64};
pub use protobuf::{ProtobufError, read_object};
pub use table::{built_in, built_in_name};

/// What a scalar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// A JSON string.
    String,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// A double.
    Float64,
    /// true or false.
    Bool,
    /// Base64 in JSON.
    Bytes,
    /// A number or a string like `25%`.
    IntOrString,
    /// `resource.Quantity`: a string like `500m`, or a number.
    Quantity,
    /// RFC 3339, seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
}

/// How a list merges.
#[derive(Debug, Clone, PartialEq)]
pub enum ListKind {
    /// As one value.
    Atomic,
    /// Unique scalars.
    Set,
    /// Objects identified by these fields.
    Map(Vec<String>),
}

/// One field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its shape.
    pub shape: Shape,
    /// Whether the published type demands it.
    pub required: bool,
    /// How Kubernetes' protobuf encoding has it; `None` for fields of custom resources.
    pub wire: Option<Wire>,
}

/// A field in Kubernetes' protobuf encoding.
#[derive(Debug, Clone, PartialEq)]
pub struct Wire {
    /// Its number, after those of the messages it is embedded in.
    pub path: Vec<u32>,
    /// Whether a zero value that is sent is meant (Go's pointers, and what JSON never omits).
    pub zero: bool,
}

/// A struct with known fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Struct {
    /// Name of the type as error messages show it (`PodSpec`); empty for custom resources.
    pub name: String,
    /// Fields by JSON name.
    pub fields: BTreeMap<String, Field>,
    /// Whether it merges as one value.
    pub atomic: bool,
    /// Whether fields that are not listed stay.
    pub preserve_unknown: bool,
}

/// The shape of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A scalar.
    Scalar(Scalar),
    /// Anything; maps in it merge field by field, lists as a whole.
    Any,
    /// A struct.
    Struct(Arc<Struct>),
    /// A built-in struct by its name; types refer to themselves.
    Named(&'static str),
    /// A map from strings.
    Map {
        /// Shape of the values.
        values: Arc<Shape>,
        /// Whether it merges as one value.
        atomic: bool,
    },
    /// A list.
    List {
        /// Shape of the items.
        items: Arc<Shape>,
        /// How it merges.
        kind: ListKind,
    },
}

/// A shape with names resolved, as far as merging is concerned.
pub enum Resolved<'a> {
    /// Scalars and everything that merges as one value.
    Leaf,
    /// Untyped.
    Any,
    /// Fields.
    Struct(&'a Struct),
    /// A map that merges key by key.
    Map(&'a Shape),
    /// A list that merges item by item.
    List(&'a Shape, &'a ListKind),
}

impl Shape {
    /// The struct this is, if it is one.
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(fields) => Some(fields),
            Self::Named(name) => built_in(name),
            _ => None,
        }
    }

    /// How this merges.
    pub fn resolve(&self) -> Resolved<'_> {
        match self {
            Self::Scalar(_) => Resolved::Leaf,
            Self::Any => Resolved::Any,
            Self::Struct(_) | Self::Named(_) => match self.as_struct() {
                Some(fields) if !fields.atomic => Resolved::Struct(fields),
                _ => Resolved::Leaf,
            },
            Self::Map { atomic: true, .. }
            | Self::List {
                kind: ListKind::Atomic, ..
            } => Resolved::Leaf,
            Self::Map { values, .. } => Resolved::Map(values),
            Self::List { items, kind } => Resolved::List(items, kind),
        }
    }

    /// Shape of a field of a struct or of a value of a map.
    pub fn child(&self, key: &str) -> Option<&Shape> {
        match self {
            Self::Any => Some(&Shape::Any),
            Self::Map { values, .. } => Some(values),
            Self::Struct(_) | Self::Named(_) => {
                let fields = self.as_struct()?;
                match fields.fields.get(key) {
                    Some(field) => Some(&field.shape),
                    None if fields.preserve_unknown => Some(&Shape::Any),
                    None => None,
                }
            }
            _ => None,
        }
    }
}
