//! Peers: the other domains, as the swarms see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use serde_json::Value;

use super::{CallError, Controller, Pass, Shared, apply, apply_status, within};
use crate::credentials::CONDITION_RECEIVED;
use crate::model::{MANAGED_BY, MANAGER, Peer, PeerStatus};
use crate::plan::{PeerKey, WantedPeer, holds, peer_status, publications, wanted_peers};

/// How many Peers are written at a time.
const WRITES: usize = 16;

/// The controller.
pub struct Peers {
    shared: Arc<Shared>,
}

/// What is to be done about a Peer.
enum Write {
    Put(PeerKey, WantedPeer, Option<Arc<Peer>>),
    Delete(PeerKey, Arc<Peer>),
}

impl Controller for Peers {
    async fn pass(&mut self) -> Pass {
        let mut pass = Pass::default();
        let writes = self.writes();
        let mut done = stream::iter(writes)
            .map(|write| self.write(write))
            .buffer_unordered(WRITES);
        while let Some((key, done)) = done.next().await {
            pass.check(
                || format!("Peer {}/{} could not be written", key.namespace, key.name),
                done,
            );
        }
        pass
    }
}

impl Peers {
    /// One.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What differs.
    fn writes(&self) -> Vec<Write> {
        let now = self.shared.swarms.now();
        let Some(entries) = &now.entries else {
            return Vec::new();
        };
        let plan = publications(&self.shared.identities.state(), &self.shared.pools.state(), entries);
        let wanted = wanted_peers(&plan.claims, |id| Some(now.members.get(id)?.view()));
        let mut existing: BTreeMap<PeerKey, Arc<Peer>> = self
            .shared
            .peers
            .state()
            .into_iter()
            .map(|peer| {
                let key = PeerKey {
                    namespace: peer.namespace().unwrap_or_default(),
                    name: peer.name_any(),
                };
                (key, peer)
            })
            .collect();
        let mut writes = Vec::new();
        for (key, wanted) in wanted {
            let peer = existing.remove(&key);
            if peer.as_ref().is_none_or(|peer| !is_as_wanted(peer, &key, &wanted)) {
                writes.push(Write::Put(key, wanted, peer));
            }
        }
        for (key, peer) in existing {
            let ours = peer.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
            let ending = peer.metadata.deletion_timestamp.is_some();
            // Where an Identity waits for its swarm, nobody knows yet who is there.
            if ours && !ending && !plan.unsettled.contains(&key.namespace) {
                writes.push(Write::Delete(key, peer));
            }
        }
        writes
    }

    async fn write(&self, write: Write) -> (PeerKey, Result<(), CallError>) {
        match write {
            Write::Put(key, wanted, existing) => {
                let done = self.put(&key, &wanted, existing).await;
                (key, done)
            }
            Write::Delete(key, peer) => {
                let params = DeleteParams::default().preconditions(Preconditions {
                    uid: peer.uid(),
                    resource_version: None,
                });
                let done = within(self.shared.api::<Peer>(&key.namespace).delete(&key.name, &params)).await;
                let done = match done {
                    Err(error) if error.code() == Some(404) => Ok(()),
                    done => done.map(|_| ()),
                };
                (key, done)
            }
        }
    }

    async fn put(&self, key: &PeerKey, wanted: &WantedPeer, existing: Option<Arc<Peer>>) -> Result<(), CallError> {
        let api = self.shared.api::<Peer>(&key.namespace);
        let object = wanted.object(key);
        let peer = match existing {
            Some(peer) if has(&peer, &object) => peer,
            _ => Arc::new(apply(&api, &key.name, &object).await?),
        };
        let generation = peer.metadata.generation.unwrap_or_default();
        let old = own_status(&peer);
        let old = old.as_ref();
        let (status, transitions) = peer_status(old, wanted.presence, generation, Timestamp::now());
        if old != Some(&status) {
            apply_status(&*peer, &api, &status).await?;
            self.shared.events.tell(&*peer, &transitions);
        }
        Ok(())
    }
}

/// The status without the condition that is written where credentials are.
fn own_status(peer: &Peer) -> Option<PeerStatus> {
    let mut status = peer.status.clone();
    if let Some(status) = &mut status {
        status
            .conditions
            .retain(|condition| condition.kind != CONDITION_RECEIVED);
    }
    status
}

/// Whether spec, labels, annotations and owners are as wanted.
fn has(peer: &Peer, object: &Value) -> bool {
    let live = serde_json::to_value(peer).unwrap_or_default();
    // `holds` lets maps have more than is wanted; a Peer's spec is wholly ours.
    live["spec"] == object["spec"] && holds(&live["metadata"], &object["metadata"])
}

fn is_as_wanted(peer: &Peer, key: &PeerKey, wanted: &WantedPeer) -> bool {
    let generation = peer.metadata.generation.unwrap_or_default();
    let old = own_status(peer);
    let old = old.as_ref();
    let (status, _) = peer_status(old, wanted.presence, generation, Timestamp::UNIX_EPOCH);
    old == Some(&status) && has(peer, &wanted.object(key))
}
