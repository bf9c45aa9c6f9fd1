//! Which Peers there are to be, and with what status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hanse_swarm::peers::Presence;
use hanse_swarm::service::PeerView;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{Finding, Transition, merged};
use super::publication::{Claim, Owner};
use crate::model::{
    Category, GROUP, MANAGED_BY, MANAGER, PEER_ID, PeerPresence, PeerSpec, PeerStatus, SWARMS, Truth, VERSION,
};
use crate::swarms::{SwarmId, View};

/// Where a Peer is and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerKey {
    /// The namespace of the Identity that speaks in the swarm.
    pub namespace: String,
    /// The peer id in lower case.
    pub name: String,
}

/// A Peer that is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedPeer {
    /// Its peer id as it is written.
    pub peer_id: String,
    /// What it says of itself.
    pub spec: PeerSpec,
    /// Whether it answers.
    pub presence: Presence,
    /// In which swarms it is.
    pub swarms: BTreeSet<SwarmId>,
    /// The Identities through which it is known; it goes with the last of them.
    pub owners: BTreeSet<Owner>,
}

/// Every domain of every swarm in which an Identity speaks. A domain that is in two swarms of one namespace is one Peer, as the
/// swarm sees it in which it is there more.
pub fn wanted_peers(
    claims: &BTreeMap<SwarmId, Claim>,
    view: impl Fn(&SwarmId) -> Option<Arc<View>>,
) -> BTreeMap<PeerKey, WantedPeer> {
    let mut wanted: BTreeMap<PeerKey, WantedPeer> = BTreeMap::new();
    for (id, claim) in claims {
        let Some(view) = view(id) else { continue };
        for peer in &view.peers {
            let peer_id = peer.name.to_string();
            let key = PeerKey {
                namespace: claim.owner.namespace.clone(),
                name: peer_id.to_lowercase(),
            };
            let entry = wanted.entry(key).or_insert_with(|| WantedPeer {
                peer_id,
                spec: spec(peer),
                presence: peer.presence,
                swarms: BTreeSet::new(),
                owners: BTreeSet::new(),
            });
            if absence(peer.presence) < absence(entry.presence) {
                (entry.spec, entry.presence) = (spec(peer), peer.presence);
            }
            entry.swarms.insert(id.clone());
            entry.owners.insert(claim.owner.clone());
        }
    }
    wanted
}

/// How far from being there.
fn absence(presence: Presence) -> u64 {
    match presence {
        Presence::Online => 0,
        Presence::Unproven => 1,
        Presence::Offline { missed } => 1 + u64::from(missed),
    }
}

fn spec(peer: &PeerView) -> PeerSpec {
    let identity = &peer.identity;
    PeerSpec {
        categories: identity
            .categories()
            .iter()
            .map(|category| Category {
                name: category.as_str().to_owned(),
            })
            .collect(),
        description: identity.description().as_str().to_owned(),
        name: identity.name().as_str().to_owned(),
        url: identity.url().as_str().to_owned(),
    }
}

impl WantedPeer {
    /// The object, as it is applied.
    pub fn object(&self, key: &PeerKey) -> Value {
        let swarms: Vec<String> = self.swarms.iter().map(ToString::to_string).collect();
        let owners: Vec<Value> = self
            .owners
            .iter()
            .map(|owner| {
                json!({
                    "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Identity", "name": owner.name, "uid": owner.uid,
                })
            })
            .collect();
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Peer",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "labels": {MANAGED_BY: MANAGER},
                "annotations": {PEER_ID: self.peer_id, SWARMS: swarms.join(",")},
                "ownerReferences": owners,
            },
            "spec": self.spec,
        })
    }
}

/// The status of a Peer that had the status `old`, and what is worth an event. That a Peer is there for the first time is none: fifty of
/// them would say what the objects say.
pub fn peer_status(
    old: Option<&PeerStatus>,
    presence: Presence,
    generation: i64,
    now: Timestamp,
) -> (PeerStatus, Vec<Transition>) {
    let (status, missing_counter, finding) = match presence {
        Presence::Online => (
            PeerPresence::Online,
            0,
            Finding::good("Online", "Answers", "the domain answered the last look"),
        ),
        Presence::Offline { missed } => (
            PeerPresence::Offline,
            missed,
            Finding::bad(
                "Online",
                "DoesNotAnswer",
                "the domain can't be reached; it is looked after further, and removed when it missed too many looks",
            ),
        ),
        Presence::Unproven => (
            PeerPresence::Unknown,
            0,
            Finding::new(
                "Online",
                Truth::Unknown,
                "NotLookedYet",
                "the domain's record is there; nobody has tried to reach it yet",
            ),
        ),
    };
    let before = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
    let (conditions, mut transitions) = merged(before, &[finding], generation, now);
    // A domain is looked after as soon as it is known: that it answers then is nothing new either.
    let was_told = before.iter().any(|before| before.status != Truth::Unknown);
    transitions.retain(|transition| was_told && (transition.warning || status == PeerPresence::Online));
    let status = PeerStatus {
        missing_counter,
        status: Some(status),
        observed_generation: generation,
        conditions,
    };
    (status, transitions)
}
