//! The swarm as the configuration says.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use hanse_swarm::model::SwarmAddress;
use hanse_swarm::{SealingSecret, Swarm, SwarmKey};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::consortium::{consensus_address, kept};
use crate::keys::DomainKeys;

/// Where the swarm's key lies, and whether the configuration says so.
fn key_file(config: &Config) -> (PathBuf, bool) {
    match &config.swarm.key_file {
        Some(path) => (path.clone(), true),
        None => (config.data_dir.join("swarm.key"), false),
    }
}

/// What the swarm remembers.
pub fn folder(config: &Config) -> PathBuf {
    config.data_dir.join("swarm")
}

/// The swarm's key; `None` if it will be made in the data folder at the first start.
///
/// # Errors
/// Says what is wrong with the file, and what to do.
pub fn key(config: &Config) -> anyhow::Result<Option<SwarmKey>> {
    let (path, configured) = key_file(config);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound && !configured => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "swarm.keyFile {} does not exist; get it from a member of the swarm, or make a swarm of your own with \
             `hanse swarm keygen --output {}`",
            path.display(),
            path.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("could not read the swarm's key {}", path.display())),
    };
    let key = text.parse().with_context(|| path.display().to_string())?;
    Ok(Some(key))
}

/// Joins the swarm. Its key is made in the data folder if there is none and the configuration names none.
///
/// # Errors
/// Says what is wrong with the key, the folder or the addresses. That nobody answers is no error.
pub async fn start(config: &Config, keys: &DomainKeys) -> anyhow::Result<Arc<Swarm>> {
    let key = match key(config)? {
        Some(key) => key,
        None => {
            let key = SwarmKey::generate();
            kept::write_bytes(&key_file(config).0, key.to_file().as_bytes())?;
            key
        }
    };
    let fingerprint = key.fingerprint();
    let listen = SwarmAddress::parse(&consensus_address(config.swarm.listen)).context("swarm.listen")?;
    let sealing = SealingSecret::from_bytes(Zeroizing::new(keys.sealing.to_bytes()));
    let swarm = Swarm::start(hanse_swarm::SwarmConfig {
        listen: vec![listen],
        external: config.swarm.external.clone(),
        bootstrap: config.swarm.bootstrap.clone(),
        relay: config.swarm.relay.settings(),
        mdns: config.swarm.mdns,
        ..hanse_swarm::SwarmConfig::new(key, keys.swarm.clone(), sealing, folder(config))
    });
    let swarm = swarm.await.with_context(|| {
        format!(
            "the swarm can't be joined at {}; stop what uses the port or set swarm.listen",
            config.swarm.listen
        )
    })?;
    tracing::info!(peer = %swarm.name(), key = %fingerprint, "in the swarm");
    Ok(Arc::new(swarm))
}
