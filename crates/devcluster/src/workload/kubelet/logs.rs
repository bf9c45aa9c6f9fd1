//! Logs of containers: files in the CRI format (`TIME STREAM TAG TEXT`), bounded by rotation.
//!
//! Each start of a container has a file of its own, `NAME/ATTEMPT.log`, with at most one older part
//! `NAME/ATTEMPT.log.1`; the last two starts are kept (for `previous`). A line longer than
//! [`LONGEST_LINE`] is stored in parts (tag `P`), as by containerd.

use std::{
    io,
    path::{Path, PathBuf},
};

use k8s_openapi::jiff::Timestamp;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    sync::watch,
};

/// Size at which a log file is rotated; twice that is kept for each start.
pub(super) const ROTATE_AT: u64 = 4 * 1024 * 1024;
/// Longest line stored in one piece.
pub(super) const LONGEST_LINE: usize = 16 * 1024;

/// Folder of a container's logs below the pod's private folder.
pub(super) fn folder(pod_dir: &Path, container: &str) -> PathBuf {
    pod_dir.join("logs").join(container)
}

/// The log of one start.
pub(super) fn file(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    folder(pod_dir, container).join(format!("{attempt}.log"))
}

/// The numbers of the starts that have a log, oldest first.
pub(super) fn attempts(pod_dir: &Path, container: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(folder(pod_dir, container)) else {
        return Vec::new();
    };
    let name = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut attempts: Vec<u32> = entries
        .filter_map(|entry| name(entry)?.strip_suffix(".log")?.parse().ok())
        .collect();
    attempts.sort_unstable();
    attempts
}

/// Writes the output of one start until both streams end. `written` is told after each write.
///
/// # Errors
/// When the folder or file cannot be created or written; the streams are then no longer read.
pub(super) async fn record(
    pod_dir: &Path,
    container: &str,
    attempt: u32,
    stdout: impl AsyncRead + Unpin,
    stderr: impl AsyncRead + Unpin,
    written: &watch::Sender<u64>,
) -> io::Result<()> {
    let path = file(pod_dir, container, attempt);
    tokio::fs::create_dir_all(folder(pod_dir, container)).await?;
    for old in attempts(pod_dir, container)
        .into_iter()
        .filter(|old| *old + 1 < attempt)
    {
        for name in [file(pod_dir, container, old), rotated(&file(pod_dir, container, old))] {
            let _ = tokio::fs::remove_file(name).await;
        }
    }
    let mut log = LogFile {
        file: File::create(&path).await?,
        path,
        size: 0,
    };
    let (mut out, mut err) = (BufReader::new(stdout), BufReader::new(stderr));
    let (mut out_line, mut err_line) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        // Reading a part into the stream's own buffer is safe to be cancelled by the other stream.
        tokio::select! {
            more = read_part(&mut out, &mut out_line), if out_open => {
                out_open = more?;
                log.append("stdout", &mut out_line, !out_open).await?;
            }
            more = read_part(&mut err, &mut err_line), if err_open => {
                err_open = more?;
                log.append("stderr", &mut err_line, !err_open).await?;
            }
        }
        written.send_modify(|count| *count += 1);
    }
    Ok(())
}

/// Reads what is there, at most a line's worth. `false` at the end of the stream.
async fn read_part(stream: &mut BufReader<impl AsyncRead + Unpin>, line: &mut Vec<u8>) -> io::Result<bool> {
    let available = stream.fill_buf().await?;
    if available.is_empty() {
        return Ok(false);
    }
    let room = LONGEST_LINE.saturating_sub(line.len()).max(1);
    let take = available
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(available.len(), |end| end + 1)
        .min(room);
    line.extend_from_slice(&available[..take]);
    stream.consume(take);
    Ok(true)
}

struct LogFile {
    file: File,
    path: PathBuf,
    size: u64,
}

impl LogFile {
    /// Appends a finished line, an overlong part, or the unfinished rest at the end of a stream.
    async fn append(&mut self, stream: &str, line: &mut Vec<u8>, last: bool) -> io::Result<()> {
        let finished = line.last() == Some(&b'\n');
        if line.is_empty() || !(finished || last || line.len() >= LONGEST_LINE) {
            return Ok(());
        }
        let tag = if finished || last { "F" } else { "P" };
        let mut entry = format!("{:.9} {stream} {tag} ", Timestamp::now()).into_bytes();
        entry.extend_from_slice(line);
        if !finished {
            entry.push(b'\n');
        }
        line.clear();
        if self.size + entry.len() as u64 > ROTATE_AT {
            self.file.flush().await?;
            tokio::fs::rename(&self.path, rotated(&self.path)).await?;
            self.file = File::create(&self.path).await?;
            self.size = 0;
        }
        self.size += entry.len() as u64;
        self.file.write_all(&entry).await?;
        self.file.flush().await
    }
}

pub(super) fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// One stored line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) time: &'a str,
    /// It ends a line (and is not a part of an overlong one).
    pub(super) full: bool,
    pub(super) text: &'a [u8],
}

/// Parses a stored line without its line feed.
pub(super) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let _stream = parts.next()?;
    let full = parts.next()? == b"F";
    Some(Entry {
        time,
        full,
        text: parts.next()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn output_is_stored_by_line_with_its_time_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (written, _) = watch::channel(0);
        record(dir.path(), "main", 1, &b"one\ntwo"[..], &b""[..], &written)
            .await
            .unwrap();
        let stored = std::fs::read(file(dir.path(), "main", 1)).unwrap();
        let entries: Vec<Entry> = stored.split(|b| *b == b'\n').filter_map(parse).collect();
        assert_eq!(
            entries.iter().map(|entry| entry.text).collect::<Vec<_>>(),
            [&b"one"[..], b"two"]
        );
        assert!(entries[0].time.parse::<Timestamp>().is_ok());

        let flood = vec![b'x'; usize::try_from(ROTATE_AT).unwrap() * 3];
        record(dir.path(), "main", 2, &flood[..], &b""[..], &written)
            .await
            .unwrap();
        for part in [file(dir.path(), "main", 2), rotated(&file(dir.path(), "main", 2))] {
            assert!(std::fs::metadata(part).unwrap().len() <= ROTATE_AT);
        }
        record(dir.path(), "main", 3, &b""[..], &b""[..], &written)
            .await
            .unwrap();
        assert_eq!(attempts(dir.path(), "main"), [2, 3], "the last two starts are kept");
    }
}
