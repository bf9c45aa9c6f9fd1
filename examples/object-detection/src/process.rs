//! What the three programs have in common as processes: runtime, logs, signals, names.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::model::Name;

/// From the signal to the exit, all in all: Kubernetes gives more, but a replacement is waiting.
pub const DRAIN_TIME: Duration = Duration::from_millis(1500);

/// Runs a program to its end, with JSON logs on standard error at the level given by `RUST_LOG` (default `info`).
///
/// # Errors
/// What `main` returns, or that the runtime cannot start.
pub fn run(main: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    // One thread for the network and at most two for pixels: the memory of a larger pool would be wasted.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    let result = runtime.block_on(main);
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Waits for SIGTERM or Ctrl-C. Call it early: from the first call on, the signals do not kill the process.
///
/// # Errors
/// When the signals cannot be caught.
pub fn terminated() -> io::Result<impl Future<Output = ()>> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Listens and says so in the log; port 0 takes a free port.
///
/// # Errors
/// With the address and the advice to choose another, when it is taken.
pub async fn listen(purpose: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let advice = || format!("cannot listen on {address} for {purpose}: choose another address or port, see --help");
    let listener = TcpListener::bind(address).await.with_context(advice)?;
    let address = listener.local_addr().with_context(advice)?;
    tracing::info!(purpose, %address, "listening");
    Ok(listener)
}

/// The first of these that is given and not empty, else `default`.
///
/// # Errors
/// When it is no [`Name`].
pub fn name(given: Option<&str>, variables: &[&str], default: &str) -> anyhow::Result<Name> {
    let from_environment = variables.iter().filter_map(|variable| std::env::var(variable).ok());
    let mut candidates = given.map(str::to_owned).into_iter().chain(from_environment);
    Ok(candidates
        .find(|name| !name.is_empty())
        .as_deref()
        .unwrap_or(default)
        .parse()?)
}
