//! Finds another node that runs with this validator's key.
//!
//! Two nodes with one key would sign contradicting votes, which no other check can take back. So a node calls the address at
//! which the consortium knows it. Before it listens itself, nobody may answer there under its own identity. Once it listens,
//! nobody else may: whoever answers names itself, and a node knows its own name. That is looked at before it takes part in
//! anything, since two nodes may have been started at the same instant, and again and again as long as it runs. Of two
//! nodes one is the one that answers at the address, and it is the other that stops.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::AsyncReadExt as _;
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _};
use libp2p::core::transport::{DialOpts, PortUse, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, noise, tcp, yamux};
use multistream_select::dialer_select_proto;

/// Nothing slower than this answers on a network on which consensus works.
const DEADLINE: Duration = Duration::from_secs(2);

/// Between two calls, before it is known who answers and afterwards.
const SOON: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(10);

/// How long a node waits at most until somebody answers at its address before it takes part. It may be unreachable from itself.
const GRACE: Duration = Duration::from_secs(3);

/// The protocol by which libp2p nodes name themselves.
const IDENTIFY: &str = "/ipfs/id/1.0.0";

/// More than any node says of itself.
const MOST: u64 = 8 * 1024;

/// Who answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The identity that it proved.
    pub peer: PeerId,
    /// What it says of itself in the identify protocol, undecoded; empty if it says nothing.
    pub description: Vec<u8>,
}

impl Answer {
    /// Whether it calls itself by this name.
    pub fn is_named(&self, name: &str) -> bool {
        self.description
            .windows(name.len())
            .any(|window| window == name.as_bytes())
    }
}

/// The peer that answers at `address`, if one does in time.
pub async fn who_answers(address: Multiaddr) -> Option<Answer> {
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
    let (peer, connection) = tokio::time::timeout(DEADLINE, dial).await.ok()?.ok()?;
    let description = tokio::time::timeout(DEADLINE, describe(connection)).await;
    Some(Answer {
        peer,
        description: description.ok().flatten().unwrap_or_default(),
    })
}

/// Asks who is at the other end. Nothing is told in return: a node hangs up on a caller that names itself and is no member.
async fn describe(mut connection: StreamMuxerBox) -> Option<Vec<u8>> {
    let stream = poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = connection.poll_unpin(cx) {
            return Poll::Ready(Err(error));
        }
        connection.poll_outbound_unpin(cx)
    })
    .await
    .ok()?;
    let read = async {
        let (_, stream) = dialer_select_proto(stream, [IDENTIFY], Version::V1).await.ok()?;
        let mut description = Vec::new();
        // The other end may close less gracefully than this likes; what came counts.
        let _ = stream.take(MOST).read_to_end(&mut description).await;
        Some(description)
    };
    tokio::select! {
        description = read => description,
        // Streams move only while their connection is driven; what the other end asks is dropped.
        () = poll_fn(|cx| loop {
            match connection.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(asked)) => drop(asked),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }) => None,
    }
}

/// When to call, and whether to take part in consensus already. Pure.
#[derive(Debug)]
pub struct Guard {
    opened: Instant,
    next: Instant,
    cleared: bool,
}

impl Guard {
    /// For a node that starts to listen now.
    pub fn new(now: Instant) -> Self {
        Self {
            opened: now,
            next: now,
            cleared: false,
        }
    }

    /// Whether to call now. The next call is due a while later, whatever comes of this one.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + if self.passes(now) { LATER } else { SOON };
        }
        due
    }

    /// It was this node that answered.
    pub fn clear(&mut self) {
        self.cleared = true;
    }

    /// Whether the node may take part.
    pub fn passes(&self, now: Instant) -> bool {
        self.cleared || now >= self.opened + GRACE
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_waits_until_it_has_answered_itself_and_not_for_ever() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut guard = Guard::new(start);
        assert!(guard.due(at(0)) && !guard.passes(at(0)));
        assert!(!guard.due(at(100)) && guard.due(at(200)));
        guard.clear();
        assert!(guard.passes(at(201)));
        assert!(guard.due(at(400)) && !guard.due(at(10_000)) && guard.due(at(10_500)));

        let mut unreachable = Guard::new(start);
        assert!(!unreachable.passes(at(2_999)) && unreachable.passes(at(3_000)));
        assert!(unreachable.due(at(3_000)) && !unreachable.due(at(4_000)) && unreachable.due(at(13_000)));
    }

    #[test]
    fn a_name_is_found_in_what_a_node_says_of_itself() {
        let answer = |text: &str| Answer {
            peer: Keypair::generate_ed25519().public().to_peer_id(),
            description: text.as_bytes().to_vec(),
        };
        assert!(answer("\x08\x12moniker=ab-1234\x00").is_named("ab-1234"));
        assert!(!answer("\x08\x12moniker=ab-1235\x00").is_named("ab-1234"));
        assert!(!answer("").is_named("ab-1234"));
    }
}
