//! The key of a private swarm, in the file format of IPFS.
//!
//! The format is `go-libp2p`'s (`core/pnet`, version 1.0.0 of the key): a line `/key/swarm/psk/1.0.0/`, a line with the encoding,
//! and 32 bytes. Of the encodings only `/base16/` is read and written: it is what IPFS tools generate, and the only one that
//! all of go, js and rust understand.

use std::fmt;
use std::str::FromStr;

use libp2p_pnet::PreSharedKey;
use rand::TryRngCore;
use zeroize::Zeroizing;

const HEADER: &str = "/key/swarm/psk/1.0.0/";
const ENCODING: &str = "/base16/";
const LENGTH: usize = 32;

/// A swarm's pre-shared key: 32 secret bytes, wiped from memory when dropped.
#[derive(Clone)]
pub struct SwarmKey(Zeroizing<[u8; LENGTH]>);

/// What may be shown of a key: equal for equal keys, and of no use to find the key. It is the one that `go-libp2p` and kubo
/// log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(libp2p_pnet::Fingerprint);

/// Why a text is no swarm key. No variant holds any of the text, which may be most of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwarmKeyError {
    /// The first line is something else.
    #[error("this is no swarm key: its first line must be {HEADER}; `hanse swarm keygen` makes one")]
    Header,
    /// The second line is something else.
    #[error(
        "the swarm key's second line must be {ENCODING}; keys in another encoding have to be written as 64 hexadecimal digits"
    )]
    Encoding,
    /// The third line is missing, too short or too long.
    #[error(
        "the swarm key's third line must have 64 hexadecimal digits, but it has {0} characters; copy the whole file"
    )]
    Length(usize),
    /// The third line has something else than digits.
    #[error("the swarm key's third line has a character at place {0} that is no hexadecimal digit")]
    Digit(usize),
    /// There is more in the file than one key.
    #[error("the swarm key goes on after its third line; a file holds one key")]
    Trailing,
}

impl SwarmKey {
    /// A new key from the operating system's random numbers: a swarm in which one is alone until others are given the key.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        rand::rngs::OsRng
            .try_fill_bytes(bytes.as_mut())
            .expect("the operating system provides random numbers");
        Self(bytes)
    }

    /// The file's text. It holds the secret.
    pub fn to_file(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::encode(self.0.as_slice()));
        Zeroizing::new(format!("{HEADER}\n{ENCODING}\n{}\n", digits.as_str()))
    }

    /// What may be shown of the key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.pre_shared().fingerprint())
    }

    /// The key as libp2p takes it. That type is printed in clear by `Debug` and is never wiped, so it is made where it is used.
    pub(crate) fn pre_shared(&self) -> PreSharedKey {
        PreSharedKey::new(*self.0)
    }
}

impl FromStr for SwarmKey {
    type Err = SwarmKeyError;

    /// Reads a `swarm.key` file. Lines may end with CR LF, and white space may follow the key.
    fn from_str(text: &str) -> Result<Self, SwarmKeyError> {
        let mut lines = text.lines().map(str::trim_end);
        if lines.next() != Some(HEADER) {
            return Err(SwarmKeyError::Header);
        }
        if lines.next() != Some(ENCODING) {
            return Err(SwarmKeyError::Encoding);
        }
        let digits = lines.next().unwrap_or_default();
        if let Some(place) = digits.chars().position(|digit| !digit.is_ascii_hexdigit()) {
            return Err(SwarmKeyError::Digit(place + 1));
        }
        let mut bytes = Zeroizing::new([0; LENGTH]);
        hex::decode_to_slice(digits, bytes.as_mut_slice()).map_err(|_| SwarmKeyError::Length(digits.len()))?;
        if lines.any(|line| !line.is_empty()) {
            return Err(SwarmKeyError::Trailing);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for SwarmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmKey(fingerprint {})", self.fingerprint())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// The key that the README of the original prints.
    const README: &str =
        "/key/swarm/psk/1.0.0/\n/base16/\n0849c7ce4cb89ef22842da52295d7f21072bf1243fb6b7e5506533392adaea0c";

    #[test]
    fn the_key_of_the_originals_readme_is_read_and_written_back() {
        let key: SwarmKey = README.parse().unwrap();
        assert_eq!(key.to_file().trim_end(), README);
        let windows = README.replace('\n', "\r\n") + "\r\n\r\n";
        assert_eq!(windows.parse::<SwarmKey>().unwrap().fingerprint(), key.fingerprint());
    }

    #[test]
    fn libp2p_reads_what_is_written_and_sees_the_same_fingerprint() {
        let key = SwarmKey::generate();
        let theirs: PreSharedKey = key.to_file().parse().unwrap();
        assert_eq!(theirs.fingerprint().to_string(), key.fingerprint().to_string());
        assert_ne!(SwarmKey::generate().fingerprint(), key.fingerprint());
    }

    #[test]
    fn nothing_that_is_printed_holds_the_key() {
        let key: SwarmKey = README.parse().unwrap();
        let secret = "0849c7ce";
        assert!(!format!("{key:?}").contains(secret));
        let cut = &README[..README.len() - 1];
        let error = cut.parse::<SwarmKey>().unwrap_err();
        assert_eq!(error, SwarmKeyError::Length(63));
        assert!(!format!("{error} {error:?}").contains(secret));
    }

    #[test]
    fn each_mistake_in_a_file_is_named() {
        for (text, error) in [
            (String::new(), SwarmKeyError::Header),
            (README.replace("1.0.0", "2.0.0"), SwarmKeyError::Header),
            (README.replace("base16", "base64"), SwarmKeyError::Encoding),
            (README.replace("0849", ""), SwarmKeyError::Length(60)),
            ("/key/swarm/psk/1.0.0/\n/base16/\n".into(), SwarmKeyError::Length(0)),
            (README.replace("0849", "084g"), SwarmKeyError::Digit(4)),
            // What libp2p's own parser takes for a number, and what makes it panic.
            (README.replace("0849", "+849"), SwarmKeyError::Digit(1)),
            (README.replace("0849", "0\u{20ac}"), SwarmKeyError::Digit(2)),
            (format!("{README}\n{README}"), SwarmKeyError::Trailing),
        ] {
            assert_eq!(text.parse::<SwarmKey>().unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(/key/swarm/psk/1.0.0/\n)?(/base16/\n)?\\PC{0,80}") {
            if let Ok(key) = text.parse::<SwarmKey>() {
                prop_assert!(key.to_file().trim_end().eq_ignore_ascii_case(text.trim_end()));
            }
        }
    }
}
