//! Volumes as files below the pod's private folder.
//!
//! Containers are plain processes without a mount namespace. A volume mounted at `/etc/x` is therefore
//! found at `$HANSE_POD_ROOT/etc/x`: a symbolic link to the volume's folder, so that containers of one
//! pod share it. This is a stated limit of the development cluster.

use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeMount};

use super::environment::{References, field};

/// Names of the ConfigMaps and Secrets that the pod's volumes refer to.
pub(super) fn referred(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for volume in volumes(pod) {
        config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
        for source in volume
            .projected
            .iter()
            .flat_map(|source| source.sources.iter().flatten())
        {
            config_maps.extend(source.config_map.iter().map(|source| source.name.clone()));
            secrets.extend(source.secret.iter().map(|source| source.name.clone()));
        }
    }
    (config_maps, secrets)
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// What a volume consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Files by relative path, rewritten at each start of a container.
    Files(BTreeMap<PathBuf, Vec<u8>>),
    /// A folder that lives as long as the pod.
    Empty,
    /// A folder or file of this machine.
    Host(PathBuf),
}

/// The content of each volume of the pod, in the order of the pod.
///
/// # Errors
/// The kubelet's `FailedMount` message when something referred to is missing or not supported.
pub(super) fn contents(
    pod: &Pod,
    pod_ip: &str,
    host_ip: &str,
    references: &References,
) -> Result<Vec<(String, Content)>, String> {
    volumes(pod)
        .map(|volume| {
            content(pod, volume, pod_ip, host_ip, references)
                .map(|content| (volume.name.clone(), content))
                .map_err(|error| format!("MountVolume.SetUp failed for volume \"{}\" : {error}", volume.name))
        })
        .collect()
}

fn content(pod: &Pod, volume: &Volume, pod_ip: &str, host_ip: &str, known: &References) -> Result<Content, String> {
    let downward = |items: &[DownwardAPIVolumeFile]| -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
        items
            .iter()
            .map(|item| {
                let from = item
                    .field_ref
                    .as_ref()
                    .ok_or("only fieldRef is supported in downwardAPI volumes")?;
                Ok((
                    inside(&item.path)?,
                    field(pod, &from.field_path, pod_ip, host_ip)?.into_bytes(),
                ))
            })
            .collect()
    };
    if volume.empty_dir.is_some() {
        return Ok(Content::Empty);
    }
    if let Some(source) = &volume.host_path {
        return Ok(Content::Host(PathBuf::from(&source.path)));
    }
    if let Some(source) = &volume.config_map {
        let items = source.items.as_deref();
        return config_map(&source.name, items, source.optional, known).map(Content::Files);
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        return secret(name, source.items.as_deref(), source.optional, known).map(Content::Files);
    }
    if let Some(source) = &volume.downward_api {
        return downward(source.items.as_deref().unwrap_or_default()).map(Content::Files);
    }
    if let Some(projected) = &volume.projected {
        let mut files = BTreeMap::new();
        for source in projected.sources.iter().flatten() {
            if let Some(from) = &source.config_map {
                files.extend(config_map(&from.name, from.items.as_deref(), from.optional, known)?);
            }
            if let Some(from) = &source.secret {
                files.extend(secret(&from.name, from.items.as_deref(), from.optional, known)?);
            }
            if let Some(from) = &source.downward_api {
                files.extend(downward(from.items.as_deref().unwrap_or_default())?);
            }
        }
        return Ok(Content::Files(files));
    }
    Err("this kind of volume is not supported by the development cluster".to_owned())
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn config_map(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    known: &References,
) -> Result<Files, String> {
    let all = |map: &ConfigMap| {
        let text = map
            .data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let binary = map
            .binary_data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.0.clone()));
        text.chain(binary).collect()
    };
    match known.config_maps.get(name) {
        Some(map) => select(all(map), items, optional),
        // The cluster's CA is there only if the API server publishes it; nothing here needs it.
        None if optional == Some(true) || name == "kube-root-ca.crt" => Ok(Files::new()),
        None => Err(format!("configmap \"{name}\" not found")),
    }
}

fn secret(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    known: &References,
) -> Result<Files, String> {
    let all = |secret: &Secret| {
        secret
            .data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.0.clone()))
            .collect()
    };
    match known.secrets.get(name) {
        Some(secret) => select(all(secret), items, optional),
        None if optional == Some(true) => Ok(Files::new()),
        None => Err(format!("secret \"{name}\" not found")),
    }
}

fn select(
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> Result<Files, String> {
    let Some(items) = items else {
        return data
            .into_iter()
            .map(|(key, value)| Ok((inside(&key)?, value)))
            .collect();
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(value) => drop(files.insert(inside(&item.path)?, value)),
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

/// A relative path that stays inside of its folder.
fn inside(path: &str) -> Result<PathBuf, String> {
    let relative = Path::new(path.trim_start_matches('/'));
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !relative.as_os_str().is_empty() {
        // Without a slash at the end, with which a link could not be made.
        Ok(relative.components().collect())
    } else {
        Err(format!("the path \"{path}\" leaves its folder"))
    }
}

/// Writes the volumes below `pod_dir/volumes` and links the mounts into the container's root.
/// Repeating it is harmless.
///
/// # Errors
/// An I/O error with the path, or a mount that leaves the root.
pub(super) fn materialize(
    pod_dir: &Path,
    root: &Path,
    contents: &[(String, Content)],
    mounts: &[VolumeMount],
) -> Result<(), String> {
    let explain = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(root).map_err(|error| explain(root, error))?;
    for (name, content) in contents {
        let dir = pod_dir.join("volumes").join(inside(name)?);
        if let Content::Files(files) = content {
            for (path, bytes) in files {
                write_whole(&dir.join(path), bytes).map_err(|error| explain(&dir.join(path), error))?;
            }
        }
        std::fs::create_dir_all(&dir).map_err(|error| explain(&dir, error))?;
    }
    let mut mounts: Vec<&VolumeMount> = mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.mount_path.len());
    for mount in mounts {
        let link = root.join(inside(&mount.mount_path)?);
        let (_, content) = contents
            .iter()
            .find(|(name, _)| *name == mount.name)
            .ok_or_else(|| format!("no volume named \"{}\"", mount.name))?;
        let mut target = match content {
            Content::Host(path) => path.clone(),
            _ => pod_dir.join("volumes").join(inside(&mount.name)?),
        };
        if let Some(sub_path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
            target.push(inside(sub_path)?);
            if matches!(content, Content::Empty) {
                std::fs::create_dir_all(&target).map_err(|error| explain(&target, error))?;
            }
        }
        link_to(&link, &target).map_err(|error| explain(&link, error))?;
    }
    Ok(())
}

/// Replaces the file in one step: a program that reads it sees the old or the new content.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}

fn link_to(link: &Path, target: &Path) -> io::Result<()> {
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::os::unix::fs::symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && link.is_symlink() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes_become_files_that_containers_find_below_their_root() {
        let dir = tempfile::tempdir().unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {
            "containers": [], "volumes": [
                {"name": "conf", "configMap": {"name": "c", "items": [{"key": "a", "path": "sub/a.txt"}]}},
                {"name": "scratch", "emptyDir": {}},
                {"name": "info", "downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}}))
        .unwrap();
        let map = json!({"metadata": {"name": "c"}, "data": {"a": "hello", "b": "unused"}});
        let known = References {
            config_maps: BTreeMap::from([("c".to_owned(), serde_json::from_value(map).unwrap())]),
            ..References::default()
        };
        let contents = contents(&pod, "127.0.0.2", "127.0.0.1", &known).unwrap();
        let mounts: Vec<VolumeMount> = serde_json::from_value(json!([
            {"name": "conf", "mountPath": "/etc/app"}, {"name": "scratch", "mountPath": "/data"},
            {"name": "info", "mountPath": "/info/"}]))
        .unwrap();
        let roots = [dir.path().join("root/one"), dir.path().join("root/two")];
        for root in &roots {
            materialize(dir.path(), root, &contents, &mounts).unwrap();
            materialize(dir.path(), root, &contents, &mounts).unwrap();
            assert_eq!(
                std::fs::read_to_string(root.join("etc/app/sub/a.txt")).unwrap(),
                "hello"
            );
            assert_eq!(std::fs::read_to_string(root.join("info/ns")).unwrap(), "n");
            assert!(!root.join("etc/app/b").exists());
        }
        std::fs::write(roots[0].join("data/shared"), "x").unwrap();
        assert!(
            roots[1].join("data/shared").exists(),
            "containers of a pod share its volumes"
        );
    }

    #[test]
    fn nothing_is_written_outside_of_the_pod() {
        for path in ["..", "../x", "a/../../x", "", "/", "/../etc"] {
            assert!(inside(path).is_err(), "{path}");
        }
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [], "volumes": [
            {"name": "v", "configMap": {"name": "absent"}}]}}))
        .unwrap();
        let error = contents(&pod, "", "", &References::default()).unwrap_err();
        assert_eq!(
            error,
            "MountVolume.SetUp failed for volume \"v\" : configmap \"absent\" not found"
        );
    }
}
