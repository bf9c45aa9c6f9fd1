//! What a domain that is no member of its consortium needs to follow the ledger, found in the swarm.

use std::time::Duration;

use alloy::primitives::Address;
use anyhow::{Context, ensure};
use hanse_chain::genesis::Genesis;
use hanse_chain::snapshot::Standing;
use hanse_swarm::Swarm;
use hanse_swarm::model::Statement;

use super::find::{Found, Wanted, find};
use super::identity::identity;
use crate::agent::{ledger_folder, load_genesis};
use crate::config::Config;
use crate::consortium::kept;
use crate::keys::DomainKeys;

/// Finds the consortium if the configuration says so and this domain is no member. The genesis document is written down when it
/// was found first; from then on the folder belongs to that consortium.
///
/// # Errors
/// When nothing was found in time, or several consortia were.
pub async fn enter(config: &Config, keys: &DomainKeys, swarm: &Swarm) -> anyhow::Result<Option<Found>> {
    let (Some(wanted), Some(embedded)) = (&config.consortium.find, &config.ledger.embedded) else {
        return Ok(None);
    };
    let known = embedded.genesis.exists();
    let known = known.then(|| load_genesis(&embedded.genesis)).transpose()?;
    let digest = known.as_ref().map(Genesis::digest);
    if let (Some(digest), Some(wanted)) = (digest, wanted.genesis) {
        ensure!(
            digest == wanted,
            "{} is of the consortium {digest}, but consortium.find.genesis is {wanted}; use another data folder for another \
             consortium",
            embedded.genesis.display()
        );
    }
    if let Some(genesis) = &known
        && is_member(config, genesis, keys.ledger.address()).await?
    {
        return Ok(None);
    }
    let identity = identity(config, keys)?.context("consortium.find needs swarm.identity")?;
    swarm
        .publish(Statement::Present(Box::new(identity)))
        .await
        .context("swarm.identity could not be published")?;
    let found = find(
        swarm,
        Wanted {
            genesis: digest.or(wanted.genesis),
            within: Duration::from_secs(wanted.within_seconds),
        },
    );
    let found = found.await?;
    if known.is_none() {
        kept::write(&embedded.genesis, &found.genesis)?;
    }
    Ok(Some(found))
}

/// Whether this domain was a member when its node stopped, or is a founder.
async fn is_member(config: &Config, genesis: &Genesis, me: Address) -> anyhow::Result<bool> {
    if genesis.members.iter().any(|member| member.account == me) {
        return Ok(true);
    }
    let (folder, genesis) = (ledger_folder(config), genesis.clone());
    let standing = tokio::task::spawn_blocking(move || Standing::read(&folder, &genesis)).await?;
    // What can't be read is told by the node when it opens it.
    let standing = standing.ok().flatten();
    Ok(standing.is_some_and(|standing| standing.members().iter().any(|(account, _)| *account == me)))
}
