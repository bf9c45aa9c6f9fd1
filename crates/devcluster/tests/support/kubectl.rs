//! The real kubectl, which `cargo xtask tools` installs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// Longest a command may take, on a machine under load.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A kubectl with a home of its own, so that it discovers everything anew.
pub struct Kubectl {
    home: tempfile::TempDir,
    kubeconfig: PathBuf,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Printed {
    pub stdout: String,
    pub stderr: String,
    pub exit: i64,
}

/// The kubectl of the tests: version 1.32, as the recordings were made with.
fn program() -> PathBuf {
    let folder = std::env::var_os("HANSE_TEST_TOOLS").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/hanse/tools"),
        PathBuf::from,
    );
    let program = folder.join("bin/kubectl");
    assert!(
        program.exists(),
        "{} is not there: install the tools of the tests with `cargo xtask tools`",
        program.display()
    );
    program
}

impl Kubectl {
    /// For the cluster that a file tells of.
    pub fn with(kubeconfig: &Path) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            kubeconfig: kubeconfig.into(),
        }
    }

    /// A command with its output caught, ready to start.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str], stdin: &str) -> Printed {
        let mut child: Child = self.command(arguments).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // A command that needs no input may end before it is written.
        let _ = input.write_all(stdin.as_bytes()).await;
        drop(input);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("kubectl {arguments:?} does not end"))
            .unwrap();
        Printed {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            exit: output.status.code().map_or(-1, i64::from),
        }
    }
}
