//! Joining without replaying history: proven headers from block 0 on, then the state at a recent height. A node that is far
//! behind does the same from its own newest block on, and fetches the blocks that it passed by afterwards ([`fill`]).
//!
//! Promises to a newcomer that knows the genesis document and asks members of whom not all lie: the store that
//! [`sync::fetch`] makes holds the state that a block decided by the ledger's validators names in its header, byte for byte; a
//! wrong chunk, root, certificate or header is found before it is used, and whoever sent it is not asked again; memory and disk
//! are bounded whatever is sent; killed at any moment it goes on with what was fetched, and never leaves half a store.
//! It executes nothing. See `docs/adr/0012-snapshot-sync.md`.

pub mod fill;
pub mod follow;
pub mod serve;
pub mod standing;
pub mod sync;
pub mod wire;

pub use fill::fill;
pub use serve::{ServeError, SnapshotServer};
pub use standing::Standing;
pub use sync::{Outcome, Progress, Settings, Source, SourceError, SyncError, fetch};
