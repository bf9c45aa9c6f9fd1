//! The desk at which newcomers ask: invitations given out, requests that wait. Pure, and bounded whatever strangers send.

use std::collections::HashSet;

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::request::AdmissionRequest;
use super::token;

/// Invitations that can be open at one time.
const INVITATIONS: usize = 64;
/// Requests that can wait.
const REQUESTS: usize = 64;
/// Those among them that may catch up already.
const GUESTS: usize = 16;
/// Who waits for longer than this (s) has caught up also if it misses a few of the newest blocks: on a busy ledger the newest one is
/// never there yet when the request comes.
const PATIENCE: u64 = 5;
const FEW_BLOCKS: u64 = 2;
/// How long an invitation can be used, and a request waits (s): as long as a proposal is open.
pub const LASTS: u64 = 7 * 24 * 3600;

/// What the desk remembers over restarts.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desk {
    invitations: Vec<Invitation>,
    requests: Vec<Waiting>,
    /// Whether this domain has been a member. One that has left does not ask by itself to come back.
    #[serde(default)]
    joined: bool,
}

/// An invitation that was given out. Only the digest of its token is kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invitation {
    digest: String,
    expires: u64,
    used_by: Option<Address>,
    /// Whether another member made it; it is remembered when it is used first.
    #[serde(default)]
    foreign: bool,
    /// The peer id of the domain that asked for it through the swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
}

/// Where the token of a request comes from, as far as its signature tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// Another member made it, and it is valid.
    OtherMember,
    /// This domain did, or nobody who counts.
    OwnOrNobody,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The request; it was checked.
    pub request: AdmissionRequest,
    /// When it came first, in Unix seconds.
    pub since: u64,
    /// Whether it brought an invitation of this domain.
    pub invited: bool,
    /// Whether it brought an invitation of another member.
    #[serde(default)]
    pub vouched_for: bool,
    /// Whether its node had caught up with the ledger when it asked last.
    #[serde(default)]
    pub caught_up: bool,
}

impl Waiting {
    /// Whether any member invited it: then it may follow the ledger.
    pub fn is_guest(&self) -> bool {
        self.invited || self.vouched_for
    }
}

/// Why a request is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token is none of this domain's, or not any more.
    #[error("the invite is unknown here, has expired, or was used by another domain; ask the member for a new one")]
    Token,
    /// Too much waits.
    #[error("too many requests wait here already; ask a member for an invite, or try again later")]
    Full,
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

impl Desk {
    /// Remembers an invitation with this token. The oldest makes room if there are too many.
    pub fn invite(&mut self, token: &str, now: u64) {
        self.invitations.retain(|invitation| invitation.expires > now);
        let of_operator = |invitation: &Invitation| invitation.peer.is_none() && !invitation.foreign;
        if self.invitations.iter().filter(|it| of_operator(it)).count() >= INVITATIONS
            && let Some(oldest) = self.invitations.iter().position(of_operator)
        {
            self.invitations.remove(oldest);
        }
        self.invitations.push(Invitation {
            digest: digest(token),
            expires: now + LASTS,
            used_by: None,
            foreign: false,
            peer: None,
        });
    }

    /// Remembers the token that a domain of the swarm was given, in place of its earlier one. Room is made of such only, so that
    /// no number of domains takes an operator's invites away.
    pub fn invite_peer(&mut self, peer: &str, token: &str, now: u64) {
        self.invitations
            .retain(|invitation| invitation.expires > now && invitation.peer.as_deref() != Some(peer));
        let of_swarm = |invitation: &Invitation| invitation.peer.is_some();
        if self.invitations.iter().filter(|it| of_swarm(it)).count() >= INVITATIONS
            && let Some(oldest) = self.invitations.iter().position(of_swarm)
        {
            self.invitations.remove(oldest);
        }
        self.invitations.push(Invitation {
            digest: digest(token),
            expires: now + LASTS,
            used_by: None,
            foreign: false,
            peer: Some(peer.to_owned()),
        });
    }

    /// Whether this token was seen here before, or made here.
    pub fn knows(&self, token: &str) -> bool {
        let (own, foreign) = (digest(token), digest(&token::identity(token)));
        let mut digests = self.invitations.iter().map(|invitation| &invitation.digest);
        digests.any(|known| *known == own || *known == foreign)
    }

    /// The invitation of another member with this token, remembered from its first use. Room is made of such only.
    fn foreign(&mut self, digest: String, now: u64) -> Option<usize> {
        self.invitations.retain(|invitation| invitation.expires > now);
        if let Some(known) = self
            .invitations
            .iter()
            .position(|invitation| invitation.digest == digest)
        {
            return Some(known);
        }
        if self.invitations.len() >= 3 * INVITATIONS {
            let oldest = self.invitations.iter().position(|invitation| invitation.foreign)?;
            self.invitations.remove(oldest);
        }
        self.invitations.push(Invitation {
            digest,
            expires: now + LASTS,
            used_by: None,
            foreign: true,
            peer: None,
        });
        Some(self.invitations.len() - 1)
    }

    /// Keeps a checked request, which came when the newest block here was that of `height`. A repetition takes the place of the
    /// account's earlier one.
    pub fn take(
        &mut self,
        request: AdmissionRequest,
        maker: Maker,
        height: u64,
        now: u64,
    ) -> Result<&Waiting, Refused> {
        let account = request.member.account;
        let (invited, vouched_for) = match &request.token {
            None => (false, false),
            Some(token) => {
                let wanted = digest(token);
                let open = |invitation: &Invitation| invitation.expires > now && invitation.digest == wanted;
                let position = match maker {
                    Maker::OwnOrNobody => self.invitations.iter().position(open),
                    Maker::OtherMember => self.foreign(digest(&token::identity(token)), now),
                };
                let invitation = position.and_then(|position| self.invitations.get_mut(position));
                let invitation = invitation.ok_or(Refused::Token)?;
                if *invitation.used_by.get_or_insert(account) != account {
                    return Err(Refused::Token);
                }
                (!invitation.foreign, invitation.foreign)
            }
        };
        self.requests.retain(|waiting| waiting.since + LASTS > now);
        let earlier = self
            .requests
            .iter()
            .position(|waiting| waiting.request.member.account == account);
        let earlier = earlier.map(|position| self.requests.remove(position));
        if self.requests.len() >= REQUESTS {
            // Who was invited does not wait behind those who were not.
            let stranger = self.requests.iter().position(|waiting| !waiting.is_guest());
            match stranger {
                Some(position) if invited || vouched_for => drop(self.requests.remove(position)),
                _ => return Err(Refused::Full),
            }
        }
        let position = self.requests.len();
        let since = earlier.as_ref().map_or(now, |earlier| earlier.since);
        let missing = request.height.map(|its| height.saturating_sub(its));
        self.requests.push(Waiting {
            request,
            since,
            caught_up: missing.is_some_and(|missing| missing == 0 || missing <= FEW_BLOCKS && since + PATIENCE <= now),
            invited: invited || earlier.as_ref().is_some_and(|earlier| earlier.invited),
            vouched_for: vouched_for || earlier.is_some_and(|earlier| earlier.vouched_for),
        });
        Ok(&self.requests[position])
    }

    /// Forgets what is over: members, and what waited too long. `true` if anything changed.
    pub fn forget(&mut self, members: &HashSet<Address>, now: u64) -> bool {
        let before = self.requests.len();
        self.requests
            .retain(|waiting| waiting.since + LASTS > now && !members.contains(&waiting.request.member.account));
        self.requests.len() != before
    }

    /// Whether this domain has been a member.
    pub fn has_joined(&self) -> bool {
        self.joined
    }

    /// Notes whether this domain has been a member. `true` if that is new.
    pub fn set_joined(&mut self, joined: bool) -> bool {
        std::mem::replace(&mut self.joined, joined) != joined
    }

    /// What waits, oldest first.
    pub fn requests(&self) -> &[Waiting] {
        &self.requests
    }

    /// Validator keys of those who may catch up before they are admitted: they were invited.
    pub fn guests(&self) -> Vec<[u8; 32]> {
        let invited = self.requests.iter().filter(|waiting| waiting.is_guest());
        invited
            .map(|waiting| waiting.request.member.validator_key.0)
            .take(GUESTS)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::B256;
    use hanse_chain::genesis::MemberInfo;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn request(number: u64, token: Option<&str>) -> AdmissionRequest {
        AdmissionRequest {
            member: MemberInfo {
                account: Address::left_padding_from(&number.to_be_bytes()),
                validator_key: B256::left_padding_from(&number.to_be_bytes()),
                sealing_key: B256::ZERO,
                name: number.to_string(),
                consensus_address: String::new(),
                peer_id: String::new(),
                url: String::new(),
            },
            genesis: B256::ZERO,
            at: NOW,
            token: token.map(str::to_owned),
            height: None,
            account_signature: String::new(),
            validator_signature: String::new(),
        }
    }

    #[test]
    fn an_invitation_is_for_one_domain_for_a_while() {
        let mut desk = Desk::default();
        desk.invite("aa", NOW);
        assert!(
            !serde_json::to_string(&desk).unwrap().contains("\"aa\""),
            "the token itself is not kept"
        );
        assert_eq!(
            desk.take(request(1, Some("bb")), Maker::OwnOrNobody, 0, NOW),
            Err(Refused::Token)
        );
        assert!(
            desk.take(request(1, Some("aa")), Maker::OwnOrNobody, 0, NOW)
                .unwrap()
                .invited
        );
        assert_eq!(
            desk.take(request(2, Some("aa")), Maker::OwnOrNobody, 0, NOW),
            Err(Refused::Token)
        );
        assert!(
            desk.take(request(1, Some("aa")), Maker::OwnOrNobody, 0, NOW + 60)
                .is_ok(),
            "its domain may ask again"
        );
        assert_eq!(
            desk.take(request(1, Some("aa")), Maker::OwnOrNobody, 0, NOW + LASTS),
            Err(Refused::Token)
        );
    }

    #[test]
    fn an_invitation_of_another_member_lets_one_domain_read_and_has_nobody_vote_by_itself() {
        let mut desk = Desk::default();
        let taken = desk.take(request(1, Some("cc")), Maker::OtherMember, 0, NOW).unwrap();
        assert!(taken.vouched_for && !taken.invited);
        assert_eq!(desk.guests(), [request(1, None).member.validator_key.0]);
        let other = desk.take(request(2, Some("cc")), Maker::OtherMember, 0, NOW);
        assert_eq!(other, Err(Refused::Token), "it is for one domain");
        // However many tokens other members make, this domain's own stay.
        desk.invite("aa", NOW);
        for number in 0..500 {
            let _ = desk.take(
                request(1, Some(format!("{number:04}").as_str())),
                Maker::OtherMember,
                0,
                NOW,
            );
        }
        assert!(desk.invitations.len() <= 3 * INVITATIONS);
        assert!(
            desk.take(request(3, Some("aa")), Maker::OwnOrNobody, 0, NOW)
                .unwrap()
                .invited
        );
    }

    #[test]
    fn however_many_domains_of_the_swarm_ask_the_operators_invites_stay_and_each_domain_has_one() {
        let mut desk = Desk::default();
        desk.invite("aa", NOW);
        for number in 0..500 {
            desk.invite_peer(&format!("peer {number}"), &format!("{number:04}"), NOW);
        }
        assert!(desk.invitations.len() <= 2 * INVITATIONS && desk.knows("aa") && desk.knows("0499"));
        desk.invite_peer("peer 499", "ee", NOW);
        let earlier = desk.take(request(1, Some("0499")), Maker::OwnOrNobody, 0, NOW);
        assert_eq!(
            earlier,
            Err(Refused::Token),
            "the later token takes the place of the earlier"
        );
        assert!(
            desk.take(request(1, Some("ee")), Maker::OwnOrNobody, 0, NOW)
                .unwrap()
                .invited
        );
        assert!(
            desk.take(request(2, Some("aa")), Maker::OwnOrNobody, 0, NOW)
                .unwrap()
                .invited
        );
    }

    #[test]
    fn asking_twice_is_asking_once() {
        let mut desk = Desk::default();
        desk.take(request(1, None), Maker::OwnOrNobody, 0, NOW).unwrap();
        desk.take(request(1, None), Maker::OwnOrNobody, 0, NOW + 5).unwrap();
        assert_eq!(desk.requests().len(), 1);
        assert_eq!(desk.requests()[0].since, NOW);
    }

    #[test]
    fn who_has_the_newest_block_has_caught_up_and_who_waits_may_miss_a_few() {
        let mut desk = Desk::default();
        let mut asked = |height: Option<u64>, newest: u64, now: u64| {
            let mut request = request(1, None);
            request.height = height;
            desk.take(request, Maker::OwnOrNobody, newest, now).unwrap().caught_up
        };
        assert!(!asked(None, 0, NOW), "it hears nobody yet");
        assert!(!asked(Some(0), 1, NOW));
        assert!(asked(Some(1), 1, NOW));
        assert!(!asked(Some(1), 2, NOW), "what was so once need not be so now");
        assert!(asked(Some(3), 2, NOW), "or it has a newer one");
        assert!(!asked(Some(7), 9, NOW + PATIENCE - 1));
        assert!(asked(Some(7), 9, NOW + PATIENCE));
        assert!(!asked(Some(7), 10, NOW + PATIENCE));
    }

    #[test]
    fn strangers_fill_the_desk_at_most_and_make_room_for_the_invited() {
        let mut desk = Desk::default();
        for number in 0..REQUESTS as u64 {
            desk.take(request(number, None), Maker::OwnOrNobody, 0, NOW).unwrap();
        }
        assert_eq!(
            desk.take(request(999, None), Maker::OwnOrNobody, 0, NOW),
            Err(Refused::Full)
        );
        desk.invite("aa", NOW);
        desk.take(request(1000, Some("aa")), Maker::OwnOrNobody, 0, NOW)
            .unwrap();
        assert_eq!(desk.requests().len(), REQUESTS);
        assert_eq!(
            desk.guests(),
            [request(1000, None).member.validator_key.0],
            "strangers read nothing"
        );
    }

    #[test]
    fn who_was_admitted_or_waited_too_long_is_forgotten() {
        let mut desk = Desk::default();
        desk.take(request(1, None), Maker::OwnOrNobody, 0, NOW).unwrap();
        desk.take(request(2, None), Maker::OwnOrNobody, 0, NOW).unwrap();
        assert!(desk.forget(&[request(1, None).member.account].into(), NOW));
        assert_eq!(desk.requests().len(), 1);
        assert!(!desk.forget(&HashSet::new(), NOW));
        assert!(desk.forget(&HashSet::new(), NOW + LASTS));
    }
}
