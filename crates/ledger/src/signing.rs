//! From a call, a nonce and a fee to bytes that a node takes.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Bytes, TxHash, TxKind, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;

use crate::error::LedgerError;
use crate::fees::Fee;
use crate::intent::Call;
use crate::nonces::Purpose;
use crate::outbox::Signed;

/// Gas of a transfer of nothing to oneself.
pub(crate) const VOID_GAS: u64 = 21_000;

/// The transaction that uses up a nonce without effect: nothing, to oneself.
pub(crate) fn void_call(signer: &PrivateKeySigner) -> Call {
    Call {
        to: signer.address(),
        value: U256::ZERO,
        data: Bytes::new(),
    }
}

/// Signs.
pub(crate) fn sign(
    signer: &PrivateKeySigner,
    chain_id: u64,
    call: &Call,
    gas: u64,
    nonce: u64,
    purpose: Purpose,
    fee: Fee,
) -> Result<Signed, LedgerError> {
    let (hash, raw) = seal(
        signer,
        chain_id,
        TxKind::Call(call.to),
        call.value,
        &call.data,
        gas,
        nonce,
        fee,
    )?;
    Ok(Signed {
        nonce,
        hash,
        purpose,
        max_fee: U256::from(fee.max()),
        raw,
    })
}

/// Signs any transaction: its hash, and the bytes for `eth_sendRawTransaction`.
#[expect(clippy::too_many_arguments, reason = "the fields of a transaction")]
pub(crate) fn seal(
    signer: &PrivateKeySigner,
    chain_id: u64,
    to: TxKind,
    value: U256,
    data: &Bytes,
    gas: u64,
    nonce: u64,
    fee: Fee,
) -> Result<(TxHash, Bytes), LedgerError> {
    let failed = |error: alloy::signers::Error| LedgerError::Config(format!("the account's key cannot sign: {error}"));
    let envelope: TxEnvelope = match fee {
        Fee::Legacy { price } => {
            let tx = TxLegacy {
                chain_id: Some(chain_id),
                nonce,
                gas_price: price,
                gas_limit: gas,
                to,
                value,
                input: data.clone(),
            };
            let signature = signer.sign_hash_sync(&tx.signature_hash()).map_err(failed)?;
            tx.into_signed(signature).into()
        }
        Fee::Dynamic { max, tip } => {
            let tx = TxEip1559 {
                chain_id,
                nonce,
                gas_limit: gas,
                max_fee_per_gas: max,
                max_priority_fee_per_gas: tip,
                to,
                value,
                access_list: Default::default(),
                input: data.clone(),
            };
            let signature = signer.sign_hash_sync(&tx.signature_hash()).map_err(failed)?;
            tx.into_signed(signature).into()
        }
    };
    Ok((*envelope.tx_hash(), envelope.encoded_2718().into()))
}
