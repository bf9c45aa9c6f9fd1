//! The viewer's end of the example; see [`object_detection::receiver`].

use clap::Parser as _;
use object_detection::{process, receiver::Args};

fn main() -> anyhow::Result<()> {
    process::run(Args::parse().run())
}
