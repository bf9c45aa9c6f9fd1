//! The camera of the example; see [`object_detection::sender`].

use clap::Parser as _;
use object_detection::{process, sender::Args};

fn main() -> anyhow::Result<()> {
    process::run(Args::parse().run())
}
