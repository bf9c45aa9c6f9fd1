//! More of everything than anybody needs.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::swarm::SwarmEvent;
use libp2p::{noise, tcp, yamux};
use libp2p_pnet::PnetConfig;
use tokio::net::{TcpSocket, TcpStream};

use super::hostile::{connect, stranger};
use super::killed::{Victim, task};
use super::*;
use crate::network::{BehaviourEvent, Entry, MOST_ENTRIES, RecordsQuestion};
use crate::record::IpnsRecord;

/// Any key.
fn made_up(number: u32) -> DomainKey {
    let mut secret = Zeroizing::new([0xee; 32]);
    secret[..4].copy_from_slice(&number.to_be_bytes());
    DomainKey::from_secret(secret)
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::explicit_counter_loop, reason = "answers lower the counter")]
async fn a_flood_of_records_fills_a_table_of_fixed_size_and_costs_no_domain_its_place() {
    const ROOM: usize = 40;
    const MESSAGES: u32 = 80;
    let swarm_key = SwarmKey::generate();
    let folder = tempfile::tempdir().unwrap();
    let mut small = config(&swarm_key, 1, &[], &folder);
    small.peers.most = ROOM;
    let swarm = Swarm::start(small).await.unwrap();
    let victim = Domain { swarm, folder };
    let address = victim.address().await;
    let honest = Domain::start(&swarm_key, 2, std::slice::from_ref(&address)).await;
    honest.swarm.publish(statement(2, "I'm here")).await.unwrap();
    victim.until_online(honest.swarm.name()).await;

    let mut flooder = stranger(&swarm_key, key(66));
    connect(&mut flooder, &address).await;
    let day = Duration::from_secs(86_400);
    let path = statement(3, "made up").to_path().unwrap();
    let record = |number| IpnsRecord::sign(&made_up(number), &path, 1, now().plus(day), day).unwrap();
    let mut changes = victim.swarm.changes();
    let counting = tokio::spawn(async move {
        let mut appeared = 0_u64;
        loop {
            match changes.recv().await {
                Ok(Change::Appeared(_)) => appeared += 1,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => panic!("{missed} changes were missed"),
                Err(broadcast::error::RecvError::Closed) => return appeared,
            }
        }
    });
    let began = Instant::now();
    let mut open = 0;
    for message in 0..MESSAGES {
        let told = (0..MOST_ENTRIES as u32).map(|entry| record(message * MOST_ENTRIES as u32 + entry));
        let question = RecordsQuestion {
            told: told.map(|record| Entry::new(&record.name(), record.bytes())).collect(),
            ..RecordsQuestion::default()
        };
        flooder
            .behaviour_mut()
            .records
            .send_request(&victim.swarm.name(), question);
        open += 1;
        let wait = async {
            while open > 4 || message + 1 == MESSAGES && open > 0 {
                use libp2p::request_response::{Event, Message};
                match flooder.select_next_some().await {
                    SwarmEvent::Behaviour(BehaviourEvent::Records(
                        Event::Message {
                            message: Message::Response { .. },
                            ..
                        }
                        | Event::OutboundFailure { .. },
                    )) => open -= 1,
                    SwarmEvent::ConnectionClosed { .. } => panic!("the flooder was cut off"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("the victim answers");
    }
    let took = began.elapsed().as_secs() + 1;
    let peers = victim.swarm.peers().await.unwrap();
    assert!(peers.len() <= ROOM, "{}", peers.len());

    // It goes on with what matters.
    honest.swarm.publish(statement(2, "still here")).await.unwrap();
    let updated = |peer: Option<&PeerView>| {
        peer.is_some_and(|peer| {
            peer.identity.description().as_str() == "still here" && peer.presence == Presence::Online
        })
    };
    victim.until(honest.swarm.name(), "the update is seen", updated).await;
    victim.swarm.stop().await;
    // The last sender of changes goes with it.
    drop(victim);
    let appeared = counting.await.unwrap();
    assert!(appeared >= ROOM as u64 - 1, "{appeared} were taken up");
    let most = 1024 + 100 * took;
    assert!(appeared <= most, "{appeared} were looked at in {took} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_peers_ends_at_the_door_and_nobody_is_pushed_out() {
    let swarm_key = SwarmKey::generate();
    let honest = Domain::start(&swarm_key, 2, &[]).await;
    honest.swarm.publish(statement(2, "I'm here")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut small = config(&swarm_key, 1, &[honest.address().await], &folder);
    small.most_connections = 20;
    let swarm = Swarm::start(small).await.unwrap();
    let victim = Domain { swarm, folder };
    victim.until_online(honest.swarm.name()).await;
    let address = victim.address().await;
    let mut crowd = Vec::new();
    for number in 0..30 {
        let mut one = stranger(&swarm_key, made_up(number));
        connect(&mut one, &address).await;
        // It stays, and answers.
        crowd.push(tokio::spawn(async move { while one.next().await.is_some() {} }));
    }
    let full = |status: &Status| status.connected == 11;
    victim.until_status("ten of them are in", full).await;
    assert_eq!(
        victim.sees(honest.swarm.name()).await.unwrap().presence,
        Presence::Online
    );
    assert!(victim.swarm.peers().await.unwrap().len() == 1);
    for one in crowd {
        one.abort();
    }
}

/// How many are still open.
fn open(callers: &[TcpStream]) -> usize {
    let is_open = |caller: &&TcpStream| {
        let mut buffer = [0; 64];
        loop {
            match caller.try_read(&mut buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
    };
    callers.iter().filter(is_open).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_say_nothing_leave_room_for_others() {
    let swarm_key = SwarmKey::generate();
    let victim = Domain::start(&swarm_key, 1, &[]).await;
    let address = victim.address().await;
    let port = address.multiaddr().to_string().rsplit('/').next().unwrap().to_owned();
    let mut silent = Vec::new();
    for _ in 0..300 {
        let socket = TcpSocket::new_v4().unwrap();
        // All of them from one address, which is not that of the domain that follows.
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(
            socket
                .connect(format!("127.0.0.1:{port}").parse().unwrap())
                .await
                .unwrap(),
        );
    }
    let honest = Domain::start(&swarm_key, 2, &[address]).await;
    honest
        .until_status("it is let in", |status| status.connected == 1)
        .await;
    let end = Instant::now() + SOON;
    while open(&silent) > 64 {
        assert!(Instant::now() < end, "{} are half-way in", open(&silent));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // And those that are give up their places in time.
    while open(&silent) > 0 {
        assert!(Instant::now() < end, "{} are still half-way in", open(&silent));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Not a test of its own: what is flooded.
#[tokio::test(flavor = "multi_thread")]
async fn child_is_in_the_swarm() {
    let Some(config) = task() else { return };
    let swarm = Swarm::start(config).await.unwrap();
    println!("\nat {}", swarm.status().await.unwrap().addresses[0]);
    std::future::pending().await
}

/// Opens as many streams as it can, and begins on each a message that never ends.
async fn flood(swarm_key: SwarmKey, number: u32, to: SwarmAddress, opened: Arc<AtomicUsize>) {
    let private = PnetConfig::new(swarm_key.pre_shared());
    let key = made_up(number);
    let mut transport = tcp::tokio::Transport::default()
        .and_then(move |stream, _| private.handshake(stream))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key.keypair()).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let how = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let (_, mut muxer): (_, StreamMuxerBox) = transport.dial(to.multiaddr().clone(), how).unwrap().await.unwrap();
    let mut begun = b"\x13/multistream/1.0.0\n\x11/hanse/records/1\n".to_vec();
    begun.resize(400_000, 7);
    // No more than a connection may have: who opens more loses it.
    let mut left = 250;
    let mut writing: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    std::future::poll_fn(|cx| {
        while left > 0 {
            match muxer.poll_outbound_unpin(cx) {
                Poll::Ready(Ok(mut stream)) => {
                    left -= 1;
                    opened.fetch_add(1, Relaxed);
                    let begun = begun.clone();
                    let write = async move {
                        // It is reset, or stuck.
                        let _ = stream.write_all(&begun).await;
                        let _ = stream.flush().await;
                        std::future::pending().await
                    };
                    writing.push(write.boxed());
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(())) = writing.poll_next_unpin(cx) {}
        while let Poll::Ready(Ok(_)) = muxer.poll_inbound_unpin(cx) {}
        match muxer.poll_unpin(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}

/// Resident memory of a process in KiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_streams_and_of_messages_without_end_takes_fixed_memory() {
    let swarm_key = SwarmKey::generate();
    let bootstrap = Domain::start(&swarm_key, 1, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let test = "service::tests::flood::child_is_in_the_swarm";
    let victim = Victim::start(test, &folder, &swarm_key, &bootstrap.address().await, "");
    let (victim, address) = victim.until("at").await;
    let address = SwarmAddress::parse(&address).unwrap();
    bootstrap
        .until_status("it is there", |status| status.connected == 1)
        .await;
    let before = resident(victim.process.id());
    let opened = Arc::new(AtomicUsize::new(0));
    let floods: Vec<_> = (0..6)
        .map(|number| tokio::spawn(flood(swarm_key.clone(), number, address.clone(), opened.clone())))
        .collect();
    let end = Instant::now() + Duration::from_secs(5);
    let mut most = before;
    while Instant::now() < end {
        most = most.max(resident(victim.process.id()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let grew = (most - before) / 1024;
    let streams = opened.load(Relaxed);
    println!("{grew} MiB more; {streams} streams");
    // Whole, what was begun on them would be more than 200 MiB.
    assert!(streams > 600, "the flood did not arrive: {streams} streams");
    assert!(grew < 200, "{grew} MiB more");
    for flood in floods {
        flood.abort();
    }
    let honest = Domain::start(&swarm_key, 2, &[address]).await;
    honest.swarm.publish(statement(2, "I'm here")).await.unwrap();
    honest
        .until_status("it is let in", |status| status.published == Some(true))
        .await;
}
