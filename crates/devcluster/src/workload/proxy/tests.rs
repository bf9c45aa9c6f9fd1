#![allow(clippy::unwrap_used)]
//! Real sockets on loopback addresses.
use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Instant, sleep},
};

use super::*;

const HOST: Ipv4Addr = Ipv4Addr::new(127, 91, 7, 1);

fn silent() -> OnFailure {
    Arc::new(|message| panic!("{message}"))
}

/// A port that is free now.
async fn free_door(transport: Transport) -> Door {
    let port = match transport {
        Transport::Tcp => TcpListener::bind((HOST, 0)).await.unwrap().local_addr().unwrap().port(),
        Transport::Udp => UdpSocket::bind((HOST, 0)).await.unwrap().local_addr().unwrap().port(),
    };
    Door {
        address: HOST,
        port,
        transport,
    }
}

/// Says its name at each connection and then answers with what it gets, until the client half-closes.
async fn backend(name: &'static [u8]) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.write_all(name).await.unwrap();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                stream.write_all(&all).await.unwrap();
            });
        }
    });
    (address, AbortOnDropHandle::new(task))
}

async fn connected(door: Door) -> (TcpStream, u8) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(mut stream) = TcpStream::connect((door.address, door.port)).await {
            let name = stream.read_u8().await.unwrap();
            return (stream, name);
        }
        assert!(Instant::now() < deadline, "the door does not open");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_existing_connection_stays_and_new_ones_go_to_ready_endpoints_only() {
    let proxy = Proxy::new(Withdrawn::default());
    let door = free_door(Transport::Tcp).await;
    let ((a, _keep_a), (b, _keep_b)) = (backend(b"a").await, backend(b"b").await);
    proxy.update("s", Doors::from([(door, vec![a])]), &silent());
    let (mut first, name) = connected(door).await;
    assert_eq!(name, b'a');
    proxy.update("s", Doors::from([(door, vec![b])]), &silent());
    for _ in 0..5 {
        assert_eq!(connected(door).await.1, b'b');
    }
    // The old connection still reaches its endpoint, and half-closing passes through both ways.
    first.write_all(b"hello").await.unwrap();
    first.shutdown().await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello");
}

#[tokio::test]
async fn a_dead_endpoint_costs_no_connection_and_none_refuses() {
    let proxy = Proxy::new(Withdrawn::default());
    let door = free_door(Transport::Tcp).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (alive, _keep) = backend(b"x").await;
    proxy.update("s", Doors::from([(door, vec![dead, alive])]), &silent());
    for _ in 0..6 {
        assert_eq!(connected(door).await.1, b'x');
    }
    proxy.update("s", Doors::from([(door, vec![])]), &silent());
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((door.address, door.port)).await.is_ok() {
        assert!(Instant::now() < deadline, "a Service without endpoints must refuse");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn udp_answers_come_back_and_a_flow_leaves_an_endpoint_that_is_gone() {
    let proxy = Proxy::new(Withdrawn::default());
    let door = free_door(Transport::Udp).await;
    let mut endpoints = Vec::new();
    let mut tasks = Vec::new();
    for name in [b'a', b'b'] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        endpoints.push(socket.local_addr().unwrap());
        tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut buffer = [0; 16];
            loop {
                let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
                socket.send_to(&[name], client).await.unwrap();
            }
        })));
    }
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ask = async |expected: u8| {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut buffer = [0; 16];
        loop {
            client.send_to(b"?", (door.address, door.port)).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(100), client.recv_from(&mut buffer)).await;
            if matches!(answer, Ok(Ok(_))) && buffer[0] == expected {
                return;
            }
            assert!(Instant::now() < deadline, "no answer from {}", char::from(expected));
        }
    };
    proxy.update("s", Doors::from([(door, vec![endpoints[0]])]), &silent());
    ask(b'a').await;
    proxy.update("s", Doors::from([(door, vec![endpoints[1]])]), &silent());
    ask(b'b').await;
}

#[tokio::test]
async fn a_port_in_use_is_told_and_opened_when_it_is_free() {
    let proxy = Proxy::new(Withdrawn::default());
    let taken = TcpListener::bind((HOST, 0)).await.unwrap();
    let door = Door {
        address: HOST,
        port: taken.local_addr().unwrap().port(),
        transport: Transport::Tcp,
    };
    let (endpoint, _keep) = backend(b"x").await;
    let (sender, mut failures) = tokio::sync::mpsc::channel(8);
    let failed: OnFailure = Arc::new(move |message| drop(sender.try_send(message)));
    proxy.update("s", Doors::from([(door, vec![endpoint])]), &failed);
    let message = tokio::time::timeout(Duration::from_secs(10), failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(message.starts_with(&format!("cannot listen on {HOST}:")), "{message}");
    drop(taken);
    assert_eq!(connected(door).await.1, b'x');
}
