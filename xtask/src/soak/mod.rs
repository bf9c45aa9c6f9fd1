//! Every fault there is, for long: what `cargo xtask test` does a bounded share of.

mod faults;
mod tally;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tokio::process::Command;
use tokio::signal::ctrl_c;

use crate::{command, tools};
use faults::{FAULTS, Fault};
use tally::Tally;

/// How the tally is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table.
    Table,
    /// One JSON document.
    Json,
}

/// Options of `cargo xtask soak`.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask soak --rounds 200 --seed 7 -o json")]
pub struct Options {
    /// Rounds of `kill -9`; what is slower is done in proportion to it.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// What all random choices follow from; drawn and printed if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Begin again with the next seed until so many minutes have passed, and begin nothing after that.
    #[arg(long)]
    minutes: Option<u64>,
    /// Seconds for each target of the fuzz tests.
    #[arg(long, default_value_t = 30)]
    fuzz_seconds: u64,
    /// Only the faults whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// How the tally is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// How one test ended.
enum End {
    Passed,
    Failed,
    Interrupted,
}

/// Runs all faults, and prints the tally whatever ends it. Fails if a test did.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let tools = tools::install()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(soak(options, &tools))
}

async fn soak(options: &Options, tools: &Path) -> anyhow::Result<()> {
    // Drawn from the clock: nothing but a name for this run.
    let drawn = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = match options.seed {
        Some(seed) => seed,
        None => drawn()?.as_secs(),
    };
    let logs = command::workspace().join("target/soak");
    std::fs::create_dir_all(&logs).with_context(|| format!("could not create {}", logs.display()))?;
    eprintln!("== seed {seed}; the output of each test goes to {}", logs.display());
    command::run(
        "cargo",
        &["test", "--workspace", "--locked", "--no-run", "--lib", "--tests"],
        &[],
    )?;

    let started = Instant::now();
    let limit = options.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let is_over = || limit.is_some_and(|limit| started.elapsed() >= limit);
    let mut tally = Tally::new(seed);
    let wanted = |fault: &&Fault| {
        options
            .only
            .as_ref()
            .is_none_or(|part| fault.name.contains(part.as_str()))
    };
    'passes: for pass in 0.. {
        for fault in FAULTS.iter().filter(wanted) {
            if pass > 0 && is_over() {
                break 'passes;
            }
            let log = logs.join(format!("{pass}-{}.log", fault.name.replace(' ', "-")));
            eprintln!("== {} (seed {})", fault.name, seed + pass);
            let begun = Instant::now();
            let end = test(fault, options, seed + pass, tools, &log).await?;
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if matches!(end, End::Interrupted) {
                tally.interrupted = true;
                break 'passes;
            }
            let failed = matches!(end, End::Failed);
            if failed {
                eprintln!("== {} FAILED: {}", fault.name, log.display());
            }
            tally.add(fault.name, failed, begun.elapsed(), &text);
        }
        if limit.is_none() {
            break;
        }
    }
    tally.seconds = started.elapsed().as_secs();
    match options.output {
        Output::Table => print!("{}", tally.table()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&tally.json())?),
    }
    if tally.interrupted {
        bail!("interrupted; this is the tally so far");
    }
    match tally.failures() {
        0 => Ok(()),
        failures => bail!("{failures} runs failed; their output is in {}", logs.display()),
    }
}

async fn test(fault: &Fault, options: &Options, seed: u64, tools: &Path, log: &PathBuf) -> anyhow::Result<End> {
    let output = File::create(log).with_context(|| format!("could not create {}", log.display()))?;
    let mut child = Command::from(command::program("cargo"))
        .args(["test", "--workspace", "--locked", "--quiet"])
        .args(fault.target)
        .args(["--", "--nocapture", "--test-threads=1", fault.filter])
        .env("SEED", seed.to_string())
        .env("HANSE_ROUNDS", fault.rounds(options.rounds).to_string())
        .env("HANSE_FUZZ_MS", (1000 * options.fuzz_seconds).to_string())
        .env("HANSE_TEST_TOOLS", tools)
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Ctrl-C reaches this program alone, which then ends the test with all that it started.
        .process_group(0)
        .spawn()
        .context("could not start cargo")?;
    tokio::select! {
        status = child.wait() => Ok(if status?.success() { End::Passed } else { End::Failed }),
        signal = ctrl_c() => {
            signal?;
            if let Some(group) = child.id() {
                let _ = std::process::Command::new("kill").args(["-INT", "--", &format!("-{group}")]).status();
            }
            child.wait().await?;
            Ok(End::Interrupted)
        }
    }
}
