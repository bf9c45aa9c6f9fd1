//! Schemas of built-in types, from the table of types.

use serde_json::{Map, Value, json};

use crate::schema::{self, Scalar, Shape};

/// Name of a built-in type among the components: `core/v1.Pod` is `io.k8s.api.core.v1.Pod`.
pub fn component(shape: &str) -> String {
    let dotted = shape.replace('/', ".");
    match shape.split('/').next() {
        Some("meta") => format!("io.k8s.apimachinery.pkg.apis.{dotted}"),
        Some("apiextensions") => format!("io.k8s.apiextensions-apiserver.pkg.apis.{dotted}"),
        _ => format!("io.k8s.api.{dotted}"),
    }
}

/// A reference to a built-in type.
pub fn reference(shape: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", component(shape)) })
}

/// Adds a type and all it refers to.
pub fn add(shape: &str, schemas: &mut Map<String, Value>) {
    let name = component(shape);
    if schemas.contains_key(&name) {
        return;
    }
    let Some(fields) = schema::built_in(shape) else {
        return;
    };
    // Types refer to themselves: the name is taken before the fields are looked at.
    schemas.insert(name.clone(), Value::Null);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (field, described) in &fields.fields {
        properties.insert(field.clone(), schema_of(&described.shape, schemas));
        if described.required {
            required.push(Value::from(field.as_str()));
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schemas.insert(name, schema);
}

fn schema_of(shape: &Shape, schemas: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Scalar(scalar) => self::scalar(*scalar),
        Shape::Named(name) => {
            add(name, schemas);
            json!({ "allOf": [reference(name)] })
        }
        Shape::Map { values, .. } => json!({ "type": "object", "additionalProperties": schema_of(values, schemas) }),
        Shape::List { items, .. } => json!({ "type": "array", "items": schema_of(items, schemas) }),
        Shape::Any | Shape::Struct(_) => json!({ "type": "object" }),
    }
}

fn scalar(scalar: Scalar) -> Value {
    match scalar {
        Scalar::String | Scalar::Quantity => json!({ "type": "string" }),
        Scalar::Int32 => json!({ "type": "integer", "format": "int32" }),
        Scalar::Int64 => json!({ "type": "integer", "format": "int64" }),
        Scalar::Float64 => json!({ "type": "number", "format": "double" }),
        Scalar::Bool => json!({ "type": "boolean" }),
        Scalar::Bytes => json!({ "type": "string", "format": "byte" }),
        Scalar::IntOrString => json!({ "type": "string", "format": "int-or-string" }),
        Scalar::Time | Scalar::MicroTime => json!({ "type": "string", "format": "date-time" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let mut schemas = Map::new();
        for resource in crate::resource::Catalog::built_in().iter() {
            add(resource.shape.as_deref().expect("built in"), &mut schemas);
        }
        let text = Value::Object(schemas.clone()).to_string();
        let references = text.split("#/components/schemas/").skip(1);
        for name in references.filter_map(|rest| rest.split('"').next()) {
            assert!(schemas.get(name).is_some_and(Value::is_object), "{name}");
        }
    }
}
