//! Pure decisions: state in, what should be out. Time is an argument.

mod compare;
mod conditions;
mod exposure;
mod identity;
mod peers;
mod pool;
mod publication;
mod storage;
#[cfg(test)]
mod tests;

pub use compare::holds;
pub use conditions::{Finding, Transition, merged, rfc3339};
pub use exposure::{Exposure, Place, addresses, exposure, ingress, label};
pub use identity::{TargetReport, identity_status};
pub use peers::{PeerKey, WantedPeer, peer_status, wanted_peers};
pub use pool::{PoolReport, SwarmFacts, pool_status, spec_hash};
pub use publication::{Claim, Hindrance, Owner, PublicationPlan, Target, publications};
pub use storage::{QuantityError, bytes_of};
