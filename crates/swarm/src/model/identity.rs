//! What a domain says of itself. The fields are those of the custom resources `Identity` and `Peer`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::SwarmAddress;
use super::membership::Membership;
use super::party::Party;

/// Characters that would let one peer's words look like another line of a table, or like something else than they are.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Why a text can't be part of an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which text.
        what: &'static str,
    },
    /// Too many bytes.
    #[error("{what} has {length} bytes; at most {most} are allowed")]
    Long {
        /// Which text.
        what: &'static str,
        /// Its length in bytes of UTF-8.
        length: usize,
        /// How many it may have.
        most: usize,
    },
    /// A control character, or one that changes the direction of writing.
    #[error("{what} has the control character {character:?}; remove it")]
    Control {
        /// Which text.
        what: &'static str,
        /// The character.
        character: char,
    },
    /// Not an address that a program can call.
    #[error("{0:?} is no http or https URL without user name and password")]
    Url(String),
    /// More than an identity can hold.
    #[error("{0} categories are given; at most {MOST_CATEGORIES} are allowed")]
    Categories(usize),
    /// The same twice.
    #[error("the category {0:?} is given twice")]
    CategoryTwice(String),
}

/// How many categories an identity may have.
pub const MOST_CATEGORIES: usize = 32;

/// How many addresses in the swarm an identity may have.
pub const MOST_ADDRESSES: usize = 8;

/// Checks a text of `least` to `most` bytes of UTF-8 on one line.
fn checked(what: &'static str, text: String, least: usize, most: usize) -> Result<String, TextError> {
    let length = text.len();
    if length < least {
        return Err(TextError::Empty { what });
    }
    if length > most {
        return Err(TextError::Long { what, length, most });
    }
    match text.chars().find(|character| is_control(*character)) {
        Some(character) => Err(TextError::Control { what, character }),
        None => Ok(text),
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $least:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                checked($what, text, $least, $most).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(
    /// What a domain calls itself. Anybody can take any name: whom one deals with is the peer id.
    DomainName,
    "the name",
    1,
    128
);
text!(
    /// What a domain says about itself, on one line.
    Description,
    "the description",
    0,
    512
);
text!(
    /// Something that a domain offers; peers are found by it.
    Category,
    "a category",
    1,
    48
);
text!(
    /// Where a domain runs what it runs for others: a place or a region. As long as in a bid.
    Location,
    "the location",
    1,
    128
);

/// Where a domain can be called: an `http` or `https` URL without user name and password.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceUrl(String);

impl ServiceUrl {
    const MOST: usize = 256;

    /// The URL as its owner wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceUrl {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        let text = checked("the URL", text, 0, Self::MOST)?;
        match url::Url::parse(&text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none() =>
            {
                Ok(Self(text))
            }
            _ => Err(TextError::Url(text)),
        }
    }
}

impl From<ServiceUrl> for String {
    fn from(url: ServiceUrl) -> Self {
        url.0
    }
}

/// The X25519 key to which messages for a domain are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SealingKey(pub [u8; 32]);

impl TryFrom<String> for SealingKey {
    type Error = hex::FromHexError;

    fn try_from(digits: String) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<SealingKey> for String {
    fn from(key: SealingKey) -> Self {
        hex::encode(key.0)
    }
}

/// What a domain publishes about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Identity {
    name: DomainName,
    description: Description,
    url: ServiceUrl,
    categories: Vec<Category>,
    sealing_key: SealingKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<Membership>,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<Party>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<SwarmAddress>,
}

/// Fields that later versions add are passed over.
#[derive(Deserialize)]
struct Unchecked {
    name: DomainName,
    description: Description,
    url: ServiceUrl,
    categories: Vec<Category>,
    sealing_key: SealingKey,
    #[serde(default)]
    membership: Option<Membership>,
    #[serde(default)]
    party: Option<Party>,
    #[serde(default)]
    addresses: Vec<String>,
}

impl TryFrom<Unchecked> for Identity {
    type Error = TextError;

    fn try_from(raw: Unchecked) -> Result<Self, TextError> {
        let identity = Self::new(raw.name, raw.description, raw.url, raw.categories, raw.sealing_key)?;
        // Later versions may have addresses that this one can't call.
        let addresses = raw.addresses.iter().filter_map(|text| SwarmAddress::parse(text).ok());
        Ok(identity
            .with_membership(raw.membership)
            .with_party(raw.party)
            .with_addresses(addresses.collect()))
    }
}

impl Identity {
    /// An identity with these fields; `categories` keep their order.
    ///
    /// # Errors
    /// [`TextError::Categories`] and [`TextError::CategoryTwice`].
    pub fn new(
        name: DomainName,
        description: Description,
        url: ServiceUrl,
        categories: Vec<Category>,
        sealing_key: SealingKey,
    ) -> Result<Self, TextError> {
        Self::check_categories(&categories)?;
        Ok(Self {
            name,
            description,
            url,
            categories,
            sealing_key,
            membership: None,
            party: None,
            addresses: Vec::new(),
        })
    }

    /// Whether an identity may have these categories.
    ///
    /// # Errors
    /// [`TextError::Categories`] and [`TextError::CategoryTwice`].
    pub fn check_categories(categories: &[Category]) -> Result<(), TextError> {
        if categories.len() > MOST_CATEGORIES {
            return Err(TextError::Categories(categories.len()));
        }
        for (index, category) in categories.iter().enumerate() {
            if categories[..index].contains(category) {
                return Err(TextError::CategoryTwice(category.to_string()));
            }
        }
        Ok(())
    }

    /// The same with another membership.
    #[must_use]
    pub fn with_membership(self, membership: Option<Membership>) -> Self {
        Self { membership, ..self }
    }

    /// The same with another claim as a party of agreements.
    #[must_use]
    pub fn with_party(self, party: Option<Party>) -> Self {
        Self { party, ..self }
    }

    /// What the domain calls itself.
    pub fn name(&self) -> &DomainName {
        &self.name
    }

    /// What it says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Where it can be called.
    pub fn url(&self) -> &ServiceUrl {
        &self.url
    }

    /// What it offers.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The same, with where it can be called in the swarm; the first [`MOST_ADDRESSES`] count. Whoever publishes need not give them:
    /// the swarm puts in where it listens when it signs.
    #[must_use]
    pub fn with_addresses(mut self, mut addresses: Vec<SwarmAddress>) -> Self {
        addresses.truncate(MOST_ADDRESSES);
        self.addresses = addresses;
        self
    }

    /// Where it can be called in the swarm, without the peer id.
    pub fn addresses(&self) -> &[SwarmAddress] {
        &self.addresses
    }

    /// What messages for it are sealed to.
    pub fn sealing_key(&self) -> SealingKey {
        self.sealing_key
    }

    /// What it says of itself as a party of agreements; none if it has no ledger, or an earlier version.
    pub fn party(&self) -> Option<&Party> {
        self.party.as_ref()
    }

    /// The consortium that it says it is a member of.
    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }
}
