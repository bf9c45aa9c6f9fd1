//! What the Secrets of a manifest hold, apart from the rest: the one may be read by many, the other by one.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};

use super::Manifest;
use super::error::ManifestError;
use super::kind::Kind;
use super::object::Object;

/// `kubectl apply` writes the whole object into this annotation, values and all.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Secret → key → value. `Debug` shows no value. Serialises as Kubernetes does, values in base64.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValues(BTreeMap<String, BTreeMap<String, ByteString>>);

impl SecretValues {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = |values: &BTreeMap<String, ByteString>| values.keys().cloned().collect::<Vec<_>>();
        f.debug_map()
            .entries(self.0.iter().map(|(name, values)| (name, keys(values))))
            .finish()
    }
}

impl Manifest {
    /// The manifest with empty Secrets, which keep their names, types and labels, and what was in them.
    pub fn without_secret_values(&self) -> (Self, SecretValues) {
        let (mut manifest, mut taken) = (self.clone(), SecretValues::default());
        for object in &mut manifest.objects {
            let name = object.name().to_owned();
            let Object::Secret(secret) = object else { continue };
            if let Some(annotations) = &mut secret.metadata.annotations {
                annotations.remove(LAST_APPLIED);
            }
            let mut values = secret.data.take().unwrap_or_default();
            let texts = secret.string_data.take().unwrap_or_default().into_iter();
            // As the cluster does it: what is in both counts as in `stringData`.
            values.extend(texts.map(|(key, text)| (key, ByteString(text.into_bytes()))));
            if !values.is_empty() {
                taken.0.insert(name, values);
            }
        }
        (manifest, taken)
    }

    /// Lays values over the Secrets of the manifest.
    ///
    /// # Errors
    /// [`ManifestError::NoSuchObject`] when the manifest has no Secret of a name.
    pub fn with_secret_values(&self, values: &SecretValues) -> Result<Self, ManifestError> {
        let mut manifest = self.clone();
        for (name, entries) in &values.0 {
            let Some(Object::Secret(secret)) = manifest.find_mut(Kind::Secret, name) else {
                return Err(self.no_such(Kind::Secret, name));
            };
            secret.data.get_or_insert_default().extend(entries.clone());
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::KindPolicy;
    use super::*;

    const YAML: &str = "apiVersion: v1
kind: Secret
metadata:
  name: database
  labels: {app: database}
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{\"stringData\":{\"user\":\"TOPSECRET-1\"}}'
type: Opaque
data: {user: b3ZlcnJ1bGVk, password: VE9QU0VDUkVULTI=}
stringData: {user: TOPSECRET-3}
---
apiVersion: v1
kind: Secret
metadata: {name: empty}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green}
";

    fn parse(yaml: &str) -> Manifest {
        Manifest::parse(yaml, &KindPolicy::default()).unwrap()
    }

    #[test]
    fn what_secrets_hold_is_taken_out_and_laid_in_again() {
        let (bare, values) = parse(YAML).without_secret_values();
        let text = bare.to_yaml().unwrap();
        for told in ["TOPSECRET", "VE9QU0VDUkVU", "b3ZlcnJ1bGVk"] {
            assert!(!text.contains(told), "{text}");
            assert!(!format!("{values:?}").contains(told));
        }
        assert!(
            text.contains("name: database") && text.contains("colour: green"),
            "{text}"
        );

        let sent = serde_json::to_string(&values).unwrap();
        let arrived: SecretValues = serde_json::from_str(&sent).unwrap();
        let whole = parse(&text).with_secret_values(&arrived).unwrap();
        let Some(Object::Secret(secret)) = whole.objects().iter().find(|object| object.name() == "database") else {
            panic!("the Secret is gone");
        };
        let data = secret.data.as_ref().unwrap();
        assert_eq!(data["user"].0, b"TOPSECRET-3", "stringData counts, as in a cluster");
        assert_eq!(data["password"].0, b"TOPSECRET-2");
    }

    #[test]
    fn a_manifest_without_secrets_has_no_values_and_values_need_their_secret() {
        let config_only = parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n");
        let (same, values) = config_only.without_secret_values();
        assert!(values.is_empty() && same == config_only);
        let (_, values) = parse(YAML).without_secret_values();
        let error = config_only.with_secret_values(&values).unwrap_err().to_string();
        assert!(error.contains("database"), "{error}");
    }
}
