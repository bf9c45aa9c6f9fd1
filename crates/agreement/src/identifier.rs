//! Fixed-length names of things: accounts, agreements, hashes. Written as `0x` and lower-case hex digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is not the hex form of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: give 0x and {digits} hex digits")]
pub struct ParseIdentifierError {
    text: String,
    what: &'static str,
    digits: usize,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdentifierError;

            /// Digits may be in either case; the `0x` may be left out.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(|_| {
                    ParseIdentifierError {
                        text: text.chars().take(100).collect(),
                        what: $what,
                        digits: 2 * $bytes,
                    }
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl From<[u8; $bytes]> for $name {
            fn from(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

identifier! {
    /// A ledger account: a domain, seen from the ledger.
    Account, 20, "an account"
}

identifier! {
    /// An agreement, for ever. Chosen by the creator; take it at random, so that no two collide.
    AgreementId, 32, "an agreement id"
}

identifier! {
    /// 32 bytes that commit to a content.
    Hash, 32, "a hash"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_and_back() {
        let id = AgreementId([0xab; 32]);
        let text = format!("0x{}", "ab".repeat(32));
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse::<AgreementId>().unwrap(), id);
        assert_eq!(
            text.to_uppercase().replace("0X", "0x").parse::<AgreementId>().unwrap(),
            id
        );
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("{text:?}"));
        assert_eq!(serde_json::from_str::<AgreementId>(&format!("{text:?}")).unwrap(), id);
    }

    #[test]
    fn other_text_is_refused_with_what_to_give() {
        for text in ["", "0x", "0x12", "0x12345678901234567890123456789012345678zz"] {
            assert_eq!(
                text.parse::<Account>().unwrap_err().to_string(),
                format!("{text:?} is not an account: give 0x and 40 hex digits")
            );
        }
    }
}
