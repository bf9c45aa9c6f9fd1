//! What others send, changed at random: `cargo xtask soak` runs these for long.
#![allow(clippy::unwrap_used)]

#[path = "../../chain/tests/fuzzing/mod.rs"]
mod fuzzing;

use std::time::Duration;

use bytes::Bytes;
use libp2p::Multiaddr;

use crate::blob::{BlockId, FileNode, LARGEST_BLOCK, Layout};
use crate::lan::{self, Heard};
use crate::message::{Direction, Envelope, seal};
use crate::model::{SwarmAddress, UnixMillis};
use crate::network::{BlockAnswer, Entry, RecordsAnswer, RecordsQuestion, SealedAnswer, SealedQuestion, Wire};
use crate::record::{Announcement, IpnsRecord, name_of_routing_key, routing_key};
use crate::service::tests::{key, sealing, statement};
use crate::{SwarmKey, Topic};
use fuzzing::{fuzz, keep};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// It is read or refused, and what was read takes no more room than it came in.
fn one_form<M: Wire>(bytes: &[u8]) {
    if let Ok(message) = M::from_bytes(bytes.to_vec()) {
        assert!(message.to_bytes().len() <= M::MOST.max(bytes.len()));
    }
}

#[test]
fn records() {
    let name = key(1).peer_id();
    fuzz("record", |bytes| {
        if let Ok(checked) = IpnsRecord::check(&name, bytes, NOW) {
            // What is passed on is valid for everybody else too.
            let again = IpnsRecord::check(&name, checked.bytes(), NOW).unwrap();
            assert_eq!(again, checked);
            let _ = Announcement::of(checked, NOW);
        }
    });
}

#[test]
fn names_of_records() {
    fuzz("routing-key", |bytes| {
        if let Some(name) = name_of_routing_key(bytes) {
            assert_eq!(routing_key(&name), bytes);
        }
    });
}

#[test]
fn told_records() {
    fuzz("records-question", one_form::<RecordsQuestion>);
    fuzz("records-answer", one_form::<RecordsAnswer>);
}

#[test]
fn blocks() {
    fuzz("node", |bytes| {
        if let Ok(node) = FileNode::decode(bytes) {
            assert_eq!(node.encode(), bytes);
        }
    });
    fuzz("cid", |bytes| {
        if let Ok(id) = BlockId::from_bytes(bytes) {
            assert_eq!(id.to_bytes(), bytes);
        }
        if let Some(id) = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse::<BlockId>().ok())
        {
            assert_eq!(id.to_string().parse::<BlockId>().unwrap(), id);
        }
    });
    fuzz("block-answer", one_form::<BlockAnswer>);
}

#[test]
fn addresses() {
    fuzz("address", |bytes| {
        if let Ok(address) = Multiaddr::try_from(bytes.to_vec()) {
            let _ = SwarmAddress::new(address);
        }
        if let Some(address) = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| SwarmAddress::parse(text).ok())
        {
            assert_eq!(SwarmAddress::parse(&address.to_string()).unwrap(), address);
        }
    });
}

/// Anybody in the local network can send these.
#[test]
fn multicast_dns() {
    let host = [192, 0, 2, 7].into();
    fuzz("mdns", |bytes| {
        if let Some(Heard::Answer(addresses)) = lan::read(bytes, host) {
            let of_host = |address: &SwarmAddress| address.to_string().starts_with("/ip4/192.0.2.7/");
            assert!(addresses.iter().all(of_host));
        }
    });
}

#[test]
fn keys() {
    fuzz("swarm-key", |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes)
            && let Ok(key) = text.parse::<SwarmKey>()
        {
            let again: SwarmKey = key.to_file().parse().unwrap();
            assert_eq!(again.fingerprint(), key.fingerprint());
        }
    });
}

#[test]
fn sealed_messages() {
    fuzz("sealed-question", one_form::<SealedQuestion>);
    fuzz("sealed-answer", one_form::<SealedAnswer>);
    fuzz("envelope", |bytes| {
        if let Ok(envelope) = Envelope::from_text(bytes) {
            let again = Envelope::from_text(&envelope.to_text());
            assert!(again.is_ok_and(|again| again == envelope));
        }
    });
    let (secret, from, to) = (sealing(2), key(1).peer_id(), key(2).peer_id());
    fuzz("box", |bytes| {
        let _ = secret.open(bytes, Direction::Question, &from, &to);
    });
}

/// Run it when the form of messages changes: `cargo test --workspace --lib write_the_swarm_corpus -- --ignored`.
#[test]
#[ignore = "writes the corpus"]
fn write_the_swarm_corpus() {
    let day = Duration::from_secs(86_400);
    let (one, two) = (key(1), key(2));
    let says = |description| statement(1, description).to_path().unwrap();
    let record = |value: &str| IpnsRecord::sign(&one, value, 7, NOW.plus(day), day).unwrap();
    let present = record(&says("corpus"));
    let withdrawn = record(&crate::model::Statement::Withdrawn.to_path().unwrap());
    keep(
        "record",
        &[
            ("present", present.bytes().to_vec()),
            ("withdrawn", withdrawn.bytes().to_vec()),
        ],
    );
    keep("routing-key", &[("ed25519", routing_key(&one.peer_id()))]);
    let entry = Entry::new(&one.peer_id(), present.bytes());
    let question = RecordsQuestion {
        told: vec![entry.clone()],
        after: Some(Vec::new()),
        ..RecordsQuestion::default()
    };
    let entries = vec![entry.clone(), entry];
    keep("records-question", &[("told", question.to_bytes())]);
    keep(
        "records-answer",
        &[("two", RecordsAnswer { entries, more: true }.to_bytes())],
    );

    let layout = Layout::of(&Bytes::from(vec![7; 2 * LARGEST_BLOCK + 9])).unwrap();
    let small = Layout::of(&Bytes::from_static(b"small")).unwrap();
    keep("node", &[("three", layout.blocks()[0].1.to_vec())]);
    let cids = [("raw", small.root()), ("dag-pb", layout.root())];
    keep("cid", &cids.map(|(name, id)| (name, id.to_bytes())));
    keep("cid", &[("text", small.root().to_string().into_bytes())]);
    let block = BlockAnswer::Block(Bytes::from_static(b"small"));
    keep(
        "block-answer",
        &[("block", block.to_bytes()), ("has-not", BlockAnswer::HasNot.to_bytes())],
    );

    let address = format!("/ip4/192.0.2.7/tcp/4001/p2p/{}", one.peer_id());
    let binary: Multiaddr = address.parse().unwrap();
    let quic: Multiaddr = "/dns4/agent.example/udp/4001/quic-v1".parse().unwrap();
    let circuit = format!("{address}/p2p-circuit/p2p/{}", two.peer_id());
    keep(
        "address",
        &[
            ("circuit", circuit.into_bytes()),
            ("text", address.into_bytes()),
            ("binary", binary.to_vec()),
            ("quic", quic.to_vec()),
        ],
    );
    let here = SwarmAddress::parse(&format!("/ip4/192.0.2.7/tcp/4001/p2p/{}", one.peer_id())).unwrap();
    let answer = lan::answer("corpus", &[here]).unwrap();
    keep("mdns", &[("question", lan::question().unwrap()), ("answer", answer)]);
    // Nobody's key: 32 times 7.
    let file = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "07".repeat(32));
    keep("swarm-key", &[("key", file.into_bytes())]);

    let topic = Topic::new("corpus");
    let asks = Envelope::question(
        one.peer_id(),
        two.peer_id(),
        topic,
        [7; 32],
        Bytes::from_static(b"body"),
    )
    .unwrap();
    let answers = asks.answer(Bytes::from_static(b"answer")).unwrap();
    let sealed = seal(&asks, sealing(2).public());
    let text = |envelope: &Envelope| envelope.to_text().to_vec();
    keep("envelope", &[("question", text(&asks)), ("answer", text(&answers))]);
    keep("box", &[("question", sealed.clone())]);
    let record = present.bytes().to_vec();
    let answer = SealedAnswer::Sealed(sealed.clone());
    keep(
        "sealed-question",
        &[("question", SealedQuestion { record, sealed }.to_bytes())],
    );
    keep("sealed-answer", &[("answer", answer.to_bytes())]);
}
