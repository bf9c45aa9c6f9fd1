//! The configuration of an agent: one file, changed by environment variables, changed by flags.

mod layers;
mod swarm;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use alloy::primitives::{Address, B256};
use hanse_orchestrator::Bidding;
use hanse_ports::{NoFreePort, free_address, free_network};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::consortium::Invite;

pub use layers::Layers;
pub use swarm::{IdentityConfig, SwarmConfig};

/// Everything that an agent can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Name of the domain, as in the consortium.
    pub domain: String,
    /// Folder for keys, the ledger and the agent's store.
    pub data_dir: PathBuf,
    pub keys: KeysConfig,
    /// Without a ledger the agent finds other domains, and does nothing else.
    pub ledger: LedgerConfig,
    pub consortium: ConsortiumConfig,
    pub swarm: SwarmConfig,
    pub cluster: ClusterConfig,
    pub api: ApiConfig,
    /// Folder of services that can be deployed by name.
    pub catalogue: Option<PathBuf>,
    /// How to bid when the agent starts for the first time; afterwards the API changes it.
    pub bidding: Bidding,
    /// A deployment for another domain may take this long (s).
    pub deploy_timeout_seconds: u64,
    /// A federated service may take this long to be seen working (s).
    pub check_timeout_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domain: String::new(),
            data_dir: "hanse-data".into(),
            keys: KeysConfig::default(),
            ledger: LedgerConfig::default(),
            consortium: ConsortiumConfig::default(),
            swarm: SwarmConfig::default(),
            cluster: ClusterConfig::default(),
            api: ApiConfig::default(),
            catalogue: None,
            bidding: Bidding::default(),
            deploy_timeout_seconds: 200,
            check_timeout_seconds: 60,
        }
    }
}

impl Config {
    /// Whether no ledger is named: then the agent finds other domains and is found, and does nothing else.
    pub fn is_discoverer(&self) -> bool {
        self.ledger == LedgerConfig::default() && self.consortium == ConsortiumConfig::default()
    }
}

/// Where the domain's seed is, from which all its keys are derived.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KeysConfig {
    /// File that holds the seed, for example of a mounted Secret; when absent, `keys/seed` in the data folder, made if it is
    /// missing.
    pub seed_file: Option<PathBuf>,
    /// File that holds the passphrase of an encrypted seed; else `HANSE_PASSPHRASE`, else the terminal is asked. A seed that is
    /// made in the data folder is encrypted if this is set.
    pub passphrase_file: Option<PathBuf>,
}

/// Which ledger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// The node that this agent runs itself.
    pub embedded: Option<EmbeddedLedger>,
    /// Ethereum JSON-RPC endpoints of a ledger that runs elsewhere; used when `embedded` is absent.
    pub urls: Vec<Url>,
    /// Address of the Consortium contract, if it is not the genesis one.
    pub consortium: Option<String>,
    /// Address of the Federation contract, if it is not the genesis one.
    pub federation: Option<String>,
    /// Id of the chain that `urls` must serve, as `hanse ledger deploy` prints it.
    pub chain_id: Option<u64>,
    /// Hash of that chain's first block; checked where `chainId` is given.
    pub genesis_hash: Option<B256>,
    /// Blocks on top of an event before it counts; 0 where blocks are final.
    pub confirmations: u64,
    /// Newest blocks whose transactions and events the embedded node keeps, at least 1024; all of them when absent. Headers are
    /// always kept.
    pub history: Option<u64>,
    pub snapshot: SnapshotConfig,
}

/// How the embedded node of a newcomer, or of a member that was away, gets the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SnapshotConfig {
    /// Fewer blocks than this are executed; a node that is further behind when it starts takes the state at a recent height.
    pub least_blocks: u64,
    /// A state that takes more is not fetched (MiB).
    pub most_mebibytes: u64,
    /// Invites of further members, beside `consortium.invite`, to fetch from.
    pub invites: Vec<Invite>,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            least_blocks: 2000,
            most_mebibytes: 16 * 1024,
            invites: Vec::new(),
        }
    }
}

/// The embedded ledger node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedLedger {
    /// `genesis.json`, the same file for all founding members.
    pub genesis: PathBuf,
    /// Where other validators connect.
    pub consensus_listen: SocketAddr,
    /// Multiaddr at which they reach that, when it is not where it listens; for a domain that asks to be admitted.
    #[serde(default)]
    pub consensus_address: Option<String>,
    /// Where Ethereum JSON-RPC (HTTP and WebSocket) is served.
    pub rpc_listen: SocketAddr,
    /// Members to catch up from as long as this domain is none: multiaddrs with `/p2p/` and a peer id at their end.
    #[serde(default)]
    pub bootstrap: Vec<String>,
}

/// How this domain takes part in the consortium.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConsortiumConfig {
    /// Who votes when a domain asks to be admitted.
    pub admission: Admission,
    /// Accounts of domains for whose admission this domain votes by itself although `admission` is `byHand`.
    pub approved: Vec<Address>,
    /// Who may follow the ledger before it is admitted.
    pub guests: Guests,
    /// The invite with which this domain asks to be admitted, as long as it is no member.
    pub invite: Option<Invite>,
    /// Find the consortium in the swarm and ask to be admitted, as long as this domain is no member; in place of `invite`.
    pub find: Option<FindConfig>,
}

/// Who may follow the ledger, and ask for admission as one who was invited, before a vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guests {
    /// Every domain of this domain's swarm, and who brings an invite.
    #[default]
    Swarm,
    /// Who brings an invite.
    Invite,
}

/// Which consortium of the swarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FindConfig {
    /// Hash of its genesis document; when absent, there must be only one.
    pub genesis: Option<B256>,
    /// The agent gives up after so long without finding a member (s).
    pub within_seconds: u64,
}

impl Default for FindConfig {
    fn default() -> Self {
        Self {
            genesis: None,
            within_seconds: 300,
        }
    }
}

/// Who votes for admissions. Removals are always voted on by hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Admission {
    /// The operator, with `hanse consortium vote`.
    #[default]
    ByHand,
    /// The agent: it proposes whoever comes with a token of its own, from an invite or through the swarm, and votes for whomever
    /// another member proposes.
    Automatic,
}

/// Which Kubernetes cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The development cluster in this process, instead of a real one.
    pub development: Option<DevelopmentCluster>,
    /// Context of the kubeconfig; its current one when absent. In a pod the service account is used.
    pub context: Option<String>,
    /// Namespace of the domain's own services.
    pub namespace: Option<String>,
}

/// The development cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DevelopmentCluster {
    /// Where the Kubernetes API is served; loopback only.
    pub listen: SocketAddr,
    /// Loopback network for pods, e.g. 127.20.1.0/24.
    pub pod_range: String,
    /// Loopback network for cluster IPs of Services, e.g. 127.20.2.0/24.
    pub service_range: String,
    /// Loopback network for Services of type LoadBalancer, e.g. 127.20.3.0/24.
    pub load_balancer_range: String,
    /// Image name → executable.
    #[serde(default)]
    pub images: BTreeMap<String, PathBuf>,
}

impl DevelopmentCluster {
    /// One on a free port, in a network that no other of this process has, which can run these images.
    ///
    /// # Errors
    /// When all ports are in use.
    pub fn on_free_addresses(images: BTreeMap<String, PathBuf>) -> Result<Self, NoFreePort> {
        let [first, second, third, _] = free_network().octets();
        let range = |start: u8, bits: u8| format!("{first}.{second}.{third}.{start}/{bits}");
        Ok(Self {
            listen: free_address()?,
            pod_range: range(0, 25),
            service_range: range(128, 26),
            load_balancer_range: range(192, 26),
            images,
        })
    }
}

/// The REST API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it is served.
    pub listen: SocketAddr,
    /// File that holds the bearer token; obligatory unless `listen` is loopback.
    pub token_file: Option<PathBuf>,
    /// URL at which other domains reach it; where it listens when absent.
    pub url: Option<String>,
}

impl ApiConfig {
    /// The URL that the other domains are told.
    pub fn public_url(&self) -> String {
        self.url.clone().unwrap_or_else(|| format!("http://{}", self.listen))
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            token_file: None,
            url: None,
        }
    }
}
