//! Who sent a transaction. Recovering a signature takes longer than most transactions take to execute, so it is done once
//! for each, and in parallel.

use alloy::consensus::TxEnvelope;
use alloy::consensus::transaction::{Recovered, SignerRecoverable};
use alloy::primitives::{Address, B256};

/// Below this many signatures a thread costs more than it saves.
const WORTH_A_THREAD: usize = 16;

/// [`recover_each`] for transactions that all must have a sender. Fails with the index of the first that has none.
pub fn recover(
    transactions: &[TxEnvelope],
    known: impl Fn(&B256) -> Option<Address>,
) -> Result<Vec<Recovered<TxEnvelope>>, usize> {
    let recovered = recover_each(transactions, known).into_iter().enumerate();
    recovered.map(|(index, transaction)| transaction.ok_or(index)).collect()
}

/// Recovers the senders of transactions, except those that `known` tells by transaction hash. `None` stands for a
/// transaction whose signature is no signature.
pub fn recover_each(
    transactions: &[TxEnvelope],
    known: impl Fn(&B256) -> Option<Address>,
) -> Vec<Option<Recovered<TxEnvelope>>> {
    let mut senders: Vec<Option<Address>> = transactions.iter().map(|tx| known(tx.tx_hash())).collect();
    let unknown = senders.iter().filter(|sender| sender.is_none()).count();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(unknown / WORTH_A_THREAD).max(1);
    let chunk = transactions.len().div_ceil(threads).max(1);
    let fill = |transactions: &[TxEnvelope], senders: &mut [Option<Address>]| {
        for (transaction, sender) in transactions.iter().zip(senders) {
            if sender.is_none() {
                *sender = transaction.recover_signer().ok();
            }
        }
    };
    if threads == 1 {
        fill(transactions, &mut senders);
    } else {
        std::thread::scope(|scope| {
            for (transactions, senders) in transactions.chunks(chunk).zip(senders.chunks_mut(chunk)) {
                scope.spawn(move || fill(transactions, senders));
            }
        });
    }
    transactions
        .iter()
        .zip(senders)
        .map(|(transaction, sender)| Some(Recovered::new_unchecked(transaction.clone(), sender?)))
        .collect()
}
