//! What a domain remembers of its agreements: written before anything is done, so that a killed agent knows where it was.

use std::collections::BTreeMap;

use hanse_agreement::{Account, AgreementId, Announcement, Bid, Hash, Price, Terms};
use hanse_cluster::SecretValues;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::providers::Eligible;
use super::service::Scenario;
use super::timeline::Timeline;

/// What the provider alone must know to deploy; travels sealed to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameters {
    /// ConfigMap → key → value, laid over the manifest.
    pub config: BTreeMap<String, BTreeMap<String, String>>,
    /// What the manifest's Secrets hold; the manifest itself may be read by many.
    #[serde(default, skip_serializing_if = "SecretValues::is_empty")]
    pub secrets: SecretValues,
}

/// Where the federated service answers; travels sealed to the consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Service → its external address.
    pub services: BTreeMap<String, ExternalAddress>,
    /// Replicas that run, where the manifest has Deployments.
    pub replicas: BTreeMap<String, u32>,
}

/// An address that answers from outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalAddress {
    /// IP address or host name.
    pub host: String,
    /// Port numbers by port name.
    pub ports: BTreeMap<String, u16>,
}

/// How an agreement ended, as one side sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// Ran and was returned.
    Terminated,
    /// Called off.
    Cancelled {
        /// Why, as the ledger or this domain says.
        reason: String,
    },
    /// A deadline passed.
    Expired {
        /// Which wait it was.
        reason: String,
    },
    /// Another domain was chosen, or the agreement ended before the choice.
    Lost,
}

/// What the owner wants of an agreement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Want {
    /// That it goes on.
    #[default]
    Run,
    /// That it is called off (before confirmation).
    Cancel {
        /// Told to everyone on the ledger.
        reason: String,
    },
    /// That it ends and the service comes back (after confirmation).
    Terminate,
}

/// An agreement in which this domain is the consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerRecord {
    /// The announcement exactly as it goes to the ledger.
    pub announcement: Announcement,
    /// Local service of which a part is federated.
    pub service: String,
    /// Which part.
    pub scenario: Scenario,
    /// Unix milliseconds at which the request was accepted.
    pub requested_ms: u64,
    /// Choose as soon as this many bids are in…
    pub offers_wanted: u32,
    /// …or when this much time has passed since the announcement and one of them will do (ms).
    pub bid_window_ms: u64,
    /// Hours to pay in advance; 0: no escrow.
    pub hours_paid: u32,
    /// How many more times to announce anew when this one comes to nothing.
    pub retries: u32,
    /// Who may provide; every member if the owner did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Eligible>,
    /// The agreement that this one replaces.
    pub previous: Option<AgreementId>,
    /// The agreement that replaces this one.
    pub next: Option<AgreementId>,
    /// What the owner wants.
    pub want: Want,
    /// A choice made by hand over the API instead of by policy.
    pub chosen_by_hand: Option<Account>,
    /// The choice that was made, exactly as it goes to the ledger. Sealing is randomised, so it is kept to be sent again.
    pub award: Option<Award>,
    /// What came with the deployment, sealed to this domain.
    #[serde(with = "optional_hex")]
    pub sealed_endpoint: Option<Vec<u8>>,
    /// Where the provider runs it, once opened.
    pub endpoint: Option<Endpoint>,
    /// How far the service has moved.
    pub stage: Stage,
    /// Why the service was not seen to work at the provider, if that is final.
    pub check_failed: Option<String>,
    /// Counter of the probe when the check began and ended: work done before and after the move.
    pub work: Option<WorkSeen>,
    /// Steps taken here.
    pub timeline: Timeline,
    /// The end, when there is one.
    pub outcome: Option<Outcome>,
}

/// How far a service has moved to the provider, and back. Each stage is written before what it allows is done, so that
/// after a crash at least as much is undone as was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Nothing has.
    #[default]
    Home,
    /// Traffic may go to the provider.
    HandedOver,
    /// The service was seen to work there.
    Verified,
    /// This domain no longer wants its own share.
    Releasing,
    /// The own share is gone; the move is complete.
    Completed,
    /// The own share comes back; traffic may still go to the provider.
    Returning,
    /// Everything is here again.
    Restored,
}

impl Stage {
    /// Whether traffic may go to the provider.
    pub fn uses_provider(self) -> bool {
        (Self::HandedOver..=Self::Returning).contains(&self)
    }

    /// Whether the own share is given away, or about to be.
    pub fn gives_share_away(self) -> bool {
        (Self::Releasing..=Self::Completed).contains(&self)
    }
}

/// A request to have a part of a service run elsewhere: what its record begins with.
#[derive(Debug, Clone)]
pub struct NewAgreement {
    /// See [`ConsumerRecord::announcement`].
    pub announcement: Announcement,
    /// See [`ConsumerRecord::service`].
    pub service: String,
    /// See [`ConsumerRecord::scenario`].
    pub scenario: Scenario,
    /// See [`ConsumerRecord::requested_ms`].
    pub requested_ms: u64,
    /// See [`ConsumerRecord::offers_wanted`].
    pub offers_wanted: u32,
    /// See [`ConsumerRecord::bid_window_ms`].
    pub bid_window_ms: u64,
    /// See [`ConsumerRecord::hours_paid`].
    pub hours_paid: u32,
    /// See [`ConsumerRecord::retries`].
    pub retries: u32,
    /// See [`ConsumerRecord::providers`].
    pub providers: Option<Eligible>,
    /// See [`ConsumerRecord::previous`].
    pub previous: Option<AgreementId>,
}

impl From<NewAgreement> for ConsumerRecord {
    fn from(new: NewAgreement) -> Self {
        Self {
            announcement: new.announcement,
            service: new.service,
            scenario: new.scenario,
            requested_ms: new.requested_ms,
            offers_wanted: new.offers_wanted,
            bid_window_ms: new.bid_window_ms,
            hours_paid: new.hours_paid,
            retries: new.retries,
            providers: new.providers,
            previous: new.previous,
            next: None,
            want: Want::Run,
            chosen_by_hand: None,
            award: None,
            sealed_endpoint: None,
            endpoint: None,
            stage: Stage::Home,
            check_failed: None,
            work: None,
            timeline: Timeline::default(),
            outcome: None,
        }
    }
}

impl ConsumerRecord {
    /// The agreement's id.
    pub fn id(&self) -> AgreementId {
        self.announcement.id
    }

    /// Whether the policy may choose this domain, whatever it bids.
    pub fn may_provide(&self, account: Account) -> bool {
        self.providers
            .as_ref()
            .is_none_or(|eligible| eligible.qualified.contains(&account))
    }

    /// The provider that was chosen, until the agreement is over here.
    pub fn partner(&self) -> Option<Account> {
        let award = self.award.as_ref().filter(|_| self.outcome.is_none())?;
        Some(award.bid.bidder)
    }
}

/// A choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Award {
    /// The bid that is taken.
    pub bid: Bid,
    /// What its bidder alone must know.
    pub sealed_parameters: Vec<u8>,
}

/// What the connectivity check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkSeen {
    /// Work done by the provider when the check began.
    pub before: u64,
    /// Work done by the provider when the check was satisfied.
    pub after: u64,
}

/// An agreement in which this domain is, or would like to be, the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRecord {
    /// The agreement.
    pub id: AgreementId,
    /// Who asks.
    pub creator: Account,
    /// What it asks for. Reserved from before the bid is sent until there is an outcome.
    pub requirements: Terms,
    /// SHA-256 of the manifest.
    pub manifest_hash: Hash,
    /// Whether the manifest lies here.
    #[serde(default)]
    pub manifest: ManifestCopy,
    /// What this domain offers.
    pub offer: Terms,
    /// Wei per hour.
    pub price_per_hour: Price,
    /// How often the owner has changed the bid by hand. It tells a bid from an earlier one of the same price.
    #[serde(default)]
    pub bid_round: u32,
    /// Whether the bid is final on the ledger.
    pub bid_placed: bool,
    /// What came with the award, sealed to this domain.
    #[serde(with = "optional_hex")]
    pub sealed_parameters: Option<Vec<u8>>,
    /// What the owner wants.
    pub want: Want,
    /// The sealed endpoint, once everything runs. Sealing is randomised, so it is kept to be sent again as it is.
    #[serde(with = "optional_hex")]
    pub sealed_endpoint: Option<Vec<u8>>,
    /// Why it can't be deployed, if that is final.
    pub failed: Option<String>,
    /// Whether anything may have been deployed (written before it is).
    pub deploying: bool,
    /// Whether this domain ends a service that the consumer may be using (written before the ledger is told).
    pub leaving: bool,
    /// Whether it has been taken down again.
    pub torn_down: bool,
    /// Unix milliseconds since when the ledger does not know the agreement, which it did.
    #[serde(default)]
    pub missing_since_ms: Option<u64>,
    /// Steps taken here.
    pub timeline: Timeline,
    /// The end, when there is one.
    pub outcome: Option<Outcome>,
}

/// A provider's copy of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ManifestCopy {
    /// It has to be fetched.
    Wanted {
        /// Why nobody has given it so far, if it was tried.
        trouble: Option<String>,
    },
    /// It was fetched, checked against its hash, and is acceptable.
    Kept,
}

impl Default for ManifestCopy {
    fn default() -> Self {
        Self::Wanted { trouble: None }
    }
}

impl ManifestCopy {
    /// Why it is not here, if it was tried.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Wanted { trouble } => trouble.as_deref(),
            Self::Kept => None,
        }
    }
}

impl ProviderRecord {
    /// The consumer that has chosen this domain, until the agreement is over here.
    pub fn partner(&self) -> Option<Account> {
        let chosen = self.sealed_parameters.is_some() && self.outcome.is_none();
        chosen.then_some(self.creator)
    }

    /// Whether it ended because another domain was chosen or the agreement was gone, and not by its owner's wish.
    pub fn is_lost(&self) -> bool {
        self.outcome == Some(Outcome::Lost) && self.want == Want::Run && self.failed.is_none()
    }

    /// The namespace in which the agreement's workload runs: one for each agreement, so that nothing collides and
    /// one deletion takes all of it.
    pub fn namespace(&self) -> String {
        namespace_of(self.id)
    }
}

/// See [`ProviderRecord::namespace`].
pub fn namespace_of(id: AgreementId) -> String {
    format!("hanse-{}", hex::encode(&id.0[..8]))
}

mod optional_hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&hex::encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| hex::decode(text).map_err(serde::de::Error::custom))
            .transpose()
    }
}
