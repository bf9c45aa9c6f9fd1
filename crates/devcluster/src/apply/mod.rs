//! Server-side apply: who owns which field, and what an apply changes.
//!
//! The semantics are those of `sigs.k8s.io/structured-merge-diff`, reduced to one version of each type: maps
//! merge key by key, lists as sets, as maps by key fields, or as a whole. All of it is pure.

mod compare;
mod fields;
mod managed;
mod merge;
#[cfg(test)]
mod properties;
mod walk;

pub use fields::FieldSet;
pub use managed::{Apply, Scope, apply, update};
pub use merge::type_error;
