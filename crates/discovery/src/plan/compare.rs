//! Whether an object is as it should be.

use serde_json::Value;

/// Whether `live` has everything that `wanted` has. Fields that others added do not matter; lists have to be equal in length, and item
/// by item.
pub fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, value)| live.get(name).is_some_and(|live| holds(live, value)) || value.is_null()),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| holds(live, wanted))
        }
        _ => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_add_does_not_matter_and_what_they_change_does() {
        let wanted = json!({"spec": {"ports": [{"port": 4001}], "type": "LoadBalancer"}});
        let live = json!({"spec": {"ports": [{"port": 4001, "nodePort": 31000}], "type": "LoadBalancer", "clusterIP": "10.0.0.1"}});
        assert!(holds(&live, &wanted));
        assert!(!holds(&json!({"spec": {"ports": [], "type": "LoadBalancer"}}), &wanted));
        assert!(!holds(
            &json!({"spec": {"ports": [{"port": 4002}], "type": "LoadBalancer"}}),
            &wanted
        ));
        assert!(!holds(&json!({}), &wanted));
    }
}
