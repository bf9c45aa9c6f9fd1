//! Images of the development cluster: names that stand for local executables.
//!
//! There is no registry and no file system layer. An image name resolves to an executable of this
//! machine by an explicit entry, or by the directory rule: the last part of the name without tag
//! and digest is looked for in one directory (`ghcr.io/hanse/sampler-sender:1.0` → `sampler-sender`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What an image name stands for: the counterpart of ENTRYPOINT and CMD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The executable that is started unless the container has a `command`.
    pub program: PathBuf,
    /// Its arguments unless the container has `args` (or a `command`).
    pub args: Vec<String>,
}

/// The images that the development cluster can start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Exact image names (as written in the manifest) and what they stand for. Tried first.
    pub by_name: BTreeMap<String, Image>,
    /// Directory of executables for the directory rule.
    pub dir: Option<PathBuf>,
}

/// Why an image cannot be had; the text is shown in the pod's status like that of a failed pull.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageError {
    /// The name cannot be an image reference.
    #[error("couldn't parse image name \"{0}\": invalid reference format")]
    InvalidName(String),
    /// No entry and no executable.
    #[error(
        "failed to pull image \"{image}\": not found: this development cluster runs local executables as images{}",
        hint(.image, .dir.as_deref())
    )]
    Unknown {
        /// The image as written in the manifest.
        image: String,
        /// The directory that was searched, if the directory rule is on.
        dir: Option<PathBuf>,
    },
    /// There is an entry but its executable is not there.
    #[error("failed to pull image \"{image}\": {program}: no such executable file")]
    NoProgram {
        /// The image as written in the manifest.
        image: String,
        /// The executable it stands for.
        program: PathBuf,
    },
}

fn hint(image: &str, dir: Option<&Path>) -> String {
    match (dir, base_name(image)) {
        (Some(dir), Some(name)) => format!("; put an executable \"{name}\" into {}", dir.display()),
        _ => "; add it to the configured images".to_owned(),
    }
}

impl Images {
    /// What `image` stands for on this machine.
    ///
    /// # Errors
    /// [`ImageError`] when the name is not an image reference or nothing executable stands for it.
    pub fn resolve(&self, image: &str) -> Result<Image, ImageError> {
        let name = base_name(image).ok_or_else(|| ImageError::InvalidName(image.to_owned()))?;
        if let Some(found) = self.by_name.get(image) {
            if !is_executable(&found.program) {
                return Err(ImageError::NoProgram {
                    image: image.to_owned(),
                    program: found.program.clone(),
                });
            }
            return Ok(found.clone());
        }
        if let Some(program) = self
            .dir
            .as_ref()
            .map(|dir| dir.join(name))
            .filter(|path| is_executable(path))
        {
            return Ok(Image {
                program,
                args: Vec::new(),
            });
        }
        Err(ImageError::Unknown {
            image: image.to_owned(),
            dir: self.dir.clone(),
        })
    }
}

/// `registry:5000/team/name:tag@digest` → `name`; `None` when that is not a plain file name.
fn base_name(image: &str) -> Option<&str> {
    let without_digest = image.split('@').next()?;
    let last = without_digest.rsplit('/').next()?;
    let name = last.split(':').next()?;
    let plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    (plain && !name.is_empty() && !name.starts_with('.')).then_some(name)
}

/// Whether `path` is a regular file with an execute bit.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_resolves_by_entry_first_and_by_directory_second() {
        let shell = Image {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), "true".into()],
        };
        let images = Images {
            by_name: BTreeMap::from([("busybox:1".to_owned(), shell.clone())]),
            dir: Some("/bin".into()),
        };
        assert_eq!(images.resolve("busybox:1").unwrap(), shell);
        assert_eq!(
            images.resolve("registry:5000/x/sh:1@sha256:0").unwrap().program,
            Path::new("/bin/sh")
        );
    }

    #[test]
    fn an_unknown_image_says_what_to_do() {
        let images = Images {
            by_name: BTreeMap::new(),
            dir: Some("/bin".into()),
        };
        let message = images.resolve("example.com/no-such-program:1").unwrap_err().to_string();
        assert!(
            message.contains("put an executable \"no-such-program\" into /bin"),
            "{message}"
        );
        assert!(
            Images::default()
                .resolve("a")
                .unwrap_err()
                .to_string()
                .contains("add it to the configured images")
        );
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let images = Images {
            by_name: BTreeMap::new(),
            dir: Some("/bin".into()),
        };
        for image in ["..", "x/..", "", "a/", "x/.hidden", "a b"] {
            assert_eq!(images.resolve(image), Err(ImageError::InvalidName(image.to_owned())));
        }
    }
}
