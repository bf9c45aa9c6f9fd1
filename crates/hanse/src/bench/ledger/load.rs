//! Announcements, signed before they are needed so that signing is no part of what is measured.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use anyhow::Context;
use hanse_contracts::{Federation, IFederation};

/// Gas that one announcement is given; it takes some three fifths of it.
pub const GAS: u64 = 300_000;

/// Where announcements go.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub chain_id: u64,
    pub federation: Address,
}

/// A signed announcement.
#[derive(Debug, Clone)]
pub struct Announcement {
    pub hash: B256,
    pub transaction: TxEnvelope,
    pub raw: Bytes,
}

/// The id of a sender's announcement with this nonce.
pub fn id(sender: Address, nonce: u64) -> B256 {
    keccak256([sender.as_slice(), &nonce.to_be_bytes()].concat())
}

/// Signs an announcement whose deadlines lie a day ahead.
pub fn announcement(target: Target, signer: &PrivateKeySigner, nonce: u64) -> anyhow::Result<Announcement> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let announcement = IFederation::Announcement {
        id: id(signer.address(), nonce),
        description: "object detection".into(),
        requirements: IFederation::Terms {
            availabilityBps: 9900,
            latencyMs: 50,
            jitterMs: 10,
            bandwidthMbps: 100,
            cpuMillicores: 500,
            ramMb: 256,
            replicas: 2,
        },
        manifestHash: keccak256("manifest"),
        bidDeadline: now + 86_400,
        deployDeadline: now + 2 * 86_400,
        confirmWindow: 600,
    };
    let transaction = TxEip1559 {
        chain_id: target.chain_id,
        nonce,
        gas_limit: GAS,
        to: TxKind::Call(target.federation),
        input: Federation::announceCall { announcement }.abi_encode().into(),
        ..Default::default()
    };
    let signature = signer
        .sign_hash_sync(&transaction.signature_hash())
        .context("signing failed")?;
    let transaction: TxEnvelope = transaction.into_signed(signature).into();
    Ok(Announcement {
        hash: *transaction.tx_hash(),
        raw: transaction.encoded_2718().into(),
        transaction,
    })
}

/// Signs `count` announcements of each signer, from its `nonces` on, on all cores.
pub async fn sign(
    target: Target,
    signers: Vec<(PrivateKeySigner, u64)>,
    count: usize,
) -> anyhow::Result<Vec<Vec<Announcement>>> {
    let tasks: Vec<_> = signers
        .into_iter()
        .map(|(signer, nonce)| {
            tokio::task::spawn_blocking(move || {
                (nonce..nonce + count as u64)
                    .map(|nonce| announcement(target, &signer, nonce))
                    .collect::<anyhow::Result<Vec<_>>>()
            })
        })
        .collect();
    let mut signed = Vec::new();
    for task in tasks {
        signed.push(task.await??);
    }
    Ok(signed)
}
