//! Who says that it is a member of which consortium. Pure. What is said here is proven nowhere: the genesis document that a
//! claimant gives must have the digest, and who is a member says that ledger.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use hanse_swarm::model::Identity;
use hanse_swarm::peers::Presence;
use hanse_swarm::service::PeerView;
use libp2p::PeerId;
use url::Url;

/// A domain that says that it is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its name in the swarm.
    pub peer: PeerId,
    /// What it calls itself.
    pub name: String,
    /// Base URL of its REST API.
    pub api: Url,
}

/// The claimants by the digest of the genesis document.
pub type Claims = BTreeMap<B256, Vec<Claimant>>;

/// Why no consortium can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// Nobody claims what is looked for.
    #[error("none of {peers} other domains says that it is a member of {}", .wanted.map_or("a consortium".into(), |it| format!("the consortium {it}")))]
    Nobody {
        /// How many domains are known.
        peers: usize,
        /// Which consortium is looked for.
        wanted: Option<B256>,
    },
    /// There are more than one.
    #[error("there are several consortia in this swarm; choose one with --genesis:{}", list(.0))]
    Several(Claims),
}

fn list(claims: &Claims) -> String {
    let line = |(digest, claimants): (&B256, &Vec<Claimant>)| {
        let names: Vec<&str> = claimants.iter().map(|claimant| claimant.name.as_str()).collect();
        format!("\n  {digest} (claimed by {})", names.join(", "))
    };
    claims.iter().map(line).collect()
}

fn claimed(identity: &Identity) -> Option<(B256, Url)> {
    let membership = identity.membership()?;
    let api = membership.api.as_ref().unwrap_or_else(|| identity.url());
    let mut api = Url::parse(api.as_str()).ok()?;
    // Paths are joined to it.
    if !api.path().ends_with('/') {
        api.set_path(&format!("{}/", api.path()));
    }
    Some((B256::new(membership.genesis.0), api))
}

/// What the peers claim; of each consortium those first that can be reached.
pub fn claims(peers: &[PeerView]) -> Claims {
    let mut claims = Claims::new();
    let mut peers: Vec<&PeerView> = peers.iter().collect();
    peers.sort_by_key(|peer| match peer.presence {
        Presence::Online => (0, 0),
        Presence::Unproven => (1, 0),
        Presence::Offline { missed } => (2, missed),
    });
    for peer in peers {
        if let Some((digest, api)) = claimed(&peer.identity) {
            claims.entry(digest).or_default().push(Claimant {
                peer: peer.name,
                name: peer.identity.name().to_string(),
                api,
            });
        }
    }
    claims
}

/// The consortium to join, and who claims to be in it.
///
/// # Errors
/// When nobody claims the one that is wanted, or none is wanted and there are several.
pub fn choose(peers: &[PeerView], wanted: Option<B256>) -> Result<(B256, Vec<Claimant>), Unclear> {
    let mut claims = claims(peers);
    if wanted.is_none() && claims.len() > 1 {
        return Err(Unclear::Several(claims));
    }
    let chosen = match wanted {
        Some(digest) => claims.remove_entry(&digest),
        None => claims.pop_first(),
    };
    chosen.ok_or(Unclear::Nobody {
        peers: peers.len(),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hanse_swarm::model::{GenesisDigest, Membership, SealingKey, SwarmAddress, UnixMillis};
    use hanse_swarm::relay::Route;

    use super::*;

    fn peer(name: &str, presence: Presence, genesis: Option<u8>) -> PeerView {
        let identity = Identity::new(
            name.to_owned().try_into().unwrap(),
            String::new().try_into().unwrap(),
            format!("http://{name}.example/hanse").try_into().unwrap(),
            Vec::new(),
            SealingKey([1; 32]),
        );
        let membership = genesis.map(|genesis| Membership {
            genesis: GenesisDigest([genesis; 32]),
            api: None,
            consensus: SwarmAddress::parse("/ip4/192.0.2.1/tcp/1").unwrap(),
        });
        PeerView {
            name: PeerId::random(),
            identity: identity.unwrap().with_membership(membership),
            presence,
            since: UnixMillis(0),
            route: Some(Route::Direct),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn the_only_consortium_is_chosen_and_who_can_be_reached_comes_first() {
        let peers = [
            peer("away", Presence::Offline { missed: 2 }, Some(1)),
            peer("stranger", Presence::Online, None),
            peer("near", Presence::Online, Some(1)),
        ];
        let (digest, claimants) = choose(&peers, None).unwrap();
        assert_eq!(digest, B256::repeat_byte(1));
        let names: Vec<_> = claimants.iter().map(|claimant| claimant.name.as_str()).collect();
        assert_eq!(names, ["near", "away"]);
        assert_eq!(
            claimants[0].api.join("api/v1/x").unwrap().as_str(),
            "http://near.example/hanse/api/v1/x"
        );
    }

    #[test]
    fn of_several_one_must_be_named_and_each_is_listed_with_its_claimants() {
        let peers = [
            peer("a", Presence::Online, Some(1)),
            peer("b", Presence::Online, Some(2)),
            peer("c", Presence::Online, Some(2)),
        ];
        let text = choose(&peers, None).unwrap_err().to_string();
        assert!(text.contains("--genesis") && text.contains("claimed by b, c"), "{text}");
        let (_, claimants) = choose(&peers, Some(B256::repeat_byte(2))).unwrap();
        assert_eq!(claimants.len(), 2);
        let text = choose(&peers, Some(B256::repeat_byte(3))).unwrap_err().to_string();
        assert!(text.contains("none of 3 other domains"), "{text}");
    }
}
