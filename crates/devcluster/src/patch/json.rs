//! JSON patch (RFC 6902) with the leniency of the real server: a `test` for null holds where nothing is.

use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::Value;

/// Applies all operations or none.
///
/// # Errors
/// Which operation failed, and why.
pub fn apply(object: &mut Value, patch: &Patch) -> Result<(), String> {
    let before = object.clone();
    for operation in &patch.0 {
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && object.pointer(test.path.as_str()).is_none()
        {
            continue;
        }
        if let Err(error) = json_patch::patch(object, std::slice::from_ref(&lenient(object, operation))) {
            *object = before;
            return Err(format!("{operation}: {error}"));
        }
    }
    Ok(())
}

/// Replacing a field that an object does not have adds it, as the real server's library does.
fn lenient(object: &Value, operation: &PatchOperation) -> PatchOperation {
    if let PatchOperation::Replace(replace) = operation {
        let parent = replace
            .path
            .as_str()
            .rsplit_once('/')
            .and_then(|(parent, _)| object.pointer(parent));
        if object.pointer(replace.path.as_str()).is_none() && parent.is_some_and(Value::is_object) {
            return PatchOperation::Add(AddOperation {
                path: replace.path.clone(),
                value: replace.value.clone(),
            });
        }
    }
    operation.clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_that_fails_changes_nothing() {
        let mut object = json!({"a": 1});
        let patch: Patch = serde_json::from_value(json!([
            {"op": "replace", "path": "/a", "value": 2}, {"op": "test", "path": "/a", "value": 3},
        ]))
        .unwrap();
        assert!(apply(&mut object, &patch).is_err());
        assert_eq!(object, json!({"a": 1}));
        let patch: Patch = serde_json::from_value(json!([{"op": "test", "path": "/b", "value": null}])).unwrap();
        assert!(apply(&mut object, &patch).is_ok());
    }
}
