//! Domains that nobody can call: they listen nowhere, so whatever reaches them came over a relay.

use futures::StreamExt;
use libp2p::core::Transport;
use libp2p::core::transport::OrTransport;
use libp2p::core::upgrade::Version;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, identify, identity::Keypair, noise, tcp, yamux};
use libp2p_pnet::PnetConfig;
use libp2p_relay::client;
use tokio::task::JoinHandle;

use super::*;
use crate::message::Topic;
use crate::relay::{Reachability, RelayLimits, RelayUse, Route};

const TOPIC: Topic = Topic::new("relayed");

/// A domain that nobody can call.
async fn hidden(swarm_key: &SwarmKey, tag: u8, bootstrap: &[SwarmAddress]) -> Domain {
    start(swarm_key, tag, bootstrap, |config| {
        config.listen = Vec::new();
        config.relay.using = RelayUse::Always;
    })
    .await
}

async fn start(
    swarm_key: &SwarmKey,
    tag: u8,
    bootstrap: &[SwarmAddress],
    change: impl FnOnce(&mut SwarmConfig),
) -> Domain {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(swarm_key, tag, bootstrap, &folder);
    change(&mut config);
    let swarm = Swarm::start(config).await.unwrap();
    Domain { swarm, folder }
}

impl Domain {
    /// Publishes, and waits until it can be called over so many relays.
    async fn published_over(&self, tag: u8, relays: usize) -> Vec<PeerId> {
        self.swarm.publish(statement(tag, "hidden")).await.unwrap();
        self.until_status("it can be called over relays", |status| status.relays.len() == relays)
            .await;
        self.swarm.status().await.unwrap().relays
    }

    async fn until_route(&self, name: PeerId, route: Route) {
        let what = format!("the connection is {route:?}");
        self.until(name, &what, |peer| peer.is_some_and(|peer| peer.route == Some(route)))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_domains_that_nobody_can_call_are_full_members() {
    let swarm_key = SwarmKey::generate();
    let relay = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [relay.address().await];
    let (north, south) = tokio::join!(hidden(&swarm_key, 2, &bootstrap), hidden(&swarm_key, 3, &bootstrap));
    for (tag, domain) in [(2, &north), (3, &south)] {
        assert_eq!(domain.published_over(tag, 1).await, [relay.swarm.name()]);
        let status = domain.swarm.status().await.unwrap();
        assert_eq!(status.reachability, Reachability::Hidden);
        let way = status.addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(way.len() == 1 && way[0].contains("/p2p-circuit/p2p/"), "{way:?}");
    }
    // Each sees the other, and the ways over the relay are in the records.
    north.until_online(south.swarm.name()).await;
    south.until_online(north.swarm.name()).await;
    let published = |peer: Option<&PeerView>| {
        let said = peer.map(|peer| peer.identity.addresses().to_vec()).unwrap_or_default();
        said.len() == 1 && said[0].relay() == Some(relay.swarm.name())
    };
    north
        .until(south.swarm.name(), "its record has the way", published)
        .await;
    north.until_route(south.swarm.name(), Route::Relayed).await;
    south.until_route(north.swarm.name(), Route::Relayed).await;
    relay
        .until_status("it carries", |status| {
            status.reservations_served == 2 && status.circuits_served >= 1
        })
        .await;

    let blob: Bytes = vec![7; 3 << 20].into();
    let root = south.swarm.add_blob(blob.clone()).await.unwrap();
    let fetched = north.swarm.blob_from(root, &[south.swarm.name()], u64::MAX, SOON).await;
    assert_eq!(fetched.unwrap(), blob);

    let mut asked = south.swarm.answer(TOPIC);
    let answering = async {
        let asked = asked.recv().await.unwrap();
        assert_eq!(asked.from, north.swarm.name());
        let _ = asked.reply.send(asked.body);
    };
    let asking = north.swarm.ask(south.swarm.name(), TOPIC, "sealed".into(), SOON);
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap(), "sealed");
    assert_eq!(relay.swarm.traffic().sent.blocks, 0, "the relay had nothing to give");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_goes_another_one_carries() {
    let swarm_key = SwarmKey::generate();
    let first = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [first.address().await];
    let others = [
        Domain::start(&swarm_key, 2, &bootstrap).await,
        Domain::start(&swarm_key, 3, &bootstrap).await,
    ];
    let mut known = bootstrap.to_vec();
    for other in &others {
        known.push(other.address().await);
    }
    let north = hidden(&swarm_key, 4, &known).await;
    let south = hidden(&swarm_key, 5, &known).await;
    let before = north.published_over(4, 2).await;
    south.published_over(5, 2).await;
    south.until_online(north.swarm.name()).await;

    // All relays that it had, one after the other, go; the third member takes their places.
    let mut members: Vec<_> = others.into_iter().chain([first]).collect();
    let gone = members.iter().position(|it| it.swarm.name() == before[0]).unwrap();
    let gone = members.remove(gone);
    gone.swarm.stop().await;
    north
        .until_status("another relay carries", |status| {
            status.relays.len() == 2 && !status.relays.contains(&before[0])
        })
        .await;
    let remain: Vec<_> = members.iter().map(|it| it.swarm.name()).collect();
    let way = |peer: Option<&PeerView>| {
        let said = peer.map(|peer| peer.identity.addresses().to_vec()).unwrap_or_default();
        said.len() == 2
            && said
                .iter()
                .all(|way| way.relay().is_some_and(|relay| remain.contains(&relay)))
    };
    south
        .until(north.swarm.name(), "its record has the new ways", way)
        .await;
    south.until_online(north.swarm.name()).await;
    south.until_route(north.swarm.name(), Route::Relayed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_carries_no_more_than_it_said() {
    let swarm_key = SwarmKey::generate();
    let limits = RelayLimits {
        reservations: 2,
        circuits: 3,
        circuits_per_peer: 2,
        ..RelayLimits::default()
    };
    let relay = start(&swarm_key, 1, &[], |config| config.relay.serve = Some(limits)).await;
    let no_relay = start(&swarm_key, 2, &[relay.address().await], |config| {
        config.relay.serve = None
    })
    .await;
    let bootstrap = [relay.address().await, no_relay.address().await];
    let north = hidden(&swarm_key, 3, &bootstrap).await;
    let south = hidden(&swarm_key, 4, &bootstrap).await;
    // Who does not serve is not asked.
    assert_eq!(north.published_over(3, 1).await, [relay.swarm.name()]);
    assert_eq!(south.published_over(4, 1).await, [relay.swarm.name()]);
    let mut third = Stranger::new(swarm_key.clone(), Some(swarm_key.clone()));
    let place = relay.address().await.over(relay.swarm.name()).unwrap();
    third.swarm.listen_on(place.multiaddr().clone()).unwrap();
    assert!(third.is_refused().await, "a third has itself called over it");

    // One member floods: it gets two circuits, and everything else goes on.
    let way = place.multiaddr().clone().with_p2p(north.swarm.name()).unwrap();
    let mut flood = Stranger::new(swarm_key.clone(), Some(swarm_key.clone()));
    for _ in 0..40 {
        let call = DialOpts::peer_id(north.swarm.name()).condition(PeerCondition::Always);
        flood.swarm.dial(call.addresses(vec![way.clone()]).build()).unwrap();
    }
    let (let_in, refused) = flood.outcomes(north.swarm.name(), 40).await;
    assert!((1..=2).contains(&let_in), "{let_in} circuits, {refused} refused");
    let carried = relay.swarm.status().await.unwrap();
    assert!(
        carried.circuits_served <= 3 && carried.reservations_served == 2,
        "{carried:?}"
    );
    let _flooding = flood.go_on();
    south.swarm.publish(statement(4, "still there")).await.unwrap();
    relay
        .until(south.swarm.name(), "it is heard", |peer| {
            peer.is_some_and(|peer| peer.identity.description().as_str() == "still there")
        })
        .await;
}

#[derive(NetworkBehaviour)]
struct StrangerBehaviour {
    circuits: client::Behaviour,
    identify: identify::Behaviour,
}

/// A peer that has one key for its TCP connections, and inside of circuits another one, or none.
struct Stranger {
    swarm: libp2p::Swarm<StrangerBehaviour>,
}

impl Stranger {
    fn new(outside: SwarmKey, inside: Option<SwarmKey>) -> Self {
        let keypair = Keypair::generate_ed25519();
        let name = keypair.public().to_peer_id();
        let (circuits, asked) = client::new(name);
        let tcp = tcp::tokio::Transport::new(tcp::Config::default());
        let tcp = tcp.and_then(move |stream, _| PnetConfig::new(outside.pre_shared()).handshake(stream));
        let noise = noise::Config::new(&keypair).unwrap();
        let transport = match inside {
            Some(key) => {
                let circuits = circuits.and_then(move |stream, _| PnetConfig::new(key.pre_shared()).handshake(stream));
                OrTransport::new(circuits, tcp)
                    .upgrade(Version::V1Lazy)
                    .authenticate(noise)
                    .multiplex(yamux::Config::default())
                    .boxed()
            }
            None => OrTransport::new(circuits, tcp)
                .upgrade(Version::V1Lazy)
                .authenticate(noise)
                .multiplex(yamux::Config::default())
                .boxed(),
        };
        let behaviour = StrangerBehaviour {
            circuits: asked,
            identify: identify::Behaviour::new(identify::Config::new("/ipfs/id/1.0.0".into(), keypair.public())),
        };
        let limits = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(SOON);
        Self {
            swarm: libp2p::Swarm::new(transport, behaviour, name, limits),
        }
    }

    /// Whether the relay refuses to have it called.
    async fn is_refused(&mut self) -> bool {
        let refused = async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ListenerClosed { .. } => return true,
                    SwarmEvent::NewListenAddr { .. } => return false,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(SOON, refused).await.expect("the relay answers")
    }

    /// How many of its calls to `peer` came in, and how many did not.
    async fn outcomes(&mut self, peer: PeerId, calls: usize) -> (usize, usize) {
        let (mut came_in, mut failed) = (0, 0);
        let counting = async {
            while came_in + failed < calls {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == peer => came_in += 1,
                    SwarmEvent::OutgoingConnectionError {
                        peer_id: Some(peer_id), ..
                    } if peer_id == peer => failed += 1,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(SOON, counting).await.expect("every call ends");
        (came_in, failed)
    }

    fn go_on(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                self.swarm.select_next_some().await;
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_the_key_inside_of_a_circuit_does_not_get_in() {
    let swarm_key = SwarmKey::generate();
    let relay = Domain::start(&swarm_key, 1, &[]).await;
    let north = hidden(&swarm_key, 2, &[relay.address().await]).await;
    north.published_over(2, 1).await;
    let way: Multiaddr = north.address().await.to_string().parse().unwrap();
    let north_name = north.swarm.name();
    // The relay lets all three in, as they have the key outside.
    for (inside, gets_in) in [(Some(SwarmKey::generate()), 0), (None, 0), (Some(swarm_key.clone()), 1)] {
        let mut stranger = Stranger::new(swarm_key.clone(), inside);
        stranger.swarm.dial(way.clone()).unwrap();
        let name = *stranger.swarm.local_peer_id();
        let (came_in, _) = stranger.outcomes(north_name, 1).await;
        assert_eq!(came_in, gets_in, "{name}");
    }
    assert_eq!(relay.swarm.status().await.unwrap().reservations_served, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_over_a_relay_and_can_be_called_is_called_back() {
    let swarm_key = SwarmKey::generate();
    let relay = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [relay.address().await];
    let north = hidden(&swarm_key, 2, &bootstrap).await;
    let can_be_called = |status: &Status| status.relays.len() == 1;
    north
        .until_status("it can be called over the relay", can_be_called)
        .await;
    let ways = north.swarm.status().await.unwrap().addresses;
    let way = ways.into_iter().find(|way| way.relay().is_some()).unwrap();
    let south = Domain::start(&swarm_key, 3, &[way]).await;
    south.swarm.publish(statement(3, "calls over the relay")).await.unwrap();
    north.until_online(south.swarm.name()).await;
    north.until_route(south.swarm.name(), Route::Direct).await;
    // What others said about where it is seen is not published.
    let status = north.swarm.status().await.unwrap();
    assert_eq!(status.addresses.len(), 1, "{:?}", status.addresses);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_be_called_needs_no_relay() {
    let swarm_key = SwarmKey::generate();
    let relay = Domain::start(&swarm_key, 1, &[]).await;
    let north = Domain::start(&swarm_key, 2, &[relay.address().await]).await;
    north
        .until_status("it knows", |status| status.reachability == Reachability::Reachable)
        .await;
    relay.swarm.publish(statement(1, "x")).await.unwrap();
    north.until_route(relay.swarm.name(), Route::Direct).await;
    assert_eq!(north.swarm.status().await.unwrap().relays, []);
    assert_eq!(relay.swarm.status().await.unwrap().reservations_served, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_gets_in_over_no_relay() {
    let swarm_key = SwarmKey::generate();
    let relay = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = [relay.address().await];
    let north = hidden(&swarm_key, 2, &bootstrap).await;
    north.swarm.block(key(3).peer_id()).await.unwrap();
    north.published_over(2, 1).await;
    let south = hidden(&swarm_key, 3, &bootstrap).await;
    south.published_over(3, 1).await;
    let _answering = north.swarm.answer(TOPIC);
    let within = Duration::from_secs(2);
    let known = |peer: Option<&PeerView>| peer.is_some();
    south.until(north.swarm.name(), "it is known", known).await;
    let asking = south.swarm.ask(north.swarm.name(), TOPIC, "let me in".into(), within);
    assert!(asking.await.is_err());
    assert_eq!(north.swarm.status().await.unwrap().connected, 1, "the relay alone");
    // A relay that blocks it carries nothing for it.
    relay.swarm.block(key(3).peer_id()).await.unwrap();
    let carries_one = |status: &Status| status.reservations_served == 1 && status.circuits_served == 0;
    relay.until_status("the blocked one is gone", carries_one).await;
}
