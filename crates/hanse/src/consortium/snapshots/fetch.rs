//! Fetching from other domains' agents: the state at a recent height before the node starts, and afterwards the blocks that
//! were passed by.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use anyhow::Context;
use axum::http::StatusCode;
use hanse_chain::node::Node;
use hanse_chain::snapshot::{self, Outcome, Progress, Source, SourceError, Standing, wire};
use hanse_chain::store::Staging;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::invite::Invite;
use super::super::service::now;
use super::super::{remote, token};
use super::TOKEN;

/// One request may take this long.
const WITHIN: Duration = Duration::from_secs(60);

/// A node that starts waits so long for what others say of their height.
const HEIGHT_WITHIN: Duration = Duration::from_secs(2);

/// Members that are asked.
const ASKED: usize = 7;

/// A member's own token, for what it fetches as it starts, is valid for so many seconds.
const OWN_LASTS: u64 = 24 * 3600;

/// A member as it is reached.
struct Member {
    name: String,
    url: Url,
    token: String,
    http: reqwest::Client,
    runtime: Handle,
    /// Ends requests.
    stop: CancellationToken,
}

impl Member {
    async fn request(&self, path: &str, most: usize, within: Duration) -> Result<Vec<u8>, SourceError> {
        let away = |error: reqwest::Error| SourceError::Away(error.to_string());
        let url = self
            .url
            .join(path)
            .map_err(|error| SourceError::Nothing(error.to_string()))?;
        let request = self.http.get(url).header(TOKEN, &self.token).timeout(within);
        let mut response = request.send().await.map_err(away)?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(away)? {
            body.extend_from_slice(&part);
            if body.len() > most {
                return Err(SourceError::Nothing(format!("it answers more than {most} bytes")));
            }
        }
        let status = response.status();
        if status.is_success() {
            return Ok(body);
        }
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        let reason = detail.map_or_else(|| format!("it answers {status}"), str::to_owned);
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            Err(SourceError::Away(reason))
        } else if status == StatusCode::FORBIDDEN {
            Err(SourceError::Refused(reason))
        } else {
            Err(SourceError::Nothing(reason))
        }
    }

    fn get(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = self.request(path, most, WITHIN) => answer,
                () = self.stop.cancelled() => Err(SourceError::Away("stopping".into())),
            }
        })
    }

    /// Height of its newest block, as it says.
    async fn height(&self) -> Option<u64> {
        let answer = self.request("api/v1/ledger/snapshots/height", 32, HEIGHT_WITHIN).await;
        std::str::from_utf8(&answer.ok()?).ok()?.parse().ok()
    }
}

impl Source for Member {
    fn name(&self) -> &str {
        &self.name
    }

    fn offer(&self) -> Result<Vec<u8>, SourceError> {
        self.get("api/v1/ledger/snapshots/offer", wire::MAX_ANSWER)
    }

    fn headers(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        let path = format!("api/v1/ledger/snapshots/headers?from={from}&to={to}");
        self.get(&path, wire::MAX_ANSWER)
    }

    fn chunk(&self, hash: B256) -> Result<Vec<u8>, SourceError> {
        self.get(&format!("api/v1/ledger/snapshots/chunks/{hash}"), wire::MAX_CHUNK)
    }

    fn blocks(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        let path = format!("api/v1/ledger/snapshots/blocks?from={from}&to={to}");
        self.get(&path, wire::MAX_ANSWER)
    }
}

/// The other members as this domain's own ledger names them, asked with a token of its own.
fn others(
    members: &[(Address, String)],
    genesis: B256,
    signer: &PrivateKeySigner,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<Member>> {
    let (http, runtime) = (remote::client()?, Handle::current());
    let token = token::make(signer, genesis, now() + OWN_LASTS)?;
    let others = members.iter().filter(|(account, _)| *account != signer.address());
    let mut urls: Vec<Url> = others.filter_map(|(_, url)| Url::parse(url).ok()).collect();
    // Each node asks others, so that not all ask the same.
    rand::seq::SliceRandom::shuffle(urls.as_mut_slice(), &mut rand::rng());
    let member = |url: Url| Member {
        name: url.to_string(),
        url,
        token: token.clone(),
        http: http.clone(),
        runtime: runtime.clone(),
        stop: stop.clone(),
    };
    Ok(urls.into_iter().take(ASKED).map(member).collect())
}

fn invited(invites: &[Invite], genesis: B256) -> anyhow::Result<Vec<Member>> {
    let (http, runtime) = (remote::client()?, Handle::current());
    let mut members = Vec::new();
    for invite in invites {
        let Some(token) = &invite.token else { continue };
        anyhow::ensure!(
            invite.genesis == genesis,
            "the invite of {} is for another ledger than genesis.json",
            invite.url
        );
        members.push(Member {
            name: invite.url.to_string(),
            url: invite.url.clone(),
            token: token.clone(),
            http: http.clone(),
            runtime: runtime.clone(),
            stop: CancellationToken::new(),
        });
    }
    Ok(members)
}

/// The members, if one of them says that it is so many blocks ahead that its state is to be fetched.
async fn ahead(
    height: u64,
    members: &[(Address, String)],
    settings: &snapshot::Settings,
    signer: &PrivateKeySigner,
) -> anyhow::Result<Vec<Member>> {
    let members = others(members, settings.genesis.digest(), signer, &CancellationToken::new())?;
    let heights = futures::future::join_all(members.iter().map(Member::height)).await;
    let highest = heights.into_iter().flatten().max().unwrap_or(0);
    if highest < height.saturating_add(settings.least_blocks) {
        return Ok(Vec::new());
    }
    tracing::info!(
        behind = highest - height,
        "far behind the others: taking their state instead of executing all blocks"
    );
    Ok(members)
}

/// Whether everybody who answers has too few blocks for a snapshot to be worth it. A member that is asked for one all the same
/// makes it, and offers nothing newer for a while.
async fn has_just_begun(members: &[Member], least_blocks: u64) -> bool {
    let heights = futures::future::join_all(members.iter().map(Member::height)).await;
    let highest = heights.into_iter().flatten().max();
    highest.is_some_and(|highest| highest < least_blocks)
}

/// Fetches a snapshot into the ledger's folder, before a node is started on it: of a domain that was invited and has no ledger
/// yet, from those who invited it, or whom it found in the swarm; of a member that is far behind, or a founder that has lost its
/// ledger, from the other members.
pub async fn fetch(
    mut settings: snapshot::Settings,
    invites: &[Invite],
    signer: &PrivateKeySigner,
) -> anyhow::Result<()> {
    let digest = settings.genesis.digest();
    let (folder, genesis) = (settings.data_dir.clone(), settings.genesis.clone());
    let standing = tokio::task::spawn_blocking(move || Standing::read(&folder, &genesis)).await?;
    let standing = match standing {
        Ok(standing) => standing,
        Err(error) => {
            // The node says what is wrong when it opens it.
            tracing::debug!(%error, "the ledger can't be read yet");
            return Ok(());
        }
    };
    let founders = settings.genesis.members.iter();
    let founders: Vec<_> = founders.map(|member| (member.account, member.url.clone())).collect();
    let members = match &standing {
        Some(standing) => ahead(standing.height(), standing.members(), &settings, signer).await?,
        None if founders.iter().any(|(account, _)| *account == signer.address()) => {
            settings.fill = true;
            ahead(0, &founders, &settings, signer).await?
        }
        None => {
            let members = invited(invites, digest)?;
            if has_just_begun(&members, settings.least_blocks).await {
                return Ok(());
            }
            if settings.fill {
                tracing::info!("the ledger of this domain is gone: taking their state instead of executing all blocks");
            }
            members
        }
    };
    if members.is_empty() {
        // Of a process that was killed between the last step and this one.
        if standing.is_some() {
            Staging::remove(&settings.data_dir).context("a fetched snapshot could not be removed")?;
        }
        return Ok(());
    }
    let members: Vec<Box<dyn Source>> = members.into_iter().map(|member| Box::new(member) as _).collect();
    let work = move || {
        let mut shown = Shown::default();
        let progress = &mut |progress| shown.show(progress);
        let outcome = snapshot::fetch(&settings, standing.as_ref(), members, &|| false, progress);
        shown.bar.finish_and_clear();
        outcome
    };
    let outcome = tokio::task::spawn_blocking(work).await?;
    match outcome.context("the ledger's snapshot could not be fetched")? {
        Outcome::NotNeeded => {}
        Outcome::Installed { height } => tracing::info!(height, "joined by snapshot; going on from there"),
        Outcome::Unavailable(reasons) => {
            tracing::warn!(reasons, "no snapshot; going on block by block");
        }
    }
    Ok(())
}

/// Fetches in the background the blocks that the node passed by, if any, until told to stop.
///
/// # Errors
/// When the store or the members' addresses can't be read.
pub async fn fill(
    node: &Node,
    genesis: B256,
    signer: &PrivateKeySigner,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let ledger = node.ledger();
    if ledger.gap()?.is_none() {
        return Ok(());
    }
    let members = others(&ledger.directory()?, genesis, signer, stop)?;
    let members: Vec<Box<dyn Source>> = members.into_iter().map(|member| Box::new(member) as _).collect();
    let (ledger, stop) = (Arc::downgrade(ledger), stop.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = snapshot::fill(&ledger, &members, &|| stop.is_cancelled()) {
            tracing::error!(%error, "the blocks that were passed by can't be kept");
        }
    });
    Ok(())
}

/// Progress: a bar on a terminal, otherwise a line of the log for each tenth.
struct Shown {
    bar: ProgressBar,
    stage: Option<(&'static str, u64)>,
}

impl Default for Shown {
    fn default() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(1)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, stage: None }
    }
}

impl Shown {
    fn show(&mut self, progress: Progress) {
        let (what, done, total) = match progress {
            Progress::Headers { done, total } => ("checking headers", done, total),
            Progress::State { done, total } => ("fetching the state", done as u64, total as u64),
            Progress::Installing => ("building the state", 0, 1),
        };
        self.bar.set_message(what);
        self.bar.set_length(total);
        self.bar.set_position(done);
        let stage = Some((what, done * 10 / total.max(1)));
        if self.stage != stage {
            self.stage = stage;
            tracing::info!(done, total, "{what}");
        }
    }
}
