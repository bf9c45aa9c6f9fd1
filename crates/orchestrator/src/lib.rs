//! Federation of services between domains: the reconciler of agreements, for both roles, and its REST API.
//!
//! # What it promises
//! * A request that was accepted is pursued until it is done or has an outcome, over any number of crashes: what is
//!   about to be done is written down first, every step can be repeated, and where things stand is read from the ledger
//!   and the cluster, never assumed.
//! * Moving is make-before-break: nothing of the consumer's own is removed before the provider was seen to do the work,
//!   and nothing of the provider's before the consumer has its own back.
//! * What is reserved for others is derived from the agreements that are not over, so that nothing stays reserved after
//!   an end, however it came about.
//!
//! # How it works
//! The ledger's events and the owner's wishes change records in the [`store`]; for each agreement one task asks the pure
//! [`plan`] for the next action, carries it out and asks again. [`service`] wires this up.
//!
//! # What the caller must do
//! Install a rustls crypto provider, open the ledger and the cluster, and call [`Orchestrator::start`]; serve
//! [`api::router`] where users can reach it.

pub mod api;
mod candidates;
mod catalogue;
mod clock;
mod config;
mod consumer;
mod deploy;
mod error;
mod events;
mod federation;
mod follow;
mod keep;
mod manifests;
mod manual;
mod metrics;
pub mod model;
mod own;
mod parts;
pub mod plan;
mod probe;
mod provider;
mod request;
pub mod sealing;
pub mod service;
pub mod store;
mod told;
mod traffic;
mod webhooks;
mod wiring;

pub use catalogue::Catalogue;
pub use config::{Bidding, OrchestratorConfig};
pub use error::StepError;
pub use federation::Federation;
pub use request::{FederationRequest, RequestError};
pub use service::Orchestrator;
