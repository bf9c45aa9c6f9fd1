//! The folder of a league: one folder for each domain with its keys and `hanse.yaml`, and the genesis that they share.
//! Made once, then only read.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use hanse_agreement::Price;
use hanse_agreement::policy::PriceList;
use hanse_chain::genesis::{ConsensusParameters, Genesis, MemberInfo};
use hanse_orchestrator::Bidding;
use hanse_ports::free_address;
use hanse_swarm::SwarmKey;
use hanse_swarm::model::SwarmAddress;
use url::Url;

use crate::config::{
    Admission, ApiConfig, ClusterConfig, Config, ConsortiumConfig, DevelopmentCluster, EmbeddedLedger, FindConfig,
    IdentityConfig, LedgerConfig, SwarmConfig,
};
use crate::consortium::{consensus_address, kept};
use crate::keys::DomainKeys;
use crate::ledger::deploy;

/// Names of the first domains; further ones are numbered.
const NAMES: [&str; 8] = ["north", "east", "south", "west", "centre", "coast", "island", "harbour"];
const MOST_DOMAINS: usize = 16;
/// Room for some hundred transactions in a block.
const GAS_LIMIT: u64 = 100_000_000;
/// Timeouts for validators that are microseconds apart but share a busy machine.
const LOCAL: ConsensusParameters = ConsensusParameters {
    propose_ms: 1_000,
    propose_delta_ms: 500,
    vote_ms: 500,
    vote_delta_ms: 250,
    heartbeat_ms: 5_000,
};

/// A league on this machine.
pub struct Folder {
    /// Configuration files of the domains, in order.
    pub configs: Vec<PathBuf>,
}

/// What a new league is made of.
pub struct Plan<'a> {
    pub domains: usize,
    /// First port of the REST APIs; any free ports when absent.
    pub first_api_port: Option<u16>,
    /// Folder of the services that every domain can deploy.
    pub catalogue: &'a Path,
    /// Who votes when another domain asks to be admitted.
    pub admission: Admission,
    /// JSON-RPC endpoint of a chain that takes the place of the embedded ledger. The first domain pays for the contracts.
    pub ledger_url: Option<&'a Url>,
    /// Image name → executable.
    pub images: &'a BTreeMap<String, PathBuf>,
}

impl Folder {
    /// The league in `path`, if one was made there.
    pub fn open(path: &Path) -> anyhow::Result<Option<Self>> {
        let path = &std::path::absolute(path)?;
        if !path.join("genesis.json").exists() {
            return Ok(None);
        }
        let mut configs: Vec<PathBuf> = std::fs::read_dir(path)?
            .filter_map(|entry| Some(entry.ok()?.path().join("hanse.yaml")))
            .filter(|config| config.exists())
            .collect();
        configs.sort_by_key(|config| (order_of(config), config.clone()));
        if configs.is_empty() {
            bail!(
                "{} holds a genesis but no domain; remove the folder to start anew",
                path.display()
            );
        }
        Ok(Some(Self { configs }))
    }

    /// Makes a league. The genesis is written last: without it, what is there is no league and is made again.
    pub async fn create(path: &Path, plan: &Plan<'_>) -> anyhow::Result<Self> {
        if !(1..=MOST_DOMAINS).contains(&plan.domains) {
            bail!(
                "--domains {}: between 1 and {MOST_DOMAINS} fit on one machine",
                plan.domains
            );
        }
        let path = &std::path::absolute(path)?;
        std::fs::create_dir_all(path).with_context(|| format!("could not create {}", path.display()))?;
        let (mut members, mut accounts) = (Vec::new(), Vec::new());
        let mut balances = BTreeMap::new();
        let mut configs: Vec<(PathBuf, Config)> = Vec::new();
        let mut signers = Vec::new();
        let mut bootstrap: Vec<SwarmAddress> = Vec::new();
        kept::write_bytes(&path.join("swarm.key"), SwarmKey::generate().to_file().as_bytes())?;
        for index in 0..plan.domains {
            let name = NAMES
                .get(index)
                .map_or_else(|| format!("domain-{}", index + 1), |name| (*name).to_owned());
            let folder = path.join(&name);
            let keys = DomainKeys::load_or_generate(&folder)?;
            let api = api_address(plan.first_api_port, index)?;
            let (consensus, in_swarm) = (free_address()?, free_address()?);
            let account = keys.ledger.address();
            // The first founds the consortium; the others find it in the swarm and are admitted, as anybody who comes later.
            let founds = index == 0 || plan.ledger_url.is_some();
            accounts.push(account);
            if founds {
                members.push(MemberInfo {
                    account,
                    validator_key: keys.validator.generation(0).public_key().into(),
                    sealing_key: keys.sealing.public().into(),
                    name: name.clone(),
                    consensus_address: consensus_address(consensus),
                    peer_id: keys.swarm.peer_id().to_string(),
                    url: format!("http://{api}"),
                });
            }
            balances.insert(
                account,
                alloy::primitives::U256::from(10).pow(alloy::primitives::U256::from(21)),
            );
            let config = Config {
                domain: name.clone(),
                data_dir: ".".into(),
                ledger: LedgerConfig {
                    embedded: Some(EmbeddedLedger {
                        genesis: if founds { "../genesis.json" } else { "genesis.json" }.into(),
                        consensus_listen: consensus,
                        consensus_address: None,
                        rpc_listen: free_address()?,
                        bootstrap: Vec::new(),
                    }),
                    ..LedgerConfig::default()
                },
                cluster: ClusterConfig {
                    development: Some(DevelopmentCluster::on_free_addresses(plan.images.clone())?),
                    ..ClusterConfig::default()
                },
                api: ApiConfig {
                    listen: api,
                    ..ApiConfig::default()
                },
                catalogue: Some(std::path::absolute(plan.catalogue)?),
                bidding: bidding(name.clone(), index),
                consortium: ConsortiumConfig {
                    admission: plan.admission,
                    find: (!founds).then(FindConfig::default),
                    ..ConsortiumConfig::default()
                },
                swarm: SwarmConfig {
                    key_file: Some("../swarm.key".into()),
                    listen: in_swarm,
                    bootstrap: bootstrap.clone(),
                    identity: Some(identity(&name)?),
                    ..SwarmConfig::default()
                },
                ..Config::default()
            };
            if bootstrap.is_empty() {
                let address = format!("{}/p2p/{}", consensus_address(in_swarm), keys.swarm.peer_id());
                bootstrap.push(SwarmAddress::parse(&address)?);
            }
            configs.push((folder.join("hanse.yaml"), config));
            signers.push(keys.ledger);
        }
        let genesis = Genesis {
            chain_id: rand::random_range(100_000..1_000_000),
            timestamp: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .context("the clock is before 1970")?
                .as_secs(),
            gas_limit: GAS_LIMIT,
            members,
            consensus_parameters: LOCAL,
            balances,
        };
        genesis.validate()?;
        let digest = genesis.digest();
        for (_, config) in &mut configs {
            if let Some(find) = &mut config.consortium.find {
                find.genesis = Some(digest);
            }
            // Who is in the league from the beginning is not voted on by hand.
            if plan.admission == Admission::ByHand {
                config.consortium.approved.clone_from(&accounts);
            }
        }
        if let (Some(url), Some(signer)) = (plan.ledger_url, signers.first()) {
            let contracts = deploy(url, signer, &genesis).await?;
            for (_, config) in &mut configs {
                config.ledger = LedgerConfig {
                    urls: vec![url.clone()],
                    chain_id: Some(contracts.chain.chain_id),
                    genesis_hash: contracts.chain.genesis,
                    consortium: Some(contracts.consortium.to_string()),
                    federation: Some(contracts.federation.to_string()),
                    ..LedgerConfig::default()
                };
            }
        }
        for (index, (file, config)) in configs.iter().enumerate() {
            let yaml = serde_saphyr::to_string(config).context("the configuration could not be written as YAML")?;
            std::fs::write(file, format!("# {index}\n{yaml}"))
                .with_context(|| format!("could not write {}", file.display()))?;
        }
        std::fs::write(path.join("genesis.json"), serde_json::to_vec_pretty(&genesis)?)?;
        let configs = configs.into_iter().map(|(file, _)| file).collect();
        Ok(Self { configs })
    }
}

/// The number in the first line of a configuration that this module wrote.
fn order_of(config: &Path) -> usize {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    text.lines()
        .next()
        .and_then(|line| line.trim_start_matches("# ").parse().ok())
        .unwrap_or(usize::MAX)
}

/// Where the domain of this index serves its REST API: counted up from the port that was asked for, if one was.
fn api_address(first: Option<u16>, index: usize) -> anyhow::Result<SocketAddr> {
    let Some(first) = first.filter(|port| *port != 0) else {
        return Ok(free_address()?);
    };
    let address = u16::try_from(index)
        .ok()
        .and_then(|index| first.checked_add(index))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .with_context(|| {
            format!(
                "--api-port {first} leaves no port for domain {}; choose a lower one",
                index + 1
            )
        })?;
    if let Err(error) = TcpListener::bind(address) {
        bail!(
            "port {} for the REST API of domain {} can't be used: {error}; stop what uses it, or choose others with --api-port",
            address.port(),
            index + 1
        );
    }
    Ok(address)
}

/// What a domain of a league on one machine says of itself.
fn identity(name: &str) -> anyhow::Result<IdentityConfig> {
    Ok(IdentityConfig {
        description: Some(format!("{name}, a domain of `hanse up`").try_into()?),
        categories: vec!["edge".to_owned().try_into()?],
        ..IdentityConfig::default()
    })
}

/// Domains further down the list are dearer, so that a choice has something to choose.
fn bidding(location: String, index: usize) -> Bidding {
    let prices = PriceList::per_replica(Price(10 + index as u128));
    Bidding {
        location,
        prices,
        ..Bidding::default()
    }
}
