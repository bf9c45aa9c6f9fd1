//! Nothing that is not its name's is taken up, whatever bytes are brought.

use libp2p::PeerId;
use proptest::prelude::*;
use prost::Message;

use super::super::wire::{Document, IpnsEntry};
use super::*;
use crate::model::Statement;
use crate::model::tests::any_statement;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn entry(tag: u8) -> IpnsEntry {
    IpnsEntry::decode(record(tag, "/hanse/1/e30", 5, DAY).bytes()).unwrap()
}

/// An entry of version 2 whose document holds these bytes, well signed.
fn signed(tag: u8, data: Vec<u8>) -> IpnsEntry {
    IpnsEntry {
        signature_v2: Some(key(tag).sign(&Document::signed_v2(&data))),
        data: Some(data),
        ..IpnsEntry::default()
    }
}

fn check(entry: &IpnsEntry) -> Result<IpnsRecord, RecordError> {
    IpnsRecord::check(&key(1).peer_id(), &entry.encode_to_vec(), NOW)
}

#[test]
fn a_peer_can_not_speak_in_the_name_of_another() {
    assert_eq!(check(&entry(2)), Err(RecordError::Signature));
    let mut with_key = entry(2);
    with_key.public_key = Some(key(2).keypair().public().encode_protobuf());
    assert_eq!(check(&with_key), Err(RecordError::Key));
    with_key.public_key = Some(vec![1, 2, 3]);
    assert_eq!(check(&with_key), Err(RecordError::Key));
    let mut own = entry(1);
    own.public_key = Some(key(1).keypair().public().encode_protobuf());
    assert!(
        check(&own).is_ok(),
        "a superfluous key that is the right one does no harm"
    );
}

#[test]
fn a_record_without_the_second_signature_is_none() {
    for change in [
        |e: &mut IpnsEntry| e.signature_v2 = None,
        |e: &mut IpnsEntry| e.data = Some(Vec::new()),
    ] {
        let mut entry = entry(1);
        change(&mut entry);
        assert!(matches!(check(&entry), Err(RecordError::Format(_))));
    }
}

#[test]
fn the_unsigned_fields_may_not_say_something_else_than_the_signed() {
    type Edit = fn(&mut IpnsEntry);
    let changes: [(Edit, &str); 5] = [
        (|e| e.value = Some(b"/hanse/1/e31".into()), "value"),
        (|e| e.validity = Some(b"2999-01-02T03:04:05Z".into()), "validity"),
        (|e| e.validity_type = Some(1), "validityType"),
        (|e| e.sequence = Some(6), "sequence"),
        (|e| e.ttl = None, "ttl"),
    ];
    for (change, field) in changes {
        let mut entry = entry(1);
        change(&mut entry);
        assert_eq!(check(&entry), Err(RecordError::Contradiction(field)));
    }
    // The specification: a wrong signature of version 1 does not matter.
    let mut entry = entry(1);
    entry.signature_v1 = Some(vec![0; 64]);
    assert!(check(&entry).is_ok());
}

#[test]
fn unsigned_bytes_that_were_hung_on_are_dropped() {
    let record = record(1, "/hanse/1/e30", 5, DAY);
    // Field 20, which nobody defines, with 1000 bytes.
    let hung_on = [record.bytes(), &[0xa2, 0x01, 0xe8, 0x07], &[7; 1000]].concat();
    let checked = IpnsRecord::check(&record.name(), &hung_on, NOW).unwrap();
    assert_eq!(checked, record);
}

#[test]
fn well_signed_nonsense_is_refused_without_harm() {
    let good = Document::new(b"/a".into(), b"2999-01-02T03:04:05Z".into(), 5, 0);
    assert!(check(&signed(1, good.encode())).is_ok());
    let high = Document {
        sequence: 1 << 63,
        ..good.clone()
    };
    assert_eq!(check(&signed(1, high.encode())), Err(RecordError::Sequence(1 << 63)));
    let validity_type = Document {
        validity_type: 1,
        ..good.clone()
    };
    let no_time = Document {
        validity: b"tomorrow".into(),
        ..good.clone()
    };
    let before_1970 = Document {
        validity: b"1960-01-02T03:04:05Z".into(),
        ..good
    };
    // Arrays in arrays, to the end of the record: a decoder that recurses would use up its stack.
    let deep = [[0xa1, 0x61, b'x'].as_slice(), &[0x81; 9000]].concat();
    let nonsense = [
        validity_type.encode(),
        no_time.encode(),
        before_1970.encode(),
        deep,
        vec![0xff],
        vec![0xa0],
    ];
    for data in nonsense {
        assert!(matches!(check(&signed(1, data)), Err(RecordError::Format(_))));
    }
}

#[test]
fn names_without_an_ed25519_key_in_them_are_refused() {
    // The name of an RSA key, in the README of the original.
    let rsa = "QmZ9JTRZdiARHzW1x28M51rareFNHtJ8xNohyT8Ewr7sQx".parse().unwrap();
    let entry = entry(1).encode_to_vec();
    for name in [rsa, PeerId::random()] {
        assert_eq!(IpnsRecord::check(&name, &entry, NOW), Err(RecordError::Name));
    }
}

#[test]
fn too_large_is_refused_before_it_is_looked_at() {
    let bytes = vec![0; LARGEST + 1];
    assert_eq!(
        IpnsRecord::check(&key(1).peer_id(), &bytes, NOW),
        Err(RecordError::Large(LARGEST + 1))
    );
    let long = "x".repeat(LARGEST / 2);
    let ours = IpnsRecord::sign(&key(1), &long, 1, NOW.plus(DAY), DAY);
    assert!(matches!(ours, Err(RecordError::Large(_))));
}

#[test]
fn an_announcement_that_would_have_to_be_remembered_for_long_is_refused() {
    let path = Statement::Withdrawn.to_path().unwrap();
    let far = record(1, &path, 1, LONGEST_LIFETIME + DAY);
    assert!(matches!(
        Announcement::check(&far.name(), far.bytes(), NOW),
        Err(AnnouncementError::Lifetime(_))
    ));
    // A clock that is an hour ahead is no reason.
    let ahead = record(1, &path, 1, 2 * DAY + Duration::from_secs(3600));
    assert!(Announcement::check(&ahead.name(), ahead.bytes(), NOW).is_ok());
    let other = record(1, "/ipfs/bafkqaaa", 1, DAY);
    assert!(matches!(
        Announcement::check(&other.name(), other.bytes(), NOW),
        Err(AnnouncementError::Statement(_))
    ));
}

proptest! {
    #[test]
    fn what_a_domain_states_is_what_others_read(
        statement in any_statement(), sequence in 0..=i64::MAX as u64, minutes in 1..2880_u64, tag in any::<u8>(),
    ) {
        let lifetime = Duration::from_secs(60 * minutes);
        let record = record(tag, &statement.to_path().unwrap(), sequence, lifetime);
        let read = Announcement::check(&key(tag).peer_id(), record.bytes(), NOW).unwrap();
        prop_assert_eq!(read.record(), &record);
        prop_assert_eq!(read.statement(), &statement);
    }

    #[test]
    fn one_changed_byte_changes_nothing_or_is_noticed(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let record = record(1, "/hanse/1/e30", 5, DAY);
        let mut bytes = record.bytes().to_vec();
        bytes[place.index(record.bytes().len())] ^= 1 << bit;
        if let Ok(read) = IpnsRecord::check(&record.name(), &bytes, NOW) {
            prop_assert_eq!(read.value(), record.value());
            prop_assert_eq!((read.sequence(), read.valid_until()), (record.sequence(), record.valid_until()));
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), as_data in any::<bool>()) {
        let bytes = if as_data { signed(1, bytes).encode_to_vec() } else { bytes };
        prop_assert!(IpnsRecord::check(&key(1).peer_id(), &bytes, NOW).is_err());
    }
}
