//! What the protocol promises, whatever happens: random sequences through the model.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use hanse_agreement::policy::Reservations;
use hanse_agreement::{
    Account, Action, Agreement, AgreementId, Amount, Announcement, Effect, Federation, Hash, Input, Price, Rejection,
    State, Terms, apply,
};
use proptest::prelude::*;

const MEMBERS: u8 = 5;
const START: u64 = 1_000;

/// One step, in numbers that mean something in any state of the federation.
#[derive(Debug, Clone)]
struct Step {
    /// Seconds before it.
    wait: u64,
    /// Who calls, if not `entitled`.
    caller: u8,
    /// Whether the caller is the one who may call.
    entitled: bool,
    id: u8,
    /// What is called.
    kind: u8,
    /// Whether a member comes or goes instead.
    membership: bool,
    number: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (
        0..12_u64,
        1..=MEMBERS + 1,
        prop::bool::weighted(0.8),
        1..=3_u8,
        0..11_u8,
        prop::bool::weighted(0.03),
        1..50_u8,
    )
        .prop_map(|(wait, caller, entitled, id, kind, membership, number)| Step {
            wait: wait.saturating_sub(6),
            caller,
            entitled,
            id,
            kind,
            membership,
            number,
        })
}

fn account(number: u8) -> Account {
    Account([number; 20])
}

fn terms(replicas: u8) -> Terms {
    Terms {
        cpu_millicores: 100,
        ram_mb: 10,
        replicas: replicas.into(),
        ..Terms::default()
    }
}

impl Step {
    fn input(&self, federation: &Federation, now: u64) -> Input {
        let id = AgreementId([self.id; 32]);
        let reason = String::new();
        let agreement = federation.agreement(id);
        let bid = federation.bids(id).first();
        let action = match self.kind {
            0 => Action::Announce(Announcement {
                id,
                description: String::new(),
                requirements: terms(self.number),
                manifest_hash: Hash([0; 32]),
                bid_deadline: now + 10,
                deploy_deadline: now + 40,
                confirm_window: 10,
            }),
            1 | 2 => Action::PlaceBid {
                id,
                price_per_hour: Price(self.number.into()),
                location: String::new(),
                offer: terms(self.number),
            },
            3 => Action::Choose {
                id,
                bidder: bid.map_or(account(1), |bid| bid.bidder),
                sequence: bid.map_or(0, |bid| bid.sequence),
                hours_paid: self.number.into(),
                sealed_parameters: vec![],
                payment: bid.map_or(Amount::ZERO, |bid| bid.price_per_hour.for_hours(self.number.into())),
            },
            4 => Action::Deployed {
                id,
                sealed_endpoint: vec![self.number],
            },
            5 => Action::Confirm { id },
            6 => Action::Cancel { id, reason },
            7 => Action::Decline { id, reason },
            8 => Action::Expire { id },
            9 => Action::Settle { id },
            _ => match self.number % 2 {
                0 => Action::Terminate { id },
                _ => Action::Withdraw { accepted: true },
            },
        };
        let entitled = match (&action, agreement) {
            (Action::Choose { .. } | Action::Confirm { .. } | Action::Cancel { .. }, Some(agreement)) => {
                Some(agreement.creator)
            }
            (Action::Deployed { .. } | Action::Decline { .. } | Action::Terminate { .. }, Some(agreement)) => {
                agreement.provider
            }
            (Action::Withdraw { .. }, _) => (1..=MEMBERS)
                .map(account)
                .find(|account| !federation.owed(*account).is_zero()),
            _ => None,
        };
        let caller = entitled.filter(|_| self.entitled).unwrap_or(account(self.caller));
        Input { caller, action }
    }
}

/// A federation with what is needed to check promises about its past.
struct Watched {
    federation: Federation,
    now: u64,
    paid_in: u128,
    paid_out: u128,
    reservations: BTreeMap<Account, Reservations>,
}

impl Watched {
    fn new() -> Self {
        let members = (1..=MEMBERS).map(account);
        let capacity = Terms {
            cpu_millicores: 1_000_000,
            ram_mb: 1_000_000,
            ..terms(255)
        };
        Self {
            federation: Federation::new(members.clone()),
            now: START,
            paid_in: 0,
            paid_out: 0,
            reservations: members.map(|member| (member, Reservations::new(capacity))).collect(),
        }
    }

    fn run(steps: &[Step]) -> Result<Self, TestCaseError> {
        let mut watched = Self::new();
        for step in steps {
            watched.now += step.wait;
            if step.membership {
                let member = account(step.caller);
                if !watched.federation.members.remove(&member) {
                    watched.federation.members.insert(member);
                }
            } else {
                let input = step.input(&watched.federation, watched.now);
                // Refusals are part of the game; that they change nothing is in the type.
                let _ = watched.apply(&input)?;
            }
        }
        Ok(watched)
    }

    fn apply(&mut self, input: &Input) -> Result<Result<Effect, Rejection>, TestCaseError> {
        let (next, mut effects) = match apply(&self.federation, input, self.now) {
            Ok(done) => done,
            Err(rejection) => return Ok(Err(rejection)),
        };
        prop_assert_eq!(effects.len(), 1);
        let effect = effects.remove(0);
        let amount = |amount: Amount| amount.to_string().parse::<u128>().unwrap();
        match &effect {
            Effect::BidPlaced { id, bidder, .. } => {
                if let Some(reservations) = self.reservations.get_mut(bidder) {
                    reservations.reserve(*id, &terms(1));
                }
            }
            Effect::Awarded { escrow, .. } => self.paid_in += amount(*escrow),
            Effect::Withdrawn { amount: wei, .. } => self.paid_out += amount(*wei),
            _ => {}
        }
        for agreement in next.agreements() {
            self.check_step(self.federation.agreement(agreement.id()), agreement)?;
        }
        self.federation = next;
        self.check()?;
        Ok(Ok(effect))
    }

    fn check_step(&self, before: Option<&Agreement>, after: &Agreement) -> Result<(), TestCaseError> {
        let Some(before) = before else {
            prop_assert_eq!(after.state, State::Open);
            return Ok(());
        };
        prop_assert_eq!(
            &before.announcement,
            &after.announcement,
            "an id means one announcement for ever"
        );
        if before.provider.is_some() {
            prop_assert_eq!(before.provider, after.provider, "at most one provider");
        }
        prop_assert!(after.state >= before.state || before.state == after.state, "never back");
        if !before.state.is_live() {
            prop_assert_eq!(before, after, "an end is final");
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(
            self.federation.balance(),
            Amount::from(self.paid_in - self.paid_out),
            "credits are conserved"
        );
        for agreement in self.federation.agreements() {
            let holds = matches!(agreement.state, State::Awarded | State::Deployed);
            prop_assert!(
                holds || agreement.escrow.is_zero(),
                "nothing in escrow in {}",
                agreement.state
            );
            prop_assert_eq!(agreement.provider.is_some(), agreement.price_per_hour > Price(0));
            for (me, reservations) in &mut self.reservations {
                reservations.observe(*me, agreement);
            }
        }
        for (me, reservations) in &self.reservations {
            for (id, _) in reservations.held() {
                let agreement = self.federation.agreement(id).unwrap();
                let mine = agreement.provider.is_none_or(|provider| provider == *me);
                prop_assert!(
                    agreement.state.is_live() && mine,
                    "reserved for {} agreement",
                    agreement.state
                );
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_provider_final_ends_conserved_credits_and_no_forgotten_reservation(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        Watched::run(&steps)?;
    }

    #[test]
    fn every_wait_ends_without_those_who_are_waited_for(steps in prop::collection::vec(step(), 1..100)) {
        let mut watched = Watched::run(&steps)?;
        watched.now += 1_000; // past every deadline
        let stranger = account(99); // neither party nor member
        let ids: Vec<AgreementId> = watched.federation.agreements().map(Agreement::id).collect();
        for id in ids {
            let state = watched.federation.agreement(id).unwrap().state;
            let action = match state {
                State::Open | State::Awarded => Some(Action::Expire { id }),
                State::Deployed => Some(Action::Settle { id }),
                _ => None,
            };
            if let Some(action) = action {
                let done = watched.apply(&Input { caller: stranger, action })?;
                prop_assert!(done.is_ok(), "{state}: {done:?}");
            }
            let agreement = watched.federation.agreement(id).unwrap().clone();
            if agreement.state == State::Confirmed {
                let input = Input { caller: agreement.provider.unwrap(), action: Action::Terminate { id } };
                prop_assert!(watched.apply(&input)?.is_ok());
            }
            let agreement = watched.federation.agreement(id).unwrap();
            prop_assert!(!agreement.state.is_live());
        }
        for number in 1..=MEMBERS + 1 {
            let caller = account(number);
            prop_assert_eq!(watched.federation.live_agreements(caller), 0);
            if !watched.federation.owed(caller).is_zero() {
                let paid = watched.apply(&Input { caller, action: Action::Withdraw { accepted: true } })?;
                prop_assert!(paid.is_ok());
            }
        }
        prop_assert_eq!(watched.paid_in, watched.paid_out, "all that was paid in can be taken out");
        for reservations in watched.reservations.values() {
            prop_assert_eq!(reservations.held().count(), 0, "nothing reserved after the end");
        }
    }

    #[test]
    fn what_lost_a_party_ends_at_once(steps in prop::collection::vec(step(), 1..100), lost in 1..=MEMBERS, wait in 0..20_u64) {
        let mut watched = Watched::run(&steps)?;
        watched.now += wait;
        watched.federation.members.remove(&account(lost));
        let ids: Vec<AgreementId> = watched.federation.agreements().map(Agreement::id).collect();
        for id in ids {
            let agreement = watched.federation.agreement(id).unwrap().clone();
            if !agreement.state.is_live() || !agreement.is_party(account(lost)) {
                continue;
            }
            let expire = Input {
                caller: account(99),
                action: Action::Expire { id },
            };
            // What is due to the provider cannot be had back by expiring; it is settled first.
            if agreement.state == State::Deployed && agreement.confirm_deadline.unwrap() < watched.now {
                prop_assert_eq!(watched.apply(&expire)?, Err(Rejection::NotExpired { id }));
                let settle = Input {
                    caller: account(99),
                    action: Action::Settle { id },
                };
                prop_assert!(watched.apply(&settle)?.is_ok());
            }
            prop_assert!(watched.apply(&expire)?.is_ok());
        }
    }
}

#[test]
fn the_straight_way() {
    let mut watched = Watched::new();
    let id = AgreementId([1; 32]);
    let step = |kind, caller| Step {
        wait: 0,
        caller,
        entitled: false,
        id: 1,
        kind,
        membership: false,
        number: 3,
    };
    for (kind, caller, state) in [
        (0, 1, State::Open),
        (1, 2, State::Open),
        (3, 1, State::Awarded),
        (4, 2, State::Deployed),
        (5, 1, State::Confirmed),
    ] {
        let input = step(kind, caller).input(&watched.federation, watched.now);
        watched.apply(&input).unwrap().unwrap();
        assert_eq!(watched.federation.agreement(id).unwrap().state, state);
    }
    assert_eq!(watched.federation.owed(account(2)), Amount::from(9));
    watched.now += 60;
    let terminate = Input {
        caller: account(1),
        action: Action::Terminate { id },
    };
    assert_eq!(
        watched.apply(&terminate).unwrap().unwrap(),
        Effect::Terminated {
            id,
            by: account(1),
            served_seconds: 60
        }
    );
}
