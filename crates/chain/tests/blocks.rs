//! Blocks: built, checked, committed, repeated, refused, and found again after a restart.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use alloy::primitives::{B256, keccak256};
use hanse_chain::application::{Application, Durability, MAX_BLOCK_BYTES};
use hanse_chain::execution::decode::decode_block;
use support::*;

#[test]
fn a_fresh_ledger_knows_its_validators() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 4);
    assert_eq!(ledger.tip().height, 0);
    assert_eq!(ledger.tip().hash, genesis(4).hash().unwrap());
    let rules = ledger.rules().unwrap();
    assert_eq!(rules.parameters, genesis(4).consensus_parameters);
    let members: Vec<_> = genesis(4)
        .members
        .into_iter()
        .map(|member| (member.account, member.validator_key.0, member.consensus_address))
        .collect();
    let validators: Vec<_> = rules
        .validators
        .into_iter()
        .map(|validator| (validator.account, validator.key, validator.consensus_address))
        .collect();
    assert_eq!(validators, members);
}

#[test]
fn a_second_ledger_replays_to_equal_roots_at_every_height() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (open(first.path(), 4), open(second.path(), 4));
    let mut nonces = [0; 4];
    for height in 1..=12_u8 {
        for member in 0..height % 5 {
            let member = member % 4;
            let id = keccak256([height, member, nonces[usize::from(member)] as u8]);
            first
                .submit(&announce(member, nonces[usize::from(member)], id))
                .unwrap();
            nonces[usize::from(member)] += 1;
        }
        let (tip, block) = produce(&first, height % 4);
        assert_eq!(tip.height, u64::from(height));
        assert_eq!(second.block_id(&block).unwrap(), tip.hash);
        // Every second block is checked before it is decided, the others are caught up with.
        if height % 2 == 0 {
            second.validate(key(height % 4).address(), &block, now_ms()).unwrap();
        }
        let decided = first.decided(tip.height).unwrap().unwrap();
        assert_eq!(decided.block, block);
        assert_eq!(
            second
                .commit(&decided.block, &decided.certificate, Durability::Immediate)
                .unwrap(),
            tip
        );
        assert_eq!(
            second.head().snapshot().header().state_root,
            first.head().snapshot().header().state_root
        );
    }
    assert_eq!(nonces.iter().sum::<u64>(), 23);
    assert!(first.mempool().is_empty());
}

#[test]
fn committing_the_tip_again_is_a_no_op() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 1);
    let (tip, block) = produce(&ledger, 0);
    assert_eq!(
        ledger.commit(&block, b"certificate", Durability::Immediate).unwrap(),
        tip
    );
    assert_eq!(ledger.tip(), tip);
}

#[test]
fn a_reopened_ledger_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 4);
    ledger.submit(&announce(0, 0, B256::repeat_byte(1))).unwrap();
    let (tip, block) = produce(&ledger, 1);
    drop(ledger);
    let ledger = open(folder.path(), 4);
    assert_eq!(ledger.tip(), tip);
    assert_eq!(ledger.decided(1).unwrap().unwrap().block, block);
    assert_eq!(&ledger.decided(1).unwrap().unwrap().certificate[..], b"certificate");
    assert_eq!(ledger.decided(2).unwrap(), None);
    assert_eq!(produce(&ledger, 2).0.height, 2);
}

#[test]
fn a_full_block_stays_within_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 4);
    for nonce in 0..1000 {
        ledger
            .submit(&announce(0, nonce, keccak256(nonce.to_be_bytes())))
            .unwrap();
    }
    let (_, block) = produce(&ledger, 0);
    assert!(block.len() <= MAX_BLOCK_BYTES);
    let included = decode_block(&block).unwrap().body.transactions.len();
    assert!(included > 50, "{included}");
    assert_eq!(ledger.mempool().len(), 1000 - included);
    assert_eq!(*ledger.waiting().borrow(), 1000 - included);
}
