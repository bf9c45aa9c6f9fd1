//! The private swarm in which domains find each other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use hanse_discovery::credentials::Policy;
use hanse_swarm::model::{Category, Description, Identity, ServiceUrl, SwarmAddress};
use hanse_swarm::relay::RelayLimits;
use serde::{Deserialize, Serialize};

/// How this domain takes part in its default swarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SwarmConfig {
    /// File with the swarm's key, in the format of IPFS; `swarm.key` in the data folder when absent, made if it is missing.
    pub key_file: Option<PathBuf>,
    /// Where it takes connections (TCP); the port must be reachable for the others.
    pub listen: SocketAddr,
    /// Multiaddrs at which the others reach that, when it is not where it listens.
    pub external: Vec<SwarmAddress>,
    /// Members of the swarm to begin with: multiaddrs with `/p2p/` and a peer id at their end.
    pub bootstrap: Vec<SwarmAddress>,
    /// Whether members are looked for in the local network, by multicast DNS (UDP port 5353).
    pub mdns: bool,
    /// Domains that nobody can call: what this one carries for them, and whether it is one.
    pub relay: RelayConfig,
    /// What this domain publishes about itself; nothing when absent.
    pub identity: Option<IdentityConfig>,
    /// What peers get in this domain's cluster.
    pub credentials: CredentialsConfig,
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            key_file: None,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4001)),
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            relay: RelayConfig::default(),
            identity: None,
            credentials: CredentialsConfig::default(),
        }
    }
}

/// When others carry this domain's connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RelayUse {
    /// When members see it behind a gateway (NAT), and `external` is empty.
    #[default]
    Auto,
    /// Always: a firewall lets no call in.
    Always,
    /// Never.
    Never,
}

/// How this domain takes part in relaying.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RelayConfig {
    /// Whether it carries for domains that nobody can call.
    pub serve: bool,
    /// Circuits that it carries at a time.
    pub circuits: usize,
    /// Mebibytes of one circuit, in both directions together; then it is closed, and called anew.
    pub circuit_mebibytes: u32,
    /// When others carry for this domain: `auto`, `always` or `never`.
    #[serde(rename = "use")]
    pub using: RelayUse,
    /// Who may carry for it: multiaddrs with `/p2p/`; any member that it can call when empty.
    pub at: Vec<SwarmAddress>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        let limits = RelayLimits::default();
        Self {
            serve: true,
            circuits: limits.circuits,
            circuit_mebibytes: u32::try_from(limits.circuit_bytes >> 20).unwrap_or(u32::MAX),
            using: RelayUse::Auto,
            at: Vec::new(),
        }
    }
}

impl RelayConfig {
    /// The same in the swarm's own words.
    pub fn settings(&self) -> hanse_swarm::relay::RelayConfig {
        use hanse_swarm::relay::RelayUse as Use;
        let limits = RelayLimits {
            circuits: self.circuits,
            circuit_bytes: u64::from(self.circuit_mebibytes) << 20,
            ..RelayLimits::default()
        };
        hanse_swarm::relay::RelayConfig {
            serve: self.serve.then_some(limits),
            using: match self.using {
                RelayUse::Auto => Use::Auto,
                RelayUse::Always => Use::Always,
                RelayUse::Never => Use::Never,
            },
            at: self.at.clone(),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.serve || self.circuits > 0 && self.circuit_mebibytes > 0,
            "swarm.relay: circuits and circuitMebibytes must be at least 1; to carry nothing set serve to false"
        );
        for address in &self.at {
            address.peer().context("swarm.relay.at")?;
            ensure!(
                address.relay().is_none(),
                "swarm.relay.at: {address} is itself a way over a relay; name a member that can be called"
            );
        }
        Ok(())
    }
}

/// What a domain publishes about itself, beside its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// One line.
    pub description: Option<Description>,
    /// Where it can be called; its REST API when absent.
    pub url: Option<ServiceUrl>,
    /// What it offers.
    pub categories: Vec<Category>,
}

/// What peers get in this domain's cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CredentialsConfig {
    /// https URL at which peers reach the cluster's API server; that of the agent's own kubeconfig when absent.
    pub api_server: Option<String>,
    /// File with the PEM certificates by which `apiServer` is checked, if not by those that every system knows.
    pub certificate_authority_file: Option<PathBuf>,
    /// Who gets which rights; reading pods of the Identity's namespace for everyone when absent.
    pub policy: Policy,
}

impl SwarmConfig {
    /// Checks what the types don't.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        self.credentials.policy.check().context("swarm.credentials.policy")?;
        for address in &self.bootstrap {
            address.peer().context("swarm.bootstrap")?;
        }
        self.relay.check()?;
        let categories = self.identity.iter().flat_map(|identity| &identity.categories);
        Identity::check_categories(&categories.cloned().collect::<Vec<_>>()).context("swarm.identity.categories")
    }
}
