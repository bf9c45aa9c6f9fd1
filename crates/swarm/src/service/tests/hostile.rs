//! Members that lie, change their names, or are cut off from each other.

use libp2p::futures::StreamExt;
use libp2p::kad::{self, Quorum};
use libp2p::swarm::SwarmEvent;

use super::*;
use crate::network::{Behaviour, behaviour, transport};
use crate::record::{IpnsRecord, routing_key};

/// A node with the swarm's key that does as it likes.
pub(super) fn stranger(swarm_key: &SwarmKey, key: DomainKey) -> libp2p::Swarm<Behaviour> {
    let config = SwarmConfig::new(swarm_key.clone(), key, sealing(66), std::env::temp_dir());
    let (circuits, asked) = libp2p_relay::client::new(config.domain.peer_id());
    let transport = transport(&config.key, config.domain.keypair(), circuits).unwrap();
    let executor = libp2p::swarm::Config::with_tokio_executor();
    libp2p::Swarm::new(transport, behaviour(&config, asked), config.domain.peer_id(), executor)
}

pub(super) async fn connect(stranger: &mut libp2p::Swarm<Behaviour>, to: &SwarmAddress) {
    stranger.dial(to.multiaddr().clone()).unwrap();
    let connected = async {
        while !matches!(
            stranger.select_next_some().await,
            SwarmEvent::ConnectionEstablished { .. }
        ) {}
    };
    tokio::time::timeout(SOON, connected).await.expect("it is let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_record_is_neither_held_nor_believed() {
    let swarm_key = SwarmKey::generate();
    let victim = Domain::start(&swarm_key, 1, &[]).await;
    let honest = Domain::start(&swarm_key, 2, &[victim.address().await]).await;
    honest.swarm.publish(statement(2, "the truth")).await.unwrap();
    victim.until_online(honest.swarm.name()).await;
    honest
        .until_status("it is held", |status| status.published == Some(true))
        .await;

    // A newer one in its name, but with another's key.
    let name = honest.swarm.name();
    let lie = statement(2, "a lie").to_path().unwrap();
    let day = Duration::from_secs(86_400);
    let forged = IpnsRecord::sign(&key(66), &lie, u64::from(u32::MAX) << 20, now().plus(day), day).unwrap();
    let mut stranger = stranger(&swarm_key, key(66));
    connect(&mut stranger, &victim.address().await).await;
    let kad = &mut stranger.behaviour_mut().kad;
    kad.add_address(&victim.swarm.name(), victim.address().await.multiaddr().clone());
    let record = kad::Record::new(routing_key(&name), forged.bytes().to_vec());
    let put = kad.put_record(record, Quorum::One).unwrap();
    let is_over = async {
        loop {
            if let SwarmEvent::Behaviour(crate::network::BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                ..
            })) = stranger.select_next_some().await
                && id == put
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, is_over).await.expect("the put ends");
    let held = victim.swarm.look_up(name).await.unwrap();
    let held = held.statement().identity().unwrap().description().as_str().to_owned();
    assert_eq!(held, "the truth");
    let seen = victim.sees(name).await.unwrap();
    assert_eq!(seen.identity.description().as_str(), "the truth");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_name_of_another_takes_nothing_else() {
    let swarm_key = SwarmKey::generate();
    let first = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [first.address().await];
    let second = Domain::start(&swarm_key, 2, &bootstrap).await;
    let mallory = Domain::start(&swarm_key, 3, &bootstrap).await;
    second.swarm.publish(statement(2, "the true one")).await.unwrap();
    mallory.swarm.publish(statement(3, "myself")).await.unwrap();
    first.until_online(second.swarm.name()).await;
    first.until_online(mallory.swarm.name()).await;
    let mut changes = first.swarm.changes();

    // "Cluster 2" is what the second domain calls itself.
    let statement = statement_of(3, "Cluster 2", "the true one");
    mallory.swarm.publish(statement).await.unwrap();
    let called_so = |peer: Option<&PeerView>| peer.unwrap().identity.name().as_str() == "Cluster 2";
    first
        .until(mallory.swarm.name(), "it has another name", called_so)
        .await;
    let peers = first.swarm.peers().await.unwrap();
    assert_eq!(peers.len(), 2);
    let true_one = peers.iter().find(|peer| peer.name == second.swarm.name()).unwrap();
    assert_eq!(true_one.presence, Presence::Online);
    // Whom one seals to is still another key: it is the peer id's.
    while let Ok(change) = changes.try_recv() {
        assert_eq!(change, Change::Updated(mallory.swarm.name()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_that_was_split_in_two_grows_together() {
    let swarm_key = SwarmKey::generate();
    let first = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [first.address().await];
    let domains = [
        first,
        Domain::start(&swarm_key, 2, &bootstrap).await,
        Domain::start(&swarm_key, 3, &bootstrap).await,
        Domain::start(&swarm_key, 4, &bootstrap).await,
    ];
    for (tag, domain) in (1..).zip(&domains) {
        domain.swarm.publish(statement(tag, "before")).await.unwrap();
    }
    for domain in &domains {
        for other in domains.iter().filter(|other| other.swarm.name() != domain.swarm.name()) {
            domain.until_online(other.swarm.name()).await;
        }
    }
    let (one_half, other_half) = domains.split_at(2);
    for one in one_half {
        for other in other_half {
            one.swarm.block(other.swarm.name()).await.unwrap();
            other.swarm.block(one.swarm.name()).await.unwrap();
        }
    }
    let away = |peer: Option<&PeerView>| peer.is_none_or(|peer| matches!(peer.presence, Presence::Offline { .. }));
    for one in one_half {
        for other in other_half {
            one.until(other.swarm.name(), "it can't be reached", away).await;
            other.until(one.swarm.name(), "it can't be reached", away).await;
        }
    }
    for (tag, domain) in (1..).zip(&domains) {
        domain.swarm.publish(statement(tag, "meanwhile")).await.unwrap();
    }
    for one in one_half {
        for other in other_half {
            one.swarm.unblock(other.swarm.name()).await.unwrap();
            other.swarm.unblock(one.swarm.name()).await.unwrap();
        }
    }
    let is_back = |peer: Option<&PeerView>| {
        peer.is_some_and(|peer| {
            peer.presence == Presence::Online && peer.identity.description().as_str() == "meanwhile"
        })
    };
    for domain in &domains {
        for other in domains.iter().filter(|other| other.swarm.name() != domain.swarm.name()) {
            domain
                .until(other.swarm.name(), "it is back, with what it said meanwhile", is_back)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_member_that_is_not_there_is_called_with_growing_pauses_until_it_is() {
    let swarm_key = SwarmKey::generate();
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there, and nobody else can.
    let place = tokio::net::TcpSocket::new_v4().unwrap();
    place.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = place.local_addr().unwrap().port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let address = SwarmAddress::parse(&format!("{listen}/p2p/{}", key(1).peer_id())).unwrap();
    let domain = Domain::start(&swarm_key, 2, std::slice::from_ref(&address)).await;
    let end = Instant::now() + SOON;
    let mut pauses = Vec::new();
    while pauses.len() < 3 {
        assert!(Instant::now() < end, "{pauses:?}");
        let status = domain.swarm.status().await.unwrap();
        if let Some(member) = status.unreachable.first()
            && member.calls as usize == pauses.len() + 1
        {
            assert_eq!(member.address, address);
            assert!(member.reason.contains(&swarm_key.fingerprint().to_string()));
            pauses.push(member.next_call);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let [first, second, third] = pauses[..] else {
        panic!("{pauses:?}")
    };
    assert!(third.since(second) >= second.since(first) * 3 / 2, "{pauses:?}");

    drop(place);
    let mut late = config(&swarm_key, 1, &[], &folder);
    late.listen = vec![SwarmAddress::parse(&listen).unwrap()];
    let late = Swarm::start(late).await.unwrap();
    domain
        .until_status("it answers", |status| {
            status.unreachable.is_empty() && status.connected == 1
        })
        .await;
    late.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_on_the_list_is_not_let_in() {
    let swarm_key = SwarmKey::generate();
    let folder = tempfile::tempdir().unwrap();
    let mut closed = config(&swarm_key, 1, &[], &folder);
    closed.allowed = Some([key(2).peer_id()].into());
    let swarm = Swarm::start(closed).await.unwrap();
    let first = Domain { swarm, folder };
    let bootstrap = [first.address().await];
    let welcome = Domain::start(&swarm_key, 2, &bootstrap).await;
    let other = Domain::start(&swarm_key, 3, &bootstrap).await;
    welcome.swarm.publish(statement(2, "may come in")).await.unwrap();
    first.until_online(welcome.swarm.name()).await;
    let refused =
        |status: &Status| status.connected == 0 && status.unreachable.first().is_some_and(|member| member.calls > 1);
    other.until_status("it is refused again and again", refused).await;
}
