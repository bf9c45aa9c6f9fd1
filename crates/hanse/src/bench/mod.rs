//! Measurements. Everything printed was measured in the very run.

mod chart;
mod discovery;
mod federation;
mod ledger;
mod process;
mod quantiles;

use clap::Subcommand;

/// What can be measured.
#[derive(Subcommand)]
pub enum Bench {
    /// The federation of the example service, step by step, in a league on this machine.
    #[command(after_help = "Example: hanse bench federation --runs 20 --csv steps.csv -o json")]
    Federation(federation::Arguments),
    /// Discovery: how quickly domains see each other, blobs, and thousands of simulated domains.
    #[command(after_help = "Example: hanse bench discovery --only simulated --plot swarm.svg -o json")]
    Discovery(discovery::Arguments),
    /// The embedded ledger: finality, sustained load, faults, growth, and anvil beside it.
    #[command(after_help = "Example: hanse bench ledger --only finality,sustained --sustained-seconds 20 -o json")]
    Ledger(ledger::Arguments),
    /// One validator's node, for `hanse bench ledger`.
    #[command(hide = true)]
    Node(ledger::node::Arguments),
}

pub async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Federation(arguments) => federation::run(arguments).await,
        Bench::Discovery(arguments) => discovery::run(arguments).await,
        Bench::Ledger(arguments) => ledger::run(arguments).await,
        Bench::Node(arguments) => ledger::node::run(arguments).await,
    }
}
