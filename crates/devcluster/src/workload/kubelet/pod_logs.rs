//! `pods/log`: reading what containers wrote.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::ResourceExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::{mpsc, watch},
};

use super::{
    logs,
    node::{Node, RunningLogs},
};

/// What is wanted of a log: the query parameters of `pods/log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRange {
    /// The container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Go on as the log grows, until the container ends.
    pub follow: bool,
    /// The log of the start before the last.
    pub previous: bool,
    /// Put the time before each line (RFC 3339).
    pub timestamps: bool,
    /// Only this many lines from the end.
    pub tail_lines: Option<usize>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// At most this many bytes.
    pub limit_bytes: Option<usize>,
}

/// Why there is no log; the text is that of a kubelet.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// Several containers and none named (400).
    #[error("a container name must be specified for pod {pod}, choose one of: [{names}]")]
    Which {
        /// The pod.
        pod: String,
        /// Its containers.
        names: String,
    },
    /// No such container in the pod (400).
    #[error("container {container} is not valid for pod {pod}")]
    NoSuchContainer {
        /// The pod.
        pod: String,
        /// The container asked for.
        container: String,
    },
    /// It has not run yet (400).
    #[error("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")]
    Waiting {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// The reason of its waiting state.
        reason: String,
    },
    /// There is no earlier start (400).
    #[error("previous terminated container \"{container}\" in pod \"{pod}\" not found")]
    NoPrevious {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
}

/// Reads the logs of the node's pods.
#[derive(Clone, Debug)]
pub struct LogReader {
    pods_dir: PathBuf,
    running: RunningLogs,
}

impl LogReader {
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            pods_dir: node.config.data_dir.join("pods"),
            running: node.running_logs(),
        }
    }

    /// The log of a container of `pod` (as it is in the store).
    ///
    /// # Errors
    /// [`LogError`], to be answered as 400 Bad Request.
    pub fn open(&self, pod: &Pod, options: LogRange) -> Result<BoxStream<'static, io::Result<Bytes>>, LogError> {
        let container = choose(pod, options.container.as_deref())?;
        let uid = pod.uid().unwrap_or_default();
        let pod_dir = self.pods_dir.join(&uid);
        let attempts = logs::attempts(&pod_dir, &container);
        let wanted = if options.previous {
            attempts.iter().rev().nth(1)
        } else {
            attempts.last()
        };
        let Some(attempt) = wanted else {
            let pod_name = pod.name_any();
            return Err(if options.previous {
                LogError::NoPrevious {
                    pod: pod_name,
                    container,
                }
            } else {
                LogError::Waiting {
                    reason: waiting_reason(pod, &container),
                    pod: pod_name,
                    container,
                }
            });
        };
        let path = logs::file(&pod_dir, &container, *attempt);
        let growing = (options.follow && !options.previous)
            .then(|| self.running.get(&uid, &container))
            .flatten();
        Ok(Box::pin(read(path, options, growing)))
    }
}

fn choose(pod: &Pod, wanted: Option<&str>) -> Result<String, LogError> {
    let spec = pod.spec.clone().unwrap_or_default();
    let ordinary: Vec<String> = spec.containers.into_iter().map(|container| container.name).collect();
    let init = spec
        .init_containers
        .unwrap_or_default()
        .into_iter()
        .map(|container| container.name);
    match wanted {
        Some(name) if ordinary.iter().any(|other| other == name) || init.clone().any(|other| other == name) => {
            Ok(name.to_owned())
        }
        Some(name) => Err(LogError::NoSuchContainer {
            pod: pod.name_any(),
            container: name.to_owned(),
        }),
        None => match ordinary.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(LogError::Which {
                pod: pod.name_any(),
                names: ordinary.join(" "),
            }),
        },
    }
}

fn waiting_reason(pod: &Pod, container: &str) -> String {
    let status = pod.status.as_ref();
    let statuses = status.into_iter().flat_map(|status| {
        status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .flatten()
    });
    statuses
        .filter(|status| status.name == container)
        .find_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone())
        .unwrap_or_else(|| "ContainerCreating".to_owned())
}

/// The lines of the log as they were written. Reading goes on in a task that ends with the stream.
fn read(
    path: PathBuf,
    options: LogRange,
    growing: Option<watch::Receiver<u64>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut reader = Reader {
            path,
            offset: 0,
            left: options.limit_bytes,
            options,
        };
        let reading = async {
            if let Err(error) = reader.run(growing, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        };
        tokio::select! {
            () = reading => {}
            () = sender.closed() => {}
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

type Output = mpsc::Sender<io::Result<Bytes>>;

struct Reader {
    path: PathBuf,
    /// How far the current file has been read.
    offset: u64,
    left: Option<usize>,
    options: LogRange,
}

impl Reader {
    async fn run(&mut self, growing: Option<watch::Receiver<u64>>, output: &Output) -> io::Result<()> {
        let mut stored = self.older(0).await?;
        stored.extend(self.newer().await?);
        let lines = self.lines(&stored);
        let skip = self
            .options
            .tail_lines
            .map_or(0, |tail| lines.len().saturating_sub(tail));
        self.emit(&lines[skip..], output).await;
        let Some(mut growing) = growing else {
            return Ok(());
        };
        while self.left != Some(0) {
            // An error means that the container has ended: read the rest and stop.
            let ended = growing.changed().await.is_err();
            let grown = self.grown().await?;
            let lines = self.lines(&grown);
            self.emit(&lines, output).await;
            if ended {
                break;
            }
        }
        Ok(())
    }

    /// What was appended since the last reading, across a rotation.
    async fn grown(&mut self) -> io::Result<Vec<u8>> {
        let mut grown = Vec::new();
        let size = tokio::fs::metadata(&self.path)
            .await
            .map_or(0, |metadata| metadata.len());
        if size < self.offset {
            grown = self.older(self.offset).await?;
            self.offset = 0;
        }
        grown.extend(self.newer().await?);
        Ok(grown)
    }

    async fn older(&self, from: u64) -> io::Result<Vec<u8>> {
        read_from(&logs::rotated(&self.path), from).await
    }

    /// Whole entries of the current file from `offset` on.
    async fn newer(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = read_from(&self.path, self.offset).await?;
        // An entry that is being written is read the next time.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    fn lines(&self, stored: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut line = Vec::new();
        for entry in stored.split(|byte| *byte == b'\n').filter_map(logs::parse) {
            let since = self.options.since;
            if since.is_some_and(|since| entry.time.parse::<Timestamp>().is_ok_and(|time| time < since)) {
                continue;
            }
            if line.is_empty() && self.options.timestamps {
                line.extend_from_slice(entry.time.as_bytes());
                line.push(b' ');
            }
            line.extend_from_slice(entry.text);
            if entry.full {
                line.push(b'\n');
                lines.push(std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    async fn emit(&mut self, lines: &[Vec<u8>], output: &Output) {
        for line in lines {
            let take = self.left.map_or(line.len(), |left| left.min(line.len()));
            self.left = self.left.map(|left| left - take);
            if take == 0 || output.send(Ok(Bytes::copy_from_slice(&line[..take]))).await.is_err() {
                return;
            }
        }
    }
}

async fn read_from(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(io::SeekFrom::Start(offset)).await?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::StreamExt as _;
    use tokio::io::AsyncWriteExt as _;

    fn pod() -> Pod {
        let pod =
            serde_json::json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "main"}]}});
        serde_json::from_value(pod).unwrap()
    }

    async fn text(stream: BoxStream<'static, io::Result<Bytes>>) -> String {
        let parts: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        String::from_utf8(parts.concat()).unwrap()
    }

    #[tokio::test]
    async fn tail_limit_previous_and_a_missing_log() {
        let dir = tempfile::tempdir().unwrap();
        let reader = LogReader {
            pods_dir: dir.path().to_owned(),
            running: RunningLogs::default(),
        };
        let waiting = reader.open(&pod(), LogRange::default()).err().unwrap().to_string();
        assert_eq!(
            waiting,
            "container \"main\" in pod \"p\" is waiting to start: ContainerCreating"
        );
        let (written, _) = watch::channel(0);
        for (attempt, text) in [(1, &b"first\n"[..]), (2, b"a\nb\nc\n")] {
            logs::record(&dir.path().join("u"), "main", attempt, text, &b""[..], &written)
                .await
                .unwrap();
        }
        let open = |options| reader.open(&pod(), options).unwrap();
        assert_eq!(text(open(LogRange::default())).await, "a\nb\nc\n");
        assert_eq!(
            text(open(LogRange {
                tail_lines: Some(1),
                ..LogRange::default()
            }))
            .await,
            "c\n"
        );
        assert_eq!(
            text(open(LogRange {
                limit_bytes: Some(3),
                ..LogRange::default()
            }))
            .await,
            "a\nb"
        );
        assert_eq!(
            text(open(LogRange {
                previous: true,
                ..LogRange::default()
            }))
            .await,
            "first\n"
        );
        let wrong = LogRange {
            container: Some("x".to_owned()),
            ..LogRange::default()
        };
        assert!(matches!(
            reader.open(&pod(), wrong),
            Err(LogError::NoSuchContainer { .. })
        ));
    }

    #[tokio::test]
    async fn a_follower_sees_every_line_across_rotation_and_then_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let running = RunningLogs::default();
        let reader = LogReader {
            pods_dir: dir.path().to_owned(),
            running: running.clone(),
        };
        let written = running.add("u", "main");
        let pod_dir = dir.path().join("u");
        let (mut input, output) = tokio::io::duplex(1 << 16);
        let recorder = tokio::spawn(async move {
            logs::record(&pod_dir, "main", 1, output, &b""[..], &written)
                .await
                .unwrap();
        });
        input.write_all(b"start\n").await.unwrap();
        while logs::attempts(&dir.path().join("u"), "main").is_empty() {
            tokio::task::yield_now().await;
        }
        let follow = LogRange {
            follow: true,
            ..LogRange::default()
        };
        let mut stream = reader.open(&pod(), follow).unwrap();
        let count = 60_000;
        let writer = tokio::spawn(async move {
            for number in 0..count {
                input.write_all(format!("{number:0>90}\n").as_bytes()).await.unwrap();
            }
        });
        let mut lines = Vec::new();
        while let Some(line) = stream.next().await {
            lines.push(line.unwrap());
        }
        writer.await.unwrap();
        recorder.await.unwrap();
        assert_eq!(lines.len(), count + 1);
        assert!(
            lines
                .iter()
                .skip(1)
                .enumerate()
                .all(|(number, line)| *line == format!("{number:0>90}\n"))
        );
    }
}
