//! `hanse keys`: makes a seed, and shows what is public about the keys that come from it.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::passphrase::Passphrase;
use super::seed::Seed;
use super::{DomainKeys, file};
use crate::cli::ConfigArguments;
use crate::output::{self, Format};

/// `hanse keys …`
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a seed, for example for a Kubernetes Secret. An agent without one makes its own.
    #[command(
        after_help = "Example: hanse keys new seed --encrypt && kubectl create secret generic hanse-seed --from-file=seed"
    )]
    New {
        /// File to write; must not exist.
        file: PathBuf,
        /// Encrypt it with a passphrase.
        #[arg(long)]
        encrypt: bool,
        /// File that holds the passphrase; else HANSE_PASSPHRASE, else the terminal is asked.
        #[arg(long, requires = "encrypt")]
        passphrase_file: Option<PathBuf>,
    },
    /// Show the public halves of a domain's keys.
    #[command(after_help = "Example: hanse keys show --config hanse.yaml -o json")]
    Show {
        #[command(flatten)]
        config: ConfigArguments,
        /// Form of the answer.
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
}

/// Runs the command.
pub fn run(command: Keys) -> anyhow::Result<()> {
    match command {
        Keys::New {
            file,
            encrypt,
            passphrase_file,
        } => {
            let passphrase = Passphrase { file: passphrase_file };
            let passphrase = encrypt.then(|| passphrase.choose()).transpose()?;
            file::write(&file, &Seed::generate(), passphrase.as_deref().map(String::as_str))?;
            eprintln!(
                "{} holds a new seed. Keep a copy in a safe place: without it the domain's identity is lost.",
                file.display()
            );
            Ok(())
        }
        Keys::Show { config, output } => show(&config, output),
    }
}

fn show(arguments: &ConfigArguments, output: Format) -> anyhow::Result<()> {
    let config = arguments.load()?.config;
    let keys = DomainKeys::load(&config)?;
    let document = json!({
        "domain": config.domain,
        "account": keys.ledger.address(),
        "validatorKeys": (0..2).map(|n| hex::encode(keys.validator.generation(n).public_key())).collect::<Vec<_>>(),
        "sealingKey": hex::encode(keys.sealing.public()),
        "peerId": keys.swarm.peer_id().to_string(),
    });
    output::print(output, &document, |_| {
        let key = |n| hex::encode(keys.validator.generation(n).public_key());
        output::table(&[
            vec!["ledger account".into(), keys.ledger.address().to_string()],
            vec!["validator key".into(), key(0)],
            vec!["after a rotation".into(), key(1)],
            vec!["sealing key".into(), hex::encode(keys.sealing.public())],
            vec!["swarm peer id".into(), keys.swarm.peer_id().to_string()],
        ])
    })
}
