//! The supervisor: a tiny process between the cluster and each container, so that no process is
//! ever left behind.
//!
//! # Promise
//! Whatever ends first, nothing that a container started survives it:
//! - the cluster's process is gone (even by `kill -9`): its end of the control socket closes, and
//!   the supervisor kills the container's process group and every orphan of it;
//! - the container's first process ends: what it left behind is killed before the end is reported;
//! - the supervisor itself is killed: the kernel kills the container's first process (parent-death
//!   signal), and the cluster kills the group.
//!
//! A lock file is held from before the start until everything is dead. A second supervisor of the
//! same container waits for it: after a restart of the cluster nothing ever runs twice.
//!
//! # How
//! The program that embeds the development cluster is executed again with [`SUPERVISE`] as its first
//! argument. Descriptor 0 is a socket. Lines from the cluster: `term`, `kill`. Lines to the cluster:
//! `started PID`, then `exited CODE` (128 + number for a signal), or only `failed REASON`.
//! The container's output goes to descriptors 1 and 2, which are inherited.
//!
//! The parent-death signal can only be set by the child itself, and running code between fork and
//! exec needs `unsafe`; so the supervisor executes the program once more (stage `exec`), which sets
//! the signal and then becomes the container. The signal is sent when the parent *thread* ends
//! (prctl(2)), hence the child is started from the main thread, which lives until the end.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{self, Pid, Signal, WaitId, WaitIdOptions};

use super::images::is_executable;

/// First command-line argument with which a program must call [`supervise_main`].
pub const SUPERVISE: &str = "__supervise";

/// The container's first process, while its id cannot mean another process: `None` before the start
/// and from the moment it may be reaped.
type Child = Arc<Mutex<Option<Pid>>>;

/// Runs the supervisor. `args` are the arguments after [`SUPERVISE`].
///
/// To be called at the very beginning of `main`, before any thread is started.
pub fn supervise_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let result = match args.split_first() {
        Some((stage, rest)) if stage == "run" => run(rest),
        Some((stage, rest)) if stage == "exec" => exec(rest),
        _ => Err(format!(
            "{SUPERVISE} is internal to the development cluster and not for users"
        )),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            // Only a cluster that is already gone cannot be told; then nobody waits for it.
            let _ = control().and_then(|mut socket| {
                writeln!(socket, "failed {}", message.replace('\n', " ")).map_err(|error| error.to_string())
            });
            ExitCode::from(126)
        }
    }
}

/// The socket to the cluster.
fn control() -> Result<UnixStream, String> {
    let fd: OwnedFd = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| error.to_string())?;
    Ok(UnixStream::from(fd))
}

/// Stage `run LOCK PROGRAM ARGS…`.
fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let [lock, program, arguments @ ..] = args else {
        return Err("usage: run LOCK PROGRAM ARGS…".to_owned());
    };
    let socket = control()?;
    let child: Child = Arc::default();
    let commands = socket.try_clone().map_err(|error| error.to_string())?;
    let obey = Arc::clone(&child);
    std::thread::spawn(move || obey_cluster(commands, &obey));

    process::set_child_subreaper(Some(process::getpid())).map_err(|error| format!("subreaper: {error}"))?;
    let _held = lock_until_exit(Path::new(lock))?;
    let program = find_program(program)?;
    let mut command = Command::new("/proc/self/exe");
    command.args([OsStr::new(SUPERVISE), OsStr::new("exec")]);
    command.arg(process::getpid().as_raw_nonzero().to_string());
    command
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0);

    let pid = {
        // Held while starting, so that a `kill` from the cluster either comes before or finds the child.
        let mut guard = child.lock().unwrap_or_else(PoisonError::into_inner);
        let started = command.spawn().map_err(|error| format!("cannot start: {error}"))?;
        let pid = i32::try_from(started.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or("no process id")?;
        *guard = Some(pid);
        pid
    };
    // A failed write means the cluster is gone; the other thread sees the end of the socket.
    let _ = writeln!(&socket, "started {}", pid.as_raw_nonzero());
    let code = wait_for_end(pid, &child)?;
    kill_orphans();
    let _ = writeln!(&socket, "exited {code}");
    Ok(ExitCode::SUCCESS)
}

/// Does what the cluster says until it is gone, and then kills everything.
// No destructor is skipped: nothing was started, and the main thread waits for a lock that nobody wants.
#[expect(clippy::disallowed_methods)]
fn obey_cluster(socket: UnixStream, child: &Child) {
    for line in BufReader::new(socket).lines() {
        match line.as_deref() {
            Ok("term") => signal_group(child, Signal::TERM),
            Ok("kill") => signal_group(child, Signal::KILL),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let guard = child.lock().unwrap_or_else(PoisonError::into_inner);
    match *guard {
        // The main thread reaps it, kills what is left and ends the process.
        Some(pid) => drop(process::kill_process_group(pid, Signal::KILL)),
        // Not started yet (waiting for the lock), or everything is being cleaned up already.
        None if group_never_started(&guard) => std::process::exit(0),
        None => {}
    }
}

/// Nothing was started if this process has no child: the main thread may then wait for a lock, for
/// nobody.
fn group_never_started(_held: &Option<Pid>) -> bool {
    matches!(
        process::waitid(
            WaitId::All,
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT
        ),
        Err(rustix::io::Errno::CHILD)
    )
}

fn signal_group(child: &Child, signal: Signal) {
    let guard = child.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pid) = *guard {
        // It may have ended a moment ago; then there is nothing to signal.
        let _ = process::kill_process_group(pid, signal);
    }
}

/// Waits for the container's first process, kills its group while the id is still reserved by the
/// unreaped process, and only then reaps it.
fn wait_for_end(pid: Pid, child: &Child) -> Result<i32, String> {
    let wait = |options| loop {
        match process::waitid(WaitId::Pid(pid), options) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    let _ = wait(WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let mut guard = child.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = process::kill_process_group(pid, Signal::KILL);
    *guard = None;
    let status = wait(WaitIdOptions::EXITED).map_err(|error| format!("wait: {error}"))?;
    let status = status.ok_or("wait: no status")?;
    Ok(status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(255))
}

/// Kills and reaps every process that the container left behind. As the subreaper of its descendants
/// this process becomes the parent of each orphan, also of one that changed its process group.
// There is no executor here, and nothing to wait on: the kernel does not tell of new orphans.
#[expect(clippy::disallowed_methods)]
fn kill_orphans() {
    // A process may be forked between the listing and the wait; a kernel without the `children` file
    // would otherwise make this wait for ever.
    let mut empty_listings = 0;
    while empty_listings < 1000 {
        let left = children();
        for orphan in &left {
            let _ = process::kill_process(*orphan, Signal::KILL);
        }
        let patience = if left.is_empty() {
            WaitIdOptions::NOHANG
        } else {
            WaitIdOptions::empty()
        };
        match process::waitid(WaitId::All, WaitIdOptions::EXITED | patience) {
            Ok(None) => {
                empty_listings += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// The children of this process (proc(5), `/proc/PID/task/TID/children`).
fn children() -> Vec<Pid> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
        .collect()
}

/// Takes the lock of the container, waiting for an earlier supervisor to have cleaned up.
fn lock_until_exit(path: &Path) -> Result<File, String> {
    let failed = |error: &dyn std::fmt::Display| format!("lock {}: {error}", path.display());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| failed(&e))?;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(&error)),
            Ok(()) => return Ok(file),
        }
    }
}

/// Finds the program as execvp(3) would, but with an error that names it.
fn find_program(program: &OsStr) -> Result<PathBuf, String> {
    let path = Path::new(program);
    let name = path.display();
    if path.components().count() > 1 {
        return match (path.exists(), is_executable(path)) {
            (true, true) => Ok(path.to_owned()),
            (true, false) => Err(format!("exec: \"{name}\": permission denied")),
            (false, _) => Err(format!("exec: \"{name}\": stat {name}: no such file or directory")),
        };
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search)
        .map(|dir| dir.join(path))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| format!("exec: \"{name}\": executable file not found in $PATH"))
}

/// Stage `exec PARENT PROGRAM ARGS…`: becomes the container.
fn exec(args: &[OsString]) -> Result<ExitCode, String> {
    let [parent, program, arguments @ ..] = args else {
        return Err("usage: exec PARENT PROGRAM ARGS…".to_owned());
    };
    process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    // The parent may have died before the line above.
    let alive = process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if alive.as_deref().map(OsStr::new) != Some(parent.as_os_str()) {
        return Ok(ExitCode::from(137));
    }
    let error = Command::new(program).args(arguments).exec();
    // Standard input is not the cluster here: the reason goes to the container's log.
    eprintln!("exec: {}: {error}", Path::new(program).display());
    Ok(ExitCode::from(126))
}
