//! What the owner of a domain decides about federation.

use std::path::PathBuf;
use std::time::Duration;

use hanse_agreement::policy::{PriceList, Provider};
use hanse_agreement::{Account, Price, Terms, limits};
use hanse_swarm::model::{Location, Party};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Settings of the orchestrator.
#[derive(Debug, Clone)]
pub struct OrchestratorConfig {
    /// The domain's name as in the Consortium contract.
    pub domain: String,
    /// Namespace in which the domain's own services run.
    pub namespace: String,
    /// Whether and how to bid when the agent starts for the first time; afterwards the API changes it.
    pub bidding: Bidding,
    /// How long a deployment may take before it counts as failed.
    pub deploy_timeout: Duration,
    /// How long a service may take to be seen working at the provider.
    pub check_timeout: Duration,
    /// Folder for exported timelines.
    pub experiments: PathBuf,
}

/// What this domain offers to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Bidding {
    /// Whether to answer announcements with bids at all.
    pub enabled: bool,
    /// Where services run, for people: a place or a region.
    pub location: String,
    /// What an hour costs.
    #[schema(value_type = Object)]
    pub prices: PriceList,
    /// CPU, memory, bandwidth and replicas: all that may be promised to others at the same time. Availability, latency and
    /// jitter: the best that is promised to each.
    #[schema(value_type = Object)]
    pub capacity: Terms,
    /// A consumer may take this long to confirm (s); announcements that want longer get no bid.
    pub longest_confirm_seconds: u32,
}

impl Bidding {
    /// As the bid policy wants it.
    pub fn provider(&self, account: Account) -> Provider {
        Provider {
            account,
            prices: self.prices,
            longest_confirm_window: self.longest_confirm_seconds,
        }
    }

    /// As the swarm is told. What no bid could have is not told either.
    pub fn party(&self, account: Account) -> Party {
        let location = Location::try_from(self.location.clone()).ok();
        let most = Terms {
            availability_bps: self.capacity.availability_bps.min(limits::AVAILABILITY_BPS),
            ..self.capacity
        };
        let party = Party::new(account, self.enabled.then_some(most), location);
        party.expect("an availability of at most all of the time is one")
    }
}

impl Default for Bidding {
    fn default() -> Self {
        Self {
            enabled: true,
            location: String::new(),
            prices: PriceList::per_replica(Price(10)),
            capacity: Terms {
                availability_bps: 9_900,
                latency_ms: 20,
                jitter_ms: 5,
                bandwidth_mbps: 1_000,
                cpu_millicores: 4_000,
                ram_mb: 4_096,
                replicas: 32,
            },
            longest_confirm_seconds: 3_600,
        }
    }
}
