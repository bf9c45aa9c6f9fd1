//! JSON patch (RFC 6902) with the leniency of the real server: a `test` for null holds where nothing is.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

/// Applies all operations or none.
///
/// # Errors
/// The sentence the real server uses.
pub fn apply(object: &mut Value, patch: &Patch) -> Result<(), String> {
    let before = object.clone();
    for operation in &patch.0 {
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && object.pointer(test.path.as_str()).is_none()
        {
            continue;
        }
        if let Err(error) = json_patch::patch(object, std::slice::from_ref(operation)) {
            *object = before;
            return Err(describe(operation, &error));
        }
    }
    Ok(())
}

fn describe(operation: &PatchOperation, error: &json_patch::PatchError) -> String {
    match operation {
        PatchOperation::Test(test) => {
            format!(
                "the server rejected our request due to an error in our request: testing value {} failed",
                test.path
            )
        }
        _ => format!("the server rejected our request due to an error in our request: {error}"),
    }
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
