//! The Hanse agent and its command line.

#![forbid(unsafe_code)]

mod agent;
mod bench;
mod check;
mod cli;
mod client;
mod config;
mod consortium;
mod discoverer;
mod evidence;
mod keys;
mod ledger;
mod metrics;
mod output;
mod swarm;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
