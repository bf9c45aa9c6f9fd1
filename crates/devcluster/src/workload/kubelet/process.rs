//! A container's process, seen from the cluster: the other end of the supervisor's socket.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixStream, unix::OwnedReadHalf},
    process::{ChildStderr, ChildStdout, Command},
    sync::mpsc,
};

use crate::workload::SUPERVISE;

/// How to start a container.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) supervisor: PathBuf,
    /// Held by the supervisor as long as anything of the container runs.
    pub(super) lock: PathBuf,
    pub(super) program: OsString,
    pub(super) args: Vec<String>,
    pub(super) environment: BTreeMap<String, OsString>,
    pub(super) directory: PathBuf,
}

/// A running container.
#[derive(Debug)]
pub(super) struct Process {
    lines: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    group: Option<Pid>,
    /// Reaps the supervisor.
    supervisor: tokio::process::Child,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// Orders for a running container.
#[derive(Clone, Debug)]
pub(super) struct Orders(mpsc::Sender<Duration>);

impl Orders {
    /// SIGTERM now and SIGKILL after `grace`; a later call with less grace hurries it.
    pub(super) fn stop(&self, grace: Duration) {
        // Full means that several orders wait already; the shortest of them is obeyed.
        let _ = self.0.try_send(grace);
    }
}

/// How long to wait for a supervisor to start the process. It may wait for the lock of an earlier
/// one that is still killing.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Starts the container and returns when its process exists.
///
/// # Errors
/// Why it could not be started, in words for the pod's status.
pub(super) async fn start(launch: Launch) -> Result<(Process, Orders), String> {
    let explain = |error: io::Error| format!("supervisor {}: {error}", launch.supervisor.display());
    let (ours, theirs) = StdUnixStream::pair().map_err(explain)?;
    ours.set_nonblocking(true).map_err(explain)?;
    let mut supervisor = Command::new(&launch.supervisor)
        .args([SUPERVISE, "run"])
        .arg(&launch.lock)
        .arg(&launch.program)
        .args(&launch.args)
        .env_clear()
        .envs(&launch.environment)
        .current_dir(&launch.directory)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C on the terminal is for the cluster, which then ends its containers gracefully.
        .process_group(0)
        .spawn()
        .map_err(explain)?;
    let (read, mut write) = UnixStream::from_std(ours).map_err(explain)?.into_split();
    let mut lines = BufReader::new(read).lines();
    let answer = tokio::time::timeout(START_DEADLINE, lines.next_line()).await;
    let line = match answer {
        Err(_) => {
            return Err(format!(
                "the supervisor did not answer within {} s",
                START_DEADLINE.as_secs()
            ));
        }
        Ok(Err(error)) => return Err(explain(error)),
        Ok(Ok(None)) => {
            return Err(format!(
                "{} is not a supervisor: it must call supervise_main when its first argument is {SUPERVISE}",
                launch.supervisor.display()
            ));
        }
        Ok(Ok(Some(line))) => line,
    };
    let Some(pid) = line.strip_prefix("started ").and_then(|pid| pid.parse().ok()) else {
        // The supervisor ends by itself.
        drop(write);
        let _ = supervisor.wait().await;
        return Err(line.strip_prefix("failed ").unwrap_or(&line).to_owned());
    };
    let (sender, mut orders) = mpsc::channel::<Duration>(8);
    tokio::spawn(async move {
        let mut kill_at: Option<tokio::time::Instant> = None;
        loop {
            let timer = async {
                match kill_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let line: &[u8] = tokio::select! {
                order = orders.recv() => {
                    // All senders gone: dropping the socket makes the supervisor kill.
                    let Some(grace) = order else { return };
                    let at = tokio::time::Instant::now() + grace;
                    kill_at = Some(kill_at.map_or(at, |earlier| earlier.min(at)));
                    if grace.is_zero() { b"kill\n" } else { b"term\n" }
                }
                () = timer => {
                    kill_at = None;
                    b"kill\n"
                }
            };
            if write.write_all(line).await.is_err() {
                return;
            }
        }
    });
    let (stdout, stderr) = (supervisor.stdout.take(), supervisor.stderr.take());
    Ok((
        Process {
            lines,
            group: Pid::from_raw(pid),
            supervisor,
            stdout,
            stderr,
        },
        Orders(sender),
    ))
}

impl Process {
    /// Waits until nothing of the container runs and returns its exit code (128 + number for a signal).
    pub(super) async fn end(mut self) -> i32 {
        let line = self.lines.next_line().await.ok().flatten();
        let code = line
            .as_deref()
            .and_then(|line| line.strip_prefix("exited "))
            .and_then(|code| code.parse().ok());
        if code.is_none()
            && let Some(group) = self.group
        {
            // The supervisor died before its container. The kernel has killed the first process; this
            // is for the rest of the group.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.supervisor.wait().await;
        code.unwrap_or(137)
    }
}
