//! The two plans play a whole federation against the ledger's model, with domains that fail, owners that change their mind,
//! agents that sleep, and a clock that jumps. Whatever happens: every wait ends, one domain at most runs the service for
//! another, replicas are neither lost nor doubled, and no money or reservation stays behind.

#![allow(clippy::unwrap_used)]

use hanse_agreement::policy::Offer;
use hanse_agreement::{
    Account, Action as Call, Agreement, AgreementId, Amount, Bid, Federation, Input, Price, Rejection, State, Terms,
    apply,
};
use proptest::prelude::*;

use super::{Next, consumer, provider};
use crate::follow::provider_record;
use crate::model::{
    Award, ConsumerRecord, Eligible, Endpoint, ManifestCopy, Outcome, ProviderRecord, Providers, Scenario, Stage, Want,
};
use crate::request::tests::record;

const CONSUMER: Account = Account([1; 20]);
const PROVIDERS: [Account; 3] = [Account([2; 20]), Account([3; 20]), Account([4; 20])];

/// What chance decides in one round.
#[derive(Debug, Clone)]
enum Chance {
    /// The consumer's agent looks.
    Consumer,
    /// A provider's agent looks.
    Provider(usize),
    /// Time passes (ms).
    Time(u64),
    /// The next deployment or check fails for good.
    Failure,
    /// Who asks next for the manifest finds nobody that has it.
    NobodyHasIt,
    /// Who deploys next has lost the manifest.
    LostManifest,
    /// The consumer's owner wants out.
    ConsumerWantsOut,
    /// A provider's owner wants out.
    ProviderWantsOut(usize),
    /// A provider's owner changes the bid by hand.
    ProviderBidsAnew(usize, u128),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        8 => Just(Chance::Consumer),
        12 => (0..PROVIDERS.len()).prop_map(Chance::Provider),
        2 => (1u64..3_000).prop_map(Chance::Time),
        1 => (1_000u64..400_000).prop_map(Chance::Time),
        1 => Just(Chance::Failure),
        1 => Just(Chance::NobodyHasIt),
        1 => Just(Chance::LostManifest),
        1 => Just(Chance::ConsumerWantsOut),
        1 => (0..PROVIDERS.len()).prop_map(Chance::ProviderWantsOut),
        1 => (0..PROVIDERS.len(), 1u128..4).prop_map(|(index, price)| Chance::ProviderBidsAnew(index, price)),
    ]
}

struct World {
    now_ms: u64,
    ledger: Federation,
    consumer: ConsumerRecord,
    providers: Vec<Option<ProviderRecord>>,
    failure: bool,
    /// Nobody gives the manifest to who asks next.
    nobody_has_it: bool,
    /// Who deploys next has lost the manifest.
    lost_manifest: bool,
    /// When the event of the award, which brings the parameters, reaches the provider.
    award_told: u64,
}

impl World {
    fn new(scenario: Scenario, hours_paid: u32) -> Self {
        let mut consumer = record(scenario, 2);
        consumer.hours_paid = hours_paid;
        let ledger = Federation::new(PROVIDERS.into_iter().chain([CONSUMER]));
        Self {
            now_ms: consumer.requested_ms,
            ledger,
            consumer,
            providers: vec![None, None, None],
            failure: false,
            nobody_has_it: false,
            lost_manifest: false,
            award_told: u64::MAX,
        }
    }

    fn id(&self) -> AgreementId {
        self.consumer.id()
    }

    /// A refusal is no catastrophe for an agent, it looks again; but a plan that asks for the impossible is wrong.
    fn call(&mut self, caller: Account, action: Call) {
        match apply(&self.ledger, &Input { caller, action }, self.now_ms / 1000) {
            Ok((ledger, _)) => self.ledger = ledger,
            Err(Rejection::NothingOwed { .. }) => {}
            Err(rejection) => panic!("the plan asked for what the ledger refuses: {rejection:?}"),
        }
    }

    /// Lets the consumer take one step; whether it had one to take.
    fn consumer(&mut self) -> bool {
        let id = self.id();
        let agreement = self.ledger.agreement(id).cloned();
        let bids = self.ledger.bids(id).to_vec();
        let Next::Do(action) = consumer::next(&self.consumer, agreement.as_ref(), &bids, self.now_ms) else {
            return false;
        };
        match action {
            consumer::Action::Announce => self.call(CONSUMER, Call::Announce(self.consumer.announcement.clone())),
            consumer::Action::Choose(bid) => {
                let (bidder, sequence, hours_paid) = (bid.bidder, bid.sequence, self.consumer.hours_paid);
                let payment = bid.price_per_hour.for_hours(hours_paid);
                let sealed_parameters = Vec::new();
                self.call(
                    CONSUMER,
                    Call::Choose {
                        id,
                        bidder,
                        sequence,
                        hours_paid,
                        sealed_parameters,
                        payment,
                    },
                );
                self.award_told = self.now_ms + 50;
            }
            consumer::Action::Cancel(reason) => self.call(CONSUMER, Call::Cancel { id, reason }),
            consumer::Action::Expire => self.call(CONSUMER, Call::Expire { id }),
            consumer::Action::OpenEndpoint => self.consumer.endpoint = Some(Endpoint::default()),
            consumer::Action::HandOver => {
                self.consumer.stage = Stage::HandedOver;
                if std::mem::take(&mut self.failure) {
                    self.consumer.check_failed = Some("no work was seen".into());
                } else {
                    self.consumer.stage = Stage::Verified;
                }
            }
            consumer::Action::Confirm => self.call(CONSUMER, Call::Confirm { id }),
            consumer::Action::Complete => {
                assert_eq!(
                    self.consumer.stage,
                    Stage::Verified,
                    "the own share is given up only after the other was seen to work"
                );
                self.consumer.stage = Stage::Completed;
            }
            consumer::Action::Restore => {
                self.consumer.stage = Stage::Restored;
            }
            consumer::Action::Terminate => self.call(CONSUMER, Call::Terminate { id }),
            consumer::Action::Finish(outcome) => {
                self.call(CONSUMER, Call::Withdraw { accepted: true });
                self.consumer.outcome = Some(outcome);
            }
        }
        true
    }

    /// Lets a provider take one step; whether it had one to take.
    fn provider(&mut self, index: usize) -> bool {
        let (me, id) = (PROVIDERS[index], self.id());
        let agreement = self.ledger.agreement(id).cloned();
        let bids = self.ledger.bids(id).to_vec();
        let Some(mut record) = self.providers[index].clone() else {
            let Some(agreement) = agreement.filter(|agreement| agreement.state == State::Open) else {
                return false;
            };
            let terms = agreement.announcement.requirements;
            let offer = Offer {
                price_per_hour: Price(10 + index as u128),
                terms,
            };
            self.providers[index] = Some(provider_record(&agreement, CONSUMER, offer));
            return true;
        };
        if self.now_ms >= self.award_told {
            record.sealed_parameters = Some(Vec::new());
        }
        let Next::Do(action) = provider::next(&record, agreement.as_ref(), &bids, me, self.now_ms) else {
            return false;
        };
        match action {
            provider::Action::FetchManifest => {
                if !std::mem::take(&mut self.nobody_has_it) {
                    record.manifest = ManifestCopy::Kept;
                }
            }
            provider::Action::PlaceBid => {
                assert_eq!(record.manifest, ManifestCopy::Kept, "a bid for what was not read");
                let (price_per_hour, offer) = (record.price_per_hour, record.offer);
                self.call(
                    me,
                    Call::PlaceBid {
                        id,
                        price_per_hour,
                        location: String::new(),
                        offer,
                    },
                );
            }
            provider::Action::Deploy => {
                assert!(record.sealed_parameters.is_some(), "deployed without its parameters");
                if std::mem::take(&mut self.lost_manifest) {
                    record.manifest = ManifestCopy::default();
                    self.providers[index] = Some(record);
                    return true;
                }
                record.deploying = true;
                if std::mem::take(&mut self.failure) {
                    record.failed = Some("the image can't be pulled".into());
                } else {
                    record.sealed_endpoint = Some(vec![1]);
                }
            }
            provider::Action::ReportDeployed => {
                self.call(
                    me,
                    Call::Deployed {
                        id,
                        sealed_endpoint: vec![1],
                    },
                );
                self.consumer.sealed_endpoint = Some(vec![1]);
            }
            provider::Action::Decline(reason) => {
                record.leaving = agreement.is_some_and(|agreement| agreement.state == State::Deployed);
                self.call(me, Call::Decline { id, reason });
            }
            provider::Action::Expire => self.call(me, Call::Expire { id }),
            provider::Action::Settle => self.call(me, Call::Settle { id }),
            provider::Action::Terminate => {
                record.leaving = true;
                self.call(me, Call::Terminate { id });
            }
            provider::Action::TearDown => record.torn_down = true,
            provider::Action::Finish(outcome) => {
                self.call(me, Call::Withdraw { accepted: true });
                record.outcome = Some(outcome);
            }
        }
        self.providers[index] = Some(record);
        true
    }

    fn happen(&mut self, chance: &Chance) {
        match chance {
            Chance::Consumer => drop(self.consumer()),
            Chance::Provider(index) => drop(self.provider(*index)),
            Chance::Time(passed) => self.now_ms += passed,
            Chance::Failure => self.failure = true,
            Chance::NobodyHasIt => self.nobody_has_it = true,
            Chance::LostManifest => self.lost_manifest = true,
            Chance::ConsumerWantsOut => {
                self.consumer.want = Want::Cancel {
                    reason: "changed plans".into(),
                }
            }
            Chance::ProviderWantsOut(index) => {
                if let Some(record) = &mut self.providers[*index] {
                    record.want = Want::Terminate;
                }
            }
            Chance::ProviderBidsAnew(index, price) => {
                if let Some(record) = &mut self.providers[*index] {
                    record.price_per_hour = Price(*price);
                    record.bid_round += 1;
                }
            }
        }
        self.check();
    }

    fn running(&self) -> usize {
        let runs = |record: &&ProviderRecord| record.sealed_endpoint.is_some() && !record.torn_down;
        self.providers.iter().flatten().filter(runs).count()
    }

    fn check(&self) {
        assert!(self.running() <= 1, "two providers run one service");
        // A provider that leaves gives notice; a consumer that sleeps through it has nobody to blame.
        let changed_at = self
            .ledger
            .agreement(self.id())
            .map_or(0, |agreement| agreement.changed_at);
        let notice_over = self.now_ms >= changed_at * 1000 + provider::NOTICE_MS;
        let left = notice_over && self.providers.iter().flatten().any(|record| record.leaving);
        if self.consumer.stage.gives_share_away() && !left {
            assert_eq!(
                self.running(),
                1,
                "the consumer gave its own share up while nobody runs it"
            );
        }
    }

    /// Everyone does what there is to do until nobody has anything left; then time passes, again and again.
    fn play_out(&mut self) {
        for _ in 0..200 {
            while (0..PROVIDERS.len()).fold(self.consumer(), |acted, index| self.provider(index) || acted) {
                self.check();
            }
            self.now_ms += 100_000;
        }
    }
}

fn live(outcome: &Option<Outcome>) -> bool {
    outcome.is_none()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_wait_ends_and_nothing_is_left_behind(
        scenario in prop_oneof![Just(Scenario::Whole), Just(Scenario::Component), Just(Scenario::Scale)],
        hours_paid in 0u32..3,
        wanted in prop::option::of(prop::collection::btree_set(0..PROVIDERS.len(), 0..3)),
        chances in prop::collection::vec(chance(), 0..80),
    ) {
        let mut world = World::new(scenario, hours_paid);
        world.consumer.providers = wanted.map(|wanted| Eligible {
            asked: Providers::default(),
            qualified: wanted.into_iter().map(|index| PROVIDERS[index]).collect(),
        });
        for chance in &chances {
            world.happen(chance);
        }
        world.play_out();
        let provider = world.ledger.agreement(world.id()).and_then(|agreement| agreement.provider);
        prop_assert!(provider.is_none_or(|it| world.consumer.may_provide(it)), "{provider:?} was not asked for");

        let state = world.ledger.agreement(world.id()).map(|agreement| agreement.state);
        if state == Some(State::Confirmed) {
            // In use, as it should be: both sides know, and the replicas are where they were agreed to be.
            prop_assert!(live(&world.consumer.outcome) && world.consumer.stage == Stage::Completed);
            prop_assert_eq!(world.running(), 1);
            world.consumer.want = Want::Terminate;
            world.play_out();
        }
        let state = world.ledger.agreement(world.id()).map(|agreement| agreement.state);
        prop_assert!(state.is_none_or(|state| !state.is_live()), "{state:?}");
        prop_assert!(world.consumer.outcome.is_some(), "the consumer still waits: {:?}", world.consumer);
        for record in world.providers.iter().flatten() {
            prop_assert!(record.outcome.is_some(), "a provider still has it reserved: {record:?}");
        }
        prop_assert_eq!(world.running(), 0, "something still runs");
        let own = crate::traffic::own_replicas(2, std::slice::from_ref(&world.consumer));
        prop_assert_eq!(own, 2, "the consumer has all its replicas back");
        prop_assert_eq!(world.ledger.balance(), Amount::ZERO, "money was left behind");
    }
}

/// A replaced block takes an agreement away for a moment: what runs for it goes on, but not for ever.
#[test]
fn an_agreement_that_the_ledger_does_not_know_any_more_is_waited_for() {
    let mut world = World::new(Scenario::Component, 0);
    for _ in 0..50 {
        (0..PROVIDERS.len()).fold(world.consumer(), |acted, index| world.provider(index) || acted);
        world.now_ms += 100;
    }
    assert_eq!(world.consumer.stage, Stage::Completed);
    let runs = world
        .providers
        .iter()
        .flatten()
        .find(|record| record.sealed_endpoint.is_some());
    let mut record = runs.unwrap().clone();
    let next = |record: &ProviderRecord, now_ms| provider::next(record, None, &[], PROVIDERS[0], now_ms);
    record.missing_since_ms = Some(world.now_ms);
    assert!(matches!(next(&record, world.now_ms), Next::WaitUntil(at) if at > world.now_ms));
    let gone = world.now_ms + provider::GONE_MS;
    assert_eq!(next(&record, gone), Next::Do(provider::Action::TearDown));

    let next = |record: &ConsumerRecord, now_ms| consumer::next(record, None, &[], now_ms);
    let deadline = world.consumer.announcement.bid_deadline * 1_000;
    assert_eq!(
        next(&world.consumer, deadline - 1),
        Next::Do(consumer::Action::Announce)
    );
    assert_eq!(
        next(&world.consumer, deadline),
        Next::Do(consumer::Action::Restore),
        "what was moved comes back first"
    );
}

/// The chain undid everything, and another provider's bid is back first: what has moved does not move again.
#[test]
fn an_award_that_was_undone_goes_to_the_provider_that_has_the_service() {
    let mut world = World::new(Scenario::Component, 0);
    for _ in 0..50 {
        (0..PROVIDERS.len()).fold(world.consumer(), |acted, index| world.provider(index) || acted);
        world.now_ms += 100;
    }
    assert_eq!(world.consumer.stage, Stage::Completed);
    let agreement = world.ledger.agreement(world.id()).unwrap().clone();
    let (winner, bids) = (agreement.provider.unwrap(), world.ledger.bids(world.id()).to_vec());
    world.consumer.award = Some(Award {
        bid: bids.iter().find(|bid| bid.bidder == winner).unwrap().clone(),
        sealed_parameters: Vec::new(),
    });
    let open = Agreement {
        state: State::Open,
        provider: None,
        ..agreement
    };
    let (same, others): (Vec<_>, Vec<_>) = bids.into_iter().partition(|bid| bid.bidder == winner);
    let next = |bids: &[Bid], now_ms| consumer::next(&world.consumer, Some(&open), bids, now_ms);
    let deadline = world.consumer.announcement.bid_deadline * 1_000;
    assert!(matches!(next(&others, deadline - 1), Next::WaitUntil(_)));
    assert_eq!(
        next(&same, deadline - 1),
        Next::Do(consumer::Action::Choose(same[0].clone()))
    );
    assert!(matches!(
        next(&others, deadline + 1_000),
        Next::Do(consumer::Action::Cancel(_))
    ));
}

/// Two replicas are asked for, whatever the scenario.
#[test]
fn the_record_of_these_tests_asks_for_what_they_count() {
    let Terms { replicas, .. } = World::new(Scenario::Scale, 0).consumer.announcement.requirements;
    assert_eq!(replicas, 2);
}
