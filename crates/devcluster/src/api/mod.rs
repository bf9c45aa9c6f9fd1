//! The HTTP face: paths, verbs and bodies of the Kubernetes API.
//!
//! A request becomes a [`Call`](request::Call) (who, what, how); reads answer from the published state, writes
//! are decided by pure functions on a transaction of the store.

mod answer;
mod delete;
mod discovery;
mod form;
#[cfg(test)]
mod hostile;
mod logs;
mod openapi;
mod patch;
mod read;
mod request;
mod reviews;
mod route;
mod scale;
mod server;
mod token;
mod watch;
pub mod write;
mod yaml;

pub use delete::{CLEANUP, DeleteOptions, delete_object};
pub use logs::PodLogs;
pub use request::{Call, go_json_error};
pub use route::{ObjectPath, verb};
pub use server::{Server, Target, router};
pub use write::Context;
