//! The Ed25519 key with which a validator signs, and under which its node is known on the consensus network.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use malachitebft_signing_ed25519::{PrivateKey, PublicKey, Signature};
use rand::TryRngCore;
use zeroize::Zeroizing;

const HEADER: &str = "hanse-validator-key-ed25519";

/// A validator's private key. Its bytes are wiped from memory when it is dropped.
#[derive(Clone)]
pub struct ValidatorKey(Zeroizing<[u8; 32]>);

/// Why a key file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing failed.
    #[error("validator key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{0} is not a validator key file (expected the line \"{HEADER} <64 hexadecimal digits>\"); \
         point to the right file, or move this one away to have a new key made"
    )]
    Format(PathBuf),
    /// Others may read the file.
    #[error("others may read the validator key file {0}; run: chmod 600 {0}")]
    Permissions(PathBuf),
}

impl ValidatorKey {
    /// A new key from the operating system's random numbers.
    ///
    /// # Panics
    /// When the operating system gives none.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rand::rngs::OsRng
            .try_fill_bytes(seed.as_mut())
            .expect("the operating system provides random numbers");
        Self(seed)
    }

    /// The key with this RFC 8032 seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When it can't be read, is readable by others, or holds no key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file_error = |source| KeyError::File {
            path: path.into(),
            source,
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if fs::metadata(path).map_err(file_error)?.permissions().mode() & 0o077 != 0 {
                return Err(KeyError::Permissions(path.into()));
            }
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(file_error)?);
        let mut words = text.split_ascii_whitespace();
        let (Some(HEADER), Some(digits), None) = (words.next(), words.next(), words.next()) else {
            return Err(KeyError::Format(path.into()));
        };
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, seed.as_mut()).map_err(|_| KeyError::Format(path.into()))?;
        Ok(Self(seed))
    }

    /// Writes a new key file that only its owner may read. An existing file is never overwritten.
    ///
    /// # Errors
    /// When the file exists or can't be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let file_error = |source| KeyError::File {
            path: path.into(),
            source,
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(file_error)?;
        let line = Zeroizing::new(format!("{HEADER} {}\n", Zeroizing::new(hex::encode(*self.0)).as_str()));
        file.write_all(line.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(file_error)
    }

    /// Reads the key file, or makes a key and writes it if there is no such file.
    ///
    /// # Errors
    /// As [`Self::load`] and [`Self::save`].
    pub fn load_or_generate(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate();
                key.save(path)?;
                Ok(key)
            }
            loaded => loaded,
        }
    }

    /// The public key, as the Consortium contract names it.
    pub fn public_key(&self) -> [u8; 32] {
        *self.signing_key().public_key().as_bytes()
    }

    /// A signature that shows possession of this key to whoever is to trust it for what `statement` says. It can't be taken
    /// for a consensus message.
    pub fn prove_possession(&self, statement: &[u8]) -> [u8; 64] {
        self.signing_key().sign(&possession(statement)).to_bytes()
    }

    pub(crate) fn signing_key(&self) -> PrivateKey {
        PrivateKey::from(*self.0)
    }

    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }
}

/// What is signed; consensus messages begin otherwise.
fn possession(statement: &[u8]) -> Vec<u8> {
    [b"hanse: possession of a validator key\n", statement].concat()
}

/// Whether `signature` is [`ValidatorKey::prove_possession`] of `statement` by the key with this public half.
pub fn verify_possession(public: &[u8; 32], statement: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (PublicKey::from_bytes(*public), <[u8; 64]>::try_from(signature)) else {
        return false;
    };
    key.verify(&possession(statement), &Signature::from_bytes(signature))
        .is_ok()
}

impl std::fmt::Debug for ValidatorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ValidatorKey({})", hex::encode(self.public_key()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_is_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validator.key");
        let key = ValidatorKey::load_or_generate(&path).unwrap();
        assert_eq!(
            ValidatorKey::load_or_generate(&path).unwrap().public_key(),
            key.public_key()
        );
        assert!(
            matches!(key.save(&path), Err(KeyError::File { .. })),
            "an existing key is not overwritten"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(ValidatorKey::load(&path), Err(KeyError::Permissions(_))));
        }
    }

    #[test]
    fn what_is_no_key_file_is_refused_and_its_content_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("empty", String::new()),
            ("other", format!("hanse-sealing-key {}", "ab".repeat(32))),
            ("short", format!("{HEADER} abcd")),
            ("long", format!("{HEADER} {}", "ab".repeat(33))),
            ("more", format!("{HEADER} {} x", "ab".repeat(32))),
        ] {
            let path = folder.path().join(name);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&path).unwrap().write_all(content.as_bytes()).unwrap();
            let error = ValidatorKey::load(&path).unwrap_err();
            assert!(matches!(error, KeyError::Format(_)), "{name}: {error}");
            assert!(!error.to_string().contains("abab"));
        }
    }

    #[test]
    fn debug_output_does_not_hold_the_private_key() {
        let key = ValidatorKey::from_seed([7; 32]);
        assert!(!format!("{key:?}").contains(&"07".repeat(8)));
    }

    #[test]
    fn possession_is_shown_by_the_key_for_the_statement_alone() {
        let (key, other) = (ValidatorKey::generate(), ValidatorKey::generate());
        let proof = key.prove_possession(b"admit me");
        assert!(verify_possession(&key.public_key(), b"admit me", &proof));
        assert!(!verify_possession(&key.public_key(), b"admit her", &proof));
        assert!(!verify_possession(&other.public_key(), b"admit me", &proof));
        assert!(!verify_possession(&key.public_key(), b"admit me", &proof[1..]));
        assert!(
            key.signing_key().sign(b"admit me").to_bytes() != proof,
            "nothing else can be taken for it"
        );
    }

    // RFC 8032, section 7.1, test 1.
    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).unwrap();
        assert_eq!(hex::encode(ValidatorKey::from_seed(bytes).public_key()), public);
    }
}
