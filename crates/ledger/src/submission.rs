//! What a node says when it is handed a transaction. Each implementation words it differently.

/// What to make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has it: newly, already, or even included.
    Has,
    /// It asks for a higher fee.
    Underpriced,
    /// It cannot take it now: its pool is full, or the nonce is ahead of what it keeps.
    Later(String),
    /// It will not take it.
    Never(String),
}

/// Reads the message of an error to `eth_sendRawTransaction`.
pub(crate) fn judge(message: &str) -> Verdict {
    let text = message.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    // Geth, Reth, Nethermind, embedded: "already known"; Besu, Hardhat: "Known transaction"; Anvil: "transaction
    // already imported".
    if says(&[
        "already known",
        "known transaction",
        "alreadyknown",
        "already imported",
        "already in",
    ]) {
        return Verdict::Has;
    }
    // Used up: by this very transaction or by a stranger's. What the chain shows decides, not this message.
    if says(&[
        "nonce too low",
        "nonce is too low",
        "nonce_too_low",
        "old nonce",
        "oldnonce",
    ]) {
        return Verdict::Has;
    }
    if says(&[
        "underpriced",
        "gas price too low",
        "below configured minimum",
        "less than block base fee",
        "fee too low",
        "max fee per gas less",
    ]) {
        return Verdict::Underpriced;
    }
    if says(&[
        "pool is full",
        "pool full",
        "txpool is full",
        "overflow",
        "nonce too high",
        "nonce gap",
        "too many",
        "limit exceeded",
        "busy",
        "nonce too distant",
        "try again",
    ]) {
        return Verdict::Later(message.to_owned());
    }
    let advice = if says(&[
        "insufficient funds",
        "enough funds",
        "insufficient balance",
        "upfront cost",
    ]) {
        "give the account coins for gas and value"
    } else if says(&["not a member", "notmember", "members only", "sender not"]) {
        "the account is not a member of the consortium; ask a member to propose its admission"
    } else {
        "see the message"
    };
    Verdict::Never(format!("{message} ({advice})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_is_understood() {
        for known in [
            "already known",
            "Known transaction: 0xab",
            "transaction already imported",
            "nonce too low: next nonce 5",
        ] {
            assert_eq!(judge(known), Verdict::Has, "{known}");
        }
        for cheap in [
            "replacement transaction underpriced",
            "transaction underpriced",
            "Gas price below configured minimum gas price",
        ] {
            assert_eq!(judge(cheap), Verdict::Underpriced, "{cheap}");
        }
        assert!(matches!(judge("txpool is full"), Verdict::Later(_)));
        let Verdict::Never(reason) = judge("insufficient funds for gas * price + value") else {
            panic!("not taken")
        };
        assert!(reason.contains("give the account coins"), "{reason}");
    }
}
