//! TCP, encrypted with the swarm's key before anything else, then noise and yamux.
//!
//! The layers are put together by hand: libp2p's own builder has no place for the key, and what it builds beside TCP (QUIC,
//! WebSocket, relay circuits) would not be covered by it.

use std::io;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, dns, noise, tcp, yamux};
use libp2p_pnet::PnetConfig;

use crate::key::SwarmKey;

/// How long a connection may take until both sides know who they are. A peer with another key is silent or talks nonsense.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The one transport of a private swarm.
///
/// # Errors
/// If the system's name resolution can't be set up.
pub(crate) fn transport(key: &SwarmKey, domain: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let private = PnetConfig::new(key.pre_shared());
    let noise = noise::Config::new(domain).map_err(io::Error::other)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let transport = dns::tokio::Transport::system(tcp)?
        .and_then(move |stream, _| private.handshake(stream))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE);
    Ok(transport.boxed())
}
