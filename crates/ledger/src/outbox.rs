//! What survives a crash: every intent with everything signed for it, and the receipts of the last ones.
//!
//! A signed transaction is on disk before it is sent, so that after a crash the same transaction is sent again instead
//! of a new one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, TxHash, U256};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::intent::{Call, IntentKey, Receipt};
use crate::nonces::{IntentId, Purpose};
use crate::rpc::ChainIdentity;

const INTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("intents");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const OWNER: &str = "owner";

/// The outbox is small; redb's own default would let its cache grow to a gigabyte.
const CACHE_BYTES: usize = 1 << 20;

/// Finished commands whose receipts are kept, so that a repetition is answered instead of sent.
const KEPT_RECEIPTS: usize = 10_000;

/// Finished commands whose transactions are kept too, so that they can be sent again if the chain undoes them.
const KEPT_TRANSACTIONS: usize = 256;

/// Commands in flight at once.
pub(crate) const MOST_IN_FLIGHT: usize = 4_096;

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) account: Address,
    pub(crate) chain: ChainIdentity,
}

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub(crate) nonce: u64,
    pub(crate) hash: TxHash,
    pub(crate) purpose: Purpose,
    pub(crate) max_fee: U256,
    pub(crate) raw: Bytes,
}

/// How far an intent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It is to take effect.
    Open {
        call: Call,
        gas: u64,
        /// All for the nonce of the last one, or proven unable to land.
        signed: Vec<Signed>,
        /// Withdrawn: its nonce is to be used up without effect.
        void: bool,
    },
    /// It took effect.
    Done(Receipt),
}

/// How a finished command got there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    call: Call,
    gas: u64,
    signed: Vec<Signed>,
}

/// The nonce that a finished command had, and everything signed for it.
#[derive(Debug)]
pub(crate) struct LastSeat {
    pub(crate) nonce: u64,
    pub(crate) signed: Vec<(TxHash, Purpose)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) key: IntentKey,
    pub(crate) digest: B256,
    pub(crate) stage: Stage,
    /// Of the last finished ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) past: Option<Past>,
}

/// All intents, in memory, and the file they are written to.
pub(crate) struct Outbox {
    path: PathBuf,
    file: Arc<Database>,
    intents: BTreeMap<IntentId, Intent>,
    ids: HashMap<IntentKey, IntentId>,
    next_id: IntentId,
    open: usize,
    /// Finished ones with a past, in the order in which they finished.
    recent: VecDeque<IntentId>,
}

/// Changes to be written together.
#[derive(Debug, Default, Clone)]
pub(crate) struct Changes {
    put: Vec<(IntentId, Vec<u8>)>,
    remove: Vec<IntentId>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}

fn broken(path: &Path, error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Store {
        path: path.to_path_buf(),
        detail: format!("{error}"),
    }
}

impl Outbox {
    /// Opens or creates the store. One process at a time.
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| broken(path, format!("its folder cannot be made: {error}")))?;
        }
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let file = hanse_database::open_or_make(&builder, path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => broken(
                path,
                "it is in use: another process runs with this account and store; stop it, or give each its own",
            ),
            other => broken(
                path,
                format!("it cannot be opened: {other}; restore it or move it away"),
            ),
        })?;
        let mut outbox = Self {
            path: path.to_path_buf(),
            file: Arc::new(file),
            intents: BTreeMap::new(),
            ids: HashMap::new(),
            next_id: 1,
            open: 0,
            recent: VecDeque::new(),
        };
        outbox.load().map_err(|error| broken(path, error))?;
        Ok(outbox)
    }

    fn load(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let write = self.file.begin_write()?;
        write.open_table(META)?;
        write.open_table(INTENTS)?;
        write.commit()?;
        let read = self.file.begin_read()?;
        for entry in read.open_table(INTENTS)?.iter()? {
            let (id, bytes) = entry?;
            let intent: Intent = serde_json::from_slice(bytes.value()).map_err(|error| {
                format!(
                    "intent {} cannot be read ({error}); was it written by a newer version?",
                    id.value()
                )
            })?;
            self.next_id = self.next_id.max(id.value() + 1);
            self.open += usize::from(matches!(intent.stage, Stage::Open { .. }));
            if intent.past.is_some() {
                self.recent.push_back(id.value());
            }
            self.ids.insert(intent.key.clone(), id.value());
            self.intents.insert(id.value(), intent);
        }
        Ok(())
    }

    /// Makes the store `owner`'s, or checks that it is.
    pub(crate) fn claim(&self, owner: Owner, url: &url::Url) -> Result<(), LedgerError> {
        let saved = self.owner().map_err(|error| broken(&self.path, error))?;
        match saved {
            Some(saved) if saved.account != owner.account => Err(broken(
                &self.path,
                format!(
                    "it belongs to account {}, not to {}; give each account a store of its own",
                    saved.account, owner.account
                ),
            )),
            Some(saved) if !saved.chain.may_equal(&owner.chain) => Err(LedgerError::WrongChain {
                url: url.to_string(),
                expected: saved.chain.to_string(),
                found: owner.chain.to_string(),
            }),
            Some(saved) if saved.chain.genesis.is_some() || owner.chain.genesis.is_none() => Ok(()),
            _ => self.set_owner(&owner).map_err(|error| broken(&self.path, error)),
        }
    }

    fn owner(&self) -> Result<Option<Owner>, Box<dyn std::error::Error>> {
        let read = self.file.begin_read()?;
        let Some(bytes) = read.open_table(META)?.get(OWNER)? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(bytes.value())?))
    }

    fn set_owner(&self, owner: &Owner) -> Result<(), Box<dyn std::error::Error>> {
        let write = self.file.begin_write()?;
        write
            .open_table(META)?
            .insert(OWNER, serde_json::to_vec(owner)?.as_slice())?;
        Ok(write.commit()?)
    }

    pub(crate) fn find(&self, key: &IntentKey) -> Option<(IntentId, &Intent)> {
        let id = *self.ids.get(key)?;
        Some((id, self.intents.get(&id)?))
    }

    pub(crate) fn get(&self, id: IntentId) -> Option<&Intent> {
        self.intents.get(&id)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open >= MOST_IN_FLIGHT
    }

    /// Intents that are to take effect.
    pub(crate) fn open_intents(&self) -> impl Iterator<Item = (IntentId, &Intent)> {
        self.intents
            .iter()
            .filter(|(_, intent)| matches!(intent.stage, Stage::Open { .. }))
            .map(|(id, intent)| (*id, intent))
    }

    /// A new intent, in memory; it is written when something is signed for it.
    pub(crate) fn add(&mut self, key: IntentKey, call: Call, gas: u64, void: bool) -> IntentId {
        let id = self.next_id;
        self.next_id += 1;
        self.open += 1;
        self.ids.insert(key.clone(), id);
        let intent = Intent {
            key,
            digest: call.digest(),
            stage: Stage::Open {
                call,
                gas,
                signed: Vec::new(),
                void,
            },
            past: None,
        };
        self.intents.insert(id, intent);
        id
    }

    /// Adds a signed transaction; a new nonce makes the ones before it history.
    pub(crate) fn record(&mut self, id: IntentId, new: Signed, changes: &mut Changes) {
        if let Some(Intent {
            stage: Stage::Open { signed, .. },
            ..
        }) = self.intents.get_mut(&id)
        {
            signed.retain(|old| old.nonce == new.nonce);
            signed.push(new);
            self.queue(id, changes);
        }
    }

    pub(crate) fn set_void(&mut self, id: IntentId, withdrawn: bool, changes: &mut Changes) {
        if let Some(Intent {
            stage: Stage::Open { void, .. },
            ..
        }) = self.intents.get_mut(&id)
        {
            *void = withdrawn;
            self.queue(id, changes);
        }
    }

    /// The intent took effect. The oldest receipts beyond the bound are forgotten.
    pub(crate) fn finish(&mut self, id: IntentId, receipt: Receipt, changes: &mut Changes) {
        let Some(intent) = self.intents.get_mut(&id) else {
            return;
        };
        if let Stage::Open { call, gas, signed, .. } = std::mem::replace(&mut intent.stage, Stage::Done(receipt)) {
            self.open -= 1;
            intent.past = Some(Past { call, gas, signed });
            self.recent.push_back(id);
        }
        self.queue(id, changes);
        while self.recent.len() > KEPT_TRANSACTIONS {
            let Some(oldest) = self.recent.pop_front() else { break };
            if let Some(intent) = self.intents.get_mut(&oldest) {
                intent.past = None;
                self.queue(oldest, changes);
            }
        }
        if self.intents.len() - self.open > KEPT_RECEIPTS {
            let oldest = self
                .intents
                .iter()
                .find(|(_, intent)| matches!(intent.stage, Stage::Done(_)))
                .map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.remove(oldest, changes);
            }
        }
    }

    /// A finished command is open again, with everything signed for it. None if it is open, or finished too long ago.
    pub(crate) fn undo(&mut self, id: IntentId, changes: &mut Changes) -> Option<LastSeat> {
        let intent = self.intents.get_mut(&id)?;
        let Past { call, gas, signed } = intent.past.take()?;
        let nonce = signed.last()?.nonce;
        let seat = LastSeat {
            nonce,
            signed: signed.iter().map(|signed| (signed.hash, signed.purpose)).collect(),
        };
        intent.stage = Stage::Open {
            call,
            gas,
            signed,
            void: false,
        };
        self.open += 1;
        self.recent.retain(|recent| *recent != id);
        self.queue(id, changes);
        Some(seat)
    }

    /// The same for all that were final in that block or a later one.
    pub(crate) fn undo_from(&mut self, block: u64, changes: &mut Changes) -> Vec<(IntentId, LastSeat)> {
        let undone = |id: &IntentId| {
            let stage = self.intents.get(id).map(|intent| &intent.stage);
            matches!(stage, Some(Stage::Done(receipt)) if receipt.block >= block)
        };
        let ids: Vec<_> = self.recent.iter().copied().filter(undone).collect();
        ids.into_iter()
            .filter_map(|id| Some((id, self.undo(id, changes)?)))
            .collect()
    }

    /// The intent can never take effect; its key is free again.
    pub(crate) fn remove(&mut self, id: IntentId, changes: &mut Changes) {
        if let Some(intent) = self.intents.remove(&id) {
            self.open -= usize::from(matches!(intent.stage, Stage::Open { .. }));
            self.ids.remove(&intent.key);
            changes.remove.push(id);
        }
    }

    fn queue(&self, id: IntentId, changes: &mut Changes) {
        if let Some(intent) = self.intents.get(&id) {
            let bytes = serde_json::to_vec(intent).expect("an intent has only string keys, which JSON can hold");
            changes.put.push((id, bytes));
        }
    }

    /// Writes changes, last put wins. `durable`: they are on disk when this returns; else they are at the next durable
    /// write (what they say can be found on the chain again).
    ///
    /// What could not be written stays in `changes`.
    pub(crate) async fn write(&self, pending: &mut Changes, durable: bool) -> Result<(), LedgerError> {
        if pending.is_empty() {
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let changes = pending.clone();
        let written = tokio::task::spawn_blocking(move || commit(&file, &changes, durable)).await;
        match written {
            Ok(Ok(())) => {
                *pending = Changes::default();
                Ok(())
            }
            Ok(Err(error)) => Err(broken(
                &self.path,
                format!("it cannot be written: {error}; is the disk full?"),
            )),
            Err(_) => Err(LedgerError::Stopped),
        }
    }
}

fn commit(file: &Database, changes: &Changes, durable: bool) -> Result<(), redb::Error> {
    let mut write = file.begin_write()?;
    write.set_durability(if durable {
        Durability::Immediate
    } else {
        Durability::None
    })?;
    {
        let mut intents = write.open_table(INTENTS)?;
        for (id, bytes) in &changes.put {
            intents.insert(id, bytes.as_slice())?;
        }
        for id in &changes.remove {
            intents.remove(id)?;
        }
    }
    Ok(write.commit()?)
}
