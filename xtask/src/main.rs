//! Developer tasks. `cargo xtask --help` lists them.

mod command;
mod contracts;
mod soak;
mod test;
mod tools;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Developer tasks of Hanse", after_help = "Example: cargo xtask test")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compile the contracts into contracts/artifacts.
    Contracts {
        /// Write nothing; fail unless the committed artifacts are what the compiler makes, byte for byte.
        #[arg(long)]
        check: bool,
    },
    /// Install what the tests need if it is missing, then run every check there is.
    Test,
    /// Cause every fault for long, and print a tally; `docs/faults.md` says what is promised under each.
    Soak(soak::Options),
    /// Install the third-party programs that tests run against, and print where they are.
    Tools,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Contracts { check: true } => contracts::check(),
        Task::Contracts { check: false } => contracts::write(),
        Task::Test => test::run(),
        Task::Soak(options) => soak::run(&options),
        Task::Tools => {
            println!("{}", tools::install()?.display());
            Ok(())
        }
    }
}
