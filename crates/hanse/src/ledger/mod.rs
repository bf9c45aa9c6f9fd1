//! `hanse ledger`: for those who operate the ledger, be it the embedded one or any Ethereum chain.

mod api;
mod backup;
mod deploy;
mod explain;
mod names;
mod offline;
mod pages;
mod verify;
mod view;

use clap::Subcommand;

use crate::cli::ApiArguments;

pub use api::{Description, routes};
pub use deploy::deploy;

/// What can be done with a ledger.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Show how the ledger stands: newest block, members, quorum, what waits.
    #[command(after_help = "Example: hanse ledger status --api http://127.0.0.1:8000 -o json")]
    Status(ApiArguments),
    /// List blocks, newest first.
    #[command(after_help = "Example: hanse ledger blocks --from 100 --to 120")]
    Blocks(view::BlocksArguments),
    /// Show a transaction: which command it was, what it brought, and why it was refused if it was.
    #[command(after_help = "Example: hanse ledger tx 0x5be1… -o json")]
    Tx {
        /// The transaction's hash.
        hash: String,
        #[command(flatten)]
        api: ApiArguments,
    },
    /// Execute all stored blocks again and compare: roots, logs, gas, certificates, state. Fails if anything differs.
    #[command(after_help = "Example: hanse ledger verify --config hanse.yaml (whether or not the agent runs)")]
    Verify(offline::OfflineArguments),
    /// Write the embedded ledger as it is now into a file, while the agent runs.
    #[command(after_help = "Example: hanse ledger backup ledger-2026-11-21.hbk --api http://127.0.0.1:8000")]
    Backup(backup::BackupArguments),
    /// Make an agent's ledger from a backup. The agent must not run, and have no ledger yet.
    #[command(after_help = "Example: hanse ledger restore ledger-2026-11-21.hbk --config hanse.yaml")]
    Restore(offline::RestoreArguments),
    /// Move a damaged store aside, so that the agent fetches the ledger from the other members when it is started.
    #[command(after_help = "Example: hanse ledger resync --config hanse.yaml")]
    Resync(offline::ResyncArguments),
    /// Let a restored validator vote at once, where the others can decide nothing without it (fewer than 4 members, or too
    /// many restored at a time).
    #[command(after_help = "Example: hanse ledger vote --old-node-is-gone --config hanse.yaml")]
    Vote {
        /// The node that had this key before runs nowhere and never will again.
        #[arg(long)]
        old_node_is_gone: bool,
        #[command(flatten)]
        offline: offline::OfflineArguments,
    },
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
        Ledger::Status(api) => view::status(&api).await,
        Ledger::Blocks(arguments) => view::blocks(&arguments).await,
        Ledger::Tx { hash, api } => view::transaction(&hash, &api).await,
        Ledger::Verify(arguments) => verify::verify(arguments).await,
        Ledger::Backup(arguments) => backup::run(arguments).await,
        Ledger::Restore(arguments) => offline::restore(arguments).await,
        Ledger::Resync(arguments) => offline::resync(&arguments),
        Ledger::Vote {
            old_node_is_gone,
            offline,
        } => offline::vote(&offline, old_node_is_gone),
        Ledger::Deploy(arguments) => deploy::run(arguments).await,
    }
}
