//! What commands print goes where it is wanted, and no further.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::process::Command;

fn completions() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanse"));
    command.args(["completions", "bash"]);
    command
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = completions().stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_can_not_be_written_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = completions().stdout(full).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("No space left"), "{output:?}");
}
