//! Whether a schema is structural: each field has a type, so that objects can be pruned and defaulted by it
//! (`ValidateStructural` of apiextensions-apiserver).

use serde_json::Value;

use crate::status::FieldError;

/// Deeper schemas are refused.
const DEPTH_LIMIT: usize = 64;

/// What keeps a schema from being structural; `path` is where it is.
pub fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match schema["type"].as_str() {
        None | Some("") => errors.push(FieldError::required(
            format!("{path}.type"),
            "must not be empty at the root",
        )),
        Some("object") => {}
        Some(_) => {
            let place = format!("{path}.type");
            errors.push(FieldError::invalid(
                place,
                &schema["type"],
                "must be object at the root",
            ));
        }
    }
    below(schema, path, 0, &mut errors);
    errors
}

fn node(schema: &Value, path: &str, what: &str, depth: usize, errors: &mut Vec<FieldError>) {
    let flag = |name: &str| schema[name] == true;
    let typed = !schema["type"].as_str().unwrap_or_default().is_empty();
    let free = flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
    if !typed && !free {
        let detail = format!("must not be empty for specified {what}");
        errors.push(FieldError::required(format!("{path}.type"), detail));
    }
    if flag("x-kubernetes-embedded-resource") && schema["type"] != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(FieldError::invalid(format!("{path}.type"), &schema["type"], detail));
    }
    below(schema, path, depth, errors);
}

fn below(schema: &Value, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth > DEPTH_LIMIT {
        errors.push(FieldError::forbidden(
            path,
            format!("must not be deeper than {DEPTH_LIMIT} levels"),
        ));
        return;
    }
    if schema["type"] == "array" && !schema["items"].is_object() {
        errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
    }
    let additional = &schema["additionalProperties"];
    if schema["properties"].is_object() && (additional.is_object() || *additional == true) {
        let place = format!("{path}.additionalProperties");
        errors.push(FieldError::forbidden(
            place,
            "additionalProperties and properties are mutual exclusive",
        ));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        node(
            property,
            &format!("{path}.properties[{name}]"),
            "object fields",
            depth + 1,
            errors,
        );
    }
    if schema["items"].is_object() {
        node(
            &schema["items"],
            &format!("{path}.items"),
            "array items",
            depth + 1,
            errors,
        );
    }
    if additional.is_object() {
        node(
            additional,
            &format!("{path}.additionalProperties"),
            "object fields",
            depth + 1,
            errors,
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: Value) -> Vec<String> {
        check(&schema, "s").iter().map(FieldError::to_string).collect()
    }

    #[test]
    fn each_field_must_have_a_type() {
        let good = json!({ "type": "object", "properties": { "a": { "type": "array", "items": { "type": "string" } },
            "b": { "x-kubernetes-int-or-string": true }, "c": { "x-kubernetes-preserve-unknown-fields": true },
            "d": { "type": "object", "additionalProperties": { "type": "string" } } } });
        assert_eq!(errors(good), Vec::<String>::new());
        assert_eq!(
            errors(json!({})),
            ["s.type: Required value: must not be empty at the root"]
        );
        assert_eq!(
            errors(json!({ "type": "string" })),
            ["s.type: Invalid value: \"string\": must be object at the root"]
        );
        let bad = json!({ "type": "object", "properties": { "a": {}, "b": { "type": "array" } } });
        assert_eq!(
            errors(bad),
            [
                "s.properties[a].type: Required value: must not be empty for specified object fields",
                "s.properties[b].items: Required value: must be specified",
            ]
        );
    }
}
