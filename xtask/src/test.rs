//! Every check there is, cheapest first, so that a mistake is told early.

use crate::{command, contracts, tools};

/// Installs what the tests need, then checks format, contract artifacts, lints, tests and doc tests.
pub fn run() -> anyhow::Result<()> {
    let tools = tools::install()?.to_string_lossy().into_owned();
    let environment = [("HANSE_TEST_TOOLS", tools.as_str())];
    let cargo = |arguments: &[&str]| command::run("cargo", arguments, &environment);
    cargo(&["fmt", "--all", "--check"])?;
    contracts::check()?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])?;
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    cargo(&[
        "test",
        "--workspace",
        "--locked",
        "--no-fail-fast",
        "--lib",
        "--bins",
        "--tests",
        "--examples",
    ])?;
    cargo(&["test", "--workspace", "--locked", "--doc"])
}
