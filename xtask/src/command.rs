//! Running other programs, with errors that name the whole command.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// The folder that holds the workspace's `Cargo.toml`.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the xtask crate lies in a folder of the workspace")
}

/// Runs `program` in the workspace folder and fails unless it exits with 0.
pub fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("\n== {line}");
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(workspace())
        .status()
        .with_context(|| format!("could not start `{line}`; is {program} installed?"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    eprintln!("== {line}: {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Whether `program` can be found on the PATH.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
