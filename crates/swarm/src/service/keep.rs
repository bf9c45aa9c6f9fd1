//! Blobs that lie here: read without asking anybody, offered again after a restart, given up.

use bytes::Bytes;
use libp2p::PeerId;

use super::command::{BlobError, Command};
use super::{Swarm, fetch, off_thread};
use crate::blob::BlockId;

impl Swarm {
    /// The blob `root`, if all of it lies here and is undamaged.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn kept(&self, root: BlockId) -> Result<Option<Bytes>, BlobError> {
        let store = self.store.clone();
        Ok(off_thread(move || fetch::whole(root, &store)).await?)
    }

    /// Tells the others that this domain has the blob, which lies here. What is added or fetched is told at once;
    /// after a restart it is only told again of what is named here, though whoever asks for a block is given it anyhow.
    ///
    /// # Errors
    /// [`BlobError::Stopped`].
    pub async fn offer(&self, root: BlockId) -> Result<(), BlobError> {
        Ok(self.commands.send(Command::Provide(root)).await?)
    }

    /// Removes the blob from the disk and no longer says that it is here. Blocks that it shares with another blob are gone too; that one
    /// is then fetched again when it is read.
    ///
    /// # Errors
    /// If the store fails, or the swarm has stopped.
    pub async fn forget(&self, root: BlockId) -> Result<(), BlobError> {
        self.commands.send(Command::Withdraw(root)).await?;
        let store = self.store.clone();
        off_thread(move || {
            let blocks = fetch::blocks_of(root, &store)?;
            store.remove_blocks(&blocks)
        })
        .await?;
        Ok(())
    }

    /// As [`Swarm::blob`], but `holders` are asked before anybody else is looked for.
    ///
    /// # Errors
    /// As [`Swarm::blob`].
    pub async fn blob_from(
        &self,
        root: BlockId,
        holders: &[PeerId],
        most: u64,
        within: std::time::Duration,
    ) -> Result<Bytes, BlobError> {
        let store = self.store.clone();
        let most = most.min(off_thread(move || store.room_for_others()).await?);
        let blob = fetch::fetch(root, holders, most, within, &self.commands, &self.store).await?;
        self.commands.send(Command::Provide(root)).await?;
        Ok(blob)
    }
}
