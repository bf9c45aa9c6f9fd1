//! A domain's keys, all of one seed.

mod command;
mod file;
mod passphrase;
mod sealed;
mod seed;

use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, bail};
use hanse_chain::key::ValidatorKey;
use hanse_chain::keyring::KeyRing;
use hanse_orchestrator::sealing::SealingKey;
use hanse_swarm::DomainKey;

use crate::config::{Config, KeysConfig};
use file::Place;
use passphrase::Passphrase;
use seed::{Purpose, Seed};

pub use command::{Keys, run};

/// Files of a data folder that was made when each key had a file of its own.
const OLDER: [&str; 3] = ["ledger.key", "validator.key", "sealing.key"];

/// The keys of one domain.
pub struct DomainKeys {
    /// Signs ledger transactions.
    pub ledger: PrivateKeySigner,
    /// Sign consensus messages, one after the other.
    pub validator: KeyRing,
    /// Opens what is sealed to the domain.
    pub sealing: SealingKey,
    /// Who the domain is in the swarm.
    pub swarm: DomainKey,
}

impl DomainKeys {
    /// The keys that an agent uses. A seed in the data folder that does not exist yet is made; one that the configuration
    /// names must exist.
    ///
    /// # Errors
    /// Says what is wrong with the seed's file, and what to do.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        Self::of(&load_seed(config)?)
    }

    /// The keys in a data folder; made if it has none.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_or_generate(data_dir: &Path) -> anyhow::Result<Self> {
        Self::load(&data_in(data_dir))
    }

    fn of(seed: &Seed) -> anyhow::Result<Self> {
        let ledger = seed.derive(Purpose::Ledger);
        let for_validators = seed.clone();
        Ok(Self {
            // One seed in 2^128 gives no valid key.
            ledger: PrivateKeySigner::from_bytes(&B256::new(*ledger))
                .context("this seed can't be used; make another")?,
            validator: KeyRing::derived(move |generation| {
                ValidatorKey::from_seed(*for_validators.derive(Purpose::Validator { generation }))
            }),
            sealing: SealingKey::from_bytes(*seed.derive(Purpose::Sealing)),
            swarm: DomainKey::from_secret(seed.derive(Purpose::Swarm)),
        })
    }
}

impl std::fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DomainKeys({})", self.ledger.address())
    }
}

/// The configuration of an agent that is told nothing but its data folder.
fn data_in(data_dir: &Path) -> Config {
    Config {
        data_dir: data_dir.to_owned(),
        ..Config::default()
    }
}

/// Where the seed of a data folder lies.
fn seed_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("seed")
}

fn load_seed(config: &Config) -> anyhow::Result<Seed> {
    let KeysConfig {
        seed_file,
        passphrase_file,
    } = &config.keys;
    let passphrase = Passphrase {
        file: passphrase_file.clone(),
    };
    if let Some(path) = seed_file {
        return file::read(path, Place::Configured, &passphrase).context("keys.seedFile");
    }
    let path = seed_path(&config.data_dir);
    let folder = path.parent().context("a seed lies in a folder")?;
    if path.exists() {
        return file::read(&path, Place::DataFolder, &passphrase);
    }
    if let Some(older) = OLDER.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        bail!(
            "{} was made by an older version of Hanse, which kept each key in a file of its own; keys now come from one seed. \
             Remove the data folder {} and join the consortium anew, or make the league anew",
            older.display(),
            config.data_dir.display()
        );
    }
    std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let seed = Seed::generate();
    let encrypt_with = passphrase_file.is_some().then(|| passphrase.choose()).transpose()?;
    file::write(&path, &seed, encrypt_with.as_deref().map(String::as_str))?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_data_folder_keeps_its_keys_and_a_copied_seed_brings_them_back() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = DomainKeys::load_or_generate(first.path()).unwrap();
        let mut config = data_in(second.path());
        config.keys.seed_file = Some(seed_path(first.path()));
        for same in [
            DomainKeys::load_or_generate(first.path()).unwrap(),
            DomainKeys::load(&config).unwrap(),
        ] {
            assert_eq!(same.ledger.address(), keys.ledger.address());
            assert_eq!(
                same.validator.generation(3).public_key(),
                keys.validator.generation(3).public_key()
            );
            assert_eq!(same.sealing.public(), keys.sealing.public());
            assert_eq!(same.swarm.peer_id(), keys.swarm.peer_id());
        }
        assert_eq!(format!("{keys:?}"), format!("DomainKeys({})", keys.ledger.address()));
        assert!(!second.path().join("keys").exists(), "a configured seed is only read");
    }

    #[test]
    fn a_configured_seed_is_never_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = data_in(folder.path());
        config.keys.seed_file = Some(folder.path().join("missing"));
        let error = format!("{:#}", DomainKeys::load(&config).unwrap_err());
        assert!(error.contains("missing") && error.contains("keys.seedFile"), "{error}");
    }

    #[test]
    fn a_data_folder_of_the_older_version_is_named_as_such() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        std::fs::write(folder.path().join("keys/ledger.key"), "ab".repeat(32)).unwrap();
        let error = format!("{:#}", DomainKeys::load_or_generate(folder.path()).unwrap_err());
        assert!(error.contains("older version") && error.contains("Remove"), "{error}");
    }

    #[test]
    fn a_passphrase_file_encrypts_the_seed_that_is_made_and_is_needed_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let words = folder.path().join("words");
        std::fs::write(&words, "four words are enough\n").unwrap();
        let mut config = data_in(&folder.path().join("data"));
        config.keys.passphrase_file = Some(words.clone());
        let keys = DomainKeys::load(&config).unwrap();
        let line = std::fs::read_to_string(seed_path(&config.data_dir)).unwrap();
        assert!(line.starts_with(sealed::HEADER), "{line}");
        assert_eq!(
            DomainKeys::load(&config).unwrap().ledger.address(),
            keys.ledger.address()
        );
        std::fs::write(&words, "other words than those\n").unwrap();
        let error = format!("{:#}", DomainKeys::load(&config).unwrap_err());
        assert!(error.contains("passphrase is wrong"), "{error}");
    }
}
