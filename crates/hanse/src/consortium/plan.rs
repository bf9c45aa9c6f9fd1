//! What to vote for. Pure: the ledger's state and what waits here in, votes out.

use alloy::primitives::{Address, U256};
use hanse_chain::genesis::MemberInfo;
use hanse_ledger::IConsortium::{Member, Proposal};

use super::desk::Waiting;
use crate::config::Admission;

/// Kinds of proposals, as the contract numbers them.
pub const ADMISSION: u8 = 0;
pub const REMOVAL: u8 = 1;

/// A guest is given so long (s) to catch up before it is proposed all the same. A domain that has left and comes back may be called
/// by the members only: its own node tries them ever more seldom.
const CATCH_UP: u64 = 10;

/// One vote.
#[derive(Debug, Clone, PartialEq)]
pub enum Vote {
    /// For an open proposal.
    Approve { id: U256, name: String },
    /// For a request that waits here: it is proposed, which is the first vote for it.
    Propose(Box<MemberInfo>),
}

impl Vote {
    /// The domain that it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Approve { name, .. } => name,
            Self::Propose(member) => &member.name,
        }
    }

    /// The number of the proposal, if it has one already.
    pub fn proposal(&self) -> Option<U256> {
        match self {
            Self::Approve { id, .. } => Some(*id),
            Self::Propose(_) => None,
        }
    }
}

/// Approvals that pass a proposal: more than two thirds.
pub fn needed(members: usize) -> usize {
    members * 2 / 3 + 1
}

/// The kind of a proposal in words.
pub fn kind(proposal: &Proposal) -> &'static str {
    match proposal.kind {
        ADMISSION => "admission",
        REMOVAL => "removal",
        _ => "parameters",
    }
}

/// The state of a proposal in words.
pub fn state(proposal: &Proposal) -> &'static str {
    match proposal.state {
        0 => "open",
        1 => "passed",
        _ => "withdrawn",
    }
}

/// Whether a proposal would admit this account.
pub fn admits(proposal: &Proposal, account: Address) -> bool {
    proposal.kind == ADMISSION && proposal.candidate.account == account
}

/// For whom a domain votes by itself.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub admission: Admission,
    /// Accounts for which it votes in any case.
    pub approved: Vec<Address>,
}

/// What a domain votes for by itself: if its policy is automatic, every open admission and every request with its own
/// token; otherwise those that it has approved beforehand. It proposes a guest when that has caught up, or has tried for
/// [`CATCH_UP`]: the quorum may need the new member for the very next block. `now` is Unix time in seconds.
pub fn votes(policy: &Policy, me: Address, proposals: &[Proposal], waiting: &[Waiting], now: u64) -> Vec<Vote> {
    let automatic = policy.admission == Admission::Automatic;
    let open = proposals
        .iter()
        .filter(|proposal| proposal.kind == ADMISSION && !proposal.approvals.contains(&me))
        .filter(|proposal| automatic || policy.approved.contains(&proposal.candidate.account))
        .map(approval);
    let asked = waiting.iter().filter(|waiting| {
        let account = waiting.request.member.account;
        let wanted = (automatic && waiting.invited) || policy.approved.contains(&account);
        let ready = waiting.caught_up || !waiting.is_guest() || waiting.since + CATCH_UP <= now;
        wanted && ready && !proposals.iter().any(|proposal| admits(proposal, account))
    });
    open.chain(asked.map(proposal_of)).collect()
}

fn approval(proposal: &Proposal) -> Vote {
    Vote::Approve {
        id: proposal.id,
        name: proposal.candidate.name.clone(),
    }
}

fn proposal_of(waiting: &Waiting) -> Vote {
    Vote::Propose(Box::new(waiting.request.member.clone()))
}

/// The account of the member with this name or account.
pub fn member(who: &str, members: &[Member]) -> Option<Address> {
    let account = who.parse().ok();
    members
        .iter()
        .find(|member| member.info.name == who || Some(member.info.account) == account)
        .map(|member| member.info.account)
}

/// The vote that `what` means: the number of a proposal, or the name or account of the domain that is to come or to go.
///
/// # Errors
/// Says what could be voted for.
pub fn find(what: &str, members: &[Member], proposals: &[Proposal], waiting: &[Waiting]) -> Result<Vote, String> {
    let account: Option<Address> = what.parse().ok();
    let number: Option<U256> = what.parse::<u64>().ok().map(U256::from);
    let target = member(what, members);
    let about = |proposal: &&Proposal| {
        let candidate = &proposal.candidate;
        match proposal.kind {
            ADMISSION => candidate.name == what || Some(candidate.account) == account,
            REMOVAL => Some(proposal.target) == target,
            _ => false,
        }
    };
    let by_number = proposals.iter().find(|proposal| Some(proposal.id) == number);
    if let Some(proposal) = by_number.or_else(|| proposals.iter().find(about)) {
        return Ok(approval(proposal));
    }
    let request = waiting.iter().find(|waiting| {
        let member = &waiting.request.member;
        member.name == what || Some(member.account) == account
    });
    request.map(proposal_of).ok_or_else(|| {
        let mut open: Vec<String> = proposals
            .iter()
            .map(|proposal| {
                format!(
                    "proposal {} ({} {})",
                    proposal.id,
                    kind(proposal),
                    proposal.candidate.name
                )
            })
            .collect();
        open.extend(
            waiting
                .iter()
                .map(|waiting| format!("the request of {}", waiting.request.member.name)),
        );
        let open = if open.is_empty() {
            "nothing".into()
        } else {
            open.join(", ")
        };
        format!("there is no proposal or request {what:?}; open is {open}")
    })
}

/// Why a candidate can't be admitted as it is, if it can't.
pub fn taken(members: &[Member], candidate: &MemberInfo) -> Option<String> {
    members.iter().find_map(|member| {
        if member.info.name == candidate.name {
            return Some(format!(
                "a member is called {:?} already; choose another name",
                candidate.name
            ));
        }
        (member.info.validatorKey == candidate.validator_key)
            .then(|| "a member has this validator key already; each domain needs a seed of its own".into())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::B256;

    use super::*;
    use crate::consortium::request::AdmissionRequest;

    fn account(number: u8) -> Address {
        Address::repeat_byte(number)
    }

    fn admission(id: u64, name: &str, candidate: u8, approvals: &[u8]) -> Proposal {
        let mut proposal = Proposal {
            id: U256::from(id),
            kind: ADMISSION,
            approvals: approvals.iter().map(|number| account(*number)).collect(),
            ..Default::default()
        };
        proposal.candidate.name = name.into();
        proposal.candidate.account = account(candidate);
        proposal
    }

    fn waiting(name: &str, number: u8, invited: bool) -> Waiting {
        Waiting {
            request: AdmissionRequest {
                member: MemberInfo {
                    account: account(number),
                    validator_key: B256::repeat_byte(number),
                    sealing_key: B256::ZERO,
                    name: name.into(),
                    consensus_address: String::new(),
                    peer_id: String::new(),
                    url: String::new(),
                },
                genesis: B256::ZERO,
                at: 0,
                token: None,
                height: None,
                account_signature: String::new(),
                validator_signature: String::new(),
            },
            since: 0,
            invited,
            vouched_for: false,
            caught_up: true,
        }
    }

    #[test]
    fn a_careful_domain_votes_for_nothing_by_itself() {
        let open = [admission(1, "fifth", 5, &[1])];
        let here = [waiting("sixth", 6, true), waiting("seventh", 7, false)];
        assert!(votes(&Policy::default(), account(2), &open, &here, 0).is_empty());
        let policy = Policy {
            approved: vec![account(5), account(7)],
            ..Policy::default()
        };
        let votes = votes(&policy, account(2), &open, &here, 0);
        let names: Vec<_> = votes.iter().map(Vote::name).collect();
        assert_eq!(
            names,
            ["fifth", "seventh"],
            "but for those that its operator approved beforehand"
        );
    }

    #[test]
    fn an_automatic_one_votes_once_and_proposes_whom_it_invited_only() {
        let open = [admission(1, "fifth", 5, &[1]), admission(2, "seventh", 7, &[1, 2])];
        let here = [
            waiting("fifth", 5, true),
            waiting("sixth", 6, true),
            waiting("stranger", 9, false),
        ];
        let policy = Policy {
            admission: Admission::Automatic,
            ..Policy::default()
        };
        let votes = votes(&policy, account(2), &open, &here, 0);
        let names: Vec<_> = votes.iter().map(|vote| (vote.name(), vote.proposal())).collect();
        assert_eq!(names, [("fifth", Some(U256::from(1))), ("sixth", None)]);
    }

    #[test]
    fn a_guest_is_not_proposed_before_its_node_has_caught_up() {
        let mut here = [waiting("fifth", 5, true), waiting("sixth", 6, false)];
        here.iter_mut().for_each(|waiting| waiting.caught_up = false);
        let policy = Policy {
            approved: vec![account(5), account(6)],
            ..Policy::default()
        };
        let votes = |here: &[Waiting], now: u64| votes(&policy, account(2), &[], here, now);
        let voted = votes(&here, CATCH_UP - 1);
        let names: Vec<_> = voted.iter().map(Vote::name).collect();
        assert_eq!(names, ["sixth"], "who is no guest can't follow before the vote");
        assert_eq!(votes(&here, CATCH_UP).len(), 2, "it is not waited for without end");
        here[0].caught_up = true;
        assert_eq!(votes(&here, 0).len(), 2);
    }

    #[test]
    fn what_is_voted_for_is_named_by_number_name_or_account() {
        let open = [admission(3, "fifth", 5, &[1])];
        let here = [waiting("stranger", 9, false)];
        for what in ["3", "fifth", &account(5).to_string()] {
            assert_eq!(
                find(what, &[], &open, &here).unwrap().proposal(),
                Some(U256::from(3)),
                "{what}"
            );
        }
        assert_eq!(find("stranger", &[], &open, &here).unwrap().proposal(), None);
        let error = find("nobody", &[], &open, &here).unwrap_err();
        assert!(
            error.contains("proposal 3 (admission fifth)") && error.contains("stranger"),
            "{error}"
        );
    }

    #[test]
    fn more_than_two_thirds_are_needed() {
        for (members, votes) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5)] {
            assert_eq!(needed(members), votes, "{members}");
        }
    }
}
