//! From what is stored to what clients read. Only `alloy`'s types; nothing is written by hand.

use alloy::consensus::transaction::{Recovered, TransactionInfo};
use alloy::consensus::{ReceiptEnvelope, Sealed, Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::U256;
use alloy::rpc::types::{Block, BlockTransactions, Header, Log, Transaction, TransactionReceipt};

use crate::ledger::Committed;
use crate::mempool::Pooled;
use crate::store::{BlockPlace, FoundLog, StoredBlock, logs_of};

/// A found log.
pub fn log(found: FoundLog) -> Log {
    Log {
        inner: found.log,
        block_hash: Some(found.block_hash),
        block_number: Some(found.height),
        block_timestamp: Some(found.timestamp),
        transaction_hash: Some(found.transaction_hash),
        transaction_index: Some(found.transaction_index),
        log_index: Some(found.log_index),
        removed: false,
    }
}

/// A header as subscribers get it.
pub fn header(committed: &Committed) -> Header {
    let sealed = Sealed::new_unchecked(committed.header.clone(), committed.hash);
    Header::from_consensus(sealed, None, None)
}

/// A block, with its transactions or their hashes.
pub fn block(block: StoredBlock, full: bool) -> Block {
    let size = alloy::consensus::Block::rlp_length_for(&block.header, &block.body);
    let transactions = if full {
        BlockTransactions::Full(
            (0..block.senders.len())
                .map(|index| transaction(&block, index))
                .collect(),
        )
    } else {
        BlockTransactions::Hashes(block.body.transactions.iter().map(|tx| *tx.tx_hash()).collect())
    };
    Block {
        header: Header::from_consensus(
            Sealed::new_unchecked(block.header, block.hash),
            Some(U256::ZERO),
            Some(U256::from(size)),
        ),
        uncles: Vec::new(),
        transactions,
        withdrawals: Some(Default::default()),
    }
}

/// The transaction with this index, which must exist.
pub fn transaction(block: &StoredBlock, index: usize) -> Transaction {
    let transaction = block.body.transactions[index].clone();
    let info = TransactionInfo {
        hash: Some(*transaction.tx_hash()),
        index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        base_fee: block.header.base_fee_per_gas,
        block_timestamp: Some(block.header.timestamp),
    };
    Transaction::from_transaction(Recovered::new_unchecked(transaction, block.senders[index]), info)
}

/// A transaction that waits.
pub fn pending(pooled: &Pooled) -> Transaction {
    Transaction::from_transaction(pooled.transaction.clone(), TransactionInfo::default())
}

/// What a transaction paid for each unit of gas; the base fee is zero.
pub fn effective_gas_price(transaction: &TxEnvelope) -> u128 {
    transaction.effective_gas_price(Some(0))
}

/// All receipts of a block.
pub fn receipts(block: &StoredBlock, receipts: Vec<ReceiptEnvelope>) -> Vec<TransactionReceipt> {
    let place = BlockPlace {
        height: block.header.number,
        hash: block.hash,
        timestamp: block.header.timestamp,
    };
    let mut logs: Vec<Log> = logs_of(place, &block.body.transactions, &receipts).map(log).collect();
    let mut logs = logs.drain(..);
    let mut gas_before = 0;
    let mut converted = Vec::with_capacity(receipts.len());
    for (index, receipt) in receipts.into_iter().enumerate() {
        let (transaction, sender) = (&block.body.transactions[index], block.senders[index]);
        let gas_after = receipt.cumulative_gas_used();
        let created = transaction.is_create().then(|| sender.create(transaction.nonce()));
        converted.push(TransactionReceipt {
            inner: receipt.map_logs(|_| logs.next().expect("logs_of gives one log for each log of the receipts")),
            transaction_hash: transaction.trie_hash(),
            transaction_index: Some(index as u64),
            block_hash: Some(block.hash),
            block_number: Some(block.header.number),
            gas_used: gas_after - gas_before,
            effective_gas_price: effective_gas_price(transaction),
            blob_gas_used: None,
            blob_gas_price: None,
            from: sender,
            to: transaction.to(),
            contract_address: created,
        });
        gas_before = gas_after;
    }
    converted
}
