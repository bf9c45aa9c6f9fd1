//! `hanse join`: a new domain's folder, from a swarm's key or from an invite, and its agent.
//!
//! With an invite the genesis document is fetched here; with a swarm's key the agent finds the consortium by itself, whenever it
//! starts and is no member. The configuration is written last. Killed before that, the command starts anew with the same keys;
//! killed after, it goes on with what is there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use anyhow::{Context, ensure};
use clap::Args;
use hanse_chain::genesis::Genesis;
use hanse_ports::free_address;
use hanse_swarm::SwarmKey;
use hanse_swarm::model::{AddressError, Category, SwarmAddress, TextError};
use serde_json::json;
use zeroize::Zeroizing;

use super::desk::Desk;
use super::invite::Invite;
use super::request::{check_consensus_address, consensus_address};
use super::{kept, remote};
use crate::config::{
    ApiConfig, ClusterConfig, Config, ConsortiumConfig, DevelopmentCluster, EmbeddedLedger, FindConfig, IdentityConfig,
    Layers, LedgerConfig, SnapshotConfig, SwarmConfig,
};
use crate::keys::DomainKeys;
use crate::output::{self, Format};
use crate::swarm;
use crate::up::programs;

/// Options of `hanse join`.
#[derive(Debug, Args)]
pub struct JoinArguments {
    /// The invite that a member made with `hanse consortium invite`.
    #[arg(required_unless_present = "swarm_key", conflicts_with = "swarm_key")]
    invite: Option<Invite>,
    /// Invites of further members, to fetch the ledger from them too.
    #[arg(long, conflicts_with = "swarm_key")]
    also: Vec<Invite>,
    /// File with the key of the swarm in which the consortium is found.
    #[arg(long, value_name = "FILE", requires = "bootstrap")]
    swarm_key: Option<PathBuf>,
    /// A member of the swarm to begin with, as its `hanse swarm status` shows it; any one that answers will do.
    #[arg(long, value_name = "ADDR", value_parser = bootstrap_address)]
    bootstrap: Vec<SwarmAddress>,
    /// Hash of the consortium's genesis document, if there are several in the swarm.
    #[arg(long, value_name = "HASH", requires = "swarm_key")]
    genesis: Option<B256>,
    /// How long to look for a member before giving up (s).
    #[arg(long, default_value_t = 300, requires = "swarm_key")]
    within: u64,
    /// What the domain offers; others find it by that. May be repeated.
    #[arg(long, value_parser = category)]
    category: Vec<Category>,
    /// Where the domain takes connections of the swarm.
    #[arg(long, default_value = "0.0.0.0:4001", conflicts_with = "local")]
    swarm_listen: SocketAddr,
    /// Multiaddr at which the others reach that, e.g. /ip4/192.0.2.1/tcp/4001. [default: where it listens]
    #[arg(long, value_parser = swarm_address, conflicts_with = "local")]
    swarm_external: Vec<SwarmAddress>,
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

fn swarm_address(text: &str) -> Result<SwarmAddress, AddressError> {
    SwarmAddress::parse(text)
}

fn bootstrap_address(text: &str) -> Result<SwarmAddress, AddressError> {
    let address = swarm_address(text)?;
    address.peer().map(|_| address)
}

fn category(text: &str) -> Result<Category, TextError> {
    text.to_owned().try_into()
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
        "{} looks for the consortium, follows its ledger, and asks to be admitted; later start it with: hanse agent --config {}",
        arguments.name,
        file.display()
    );
    let config = Layers::load(&file, std::env::vars(), &[])?.config;
    ask_anew(&config.data_dir)?;
    crate::agent::run(config, false).await
}

/// Whoever types the command wants to be a member, also if the domain was one before and has left.
fn ask_anew(data_dir: &Path) -> anyhow::Result<()> {
    let path = data_dir.join(kept::DESK);
    let mut desk: Desk = kept::read(&path)?.unwrap_or_default();
    if desk.set_joined(false) {
        kept::write(&path, &desk)?;
    }
    Ok(())
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
    if let Some(given) = &arguments.swarm_key {
        let given: SwarmKey = read_key(given)?;
        let used = swarm::key(&config)?.with_context(|| format!("{} has no swarm key", folder.display()))?;
        ensure!(
            given.fingerprint() == used.fingerprint(),
            "{} is in the swarm whose key has the fingerprint {}, but --swarm-key has {}; choose another folder with --folder",
            folder.display(),
            used.fingerprint(),
            given.fingerprint()
        );
    }
    let wanted = arguments
        .invite
        .as_ref()
        .map(|invite| invite.genesis)
        .or(arguments.genesis);
    let document = folder.join("genesis.json");
    // With a swarm's key it is not there before a member was found.
    if let (Some(wanted), true) = (wanted, document.exists() || arguments.invite.is_some()) {
        ensure!(
            Genesis::load(&document)?.digest() == wanted,
            "{} belongs to another ledger; choose another folder with --folder",
            folder.display()
        );
    }
    Ok(())
}

fn read_key(path: &Path) -> anyhow::Result<SwarmKey> {
    let text =
        Zeroizing::new(std::fs::read_to_string(path).with_context(|| format!("--swarm-key {}", path.display()))?);
    text.parse().with_context(|| format!("--swarm-key {}", path.display()))
}

async fn set_up(folder: &Path, file: &Path, arguments: &JoinArguments) -> anyhow::Result<()> {
    ensure!(
        !arguments.name.is_empty() && arguments.name.len() <= 64,
        "--name: a domain's name has 1 to 64 bytes"
    );
    let key = arguments.swarm_key.as_deref().map(read_key).transpose()?;
    let page = match &arguments.invite {
        Some(invite) => Some(remote::bootstrap(&invite.url, invite.genesis).await?),
        None => None,
    };
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
    if let Some(page) = &page {
        embedded.bootstrap.clone_from(&page.peers);
    }
    config.keys.seed_file = arguments.seed_file.as_ref().map(std::path::absolute).transpose()?;
    std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let keys = Config {
        data_dir: folder.to_owned(),
        ..config.clone()
    };
    DomainKeys::load(&keys)?;
    if let Some(page) = &page {
        kept::write(&folder.join("genesis.json"), &page.genesis)?;
    }
    if let Some(key) = &key {
        kept::write_bytes(&folder.join("swarm.key"), key.to_file().as_bytes())?;
    }
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
            invite: arguments.invite.clone(),
            find: arguments.swarm_key.is_some().then_some(FindConfig {
                genesis: arguments.genesis,
                within_seconds: arguments.within,
            }),
            ..ConsortiumConfig::default()
        },
        swarm: SwarmConfig {
            listen: arguments.swarm_listen,
            external: arguments.swarm_external.clone(),
            bootstrap: arguments.bootstrap.clone(),
            identity: arguments.swarm_key.is_some().then(|| IdentityConfig {
                categories: arguments.category.clone(),
                ..IdentityConfig::default()
            }),
            ..SwarmConfig::default()
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
    let mut config = base(arguments, free_address()?, free_address()?);
    config.api.listen = free_address()?;
    config.swarm.listen = free_address()?;
    config.catalogue = Some(std::path::absolute(&example.catalogue)?);
    config.cluster = ClusterConfig {
        development: Some(DevelopmentCluster::on_free_addresses(example.images)?),
        ..ClusterConfig::default()
    };
    Ok(config)
}
