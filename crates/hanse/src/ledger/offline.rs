//! `hanse ledger restore`, `resync` and `vote`: what is done with the store of an agent that does not run.

use std::fs::{File, TryLockError};
use std::io::BufReader;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hanse_chain::consensus::Abstention;
use hanse_chain::genesis::Genesis;
use hanse_chain::ledger;
use hanse_chain::store::FILE_NAME;
use hanse_swarm::model::{GenesisDigest, Identity};
use indicatif::ProgressBar;
use serde_json::json;

use crate::agent;
use crate::cli::ConfigArguments;
use crate::config::Config;
use crate::output::{self, Format};
use crate::swarm;

/// Options of what works on an agent's data folder.
#[derive(Debug, Args)]
pub struct OfflineArguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// An agent's embedded ledger on disk.
pub(super) struct Place {
    pub(super) config: Config,
    pub(super) genesis: Genesis,
    folder: PathBuf,
}

impl Place {
    pub(super) fn find(arguments: &ConfigArguments) -> anyhow::Result<Self> {
        let config = arguments.load()?.config;
        let embedded = config.ledger.embedded.as_ref();
        let embedded = embedded.context("this agent runs no ledger node of its own (ledger.embedded)")?;
        Ok(Self {
            genesis: agent::load_genesis(&embedded.genesis)?,
            folder: agent::ledger_folder(&config),
            config,
        })
    }

    pub(super) fn store(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    /// Whether the agent runs: it has the store locked.
    pub(super) fn in_use(&self) -> anyhow::Result<bool> {
        match File::open(self.store()) {
            Ok(file) => Ok(matches!(file.try_lock(), Err(TryLockError::WouldBlock))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("could not read {}", self.store().display())),
        }
    }

    fn refuse_in_use(&self) -> anyhow::Result<()> {
        ensure!(
            !self.in_use()?,
            "{} is in use; stop the agent first",
            self.store().display()
        );
        Ok(())
    }
}

/// Options of `hanse ledger restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// A file that `hanse ledger backup` made.
    file: PathBuf,
    #[command(flatten)]
    offline: OfflineArguments,
}

/// Runs `hanse ledger restore`.
pub async fn restore(arguments: RestoreArguments) -> anyhow::Result<()> {
    let place = Place::find(&arguments.offline.config)?;
    let backup = File::open(&arguments.file).with_context(|| format!("could not open {}", arguments.file.display()))?;
    let bar = output::interactive(arguments.offline.output).then(|| {
        let bar = ProgressBar::new(backup.metadata().map_or(0, |metadata| metadata.len()));
        bar.set_message("unpacking");
        bar
    });
    let (folder, genesis) = (place.folder.clone(), place.genesis.clone());
    let shown = bar.clone();
    let restored = tokio::task::spawn_blocking(move || {
        let read = BufReader::with_capacity(1024 * 1024, backup);
        match &shown {
            Some(bar) => ledger::restore(bar.wrap_read(read), &folder, &genesis),
            None => ledger::restore(read, &folder, &genesis),
        }
    });
    let head = restored.await??;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let abstains = Abstention::is_marked(&place.folder);
    let document =
        json!({ "height": head.height, "hash": head.hash, "stateRoot": head.state_root, "abstains": abstains });
    output::print(arguments.offline.output, &document, |_| {
        let vote = match abstains {
            true => "votes again when it has seen the others decide blocks without it",
            false => "votes again when it has reached the height at which it voted last",
        };
        format!(
            "The ledger is restored up to block {} ({}).\nStart the agent: its node fetches what came after that, and {vote}.",
            head.height, head.hash
        )
    })
}

/// Options of `hanse ledger resync`.
#[derive(Debug, Args)]
pub struct ResyncArguments {
    /// Move the write-ahead log of consensus aside, and keep the store. For a log that can't be read.
    #[arg(long)]
    log: bool,
    #[command(flatten)]
    offline: OfflineArguments,
}

/// Runs `hanse ledger resync`.
pub fn resync(arguments: &ResyncArguments) -> anyhow::Result<()> {
    let place = Place::find(&arguments.offline.config)?;
    place.refuse_in_use()?;
    let (what, moved) = match arguments.log {
        true => ("write-ahead log", Abstention::begin_without_log(&place.folder)?),
        false => ("store", move_store(&place)?),
    };
    let abstains = Abstention::is_marked(&place.folder);
    output::print(
        arguments.offline.output,
        &json!({ "movedTo": moved, "abstains": abstains }),
        |_| {
            let moved = match &moved {
                Some(moved) => format!("The {what} is now {}", moved.display()),
                None => format!("There was no {what}"),
            };
            let then = match arguments.log {
                true => "Start the agent: its node follows the others",
                false => "Start the agent: its node fetches the ledger from the other members",
            };
            let votes = match abstains {
                true => "when it has seen them decide blocks without it",
                false => "when it has reached the height at which it voted last",
            };
            format!("{moved}.\n{then}, and votes again {votes}.")
        },
    )
}

/// Whether this domain founded the ledger, and nobody with it.
fn founded_alone(place: &Place) -> bool {
    let founders = &place.genesis.members;
    founders.len() == 1 && founders.iter().all(|founder| founder.name == place.config.domain)
}

/// Whether domains that joined later are remembered from the swarm: they have the ledger, and call this domain at the address
/// that is in it.
fn others_are_known(place: &Place) -> anyhow::Result<bool> {
    let peers = hanse_swarm::remembered(&swarm::folder(&place.config))?;
    let digest = GenesisDigest(place.genesis.digest().0);
    let mut claims = peers.iter().filter_map(Identity::membership);
    Ok(claims.any(|claim| claim.genesis == digest))
}

/// Moves the store aside and returns its new name; `None` if there was none.
fn move_store(place: &Place) -> anyhow::Result<Option<PathBuf>> {
    let embedded = place.config.ledger.embedded.as_ref();
    let nobody_configured = embedded.is_none_or(|embedded| embedded.bootstrap.is_empty());
    if founded_alone(place) && nobody_configured && !others_are_known(place)? {
        bail!(
            "this ledger was founded by one domain alone, and no other member is configured (ledger.embedded.bootstrap) from \
             whom to fetch it; restore a backup with `hanse ledger restore`"
        );
    }
    // Before the store is gone: a node must never begin anew and vote.
    Abstention::begin(&place.folder)?;
    let store = place.store();
    if !store.exists() {
        return Ok(None);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let aside = store.with_file_name(format!("{FILE_NAME}.aside-{}", now.as_millis()));
    std::fs::rename(&store, &aside).with_context(|| format!("could not move {} aside", store.display()))?;
    File::open(&place.folder)?.sync_all()?;
    Ok(Some(aside))
}

/// Runs `hanse ledger vote`.
pub fn vote(arguments: &OfflineArguments, old_node_is_gone: bool) -> anyhow::Result<()> {
    let place = Place::find(&arguments.config)?;
    place.refuse_in_use()?;
    ensure!(
        Abstention::is_marked(&place.folder),
        "this validator does not abstain for want of its log"
    );
    ensure!(
        old_node_is_gone,
        "a validator that votes twice at one height breaks the ledger's promise. If the node that had this key before is \
         stopped for good, and the others can't decide without this one, say so with --old-node-is-gone"
    );
    Abstention::end(&place.folder)?;
    output::print(arguments.output, &json!({ "abstains": false }), |_| {
        "this validator votes from its start on".to_owned()
    })
}
