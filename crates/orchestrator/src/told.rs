//! Which events webhooks have heard of, so that they do not hear of them again when the chain replaces their blocks.
//!
//! An event that is told joins those that were told, in the order of blocks. Those in replaced blocks become undone ones. One of
//! these that comes again is a repetition and is not told. One that comes instead of them is told; it begins another
//! version of what happened to its agreement. What was undone of the version before is forgotten: should it come after all, it is
//! news to whoever has heard otherwise meanwhile, and has another id.

use alloy::primitives::keccak256;
use redb::{ReadableTable, ReadableTableMetadata};

use crate::store::{Batch, StoreError, TOLD, UNDONE, VERSIONS, io};

/// Events that are remembered, the newest. Those in blocks that may still be replaced should be among them.
pub const KEPT: u64 = 10_000;

/// Bytes of the block's height.
const HEIGHT: usize = 8;

/// An event as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Height of its block.
    pub block: u64,
    /// The agreement that it is about. Other events are not contradicted by what comes instead.
    pub agreement: Option<[u8; 32]>,
    /// Tells it from every other event, in whatever block it is.
    pub digest: [u8; 32],
}

impl Mark {
    fn subject(&self) -> [u8; 32] {
        self.agreement.unwrap_or(self.digest)
    }

    /// Of the height, the subject and the digest.
    fn told_key(&self) -> Vec<u8> {
        [&self.block.to_be_bytes()[..], &self.undone_key()].concat()
    }

    fn undone_key(&self) -> Vec<u8> {
        [self.subject(), self.digest].concat()
    }

    /// Names the event, in this version of what happened to its agreement.
    fn id(&self, version: u64) -> String {
        match version {
            0 => hex::encode(self.digest),
            _ => hex::encode(keccak256([&self.digest[..], &version.to_be_bytes()].concat())),
        }
    }
}

impl Batch {
    /// Remembers that an event is told, and gives its id. Nothing if it was told before, in a block that has been replaced.
    pub fn tell(&mut self, event: &Mark) -> Result<Option<String>, StoreError> {
        let mut told = self.0.open_table(TOLD).map_err(io)?;
        told.insert(event.told_key().as_slice(), [].as_slice()).map_err(io)?;
        while told.len().map_err(io)? > KEPT {
            told.pop_first().map_err(io)?;
        }
        let mut undone = self.0.open_table(UNDONE).map_err(io)?;
        if undone.remove(event.undone_key().as_slice()).map_err(io)?.is_some() {
            return Ok(None);
        }
        let (first, last) = (
            [event.subject(), [0; 32]].concat(),
            [event.subject(), [0xff; 32]].concat(),
        );
        let before = undone.len().map_err(io)?;
        undone
            .retain_in::<&[u8], _>(first.as_slice()..=last.as_slice(), |_, _| false)
            .map_err(io)?;
        let contradicts = undone.len().map_err(io)? < before;
        let mut versions = self.0.open_table(VERSIONS).map_err(io)?;
        let subject = event.subject();
        let known = versions.get(subject.as_slice()).map_err(io)?;
        let known = known.and_then(|version| Some(u64::from_be_bytes(version.value().try_into().ok()?)));
        let version = known.unwrap_or(0) + u64::from(contradicts);
        if contradicts {
            versions
                .insert(subject.as_slice(), version.to_be_bytes().as_slice())
                .map_err(io)?;
            while versions.len().map_err(io)? > KEPT {
                versions.pop_first().map_err(io)?;
            }
        }
        Ok(Some(event.id(version)))
    }

    /// The chain replaced this block and what follows: what was told of them is undone.
    pub fn undo_told(&mut self, block: u64) -> Result<(), StoreError> {
        let mut told = self.0.open_table(TOLD).map_err(io)?;
        let mut undone = self.0.open_table(UNDONE).map_err(io)?;
        let first = block.to_be_bytes();
        for entry in told.range::<&[u8]>(first.as_slice()..).map_err(io)? {
            let (key, _) = entry.map_err(io)?;
            if let Some((_, event)) = key.value().split_at_checked(HEIGHT) {
                undone.insert(event, [].as_slice()).map_err(io)?;
            }
        }
        told.retain_in::<&[u8], _>(first.as_slice().., |_, _| false)
            .map_err(io)?;
        // What never comes again must not pile up.
        while undone.len().map_err(io)? > KEPT {
            undone.pop_first().map_err(io)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Store;

    struct Webhooks {
        store: Store,
        _folder: tempfile::TempDir,
    }

    impl Webhooks {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self {
                store: Store::open(&folder.path().join("store.redb")).unwrap(),
                _folder: folder,
            }
        }

        /// The id of what they hear, if they do.
        async fn hear(&self, block: u64, agreement: Option<u8>, digest: u8) -> Option<String> {
            let event = Mark {
                block,
                agreement: agreement.map(|it| [it; 32]),
                digest: [digest; 32],
            };
            let (heard, answer) = std::sync::mpsc::channel();
            let tell = move |batch: &mut Batch| {
                heard.send(batch.tell(&event)?).unwrap();
                Ok(())
            };
            self.store.commit(tell).await.unwrap();
            answer.recv().unwrap()
        }

        async fn replaced(&self, block: u64) {
            self.store.commit(move |batch| batch.undo_told(block)).await.unwrap();
        }
    }

    const A: Option<u8> = Some(1);
    const B: Option<u8> = Some(2);

    #[tokio::test]
    async fn what_comes_again_in_other_blocks_is_not_told_again() {
        let webhooks = Webhooks::new();
        let mut ids = Vec::new();
        for (block, agreement, digest) in [(1, A, 10), (2, B, 11), (2, A, 12), (3, None, 13)] {
            ids.push(webhooks.hear(block, agreement, digest).await.unwrap());
        }
        webhooks.replaced(2).await;
        // In another order, and once more undone in between.
        assert_eq!(webhooks.hear(4, None, 13).await, None);
        assert_eq!(webhooks.hear(4, A, 12).await, None);
        webhooks.replaced(4).await;
        assert_eq!(webhooks.hear(5, B, 11).await, None);
        assert_eq!(webhooks.hear(6, A, 12).await, None);
        assert_eq!(webhooks.hear(6, None, 13).await, None);
        // These are new.
        ids.push(webhooks.hear(7, None, 14).await.unwrap());
        ids.push(webhooks.hear(7, A, 15).await.unwrap());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 6);
    }

    #[tokio::test]
    async fn what_comes_after_something_else_was_told_of_the_same_agreement_is_another_event() {
        let webhooks = Webhooks::new();
        let (to_one, to_another) = (20, 21);
        webhooks.hear(1, A, 10).await.unwrap();
        let first = webhooks.hear(2, A, to_one).await.unwrap();
        webhooks.hear(2, B, 11).await.unwrap();
        webhooks.replaced(1).await;
        assert_eq!(webhooks.hear(1, A, 10).await, None);
        let instead = webhooks.hear(2, A, to_another).await.unwrap();
        assert_eq!(webhooks.hear(2, B, 11).await, None, "nothing else was said of this one");
        webhooks.replaced(2).await;
        // Else whoever listens would go on to believe what came instead.
        let again = webhooks.hear(2, A, to_one).await.unwrap();
        assert!(first != instead && instead != again && again != first);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let webhooks = Webhooks::new();
        let many = move |batch: &mut Batch| {
            for number in 0..KEPT + 100 {
                let mut digest = [0; 32];
                digest[..8].copy_from_slice(&number.to_be_bytes());
                let event = Mark {
                    block: number,
                    agreement: None,
                    digest,
                };
                assert!(batch.tell(&event)?.is_some());
            }
            assert_eq!(batch.0.open_table(TOLD).map_err(io)?.len().map_err(io)?, KEPT);
            batch.undo_told(0)?;
            assert_eq!(batch.0.open_table(UNDONE).map_err(io)?.len().map_err(io)?, KEPT);
            Ok(())
        };
        webhooks.store.commit(many).await.unwrap();
    }
}
