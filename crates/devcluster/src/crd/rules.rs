//! Validation rules in CEL (`x-kubernetes-validations`), evaluated by the kube-cel crate.
//!
//! Apart from the real server: there is no budget of cost (a rule is bounded by the size of the object alone), and in
//! transition rules an item of a list is compared with the item at the same place, not with the one of the same key.

use kube_cel::{CompiledSchema, ErrorKind, RootContext, ValidationError, compile_schema};
use serde_json::Value;

use crate::status::{FieldError, FieldErrorKind};

/// The compiled rules of one version of a custom resource.
#[derive(Debug)]
pub struct Rules(Option<CompiledSchema>);

/// Where rules are in a schema.
const RULES: &str = "x-kubernetes-validations";

impl Rules {
    /// Compiles the rules of a schema.
    pub fn of(schema: &Value) -> Self {
        Self(has_rules(schema).then(|| compile_schema(schema)))
    }

    /// Whether there is nothing to evaluate.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Which rules an object breaks. Where there is no old object, rules about `oldSelf` do not apply.
    pub fn check(&self, old: Option<&Value>, new: &Value, root: &RootContext) -> Vec<FieldError> {
        let Some(compiled) = &self.0 else {
            return Vec::new();
        };
        VALIDATOR.with(
            |validator| match validator.validate_compiled_with_context(compiled, new, old, Some(root)) {
                Ok(()) => Vec::new(),
                Err(broken) => broken.into_vec().into_iter().map(field_error).collect(),
            },
        )
    }
}

thread_local! {
    /// With all functions of Kubernetes registered, which takes longer than most rules.
    static VALIDATOR: kube_cel::Validator = kube_cel::Validator::new();
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key(RULES) || map.values().any(has_rules),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

/// A broken rule, as validation shows it. Its value is not shown.
fn field_error(error: ValidationError) -> FieldError {
    let kind = match (error.kind, error.reason.as_deref()) {
        (ErrorKind::ValidationFailure, Some("FieldValueRequired")) => FieldErrorKind::Required,
        (ErrorKind::ValidationFailure, Some("FieldValueForbidden")) => FieldErrorKind::Forbidden,
        (ErrorKind::ValidationFailure, Some("FieldValueDuplicate")) => FieldErrorKind::Duplicate,
        _ => FieldErrorKind::Invalid,
    };
    FieldError {
        kind,
        field: if error.field_path.is_empty() {
            "<nil>".into()
        } else {
            error.field_path
        },
        value: None,
        detail: error.message,
    }
}

/// What says that rules were left out because the object is wrong in itself, if it is so wrong.
pub fn unchecked(errors: &[FieldError]) -> Option<FieldError> {
    let blocking = |error: &FieldError| {
        use FieldErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
        [NotSupported, Required, TooLong, TooMany, TypeInvalid].contains(&error.kind)
    };
    errors.iter().any(blocking).then(|| {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        FieldError::invalid("<nil>", &Value::Null, detail)
    })
}

/// Rules of a definition that cannot be compiled: such a definition is refused.
pub fn not_compiled(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    visit(schema, path, 0, &mut errors);
    errors
}

fn visit(schema: &Value, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    /// Deeper schemas are refused by the compiler as a whole.
    const DEPTH_LIMIT: usize = 64;
    if depth > DEPTH_LIMIT {
        return;
    }
    for (index, rule) in schema[RULES].as_array().into_iter().flatten().enumerate() {
        // Compiled on its own, a rule says itself what is wrong with it.
        let alone = serde_json::json!({ "type": "object", RULES: [rule] });
        for error in compile_schema(&alone).compilation_errors() {
            let place = format!("{path}.{RULES}[{index}].rule");
            let shown = rule["rule"].as_str().unwrap_or_default();
            errors.push(FieldError::invalid(
                place,
                &shown.into(),
                format!("compilation failed: {error}"),
            ));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        visit(property, &format!("{path}.properties[{name}]"), depth + 1, errors);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            visit(&schema[below], &format!("{path}.{below}"), depth + 1, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn broken(schema: Value, old: Option<Value>, new: Value) -> Vec<String> {
        let root = RootContext {
            api_version: "g/v1".into(),
            api_group: "g".into(),
            kind: "K".into(),
        };
        let found = Rules::of(&schema).check(old.as_ref(), &new, &root);
        found.iter().map(FieldError::to_string).collect()
    }

    #[test]
    fn rules_with_a_message_of_their_own_about_a_field_and_about_what_was_before() {
        let schema = json!({ "type": "object", "properties": { "spec": {
            "type": "object",
            "properties": { "size": { "type": "integer" }, "name": { "type": "string" } },
            "x-kubernetes-validations": [
                { "rule": "self.size <= 5", "messageExpression": "'size is ' + string(self.size)" },
                { "rule": "self.name == oldSelf.name", "message": "name is immutable", "reason": "FieldValueForbidden",
                  "fieldPath": ".name" },
            ],
        } } });
        let object = |size: i64, name: &str| json!({ "spec": { "size": size, "name": name } });
        assert_eq!(broken(schema.clone(), None, object(5, "a")), Vec::<String>::new());
        assert_eq!(
            broken(schema.clone(), None, object(6, "a")),
            ["spec: Invalid value: size is 6"]
        );
        let renamed = broken(schema, Some(object(1, "a")), object(1, "b"));
        assert_eq!(renamed, ["spec.name: Forbidden: name is immutable"]);
    }

    #[test]
    fn the_library_of_kubernetes_is_there() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "string", "x-kubernetes-validations": [
            { "rule": "isURL(self) && url(self).getHostname() == 'example.com'", "message": "wrong host" } ] } } });
        assert!(broken(schema.clone(), None, json!({ "a": "https://example.com/x" })).is_empty());
        assert_eq!(
            broken(schema, None, json!({ "a": "https://other.com" })),
            ["a: Invalid value: wrong host"]
        );
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_named() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "string", "x-kubernetes-validations": [
            { "rule": "self ==" } ] } } });
        let errors = not_compiled(&schema, "s");
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].field, "s.properties[a].x-kubernetes-validations[0].rule");
    }
}
