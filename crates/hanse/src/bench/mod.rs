//! Measurements. Everything printed was measured in the very run.

mod federation;
mod process;
mod quantiles;

use clap::Subcommand;

/// What can be measured.
#[derive(Subcommand)]
pub enum Bench {
    /// The federation of the example service, step by step, in a league on this machine.
    #[command(after_help = "Example: hanse bench federation --runs 20 --csv steps.csv -o json")]
    Federation(federation::Arguments),
}

pub async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Federation(arguments) => federation::run(arguments).await,
    }
}
