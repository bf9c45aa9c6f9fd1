//! Finds another node that runs with this validator's key.
//!
//! Two nodes with one key would sign contradicting votes, which no other check can take back. Before a node starts it
//! therefore calls the address at which the consortium knows it: nobody may answer there under its own identity.

use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, PortUse, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, noise, tcp, yamux};

/// Nothing slower than this answers on a network on which consensus works.
const DEADLINE: Duration = Duration::from_secs(2);

/// The peer that answers at `address`, if one does in time.
pub async fn who_answers(address: Multiaddr) -> Option<PeerId> {
    // A throw-away identity: a node does not talk to a caller that has its own.
    let security = noise::Config::new(&Keypair::generate_ed25519()).ok()?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true));
    let transport = libp2p::dns::tokio::Transport::system(tcp).ok()?;
    let mut transport = transport
        .upgrade(Version::V1)
        .authenticate(security)
        .multiplex(yamux::Config::default())
        .boxed();
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let dial = transport.dial(address, options).ok()?;
    let (peer, _connection) = tokio::time::timeout(DEADLINE, dial).await.ok()?.ok()?;
    Some(peer)
}
