//! What the interface `IConsortium` promises of members, on the committed bytecode.
#![allow(clippy::unwrap_used)]

mod evm;

use alloy::primitives::{B256, U256};
use alloy::sol_types::SolEvent;
use evm::domains::{leave, removal};
use evm::{PARAMETERS, TestChain, account, member};
use hanse_contracts::Consortium::{self, ConsortiumErrors as Refused};
use hanse_contracts::{Federation, IConsortium};

#[test]
fn founders_are_members_since_ever_and_the_contracts_know_each_other() {
    let mut chain = TestChain::with_members(4);
    let members = chain.ask(chain.consortium, &Consortium::membersCall {}).unwrap();
    assert_eq!(
        members.iter().map(|m| m.info.name.as_str()).collect::<Vec<_>>(),
        ["domain-1", "domain-2", "domain-3", "domain-4"]
    );
    assert!(members.iter().all(|member| member.joinedAt == 0));
    assert_eq!(
        chain.ask(chain.consortium, &Consortium::federationCall {}).unwrap(),
        chain.federation
    );
    assert_eq!(
        chain.ask(chain.federation, &Federation::consortiumCall {}).unwrap(),
        chain.consortium
    );
    assert_eq!(
        chain
            .ask(chain.consortium, &Consortium::consensusParametersCall {})
            .unwrap(),
        PARAMETERS
    );
}

#[test]
fn a_founder_or_parameter_that_breaks_a_rule_prevents_genesis() {
    let refused = |founders, parameters| match TestChain::with_founders(founders, parameters) {
        Ok(_) => panic!("accepted"),
        Err(reverted) => reverted.consortium(),
    };
    assert!(matches!(refused(vec![], PARAMETERS), Refused::InvalidMember(_)));
    assert!(matches!(
        refused(vec![member(1), member(1)], PARAMETERS),
        Refused::AlreadyMember(_)
    ));
    let mut twin = member(2);
    twin.validatorKey = member(1).validatorKey;
    assert!(matches!(
        refused(vec![member(1), twin], PARAMETERS),
        Refused::ValidatorKeyTaken(_)
    ));
    let mut twin = member(2);
    twin.name = member(1).name;
    assert!(matches!(
        refused(vec![member(1), twin], PARAMETERS),
        Refused::NameTaken(_)
    ));
    let silent = IConsortium::ConsensusParameters {
        proposeMs: 0,
        ..PARAMETERS
    };
    assert!(matches!(
        refused(vec![member(1)], silent),
        Refused::InvalidParameters(_)
    ));
}

#[test]
fn a_removal_never_takes_more_than_a_third_of_the_power() {
    for members in [1, 2] {
        let mut chain = TestChain::with_members(members);
        assert!(matches!(
            chain.refused(1, &removal(1, true)),
            Refused::RemovesTooMuchPower(_)
        ));
        assert!(matches!(
            chain.refused(1, &leave(true)),
            Refused::RemovesTooMuchPower(_)
        ));
    }
    let mut chain = TestChain::with_members(3);
    chain.act(3, &leave(false)).unwrap();
    assert_eq!(chain.members(), [account(1), account(2)]);
}

#[test]
fn from_four_to_three_only_if_said_so() {
    let mut chain = TestChain::with_members(4);
    assert!(matches!(
        chain.refused(1, &removal(4, false)),
        Refused::BelowFaultTolerance(_)
    ));
    assert!(matches!(
        chain.refused(1, &leave(false)),
        Refused::BelowFaultTolerance(_)
    ));
    let id = chain.propose_removal(1, 4, true).unwrap();
    chain.approve(2, id).unwrap();
    chain.approve(3, id).unwrap();
    assert_eq!(chain.members(), [account(1), account(2), account(3)]);

    // Proposed without the flag among five, carried out among four.
    let mut chain = TestChain::with_members(5);
    let id = chain.propose_removal(1, 4, false).unwrap();
    chain.approve(2, id).unwrap();
    chain.act(5, &leave(false)).unwrap();
    assert!(matches!(
        chain.approve(3, id).unwrap_err().consortium(),
        Refused::BelowFaultTolerance(_)
    ));
}

#[test]
fn one_membership_change_per_block() {
    let mut chain = TestChain::with_members(7);
    chain.act(7, &leave(false)).unwrap();
    let rotation = Consortium::rotateValidatorKeyCall {
        newKey: B256::repeat_byte(0x77),
    };
    for error in [
        chain.act_in_same_block(6, &leave(false)).map(|_| ()).unwrap_err(),
        chain.act_in_same_block(6, &rotation).map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error.consortium(), Refused::ChangeInThisBlock(_)));
    }
    chain.act(6, &leave(false)).unwrap();
    assert_eq!(chain.members().len(), 5);

    // A vote that passes in such a block is refused, and counts when it is repeated.
    let id = chain.propose_admission(1, 20).unwrap();
    chain.approve(2, id).unwrap();
    chain.approve(3, id).unwrap();
    chain.act(5, &rotation).unwrap();
    let error = chain
        .act_in_same_block(4, &Consortium::approveCall { id })
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error.consortium(), Refused::ChangeInThisBlock(_)));
    chain.approve(4, id).unwrap();
    assert!(chain.is_member(20));
}

#[test]
fn a_party_of_live_agreements_cannot_leave_and_its_removal_says_how_many() {
    let mut chain = TestChain::with_members(5);
    chain.announce(5, 1);
    chain.announce(5, 2);
    match chain.refused(5, &leave(false)) {
        Refused::LiveAgreements(error) => assert_eq!(error.count, U256::from(2)),
        other => panic!("{other:?}"),
    }
    let id = chain.propose_removal(1, 5, false).unwrap();
    chain.approve(2, id).unwrap();
    chain.approve(3, id).unwrap();
    chain.advance(1);
    let (_, logs) = chain
        .send(
            account(4),
            chain.consortium,
            &Consortium::approveCall { id },
            U256::ZERO,
        )
        .unwrap();
    let removed = logs
        .iter()
        .find_map(|log| Consortium::MemberRemoved::decode_log(log).ok())
        .unwrap();
    assert_eq!(
        (removed.name.as_str(), removed.liveAgreements),
        ("domain-5", U256::from(2))
    );
    // Anyone expires what has lost a party, long before its deadline.
    let expire = Federation::expireCall {
        id: B256::repeat_byte(1),
    };
    chain.send(account(1), chain.federation, &expire, U256::ZERO).unwrap();
    let live = Federation::liveAgreementsCall { account: account(5) };
    assert_eq!(chain.ask(chain.federation, &live).unwrap(), U256::from(1));
}

#[test]
fn validator_keys_rotate_but_not_at_will() {
    let mut chain = TestChain::with_members(4);
    let rotation = |byte| Consortium::rotateValidatorKeyCall {
        newKey: B256::repeat_byte(byte),
    };
    assert!(matches!(chain.refused(1, &rotation(2)), Refused::ValidatorKeyTaken(_)));
    assert!(matches!(chain.refused(1, &rotation(0)), Refused::InvalidMember(_)));
    chain.act(1, &rotation(0x71)).unwrap();
    assert!(matches!(chain.refused(1, &rotation(0x72)), Refused::RotatedRecently(_)));
    chain.act(2, &rotation(1)).unwrap(); // the key that 1 gave up
    chain.now += 600;
    chain.act(1, &rotation(0x72)).unwrap();
}

#[test]
fn a_member_changes_its_addresses_within_the_bounds() {
    let mut chain = TestChain::with_members(4);
    let update = Consortium::updateMemberCall {
        sealingKey: B256::repeat_byte(9),
        consensusAddress: "/dns4/a.example/tcp/1".into(),
        peerId: "p".repeat(128),
        url: "u".repeat(256),
    };
    chain.act(1, &update).unwrap();
    let info = chain
        .ask(chain.consortium, &Consortium::memberCall { account: account(1) })
        .unwrap()
        .info;
    assert_eq!(
        (info.sealingKey, info.peerId.len(), info.url.len()),
        (update.sealingKey, 128, 256)
    );
    assert_eq!((info.name, info.validatorKey), (member(1).name, member(1).validatorKey));
    for wrong in [
        Consortium::updateMemberCall {
            sealingKey: B256::ZERO,
            ..update.clone()
        },
        Consortium::updateMemberCall {
            consensusAddress: "192.0.2.1:1".into(),
            ..update.clone()
        },
        Consortium::updateMemberCall {
            consensusAddress: String::new(),
            ..update.clone()
        },
        Consortium::updateMemberCall {
            peerId: "p".repeat(129),
            ..update.clone()
        },
        Consortium::updateMemberCall {
            url: "u".repeat(257),
            ..update.clone()
        },
    ] {
        assert!(matches!(chain.refused(1, &wrong), Refused::InvalidMember(_)));
    }
    assert!(matches!(chain.refused(9, &update), Refused::NotMember(_)));
}

#[test]
fn there_are_at_most_sixty_four_members() {
    // Creation code with more founders would be longer than a chain takes (EIP-3860); the others are voted in.
    let mut chain = TestChain::with_members(32);
    for candidate in 33..=64 {
        let id = chain.propose_admission(1, candidate).unwrap();
        for approver in 2..=(u32::from(candidate - 1) * 2 / 3 + 1) as u8 {
            chain.approve(approver, id).unwrap();
        }
        assert!(chain.is_member(candidate));
    }
    assert!(matches!(
        chain.propose_admission(1, 65).unwrap_err().consortium(),
        Refused::TooManyMembers(_)
    ));
    chain.act(64, &leave(false)).unwrap();
    chain.propose_admission(1, 65).unwrap();
}
