//! What the swarm's routes answer.

use std::collections::HashMap;

use hanse_agreement::Account;
use hanse_swarm::model::Party;
use hanse_swarm::peers::Presence;
use hanse_swarm::relay::{Reachability, Route};
use hanse_swarm::service::{PeerView, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How this domain is in its swarm.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwarmPage {
    /// This domain's name in the swarm.
    pub peer_id: String,
    /// What may be shown of the swarm's key: that of every other domain must be the same.
    pub fingerprint: String,
    /// Where the others call this domain.
    pub addresses: Vec<String>,
    /// How many peers are connected, domains and others.
    pub connected: usize,
    /// How many other domains are known.
    pub peers: usize,
    /// Records that are held for the swarm.
    pub held_records: usize,
    /// Whether holders have taken this domain's record; absent if it publishes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<bool>,
    /// Bootstrap members that do not answer.
    pub unreachable: Vec<UnreachablePage>,
    /// Whether others can call this domain: `reachable`, `hidden` (behind a gateway, or the configuration says so), or `unknown`.
    pub reachability: String,
    /// Peer ids of the relays over which it can be called.
    pub relays: Vec<String>,
    /// How many domains can be called over this one.
    pub reservations_served: usize,
    /// How many connections of others this domain carries.
    pub circuits_served: usize,
}

/// A bootstrap member that does not answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnreachablePage {
    /// Where it was called; it is called again and again.
    pub address: String,
    /// What happened last.
    pub reason: String,
    /// How often it was called in vain, one call after another.
    pub calls: u32,
    /// When it is called next (ms since 1970).
    pub next_call_ms: u64,
}

impl SwarmPage {
    /// Of what the swarm says of itself.
    pub fn new(peer_id: String, peers: usize, status: &Status) -> Self {
        let unreachable = status.unreachable.iter().map(|it| UnreachablePage {
            address: it.address.to_string(),
            reason: it.reason.clone(),
            calls: it.calls,
            next_call_ms: it.next_call.0,
        });
        let reachability = match status.reachability {
            Reachability::Unknown => "unknown",
            Reachability::Reachable => "reachable",
            Reachability::Hidden => "hidden",
        };
        Self {
            peer_id,
            fingerprint: status.fingerprint.to_string(),
            addresses: status.addresses.iter().map(ToString::to_string).collect(),
            connected: status.connected,
            peers,
            held_records: status.held_records,
            published: status.published,
            unreachable: unreachable.collect(),
            reachability: reachability.into(),
            relays: status.relays.iter().map(ToString::to_string).collect(),
            reservations_served: status.reservations_served,
            circuits_served: status.circuits_served,
        }
    }
}

/// Another domain of the swarm.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerPage {
    /// Its name in the swarm.
    pub peer_id: String,
    /// What it calls itself.
    pub name: String,
    /// What it says about itself.
    pub description: String,
    /// Where it says that it can be called.
    pub url: String,
    /// What it offers.
    pub categories: Vec<String>,
    /// `online`, `offline`, or `unproven` as long as nobody has tried.
    pub presence: String,
    /// How many looks it missed one after another.
    pub missed: u32,
    /// Since when it is known (ms since 1970).
    pub since_ms: u64,
    /// Name of the member of this domain's consortium that it is, as the ledger says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What it says of itself as a party of agreements: its ledger account, all that it runs for others (nothing at present if
    /// `capacity` is absent), and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub party: Option<Party>,
    /// The consortium that it says it is a member of (hash of its genesis document).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// How it is connected now: `direct`, or `relayed` over a member; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Where it can be called in the swarm, as far as it is known here.
    pub addresses: Vec<String>,
}

impl PeerPage {
    /// Of a peer as it is seen; `members` has the names and accounts of the members by peer id.
    pub fn new(peer: &PeerView, members: &HashMap<String, (String, Account)>) -> Self {
        let identity = &peer.identity;
        let peer_id = peer.name.to_string();
        // An earlier version does not say which account it has.
        let is_it =
            |(_, account): &&(String, Account)| identity.party().is_none_or(|party| party.account() == *account);
        let (presence, missed) = match peer.presence {
            Presence::Unproven => ("unproven", 0),
            Presence::Online => ("online", 0),
            Presence::Offline { missed } => ("offline", missed),
        };
        Self {
            member: members.get(&peer_id).filter(is_it).map(|(name, _)| name.clone()),
            peer_id,
            name: identity.name().to_string(),
            description: identity.description().to_string(),
            url: identity.url().as_str().to_owned(),
            categories: identity.categories().iter().map(ToString::to_string).collect(),
            presence: presence.into(),
            missed,
            since_ms: peer.since.0,
            party: identity.party().cloned(),
            claims: identity.membership().map(|claim| claim.genesis.into()),
            connection: peer.route.map(|route| match route {
                Route::Direct => "direct".into(),
                Route::Relayed => "relayed".into(),
            }),
            addresses: peer.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}
