//! Who is in the consortium, and how domains come and go, while it runs.
//!
//! A newcomer needs an invite, that is the address of a member and the hash of the genesis document. Its node follows the
//! ledger without a vote, as a guest of the members, each of whom can check that one of them made the invite. It asks them: its
//! request is signed with the two keys that it will have as a member. Members vote by transactions; the last of the votes that
//! are needed admits it, and from the next height on it validates. Since the ledger takes transactions of members only, nothing
//! of this reaches the ledger before a member has put its own name to it, and what strangers may ask of a member's agent is
//! bounded.

mod api;
mod attend;
mod claim;
mod command;
mod desk;
mod guests;
mod invite;
mod join;
pub mod kept;
mod newcomers;
mod pages;
mod plan;
mod rate;
mod remote;
mod request;
mod rotation;
mod service;
pub mod snapshots;
pub mod token;
mod votes;

pub use api::routes;
pub use command::{ConsortiumCommand, run};
pub use invite::Invite;
pub use join::{JoinArguments, run as join};
pub use pages::BootstrapPage;
pub use plan::Policy;
pub use remote::{bootstrap as fetch_bootstrap, client as http_client};
pub use request::consensus_address;
pub use service::{Consortium, OwnNode, Settings};
