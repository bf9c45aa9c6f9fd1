//! Who finds whom, and what outlives its author.

use libp2p::core::upgrade::Version;
use libp2p::futures::StreamExt;
use libp2p::swarm::{SwarmEvent, dummy};
use libp2p::{Transport, noise, tcp, yamux};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn domains_with_the_same_key_find_each_other_through_one_that_they_know() {
    let swarm_key = SwarmKey::generate();
    let first = Domain::start(&swarm_key, 1, &[]).await;
    let address = first.address().await;
    let second = Domain::start(&swarm_key, 2, std::slice::from_ref(&address)).await;
    let third = Domain::start(&swarm_key, 3, &[address]).await;
    let domains = [&first, &second, &third];
    for (tag, domain) in (1..).zip(domains) {
        domain.swarm.publish(statement(tag, "I'm here")).await.unwrap();
    }
    for domain in domains {
        for other in domains {
            if domain.swarm.name() != other.swarm.name() {
                domain.until_online(other.swarm.name()).await;
            }
        }
    }
    second
        .swarm
        .publish(statement(2, "I'm here, but updated"))
        .await
        .unwrap();
    let updated = |peer: Option<&PeerView>| peer.unwrap().identity.description().as_str().ends_with("updated");
    third.until(second.swarm.name(), "the update is seen", updated).await;
    second.swarm.publish(Statement::Withdrawn).await.unwrap();
    for domain in [&first, &third] {
        domain
            .until(second.swarm.name(), "it has withdrawn", |peer| peer.is_none())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_and_no_key_are_refused() {
    let first = Domain::start(&SwarmKey::generate(), 1, &[]).await;
    let address = first.address().await;
    let other_key = SwarmKey::generate();
    let other = Domain::start(&other_key, 2, std::slice::from_ref(&address)).await;
    let fingerprint = other_key.fingerprint().to_string();
    let refused = |status: &Status| {
        status
            .unreachable
            .iter()
            .any(|member| member.reason.contains(&fingerprint))
    };
    other.until_status("the status names the fingerprint", refused).await;

    // Everything as it should be, but for the key below it.
    let keypair = libp2p::identity::Keypair::generate_ed25519();
    let transport = tcp::tokio::Transport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&keypair).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let executor = libp2p::swarm::Config::with_tokio_executor();
    let mut stranger = libp2p::Swarm::new(transport, dummy::Behaviour, keypair.public().to_peer_id(), executor);
    stranger.dial(address.multiaddr().clone()).unwrap();
    let refused = async {
        loop {
            match stranger.select_next_some().await {
                SwarmEvent::OutgoingConnectionError { .. } => return,
                SwarmEvent::ConnectionEstablished { .. } => panic!("a node without the key came in"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(SOON, refused)
        .await
        .expect("the stranger is told in time");
    assert_eq!(first.swarm.status().await.unwrap().connected, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_when_its_author_and_the_first_member_have_gone() {
    let swarm_key = SwarmKey::generate();
    let first = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [first.address().await];
    let author = Domain::start(&swarm_key, 2, &bootstrap).await;
    let stays = Domain::start(&swarm_key, 3, &bootstrap).await;
    author
        .until_status("it knows both", |status| status.connected >= 2)
        .await;
    author.swarm.publish(statement(2, "I was here")).await.unwrap();
    author
        .until_status("holders took it", |status| status.published == Some(true))
        .await;
    stays
        .until_status("it holds the record", |status| status.held_records >= 1)
        .await;
    let name = author.swarm.name();
    author.swarm.stop().await;
    first.swarm.stop().await;

    let newcomer = Domain::start(&swarm_key, 4, &[stays.address().await]).await;
    newcomer
        .until_status("it is in the swarm", |status| status.connected >= 1)
        .await;
    let end = Instant::now() + SOON;
    let found = loop {
        match newcomer.swarm.look_up(name).await {
            Ok(found) => break found,
            // Until identify has told the routing table who can be asked.
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(
        found.statement().clone().with_addresses(Vec::new()),
        statement(2, "I was here")
    );
    let gone = |peer: Option<&PeerView>| matches!(peer.map(|peer| peer.presence), Some(Presence::Offline { .. }));
    newcomer.until(name, "it is seen to be offline", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_given_to_all_holders_and_not_only_to_the_first_that_answer() {
    let swarm_key = SwarmKey::generate();
    let author = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [author.address().await];
    let mut holders = Vec::new();
    for tag in 2..12 {
        holders.push(Domain::start(&swarm_key, tag, &bootstrap).await);
    }
    author
        .until_status("all are there", |status| status.connected >= holders.len())
        .await;
    author.swarm.publish(statement(1, "I'm here")).await.unwrap();
    for holder in &holders {
        holder
            .until_status("it holds the record", |status| status.held_records >= 1)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_is_offline_then_removed_and_back_when_it_is_started_with_or_without_its_folder() {
    let swarm_key = SwarmKey::generate();
    let first = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [first.address().await];
    let second = Domain::start(&swarm_key, 2, &bootstrap).await;
    second.swarm.publish(statement(2, "a")).await.unwrap();
    let name = second.swarm.name();
    first.until_online(name).await;
    let folder = second.folder;
    second.swarm.stop().await;
    // The handle has the store open.
    drop(second.swarm);
    let offline = |peer: Option<&PeerView>| matches!(peer.map(|peer| peer.presence), Some(Presence::Offline { .. }));
    first.until(name, "it is offline", offline).await;
    first.until(name, "it is removed", |peer| peer.is_none()).await;

    // It goes on saying what it said.
    let second = Domain::start_in(&swarm_key, 2, &bootstrap, folder).await;
    first.until_online(name).await;
    second.swarm.stop().await;
    let second = Domain::start(&swarm_key, 2, &bootstrap).await;
    second.swarm.publish(statement(2, "b")).await.unwrap();
    let says_b = |peer: Option<&PeerView>| peer.is_some_and(|peer| peer.identity.description().as_str() == "b");
    first
        .until(name, "the lost folder does not make it older", says_b)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_again_finds_the_others_though_the_only_member_it_was_told_of_has_gone() {
    let swarm_key = SwarmKey::generate();
    let first = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [first.address().await];
    let stays = Domain::start(&swarm_key, 2, &bootstrap).await;
    let again = Domain::start(&swarm_key, 3, &bootstrap).await;
    stays.swarm.publish(statement(2, "stays")).await.unwrap();
    again.swarm.publish(statement(3, "comes again")).await.unwrap();
    again.until_online(stays.swarm.name()).await;
    stays.until_online(again.swarm.name()).await;
    first.swarm.stop().await;
    let (name, folder) = (again.swarm.name(), again.folder);
    again.swarm.stop().await;
    drop(again.swarm);
    stays.until(name, "it is removed", |peer| peer.is_none()).await;

    let again = Domain::start_in(&swarm_key, 3, &bootstrap, folder).await;
    again.until_online(stays.swarm.name()).await;
    stays.until_online(name).await;
}
