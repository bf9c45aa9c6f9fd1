//! Sealing: libsodium's sealed box (X25519, XSalsa20-Poly1305) by the `crypto_box` crate, which was audited for it.

use std::fmt;

use crypto_box::aead::OsRng;
use crypto_box::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use super::envelope::{Direction, Envelope, EnvelopeError, LARGEST_TEXT};
use crate::model::SealingKey;

/// The ephemeral public key and the authentication code.
const BOX_OVERHEAD: usize = 32 + 16;
/// The most bytes of a sealed envelope.
pub(crate) const LARGEST_BOX: usize = LARGEST_TEXT + BOX_OVERHEAD;

/// The X25519 key that opens what is sealed to a domain; wiped when dropped.
///
/// This crate does not derive keys: the agent does, from the domain's seed.
#[derive(Clone)]
pub struct SealingSecret(SecretKey);

/// Why a box could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// Sealed to another key, or altered.
    #[error("it was not sealed to this domain's sealing key, or was altered")]
    NotForUs,
    /// Opened, and nothing of ours in it.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// In the box it says something else than where it came from.
    #[error("its content is not from the peer that brought it, not for this domain, or of the other direction")]
    Misdirected,
}

impl SealingSecret {
    /// The key with these secret bytes, which are wiped.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(SecretKey::from_bytes(*bytes))
    }

    /// What others seal to: it belongs into the domain's identity.
    pub fn public(&self) -> SealingKey {
        SealingKey(self.0.public_key().to_bytes())
    }

    /// What is in a box that `from` brought for `to`.
    pub(crate) fn open(
        &self,
        sealed: &[u8],
        direction: Direction,
        from: &libp2p::PeerId,
        to: &libp2p::PeerId,
    ) -> Result<Envelope, OpenError> {
        let text = self.0.unseal(sealed).map_err(|_| OpenError::NotForUs)?;
        let envelope = Envelope::from_text(&Zeroizing::new(text))?;
        if envelope.direction == direction && envelope.from == *from && envelope.to == *to {
            Ok(envelope)
        } else {
            Err(OpenError::Misdirected)
        }
    }
}

impl fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingSecret(of {})", hex::encode(self.public().0))
    }
}

/// Seals an envelope so that only the owner of `to` can read it. Each call gives other bytes.
pub(crate) fn seal(envelope: &Envelope, to: SealingKey) -> Vec<u8> {
    PublicKey::from_bytes(to.0)
        .seal(&mut OsRng, &envelope.to_text())
        .expect("sealing fails only for messages beyond 2^38 bytes")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use libp2p::PeerId;
    use proptest::prelude::*;

    use super::super::{LARGEST_BODY, Topic};
    use super::*;

    const TOPIC: Topic = Topic::new("test/1");

    fn secret(tag: u8) -> SealingSecret {
        SealingSecret::from_bytes(Zeroizing::new([tag; 32]))
    }

    fn envelope(from: PeerId, to: PeerId, body: Bytes) -> Envelope {
        Envelope::question(from, to, TOPIC, [3; 32], body).unwrap()
    }

    #[test]
    fn only_the_addressee_opens_it_and_only_from_its_sender() {
        let (a, b, other) = (PeerId::random(), PeerId::random(), PeerId::random());
        let (ours, theirs) = (secret(1), secret(2));
        let sent = envelope(a, b, Bytes::from_static(b"hello"));
        let sealed = seal(&sent, ours.public());
        let open = |direction, from, to| ours.open(&sealed, direction, from, to);
        assert_eq!(open(Direction::Question, &a, &b).unwrap(), sent);
        let brought_by_another = open(Direction::Question, &other, &b);
        assert_eq!(brought_by_another.unwrap_err(), OpenError::Misdirected);
        let meant_for_another = open(Direction::Question, &a, &other);
        assert_eq!(meant_for_another.unwrap_err(), OpenError::Misdirected);
        let sent_back = open(Direction::Answer, &a, &b);
        assert_eq!(sent_back.unwrap_err(), OpenError::Misdirected);
        let by_another = theirs.open(&sealed, Direction::Question, &a, &b);
        assert_eq!(by_another.unwrap_err(), OpenError::NotForUs);
    }

    #[test]
    fn the_largest_message_fits_into_the_largest_box() {
        let largest = envelope(PeerId::random(), PeerId::random(), vec![7; LARGEST_BODY].into());
        assert!(seal(&largest, secret(1).public()).len() <= LARGEST_BOX);
    }

    #[test]
    fn debug_output_has_nothing_of_the_secret() {
        let text = format!("{:?}", secret(0xab));
        assert!(!text.contains("abab"), "{text}");
    }

    proptest! {
        #[test]
        fn a_changed_box_is_refused(at in any::<prop::sample::Index>(), change in 1..=255_u8) {
            let (a, b) = (PeerId::random(), PeerId::random());
            let mut sealed = seal(&envelope(a, b, Bytes::from_static(b"hello")), secret(1).public());
            let at = at.index(sealed.len());
            sealed[at] ^= change;
            prop_assert!(secret(1).open(&sealed, Direction::Question, &a, &b).is_err());
        }

        #[test]
        fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (a, b) = (PeerId::random(), PeerId::random());
            prop_assert!(secret(1).open(&bytes, Direction::Question, &a, &b).is_err());
        }
    }
}
