//! `hanse ledger`: for those who operate the ledger, be it the embedded one or any Ethereum chain.

mod deploy;

use clap::Subcommand;

pub use deploy::deploy;

/// What can be done with a ledger.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Put the contracts on an Ethereum chain that somebody runs already.
    #[command(
        after_help = "Example: hanse ledger deploy --url http://127.0.0.1:8545 --key-file deployer.key \
                            --genesis genesis.json --record ledger.json"
    )]
    Deploy(deploy::DeployArguments),
}

/// Runs the command.
pub async fn run(command: Ledger) -> anyhow::Result<()> {
    match command {
        Ledger::Deploy(arguments) => deploy::run(arguments).await,
    }
}
