//! Credits: the ledger's own coin, in wei. Written as decimal digits, in JSON as a string, because JavaScript's numbers
//! are too short.

use std::fmt;
use std::str::FromStr;

use ruint::aliases::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is not a number of wei, or one that is too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount of wei: give decimal digits")]
pub struct ParseAmountError(String);

impl ParseAmountError {
    fn of(text: &str) -> Self {
        Self(text.chars().take(100).collect())
    }
}

/// An amount in wei, as large as the ledger's own numbers: below 2^256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(U256);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);

    /// From the 32 bytes of an ABI word, most significant first.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// As the 32 bytes of an ABI word, most significant first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Whether this is nothing.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// `None` where the sum is not below 2^256.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

impl From<u128> for Amount {
    fn from(wei: u128) -> Self {
        Self(U256::from(wei))
    }
}

impl std::iter::Sum for Amount {
    /// Amounts on one ledger cannot exceed its supply, so their sum fits; it saturates all the same.
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |total, amount| Self(total.0.saturating_add(amount.0)))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} wei")
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseAmountError::of(text));
        }
        U256::from_str_radix(text, 10)
            .map(Self)
            .map_err(|_| ParseAmountError::of(text))
    }
}

/// A price in wei for each hour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(pub u128);

impl Price {
    /// What so many hours cost.
    pub fn for_hours(self, hours: u32) -> Amount {
        Amount(U256::from(self.0) * U256::from(hours))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} wei/h")
    }
}

impl FromStr for Price {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseAmountError::of(text));
        }
        text.parse().map(Self).map_err(|_| ParseAmountError::of(text))
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
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
    )*};
}

serde_as_text!(Amount, Price);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_dearest_price_for_the_longest_time_is_exact() {
        let cost = Price(u128::MAX).for_hours(u32::MAX);
        assert_eq!(cost.to_string(), "1461501636990620551282746369252908412219869364225");
        assert_eq!(cost.to_string().parse::<Amount>().unwrap(), cost);
        assert_eq!(Amount::from_be_bytes(cost.to_be_bytes()), cost);
    }

    #[test]
    fn json_is_a_string_of_digits() {
        assert_eq!(serde_json::to_string(&Price(12)).unwrap(), "\"12\"");
        assert_eq!(serde_json::from_str::<Amount>("\"12\"").unwrap(), Amount::from(12));
        for text in ["", "-1", "+1", "0x1", "1_0", "1.5", &"9".repeat(90)] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
            assert!(text.parse::<Price>().is_err(), "{text}");
        }
    }
}
