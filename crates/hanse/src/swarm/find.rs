//! Finding a consortium in the swarm: who claims to be a member, a token from one of them, and the genesis document, checked
//! against the digest that they claim.

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hanse_chain::genesis::Genesis;
use hanse_swarm::Swarm;
use tokio::time::{sleep, timeout};

use super::claims::{Claimant, Unclear, choose};
use super::guests::{self, Question};
use crate::consortium::{BootstrapPage, Invite, fetch_bootstrap};

/// Members that are asked at one time: enough for some of them to be gone.
const ASKED: usize = 7;

/// When one member has given a token, the others have so long to give theirs: each proposes whom it gave one to.
const OTHERS_WITHIN: Duration = Duration::from_millis(300);

/// How long the records of a swarm may take to arrive one after the other, when none is asked for by its digest: another
/// consortium may be among them.
const SETTLED: Duration = Duration::from_secs(1);

/// Between two looks when nothing changes, and between two lines about what is amiss.
const LOOK: Duration = Duration::from_millis(500);
const TELL: Duration = Duration::from_secs(15);

/// What is known before the swarm is asked.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Digest of the genesis document; any when absent.
    pub genesis: Option<B256>,
    /// How long to try.
    pub within: Duration,
}

/// A consortium that was found.
#[derive(Debug)]
pub struct Found {
    /// Its genesis document.
    pub genesis: Genesis,
    /// Members, each with the token that it made for this domain, or with another member's.
    pub invites: Vec<Invite>,
    /// Consensus addresses to catch up from.
    pub bootstrap: Vec<String>,
}

/// Finds a consortium, and a member of it that lets this domain follow its ledger. This domain's identity must be published.
///
/// # Errors
/// At once when there are several and none was named; otherwise what was in the way when the time was over, and what to do.
pub async fn find(swarm: &Swarm, wanted: Wanted) -> anyhow::Result<Found> {
    let deadline = Instant::now() + wanted.within;
    let mut changes = swarm.changes();
    let mut told: Option<(String, Instant)> = None;
    let mut quiet_since = Instant::now();
    loop {
        let peers = swarm.peers().await?;
        let trouble = match choose(&peers, wanted.genesis) {
            // Another consortium may be in a record that has not come yet.
            Ok(_) if wanted.genesis.is_none() && quiet_since.elapsed() < SETTLED => None,
            Ok((digest, claimants)) => match enter(swarm, digest, claimants).await {
                Ok(found) => return Ok(found),
                Err(error) => Some(format!("{error:#}")),
            },
            Err(several @ Unclear::Several(_)) => bail!(several),
            Err(nobody) => Some(nobody_there(swarm, &nobody).await?),
        };
        if let Some(trouble) = trouble {
            ensure!(
                Instant::now() < deadline,
                "no consortium was found within {} s: {trouble}",
                wanted.within.as_secs()
            );
            let again = told
                .as_ref()
                .is_none_or(|(before, at)| *before != trouble || at.elapsed() >= TELL);
            if again {
                tracing::info!("looking for a consortium: {trouble}; trying on");
                told = Some((trouble, Instant::now()));
            }
            sleep(Duration::from_millis(50)).await;
        }
        // A change, or a reader that was too slow for all of them: both mean to look again.
        if timeout(LOOK, changes.recv()).await.is_ok() {
            quiet_since = Instant::now();
        }
    }
}

/// Why nobody claims anything: is there anybody?
async fn nobody_there(swarm: &Swarm, nobody: &Unclear) -> anyhow::Result<String> {
    let status = swarm.status().await?;
    if status.connected > 0 {
        return Ok(format!(
            "{nobody}; is there a member among them whose agent runs, with swarm.identity in its configuration?"
        ));
    }
    let unreachable = status.unreachable.iter();
    let tried: Vec<String> = unreachable
        .map(|it| format!("{} does not answer ({})", it.address, it.reason))
        .collect();
    Ok(if tried.is_empty() {
        format!(
            "nobody in the swarm has answered yet (key with the fingerprint {})",
            status.fingerprint
        )
    } else {
        tried.join("; ")
    })
}

/// Asks the claimants for a token and for the genesis document; whoever is quickest counts.
async fn enter(swarm: &Swarm, digest: B256, claimants: Vec<Claimant>) -> anyhow::Result<Found> {
    let claimants: Vec<Claimant> = claimants.into_iter().take(ASKED).collect();
    let question = &Question { genesis: digest };
    let tokens = claimants.iter().map(|claimant| async move {
        let token = guests::ask(swarm, claimant.peer, question).await;
        (claimant, token)
    });
    let pages = claimants.iter().map(|claimant| async move {
        let page = fetch_bootstrap(&claimant.api, digest).await;
        (claimant, page)
    });
    let (tokens, page) = tokio::join!(quickest(tokens, OTHERS_WITHIN), quickest(pages, Duration::ZERO));
    let tokens = tokens.context("no member lets this domain follow its ledger")?;
    let pages: Vec<(_, BootstrapPage)> = page.context("no member gives the genesis document")?;
    let page = pages.into_iter().next();
    let ((_, page), (maker, token)) = page.zip(tokens.first()).context("somebody has answered")?;
    tracing::info!(consortium = %digest, member = maker.name, "found a consortium");
    let invite = |claimant: &Claimant| {
        let own = tokens.iter().find(|(maker, _)| maker.peer == claimant.peer);
        Invite {
            url: claimant.api.clone(),
            genesis: digest,
            token: Some(own.map_or(token, |(_, own)| own).clone()),
        }
    };
    // Who answered first.
    let makers = tokens.iter().map(|(maker, _)| *maker);
    let others = claimants
        .iter()
        .filter(|claimant| tokens.iter().all(|(maker, _)| maker.peer != claimant.peer));
    Ok(Found {
        invites: makers.chain(others).map(invite).collect(),
        genesis: page.genesis,
        bootstrap: page.peers,
    })
}

/// What succeeds first, and what else does within `others_within` after it; if nothing does, what all of them said.
async fn quickest<'a, T>(
    attempts: impl Iterator<Item = impl Future<Output = (&'a Claimant, anyhow::Result<T>)>>,
    others_within: Duration,
) -> anyhow::Result<Vec<(&'a Claimant, T)>> {
    let mut attempts: FuturesUnordered<_> = attempts.collect();
    let (mut found, mut refusals) = (Vec::new(), Vec::new());
    let mut until: Option<Instant> = None;
    loop {
        // Each attempt has a deadline of its own.
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        match timeout(left, attempts.next()).await {
            Ok(Some((claimant, Ok(answer)))) => {
                found.push((claimant, answer));
                until.get_or_insert_with(|| Instant::now() + others_within);
            }
            Ok(Some((claimant, Err(error)))) => refusals.push(format!("{}: {error:#}", claimant.name)),
            Ok(None) | Err(_) => break,
        }
    }
    ensure!(!found.is_empty(), "{}", refusals.join("; "));
    Ok(found)
}
