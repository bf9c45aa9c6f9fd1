//! One TCP port of a Service.
//!
//! It listens only while there is a ready endpoint; otherwise a client is refused, as by a real
//! cluster. Each connection goes to one endpoint and stays there, also when the endpoint is no longer
//! ready. If connecting to it fails nothing has been sent yet, and the next one is tried: a pod that
//! stops a moment too early costs no connection.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{BindFailure, backends::Backends};

/// Connections at a time through one port; more are closed at once.
pub(super) const MAX_CONNECTIONS: usize = 4096;
const BUFFER: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a new connection may look for an endpoint that answers.
const SEARCH: Duration = Duration::from_secs(3);
const REBIND: Duration = Duration::from_secs(1);

/// Serves the port until the sender of the endpoints is gone.
pub(super) async fn serve(address: SocketAddr, mut backends: Backends, mut failed: BindFailure) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while backends.wait_for_some().await {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                failed.tell(address, &error);
                sleep(REBIND).await;
                continue;
            }
        };
        let mut watching = backends.clone();
        tokio::select! {
            () = accept(&listener, &backends, &permits) => {}
            () = watching.wait_for_none() => {}
        }
    }
}

async fn accept(listener: &TcpListener, backends: &Backends, permits: &Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
                    refuse(client);
                    continue;
                };
                let backends = backends.clone();
                tokio::spawn(async move {
                    connect(client, &backends).await;
                    drop(permit);
                });
            }
            // A connection that was reset before it was accepted, or no more descriptors.
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connect(mut client: TcpStream, backends: &Backends) {
    let Some(mut server) = find(backends).await else {
        return refuse(client);
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    // Passes on half-closes in both directions. An error is the end of either side.
    let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
}

async fn find(backends: &Backends) -> Option<TcpStream> {
    let deadline = Instant::now() + SEARCH;
    let mut pause = Duration::from_millis(5);
    loop {
        for backend in backends.candidates() {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(backend)).await {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => tracing::debug!(%backend, %error, "endpoint does not answer"),
                Err(_) => tracing::debug!(%backend, "endpoint does not answer in time"),
            }
        }
        if Instant::now() + pause >= deadline {
            return None;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Closes with a reset, so that the client does not take it for an empty answer.
fn refuse(client: TcpStream) {
    let _ = client.set_zero_linger();
}
