//! The detector of the example; see [`object_detection::detector`].

use clap::Parser as _;
use object_detection::{detector::Args, process};

fn main() -> anyhow::Result<()> {
    process::run(Args::parse().run())
}
