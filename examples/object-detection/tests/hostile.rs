//! Garbage on any port does no harm, and wrong arguments are explained.
#![allow(clippy::unwrap_used)]

mod rig;

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use object_detection::{
    model::{BoundingBox, FrameId, Timestamp},
    wire::{Ack, FrameHeader, Message, Outcome, PictureHeader, Role, WireCodec},
};
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use rig::{PATIENCE, Program};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::codec::{Encoder as _, Framed};

async fn pipeline() -> (Program, Program, Program) {
    let receiver = Program::receiver().await;
    let detector = Program::detector("lubeck", &receiver).await;
    let sender = Program::sender(&[&detector]).await;
    sender.wait_ready().await;
    (receiver, detector, sender)
}

/// Sends bytes and reads until the other side closes; it has to.
async fn thrown_out(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may close before all is written: that is what is wanted.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let closed = timeout(PATIENCE, async {
        let mut sink = [0; 1024];
        while matches!(stream.read(&mut sink).await, Ok(1..)) {}
    });
    closed
        .await
        .unwrap_or_else(|_| panic!("{address} keeps a connection that sent garbage"));
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    WireCodec.encode(message, &mut bytes).unwrap();
    bytes.to_vec()
}

#[tokio::test]
async fn garbage_on_any_port_does_no_harm() {
    let (receiver, detector, sender) = pipeline().await;
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let ports = [&receiver, &detector, &sender].map(|program| program.listening.values().copied().collect::<Vec<_>>());
    let mut noise = vec![0; 100_000];
    random.fill_bytes(&mut noise);
    for port in ports.concat() {
        thrown_out(port, &noise).await;
        thrown_out(
            port,
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        thrown_out(port, b"HVOD\x01\x02\0\0\xff\xff\xff\xff").await;
        thrown_out(port, b"HVOD\x01\x05\0\0\0\0\0\x02{}").await;
        thrown_out(port, b"HVOD\x01\x02\0\0\0\0\0\x08\0\0\0\x09{}  ").await;
        thrown_out(port, &bytes_of(&Message::GoAway)).await;
        thrown_out(port, b"").await;
    }
    // More connections than are allowed, all silent: the links go on, and probes get through once silence has lasted.
    let mut silent = Vec::new();
    for port in [
        detector.listening["frames"],
        receiver.listening["pictures"],
        sender.listening["http"],
    ] {
        for _ in 0..80 {
            silent.push(TcpStream::connect(port).await.unwrap());
        }
    }
    let before = receiver.json("/stats").await["frames_received"].as_u64().unwrap();
    receiver
        .stats_when("frames go on", |stats| {
            stats["frames_received"].as_u64() > Some(before + 20)
        })
        .await;
    assert!(detector.has_logged("refused: 64 connections are open"));
    for program in [&receiver, &detector, &sender] {
        assert!(program.is_ready().await);
        assert!(program.resident_kb() <= 25 * 1024, "{} kB", program.resident_kb());
    }
    let stats = receiver.json("/stats").await;
    assert_eq!(stats["frames_lost"], 0, "{stats:#}");
    drop(silent);
}

fn frame(stream: &str, sequence: u64) -> FrameHeader {
    FrameHeader {
        id: FrameId {
            stream: stream.parse().unwrap(),
            sequence,
        },
        captured_at: Timestamp(u64::MAX),
        truth: vec![BoundingBox::new(1, 1, 1, 1).unwrap()],
    }
}

/// Connects as a client that speaks the protocol, and returns the answer to one message.
async fn ask(address: SocketAddr, role: Role, message: Message) -> Message {
    let mut link = Framed::new(TcpStream::connect(address).await.unwrap(), WireCodec);
    let welcome = timeout(PATIENCE, link.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(welcome, Message::Welcome(welcome) if welcome.role == role));
    link.get_mut().write_all(&bytes_of(&message)).await.unwrap();
    timeout(PATIENCE, link.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn well_formed_nonsense_is_refused_for_good() {
    let (receiver, detector, _sender) = pipeline().await;
    let refused = |id: &FrameId| {
        Message::Ack(Ack {
            id: id.clone(),
            outcome: Outcome::Refused,
        })
    };

    let no_picture = Message::Frame(frame("evil", 0), Bytes::from_static(b"\xff\xd8\xff not a picture"));
    let answer = ask(detector.listening["frames"], Role::ObjectDetector, no_picture).await;
    assert_eq!(answer, refused(&frame("evil", 0).id));

    let name = || "evil".parse().unwrap();
    let header = |n| PictureHeader {
        frame: frame("evil", n),
        found: vec![],
        domain: name(),
        detector: name(),
    };
    let no_picture = Message::Picture(header(0), Bytes::from_static(b"<script>"));
    let answer = ask(receiver.listening["pictures"], Role::Receiver, no_picture).await;
    assert_eq!(answer, refused(&frame("evil", 0).id));

    // A wild number and a time in the future are taken, cost nothing, and do not stop the show.
    let wild = Message::Picture(header(u64::MAX), Bytes::from_static(b"\xff\xd8\xff"));
    let answer = ask(receiver.listening["pictures"], Role::Receiver, wild).await;
    assert!(matches!(
        answer,
        Message::Ack(Ack {
            outcome: Outcome::Delivered,
            ..
        })
    ));
    rig::eventually("a real picture is shown again", || async {
        let snapshot = receiver.get("/snapshot.jpg").await.bytes().await.unwrap();
        object_detection::jpeg::decode(&snapshot).map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_camera_does_not_talk_to_the_wrong_program() {
    let receiver = Program::receiver().await;
    let to = receiver.listening["pictures"].to_string();
    let sender = Program::start("sampler-sender", 1, &["--destination-ip", &to, "--http-port", "0"]).await;
    rig::eventually("the camera says what is wrong", || async {
        sender
            .has_logged("a Receiver answers there, not a ObjectDetector: check the address")
            .then_some(())
            .ok_or(())
    })
    .await;
    assert!(!sender.is_ready().await);
}

#[tokio::test]
async fn wrong_arguments_are_explained() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases: [(&str, &[&str], &str); 6] = [
        ("sampler-sender", &[], "--destination-ip"),
        (
            "sampler-sender",
            &["--destination-ip", "10.0.0"],
            "write an IP address or a host name",
        ),
        ("sampler-sender", &["--destination-ip", "a", "--fps", "1000"], "1..=60"),
        (
            "object-detector",
            &["--receiver-address", "a", "--detector-domain", "<b>"],
            "use 1 to 100 letters",
        ),
        (
            "receiver",
            &[
                "--bind-address",
                "127.0.0.1",
                "--http-port",
                &port,
                "--pictures-port",
                "0",
            ],
            "choose another address or port",
        ),
        ("receiver", &["--bind-address", "nowhere"], "invalid IP address"),
    ];
    for (program, args, advice) in cases {
        let output = timeout(PATIENCE, rig::command(program).args(args).output())
            .await
            .unwrap()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains(advice),
            "{program} {args:?}: {text}"
        );
    }
}
