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

/// `program`, to be run in the workspace folder, without what cargo tells this one about its own package: some build scripts ask
/// for these variables, so that cargo would build them, and all that depends on them, anew each time it is called from here
/// after it was called from elsewhere.
pub fn program(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(workspace());
    command
}

/// Runs program `name` in the workspace folder and fails unless it exits with 0.
pub fn run(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let line = format!("{name} {}", arguments.join(" "));
    eprintln!("\n== {line}");
    let started = Instant::now();
    let status = program(name)
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("could not start `{line}`; is {name} installed?"))?;
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
