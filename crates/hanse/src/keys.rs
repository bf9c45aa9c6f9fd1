//! A domain's keys, each in a file that only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, bail};
use hanse_chain::key::ValidatorKey;
use hanse_orchestrator::sealing::SealingKey;

/// The keys of one domain.
pub struct DomainKeys {
    /// Signs ledger transactions.
    pub ledger: PrivateKeySigner,
    /// Signs consensus messages.
    pub validator: ValidatorKey,
    /// Opens what is sealed to the domain.
    pub sealing: SealingKey,
}

impl DomainKeys {
    fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join("keys")
    }

    /// Reads the keys; those that do not exist yet are made.
    pub fn load_or_generate(data_dir: &Path) -> anyhow::Result<Self> {
        let folder = Self::folder(data_dir);
        std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        let ledger = secret(&folder.join("ledger.key"), || PrivateKeySigner::random().to_bytes().0)?;
        let sealing = secret(&folder.join("sealing.key"), || SealingKey::generate().to_bytes())?;
        let validator = ValidatorKey::load_or_generate(&folder.join("validator.key"))?;
        Ok(Self {
            ledger: PrivateKeySigner::from_bytes(&ledger.into())
                .with_context(|| format!("{} holds no valid key", folder.join("ledger.key").display()))?,
            validator,
            sealing: SealingKey::from_bytes(sealing),
        })
    }
}

/// 32 secret bytes as hex in a file with mode 0600.
fn secret(path: &Path, generate: impl FnOnce() -> [u8; 32]) -> anyhow::Result<[u8; 32]> {
    if path.exists() {
        let mode = std::fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!(
                "{} can be read by others; chmod 600 it, and replace the key if others may have read it",
                path.display()
            );
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        return <[u8; 32]>::try_from(hex::decode(text.trim()).unwrap_or_default())
            .map_err(|_| anyhow::anyhow!("{} holds no key: 64 hex digits are expected", path.display()));
    }
    let bytes = generate();
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("could not create {}", path.display()))?;
    writeln!(file, "{}", hex::encode(bytes))?;
    file.sync_all()?;
    Ok(bytes)
}
