//! `hanse ledger verify`: whether the store of an agent is what was decided. Of an agent that runs a copy is taken first.

use std::fs::{File, TryLockError};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use hanse_chain::ledger::{self, Verified, VerifyError};
use hanse_chain::store::FILE_NAME;
use indicatif::ProgressBar;
use serde_json::json;

use super::backup;
use super::offline::{OfflineArguments, Place};
use crate::agent;
use crate::client::Client;
use crate::output;

/// The folder in which blocks are executed again. One verification at a time has it; what one that was killed has left is
/// removed.
struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    fn take(data_dir: &Path) -> anyhow::Result<Self> {
        let folder = data_dir.join("verify-scratch");
        let made = std::fs::create_dir_all(&folder).and_then(|()| File::create(folder.join("lock")));
        let lock = made.with_context(|| format!("{} can't be made", folder.display()))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            bail!(
                "`hanse ledger verify` runs already on {}; wait for its end",
                data_dir.display()
            );
        }
        let left = std::fs::read_dir(&folder)?;
        for entry in left {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false if entry.file_name() != "lock" => std::fs::remove_file(entry.path())?,
                false => {}
            }
        }
        Ok(Self { folder, _lock: lock })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs `hanse ledger verify`.
pub async fn verify(arguments: OfflineArguments) -> anyhow::Result<()> {
    let place = Place::find(&arguments.config)?;
    let scratch = Scratch::take(&place.config.data_dir)?;
    let store = if place.in_use()? {
        online_copy(&place, &scratch.folder).await?
    } else {
        place.store()
    };
    let bar = output::interactive(arguments.output).then(|| ProgressBar::new(0));
    let (genesis, replay) = (place.genesis.clone(), scratch.folder.join("replay"));
    let shown = bar.clone();
    let verified = tokio::task::spawn_blocking(move || {
        ledger::verify(&store, &genesis, &replay, |height, newest| {
            if let Some(bar) = &shown {
                bar.set_length(newest);
                bar.set_position(height);
            }
        })
    });
    let verified = verified.await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let Verified {
        height,
        hash,
        state_root,
        floor,
        transactions,
    } = verified.map_err(|error| match error {
        VerifyError::Block { .. } | VerifyError::State { .. } => anyhow!(
            "{error}. Stop the agent, and fetch the ledger anew from the other members with `hanse ledger resync`, or take a \
             backup with `hanse ledger restore`"
        ),
        other => other.into(),
    })?;
    let document = json!({
        "height": height, "hash": hash, "stateRoot": state_root, "floor": floor, "transactions": transactions,
        "executed": floor == 0, "good": true,
    });
    output::print(arguments.output, &document, |_| {
        let cell = |name: &str, value: String| vec![name.to_owned(), value];
        let table = output::table(&[
            cell("height", height.to_string()),
            cell("block hash", hash.to_string()),
            cell("state root", state_root.to_string()),
            cell("transactions", transactions.to_string()),
        ]);
        match floor {
            0 => format!("{table}The stored ledger is good: all blocks, executed again, give the stored state."),
            _ => format!(
                "{table}The stored ledger is good: all headers and certificates, the transactions from block {floor} on, and the \
                 state.\nNothing was executed again, because older transactions are not kept here."
            ),
        }
    })
}

/// A copy of a running agent's store.
async fn online_copy(place: &Place, folder: &Path) -> anyhow::Result<PathBuf> {
    let api = format!("http://{}", place.config.api.listen);
    let client = Client::new(&api, agent::token(&place.config)?)?;
    let (backup, copy) = (folder.join("backup"), folder.join(FILE_NAME));
    backup::fetch(&client, &backup, |_| {}).await?;
    let file = copy.clone();
    tokio::task::spawn_blocking(move || {
        hanse_chain::store::unpack_backup(BufReader::new(File::open(&backup)?), &file)?;
        std::fs::remove_file(&backup)?;
        Ok::<_, anyhow::Error>(())
    })
    .await??;
    Ok(copy)
}
