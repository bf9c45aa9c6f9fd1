//! Puts the contracts on any Ethereum chain.

use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, ensure};
use clap::Args;
use hanse_chain::genesis::Genesis;
use hanse_ledger::{Deployment, Foundation};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::consortium::kept;
use crate::output::{self, Format};

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
    /// Where to write down what is planned before anything is sent. If the file exists, its plan is carried out: what is on the
    /// chain already is not made again.
    #[arg(long, default_value = "ledger.json")]
    record: PathBuf,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// What is written down before anything is sent, and what is told at the end: where the contracts are, for the
/// configuration of every agent, under `ledger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    urls: Vec<Url>,
    #[serde(flatten)]
    deployment: Deployment,
}

/// What a genesis says of the contracts.
fn foundation(genesis: &Genesis) -> Foundation {
    Foundation {
        founders: genesis.members.iter().map(Into::into).collect(),
        parameters: (&genesis.consensus_parameters).into(),
    }
}

/// Puts the contracts on the chain behind `url`.
pub async fn deploy(url: &Url, signer: &PrivateKeySigner, genesis: &Genesis) -> anyhow::Result<Deployment> {
    hanse_ledger::deploy(url, signer, &foundation(genesis))
        .await
        .with_context(|| format!("the contracts could not be put on the chain behind {url}"))
}

/// Runs the command.
pub async fn run(arguments: DeployArguments) -> anyhow::Result<()> {
    let genesis = Genesis::load(&arguments.genesis)?;
    let signer = read_key(&arguments.key_file)?;
    let path = std::path::absolute(&arguments.record)?;
    let (url, foundation) = (&arguments.url, foundation(&genesis));
    let failed = || format!("the contracts are not on the chain behind {url}");
    let deployment = match recorded(&path)? {
        Some(before) => before.deployment,
        None => {
            let deployment = Deployment::plan(url, signer.address(), &foundation)
                .await
                .with_context(failed)?;
            let planned = Record {
                urls: vec![url.clone()],
                deployment: deployment.clone(),
            };
            kept::write(&path, &planned)?;
            deployment
        }
    };
    deployment.carry_out(url, &signer, &foundation).await.with_context(|| {
        format!(
            "{}; {} says what was planned: run the same command again to go on with it, or remove that file to plan anew",
            failed(),
            path.display()
        )
    })?;
    let record = Record {
        urls: vec![url.clone()],
        deployment,
    };
    output::print(arguments.output, &record, |Record { urls, deployment }| {
        let urls: Vec<_> = urls.iter().map(|url| format!("    - {url}")).collect();
        let chain = &deployment.chain;
        let genesis = chain
            .genesis
            .map(|hash| format!("\n  genesisHash: \"{hash}\""))
            .unwrap_or_default();
        format!(
            "# In the configuration of every agent:\nledger:\n  urls:\n{}\n  chainId: {}{genesis}\n  consortium: \"{}\"\n  federation: \"{}\"",
            urls.join("\n"),
            chain.chain_id,
            deployment.consortium,
            deployment.federation
        )
    })
}

fn recorded(path: &Path) -> anyhow::Result<Option<Record>> {
    kept::read(path).with_context(|| format!("{} is no record of a deployment; give another --record", path.display()))
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
