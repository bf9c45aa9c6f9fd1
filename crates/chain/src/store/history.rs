//! How far back blocks are kept whole: the floor, and what is forgotten below it.
//!
//! Headers and certificates are kept for ever (some 1 KiB a block), and of blocks that may have changed the validator set the
//! receipts: with these a newcomer follows the ledger from block 0 to any height without executing anything. Below the floor
//! transactions, their senders, receipts and index entries go. The floor rises in the transaction that removes them, so that
//! a crash leaves it where it was.

use alloy::consensus::{BlockBody, Header, ReceiptEnvelope, TxEnvelope};
use redb::{Database, Durability, ReadableDatabase, ReadableTable};

use super::commit::log_keys;
use super::error::StoreError;
use super::snapshot::decode;
use super::{Store, tables};
use crate::membership;

/// A file that has so many bytes to give back is compacted when it is opened.
pub(super) const WORTH_COMPACTING: u64 = 64 * 1024 * 1024;

impl Store {
    /// Forgets the transactions of blocks below `to`, of at most `blocks` blocks that have any, in one transaction, fsynced. The
    /// newest block always stays. Returns the lowest height that is whole then.
    ///
    /// The file does not become smaller: new blocks take the free space, and if there is much of it, the next opening gives
    /// it back.
    pub fn prune(&self, to: u64, blocks: usize) -> Result<u64, StoreError> {
        // Whoever fetches old blocks still needs them.
        if self.gap()?.is_some() {
            return number(&self.database.begin_read()?.open_table(tables::META)?, tables::FLOOR);
        }
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let (reached, freed) = {
            let headers = transaction.open_table(tables::HEADERS)?;
            let mut meta = transaction.open_table(tables::META)?;
            let floor = number(&meta, tables::FLOOR)?;
            let tip = headers.last()?.map_or(0, |(height, _)| height.value());
            let to = to.min(tip);
            if to <= floor {
                return Ok(floor);
            }
            let mut bodies = transaction.open_table(tables::BODIES)?;
            let mut receipts = transaction.open_table(tables::RECEIPTS)?;
            let mut senders = transaction.open_table(tables::SENDERS)?;
            let mut positions = transaction.open_table(tables::TRANSACTIONS)?;
            let mut logs = transaction.open_table(tables::LOGS)?;
            let mut doomed = Vec::with_capacity(blocks);
            for entry in bodies.range(..to)?.take(blocks) {
                doomed.push(entry?.0.value());
            }
            let mut freed = 0;
            for height in &doomed {
                let height = *height;
                let Some(header) = headers.get(height)? else {
                    return Err(StoreError::damaged(format!("the header of block {height} is missing")));
                };
                let header: Header = decode("the header", height, header.value())?;
                if let Some(body) = bodies.remove(height)? {
                    freed += body.value().len();
                    let body: BlockBody<TxEnvelope> = decode("the body", height, body.value())?;
                    for transaction in &body.transactions {
                        positions.remove(&transaction.tx_hash().0)?;
                    }
                }
                senders.remove(height)?;
                let kept: Option<Vec<u8>> = receipts.get(height)?.map(|receipts| receipts.value().to_vec());
                if let Some(encoded) = kept {
                    let decoded: Vec<ReceiptEnvelope> = decode("the receipts", height, &encoded)?;
                    for key in &log_keys(height, &decoded) {
                        logs.remove(key)?;
                    }
                    if !membership::may_have_changed(&header.logs_bloom) {
                        freed += encoded.len();
                        receipts.remove(height)?;
                    }
                }
            }
            let reached = match doomed.last() {
                Some(last) if doomed.len() == blocks => last + 1,
                _ => to,
            };
            let freed = number(&meta, tables::FREED)?.saturating_add(freed as u64);
            meta.insert(tables::FLOOR, reached.to_le_bytes().as_slice())?;
            meta.insert(tables::FREED, freed.to_le_bytes().as_slice())?;
            (reached, freed)
        };
        transaction.commit()?;
        tracing::debug!(floor = reached, freed, "forgot old transactions");
        Ok(reached)
    }
}

/// A number of [`tables::META`]; zero if it was never written.
pub(super) fn number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<u64, StoreError> {
    match meta.get(name)? {
        None => Ok(0),
        Some(value) => <[u8; 8]>::try_from(value.value())
            .map(u64::from_le_bytes)
            .map_err(|_| StoreError::damaged(format!("{name} is no number"))),
    }
}

/// Makes the file smaller if pruning has left at least `least` bytes of it unused. Needs the database alone.
pub(super) fn compact(database: &mut Database, least: u64) -> Result<bool, StoreError> {
    let freed = {
        let transaction = database.begin_read()?;
        match transaction.open_table(tables::META) {
            Ok(meta) => number(&meta, tables::FREED)?,
            Err(redb::TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(error.into()),
        }
    };
    if freed < least.max(1) {
        return Ok(false);
    }
    tracing::info!(freed, "giving back the space of old transactions");
    database.compact().map_err(|error| match error {
        redb::CompactionError::Storage(error) => StoreError::from(error),
        other => StoreError::Io(other.to_string()),
    })?;
    let transaction = database.begin_write()?;
    transaction.open_table(tables::META)?.remove(tables::FREED)?;
    transaction.commit()?;
    Ok(true)
}
