//! The default swarm of this domain's agent: joining it, what is said there, and who is found there.

pub mod api;
mod claims;
mod command;
mod credentials;
mod discover;
mod enter;
mod find;
pub mod guests;
mod identity;
mod pages;
mod start;

pub use command::{SwarmCommand, run};
pub use discover::discover;
pub use enter::enter;
pub use find::Found;
pub use start::{folder, key, start};
