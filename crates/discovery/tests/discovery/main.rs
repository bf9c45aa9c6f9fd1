//! What this crate promises, with development clusters and real swarms.
#![allow(clippy::unwrap_used)]
#![allow(missing_docs)] // a test program has no users of its items

mod bed;
mod conditions;
mod life;
mod reach;
mod walkthrough;
