//! Whose claim is whose, and who qualifies.
#![allow(clippy::unwrap_used)]

use hanse_swarm::model::{Identity, Party, SealingKey, UnixMillis};
use proptest::prelude::*;

use super::*;

const LARGE: Terms = Terms {
    availability_bps: 10_000,
    latency_ms: 1,
    jitter_ms: 1,
    bandwidth_mbps: 1_000,
    cpu_millicores: 8_000,
    ram_mb: 8_000,
    replicas: 8,
};
const ONE_CORE: Terms = Terms {
    availability_bps: 0,
    latency_ms: 0,
    jitter_ms: 0,
    bandwidth_mbps: 0,
    cpu_millicores: 1_000,
    ram_mb: 0,
    replicas: 1,
};

fn account(number: u8) -> Account {
    Account([number; 20])
}

fn member(number: u8, peer: Option<PeerId>) -> Member {
    Member {
        account: account(number),
        name: format!("domain-{number}"),
        url: String::new(),
        sealing_key: [0; 32],
        validator_key: [0; 32],
        consensus_address: String::new(),
        peer,
    }
}

fn peer(name: PeerId, claims: Option<u8>, categories: &[&str], capacity: Option<Terms>) -> PeerView {
    let categories = categories.iter().map(|text| (*text).to_owned().try_into().unwrap());
    let identity = Identity::new(
        "whatever it likes".to_owned().try_into().unwrap(),
        String::new().try_into().unwrap(),
        "https://192.0.2.1".to_owned().try_into().unwrap(),
        categories.collect(),
        SealingKey([1; 32]),
    );
    let party = claims.map(|number| Party::new(account(number), capacity, None).unwrap());
    PeerView {
        name,
        identity: identity.unwrap().with_party(party),
        presence: Presence::Online,
        since: UnixMillis(0),
        route: Some(hanse_swarm::relay::Route::Direct),
        addresses: Vec::new(),
    }
}

fn asked(categories: &[&str]) -> Providers {
    Providers {
        categories: categories.iter().map(ToString::to_string).collect(),
        ..Providers::default()
    }
}

#[test]
fn who_qualifies_is_who_says_so_under_its_own_account_and_each_other_is_told_why_not() {
    let peers: Vec<PeerId> = (0..6).map(|_| PeerId::random()).collect();
    let members = [
        member(0, Some(peers[0])),
        member(1, Some(peers[1])),
        member(2, Some(peers[2])),
        member(3, Some(peers[3])),
        // On the ledger it claims to be the peer of another.
        member(4, Some(peers[1])),
        // Its record claims to be of the account of another.
        member(5, Some(peers[5])),
    ];
    let views = [
        peer(peers[0], Some(0), &["gpu"], Some(LARGE)),
        peer(peers[1], Some(1), &["gpu"], Some(LARGE)),
        peer(peers[2], Some(2), &["edge"], Some(LARGE)),
        peer(peers[3], Some(3), &["gpu"], None),
        peer(peers[5], Some(1), &["gpu"], Some(LARGE)),
    ];
    let candidates = candidates(&members, &views, account(0));
    let (qualified, unfit) = sift(&asked(&["gpu"]), &ONE_CORE, &candidates);
    assert_eq!(qualified, BTreeSet::from([account(1)]));
    let unfit: Vec<(&str, &str)> = unfit
        .iter()
        .map(|it| (it.domain.as_str(), it.reasons[0].as_str()))
        .collect();
    let unseen = "is not known in the swarm under its ledger account, so what it offers is not known";
    assert_eq!(
        unfit,
        [
            ("domain-2", "does not say that it offers gpu"),
            ("domain-3", "runs nothing for others at present"),
            ("domain-4", unseen),
            ("domain-5", unseen),
        ]
    );
    // By name, what is not known of a member is left to its bid.
    let by_name = Providers {
        domains: vec!["domain-4".into()],
        ..Providers::default()
    };
    assert_eq!(sift(&by_name, &ONE_CORE, &candidates).0, BTreeSet::from([account(4)]));
    assert_eq!(unknown_domain(&by_name, &members), None);
    let unknown = Providers {
        domains: vec![account(3).to_string(), "domain-9".into()],
        ..Providers::default()
    };
    assert_eq!(unknown_domain(&unknown, &members).unwrap(), "domain-9");
}

#[test]
fn who_qualifies_when_its_bid_comes_is_added_and_nobody_is_taken_away() {
    let peers: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
    let members: Vec<Member> = (0..3)
        .map(|number| member(number, Some(peers[usize::from(number)])))
        .collect();
    let views = [
        peer(peers[1], Some(1), &["edge"], None),
        peer(peers[2], Some(2), &["gpu"], None),
    ];
    let eligible = Eligible {
        asked: asked(&["gpu"]),
        qualified: BTreeSet::from([account(1)]),
    };
    let bid = |number| Bid {
        bidder: account(number),
        price_per_hour: hanse_agreement::Price(1),
        sequence: number.into(),
        location: String::new(),
        offer: LARGE,
    };
    let candidates = candidates(&members, &views, account(0));
    assert_eq!(newly_qualified(&eligible, &[bid(1)], &candidates), BTreeSet::new());
    assert_eq!(
        newly_qualified(&eligible, &[bid(1), bid(2)], &candidates),
        BTreeSet::from([account(2)])
    );
}

proptest! {
    #[test]
    fn a_peer_is_a_member_if_ledger_and_record_say_so(
        on_ledger in prop::collection::vec(prop::option::of(0..4_usize), 4),
        in_records in prop::collection::vec(prop::option::of(0..4_u8), 4),
    ) {
        let names: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        let members: Vec<Member> =
            (0..).zip(&on_ledger).map(|(number, peer)| member(number, peer.map(|peer| names[peer]))).collect();
        let views: Vec<PeerView> =
            names.iter().zip(&in_records).map(|(name, claims)| peer(*name, *claims, &[], None)).collect();
        let tied = in_swarm(&members, &views);
        for (index, number) in (0..4_usize).zip(0..4_u8) {
            let both = on_ledger[index].filter(|peer| in_records[*peer] == Some(number));
            prop_assert_eq!(tied.get(&account(number)).map(|peer| peer.name), both.map(|peer| names[peer]));
        }
    }
}
