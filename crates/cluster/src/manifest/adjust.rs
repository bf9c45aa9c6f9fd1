//! Adjusting a checked manifest: what the parties may change of what was agreed.

use std::collections::BTreeMap;

use super::error::ManifestError;
use super::kind::Kind;
use super::object::Object;
use super::{Manifest, error::Place};

impl Manifest {
    /// Sets (or adds) keys of ConfigMaps in the manifest: `{config map: {key: value}}`.
    ///
    /// # Errors
    /// [`ManifestError::NoSuchObject`] when the manifest has no ConfigMap of that name.
    pub fn override_config(&self, values: &BTreeMap<String, BTreeMap<String, String>>) -> Result<Self, ManifestError> {
        let mut manifest = self.clone();
        for (name, entries) in values {
            let Some(Object::ConfigMap(config)) = manifest.find_mut(Kind::ConfigMap, name) else {
                return Err(self.no_such(Kind::ConfigMap, name));
            };
            config.data.get_or_insert_default().extend(entries.clone());
        }
        Ok(manifest)
    }

    /// Sets the number of replicas of one Deployment.
    ///
    /// # Errors
    /// [`ManifestError::NoSuchObject`] when the manifest has no Deployment of that name,
    /// [`ManifestError::NotPermitted`] when `replicas` does not fit into Kubernetes' 32-bit signed field.
    pub fn with_replicas(&self, deployment: &str, replicas: u32) -> Result<Self, ManifestError> {
        let mut manifest = self.clone();
        let Some(Object::Deployment(found)) = manifest.find_mut(Kind::Deployment, deployment) else {
            return Err(self.no_such(Kind::Deployment, deployment));
        };
        let count = i32::try_from(replicas).map_err(|_| ManifestError::NotPermitted {
            place: Place {
                document: 1,
                kind: Some("Deployment".to_owned()),
                name: Some(deployment.to_owned()),
            },
            field: "spec.replicas".to_owned(),
            rule: format!("{replicas} is more than Kubernetes can count; lower it"),
        })?;
        found.spec.replicas = Some(count);
        Ok(manifest)
    }

    pub(super) fn find_mut(&mut self, kind: Kind, name: &str) -> Option<&mut Object> {
        self.objects.iter_mut().find(|o| o.kind() == kind && o.name() == name)
    }

    pub(super) fn no_such(&self, kind: Kind, name: &str) -> ManifestError {
        let known: Vec<&str> = self
            .objects
            .iter()
            .filter(|o| o.kind() == kind)
            .map(Object::name)
            .collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        ManifestError::NoSuchObject {
            kind: kind.name(),
            name: name.to_owned(),
            known,
        }
    }
}
