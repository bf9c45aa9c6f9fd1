//! Tests that need a network or a file system of their own run in namespaces of their own: whatever they set up is gone with
//! them, however they end, and nothing of the machine is touched.
//!
//! Functions here panic when something fails: they are called by tests only.
#![cfg(target_os = "linux")]

use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "HANSE_TEST_SANDBOX";

/// Runs the test of this name (with its modules) in a sandbox: there `body` is called, as root of it. Processes that it leaves
/// behind end with it.
///
/// # Panics
/// If the machine gives no namespaces, and if the test fails.
pub fn run<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        must("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        return runtime.block_on(body());
    }
    let mut words = vec!["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if std::fs::metadata("/proc/self").expect("/proc is mounted").uid() != 0 {
        words.extend(["--user", "--map-root-user"]);
    }
    let possible = Command::new("unshare").args(&words).arg("true").output();
    assert!(
        possible.as_ref().is_ok_and(|output| output.status.success()),
        "this test needs namespaces of its own, and this machine does not give them ({possible:?}): run it as root, or allow \
         unprivileged user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0); in a container, with \
         --privileged"
    );
    let status = Command::new("unshare")
        .args(&words)
        .arg(std::env::current_exe().expect("a test knows its program"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare was started before");
    assert!(status.success(), "{test} failed in its sandbox: {status}");
}

/// Runs a program that must succeed.
///
/// # Panics
/// If it does not, with what it printed.
pub fn must(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => {}
        other => panic!("{program} {}: {other:?}", arguments.join(" ")),
    }
}

/// A network namespace. It lives as long as this does, or as anybody is in it.
#[derive(Debug)]
pub struct NetworkNamespace {
    holder: Child,
}

impl NetworkNamespace {
    /// A new one, in which only the loopback interface is up.
    ///
    /// # Panics
    /// If this process may not make one.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        // It ends when the other end of its input is closed, whatever closes it.
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let of =
            |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).expect("a process has a network");
        let deadline = Instant::now() + Duration::from_secs(20);
        while of(&holder.id().to_string()) == of("self") {
            assert!(Instant::now() < deadline, "no network namespace was made");
            std::thread::yield_now();
        }
        let namespace = Self { holder };
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// The process whose namespace it is.
    pub fn process(&self) -> String {
        self.holder.id().to_string()
    }

    /// What has to stand before a command that runs in it.
    pub fn prefix(&self) -> Vec<String> {
        ["nsenter", "--net", "--target", &self.process(), "--"]
            .map(str::to_owned)
            .into()
    }

    /// Runs a command in it.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, words: &[&str]) {
        let prefix = self.prefix();
        let all: Vec<&str> = prefix[1..]
            .iter()
            .map(String::as_str)
            .chain(words.iter().copied())
            .collect();
        must(&prefix[0], &all);
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
