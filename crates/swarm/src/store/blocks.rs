//! Blocks of blobs, within a bound.
//!
//! Blocks of the domain's own blobs stay until they are removed. Those that came from others make room, the first first: they can be
//! fetched again.

use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::{BLOCKS, Store, StoreError, block_key, io};
use crate::blob::BlockId;

/// The number of each block; [`OWN_BLOCK`] for blocks of own blobs.
const NUMBERS: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("block numbers");
/// Blocks that came from others, in the order in which they came.
const ORDER: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("block order");
/// One row: how many bytes all blocks have, how many those of own blobs, and the highest number.
const COUNTS: TableDefinition<'static, u64, (u64, u64, u64)> = TableDefinition::new("block counts");

const OWN_BLOCK: u64 = 0;
const ROW: u64 = 0;

/// Makes the tables.
pub(super) fn create(transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(BLOCKS).map_err(io)?;
    transaction.open_table(NUMBERS).map_err(io)?;
    transaction.open_table(ORDER).map_err(io)?;
    transaction.open_table(COUNTS).map_err(io)?;
    Ok(())
}

impl Store {
    /// The same, but its blocks have at most this many bytes.
    pub fn bounded(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// How many bytes blobs of others may have, with what is the domain's own.
    pub fn room_for_others(&self) -> Result<u64, StoreError> {
        let transaction = self.database.begin_read().map_err(io)?;
        let counts = transaction.open_table(COUNTS).map_err(io)?;
        let (_, own, _) = counts.get(ROW).map_err(io)?.map(|row| row.value()).unwrap_or_default();
        Ok(self.most.saturating_sub(own))
    }

    /// A block.
    pub fn block(&self, id: &BlockId) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(BLOCKS, &block_key(id))
    }

    /// Writes blocks that came from others, all or none. They were checked.
    pub fn keep_blocks(&self, blocks: &[(BlockId, Bytes)]) -> Result<(), StoreError> {
        self.keep(blocks, false)
    }

    /// Writes blocks of an own blob, all or none.
    pub fn keep_own_blocks(&self, blocks: &[(BlockId, Bytes)]) -> Result<(), StoreError> {
        self.keep(blocks, true)
    }

    fn keep(&self, blocks: &[(BlockId, Bytes)], are_own: bool) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(io)?;
        {
            let mut table = transaction.open_table(BLOCKS).map_err(io)?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(io)?;
            let mut order = transaction.open_table(ORDER).map_err(io)?;
            let mut counts = transaction.open_table(COUNTS).map_err(io)?;
            let row = counts.get(ROW).map_err(io)?.map(|row| row.value());
            let (mut all, mut own, mut last) = row.unwrap_or_default();
            let before = last;
            for (id, bytes) in blocks {
                let key = block_key(id);
                let key = key.as_slice();
                let number = numbers.get(key).map_err(io)?.map(|number| number.value());
                // Written also if it is there: that one may be damaged.
                let replaced = table.insert(key, bytes.as_ref()).map_err(io)?;
                let replaced = replaced.map_or(0, |bytes| bytes.value().len() as u64);
                let size = bytes.len() as u64;
                all = all.saturating_sub(if number.is_some() { replaced } else { 0 }) + size;
                match number {
                    Some(OWN_BLOCK) => own = own.saturating_sub(replaced) + size,
                    Some(_) if !are_own => {}
                    other => {
                        if let Some(number) = other {
                            order.remove(number).map_err(io)?;
                        }
                        let number = if are_own {
                            own += size;
                            OWN_BLOCK
                        } else {
                            last += 1;
                            order.insert(last, key).map_err(io)?;
                            last
                        };
                        numbers.insert(key, number).map_err(io)?;
                    }
                }
            }
            while all > self.most {
                let first = order.first().map_err(io)?;
                let first = first.map(|(number, key)| (number.value(), key.value().to_vec()));
                let Some((number, key)) = first.filter(|(number, _)| *number <= before) else {
                    let (most, needed) = (self.most, all);
                    return Err(StoreError::Full { needed, own, most });
                };
                order.remove(number).map_err(io)?;
                numbers.remove(key.as_slice()).map_err(io)?;
                let removed = table.remove(key.as_slice()).map_err(io)?;
                all = all.saturating_sub(removed.map_or(0, |bytes| bytes.value().len() as u64));
            }
            counts.insert(ROW, (all, own, last)).map_err(io)?;
        }
        transaction.commit().map_err(io)
    }

    /// Removes blocks, all or none; those that are not there are not missed.
    pub fn remove_blocks(&self, blocks: &[BlockId]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(io)?;
        {
            let mut table = transaction.open_table(BLOCKS).map_err(io)?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(io)?;
            let mut order = transaction.open_table(ORDER).map_err(io)?;
            let mut counts = transaction.open_table(COUNTS).map_err(io)?;
            let row = counts.get(ROW).map_err(io)?.map(|row| row.value());
            let (mut all, mut own, last) = row.unwrap_or_default();
            for id in blocks {
                let key = block_key(id);
                let removed = table.remove(key.as_slice()).map_err(io)?;
                let size = removed.map_or(0, |bytes| bytes.value().len() as u64);
                let number = numbers.remove(key.as_slice()).map_err(io)?.map(|number| number.value());
                match number {
                    Some(OWN_BLOCK) => own = own.saturating_sub(size),
                    Some(number) => {
                        order.remove(number).map_err(io)?;
                    }
                    None => continue,
                }
                all = all.saturating_sub(size);
            }
            counts.insert(ROW, (all, own, last)).map_err(io)?;
        }
        transaction.commit().map_err(io)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::blob::Codec;

    const SIZE: usize = 1000;

    fn block(tag: u8) -> (BlockId, Bytes) {
        let bytes = Bytes::from(vec![tag; SIZE]);
        (BlockId::of(Codec::Raw, &bytes), bytes)
    }

    fn there(store: &Store, tags: impl IntoIterator<Item = u8>) -> Vec<u8> {
        tags.into_iter()
            .filter(|tag| store.block(&block(*tag).0).unwrap().is_some())
            .collect()
    }

    #[test]
    fn blocks_of_others_make_room_the_first_first_and_own_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap().bounded(5 * SIZE as u64);
        store.keep_own_blocks(&[block(1), block(2)]).unwrap();
        for tag in 3..=9 {
            store.keep_blocks(&[block(tag)]).unwrap();
        }
        assert_eq!(there(&store, 1..=9), [1, 2, 7, 8, 9]);
        assert_eq!(store.room_for_others().unwrap(), 3 * SIZE as u64);
        // What came from another and is added as one's own stays from now on.
        store.keep_own_blocks(&[block(7)]).unwrap();
        store.keep_blocks(&[block(10)]).unwrap();
        store.keep_blocks(&[block(11)]).unwrap();
        assert_eq!(there(&store, 1..=11), [1, 2, 7, 10, 11]);
        drop(store);
        let store = Store::open(folder.path()).unwrap().bounded(5 * SIZE as u64);
        assert_eq!(store.room_for_others().unwrap(), 2 * SIZE as u64);
        store.remove_blocks(&[block(1).0, block(10).0, block(99).0]).unwrap();
        assert_eq!(store.room_for_others().unwrap(), 3 * SIZE as u64);
        store.keep_blocks(&[block(12), block(13)]).unwrap();
        assert_eq!(there(&store, 1..=13), [2, 7, 11, 12, 13]);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_goes_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap().bounded(3 * SIZE as u64);
        store.keep_own_blocks(&[block(1), block(2)]).unwrap();
        store.keep_blocks(&[block(3)]).unwrap();
        let error = store.keep_own_blocks(&[block(4), block(5)]).unwrap_err().to_string();
        assert!(error.contains("at most 3000") && error.contains("remove"), "{error}");
        store.keep_blocks(&[block(6), block(7)]).unwrap_err();
        assert_eq!(there(&store, 1..=7), [1, 2, 3]);
    }
}
