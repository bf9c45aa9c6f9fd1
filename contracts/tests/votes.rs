//! What the interface `IConsortium` promises of proposals and votes, on the committed bytecode.
#![allow(clippy::unwrap_used)]

mod evm;

use alloy::primitives::U256;
use evm::domains::leave;
use evm::{PARAMETERS, START, TestChain, account, member};
use hanse_contracts::Consortium::{self, ConsortiumErrors as Refused};
use hanse_contracts::IConsortium;

/// `IConsortium.ProposalState.Withdrawn`.
const WITHDRAWN: u8 = 2;

#[test]
fn more_than_two_thirds_of_the_members_pass_a_proposal() {
    for (members, needed) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (9, 7)] {
        let mut chain = TestChain::with_members(members);
        let id = chain.propose_admission(1, 20).unwrap();
        for approver in 2..=needed {
            assert!(
                !chain.is_member(20),
                "{members} members: {} approvals passed it",
                approver - 1
            );
            chain.approve(approver, id).unwrap();
        }
        assert!(
            chain.is_member(20),
            "{members} members: {needed} approvals did not pass it"
        );
        let admitted = chain
            .ask(chain.consortium, &Consortium::memberCall { account: account(20) })
            .unwrap();
        assert_eq!((admitted.info, admitted.joinedAt), (member(20), chain.now));
        assert!(chain.open_proposals().is_empty());
    }
}

#[test]
fn only_members_propose_and_approve_and_each_once() {
    let mut chain = TestChain::with_members(4);
    assert!(matches!(
        chain.propose_admission(9, 20).unwrap_err().consortium(),
        Refused::NotMember(_)
    ));
    let id = chain.propose_admission(1, 20).unwrap();
    assert!(matches!(
        chain.approve(9, id).unwrap_err().consortium(),
        Refused::NotMember(_)
    ));
    assert!(matches!(
        chain.approve(1, id).unwrap_err().consortium(),
        Refused::AlreadyApproved(_)
    ));
    assert!(matches!(
        chain.approve(2, U256::from(7)).unwrap_err().consortium(),
        Refused::UnknownProposal(_)
    ));
    assert!(matches!(
        chain.approve(2, U256::ZERO).unwrap_err().consortium(),
        Refused::UnknownProposal(_)
    ));
    chain.approve(2, id).unwrap();
    chain.approve(3, id).unwrap();
    assert!(matches!(
        chain.approve(4, id).unwrap_err().consortium(),
        Refused::ProposalClosed(_)
    ));
}

#[test]
fn approvals_of_former_members_do_not_count() {
    let mut chain = TestChain::with_members(5); // 4 needed
    let id = chain.propose_admission(1, 20).unwrap();
    chain.approve(2, id).unwrap();
    chain.approve(3, id).unwrap();
    chain.act(3, &leave(false)).unwrap(); // 4 members: 3 needed, 2 given
    assert_eq!(chain.proposal(id).approvals, [account(1), account(2)]);
    let back = chain.propose_admission(1, 3).unwrap();
    chain.approve(2, back).unwrap();
    chain.approve(4, back).unwrap();
    assert!(chain.is_member(3));
    assert_eq!(
        chain.proposal(id).approvals,
        [account(1), account(2)],
        "a new membership is a new voter"
    );
    chain.approve(3, id).unwrap(); // 5 members: 4 needed, 3 given
    assert!(!chain.is_member(20));
    chain.approve(4, id).unwrap();
    assert!(chain.is_member(20));
}

#[test]
fn what_departures_have_made_enough_is_carried_out_by_any_member() {
    let mut chain = TestChain::with_members(10); // 7 needed
    let id = chain.propose_admission(1, 20).unwrap();
    for approver in 2..=6 {
        chain.approve(approver, id).unwrap();
    }
    chain.act(10, &leave(false)).unwrap();
    chain.act(9, &leave(false)).unwrap(); // 8 members: 6 needed, 6 given
    assert!(!chain.is_member(20));
    chain.approve(1, id).unwrap();
    assert!(chain.is_member(20));
}

#[test]
fn no_vote_counts_after_the_deadline_and_late_proposals_are_forgotten() {
    let mut chain = TestChain::with_members(4);
    let id = chain.propose_admission(1, 20).unwrap();
    let deadline = chain.proposal(id).deadline;
    assert_eq!(deadline, START + 1 + 7 * 24 * 3600);
    chain.now = deadline - 1;
    chain.approve(2, id).unwrap();
    assert!(matches!(
        chain.approve(3, id).unwrap_err().consortium(),
        Refused::ProposalClosed(_)
    ));
    assert!(chain.open_proposals().is_empty());
    let next = chain.propose_admission(1, 20).unwrap();
    assert_eq!(chain.open_proposals(), [next]);
}

#[test]
fn a_member_has_at_most_four_open_proposals() {
    let mut chain = TestChain::with_members(4);
    let ids: Vec<_> = (20..24)
        .map(|candidate| chain.propose_admission(1, candidate).unwrap())
        .collect();
    assert_eq!(chain.open_proposals(), ids);
    assert!(matches!(
        chain.propose_admission(1, 24).unwrap_err().consortium(),
        Refused::TooManyProposals(_)
    ));
    let withdraw = Consortium::withdrawProposalCall { id: ids[1] };
    assert!(matches!(chain.refused(2, &withdraw), Refused::NotProposer(_)));
    chain.act(1, &withdraw).unwrap();
    assert!(matches!(chain.refused(1, &withdraw), Refused::ProposalClosed(_)));
    let last = chain.propose_admission(1, 24).unwrap();
    assert_eq!(chain.open_proposals(), [ids[0], ids[2], ids[3], last]);
}

#[test]
fn a_removal_does_not_outlive_the_membership_it_was_proposed_against() {
    let mut chain = TestChain::with_members(6); // 5 needed
    let id = chain.propose_removal(1, 6, false).unwrap();
    for approver in 2..=3 {
        chain.approve(approver, id).unwrap();
    }
    chain.act(6, &leave(false)).unwrap();
    let back = chain.propose_admission(1, 6).unwrap();
    for approver in 2..=4 {
        chain.approve(approver, back).unwrap();
    }
    assert!(chain.is_member(6));
    assert_eq!(chain.proposal(id).state, WITHDRAWN);
    assert!(matches!(
        chain.approve(4, id).unwrap_err().consortium(),
        Refused::ProposalClosed(_)
    ));
}

#[test]
fn what_two_members_proposed_at_once_happens_once() {
    let mut chain = TestChain::with_members(5); // 4 needed
    let other = chain.propose_admission(1, 21).unwrap();
    let admissions = [1, 2].map(|proposer| chain.propose_admission(proposer, 20).unwrap());
    for approver in 3..=5 {
        chain.approve(approver, admissions[1]).unwrap();
    }
    assert!(chain.is_member(20));
    assert_eq!(chain.open_proposals(), [other], "the twin asks for nothing any more");
    assert_eq!(chain.proposal(admissions[0]).state, WITHDRAWN);

    chain.act(20, &leave(false)).unwrap();
    for approver in 3..=5 {
        assert!(matches!(
            chain.approve(approver, admissions[0]).unwrap_err().consortium(),
            Refused::ProposalClosed(_)
        ));
    }
    assert!(!chain.is_member(20), "who has left does not come back by an old vote");

    let removals = [1, 2].map(|proposer| chain.propose_removal(proposer, 5, false).unwrap());
    for approver in 2..=4 {
        chain.approve(approver, removals[0]).unwrap();
    }
    assert!(!chain.is_member(5));
    assert_eq!(chain.open_proposals(), [other]);
    assert_eq!(chain.proposal(removals[1]).state, WITHDRAWN);
}

#[test]
fn two_proposals_for_one_name_admit_one() {
    let mut chain = TestChain::with_members(4);
    let first = chain.propose_admission(1, 20).unwrap();
    let mut twin = member(21);
    twin.name = member(20).name;
    let second = chain
        .act(2, &Consortium::proposeAdmissionCall { candidate: twin })
        .unwrap();
    for approver in 2..=3 {
        chain.approve(approver, first).unwrap();
    }
    chain.approve(1, second).unwrap();
    chain.approve(3, second).unwrap(); // 5 members: 4 needed
    assert!(matches!(
        chain.approve(4, second).unwrap_err().consortium(),
        Refused::NameTaken(_)
    ));
}

#[test]
fn parameters_change_by_vote_within_the_bounds() {
    let mut chain = TestChain::with_members(4);
    let wanted = IConsortium::ConsensusParameters {
        proposeMs: 900,
        heartbeatMs: 10,
        ..PARAMETERS
    };
    let id = chain
        .act(
            1,
            &Consortium::proposeParametersCall {
                parameters: wanted.clone(),
            },
        )
        .unwrap();
    chain.approve(2, id).unwrap();
    chain.approve(3, id).unwrap();
    assert_eq!(
        chain
            .ask(chain.consortium, &Consortium::consensusParametersCall {})
            .unwrap(),
        wanted
    );
    for parameters in [
        IConsortium::ConsensusParameters {
            voteDeltaMs: 0,
            ..PARAMETERS
        },
        IConsortium::ConsensusParameters {
            voteMs: 60_001,
            ..PARAMETERS
        },
        IConsortium::ConsensusParameters {
            heartbeatMs: 9,
            ..PARAMETERS
        },
        IConsortium::ConsensusParameters {
            heartbeatMs: 3_600_001,
            ..PARAMETERS
        },
    ] {
        let call = Consortium::proposeParametersCall { parameters };
        assert!(matches!(chain.refused(1, &call), Refused::InvalidParameters(_)));
    }
}
