//! The default swarm of this domain's agent: joining it, what is said there, and who is found there.

mod agreements;
pub mod api;
mod claims;
mod command;
mod credentials;
mod discover;
mod enter;
mod find;
pub mod guests;
mod identity;
mod look;
mod pages;
mod start;

pub use agreements::{Told, told};
pub use command::{SwarmCommand, run};
pub use discover::discover;
pub use enter::enter;
pub use find::Found;
pub use start::{folder, key, start};
