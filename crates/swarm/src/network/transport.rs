//! TCP, and circuits over relays, both encrypted with the swarm's key before anything else, then noise and yamux.
//!
//! The layers are put together by hand: libp2p's own builder has no place for the key, and what it builds beside TCP (QUIC,
//! WebSocket) would not be covered by it.
//!
//! Inside of a circuit the two ends run the same layers as on a TCP connection, the key's handshake included, as go-libp2p and
//! js-libp2p do: their upgraders know no difference between the two. So a relay sees what a wire tapper sees, and leads
//! nobody in who has not the key.

use std::io;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OrTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, dns, noise, tcp, yamux};
use libp2p_pnet::PnetConfig;
use libp2p_relay::client;

use crate::key::SwarmKey;

/// How long a connection may take until both sides know who they are. A peer with another key is silent or talks nonsense.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The one transport of a private swarm. `circuits` come from the behaviour that asks relays for them.
///
/// # Errors
/// If the system's name resolution can't be set up.
pub(crate) fn transport(
    key: &SwarmKey,
    domain: &Keypair,
    circuits: client::Transport,
) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let private = PnetConfig::new(key.pre_shared());
    let noise = noise::Config::new(domain).map_err(io::Error::other)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let transport = OrTransport::new(circuits, dns::tokio::Transport::system(tcp)?)
        .and_then(move |stream, _| private.handshake(stream))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE);
    Ok(transport.boxed())
}
