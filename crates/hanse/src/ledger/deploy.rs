//! Puts the contracts on any Ethereum chain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, bail, ensure};
use clap::Args;
use hanse_chain::genesis::Genesis;
use hanse_contracts::Addresses;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::output::{self, Format};

/// How long the chain may take to say whether the contracts are still there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `hanse ledger deploy`.
#[derive(Debug, Args)]
pub struct DeployArguments {
    /// JSON-RPC endpoint of the chain (http, https, ws or wss).
    #[arg(long)]
    url: Url,
    /// File with the hexadecimal private key of an account that pays for two contract creations. It need not be a member's.
    #[arg(long)]
    key_file: PathBuf,
    /// `genesis.json` whose members found the consortium; its chain id, gas limit and balances are not used.
    #[arg(long)]
    genesis: PathBuf,
    /// Where to write down what was made. If the file says that it was done already, and the chain agrees, nothing is done.
    #[arg(long, default_value = "ledger.json")]
    record: PathBuf,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Where the contracts are: in the configuration of every agent, under `ledger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    urls: Vec<Url>,
    consortium: Address,
    federation: Address,
}

/// Puts the contracts on the chain behind `url`.
pub async fn deploy(url: &Url, signer: &PrivateKeySigner, genesis: &Genesis) -> anyhow::Result<Addresses> {
    let founders = genesis.members.iter().map(Into::into).collect();
    hanse_ledger::deploy(url, signer, founders, (&genesis.consensus_parameters).into())
        .await
        .with_context(|| format!("the contracts could not be put on the chain behind {url}"))
}

/// Runs the command.
pub async fn run(arguments: DeployArguments) -> anyhow::Result<()> {
    let genesis = Genesis::load(&arguments.genesis)?;
    let signer = read_key(&arguments.key_file)?;
    let deployed = match recorded(&arguments.record)? {
        Some(before) => {
            ensure!(
                before.urls.contains(&arguments.url),
                "{} tells of another chain ({}); give another --record",
                arguments.record.display(),
                before.urls.iter().map(Url::as_str).collect::<Vec<_>>().join(", ")
            );
            tokio::time::timeout(PATIENCE, still_there(&before))
                .await
                .with_context(|| format!("{} does not answer within {PATIENCE:?}", arguments.url))??;
            before
        }
        None => {
            let Addresses { consortium, federation } = deploy(&arguments.url, &signer, &genesis).await?;
            let made = Deployed {
                urls: vec![arguments.url.clone()],
                consortium,
                federation,
            };
            std::fs::write(&arguments.record, serde_json::to_vec_pretty(&made)?)
                .with_context(|| format!("could not write {}", arguments.record.display()))?;
            made
        }
    };
    output::print(arguments.output, &deployed, |deployed| {
        let urls: Vec<_> = deployed.urls.iter().map(|url| format!("    - {url}")).collect();
        format!(
            "# In the configuration of every agent:\nledger:\n  urls:\n{}\n  consortium: \"{}\"\n  federation: \"{}\"",
            urls.join("\n"),
            deployed.consortium,
            deployed.federation
        )
    })
}

fn recorded(path: &Path) -> anyhow::Result<Option<Deployed>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("could not read {}", path.display())),
    };
    let deployed = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no record of a deployment; give another --record", path.display()))?;
    Ok(Some(deployed))
}

async fn still_there(deployed: &Deployed) -> anyhow::Result<()> {
    use alloy::providers::{Provider, ProviderBuilder};
    let url = deployed.urls.first().context("the record names no endpoint")?;
    let provider = ProviderBuilder::new()
        .connect(url.as_str())
        .await
        .with_context(|| format!("{url} does not answer"))?;
    for (name, address) in [("Consortium", deployed.consortium), ("Federation", deployed.federation)] {
        if provider.get_code_at(address).await?.is_empty() {
            bail!(
                "the chain behind {url} has no {name} contract at {address} any more; remove the record to deploy anew"
            );
        }
    }
    Ok(())
}

/// Reads a hexadecimal private key, with or without `0x`, from a file that nobody else may read.
fn read_key(path: &Path) -> anyhow::Result<PrivateKeySigner> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).with_context(|| format!("could not read {}", path.display()))?;
    ensure!(
        metadata.permissions().mode() & 0o077 == 0,
        "{} may be read by others; chmod 600 it",
        path.display()
    );
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    text.trim()
        .parse()
        .ok()
        .with_context(|| format!("{} holds no private key (64 hexadecimal digits)", path.display()))
}
