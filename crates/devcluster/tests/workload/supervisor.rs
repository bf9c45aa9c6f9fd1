//! The supervisor's promise, with real processes: nothing that a container started survives it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hanse_devcluster::SUPERVISE;

struct Supervisor {
    process: Child,
    socket: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Supervisor {
    fn start(dir: &Path, script: &str) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_hanse-pod"))
            .args([SUPERVISE, "run"])
            .arg(dir.join("lock"))
            .args(["sh", "-c", script])
            .current_dir(dir)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(ours.try_clone().unwrap());
        Self {
            process,
            socket: ours,
            lines,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn pid(&mut self) -> u32 {
        self.line().strip_prefix("started ").unwrap().parse().unwrap()
    }
}

fn exists(pid: u32) -> bool {
    // A zombie that nobody has reaped yet does nothing any more.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        // Between two looks at processes of the system, which nothing else tells of.
        #[expect(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process ids that the script writes, one a file.
fn pids(dir: &Path, names: &[&str]) -> Vec<u32> {
    let read = |name: &&str| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok();
    eventually("the script has started everything", || {
        names.iter().all(|name| read(name).is_some())
    });
    names.iter().filter_map(read).collect()
}

/// A child in the group, a grandchild, and a daemon in a session of its own whose parent is gone.
const FAMILY: &str = "sleep 1000 & echo $! >child; (setsid sh -c 'echo $$ >daemon; exec sleep 1000' &) ; wait";

#[test]
fn when_the_cluster_dies_the_whole_family_dies() {
    let dir = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(dir.path(), FAMILY);
    let first = supervisor.pid();
    let mut family = pids(dir.path(), &["child", "daemon"]);
    family.push(first);
    assert!(family.iter().all(|pid| exists(*pid)));
    // What the kernel does when the cluster is killed with -9: its end of the socket closes.
    supervisor.socket.shutdown(std::net::Shutdown::Both).unwrap();
    drop((supervisor.socket, supervisor.lines));
    supervisor.process.wait().unwrap();
    assert!(family.iter().all(|pid| !exists(*pid)), "the supervisor ends last");
}

#[test]
fn when_the_first_process_ends_the_rest_dies_before_the_end_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! >child; (setsid sh -c 'echo $$ >daemon; exec sleep 1000' &); while [ ! -s daemon ]; do sleep 0.01; done; exit 7";
    let mut supervisor = Supervisor::start(dir.path(), script);
    supervisor.pid();
    assert_eq!(supervisor.line(), "exited 7");
    assert!(pids(dir.path(), &["child", "daemon"]).iter().all(|pid| !exists(*pid)));
    supervisor.process.wait().unwrap();
}

#[test]
fn when_the_supervisor_is_killed_the_kernel_kills_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(dir.path(), "exec sleep 1000");
    let first = supervisor.pid();
    eventually("it runs", || exists(first));
    supervisor.process.kill().unwrap();
    supervisor.process.wait().unwrap();
    eventually("the container is killed", || !exists(first));
}

#[test]
fn orders_and_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'exit 3' TERM; echo x >ready; while :; do sleep 0.01; done";
    let mut supervisor = Supervisor::start(dir.path(), script);
    supervisor.pid();
    eventually("the trap is set", || dir.path().join("ready").exists());
    supervisor.socket.write_all(b"term\n").unwrap();
    assert_eq!(supervisor.line(), "exited 3");
    supervisor.process.wait().unwrap();

    let script = "trap '' TERM; echo x >deaf; while :; do sleep 0.01; done";
    let mut supervisor = Supervisor::start(dir.path(), script);
    supervisor.pid();
    eventually("the trap is set", || dir.path().join("deaf").exists());
    supervisor.socket.write_all(b"term\nkill\n").unwrap();
    assert_eq!(supervisor.line(), "exited 137");
    supervisor.process.wait().unwrap();
}

#[test]
fn a_second_start_waits_until_the_first_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Supervisor::start(dir.path(), FAMILY);
    let pid = first.pid();
    let family = pids(dir.path(), &["child", "daemon"]);
    let mut second = Supervisor::start(dir.path(), "exit 0");
    second
        .lines
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(
        second.lines.read_line(&mut String::new()).is_err(),
        "it must wait while the first holds the lock"
    );
    second
        .lines
        .get_ref()
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert!(exists(pid));
    drop((first.socket, first.lines));
    second.pid();
    assert!(
        family.iter().all(|pid| !exists(*pid)),
        "started only after the first family was dead"
    );
    first.process.wait().unwrap();
    second.process.wait().unwrap();
}

#[test]
fn a_second_start_whose_cluster_is_gone_gives_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Supervisor::start(dir.path(), "exec sleep 1000");
    first.pid();
    let mut second = Supervisor::start(dir.path(), "echo x >never");
    drop((second.socket, second.lines));
    second.process.wait().unwrap();
    drop((first.socket, first.lines));
    first.process.wait().unwrap();
    assert!(!dir.path().join("never").exists());
}

#[test]
fn what_cannot_be_executed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_hanse-pod"))
        .args([SUPERVISE, "run"])
        .arg(dir.path().join("lock"))
        .arg("no-such-program")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(ours).read_line(&mut line).unwrap();
    assert_eq!(
        line,
        "failed exec: \"no-such-program\": executable file not found in $PATH\n"
    );
    process.wait().unwrap();
}
