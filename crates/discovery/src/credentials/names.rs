//! Names of the objects that are made for a credential.

use hanse_swarm::PeerId;
use sha2::{Digest, Sha256};

use super::plan::Key;

/// The longest name of an object (RFC 1123 subdomain).
const LONGEST: usize = 253;

/// The name of the Peer object of a peer: its peer id in lower case, as the original names it. Two peer ids that differ in
/// case only are as hard to find as a key is.
pub(super) fn peer(peer: &PeerId) -> String {
    peer.to_string().to_lowercase()
}

/// The account of a peer that gets other rights than everyone.
pub(super) fn own_account(identity: &str, of: &PeerId) -> String {
    bounded(format!("{identity}-{}", peer(of)))
}

/// The Secret to which the tokens of a credential are bound.
pub(super) fn binding(key: &Key) -> String {
    bounded(format!("{}-{}-{}", key.identity, key.swarm, peer(&key.peer)))
}

/// The Secret with the kubeconfig that a peer gave to this domain.
pub(super) fn received(from: &PeerId) -> String {
    format!("{}-kubeconfig", peer(from))
}

/// A name that is too long is cut, and told apart by its hash.
fn bounded(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let hash = Sha256::digest(&name);
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let start = name[..LONGEST - hash.len() - 1].trim_end_matches(['-', '.']);
    format!("{start}-{hash}")
}
