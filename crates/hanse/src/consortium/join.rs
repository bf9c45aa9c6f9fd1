//! `hanse join`: a new domain's folder from an invite, and its agent.
//!
//! The configuration is written last. Killed before that, the command starts anew with the same keys; killed after, it goes on
//! with what is there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hanse_chain::genesis::Genesis;
use hanse_ports::free_address;
use serde_json::json;

use super::invite::Invite;
use super::pages::BootstrapPage;
use super::request::{check_consensus_address, consensus_address};
use super::{kept, remote};
use crate::config::{
    ApiConfig, ClusterConfig, Config, ConsortiumConfig, DevelopmentCluster, EmbeddedLedger, Layers, LedgerConfig,
    SnapshotConfig,
};
use crate::keys::DomainKeys;
use crate::output::{self, Format};
use crate::up::programs;

/// Options of `hanse join`.
#[derive(Debug, Args)]
pub struct JoinArguments {
    /// The invite that a member made with `hanse consortium invite`.
    invite: Invite,
    /// Invites of further members, to fetch the ledger from them too.
    #[arg(long)]
    also: Vec<Invite>,
    /// Name of the new domain, as the others will see it.
    #[arg(long)]
    name: String,
    /// Folder of the new domain; gone on with if there is one. [default: the name]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Where the domain's node takes consensus connections.
    #[arg(long, default_value = "0.0.0.0:26656", conflicts_with = "local")]
    consensus_listen: SocketAddr,
    /// Multiaddr at which the other members reach that, e.g. /ip4/192.0.2.1/tcp/26656. [default: where it listens]
    #[arg(long, conflicts_with = "local")]
    consensus_address: Option<String>,
    /// Where the REST API is served.
    #[arg(long, default_value = "127.0.0.1:8000", conflicts_with = "local")]
    api_listen: SocketAddr,
    /// File that holds the REST API's token; obligatory unless it is served on loopback.
    #[arg(long, conflicts_with = "local")]
    token_file: Option<PathBuf>,
    /// URL at which the other members reach the REST API. [default: where it is served]
    #[arg(long, conflicts_with = "local")]
    url: Option<String>,
    /// File that holds the domain's seed; one is made in the folder otherwise.
    #[arg(long)]
    seed_file: Option<PathBuf>,
    /// For a trial on the machine where the others run too: free loopback ports and a development cluster.
    #[arg(long)]
    local: bool,
    /// Only make the folder.
    #[arg(long)]
    prepare: bool,
    /// Form of the answer with --prepare.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Makes the folder, and runs the agent.
pub async fn run(arguments: JoinArguments) -> anyhow::Result<()> {
    let folder = std::path::absolute(
        arguments
            .folder
            .clone()
            .unwrap_or_else(|| arguments.name.clone().into()),
    )?;
    let file = folder.join("hanse.yaml");
    if file.exists() {
        check_existing(&folder, &arguments)?;
    } else {
        set_up(&folder, &file, &arguments).await?;
    }
    if arguments.prepare {
        let document = json!({ "config": file, "run": format!("hanse agent --config {}", file.display()) });
        return output::print(arguments.output, &document, |_| {
            format!(
                "{} is set up; run it with: hanse agent --config {}",
                arguments.name,
                file.display()
            )
        });
    }
    eprintln!(
        "{} asks to be admitted and follows the ledger meanwhile; later start it with: hanse agent --config {}",
        arguments.name,
        file.display()
    );
    let config = Layers::load(&file, std::env::vars(), &[])?.config;
    crate::agent::run(config, false).await
}

/// A folder that is there must be of this name and ledger.
fn check_existing(folder: &Path, arguments: &JoinArguments) -> anyhow::Result<()> {
    let config = Layers::load(&folder.join("hanse.yaml"), std::iter::empty(), &[])?.config;
    ensure!(
        config.domain == arguments.name,
        "{} is the folder of the domain {:?}; choose another with --folder",
        folder.display(),
        config.domain
    );
    let genesis = Genesis::load(&folder.join("genesis.json"))?;
    ensure!(
        genesis.digest() == arguments.invite.genesis,
        "{} belongs to another ledger than the invite; choose another folder with --folder",
        folder.display()
    );
    Ok(())
}

async fn set_up(folder: &Path, file: &Path, arguments: &JoinArguments) -> anyhow::Result<()> {
    let invite = &arguments.invite;
    ensure!(
        !arguments.name.is_empty() && arguments.name.len() <= 64,
        "--name: a domain's name has 1 to 64 bytes"
    );
    let http = remote::client()?;
    let page: BootstrapPage = remote::get(&http, &invite.url, "api/v1/consortium/bootstrap").await?;
    let digest = page.genesis.digest();
    if digest != invite.genesis {
        bail!(
            "{} gives the genesis of another ledger ({digest}) than the invite says ({}): the invite is wrong, or that address \
             is not what it claims to be",
            invite.url,
            invite.genesis
        );
    }
    page.genesis.validate().context("the genesis document")?;
    let mut config = if arguments.local {
        local(arguments).await?
    } else {
        remote_config(arguments)?
    };
    let embedded = config
        .ledger
        .embedded
        .as_mut()
        .context("the configuration has a node")?;
    let address = embedded.consensus_address.clone();
    check_consensus_address(&address.unwrap_or_else(|| consensus_address(embedded.consensus_listen)))
        .context("--consensus-address")?;
    embedded.bootstrap = page.peers;
    config.keys.seed_file = arguments.seed_file.as_ref().map(std::path::absolute).transpose()?;
    std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let keys = Config {
        data_dir: folder.to_owned(),
        ..config.clone()
    };
    DomainKeys::load(&keys)?;
    kept::write(&folder.join("genesis.json"), &page.genesis)?;
    let yaml = serde_saphyr::to_string(&config).context("the configuration could not be written as YAML")?;
    kept::write_bytes(file, yaml.as_bytes())
}

fn base(arguments: &JoinArguments, consensus_listen: SocketAddr, rpc_listen: SocketAddr) -> Config {
    Config {
        domain: arguments.name.clone(),
        data_dir: ".".into(),
        ledger: LedgerConfig {
            embedded: Some(EmbeddedLedger {
                genesis: "genesis.json".into(),
                consensus_listen,
                consensus_address: None,
                rpc_listen,
                bootstrap: Vec::new(),
            }),
            snapshot: SnapshotConfig {
                invites: arguments.also.clone(),
                ..SnapshotConfig::default()
            },
            ..LedgerConfig::default()
        },
        consortium: ConsortiumConfig {
            invite: Some(arguments.invite.clone()),
            ..ConsortiumConfig::default()
        },
        ..Config::default()
    }
}

fn remote_config(arguments: &JoinArguments) -> anyhow::Result<Config> {
    let mut config = base(
        arguments,
        arguments.consensus_listen,
        SocketAddr::from((Ipv4Addr::LOCALHOST, 8545)),
    );
    if let Some(embedded) = &mut config.ledger.embedded {
        embedded.consensus_address.clone_from(&arguments.consensus_address);
    }
    config.api = ApiConfig {
        listen: arguments.api_listen,
        token_file: arguments.token_file.as_ref().map(std::path::absolute).transpose()?,
        url: arguments.url.clone(),
    };
    Ok(config)
}

/// Free ports, and a development cluster in loopback networks of its own.
async fn local(arguments: &JoinArguments) -> anyhow::Result<Config> {
    let example = programs::example(|text| eprintln!("{text}")).await?;
    // Above those that `hanse up` takes.
    let (network, subnet): (u8, u8) = (rand::random_range(16..=250), rand::random_range(17..=62) * 4);
    let mut config = base(arguments, free_address()?, free_address()?);
    config.api.listen = free_address()?;
    config.catalogue = Some(std::path::absolute(&example.catalogue)?);
    config.cluster = ClusterConfig {
        development: Some(DevelopmentCluster {
            listen: free_address()?,
            pod_range: format!("127.{network}.{}.0/24", subnet + 1),
            service_range: format!("127.{network}.{}.0/24", subnet + 2),
            load_balancer_range: format!("127.{network}.{}.0/24", subnet + 3),
            images: example.images,
        }),
        ..ClusterConfig::default()
    };
    Ok(config)
}
