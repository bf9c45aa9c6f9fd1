//! What this domain says of itself in its swarm, before its cluster runs; then the Identity there does.

use anyhow::Context;
use hanse_swarm::model::{Identity, SealingKey};

use crate::config::Config;
use crate::keys::DomainKeys;

/// The identity of the configuration, if there is one.
///
/// # Errors
/// Says which part of it can't be published.
pub fn identity(config: &Config, keys: &DomainKeys) -> anyhow::Result<Option<Identity>> {
    let Some(of) = &config.swarm.identity else {
        return Ok(None);
    };
    let url = match &of.url {
        Some(url) => url.clone(),
        None => config.api.public_url().try_into().context("api.url")?,
    };
    let description = match &of.description {
        Some(description) => description.clone(),
        None => String::new().try_into().context("swarm.identity.description")?,
    };
    let identity = Identity::new(
        config.domain.clone().try_into().context("domain")?,
        description,
        url,
        of.categories.clone(),
        SealingKey(keys.sealing.public()),
    );
    identity.context("swarm.identity").map(Some)
}
