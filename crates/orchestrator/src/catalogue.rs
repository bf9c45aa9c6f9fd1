//! Services that a domain can deploy by name: a folder with `NAME/service.yaml` (a [`ServiceDefinition`]) and
//! `NAME/manifest.yaml` for each.

use std::path::PathBuf;

use crate::error::StepError;
use crate::model::ServiceDefinition;

/// The folder.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Option<PathBuf>);

impl Catalogue {
    /// A catalogue in `folder`; none if there is no folder.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// The definition and the manifest of a service.
    pub async fn load(&self, name: &str) -> Result<(ServiceDefinition, String), StepError> {
        let plain = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !plain {
            return Err(StepError::Unusable(format!(
                "{name:?} is not a service name: use a-z, 0-9 and -"
            )));
        }
        let Some(folder) = &self.0 else {
            return Err(StepError::Unusable(format!(
                "this agent has no catalogue, so it knows no service {name}; set `catalogue` in its configuration"
            )));
        };
        let read = |file: &str| {
            let path = folder.join(name).join(file);
            async move {
                tokio::fs::read_to_string(&path)
                    .await
                    .map_err(|error| StepError::Unusable(format!("service {name}: {}: {error}", path.display())))
            }
        };
        let definition: ServiceDefinition = serde_saphyr::from_str(&read("service.yaml").await?)
            .map_err(|error| StepError::Unusable(format!("service {name}: service.yaml: {error}")))?;
        Ok((definition, read("manifest.yaml").await?))
    }

    /// The text of a file somewhere below the folder.
    pub async fn file(&self, path: &str) -> Result<String, StepError> {
        let Some(folder) = &self.0 else {
            return Err(StepError::Unusable(
                "this agent has no catalogue; set `catalogue` in its configuration".into(),
            ));
        };
        let inside = std::path::Path::new(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if path.is_empty() || !inside {
            return Err(StepError::Unusable(format!(
                "{path:?} is not a path below the catalogue folder"
            )));
        }
        let read = tokio::fs::read_to_string(folder.join(path)).await;
        read.map_err(|error| StepError::Unusable(format!("{path}: {error}")))
    }

    /// The names of all services.
    pub async fn names(&self) -> Vec<String> {
        let Some(folder) = &self.0 else { return Vec::new() };
        let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
            return Vec::new();
        };
        let mut names = Vec::new();
        while let Ok(Some(entry)) = entries.next_entry().await {
            if tokio::fs::try_exists(entry.path().join("service.yaml"))
                .await
                .unwrap_or(false)
            {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        names
    }
}
