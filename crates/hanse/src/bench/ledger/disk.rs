//! What folders take on disk.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The unit of `st_blocks` (stat(2)).
const SECTOR: u64 = 512;

/// Bytes that the file system has given to a folder's files. Stores make their files larger than what is written, so their
/// lengths would tell little.
pub fn used(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            used(&entry.path())?
        } else {
            metadata.blocks() * SECTOR
        };
    }
    Ok(bytes)
}
