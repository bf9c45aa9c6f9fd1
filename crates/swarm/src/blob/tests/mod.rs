//! Blobs against the IPFS importer, and fetches from holders of every kind.
#![allow(clippy::unwrap_used)]

mod fetching;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const MIB: usize = LARGEST_BLOCK;

/// The bytes that the vectors below were made of.
pub(super) fn content(length: usize) -> Bytes {
    let byte = |index: usize| (index * 7 + (index >> 8) * 13 + (index >> 16) * 31) & 0xff;
    (0..length).map(|index| u8::try_from(byte(index)).unwrap()).collect()
}

// Made with npm's ipfs-unixfs-importer 17.1.1: cidVersion 1, rawLeaves, fixedSize({chunkSize: 1048576}),
// balanced({maxChildrenPerNode: 1024}), reduceSingleLeafToSelf.
#[test]
fn a_blob_has_the_cid_that_ipfs_gives_it() {
    for (length, cid) in [
        (0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (1, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu"),
        (5, "bafkreibgvdglonyr2jmmemhmimq5r5usftifdmvyapadbngpatpaimezwy"),
        (MIB - 1, "bafkreifkctdfnvangsgg4p24sk66dynxh2qy7odcgpwbmymctc4wv2d45m"),
        (MIB, "bafkreid2jiargr6modzcmb2pudusdidp2dj7sbkx2r6vjyncvat745qc7i"),
        (MIB + 1, "bafybeiclbdq2x6etkfs5cg4asal2blpl36i6v3gumywudplpgh4nvyaycq"),
        (3 * MIB, "bafybeiemjultb537q5it2wdguwmlcydlifny2ifcdijock5xrtl7rzedsi"),
        (
            10 * MIB + 7,
            "bafybeigdwrjfefnx66rluu67kql62sbigl5bfe2fedwv4yqt6ou6xlh3mm",
        ),
    ] {
        let layout = Layout::of(&content(length)).unwrap();
        assert_eq!(layout.root().to_string(), cid, "{length} bytes");
        assert!(
            layout
                .blocks()
                .iter()
                .all(|(id, bytes)| id.matches(bytes) && bytes.len() <= MIB)
        );
    }
}

#[test]
fn the_cid_of_a_manifest_is_known_from_the_hash_on_the_ledger() {
    use sha2::Digest as _;
    let manifest = content(1000);
    let on_the_ledger: [u8; 32] = sha2::Sha256::digest(&manifest).into();
    assert_eq!(
        Layout::of(&manifest).unwrap().root(),
        BlockId::from_sha256(on_the_ledger)
    );
}

#[test]
fn cids_of_other_kinds_are_refused_with_a_hint() {
    for (text, reason) in [
        // Version 0, which is dag-pb with leaves of UnixFS.
        ("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", "--cid-version 1"),
        // dag-cbor, and the identity hash.
        (
            "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua",
            "--cid-version 1",
        ),
        ("bafkqaaa", "--cid-version 1"),
        ("", "no CID"),
        ("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv", "no CID"),
        ("/ipfs/x", "no CID"),
    ] {
        let error = text.parse::<BlockId>().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

fn leaf(tag: u64, size: usize) -> Leaf {
    let id = BlockId::of(Codec::Raw, &tag.to_be_bytes());
    Leaf { id, size: size as u64 }
}

#[test]
fn a_node_lists_the_blocks_of_a_blob_and_nothing_else() {
    let full = |count: u64| (0..count).map(|tag| leaf(tag, MIB)).collect::<Vec<_>>();
    assert_eq!(FileNode::new(full(1024)).unwrap().size(), LARGEST_BLOB);
    let of_nodes = Leaf {
        id: BlockId::of(Codec::DagPb, b"x"),
        size: 1,
    };
    for leaves in [
        vec![],
        full(1),
        full(1025),
        vec![leaf(0, 5), leaf(1, MIB)],
        vec![leaf(0, MIB), leaf(1, 0)],
        vec![leaf(0, MIB), leaf(1, MIB + 1)],
        vec![leaf(0, MIB), of_nodes],
    ] {
        assert_eq!(FileNode::new(leaves), Err(NodeError::Sizes));
    }
}

proptest! {
    #[test]
    fn a_node_has_one_form(count in 1..40_u64, last in 1..=MIB, cut in any::<prop::sample::Index>(), more in any::<u8>()) {
        let mut leaves: Vec<_> = (0..count).map(|tag| leaf(tag, MIB)).collect();
        leaves.push(leaf(count, last));
        let node = FileNode::new(leaves).unwrap();
        let bytes = node.encode();
        prop_assert!(bytes.len() <= LARGEST_BLOCK);
        prop_assert_eq!(FileNode::decode(&bytes).unwrap(), node);
        prop_assert!(FileNode::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(FileNode::decode(&[bytes, vec![more]].concat()).is_err());
    }

    #[test]
    fn a_changed_node_is_refused_or_says_what_it_is(place in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = FileNode::new(vec![leaf(0, MIB), leaf(1, 9)]).unwrap().encode();
        let place = place.index(bytes.len());
        bytes[place] = value;
        if let Ok(node) = FileNode::decode(&bytes) {
            prop_assert_eq!(node.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_node_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(node) = FileNode::decode(&bytes) {
            prop_assert_eq!(node.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_cid_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), prefixed in any::<bool>()) {
        let bytes = if prefixed { [[1, 0x55, 0x12, 0x20].as_slice(), &bytes].concat() } else { bytes };
        if let Ok(id) = BlockId::from_bytes(&bytes) {
            prop_assert_eq!(id.to_bytes(), bytes);
            prop_assert_eq!(id.to_string().parse::<BlockId>().unwrap(), id);
        }
    }

    #[test]
    fn any_text_is_a_cid_or_refused(text in "b?[a-z2-7]{0,70}|\\PC{0,400}") {
        let _ = text.parse::<BlockId>();
    }
}
