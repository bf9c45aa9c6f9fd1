//! Manifests by content hash: the ledger says which bytes were agreed on, whoever in the swarm has them hands them over, and
//! what arrives is checked before anyone looks at it.
//!
//! A manifest is one block of a blob, so its CID follows from the SHA-256 on the ledger. It lies in the swarm's store, and is
//! offered to others, as long as an agreement about it lives here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_agreement::Hash;
use hanse_swarm::blob::{BlockId, LARGEST_BLOCK};
use hanse_swarm::service::BlobError;
use hanse_swarm::{PeerId, Swarm};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

/// A manifest may have this many bytes: what fits into one block.
pub const LARGEST: usize = LARGEST_BLOCK;

/// The manifests of this domain's agreements, and those of others in the swarm.
pub struct Manifests {
    swarm: Arc<Swarm>,
    /// Held while it is decided whether a manifest is still needed, and while one is taken up.
    keeping: Mutex<()>,
}

/// The CID under which the swarm knows the manifest with this SHA-256.
pub fn cid(hash: &Hash) -> BlockId {
    BlockId::from_sha256(hash.0)
}

/// The content hash that goes on the ledger.
pub fn hash(manifest: &[u8]) -> Hash {
    Hash(Sha256::digest(manifest).into())
}

impl Manifests {
    pub fn new(swarm: Arc<Swarm>) -> Self {
        Self {
            swarm,
            keeping: Mutex::default(),
        }
    }

    /// Keeps and offers a manifest. When this returns it is on the disk; `write_down` then has to write that it is needed.
    pub async fn publish<T, E: From<BlobError>>(
        &self,
        manifest: Bytes,
        write_down: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let _one_at_a_time = self.keeping.lock().await;
        self.swarm.add_blob(manifest).await?;
        write_down.await
    }

    /// The manifest, if it lies here.
    pub async fn kept(&self, hash: &Hash) -> Result<Option<Bytes>, BlobError> {
        let _not_while_it_is_given_up = self.keeping.lock().await;
        self.swarm.kept(cid(hash)).await
    }

    /// The manifest, from here or from whoever has it; `author`, if known, is asked first.
    ///
    /// # Errors
    /// If nobody gives it `within` that time. Wrong bytes are no error but another reason to ask somebody else.
    pub async fn fetch(&self, hash: &Hash, author: Option<PeerId>, within: Duration) -> Result<Bytes, BlobError> {
        match self.kept(hash).await? {
            Some(manifest) => Ok(manifest),
            None => {
                let (author, most) = (author.as_slice(), LARGEST as u64);
                self.swarm.blob_from(cid(hash), author, most, within).await
            }
        }
    }

    /// Tells others again, after a restart, that it can be had here.
    pub async fn offer(&self, hash: &Hash) -> Result<(), BlobError> {
        self.swarm.offer(cid(hash)).await
    }

    /// Gives the manifest up, unless it is `needed`.
    pub async fn release<E: From<BlobError>>(
        &self,
        hash: &Hash,
        needed: impl FnOnce() -> Result<bool, E>,
    ) -> Result<(), E> {
        let _one_at_a_time = self.keeping.lock().await;
        if !needed()? {
            self.swarm.forget(cid(hash)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
