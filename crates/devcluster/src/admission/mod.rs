//! What happens to an object between the request and the store: defaults, what a door may change, validation.
//! All of it is pure; allocation of addresses looks at the state it is given.

pub mod allocate;
mod defaults;
mod jobs;
pub mod names;
mod pod_defaults;
pub mod pods;
pub mod strategy;
mod validate;
mod validate_events;
mod validate_kinds;
mod workloads;
mod zero;

pub use defaults::default_object;
pub use validate::{validate_create, validate_update};
pub use zero::{fill_zero, zero};
