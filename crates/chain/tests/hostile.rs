//! Blocks that a faulty or hostile validator could propose: each is refused with the reason, and none harms the node.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use alloy::consensus::proofs::calculate_transaction_root;
use alloy::consensus::{Block, Header, SignableTransaction, TxEip1559, TxEip7702, TxEnvelope, TxLegacy};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::{Address, B256, Bytes, Signature, U256};
use alloy::rlp::Decodable;
use alloy::signers::SignerSync;
use hanse_chain::application::{Application, Durability, MAX_BLOCK_BYTES, Refused};
use hanse_chain::ledger::{Ledger, MAX_AHEAD_SECONDS};
use proptest::prelude::*;
use support::*;

type FullBlock = Block<TxEnvelope, Header>;

fn decoded(block: &[u8]) -> FullBlock {
    FullBlock::decode(&mut &*block).unwrap()
}

/// A ledger with one block, and a good proposal for the next by member 0 with one transaction.
fn ledger_with_proposal() -> (tempfile::TempDir, std::sync::Arc<Ledger>, Bytes) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 4);
    produce(&ledger, 0);
    // Built elsewhere, so that this ledger has not executed it.
    let other = tempfile::tempdir().unwrap();
    let builder = open(other.path(), 4);
    let first = ledger.decided(1).unwrap().unwrap();
    builder
        .commit(&first.block, &first.certificate, Durability::Immediate)
        .unwrap();
    builder.submit(&announce(1, 0, B256::repeat_byte(1))).unwrap();
    let block = builder.build(key(0).address(), now_ms()).unwrap();
    (folder, ledger, block)
}

/// Refused when proposed, for this reason; the ledger goes on.
#[track_caller]
fn refused(ledger: &Ledger, block: &[u8], reason: &str) {
    match ledger.validate(key(0).address(), block, now_ms()) {
        Err(Refused::Invalid(error)) => assert!(error.0.contains(reason), "{error} should say {reason}"),
        other => panic!("{other:?} should say {reason}"),
    }
    assert_eq!(ledger.halted(), None);
}

fn encode(block: &FullBlock) -> Vec<u8> {
    alloy::rlp::encode(block)
}

#[test]
fn a_wrong_header_is_refused_with_the_field_that_is_wrong() {
    let (_folder, ledger, block) = ledger_with_proposal();
    let with_header = |change: fn(&mut Header)| {
        let mut block = decoded(&block);
        change(&mut block.header);
        encode(&block)
    };
    refused(
        &ledger,
        &with_header(|h| h.state_root = B256::repeat_byte(9)),
        "state root",
    );
    refused(&ledger, &with_header(|h| h.receipts_root = B256::ZERO), "receipts root");
    refused(&ledger, &with_header(|h| h.gas_used += 1), "gas used");
    refused(&ledger, &with_header(|h| h.gas_limit += 1), "gas limit");
    refused(&ledger, &with_header(|h| h.parent_hash = B256::ZERO), "parent");
    refused(&ledger, &with_header(|h| h.number = 7), "height 7, wanted 2");
    refused(&ledger, &with_header(|h| h.timestamp = 1), "before the parent");
    refused(&ledger, &with_header(|h| h.beneficiary = Address::ZERO), "proposed it");
    refused(&ledger, &with_header(|h| h.mix_hash = B256::ZERO), "fixed");
    refused(&ledger, &with_header(|h| h.extra_data = vec![1].into()), "fixed");
    refused(&ledger, &with_header(|h| h.difficulty = U256::from(1)), "fixed");
    refused(
        &ledger,
        &with_header(|h| h.transactions_root = B256::ZERO),
        "not those of the header",
    );
    ledger.validate(key(0).address(), &block, now_ms()).unwrap();
    assert!(
        ledger.validate(key(1).address(), &block, now_ms()).is_err(),
        "another proposer"
    );
}

#[test]
fn a_clock_that_is_behind_says_nothing_against_a_proposer_and_one_that_is_ahead_hides_nothing() {
    let (_folder, ledger, _) = ledger_with_proposal();
    let proposer = key(0).address();
    let theirs = now_ms() + (MAX_AHEAD_SECONDS + 60) * 1000;
    let honest = ledger.build(proposer, theirs).unwrap();
    match ledger.validate(proposer, &honest, now_ms()) {
        Err(Refused::Here(reason)) => assert!(reason.contains("ahead of this node's clock"), "{reason}"),
        other => panic!("{other:?}"),
    }
    ledger.validate(proposer, &honest, theirs).unwrap();
    let limit = theirs - MAX_AHEAD_SECONDS * 1000;
    ledger.validate(proposer, &honest, limit).unwrap();
    assert!(ledger.validate(proposer, &honest, limit - 1000).is_err());
    // Wrong whatever the time is.
    let mut wrong = decoded(&honest);
    wrong.header.state_root = B256::repeat_byte(9);
    refused(&ledger, &encode(&wrong), "state root");
}

#[test]
fn a_wrong_form_is_refused() {
    let (_folder, ledger, block) = ledger_with_proposal();
    refused(&ledger, b"", "does not decode");
    refused(&ledger, b"garbage", "does not decode");
    refused(&ledger, &block[..block.len() - 1], "does not decode");
    refused(&ledger, &[&block[..], &[0]].concat(), "follow the block");
    refused(&ledger, &vec![0; MAX_BLOCK_BYTES + 1], "at most");
    let mut ommers = decoded(&block);
    ommers.body.ommers.push(Header::default());
    refused(&ledger, &encode(&ommers), "ommers");
    let mut withdrawals = decoded(&block);
    withdrawals.body.withdrawals = None;
    refused(&ledger, &encode(&withdrawals), "withdrawals");
    let mut emptied = decoded(&block);
    emptied.body.transactions.clear();
    refused(&ledger, &encode(&emptied), "not those of the header");
}

#[test]
fn wrong_transactions_are_refused() {
    let (_folder, ledger, block) = ledger_with_proposal();
    let with = |transaction: TxEnvelope| {
        let mut block = decoded(&block);
        block.body.transactions.push(transaction);
        block.header.transactions_root = calculate_transaction_root(&block.body.transactions);
        encode(&block)
    };
    let to = Address::repeat_byte(3);
    let good = |nonce| call(nonce, to, vec![]);
    refused(&ledger, &with(signed(&key(9), good(0))), "is not a member");
    refused(&ledger, &with(signed(&key(2), good(5))), "nonce 5 too high");
    refused(&ledger, &with(signed(&key(1), good(0))), "nonce 0 too low");
    let change = |change: fn(&mut TxEip1559)| {
        let mut transaction = call(0, Address::repeat_byte(3), vec![]);
        change(&mut transaction);
        signed(&key(2), transaction)
    };
    refused(&ledger, &with(change(|t| t.chain_id = 1)), "invalid chain id");
    refused(&ledger, &with(change(|t| t.gas_limit = 20_000)), "intrinsic gas");
    refused(
        &ledger,
        &with(change(|t| t.gas_limit = u64::MAX)),
        "exceeds block gas limit",
    );
    refused(&ledger, &with(change(|t| t.value = U256::MAX)), "lack of funds");
    refused(
        &ledger,
        &with(change(|t| t.max_fee_per_gas = u128::MAX)),
        "overflow payment",
    );
    refused(
        &ledger,
        &with(change(|t| t.max_priority_fee_per_gas = 1)),
        "max priority fee",
    );

    let unsigned = good(0).into_signed(Signature::new(U256::MAX, U256::from(1), false));
    refused(&ledger, &with(unsigned.into()), "signature is not valid");
    // The other signature of the same content (EIP-2): it would give the transaction a second hash.
    let hash = good(0).signature_hash();
    let low = key(2).sign_hash_sync(&hash).unwrap();
    let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
    let high = Signature::new(low.r(), order - low.s(), !low.v());
    refused(
        &ledger,
        &with(good(0).into_signed(high).into()),
        "signature is not valid",
    );

    let replayable = TxLegacy {
        gas_limit: 100_000,
        ..Default::default()
    };
    let signature = key(2).sign_hash_sync(&replayable.signature_hash()).unwrap();
    refused(
        &ledger,
        &with(replayable.into_signed(signature).into()),
        "invalid chain id",
    );
    let delegating = TxEip7702 {
        chain_id: CHAIN_ID,
        gas_limit: 100_000,
        ..Default::default()
    };
    let signature = key(2).sign_hash_sync(&delegating.signature_hash()).unwrap();
    refused(
        &ledger,
        &with(delegating.into_signed(signature).into()),
        "type not supported: 4",
    );
}

#[test]
fn a_decided_block_that_this_node_can_not_agree_with_halts_it() {
    let (_folder, ledger, block) = ledger_with_proposal();
    let tip = ledger.tip();
    let mut wrong = decoded(&block);
    wrong.header.state_root = B256::repeat_byte(9);
    let halt = ledger
        .commit(&encode(&wrong), b"certificate", Durability::Immediate)
        .unwrap_err();
    assert!(halt.0.contains("state root"), "{halt}");
    assert_eq!(ledger.tip(), tip);
    // It stays so: nothing is repaired.
    assert_eq!(
        ledger
            .commit(&block, b"certificate", Durability::Immediate)
            .unwrap_err()
            .0,
        halt.0
    );
    assert!(ledger.build(key(0).address(), now_ms()).is_err());
    assert!(ledger.validate(key(0).address(), &block, now_ms()).is_err());
    assert_eq!(ledger.halted(), Some(halt.0.as_str()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_change_of_bytes_is_accepted(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (_folder, ledger, block) = ledger_with_proposal();
        let id = ledger.block_id(&block).unwrap();
        let mut changed = block.to_vec();
        for (index, byte) in changes {
            let index = index.index(changed.len());
            changed[index] = byte;
        }
        if changed[..] != block[..] {
            prop_assert!(ledger.validate(key(0).address(), &changed, now_ms()).is_err());
            prop_assert_ne!(ledger.block_id(&changed), Ok(id));
        }
        prop_assert_eq!(ledger.halted(), None);
    }

    #[test]
    fn garbage_never_harms(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(hanse_chain::execution::decode::decode_block(&bytes).is_err());
        let _ = TxEnvelope::decode_2718_exact(&bytes);
        let rules = hanse_chain::execution::spec::ChainRules { chain_id: CHAIN_ID, gas_limit: 30_000_000 };
        prop_assert!(hanse_chain::mempool::decode(&rules, &bytes).is_err());
    }
}
