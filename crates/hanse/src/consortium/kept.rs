//! Small things that survive a restart, each in a file of its own that is replaced as a whole.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Invitations and requests.
pub const DESK: &str = "consortium.json";
/// The rotation of the validator key whose outcome nobody has been told yet.
pub const ROTATION: &str = "rotation.json";

/// What was written, if anything was.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{} is damaged; move it away to go on without it", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}

/// Writes durably; a crash leaves what was there or what is to be there.
pub fn write(path: &Path, content: &impl Serialize) -> anyhow::Result<()> {
    write_bytes(path, &serde_json::to_vec_pretty(content)?)
}

/// As [`write`], of bytes.
pub fn write_bytes(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("could not write into {}", folder.display()))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)
        .with_context(|| format!("could not write {}", path.display()))?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// Forgets durably.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
