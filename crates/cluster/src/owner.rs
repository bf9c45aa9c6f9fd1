//! Whose an object is: the labels by which this agent finds again what it made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Label that names the agreement an object belongs to.
pub const AGREEMENT_LABEL: &str = "hanse.dev/agreement";
/// The standard label for the program that manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`] on everything this crate makes.
pub const MANAGED_BY: &str = "hanse";
/// Annotation with the agreement's full id, which may be longer than a label value can be.
pub const AGREEMENT_ANNOTATION: &str = "hanse.dev/agreement-id";
/// Annotation with the SHA-256 (hex) of the manifest that an object came from.
pub const MANIFEST_ANNOTATION: &str = "hanse.dev/manifest-sha256";
/// Everything under this prefix is ours to set; a manifest may not.
pub(crate) const RESERVED_PREFIX: &str = "hanse.dev/";

/// Longest label value (Kubernetes, "Labels and Selectors: syntax and character set").
const LABEL_VALUE_MAX: usize = 63;
/// Ids are on-chain words or short names; anything longer is a mistake.
const ID_MAX: usize = 253;

/// Who a deployed object belongs to: one agreement (or, in one's own cluster, one service).
///
/// Two owners never share an object: [`Cluster::apply`](crate::Cluster::apply) refuses to take one that carries another's label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    id: String,
    label: String,
}

/// An id that cannot name an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an owner id must have 1 to {ID_MAX} printable ASCII characters, this one has {length}: use the agreement's id in hex"
)]
pub struct OwnerError {
    length: usize,
}

impl Owner {
    /// Makes an owner from an agreement's id, e.g. its 32 bytes in hex.
    ///
    /// An id that is no valid label value (too long, odd characters) keeps a readable beginning and gets a digest of the
    /// whole, so that different ids stay different; the full id is kept in an annotation.
    ///
    /// # Errors
    /// When the id is empty, longer than 253 bytes or not printable ASCII.
    pub fn new(id: impl Into<String>) -> Result<Self, OwnerError> {
        let id = id.into();
        if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(OwnerError {
                length: id.chars().count(),
            });
        }
        let label = if is_label_value(&id) { id.clone() } else { digested(&id) };
        Ok(Self { id, label })
    }

    /// The id as given.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value of [`AGREEMENT_LABEL`] that stands for this owner.
    pub fn label_value(&self) -> &str {
        &self.label
    }

    /// The label selector that finds everything of this owner.
    pub fn selector(&self) -> String {
        format!("{MANAGED_BY_LABEL}={MANAGED_BY},{AGREEMENT_LABEL}={}", self.label)
    }

    /// The labels that mark an object as this owner's.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
            (AGREEMENT_LABEL.to_owned(), self.label.clone()),
        ])
    }
}

/// Readable beginning, a dash, 128 bits of SHA-256: at most 63 characters, valid at both ends.
fn digested(id: &str) -> String {
    let mut label: String = id
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(LABEL_VALUE_MAX - 33)
        .collect();
    if !label.is_empty() {
        label.push('-');
    }
    for byte in &Sha256::digest(id.as_bytes())[..16] {
        let _ = write!(label, "{byte:02x}"); // writing to a String cannot fail
    }
    label
}

fn is_label_value(value: &str) -> bool {
    let ends = |b: u8| b.is_ascii_alphanumeric();
    let bytes = value.as_bytes();
    bytes.len() <= LABEL_VALUE_MAX
        && bytes.first().copied().is_some_and(ends)
        && bytes.last().copied().is_some_and(ends)
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_id_is_its_own_label() {
        assert_eq!(
            Owner::new("service1700000000").unwrap().label_value(),
            "service1700000000"
        );
    }

    #[test]
    fn an_on_chain_id_fits_into_a_label_and_ids_that_differ_in_the_last_byte_stay_apart() {
        let a = Owner::new(format!("0x{}01", "ab".repeat(31))).unwrap();
        let b = Owner::new(format!("0x{}02", "ab".repeat(31))).unwrap();
        assert!(is_label_value(a.label_value()), "{}", a.label_value());
        assert_ne!(a.label_value(), b.label_value());
        assert!(a.label_value().starts_with("0xababab"));
    }

    #[test]
    fn an_empty_id_and_one_with_blanks_are_refused() {
        assert!(Owner::new("").is_err());
        assert!(Owner::new("a b").is_err());
    }

    proptest! {
        #[test]
        fn every_accepted_id_gives_a_valid_label(id in "[!-~]{1,253}") {
            prop_assert!(is_label_value(Owner::new(id).unwrap().label_value()));
        }
    }
}
