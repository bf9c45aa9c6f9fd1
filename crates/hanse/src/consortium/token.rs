//! The token of an invite: signed by the member that made it, so that every member can tell that one of them invited.
//!
//! Hexadecimal: 16 random bytes, 8 bytes of Unix seconds until which it is valid, and an EIP-191 signature of the member's
//! ledger account over both and the ledger.

use alloy::primitives::{Address, B256, Signature};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, ensure};

const RANDOM: usize = 16;
const EXPIRES: usize = 8;
const SIGNATURE: usize = 65;

fn text(genesis: B256, random: &[u8], expires: u64) -> String {
    format!(
        "Hanse: whoever has {} may ask to be admitted to the ledger {genesis} until {expires}",
        hex::encode(random)
    )
}

/// A new token for one domain.
pub fn make(member: &PrivateKeySigner, genesis: B256, expires: u64) -> anyhow::Result<String> {
    let random: [u8; RANDOM] = rand::random();
    let signature = member.sign_message_sync(text(genesis, &random, expires).as_bytes())?;
    Ok(hex::encode(
        [&random[..], &expires.to_be_bytes(), &signature.as_bytes()].concat(),
    ))
}

/// What is the same however a token is written down: its random part.
pub fn identity(token: &str) -> String {
    token.get(..2 * RANDOM).unwrap_or(token).to_ascii_lowercase()
}

/// Who made a token that is valid at `now`. The caller sees whether that is a member.
///
/// # Errors
/// When it is no token, or not any more.
pub fn maker(token: &str, genesis: B256, now: u64) -> anyhow::Result<Address> {
    let bytes = hex::decode(token).context("not hexadecimal")?;
    ensure!(
        bytes.len() == RANDOM + EXPIRES + SIGNATURE,
        "not of the length of a token"
    );
    let (random, rest) = bytes.split_at(RANDOM);
    let (expires, signature) = rest.split_at(EXPIRES);
    let expires = u64::from_be_bytes(expires.try_into().context("eight bytes")?);
    ensure!(expires > now, "it has expired");
    let signature = Signature::from_raw(signature).context("no signature")?;
    Ok(signature.recover_address_from_msg(text(genesis, random, expires))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LEDGER: B256 = B256::repeat_byte(5);
    const UNTIL: u64 = 1_800_000_000;

    #[test]
    fn a_token_names_its_maker_for_its_ledger_and_time_and_nobody_else() {
        let member = PrivateKeySigner::random();
        let token = make(&member, LEDGER, UNTIL).unwrap();
        assert_eq!(maker(&token, LEDGER, UNTIL - 1).unwrap(), member.address());
        assert!(maker(&token, LEDGER, UNTIL).is_err(), "its time is over");
        assert_ne!(maker(&token, B256::ZERO, UNTIL - 1).ok(), Some(member.address()));
        let another = make(&member, LEDGER, UNTIL).unwrap();
        assert_ne!(identity(&another), identity(&token), "for one domain each");
        assert_eq!(identity(&token.to_uppercase()), identity(&token));
        for position in 0..token.len() / 2 {
            let mut bytes = hex::decode(&token).unwrap();
            bytes[position] ^= 1;
            let changed = maker(&hex::encode(bytes), LEDGER, UNTIL - 1).ok();
            assert_ne!(changed, Some(member.address()), "byte {position}");
        }
        for wrong in ["", "zz", "00ff", &token[2..]] {
            assert!(maker(wrong, LEDGER, 0).is_err(), "{wrong}");
        }
    }
}
