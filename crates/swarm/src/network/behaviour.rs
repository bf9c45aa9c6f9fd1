//! What runs on each connection, and the bounds of all of it.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::allow_block_list::{self, AllowedPeers, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, identify, kad, ping};
use libp2p_relay::{self as relay, client};

use super::blocks::{self, BlockAnswer, BlockQuestion};
use super::doors::Doors;
use super::messages::{self, SealedAnswer, SealedQuestion};
use super::records::{self, RecordsAnswer, RecordsQuestion};
use super::upgrades::Upgrades;
use super::wire::WireCodec;
use crate::config::SwarmConfig;
use crate::record::LARGEST;
use crate::relay::RelayLimits;

/// A question is over after this long.
const QUESTION: Duration = Duration::from_secs(20);
/// A sealed question is over after this long: somebody may have to think about it.
pub(crate) const QUESTION_LASTS: Duration = Duration::from_secs(60);
/// How many connections may be half-way, in each direction.
const PENDING: u32 = 256;
/// And how many of those that come in may be from one address.
const PER_ADDRESS: usize = 64;
/// How many connections one peer may have. Two that call each other at the same time have two.
const PER_PEER: u32 = 4;
/// How many questions of one peer are worked on at a time.
const STREAMS: usize = 32;
/// And how many sealed ones, on one connection, in both directions together.
const MESSAGE_STREAMS: usize = 16;
/// Of how many names records are kept for others: at most 20 MiB.
pub(crate) const HELD_RECORDS: usize = 2048;
/// Of how many peers addresses are kept that they gave themselves.
const CACHED_ADDRESSES: usize = 256;
/// For how long records are kept for others who do not renew them. kubo's figure.
const HELD_FOR: Duration = Duration::from_secs(48 * 3600);
/// How long a place at a relay is kept without being renewed.
const RESERVED_FOR: Duration = Duration::from_secs(3600);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    doors: Doors,
    pub blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub allowed: Toggle<allow_block_list::Behaviour<AllowedPeers>>,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub kad: kad::Behaviour<MemoryStore>,
    pub blocks: request_response::Behaviour<WireCodec<BlockQuestion, BlockAnswer>>,
    pub records: request_response::Behaviour<WireCodec<RecordsQuestion, RecordsAnswer>>,
    pub messages: request_response::Behaviour<WireCodec<SealedQuestion, SealedAnswer>>,
    /// Carries circuits of others.
    pub relay: Toggle<relay::Behaviour>,
    /// Has own circuits carried.
    circuits: client::Behaviour,
    /// Makes direct connections of circuits, where both ends calling at once opens the way.
    pub upgrade: Upgrades,
}

/// How a relay's places are given away. A reservation lasts an hour; who comes back often (a bad network) may reserve anew, who
/// floods may not.
fn relay(name: PeerId, limits: &RelayLimits) -> relay::Behaviour {
    let rate = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let config = relay::Config {
        max_reservations: limits.reservations,
        max_reservations_per_peer: 2,
        reservation_duration: RESERVED_FOR,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits,
        max_circuits_per_peer: limits.circuits_per_peer,
        max_circuit_duration: limits.circuit_lasts,
        max_circuit_bytes: limits.circuit_bytes,
        circuit_src_rate_limiters: Vec::new(),
    };
    let config = config
        .reservation_rate_per_peer(rate(8), Duration::from_secs(30))
        .reservation_rate_per_ip(rate(64), Duration::from_secs(5))
        .circuit_src_per_peer(rate(64), Duration::from_secs(2))
        .circuit_src_per_ip(rate(512), Duration::from_millis(500));
    relay::Behaviour::new(name, config)
}

/// The behaviour of a domain. `circuits` belongs to the transport over which they go.
pub(crate) fn behaviour(config: &SwarmConfig, circuits: client::Behaviour) -> Behaviour {
    let (domain, name) = (config.domain.keypair(), config.domain.peer_id());
    let half = config.most_connections / 2;
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING))
        .with_max_pending_outgoing(Some(PENDING))
        // Who floods can't keep this domain from calling others.
        .with_max_established_incoming(Some(half))
        .with_max_established(Some(config.most_connections))
        .with_max_established_per_peer(Some(PER_PEER));
    let mut blocked = allow_block_list::Behaviour::<BlockedPeers>::default();
    for peer in &config.blocked {
        blocked.block_peer(*peer);
    }
    let allowed = config.allowed.as_ref().map(|peers| {
        let mut allowed = allow_block_list::Behaviour::<AllowedPeers>::default();
        for peer in peers {
            allowed.allow_peer(*peer);
        }
        allowed
    });
    // Stock members hold records of these two protocols alone.
    let kad_protocol = StreamProtocol::new(if config.is_public() {
        "/ipfs/kad/1.0.0"
    } else {
        "/ipfs/lan/kad/1.0.0"
    });
    let mut kad_config = kad::Config::new(kad_protocol);
    kad_config
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_record_ttl(Some(HELD_FOR))
        // Authors give their records anew themselves; nobody else does it for them.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        .set_query_timeout(QUESTION);
    let store = MemoryStoreConfig {
        // And its own.
        max_records: HELD_RECORDS + 1,
        max_value_bytes: LARGEST + 1,
        max_providers_per_key: kad::K_VALUE.get(),
        max_provided_keys: 2 * HELD_RECORDS,
    };
    let mut kad = kad::Behaviour::with_config(name, MemoryStore::with_config(name, store), kad_config);
    // Whoever is in the swarm can be reached in it; nobody from outside has to be asked whether that is so.
    kad.set_mode(Some(kad::Mode::Server));
    let identify = identify::Config::new("/ipfs/id/1.0.0".into(), domain.public())
        .with_agent_version(concat!("hanse/", env!("CARGO_PKG_VERSION")).into())
        .with_cache_size(CACHED_ADDRESSES);
    let ping = ping::Config::new()
        .with_interval(Duration::from_secs(4))
        .with_timeout(Duration::from_secs(5));
    let questions = request_response::Config::default()
        .with_request_timeout(QUESTION)
        .with_max_concurrent_streams(STREAMS);
    Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        doors: Doors::new(PER_ADDRESS),
        blocked,
        allowed: allowed.into(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        kad,
        blocks: request_response::Behaviour::new(
            [(StreamProtocol::new(blocks::PROTOCOL), ProtocolSupport::Full)],
            questions.clone(),
        ),
        records: request_response::Behaviour::new(
            [(StreamProtocol::new(records::PROTOCOL), ProtocolSupport::Full)],
            questions.clone(),
        ),
        messages: request_response::Behaviour::new(
            [(StreamProtocol::new(messages::PROTOCOL), ProtocolSupport::Full)],
            questions
                .with_request_timeout(QUESTION_LASTS)
                .with_max_concurrent_streams(MESSAGE_STREAMS),
        ),
        relay: config.relay.serve.as_ref().map(|limits| relay(name, limits)).into(),
        circuits,
        upgrade: Upgrades::new(name),
    }
}
