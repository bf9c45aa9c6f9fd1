//! What a transaction pays for gas. Nothing, on a ledger that asks for nothing.

use std::time::Duration;

use alloy::primitives::U256;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, RequestError};
use crate::head::Head;

/// How long a price that a node suggested is used.
const FRESH: Duration = Duration::from_secs(5);

/// What to pay, in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fee {
    /// Before EIP-1559.
    Legacy { price: u128 },
    /// EIP-1559.
    Dynamic { max: u128, tip: u128 },
}

impl Fee {
    /// The most that can be paid.
    pub(crate) fn max(self) -> u128 {
        match self {
            Self::Legacy { price } => price,
            Self::Dynamic { max, .. } => max,
        }
    }

    /// At least a quarter more than `old`, as pools ask of a replacement (10 % or more), and at least 1 wei.
    pub(crate) fn raised_over(self, old: u128) -> Self {
        let least = old.saturating_add((old / 4).max(1));
        match self {
            Self::Legacy { price } => Self::Legacy {
                price: price.max(least),
            },
            Self::Dynamic { max, tip } => Self::Dynamic {
                max: max.max(least),
                tip: tip.saturating_add((tip / 4).max(1)).max(least.min(max)),
            },
        }
    }
}

/// The fee for a base fee and what the node suggests as tip or price: room for the base fee to double until inclusion.
pub(crate) fn fee_for(base_fee: Option<u128>, suggested: u128) -> Fee {
    match base_fee {
        None => Fee::Legacy { price: suggested },
        Some(0) if suggested == 0 => Fee::Dynamic { max: 0, tip: 0 },
        Some(base) => Fee::Dynamic {
            max: base.saturating_mul(2).saturating_add(suggested),
            tip: suggested,
        },
    }
}

/// Knows the going price, asking the node only where one is to be paid.
#[derive(Debug, Default)]
pub(crate) struct FeePolicy {
    suggested: Option<(Instant, u128)>,
    /// A node refused a transaction that paid nothing although the base fee is 0.
    must_pay: bool,
}

impl FeePolicy {
    /// The node wants more than the base fee says.
    pub(crate) fn underpriced(&mut self) {
        self.must_pay = true;
        self.suggested = None;
    }

    /// The fee for a transaction signed now.
    pub(crate) async fn fee(&mut self, head: Head, endpoint: &Endpoint) -> Result<Fee, RequestError> {
        if head.base_fee == Some(0) && !self.must_pay {
            return Ok(fee_for(head.base_fee, 0));
        }
        let fresh = self.suggested.filter(|(asked, _)| asked.elapsed() < FRESH);
        let suggested = match fresh {
            Some((_, suggested)) => suggested,
            None => {
                let suggested = ask(head, endpoint).await?;
                self.suggested = Some((Instant::now(), suggested));
                suggested
            }
        };
        Ok(fee_for(head.base_fee, suggested))
    }
}

/// The node's suggestion: a tip where there is a base fee, else a price. Nodes without tips suggest prices.
async fn ask(head: Head, endpoint: &Endpoint) -> Result<u128, RequestError> {
    if head.base_fee.is_some() {
        match endpoint.request::<_, U256>("eth_maxPriorityFeePerGas", ()).await {
            Ok(tip) => return Ok(tip.saturating_to()),
            Err(RequestError::Link(detail)) => return Err(RequestError::Link(detail)),
            Err(_) => {}
        }
    }
    let price: U256 = endpoint.request("eth_gasPrice", ()).await?;
    let price: u128 = price.saturating_to();
    Ok(price.saturating_sub(head.base_fee.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_ledger_costs_nothing() {
        assert_eq!(fee_for(Some(0), 0), Fee::Dynamic { max: 0, tip: 0 });
    }

    #[test]
    fn the_base_fee_may_double_before_inclusion() {
        assert_eq!(fee_for(Some(100), 7), Fee::Dynamic { max: 207, tip: 7 });
        assert_eq!(fee_for(None, 7), Fee::Legacy { price: 7 });
    }

    #[test]
    fn a_raised_fee_replaces_the_old_one_in_any_pool() {
        let raised = fee_for(Some(100), 8).raised_over(1000);
        assert_eq!(raised.max(), 1250);
        assert_eq!(fee_for(Some(0), 0).raised_over(0).max(), 1);
        let Fee::Dynamic { max, tip } = raised else {
            panic!("dynamic")
        };
        assert!(tip <= max && tip >= 10);
    }
}
