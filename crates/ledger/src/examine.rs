//! Whether endpoints serve the right chain with the right contracts on it.

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::Bytes;
use hanse_contracts::{Addresses, Consortium, Federation, deployed_code};

use crate::config::LedgerConfig;
use crate::error::LedgerError;
use crate::head::Head;
use crate::rpc::{ChainIdentity, Rpc};

/// What was found, and is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// The chain that is served.
    pub chain: ChainIdentity,
    /// Its newest block.
    pub head: Head,
    /// Whether the code at both addresses is what this version creates, byte for byte. If not, contracts of another
    /// version or of other making answer there.
    pub as_built: bool,
}

/// Looks at the first of the endpoints that answers, as [`Ledger::connect`](crate::Ledger::connect) does, but needs neither
/// an account nor a store.
///
/// # Errors
/// `Unreachable`, `WrongChain`, `NoContract`, `WrongContract`, `ForeignContract`, `Config`, `Protocol`, each saying what to
/// do.
pub async fn examine(config: &LedgerConfig) -> Result<Examined, LedgerError> {
    examine_through(&Rpc::new(config)?, config).await
}

pub(crate) async fn examine_through(rpc: &Rpc, config: &LedgerConfig) -> Result<Examined, LedgerError> {
    let head = rpc.latest().await?;
    let endpoint = rpc.current();
    let identity = endpoint.identity().await;
    let chain = identity.map_err(|error| error.into_ledger("eth_chainId", endpoint.url()))?;
    if let Some(expected) = config.chain.filter(|expected| !chain.may_equal(expected)) {
        return Err(LedgerError::wrong_chain(endpoint.url(), expected, chain));
    }
    let as_built = check_contracts(rpc, config, chain.chain_id).await?;
    Ok(Examined { chain, head, as_built })
}

async fn check_contracts(rpc: &Rpc, config: &LedgerConfig, chain_id: u64) -> Result<bool, LedgerError> {
    let expected = deployed_code(Addresses {
        consortium: config.consortium,
        federation: config.federation,
    });
    let mut as_built = true;
    for ((name, address), expected) in [("Consortium", config.consortium), ("Federation", config.federation)]
        .into_iter()
        .zip(expected)
    {
        let code: Bytes = rpc.request("eth_getCode", (address, "latest")).await?;
        if code.is_empty() {
            return Err(LedgerError::NoContract {
                name,
                address,
                chain_id,
            });
        }
        as_built &= code == expected;
    }
    let wrong = |name, address| {
        move |error| match error {
            LedgerError::Unreachable { .. } => error,
            other => LedgerError::WrongContract {
                name,
                address,
                detail: other.to_string(),
            },
        }
    };
    let now = BlockNumberOrTag::Latest;
    let found = crate::views::read(rpc, config.federation, Federation::consortiumCall {}, now)
        .await
        .map_err(wrong("Federation", config.federation))?;
    let back = crate::views::read(rpc, config.consortium, Consortium::federationCall {}, now)
        .await
        .map_err(wrong("Consortium", config.consortium))?;
    if found != config.consortium || back != config.federation {
        return Err(LedgerError::ForeignContract {
            federation: config.federation,
            consortium: config.consortium,
            found,
        });
    }
    Ok(as_built)
}
