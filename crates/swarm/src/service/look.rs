//! Looking after the peers: who answers, who does not, and whom to call.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::kad::{self, QueryId};
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};

use super::run::Run;
use super::{StartError, Unreachable, now, off_thread};
use crate::model::{AddressError, SwarmAddress, UnixMillis};
use crate::record::Announcement;

/// How many peers are called at a tick, so that a swarm of thousands is looked after slowly and not all at once.
const LOOKS: usize = 32;
/// Bootstrap members that do not answer are called again after this long, then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// But at least so often.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A bootstrap member, and how calling it went.
#[derive(Debug)]
pub(super) struct Bootstrap {
    address: SwarmAddress,
    peer: PeerId,
    call_at: UnixMillis,
    pause: Duration,
    calls: u32,
    trouble: Option<String>,
}

impl Bootstrap {
    pub fn new(address: &SwarmAddress) -> Result<Self, AddressError> {
        Ok(Self {
            peer: address.peer()?,
            address: address.clone(),
            call_at: UnixMillis(0),
            pause: FIRST_RETRY,
            calls: 0,
            trouble: None,
        })
    }

    /// What happened when it was called last, if it does not answer.
    pub fn trouble(&self) -> Option<Unreachable> {
        Some(Unreachable {
            address: self.address.clone(),
            reason: self.trouble.clone()?,
            calls: self.calls,
            next_call: self.call_at,
        })
    }

    /// Whether it is this member.
    pub fn is(&self, peer: &PeerId) -> bool {
        self.peer == *peer
    }

    fn answers(&mut self) {
        (self.pause, self.calls, self.trouble) = (FIRST_RETRY, 0, None);
    }

    /// Whether to call it now; if so, the next call is later than the one before was.
    fn is_due(&mut self, now: UnixMillis) -> bool {
        let clock_went_back = self.call_at > now.plus(LAST_RETRY);
        if self.call_at > now && !clock_went_back {
            return false;
        }
        self.call_at = now.plus(self.pause);
        self.pause = (self.pause * 2).min(LAST_RETRY);
        self.calls = self.calls.saturating_add(1);
        true
    }
}

impl Run {
    /// Takes up who was known before the restart.
    pub(super) async fn remember_peers(&mut self) -> Result<(), StartError> {
        let (store, now) = (self.store.clone(), now());
        for (name, record) in off_thread(move || store.peers()).await? {
            if let Ok(announcement) = Announcement::check(&name, &record, now) {
                // Only what is expired or no longer fits is refused.
                let _ = self.member.table.announced(announcement, now);
            }
        }
        let store = self.store.clone();
        for (name, places) in off_thread(move || store.places()).await? {
            for place in places.lines().filter_map(|place| SwarmAddress::parse(place).ok()) {
                let address = place.multiaddr().clone();
                self.swarm.behaviour_mut().kad.add_address(&name, address);
            }
        }
        Ok(())
    }

    /// Calls those who are to be looked at.
    pub(super) fn look(&mut self, now: UnixMillis) {
        self.choose_neighbours();
        let (looks, effects) = self.member.looks(now, LOOKS);
        self.carry_out(effects);
        for name in looks {
            if let Some(reason) = self.not_called(&name) {
                self.call_failed(Some(name), reason);
                continue;
            }
            let said = self.member.table.get(&name).map(|peer| peer.identity().addresses());
            // A relay needs no circuit to those that it carries for: they are connected, or gone.
            let said = said
                .unwrap_or_default()
                .iter()
                .filter(|it| it.relay() != Some(self.name));
            let addresses = said.map(|it| it.multiaddr().clone());
            let call = DialOpts::peer_id(name)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses.collect())
                .extend_addresses_through_behaviour()
                .build();
            let connection = call.connection_id();
            match self.swarm.dial(call) {
                Ok(()) => {
                    self.looking.insert(connection);
                }
                // Called already, or too much is going on here: that says nothing about the peer.
                Err(DialError::DialPeerConditionFalse(_) | DialError::Denied { .. }) => {}
                Err(DialError::NoAddresses) => self.ask_for_address(name),
                Err(error) => self.call_failed(Some(name), &error.to_string()),
            }
        }
    }

    /// Asks the members that are nearest to the name where it can be called. The question is not asked twice at a time.
    fn ask_for_address(&mut self, name: PeerId) {
        if !self.whereabouts.values().any(|asked| *asked == name) {
            let query = self.swarm.behaviour_mut().kad.get_closest_peers(name);
            self.whereabouts.insert(query, name);
        }
    }

    /// Those who were asked for an address have answered.
    pub(super) fn address_found(&mut self, query: QueryId, result: kad::GetClosestPeersResult, last: bool) {
        if !last {
            return;
        }
        let Some(name) = self.whereabouts.remove(&query) else {
            return;
        };
        let peers = match result {
            Ok(found) => found.peers,
            Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        let addresses: Vec<_> = peers
            .into_iter()
            .filter(|peer| peer.peer_id == name)
            .flat_map(|peer| peer.addrs)
            .filter_map(|address| Some(SwarmAddress::new(address).ok()?.multiaddr().clone()))
            .collect();
        if addresses.is_empty() {
            return self.call_failed(Some(name), "nobody who was asked knows its address");
        }
        let call = DialOpts::peer_id(name)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .build();
        if let Err(error) = self.swarm.dial(call) {
            tracing::debug!(peer = %name, %error, "a peer is not called");
        }
    }

    /// A peer answers.
    pub(super) fn answers(&mut self, name: PeerId) {
        self.talk(|member, _| member.reached(name, now()));
    }

    /// A peer said who it is, so it has let this domain in.
    pub(super) fn bootstrap_answers(&mut self, name: &PeerId) {
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.peer == *name) {
            bootstrap.answers();
        }
    }

    /// The last connection with a peer was closed.
    pub(super) fn bootstrap_closed(&mut self, name: &PeerId) {
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.peer == *name) {
            if bootstrap.calls > 0 {
                let reason = "it closed the connection at once: it is full, or it does not let this domain in";
                bootstrap.trouble = Some(reason.to_owned());
            }
        }
    }

    pub(super) fn call_failed(&mut self, name: Option<PeerId>, reason: &str) {
        let Some(name) = name else { return };
        let fingerprint = self.config.key.fingerprint();
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.peer == name) {
            let hint = format!("{reason}; if it runs, compare its swarm key's fingerprint with ours, {fingerprint}");
            bootstrap.trouble = Some(hint);
        }
        if self.swarm.is_connected(&name) {
            return;
        }
        self.talk(|member, _| member.missed(name, now()));
        if self.member.table.get(&name).is_none() {
            // The routing table never forgets by itself.
            self.swarm.behaviour_mut().kad.remove_peer(&name);
        }
    }

    /// Calls bootstrap members that are not connected.
    pub(super) fn call_bootstrap(&mut self, now: UnixMillis) {
        for bootstrap in &mut self.bootstrap {
            if self.swarm.is_connected(&bootstrap.peer) || !bootstrap.is_due(now) {
                continue;
            }
            let addresses = vec![bootstrap.address.multiaddr().clone()];
            let call = DialOpts::peer_id(bootstrap.peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .build();
            if let Err(error) = self.swarm.dial(call) {
                tracing::debug!(address = %bootstrap.address, %error, "a bootstrap member is not called");
            }
        }
    }
}
