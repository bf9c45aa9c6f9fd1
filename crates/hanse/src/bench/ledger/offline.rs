//! Builds a ledger without running consensus: the same blocks, executed and committed by the same code, with certificates
//! signed by the validators' real keys, so that nodes accept them from each other.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::consensus::transaction::Recovered;
use alloy::primitives::U256;
use anyhow::{Context, bail};
use hanse_chain::application::{Application, Durability};
use hanse_chain::consensus::certify;
use hanse_chain::key::ValidatorKey;
use hanse_chain::ledger::Ledger;
use hanse_chain::mempool::Account;
use hanse_contracts::genesis_addresses;
use tokio::sync::mpsc;

use super::load::{self, Announcement, Target};
use super::network::Consortium;
use super::node::KEY_FILE;

/// Signed blocks' worth of transactions that wait for their execution.
const SIGNED_AHEAD: usize = 4;

/// Where a consortium's announcements go.
pub fn target(consortium: &Consortium) -> Target {
    Target {
        chain_id: consortium.genesis.chain_id,
        federation: genesis_addresses().federation,
    }
}

/// Writes `blocks` blocks of `each` announcements by the first member into the first member's store.
pub async fn build(
    consortium: &Consortium,
    blocks: u64,
    each: usize,
    progress: impl Fn(u64) + Send,
) -> anyhow::Result<()> {
    let member = consortium.members.first().context("a consortium has a member")?;
    let (genesis, data) = (consortium.genesis.clone(), member.data());
    let mut keys = Vec::new();
    for member in &consortium.members {
        keys.push(ValidatorKey::load(&member.folder.join(KEY_FILE))?);
    }
    let (sender, mut receiver) = mpsc::channel::<Vec<Announcement>>(SIGNED_AHEAD);
    let (signer, target) = (member.signer.clone(), target(consortium));
    let signing = tokio::task::spawn_blocking(move || {
        for block in 0..blocks {
            let first = block * each as u64;
            let signed: anyhow::Result<Vec<_>> = (first..first + each as u64)
                .map(|nonce| load::announcement(target, &signer, nonce))
                .collect();
            if sender.blocking_send(signed?).is_err() {
                break;
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    let account = member.signer.address();
    let (done, mut report) = mpsc::channel(1);
    let building = tokio::task::spawn_blocking(move || {
        let ledger = Ledger::open(&data, &genesis)?;
        let origin = ledger.head().snapshot().hash();
        while let Some(announcements) = receiver.blocking_recv() {
            for announcement in announcements {
                let known = Recovered::new_unchecked(announcement.transaction, account);
                let head = ledger.head().snapshot().account(account)?.unwrap_or_default();
                let has = Account {
                    nonce: head.nonce,
                    balance: U256::ZERO,
                };
                ledger.mempool().insert(known, announcement.raw, |_| Ok(has))?;
            }
            while !ledger.mempool().is_empty() {
                commit_one(&ledger, origin, &keys)?;
            }
            ledger.flush()?;
            // Progress that nobody has looked at yet is as good.
            let _ = done.try_send(ledger.head().height());
        }
        Ok::<_, anyhow::Error>(())
    });
    while let Some(height) = report.recv().await {
        progress(height);
    }
    building.await??;
    signing.await??;
    Ok(())
}

fn commit_one(ledger: &Arc<Ledger>, origin: alloy::primitives::B256, keys: &[ValidatorKey]) -> anyhow::Result<()> {
    let rules = ledger.rules()?;
    let proposer = *rules.proposers.first().context("a height has a proposer")?;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let block = ledger.build(proposer, now)?;
    let id = ledger.block_id(&block)?;
    let height = ledger.tip().height + 1;
    let certificate = certify(origin, height, id, keys);
    let tip = ledger.commit(&block, &certificate, Durability::Deferred)?;
    if tip.height != height {
        bail!("block {height} was not committed");
    }
    Ok(())
}
