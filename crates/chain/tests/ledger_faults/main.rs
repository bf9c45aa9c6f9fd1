//! What the ledger promises under faults, on real nodes in processes of their own. `docs/faults.md` lists all of it.
//!
//! Random choices follow from `SEED`, which each test prints. `HANSE_ROUNDS` repeats what is done in rounds more often;
//! `cargo xtask soak` sets both. A line that starts with `TALLY` says how much was done; the soak adds these up.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod byzantine;
mod clock;
mod disk;
mod kills;
mod league;
mod network;
#[path = "../processes/mod.rs"]
mod processes;
mod small;
#[path = "../support/mod.rs"]
mod support;
mod switch;
mod torn;

#[test]
#[ignore = "the body of the node processes that the other tests start"]
fn node_process() {
    processes::serve();
}
