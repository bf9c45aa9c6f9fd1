//! What a Job gets on creation: the labels and the selector that bind its pods to it.

use serde_json::{Value, json};

use crate::object::{map_at, name, uid};

/// Labels the pod template and selects by the Job's uid, unless the Job selects by itself.
pub(super) fn prepare(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let (name, uid) = (name(job).to_string(), uid(job).to_string());
    let spec = map_at(job, "spec");
    spec.insert(
        "selector".into(),
        json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }),
    );
    if let Some(template) = spec.get_mut("template") {
        let labels = map_at(template, "metadata")
            .entry("labels")
            .or_insert_with(|| json!({}));
        for (key, value) in [
            ("controller-uid", &uid),
            ("job-name", &name),
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
        ] {
            labels[key] = value.as_str().into();
        }
    }
}
