//! The private swarm in which domains find each other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use hanse_discovery::credentials::Policy;
use hanse_swarm::model::{Category, Description, Identity, ServiceUrl, SwarmAddress};
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
            identity: None,
            credentials: CredentialsConfig::default(),
        }
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
        let categories = self.identity.iter().flat_map(|identity| &identity.categories);
        Identity::check_categories(&categories.cloned().collect::<Vec<_>>()).context("swarm.identity.categories")
    }
}
