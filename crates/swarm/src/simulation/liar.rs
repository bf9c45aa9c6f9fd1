//! A holder that lies.

use std::path::Path;

use bytes::Bytes;

use crate::blob::{BlockId, Layout};
use crate::store::{Store, StoreError};

/// Writes the store of a domain that is not running: under the name of each block of `blob` it has other bytes. So the domain that
/// is started with this folder is a holder that sends wrong blocks. `None` for a blob that is too large.
///
/// # Errors
/// If the store fails.
pub fn write_lies(folder: &Path, blob: &Bytes) -> Result<Option<BlockId>, StoreError> {
    let Some(layout) = Layout::of(blob) else {
        return Ok(None);
    };
    let lies = layout
        .blocks()
        .iter()
        .map(|(id, _)| (*id, Bytes::from_static(b"a lie")));
    Store::open(folder)?.keep_blocks(&lies.collect::<Vec<_>>())?;
    Ok(Some(layout.root()))
}
