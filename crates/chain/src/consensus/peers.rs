//! Where the other validators are, and which libp2p peer is which validator.
//!
//! A node's libp2p identity is its validator key, so peer ids follow from the validator set: connections to anybody else
//! are refused, and a message's publisher is a validator or is ignored.

use std::collections::{BTreeSet, HashMap, HashSet};

use libp2p::identity::{Keypair, PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::context::ValidatorAddress;
use crate::application::{HeightRules, Validator};
use crate::key::ValidatorKey;

/// Why a validator can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    /// Not a multiaddr.
    #[error("{address:?} is not a multiaddr: {source}")]
    Syntax {
        /// What the contract says.
        address: String,
        /// What is wrong with it.
        source: libp2p::multiaddr::Error,
    },
    /// The engine speaks TCP.
    #[error("{0} is not of the form /ip4/…/tcp/…, /ip6/…/tcp/… or /dns4/…/tcp/…")]
    Transport(Multiaddr),
    /// Not a public key.
    #[error("the validator key is not an Ed25519 public key")]
    Key,
}

/// The libp2p key pair of a validator's node.
pub fn keypair(key: &ValidatorKey) -> Keypair {
    Keypair::ed25519_from_bytes(*key.seed()).expect("any 32 bytes are an Ed25519 seed")
}

/// The libp2p peer id of the validator with this key.
pub fn peer_id(key: &[u8; 32]) -> Result<PeerId, BadAddress> {
    let key = ed25519::PublicKey::try_from_bytes(key).map_err(|_| BadAddress::Key)?;
    Ok(PublicKey::from(key).to_peer_id())
}

/// The address at which to dial a validator, with its peer id at the end so that nobody else can answer.
pub fn dial_address(validator: &Validator) -> Result<Multiaddr, BadAddress> {
    let address = transport_address(&validator.consensus_address)?;
    Ok(address.with(Protocol::P2p(peer_id(&validator.key)?)))
}

/// [`peer_id`], where the key is one.
pub fn validator_peer(key: &[u8; 32]) -> Option<PeerId> {
    peer_id(key).ok()
}

/// The multiaddr with `/p2p/` at its end at which a node can catch up from the validator with this key, if it can be dialed.
pub fn peer_address(consensus_address: &str, key: &[u8; 32]) -> Option<String> {
    let address = transport_address(consensus_address).ok()?;
    Some(address.with(Protocol::P2p(validator_peer(key)?)).to_string())
}

/// Where the consortium says that the validator with this key is, if it is one and can be dialed.
pub fn registered_address(rules: &HeightRules, key: &[u8; 32]) -> Option<Multiaddr> {
    let own = rules.validators.iter().find(|validator| validator.key == *key)?;
    transport_address(&own.consensus_address).ok()
}

/// Parses a consensus address and drops a peer id at its end.
pub fn transport_address(address: &str) -> Result<Multiaddr, BadAddress> {
    let mut parsed: Multiaddr = address.parse().map_err(|source| BadAddress::Syntax {
        address: address.into(),
        source,
    })?;
    if matches!(parsed.iter().last(), Some(Protocol::P2p(_))) {
        parsed.pop();
    }
    let mut protocols = parsed.iter();
    let host = matches!(
        protocols.next(),
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    if !host || !matches!(protocols.next(), Some(Protocol::Tcp(_))) || protocols.next().is_some() {
        return Err(BadAddress::Transport(parsed));
    }
    Ok(parsed)
}

/// The bare identity: lets a node in that can't or shall not be dialed.
fn identity(peer: PeerId) -> Multiaddr {
    Multiaddr::empty().with(Protocol::P2p(peer))
}

fn is_identity(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::P2p(_)))
}

/// Whose address it is.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The peers of one height.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    by_peer: HashMap<PeerId, ValidatorAddress>,
    addresses: BTreeSet<Multiaddr>,
}

impl Peers {
    /// The validators other than `own_key`; while that belongs to none, the `bootstrap` addresses; and the `guests`, who may
    /// connect but are not dialed. An address that can't be dialed is skipped with a warning: its owner may still dial this
    /// node.
    pub fn new(rules: &HeightRules, own_key: &[u8; 32], bootstrap: &[Multiaddr], guests: &[PeerId]) -> Self {
        let mut peers = Self::default();
        if rules.validators.iter().all(|validator| validator.key != *own_key) {
            peers.addresses.extend(bootstrap.iter().cloned());
        }
        for validator in rules.validators.iter().filter(|validator| validator.key != *own_key) {
            let Ok(id) = peer_id(&validator.key) else { continue };
            peers.by_peer.insert(id, ValidatorAddress::of_key(&validator.key));
            match dial_address(validator) {
                Ok(address) => {
                    peers.addresses.insert(address);
                }
                Err(error) => {
                    tracing::warn!(account = %validator.account, %error, "a validator's consensus address can't be dialed");
                    peers.addresses.insert(identity(id));
                }
            }
        }
        for guest in guests.iter().filter(|guest| !peers.by_peer.contains_key(guest)) {
            peers.addresses.insert(identity(*guest));
        }
        peers
    }

    /// How many other validators there are.
    pub fn validators(&self) -> usize {
        self.by_peer.len()
    }

    /// The validator behind a peer id in its byte form.
    pub fn validator(&self, peer: &[u8]) -> Option<ValidatorAddress> {
        self.by_peer.get(&PeerId::from_bytes(peer).ok()?).copied()
    }

    /// Whether a peer is another validator.
    pub fn is_validator(&self, peer: &PeerId) -> bool {
        self.by_peer.contains_key(peer)
    }

    /// All addresses to dial.
    pub fn addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        self.addresses.iter()
    }

    /// The same peers, for an engine that has those of `before`: who was let in as a guest stays so when it is dialed from now
    /// on, since the engine closes the connections of those whom it shall forget.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        let dialed: HashSet<PeerId> = self.addresses.iter().filter_map(peer_of).collect();
        let let_in = before.addresses.iter().filter(|address| is_identity(address));
        let stay: Vec<Multiaddr> = let_in
            .filter(|address| peer_of(address).is_some_and(|peer| dialed.contains(&peer)))
            .cloned()
            .collect();
        self.addresses.extend(stay);
        self
    }

    /// What to add to and to remove from the engine's peers to get from `self` to `next`. The engine forgets a peer with any
    /// address of it, so those that keep another one are added anew.
    pub fn changes_to(&self, next: &Self) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
        let forgotten: HashSet<PeerId> = self.addresses.difference(&next.addresses).filter_map(peer_of).collect();
        let changes = |of: &Self, other: &Self| {
            let is_forgotten = |address: &Multiaddr| peer_of(address).is_some_and(|peer| forgotten.contains(&peer));
            let changed = |address: &&Multiaddr| !other.addresses.contains(*address) || is_forgotten(address);
            of.addresses.iter().filter(changed).cloned().collect()
        };
        (changes(next, self), changes(self, next))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::Address;

    use super::*;
    use crate::genesis::ConsensusParameters;

    #[test]
    fn the_peer_id_of_a_validator_is_that_of_its_node() {
        let key = ValidatorKey::generate();
        assert_eq!(peer_id(&key.public_key()).unwrap(), keypair(&key).public().to_peer_id());
    }

    #[test]
    fn consensus_addresses_are_tcp_multiaddrs() {
        for good in [
            "/ip4/192.0.2.1/tcp/26656",
            "/ip6/2001:db8::1/tcp/1",
            "/dns4/node.example/tcp/26656",
        ] {
            assert_eq!(transport_address(good).unwrap().to_string(), good);
        }
        let id = peer_id(&ValidatorKey::generate().public_key()).unwrap();
        let with_id = format!("/ip4/192.0.2.1/tcp/26656/p2p/{id}");
        assert_eq!(
            transport_address(&with_id).unwrap().to_string(),
            "/ip4/192.0.2.1/tcp/26656"
        );
        for bad in [
            "",
            "192.0.2.1:26656",
            "/ip4/192.0.2.1",
            "/ip4/192.0.2.1/udp/1/quic-v1",
            "/ip4/192.0.2.1/tcp/1/ws",
        ] {
            assert!(transport_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_guest_that_is_admitted_keeps_its_connection_and_one_that_leaves_is_forgotten() {
        let keys = [ValidatorKey::generate(), ValidatorKey::generate()];
        let rules = |validators: usize| HeightRules {
            validators: keys[..validators]
                .iter()
                .map(|key| Validator {
                    account: Address::ZERO,
                    key: key.public_key(),
                    consensus_address: "/ip4/192.0.2.1/tcp/26656".into(),
                })
                .collect(),
            proposers: vec![],
            parameters: ConsensusParameters {
                propose_ms: 1,
                propose_delta_ms: 1,
                vote_ms: 1,
                vote_delta_ms: 1,
                heartbeat_ms: 1,
            },
        };
        let guest = peer_id(&keys[1].public_key()).unwrap();
        let (identity, dialed) = (
            identity(guest),
            Multiaddr::empty()
                .with(Protocol::Ip4([192, 0, 2, 1].into()))
                .with(Protocol::Tcp(26656))
                .with(Protocol::P2p(guest)),
        );
        let own = keys[0].public_key();
        let before = Peers::new(&rules(1), &own, &[], &[guest]);
        let member = Peers::new(&rules(2), &own, &[], &[]).after(&before);
        assert_eq!(before.changes_to(&member), (vec![dialed.clone()], vec![]));

        let gone = Peers::new(&rules(1), &own, &[], &[]).after(&member);
        assert_eq!(
            member.changes_to(&gone),
            (vec![], vec![dialed.clone(), identity.clone()])
        );
        let guest_again = Peers::new(&rules(1), &own, &[], &[guest]).after(&member);
        assert_eq!(
            member.changes_to(&guest_again),
            (vec![identity.clone()], vec![dialed, identity])
        );
    }
}
