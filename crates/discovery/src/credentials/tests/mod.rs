//! The pure parts.
#![allow(clippy::unwrap_used)]

mod hostile;
mod planned;
mod policies;
