//! Nobody but the two domains ever has the words: not who reads the wire with the swarm's key in hand, and no other member.

use std::path::Path;
use std::sync::{Arc, Mutex};

use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

type Tape = Arc<Mutex<Vec<u8>>>;

/// Passes on what comes, and keeps it.
async fn copy(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, tape: Tape) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        tape.lock().unwrap().extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// A wire with a recorder in it. Both directions of each connection have tapes of their own.
async fn tapped(to: &SwarmAddress) -> (SwarmAddress, Arc<Mutex<Vec<Tape>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = to.to_string();
    let mut parts = text.split('/').skip(1);
    let behind: u16 = parts.nth(3).unwrap().parse().unwrap();
    let peer = parts.nth(1).unwrap();
    let address = SwarmAddress::parse(&format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}")).unwrap();
    let tapes = Arc::new(Mutex::new(Vec::new()));
    let all = tapes.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            let (there, back) = (Tape::default(), Tape::default());
            all.lock().unwrap().extend([there.clone(), back.clone()]);
            tokio::spawn(copy(near_read, far_write, there));
            tokio::spawn(copy(far_read, near_write, back));
        }
    });
    (address, tapes)
}

/// What a tape holds for somebody who has the swarm's key: go-libp2p's `core/pnet` and rust's `libp2p-pnet` send a nonce of 24
/// bytes, then everything through XSalsa20.
fn decrypted(tape: &[u8], swarm_key: &SwarmKey) -> Vec<u8> {
    let Some((nonce, text)) = tape.split_at_checked(24) else {
        return Vec::new();
    };
    let file = swarm_key.to_file();
    let key = hex::decode(file.lines().nth(2).unwrap()).unwrap();
    let mut text = text.to_vec();
    let mut cipher = XSalsa20::new(key.as_slice().into(), nonce.into());
    cipher.apply_keystream(&mut text);
    text
}

fn has(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

fn files_have(folder: &Path, words: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let contents: Vec<_> = files.map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!contents.is_empty(), "a domain has a store");
    contents.iter().any(|content| has(content, words))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_message_is_on_the_wire_nor_with_the_other_members() {
    let swarm_key = SwarmKey::generate();
    let one = Domain::start(&swarm_key, 1, &[]).await;
    let (wire, tapes) = tapped(&one.address().await).await;
    let two = Domain::start(&swarm_key, 2, &[wire]).await;
    let third = Domain::start(&swarm_key, 3, &[one.address().await]).await;
    third.swarm.publish(statement(3, "I listen")).await.unwrap();
    acquaint(&one, 1, &two, 2).await;
    third.until_online(one.swarm.name()).await;
    third.until_online(two.swarm.name()).await;

    let asked = two.swarm.answer(TOPIC);
    let _listening = third.swarm.answer(TOPIC);
    let answering = async {
        let (question, _asked) = answer(&two, asked).await;
        assert_eq!(question.body, BODY);
        question.reply.send(Bytes::from_static(ANSWER)).unwrap();
    };
    let (answered, ()) = tokio::join!(ask(&one, &two, BODY), answering);
    assert_eq!(answered.unwrap(), ANSWER);

    let tapes: Vec<Vec<u8>> = tapes
        .lock()
        .unwrap()
        .iter()
        .map(|tape| tape.lock().unwrap().clone())
        .collect();
    let open: Vec<_> = tapes.iter().map(|tape| decrypted(tape, &swarm_key)).collect();
    // The tapper does read something: the negotiation below noise, in both directions.
    assert!(open.iter().filter(|text| has(text, b"/noise")).count() >= 2);
    assert!(
        !tapes.iter().any(|tape| has(tape, b"/noise")),
        "not without the swarm's key"
    );
    for words in [BODY, ANSWER, &BODY[13..21], TOPIC.as_str().as_bytes()] {
        assert!(!tapes.iter().chain(&open).any(|text| has(text, words)));
    }
    let domains = [one, two, third];
    for domain in domains {
        let folder = domain.folder;
        domain.swarm.stop().await;
        for words in [BODY, ANSWER, &BODY[13..21]] {
            assert!(!files_have(folder.path(), words));
        }
    }
}
