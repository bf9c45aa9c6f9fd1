//! A domain's request to be admitted, signed with its ledger account and with its validator key.
//!
//! The two signatures show that it has both keys: nobody can have a member admitted under a key that is another's.

use std::net::IpAddr;

use alloy::primitives::{B256, Signature};
use alloy::signers::SignerSync;
use anyhow::{Context, bail, ensure};
use hanse_chain::genesis::MemberInfo;
use hanse_chain::key::{ValidatorKey, verify_possession};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::keys::DomainKeys;

/// A request is taken this long before and after the time that it names (s).
const LASTS: u64 = 15 * 60;

/// The bounds of the Consortium contract, so that nothing is kept that it would refuse.
const MOST: [(&str, usize); 4] = [("name", 64), ("consensusAddress", 256), ("peerId", 128), ("url", 256)];

/// Asks a member to propose this domain's admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdmissionRequest {
    /// Who wants to be admitted.
    #[schema(value_type = Object)]
    pub member: MemberInfo,
    /// To which ledger: the digest of its genesis document.
    #[schema(value_type = String)]
    pub genesis: B256,
    /// When, in Unix seconds.
    pub at: u64,
    /// Token of the invite, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The newest block that its node has; absent as long as that hears no validator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// EIP-191 signature of the ledger account.
    pub account_signature: String,
    /// Ed25519 signature of the validator key, hexadecimal.
    pub validator_signature: String,
}

fn text(member: &MemberInfo, genesis: B256, at: u64) -> anyhow::Result<String> {
    let member = serde_json::to_string(member)?;
    Ok(format!(
        "Hanse: {member} asks to be admitted to the ledger {genesis} at {at}"
    ))
}

impl AdmissionRequest {
    /// Signs a request. `validator` is the key in `member`. Token and height are not signed: whoever sends them speaks for
    /// itself.
    pub fn sign(
        member: MemberInfo,
        genesis: B256,
        at: u64,
        token: Option<String>,
        height: Option<u64>,
        keys: &DomainKeys,
        validator: &ValidatorKey,
    ) -> anyhow::Result<Self> {
        let text = text(&member, genesis, at)?;
        Ok(Self {
            account_signature: keys.ledger.sign_message_sync(text.as_bytes())?.to_string(),
            validator_signature: hex::encode(validator.prove_possession(text.as_bytes())),
            member,
            genesis,
            at,
            token,
            height,
        })
    }

    /// Checks everything that can be checked without the ledger.
    ///
    /// # Errors
    /// Says what is wrong, to whoever sent it.
    pub fn check(&self, genesis: B256, now: u64) -> anyhow::Result<()> {
        ensure!(
            self.genesis == genesis,
            "the request is for the ledger {}, this one is {genesis}; check the invite",
            self.genesis
        );
        ensure!(
            self.at.abs_diff(now) <= LASTS,
            "the request is of another time: the clocks of the two domains differ by more than {LASTS} s"
        );
        let member = &self.member;
        let lengths = [&member.name, &member.consensus_address, &member.peer_id, &member.url].map(String::len);
        for ((field, most), length) in MOST.iter().zip(lengths) {
            ensure!(length <= *most, "{field} has {length} bytes, at most {most} fit");
        }
        ensure!(!member.name.is_empty(), "the request has no name");
        check_consensus_address(&member.consensus_address)?;
        let text = text(member, self.genesis, self.at)?;
        let signature: Signature = self.account_signature.parse().context("accountSignature")?;
        let signer = signature.recover_address_from_msg(&text).context("accountSignature")?;
        ensure!(
            signer == member.account,
            "the request was not signed by the account {} that it names",
            member.account
        );
        let signature = hex::decode(&self.validator_signature).context("validatorSignature")?;
        ensure!(
            verify_possession(&member.validator_key, text.as_bytes(), &signature),
            "the request was not signed with the validator key that it names"
        );
        Ok(())
    }
}

/// `/ip4/…/tcp/…`, `/ip6/…/tcp/…` or `/dns4/…/tcp/…`, where others can reach it.
pub fn check_consensus_address(address: &str) -> anyhow::Result<()> {
    let parts: Vec<&str> = address.split('/').collect();
    let ["", kind @ ("ip4" | "ip6" | "dns" | "dns4" | "dns6"), host, "tcp", port] = parts[..] else {
        bail!("{address:?} is no consensus address; it looks like /ip4/192.0.2.1/tcp/26656");
    };
    ensure!(
        port.parse::<u16>().is_ok_and(|port| port != 0),
        "{address:?} names no port"
    );
    if kind.starts_with("ip") {
        let ip: IpAddr = host
            .parse()
            .with_context(|| format!("{address:?} names no IP address"))?;
        ensure!(
            !ip.is_unspecified(),
            "{address:?} is an address to listen on; give the one at which the other members reach this domain"
        );
    }
    Ok(())
}

/// The multiaddr of a socket.
pub fn consensus_address(listen: std::net::SocketAddr) -> String {
    let kind = if listen.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{kind}/{}/tcp/{}", listen.ip(), listen.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const LEDGER: B256 = B256::repeat_byte(5);

    fn request() -> (AdmissionRequest, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let keys = DomainKeys::load_or_generate(folder.path()).unwrap();
        let validator = keys.validator.generation(0);
        let member = MemberInfo {
            account: keys.ledger.address(),
            validator_key: validator.public_key().into(),
            sealing_key: keys.sealing.public().into(),
            name: "fifth".into(),
            consensus_address: "/ip4/127.0.0.1/tcp/1".into(),
            peer_id: keys.swarm.peer_id().to_string(),
            url: "http://127.0.0.1:1".into(),
        };
        let signed = AdmissionRequest::sign(member, LEDGER, NOW, Some("00".into()), None, &keys, &validator).unwrap();
        (signed, folder)
    }

    #[test]
    fn a_request_is_taken_as_it_was_signed_and_in_its_time() {
        let (request, _folder) = request();
        request.check(LEDGER, NOW).unwrap();
        request.check(LEDGER, NOW + LASTS).unwrap();
        assert!(request.check(LEDGER, NOW + LASTS + 1).is_err());
        assert!(request.check(LEDGER, NOW - LASTS - 1).is_err());
        assert!(request.check(B256::ZERO, NOW).is_err());
    }

    #[test]
    fn nothing_in_it_can_be_changed_by_somebody_else() {
        let (good, _folder) = request();
        let (other, _other) = request();
        let refused = |change: &dyn Fn(&mut AdmissionRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request.check(LEDGER, NOW).unwrap_err().to_string()
        };
        refused(&|request| request.member.name = "sixth".into());
        refused(&|request| request.member.url = "http://elsewhere".into());
        refused(&|request| request.member.account = other.member.account);
        refused(&|request| request.member.sealing_key = other.member.sealing_key);
        refused(&|request| request.account_signature = other.account_signature.clone());
        refused(&|request| request.at += 1);
        // Another's validator key, signed for by an account of one's own.
        let error = refused(&|request| request.validator_signature = other.validator_signature.clone());
        assert!(error.contains("validator key"), "{error}");
    }

    #[test]
    fn an_address_that_nobody_could_dial_is_refused() {
        for good in [
            "/ip4/192.0.2.1/tcp/26656",
            "/ip6/2001:db8::1/tcp/1",
            "/dns4/north.example/tcp/26656",
        ] {
            check_consensus_address(good).unwrap();
        }
        for bad in [
            "",
            "192.0.2.1:1",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/192.0.2.1/tcp/0",
            "/ip4/x/tcp/1",
            "/ip4/192.0.2.1/udp/1",
        ] {
            assert!(check_consensus_address(bad).is_err(), "{bad}");
        }
    }
}
