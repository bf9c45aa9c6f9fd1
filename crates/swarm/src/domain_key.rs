//! The key that is a domain in the swarm.

use std::fmt;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use zeroize::Zeroizing;

/// A domain's Ed25519 key. Its public half, as a libp2p peer id, is the domain's name for ever.
///
/// This crate does not derive keys: whoever holds the domain's seed does (the agent, HKDF label `swarm ed25519`), and hands
/// over the 32 secret bytes.
#[derive(Clone)]
pub struct DomainKey(Keypair);

impl DomainKey {
    /// The key with these secret bytes, which are wiped.
    pub fn from_secret(mut secret: Zeroizing<[u8; 32]>) -> Self {
        let keypair =
            Keypair::ed25519_from_bytes(secret.as_mut_slice()).expect("any 32 bytes are an Ed25519 secret key");
        Self(keypair)
    }

    /// The domain's name in the swarm.
    pub fn peer_id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.0
    }

    /// Signs `message` (RFC 8032).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).expect("Ed25519 signs any message")
    }
}

impl fmt::Debug for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainKey({})", self.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // js-libp2p (`generateKeyPairFromSeed`, `peerIdFromPrivateKey`) names the same key so.
    #[test]
    fn the_name_of_a_key_is_the_one_that_js_libp2p_gives() {
        let key = DomainKey::from_secret(Zeroizing::new([7; 32]));
        assert_eq!(
            key.peer_id().to_string(),
            "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7"
        );
    }

    #[test]
    fn debug_output_is_the_name() {
        let key = DomainKey::from_secret(Zeroizing::new([7; 32]));
        assert_eq!(format!("{key:?}"), format!("DomainKey({})", key.peer_id()));
    }
}
