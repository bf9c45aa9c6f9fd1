//! Each error that the contracts can give arrives as what it is.

use alloy::primitives::{Address, B256, Bytes, U256};
use hanse_ledger::{IFederation, Ledger, LedgerError, Receipt, Refusal};

use crate::anvil::Anvil;
use crate::league::{League, announce, announcement, fresh_id, key, member_info, parameters, terms, test_key};

fn random_key() -> hanse_ledger::IntentKey {
    hanse_ledger::IntentKey::random()
}

fn refusal(result: Result<Receipt, LedgerError>) -> Refusal {
    match result {
        Err(LedgerError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn bid(ledger: &Ledger, id: B256, price: u128) -> Result<Receipt, LedgerError> {
    ledger.place_bid(random_key(), id, price, String::new(), terms(1)).await
}

async fn choose(ledger: &Ledger, id: B256, bidder: Address, hours: u32, wei: u64) -> Result<Receipt, LedgerError> {
    let bids = ledger.bids(id).await.expect("bids");
    let sequence = bids
        .iter()
        .find(|bid| bid.bidder == bidder)
        .map_or(1, |bid| bid.sequence);
    let sealed = Bytes::from_static(b"sealed");
    ledger
        .choose(random_key(), id, bidder, sequence, hours, sealed, U256::from(wei))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_federation_are_typed() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let (consumer, provider, third) = tokio::join!(league.member(0), league.member(1), league.member(2));
    let (me, they) = (consumer.account(), provider.account());
    let id = announce(&consumer).await;
    let open = announcement(&consumer, id, 600).await;
    let announce_with = |change: fn(&mut IFederation::Announcement)| {
        let mut announcement = open.clone();
        announcement.id = fresh_id();
        change(&mut announcement);
        consumer.announce(random_key(), announcement)
    };
    assert_eq!(
        refusal(consumer.announce(random_key(), open.clone()).await),
        Refusal::IdTaken { id }
    );
    assert_eq!(
        refusal(announce_with(|a| a.bidDeadline = 1).await),
        Refusal::InvalidDeadlines
    );
    assert_eq!(
        refusal(announce_with(|a| a.requirements.replicas = 0).await),
        Refusal::InvalidTerms
    );
    let long = refusal(announce_with(|a| a.description = "x".repeat(2000)).await);
    let (length, limit) = (U256::from(2000), U256::from(1024));
    assert_eq!(long, Refusal::TooLong { length, limit });

    assert_eq!(refusal(bid(&consumer, id, 1).await), Refusal::OwnAgreement { id });
    let Refusal::WrongState { id: same, current } = refusal(consumer.confirm(random_key(), id).await) else {
        panic!("an open agreement cannot be confirmed");
    };
    assert_eq!((same, current.to_string()), (id, "open".to_owned()));
    assert_eq!(
        refusal(consumer.expire(random_key(), id).await),
        Refusal::NotExpired { id }
    );
    bid(&provider, id, 7).await.expect("bid");
    let caller = third.account();
    assert_eq!(
        refusal(choose(&third, id, they, 0, 0).await),
        Refusal::NotCreator { id, caller }
    );
    let bidder = third.account();
    assert_eq!(
        refusal(choose(&consumer, id, bidder, 0, 0).await),
        Refusal::NoSuchBid { id, bidder }
    );
    let (expected, sent) = (U256::from(14), U256::from(13));
    assert_eq!(
        refusal(choose(&consumer, id, they, 2, 13).await),
        Refusal::WrongPayment { expected, sent }
    );
    choose(&consumer, id, they, 2, 14).await.expect("chosen");
    let endpoint = Bytes::from_static(b"sealed");
    let stranger = third.deployed(random_key(), id, endpoint.clone()).await;
    assert_eq!(refusal(stranger), Refusal::NotProvider { id, caller });
    assert_eq!(
        refusal(provider.deployed(random_key(), id, Bytes::new()).await),
        Refusal::Empty
    );
    provider.deployed(random_key(), id, endpoint).await.expect("deployed");
    let Refusal::ConfirmWindowOpen { id: same, deadline } = refusal(provider.settle(random_key(), id).await) else {
        panic!("the creator may still answer");
    };
    assert!(same == id && deadline > 0);
    assert_eq!(
        refusal(provider.withdraw(random_key()).await),
        Refusal::NothingOwed { account: they }
    );
    let live = refusal(provider.leave(random_key(), true).await);
    assert_eq!(
        live,
        Refusal::LiveAgreements {
            account: they,
            count: U256::from(1)
        }
    );

    consumer.confirm(random_key(), id).await.expect("confirmed");
    assert_eq!(
        refusal(third.terminate(random_key(), id).await),
        Refusal::NotParty { id, caller }
    );
    assert_eq!(provider.owed(they).await.expect("owed"), U256::from(14));
    let before = provider.balance(they).await.expect("balance");
    provider.withdraw(random_key()).await.expect("withdrawn");
    assert_ne!(provider.balance(they).await.expect("balance"), before);
    assert_eq!(provider.owed(they).await.expect("owed"), U256::ZERO);

    let short = announce(&consumer).await;
    let _: serde_json::Value = anvil.raw("evm_increaseTime", serde_json::json!([700])).await;
    let _: serde_json::Value = anvil.raw("evm_mine", serde_json::json!([])).await;
    let late = refusal(bid(&provider, short, 1).await);
    assert!(
        matches!(late, Refusal::DeadlinePassed { id, .. } if id == short),
        "{late:?}"
    );
    consumer.expire(random_key(), short).await.expect("expired");
    let unknown = consumer.agreement(me.into_word()).await.expect_err("no such agreement");
    assert_eq!(
        unknown.refusal(),
        Some(&Refusal::UnknownAgreement { id: me.into_word() })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_consortium_are_typed() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.http()], 4).await;
    let (one, two) = tokio::join!(league.member(0), league.member(1));
    let newcomer = test_key(4).address();
    let admit = |change: fn(&mut hanse_ledger::IConsortium::MemberInfo)| {
        let mut candidate = member_info("newcomer", newcomer);
        change(&mut candidate);
        one.propose_admission(random_key(), candidate)
    };
    let taken = refusal(admit(|c| c.account = test_key(1).address()).await);
    assert_eq!(taken, Refusal::AlreadyMember { account: two.account() });
    let taken = refusal(admit(|c| c.name = "domain-2".into()).await);
    assert_eq!(
        taken,
        Refusal::NameTaken {
            name: "domain-2".into()
        }
    );
    let key_of_two = two.member(two.account()).await.expect("member").info.validatorKey;
    let taken = refusal(one.rotate_key(random_key(), key_of_two).await);
    assert_eq!(taken, Refusal::ValidatorKeyTaken { key: key_of_two });
    assert!(matches!(
        refusal(admit(|c| c.name = String::new()).await),
        Refusal::InvalidMember { .. }
    ));
    let id = U256::from(77);
    assert_eq!(
        refusal(one.approve(random_key(), id).await),
        Refusal::UnknownProposal { id }
    );
    let mut useless = parameters();
    useless.proposeMs = 0;
    assert_eq!(
        refusal(one.propose_parameters(random_key(), useless).await),
        Refusal::InvalidParameters
    );
    let removal = one.propose_removal(random_key(), two.account(), false).await;
    assert!(matches!(refusal(removal), Refusal::BelowFaultTolerance { .. }));

    for _ in 0..4 {
        one.propose_parameters(random_key(), parameters())
            .await
            .expect("proposed");
    }
    let proposer = one.account();
    let fifth = refusal(one.propose_parameters(random_key(), parameters()).await);
    assert_eq!(
        fifth,
        Refusal::TooManyProposals {
            proposer,
            limit: U256::from(4)
        }
    );
    let proposals = one.proposals().await.expect("proposals");
    assert_eq!(proposals.len(), 4);
    let id = proposals[0].id;
    assert_eq!(
        refusal(one.approve(random_key(), id).await),
        Refusal::AlreadyApproved { id, by: proposer }
    );
    let by = two.account();
    assert_eq!(
        refusal(two.withdraw_proposal(random_key(), id).await),
        Refusal::NotProposer { id, by }
    );
    one.withdraw_proposal(random_key(), id).await.expect("withdrawn");
    assert_eq!(
        refusal(two.approve(random_key(), id).await),
        Refusal::ProposalClosed { id }
    );

    one.rotate_key(random_key(), B256::repeat_byte(0x77))
        .await
        .expect("rotated");
    let soon = refusal(one.rotate_key(random_key(), B256::repeat_byte(0x78)).await);
    assert!(
        matches!(soon, Refusal::RotatedRecently { until, .. } if until > 0),
        "{soon:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_cannot_remove_each_other() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 2).await;
    let one = league.member(0).await;
    let members = U256::from(2);
    assert_eq!(
        refusal(one.leave(random_key(), true).await),
        Refusal::RemovesTooMuchPower { members }
    );
}

/// Both pass the check beforehand, then one of them loses in the block: its transaction is undone, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_the_block_is_typed_too() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let (one, two) = tokio::join!(league.member(0), league.member(1));
    let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([false])).await;
    let rotate = |ledger: Ledger, byte| async move {
        ledger
            .rotate_key(key(format!("rotate {byte}")), B256::repeat_byte(byte))
            .await
    };
    let tasks = [tokio::spawn(rotate(one, 1)), tokio::spawn(rotate(two.clone(), 2))];
    crate::league::eventually("two transactions wait", 20, async || {
        let status: serde_json::Value = anvil.raw("txpool_status", serde_json::json!([])).await;
        status["pending"] == "0x2"
    })
    .await;
    let _: serde_json::Value = anvil.raw("evm_mine", serde_json::json!([])).await;
    let results = futures::future::join_all(tasks).await;
    let (done, undone): (Vec<_>, Vec<_>) = results
        .into_iter()
        .map(|result| result.expect("ran"))
        .partition(Result::is_ok);
    assert_eq!((done.len(), undone.len()), (1, 1), "{done:?} {undone:?}");
    let undone = undone.into_iter().next().expect("one");
    assert_eq!(refusal(undone), Refusal::ChangeInThisBlock);
    assert!(two.in_flight().await.expect("open commands").is_empty());
}
