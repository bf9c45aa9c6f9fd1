//! One UDP port of a Service.
//!
//! A client's datagrams form a flow: they go to one endpoint through a socket of their own, on which
//! the answers come back. A flow whose endpoint is no longer ready moves to another one with its next
//! datagram (for TCP a connection would have been lost; here only the address changes). Flows end after
//! [`IDLE`] without a datagram from the client; at most [`MAX_FLOWS`] exist.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{BindFailure, backends::Backends};

/// Flows at a time through one port; the least recently used makes room.
pub(super) const MAX_FLOWS: usize = 1024;
/// Time without datagrams after which a flow is forgotten.
pub(super) const IDLE: Duration = Duration::from_secs(60);
const REBIND: Duration = Duration::from_secs(1);
/// The largest datagram there is.
const DATAGRAM: usize = 65_535;

struct Flow {
    backend: SocketAddr,
    socket: Arc<UdpSocket>,
    last: Instant,
    _answers: AbortOnDropHandle<()>,
}

/// Serves the port until the sender of the endpoints is gone.
pub(super) async fn serve(address: SocketAddr, mut backends: Backends, mut failed: BindFailure) {
    while backends.wait_for_some().await {
        let socket = match UdpSocket::bind(address).await {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                failed.tell(address, &error);
                sleep(REBIND).await;
                continue;
            }
        };
        let mut watching = backends.clone();
        tokio::select! {
            () = forward(&socket, &backends) => {}
            () = watching.wait_for_none() => {}
        }
    }
}

async fn forward(socket: &Arc<UdpSocket>, backends: &Backends) {
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = sleep(IDLE), if !flows.is_empty() => {
                flows.retain(|_, flow| flow.last.elapsed() < IDLE);
                continue;
            }
        };
        let (length, client) = match received {
            Ok(received) => received,
            // An earlier answer could not be delivered (ICMP); the socket goes on.
            Err(error) => {
                tracing::debug!(%error, "datagram not received");
                continue;
            }
        };
        if flows.get(&client).is_none_or(|flow| !backends.contains(&flow.backend)) {
            flows.remove(&client);
            make_room(&mut flows);
            let Some(backend) = backends.candidates().first().copied() else {
                continue;
            };
            match open(socket, client, backend).await {
                Ok(flow) => drop(flows.insert(client, flow)),
                Err(error) => {
                    tracing::debug!(%error, %backend, "flow not opened");
                    continue;
                }
            }
        }
        if let Some(flow) = flows.get_mut(&client) {
            flow.last = Instant::now();
            // Lost like any datagram if the endpoint does not take it.
            let _ = flow.socket.send(&buffer[..length]).await;
        }
    }
}

fn make_room(flows: &mut HashMap<SocketAddr, Flow>) {
    if flows.len() < MAX_FLOWS {
        return;
    }
    flows.retain(|_, flow| flow.last.elapsed() < IDLE);
    if flows.len() >= MAX_FLOWS
        && let Some(oldest) = flows
            .iter()
            .min_by_key(|(_, flow)| flow.last)
            .map(|(client, _)| *client)
    {
        flows.remove(&oldest);
    }
}

async fn open(public: &Arc<UdpSocket>, client: SocketAddr, backend: SocketAddr) -> io::Result<Flow> {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    socket.connect(backend).await?;
    let (inside, outside) = (Arc::clone(&socket), Arc::clone(public));
    let answers = tokio::spawn(async move {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match inside.recv(&mut buffer).await {
                Ok(length) => drop(outside.send_to(&buffer[..length], client).await),
                // Nobody listens there (ICMP); the flow may get an answer later.
                Err(error) => {
                    tracing::debug!(%error, "no answer");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok(Flow {
        backend,
        socket,
        last: Instant::now(),
        _answers: AbortOnDropHandle::new(answers),
    })
}
