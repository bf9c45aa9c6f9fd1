//! Who is no member any more gets what it is owed, and can do nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use alloy::consensus::TxEip1559;
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{B256, TxKind, U256};
use alloy::sol_types::SolCall;
use hanse_chain::application::{Application, Durability};
use hanse_chain::execution::call::view;
use hanse_chain::ledger::Ledger;
use hanse_chain::ledger::claims::CLAIM_GAS;
use hanse_contracts::{Consortium, Federation, genesis_addresses};
use support::*;

/// The member that goes.
const LEAVER: u8 = 4;
const PRICE: u128 = 1_000;

struct Nonces([u64; 5]);

impl Nonces {
    /// Sends a call of a contract as a member, in a block of its own, and requires that it succeeds.
    fn send(&mut self, ledger: &Ledger, member: u8, change: impl FnOnce(&mut TxEip1559), input: Vec<u8>) {
        let nonce = &mut self.0[usize::from(member)];
        let mut transaction = call(*nonce, genesis_addresses().federation, input);
        change(&mut transaction);
        ledger
            .submit(&signed(&key(member), transaction).encoded_2718())
            .unwrap();
        *nonce += 1;
        let (tip, _) = produce(ledger, 0);
        let receipts = ledger.head().snapshot().receipts_at(tip.height).unwrap();
        assert!(receipts.iter().all(|receipt| receipt.status()), "undone");
    }
}

fn owed(ledger: &Ledger) -> U256 {
    let account = key(LEAVER).address();
    let head = ledger.head();
    let contract = genesis_addresses().federation;
    view(
        ledger.chain_rules(),
        head.snapshot(),
        contract,
        &Federation::owedCall { account },
    )
    .unwrap()
}

fn balance(ledger: &Ledger) -> U256 {
    let account = ledger.head().snapshot().account(key(LEAVER).address()).unwrap();
    account.unwrap().balance
}

/// A withdrawal as somebody who is no member must make it.
fn claim(nonce: u64, change: impl FnOnce(&mut TxEip1559)) -> Vec<u8> {
    let input = Federation::withdrawCall {}.abi_encode();
    let mut transaction = call(nonce, genesis_addresses().federation, input);
    transaction.gas_limit = CLAIM_GAS;
    change(&mut transaction);
    signed(&key(LEAVER), transaction).encoded_2718()
}

#[track_caller]
fn refused(ledger: &Ledger, raw: &[u8]) {
    let error = ledger.submit(raw).unwrap_err().to_string();
    assert!(error.contains("not a member"), "{error}");
}

#[test]
fn a_removed_member_withdraws_its_escrow_and_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 5);
    let mut nonces = Nonces([0; 5]);
    let id = B256::repeat_byte(9);
    let bid = Federation::placeBidCall {
        id,
        pricePerHour: PRICE,
        location: "here".into(),
        offer: terms(),
    };
    let announce = Federation::announceCall {
        announcement: announcement(id),
    };
    nonces.send(&ledger, LEAVER, |_| (), announce.abi_encode());
    nonces.send(&ledger, 1, |_| (), bid.abi_encode());
    let bids = Federation::bidsCall { id };
    let bids = view(
        ledger.chain_rules(),
        ledger.head().snapshot(),
        genesis_addresses().federation,
        &bids,
    )
    .unwrap();
    let choose = Federation::chooseCall {
        id,
        bidder: key(1).address(),
        sequence: bids[0].sequence,
        hoursPaid: 2,
        sealedParameters: vec![].into(),
    };
    nonces.send(
        &ledger,
        LEAVER,
        |t| t.value = U256::from(2 * PRICE),
        choose.abi_encode(),
    );

    // Voted out in the midst of a live agreement; the escrow comes free when that is expired.
    let to_consortium = |t: &mut TxEip1559| t.to = TxKind::Call(genesis_addresses().consortium);
    let removal = Consortium::proposeRemovalCall {
        target: key(LEAVER).address(),
        acceptFewerThanFour: false,
    };
    nonces.send(&ledger, 0, to_consortium, removal.abi_encode());
    for member in 1..4 {
        let approve = Consortium::approveCall { id: U256::from(1) };
        nonces.send(&ledger, member, to_consortium, approve.abi_encode());
    }
    assert!(!ledger.head().is_member(&key(LEAVER).address()));
    refused(&ledger, &claim(2, |_| ()));
    nonces.send(&ledger, 0, |_| (), Federation::expireCall { id }.abi_encode());
    assert_eq!(owed(&ledger), U256::from(2 * PRICE));

    // Nothing but a withdrawal that is sure to succeed.
    refused(&ledger, &claim(2, |t| t.gas_limit = 30_000));
    refused(&ledger, &claim(2, |t| t.gas_limit = 2_000_000));
    refused(&ledger, &claim(2, |t| t.value = U256::from(1)));
    refused(&ledger, &claim(2, |t| t.max_fee_per_gas = 1));
    refused(
        &ledger,
        &claim(2, |t| t.input = Federation::expireCall { id }.abi_encode().into()),
    );
    refused(&ledger, &claim(2, |t| t.to = TxKind::Call(key(0).address())));
    refused(&ledger, &claim(3, |_| ()));
    assert!(ledger.mempool().is_empty());

    let before = balance(&ledger);
    ledger.submit(&claim(2, |_| ())).unwrap();
    ledger.receive_transactions(vec![claim(3, |_| ()).into()]);
    assert_eq!(ledger.mempool().len(), 1, "one waits, whoever brings it");
    produce(&ledger, 0);
    assert_eq!(balance(&ledger), before + U256::from(2 * PRICE));
    assert_eq!(owed(&ledger), U256::ZERO);
    refused(&ledger, &claim(3, |_| ()));

    // A node that executes the same blocks without having seen the transactions agrees.
    let other = tempfile::tempdir().unwrap();
    let follower = open(other.path(), 5);
    for height in 1..=ledger.tip().height {
        let decided = ledger.decided(height).unwrap().unwrap();
        follower
            .commit(&decided.block, &decided.certificate, Durability::Immediate)
            .unwrap();
    }
    assert_eq!(follower.tip(), ledger.tip());
}
