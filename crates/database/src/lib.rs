//! Opens or makes a redb file, such that `kill -9` at any moment leaves one that opens again.
//!
//! redb makes a file in several steps, and refuses one whose maker was killed between them: it can't be told from a damaged one. So a
//! new file is made under another name, and gets its own when redb is done with it. Nothing is stored in it before.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, StorageError};

/// Opens the file at `path`, which one process can do at a time, or makes it. Its folder must exist.
///
/// # Errors
/// Those of [`Builder::create`]; [`DatabaseError::DatabaseAlreadyOpen`] also if another process is making it.
pub fn open_or_make(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    if path.try_exists().map_err(failed)? {
        return builder.create(path);
    }
    let unfinished = unfinished(path);
    empty(&unfinished)?;
    let database = builder.create(&unfinished)?;
    // Whoever gives the file its name holds the lock of the unfinished one, as this process does by now.
    if path.try_exists().map_err(failed)? {
        std::fs::remove_file(&unfinished).map_err(failed)?;
        return builder.create(path);
    }
    std::fs::rename(&unfinished, path).map_err(failed)?;
    // What will be acknowledged must not vanish with the file's name.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(database)
}

/// Under which name the file is made.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Takes away what somebody who was killed has left. Not from somebody who is alive: redb holds this lock while it makes a file.
fn empty(unfinished: &Path) -> Result<(), DatabaseError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(unfinished)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => file.set_len(0).map_err(failed),
        Err(TryLockError::WouldBlock) => Err(DatabaseError::DatabaseAlreadyOpen),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn failed(error: io::Error) -> DatabaseError {
    DatabaseError::Storage(StorageError::Io(error))
}
