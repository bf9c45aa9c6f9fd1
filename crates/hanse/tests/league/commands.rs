//! The commands that an operator types, with what they say.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::{HANSE, wait};

/// Runs `hanse …` at most a minute and a half.
pub fn hanse(arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args(["90", HANSE])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a command that must succeed prints with `-o json`.
pub fn json_of(arguments: &[&str]) -> Value {
    let output = hanse(&[arguments, &["-o", "json"]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that must fail says.
pub fn refusal(arguments: &[&str]) -> String {
    let output = hanse(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(text.contains("error:"), "{arguments:?}: {text}");
    text
}

/// The one command of a newcomer, running.
pub struct Joining {
    child: Child,
    folder: PathBuf,
}

impl Joining {
    /// `hanse join` with these arguments, of a domain called as its folder.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.with_extension("log"))
            .unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let child = Command::new(HANSE)
            .args(["join", "--name", name, "--local", "--folder"])
            .arg(folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            folder: folder.to_owned(),
        }
    }

    /// All that it has said in all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.with_extension("log")).unwrap()
    }

    /// Waits until it has done something, or fails with its log if it stopped before.
    pub fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let log = self.log();
        wait(&format!("{what}; so far:\n{log}"), || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("`hanse join` stopped ({status}) before {what}:\n{}", self.log());
            }
            look()
        })
    }

    /// Where it writes its configuration, last of all.
    pub fn config(&self) -> PathBuf {
        self.folder.join("hanse.yaml")
    }

    /// Waits for the configuration.
    pub fn wait_configured(&mut self) -> PathBuf {
        let config = self.config();
        self.wait_for("the configuration", || config.exists().then(|| config.clone()))
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
