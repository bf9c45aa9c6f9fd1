//! The rules of the mempool: who gets in, how much may wait, and what leaves.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::time::Instant;

use alloy::consensus::TxEip1559;
use alloy::consensus::transaction::{Recovered, SignerRecoverable};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, TxKind, U256};
use hanse_chain::application::{Application, Durability};
use hanse_chain::ledger::Ledger;
use hanse_chain::mempool::{Accepted, Account, Limits, MAX_TRANSACTION_BYTES, Pool, Rejection};
use proptest::prelude::*;
use support::*;

fn raw(member: u8, change: impl FnOnce(&mut TxEip1559)) -> Vec<u8> {
    let mut transaction = call(0, Address::repeat_byte(3), vec![]);
    change(&mut transaction);
    signed(&key(member), transaction).encoded_2718()
}

#[track_caller]
fn refused(ledger: &Ledger, raw: &[u8], reason: &str) {
    let error = ledger.submit(raw).unwrap_err().to_string();
    assert!(error.contains(reason), "{error} should say {reason}");
}

#[test]
fn only_members_with_sound_transactions_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 2);
    refused(&ledger, &raw(5, |_| ()), "not a member of the consortium");
    refused(&ledger, b"", "failed to decode");
    refused(&ledger, &raw(0, |_| ())[1..], "failed to decode");
    refused(&ledger, &[&raw(0, |_| ())[..], &[0]].concat(), "failed to decode");
    refused(&ledger, &vec![2; MAX_TRANSACTION_BYTES + 1], "oversized data");
    refused(&ledger, &raw(0, |t| t.chain_id = 1), "invalid chain id");
    refused(
        &ledger,
        &raw(0, |t| t.gas_limit = 20_999),
        "intrinsic gas too low: have 20999, want 21000",
    );
    refused(
        &ledger,
        &raw(0, |t| t.gas_limit = 200_000_001),
        "exceeds block gas limit",
    );
    refused(&ledger, &raw(0, |t| t.max_priority_fee_per_gas = 1), "max priority fee");
    refused(&ledger, &raw(0, |t| t.value = U256::MAX), "insufficient funds");
    refused(
        &ledger,
        &raw(0, |t| t.max_fee_per_gas = u128::MAX),
        "insufficient funds",
    );
    refused(&ledger, &raw(0, |t| t.nonce = 4096), "nonce too high: next nonce 0");
    let create = |t: &mut TxEip1559| (t.to, t.input) = (TxKind::Create, vec![0; 49_153].into());
    refused(&ledger, &raw(0, create), "max initcode size exceeded");
    assert!(ledger.mempool().is_empty());

    ledger.submit(&raw(0, |_| ())).unwrap();
    produce(&ledger, 0);
    refused(&ledger, &raw(0, |_| ()), "nonce too low: next nonce 1, tx nonce 0");
}

#[test]
fn gas_is_free_and_any_price_is_taken_from_who_can_pay() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 2);
    ledger.submit(&raw(0, |_| ())).unwrap();
    ledger
        .submit(&raw(1, |t| (t.max_fee_per_gas, t.max_priority_fee_per_gas) = (10, 3)))
        .unwrap();
    produce(&ledger, 0);
    let balance = |n| {
        ledger
            .head()
            .snapshot()
            .account(key(n).address())
            .unwrap()
            .unwrap()
            .balance
    };
    let coin = U256::from(10).pow(U256::from(18));
    // Member 0 proposed: it gets the tip of member 1 for 21,000 gas, and pays nothing itself.
    assert_eq!(
        (balance(0), balance(1)),
        (coin + U256::from(63_000), coin - U256::from(63_000))
    );
}

#[test]
fn a_gap_waits_until_it_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 2);
    let waiting = ledger.waiting();
    ledger.submit(&raw(0, |t| t.nonce = 1)).unwrap();
    ledger.submit(&raw(0, |t| t.nonce = 2)).unwrap();
    assert_eq!(*waiting.borrow(), 0);
    assert_eq!(ledger.mempool().pending_nonce(&key(0).address()), Some(0));
    ledger.submit(&raw(0, |t| t.nonce = 0)).unwrap();
    assert_eq!(*waiting.borrow(), 3);
    assert_eq!(ledger.mempool().pending_nonce(&key(0).address()), Some(3));
    produce(&ledger, 0);
    assert_eq!(*waiting.borrow(), 0);
    assert!(ledger.mempool().is_empty());
}

#[test]
fn a_nonce_is_replaced_by_what_offers_no_less() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 2);
    let price = |fee| raw(0, move |t| (t.max_fee_per_gas, t.value) = (fee, U256::from(fee)));
    let first = ledger.submit(&price(5)).unwrap();
    refused(&ledger, &price(4), "replacement transaction underpriced");
    let second = ledger.submit(&price(6)).unwrap();
    assert!(ledger.mempool().get(&first).is_none());
    assert!(ledger.mempool().get(&second).is_some());
    assert_eq!(ledger.mempool().len(), 1);
    // The same again changes nothing, and is no error: the client may not have seen our answer.
    assert_eq!(ledger.submit(&price(6)).unwrap(), second);
}

#[test]
fn too_much_is_shed_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        per_sender: 3,
        total: 4,
        bytes: 100_000,
    };
    let ledger = Ledger::open_with(folder.path(), &genesis(3), limits).unwrap();
    for nonce in 0..3 {
        ledger.submit(&raw(0, |t| t.nonce = nonce)).unwrap();
    }
    refused(&ledger, &raw(0, |t| t.nonce = 3), "nonce too high");
    ledger.submit(&raw(1, |_| ())).unwrap();
    refused(&ledger, &raw(2, |_| ()), "txpool is full: 4");
    produce(&ledger, 0);
    let big = |nonce| raw(2, move |t| (t.nonce, t.input) = (nonce, vec![1; 60_000].into()));
    ledger.submit(&big(0)).unwrap();
    refused(&ledger, &big(1), "txpool is full: 1");
}

#[test]
fn transactions_of_other_nodes_are_taken_and_not_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 2);
    let mut outgoing = ledger.outgoing_transactions().unwrap();
    assert!(ledger.outgoing_transactions().is_none());
    let many: Vec<_> = (0..40).map(|nonce| raw(0, |t| t.nonce = nonce).into()).collect();
    let bad = [b"garbage".to_vec().into(), raw(7, |_| ()).into()];
    ledger.receive_transactions(many.into_iter().chain(bad).collect());
    assert_eq!(*ledger.waiting().borrow(), 40);
    assert!(outgoing.try_recv().is_err());
    let own = raw(1, |_| ());
    ledger.submit(&own).unwrap();
    assert_eq!(outgoing.try_recv().unwrap(), own);
    // A repeated one is offered again: its client has not seen it arrive.
    ledger.submit(&own).unwrap();
    assert_eq!(outgoing.try_recv().unwrap(), own);
}

#[test]
fn nobody_takes_more_of_the_pool_than_its_share_and_a_block_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        per_sender: 8,
        total: 12,
        bytes: 100_000,
    };
    let ledger = Ledger::open_with(folder.path(), &genesis(2), limits).unwrap();
    // Everything that a sender may have waits behind a gap, so that no block takes it.
    for nonce in 1..8 {
        ledger.submit(&raw(0, |t| t.nonce = nonce)).unwrap();
    }
    refused(&ledger, &raw(0, |t| t.nonce = 8), "nonce too high");
    for nonce in 0..5 {
        ledger.submit(&raw(1, |t| t.nonce = nonce)).unwrap();
    }
    refused(&ledger, &raw(1, |t| t.nonce = 5), "txpool is full: 12");
    // Full as it is, what replaces another is taken.
    ledger
        .submit(&raw(1, |t| (t.nonce, t.value) = (4, U256::from(1))))
        .unwrap();
    let many = (5..8).map(|nonce| raw(1, |t| t.nonce = nonce).into()).collect();
    ledger.receive_transactions(many);
    assert_eq!(ledger.mempool().len(), 12, "what others pass on is bounded too");
    produce(&ledger, 0);
    assert_eq!(ledger.mempool().len(), 7);
    ledger.submit(&raw(1, |t| t.nonce = 5)).unwrap();
    // The gap filled, all goes.
    ledger.submit(&raw(0, |_| ())).unwrap();
    produce(&ledger, 0);
    assert!(ledger.mempool().is_empty());
}

#[tokio::test]
async fn a_transaction_that_another_node_dropped_is_offered_to_it_until_it_is_in_a_block() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let limits = Limits {
        per_sender: 1,
        total: 1,
        bytes: 100_000,
    };
    let here = open(folders[0].path(), 2);
    let there = Ledger::open_with(folders[1].path(), &genesis(2), limits).unwrap();
    let mut outgoing = here.outgoing_transactions().unwrap();
    let lone = here.submit(&raw(0, |_| ())).unwrap();
    // The other node is full when it hears of it, and from then on proposes every block.
    there.submit(&raw(1, |_| ())).unwrap();
    there.receive_transactions(vec![outgoing.try_recv().unwrap()]);
    assert!(there.mempool().get(&lone).is_none());
    let started = std::time::Instant::now();
    while here.mempool().get(&lone).is_some() {
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "it sticks");
        let (_, block) = produce(&there, 1);
        here.commit(&block, b"certificate", Durability::Immediate).unwrap();
        if let Ok(offered) = outgoing.try_recv() {
            there.receive_transactions(vec![offered]);
        }
        // Blocks without end would only fill the disk.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let position = here.head().snapshot().transaction_position(lone).unwrap();
    assert!(position.is_some());
    assert!(there.mempool().is_empty() && outgoing.try_recv().is_err());
}

#[test]
fn a_transaction_that_became_impossible_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 2);
    let half = U256::from(6) * U256::from(10).pow(U256::from(17));
    // Each could be paid for alone, both together not.
    ledger.submit(&raw(0, |t| t.value = half)).unwrap();
    ledger.submit(&raw(0, |t| (t.nonce, t.value) = (1, half))).unwrap();
    ledger.submit(&raw(1, |_| ())).unwrap();
    produce(&ledger, 0);
    assert!(ledger.mempool().is_empty());
    assert_eq!(
        ledger
            .head()
            .snapshot()
            .account(key(0).address())
            .unwrap()
            .unwrap()
            .nonce,
        1
    );
    assert_eq!(
        ledger
            .head()
            .snapshot()
            .account(key(1).address())
            .unwrap()
            .unwrap()
            .nonce,
        1
    );
}

/// A pool without a ledger, against a model that counts everything anew.
#[derive(Debug, Clone)]
enum Step {
    Insert { sender: u8, nonce: u64, fee: u128 },
    Advance { sender: u8, by: u64 },
    Remove { pick: prop::sample::Index },
    Leave { sender: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let insert = (0..3_u8, 0..8_u64, 0..3_u128);
    let step = prop_oneof![
        6 => insert.prop_map(|(sender, nonce, fee)| Step::Insert { sender, nonce, fee }),
        2 => (0..3_u8, 0..3_u64).prop_map(|(sender, by)| Step::Advance { sender, by }),
        1 => any::<prop::sample::Index>().prop_map(|pick| Step::Remove { pick }),
        1 => (0..3_u8).prop_map(|sender| Step::Leave { sender }),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_pool_counts_right_whatever_happens(steps in steps()) {
        let limits = Limits { per_sender: 6, total: 12, bytes: 10_000 };
        let mut pool = Pool::new(limits);
        let mut nonces = [0_u64; 3];
        let mut model: BTreeMap<(Address, u64), (B256, u128)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert { sender, nonce, fee } => {
                    let transaction = TxEip1559 { max_fee_per_gas: fee, ..call(nonce, Address::ZERO, vec![]) };
                    let transaction = signed(&key(sender), transaction);
                    let (hash, encoded) = (*transaction.tx_hash(), transaction.encoded_2718());
                    let transaction: Recovered<_> = transaction.try_into_recovered().unwrap();
                    let account = Account { nonce: nonces[usize::from(sender)], balance: U256::MAX };
                    let slot = (key(sender).address(), nonce);
                    let before = model.get(&slot).copied();
                    let of_sender = model.keys().filter(|(address, _)| *address == slot.0).count();
                    let ahead = nonce.wrapping_sub(account.nonce);
                    match pool.insert(transaction, encoded.into(), account, Instant::now()) {
                        Ok(Accepted::Known) => prop_assert_eq!(before.map(|(hash, _)| hash), Some(hash)),
                        Ok(Accepted::Replaced) => prop_assert!(before.is_some_and(|(_, waiting)| waiting <= fee)),
                        Ok(Accepted::New) => prop_assert!(before.is_none() && ahead < 6 && of_sender < 6 && model.len() < 12),
                        Err(Rejection::NonceTooLow { .. }) => { prop_assert!(nonce < account.nonce); continue; }
                        Err(Rejection::NonceTooHigh { .. }) => { prop_assert!(ahead >= 6); continue; }
                        Err(Rejection::Underpriced { .. }) => { prop_assert!(before.is_some_and(|(_, waiting)| waiting > fee)); continue; }
                        Err(Rejection::PoolFull(_)) => { prop_assert_eq!(model.len(), 12); continue; }
                        Err(other) => return Err(TestCaseError::fail(other.to_string())),
                    }
                    model.insert(slot, (hash, fee));
                }
                Step::Advance { sender, by } => {
                    let nonce = &mut nonces[usize::from(sender)];
                    *nonce += by;
                    pool.advance(key(sender).address(), *nonce);
                    model.retain(|(address, waiting), _| *address != key(sender).address() || waiting >= nonce);
                }
                Step::Remove { pick } => if !model.is_empty() {
                    let slot = *model.keys().nth(pick.index(model.len())).unwrap();
                    let (hash, _) = model.remove(&slot).unwrap();
                    pool.remove(&hash);
                },
                Step::Leave { sender } => {
                    pool.retain_members(|member| *member != key(sender).address());
                    model.retain(|(address, _), _| *address != key(sender).address());
                }
            }
            prop_assert_eq!(pool.len(), model.len());
            let ready: Vec<u64> = (0..3_u8).map(|sender| {
                let next = nonces[usize::from(sender)];
                let address = key(sender).address();
                (next..).take_while(|nonce| model.contains_key(&(address, *nonce))).count() as u64
            }).collect();
            prop_assert_eq!(pool.ready() as u64, ready.iter().sum::<u64>());
            let best = pool.best(usize::MAX);
            prop_assert_eq!(best.len(), pool.ready());
            // In the block each sender's nonces are those that follow its account's.
            let mut expected = nonces;
            for pooled in best {
                let sender = (0..3_u8).find(|n| key(*n).address() == pooled.transaction.signer()).unwrap();
                prop_assert_eq!(alloy::consensus::Transaction::nonce(pooled.transaction.inner()), expected[usize::from(sender)]);
                expected[usize::from(sender)] += 1;
            }
        }
    }
}
