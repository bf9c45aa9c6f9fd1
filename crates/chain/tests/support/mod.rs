//! A ledger without consensus: members with keys, raw signed transactions, and blocks made by calling the seam directly.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use hanse_chain::application::{Application, Durability, Tip};
use hanse_chain::genesis::{ConsensusParameters, Genesis, MemberInfo};
use hanse_chain::ledger::Ledger;
use hanse_contracts::{Federation, IFederation, genesis_addresses};

pub const CHAIN_ID: u64 = 4711;

/// Key number `n`; members come first.
pub fn key(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256([b'k', n])).unwrap()
}

pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub fn now() -> u64 {
    now_ms() / 1000
}

/// A ledger of `members` members with one coin each.
pub fn genesis(members: u8) -> Genesis {
    Genesis {
        chain_id: CHAIN_ID,
        timestamp: 1_700_000_000,
        gas_limit: 200_000_000,
        members: (0..members)
            .map(|n| MemberInfo {
                account: key(n).address(),
                validator_key: keccak256([b'v', n]),
                sealing_key: keccak256([b's', n]),
                name: format!("domain-{n}"),
                consensus_address: format!("/ip4/127.0.0.1/tcp/{}", 27_000 + u16::from(n)),
                peer_id: String::new(),
                url: format!("http://127.0.0.1:{}", 8000 + u16::from(n)),
            })
            .collect(),
        consensus_parameters: ConsensusParameters {
            propose_ms: 4000,
            propose_delta_ms: 300,
            vote_ms: 200,
            vote_delta_ms: 150,
            heartbeat_ms: 5000,
        },
        balances: (0..members)
            .map(|n| (key(n).address(), U256::from(10).pow(U256::from(18))))
            .collect(),
    }
}

pub fn open(folder: &Path, members: u8) -> Arc<Ledger> {
    Ledger::open(folder, &genesis(members)).unwrap()
}

/// A transaction, signed but not sent.
pub fn signed(key: &PrivateKeySigner, transaction: TxEip1559) -> TxEnvelope {
    let signature = key.sign_hash_sync(&transaction.signature_hash()).unwrap();
    transaction.into_signed(signature).into()
}

/// A call of a contract with free gas.
pub fn call(nonce: u64, to: Address, input: impl Into<Bytes>) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 2_000_000,
        to: TxKind::Call(to),
        input: input.into(),
        ..Default::default()
    }
}

pub fn terms() -> IFederation::Terms {
    IFederation::Terms {
        availabilityBps: 9900,
        latencyMs: 50,
        jitterMs: 10,
        bandwidthMbps: 100,
        cpuMillicores: 500,
        ramMb: 256,
        replicas: 2,
    }
}

pub fn announcement(id: B256) -> IFederation::Announcement {
    IFederation::Announcement {
        id,
        description: "object detection".into(),
        requirements: terms(),
        manifestHash: keccak256("manifest"),
        bidDeadline: now() + 600,
        deployDeadline: now() + 1200,
        confirmWindow: 600,
    }
}

/// An encoded announcement of member `member`.
pub fn announce(member: u8, nonce: u64, id: B256) -> Vec<u8> {
    let announcement = announcement(id);
    let input = Federation::announceCall { announcement }.abi_encode();
    signed(&key(member), call(nonce, genesis_addresses().federation, input)).encoded_2718()
}

/// Builds, checks and commits one block as member `proposer`, as consensus with one validator would.
pub fn produce(ledger: &Ledger, proposer: u8) -> (Tip, Bytes) {
    let block = ledger.build(key(proposer).address(), now_ms()).unwrap();
    ledger.validate(key(proposer).address(), &block, now_ms()).unwrap();
    let tip = ledger.commit(&block, b"certificate", Durability::Immediate).unwrap();
    (tip, block)
}

/// Built with the whole workspace, HTTP clients have TLS but no provider of its cryptography: the program chooses one.
pub fn install_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
