//! Records against js-ipns, against forgers, and over time.
#![allow(clippy::unwrap_used)]

mod forged;
mod schedule;

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::DomainKey;
use crate::model::UnixMillis;

/// Made by js (npm `ipns` 10.1.6, `createIPNSRecordWithExpiration`) with the key whose secret is 32 times 7, the value
/// `/hanse/1/e30`, sequence number 42, a TTL of 300 s and the end below; with both signatures, and with version 2 alone.
const JS_V1_V2: &str = "\
    0a0c2f68616e73652f312f6533301240cc9cd93bdaf5d24bb9ecb0c4822c7a7f56fdb0d51084a76770e9a3d1290df8031806ed169f53c050\
    81d6c60e6a88bd157b94f01913de25935a7c45003bb2dc0e1800221e323130302d30312d30325430333a30343a30352e3637383930303030\
    305a282a3080f092cbdd0842404e16b9b0a285dbb76f9341ab47dd18e81e467a99c18ae6ede89bda94c7488b56740e848151eb029e8f2f45\
    38be4c3c6dcec65f18e8cba8efebd13d348a676f0d4a63a56354544c1b00000045d964b8006556616c75654c2f68616e73652f312f653330\
    6853657175656e6365182a6856616c6964697479581e323130302d30312d30325430333a30343a30352e3637383930303030305a6c56616c\
    69646974795479706500";
const JS_V2: &str = "\
    42404e16b9b0a285dbb76f9341ab47dd18e81e467a99c18ae6ede89bda94c7488b56740e848151eb029e8f2f4538be4c3c6dcec65f18e8cb\
    a8efebd13d348a676f0d4a63a56354544c1b00000045d964b8006556616c75654c2f68616e73652f312f6533306853657175656e6365182a\
    6856616c6964697479581e323130302d30312d30325430333a30343a30352e3637383930303030305a6c56616c69646974795479706500";
const JS_END: UnixMillis = UnixMillis(4_102_542_245_678);

pub(super) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

pub(super) fn key(tag: u8) -> DomainKey {
    DomainKey::from_secret(Zeroizing::new([tag; 32]))
}

pub(super) fn record(tag: u8, value: &str, sequence: u64, lifetime: Duration) -> IpnsRecord {
    IpnsRecord::sign(&key(tag), value, sequence, NOW.plus(lifetime), Duration::from_secs(60)).unwrap()
}

#[test]
fn records_of_js_are_valid_with_both_signatures_and_with_the_second_alone() {
    for text in [JS_V1_V2, JS_V2] {
        let bytes = hex::decode(text).unwrap();
        let record = IpnsRecord::check(&key(7).peer_id(), &bytes, NOW).unwrap();
        assert_eq!((record.sequence(), record.value()), (42, b"/hanse/1/e30".as_slice()));
        assert_eq!(record.valid_until(), JS_END);
        assert_eq!(record.bytes(), bytes, "kept as it came");
        assert!(IpnsRecord::check(&key(7).peer_id(), &bytes, JS_END).is_ok());
        let after = JS_END.plus(Duration::from_millis(1));
        assert_eq!(
            IpnsRecord::check(&key(7).peer_id(), &bytes, after),
            Err(RecordError::Expired(JS_END))
        );
    }
}

// Ed25519 signatures have one form, so two writers of one format agree on every byte.
#[test]
fn what_is_signed_here_is_byte_for_byte_what_js_signs() {
    // js keeps the 900 microseconds that are cut off here, so its own record has other bytes: this end has none to cut.
    let end = UnixMillis(4_102_542_245_000);
    let ours = IpnsRecord::sign(&key(7), "/hanse/1/e30", 42, end, Duration::from_secs(300)).unwrap();
    assert_eq!(hex::encode(ours.bytes()), JS_WHOLE_SECONDS);
}

const JS_WHOLE_SECONDS: &str = "\
    0a0c2f68616e73652f312f6533301240dfa1b8e782fceb6c3012636dfa43309dec96c82047058e71b18a9f731c2a9de257a12f6f2550f2f8\
    d6d343a091a1739e42cce8cd66e0894187061791358ae80d1800221e323130302d30312d30325430333a30343a30352e3030303030303030\
    305a282a3080f092cbdd084240bc37717954ba72cd8149f187e3f03246c3e167455cedef35c3c5338b54ca44c78009de646ab5dbe45dc547\
    4e6fae7d68f87d12db6d43373b34b2eeed3d8fba0f4a63a56354544c1b00000045d964b8006556616c75654c2f68616e73652f312f653330\
    6853657175656e6365182a6856616c6964697479581e323130302d30312d30325430333a30343a30352e3030303030303030305a6c56616c\
    69646974795479706500";

#[test]
fn a_record_is_kept_under_the_key_that_ipns_gives_its_name() {
    let name = key(7).peer_id();
    let routing = routing_key(&name);
    assert!(routing.starts_with(b"/ipns/\x00\x24\x08\x01\x12\x20"), "{routing:?}");
    assert_eq!(name_of_routing_key(&routing), Some(name));
    for other in [b"/pk/".as_slice(), b"/ipns/", b"/ipns/12D3KooW", b"", &routing[..20]] {
        assert_eq!(name_of_routing_key(other), None, "{other:?}");
    }
}

#[test]
fn of_two_records_the_higher_number_counts_then_the_later_end() {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let hour = Duration::from_secs(3600);
    let (old, newer) = (record(1, "/a", 1, 9 * hour), record(1, "/a", 2, hour));
    assert_eq!(newer.precedence(&old), Greater);
    assert_eq!(old.precedence(&newer), Less);
    let longer = record(1, "/a", 2, 2 * hour);
    assert_eq!(longer.precedence(&newer), Greater);
    assert_eq!(newer.precedence(&newer.clone()), Equal);
    // Two devices with one key: all members must choose the same.
    let (one, two) = (record(1, "/a", 2, hour), record(1, "/b", 2, hour));
    assert_eq!(one.precedence(&two), two.precedence(&one).reverse());
    assert_ne!(one.precedence(&two), Equal);
}
