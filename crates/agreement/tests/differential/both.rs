//! The model and the contract side by side.

use std::collections::BTreeMap;

use alloy::primitives::{Address, Log, U256};
use alloy::sol_types::{SolCall, SolEventInterface, SolInterface};
use hanse_agreement::{
    Account, Action, Agreement, AgreementId, Amount, Bid, Effect, Federation as Model, Input, Price, Rejection, apply,
};
use hanse_contracts::Federation::{self, FederationErrors, FederationEvents};
use rand::Rng;
use rand::rngs::StdRng;

use crate::evm::{REENTERS, REFUSES, TestChain, account};
use crate::generate;

/// Members from the start: four ordinary ones, one that refuses coins, one that calls back when paid.
pub const MEMBERS: u8 = 6;
/// Refuses coins.
pub const REFUSER: u8 = 5;
/// Calls `withdraw` again while it is paid.
pub const REENTERER: u8 = 6;
/// All that call; the last is no member unless voted in.
pub const CALLERS: u8 = 7;

pub struct Both {
    chain: TestChain,
    pub model: Model,
    /// What each account has, as the model sees it: wealth, less what it paid, and what it withdrew.
    wallets: BTreeMap<Account, U256>,
    pub context: String,
}

/// Enough for the dearest bid for the longest time.
fn wealth() -> U256 {
    U256::from(1) << 200
}

pub fn name(number: u8) -> Account {
    Account(account(number).into_array())
}

fn address(account: Account) -> Address {
    Address::from(account.0)
}

fn wei(amount: Amount) -> U256 {
    U256::from_be_bytes(amount.to_be_bytes())
}

impl Both {
    pub fn new() -> Self {
        let mut chain = TestChain::with_members(MEMBERS);
        for number in 1..=CALLERS {
            let code = match number {
                REFUSER => REFUSES,
                REENTERER => REENTERS,
                _ => &[],
            };
            chain.endow(account(number), wealth(), code);
        }
        Self {
            chain,
            model: Model::new((1..=MEMBERS).map(name)),
            wallets: (1..=CALLERS).map(|number| (name(number), wealth())).collect(),
            context: String::new(),
        }
    }

    pub fn fork(&self) -> Self {
        Self {
            chain: self.chain.fork(),
            model: self.model.clone(),
            wallets: self.wallets.clone(),
            context: self.context.clone(),
        }
    }

    pub fn now(&self) -> u64 {
        self.chain.now
    }

    pub fn advance(&mut self, seconds: u64) {
        self.chain.advance(seconds);
    }

    /// Votes a member out, or someone in, by the members' calls to the consortium.
    pub fn vote(&mut self, random: &mut StdRng) {
        let number = random.random_range(1..=CALLERS);
        if !self.chain.is_member(number) {
            self.admit(number);
        } else if self.model.members.len() > 4 {
            self.chain_vote(number, |chain, proposer| {
                chain.propose_removal(proposer, number, true).unwrap()
            });
            self.model.members.remove(&name(number));
        }
    }

    fn admit(&mut self, number: u8) {
        self.chain_vote(number, |chain, proposer| {
            chain.propose_admission(proposer, number).unwrap()
        });
        self.model.members.insert(name(number));
    }

    fn chain_vote(&mut self, about: u8, propose: impl Fn(&mut TestChain, u8) -> U256) {
        let now = self.chain.now;
        let before = self.chain.is_member(about);
        let voters: Vec<u8> = (1..=64)
            .filter(|number| *number != about && self.model.members.contains(&name(*number)))
            .collect();
        let id = propose(&mut self.chain, voters[0]);
        for voter in &voters[1..] {
            if self.chain.is_member(about) != before {
                break;
            }
            self.chain.approve(*voter, id).unwrap();
        }
        assert_ne!(self.chain.is_member(about), before);
        self.chain.now = now; // only blocks have passed
    }

    pub fn admit_up_to(&mut self, members: u8) {
        for number in MEMBERS + 1..=members {
            self.admit(number);
        }
    }

    /// Sends `input` through both and compares; the name of the event or error.
    pub fn step(&mut self, input: &Input) -> String {
        let context = format!("{}: {input:?} at {}", self.context, self.chain.now);
        let expected = apply(&self.model, input, self.chain.now);
        let answer = self.execute(input);
        let outcome = match (expected, answer) {
            (Ok((next, effects)), Ok(events)) => {
                assert_eq!(events, effects, "{context}");
                self.pay(input, &effects);
                self.model = next;
                first_word(&effects[0])
            }
            (Err(expected), Err(found)) => {
                assert_eq!(found, expected, "{context}");
                first_word(&expected)
            }
            (expected, found) => panic!("{context}: the model says {expected:?}, the contract {found:?}"),
        };
        self.compare(input, &context);
        outcome
    }

    fn pay(&mut self, input: &Input, effects: &[Effect]) {
        let wallet = self.wallets.entry(input.caller).or_default();
        for effect in effects {
            match effect {
                Effect::Awarded { escrow, .. } => *wallet -= wei(*escrow),
                Effect::Withdrawn { amount, .. } => *wallet += wei(*amount),
                _ => {}
            }
        }
    }

    fn execute(&mut self, input: &Input) -> Result<Vec<Effect>, Rejection> {
        let bytes32 = |id: &AgreementId| id.0.into();
        let zero = U256::ZERO;
        let caller = input.caller;
        match &input.action {
            Action::Announce(announcement) => self.call(
                caller,
                &Federation::announceCall {
                    announcement: announcement.clone().into(),
                },
                zero,
            ),
            Action::PlaceBid {
                id,
                price_per_hour,
                location,
                offer,
            } => {
                let call = Federation::placeBidCall {
                    id: bytes32(id),
                    pricePerHour: price_per_hour.0,
                    location: location.clone(),
                    offer: (*offer).into(),
                };
                self.call(caller, &call, zero)
            }
            Action::Choose {
                id,
                bidder,
                sequence,
                hours_paid,
                sealed_parameters,
                payment,
            } => {
                let call = Federation::chooseCall {
                    id: bytes32(id),
                    bidder: address(*bidder),
                    sequence: *sequence,
                    hoursPaid: *hours_paid,
                    sealedParameters: sealed_parameters.clone().into(),
                };
                self.call(caller, &call, wei(*payment))
            }
            Action::Deployed { id, sealed_endpoint } => {
                let sealed = sealed_endpoint.clone().into();
                self.call(
                    caller,
                    &Federation::deployedCall {
                        id: bytes32(id),
                        sealedEndpoint: sealed,
                    },
                    zero,
                )
            }
            Action::Confirm { id } => self.call(caller, &Federation::confirmCall { id: bytes32(id) }, zero),
            Action::Cancel { id, reason } => self.call(
                caller,
                &Federation::cancelCall {
                    id: bytes32(id),
                    reason: reason.clone(),
                },
                zero,
            ),
            Action::Decline { id, reason } => self.call(
                caller,
                &Federation::declineCall {
                    id: bytes32(id),
                    reason: reason.clone(),
                },
                zero,
            ),
            Action::Expire { id } => self.call(caller, &Federation::expireCall { id: bytes32(id) }, zero),
            Action::Settle { id } => self.call(caller, &Federation::settleCall { id: bytes32(id) }, zero),
            Action::Terminate { id } => self.call(caller, &Federation::terminateCall { id: bytes32(id) }, zero),
            Action::Withdraw { .. } => self.call(caller, &Federation::withdrawCall {}, zero),
        }
    }

    fn call<C: SolCall>(&mut self, caller: Account, call: &C, value: U256) -> Result<Vec<Effect>, Rejection> {
        match self.chain.send(address(caller), self.chain.federation, call, value) {
            Ok((_, logs)) => Ok(logs.iter().map(effect).collect()),
            Err(reverted) => {
                let error = FederationErrors::abi_decode(&reverted.0);
                let error = error.unwrap_or_else(|_| panic!("not an error of the interface: {}", reverted.0));
                Err(error.try_into().unwrap())
            }
        }
    }

    /// Compares all that `input` can have changed.
    fn compare(&mut self, input: &Input, context: &str) {
        if let Some(id) = generate::id_of(&input.action) {
            self.compare_agreement(id, context);
        }
        self.compare_money(context);
    }

    fn compare_agreement(&mut self, id: AgreementId, context: &str) {
        let call = Federation::detailsCall { id: id.0.into() };
        let found: Option<(Agreement, Vec<Bid>)> = self.chain.ask(self.chain.federation, &call).ok().map(|details| {
            (
                details._0.try_into().unwrap(),
                details._1.into_iter().map(Into::into).collect(),
            )
        });
        let expected = self
            .model
            .agreement(id)
            .map(|agreement| (agreement.clone(), self.model.bids(id).to_vec()));
        assert_eq!(found, expected, "{context}");
    }

    fn compare_money(&mut self, context: &str) {
        for number in 1..=CALLERS {
            let (on_chain, in_model) = (account(number), name(number));
            let owed = self
                .chain
                .ask(self.chain.federation, &Federation::owedCall { account: on_chain })
                .unwrap();
            assert_eq!(owed, wei(self.model.owed(in_model)), "{context}: owed to {number}");
            let live = Federation::liveAgreementsCall { account: on_chain };
            let live = self.chain.ask(self.chain.federation, &live).unwrap();
            assert_eq!(
                live,
                U256::from(self.model.live_agreements(in_model)),
                "{context}: live of {number}"
            );
            assert_eq!(
                self.chain.balance(on_chain),
                self.wallets[&in_model],
                "{context}: wallet of {number}"
            );
        }
        let held = self.chain.balance(self.chain.federation);
        assert_eq!(
            held,
            wei(self.model.balance()),
            "{context}: escrow and debts are not what is held"
        );
    }

    pub fn compare_everything(&mut self) {
        let context = self.context.clone();
        let ids: Vec<AgreementId> = self.model.agreements().map(Agreement::id).collect();
        for id in &ids {
            self.compare_agreement(*id, &context);
        }
        let count = self
            .chain
            .ask(self.chain.federation, &Federation::agreementCountCall {})
            .unwrap();
        assert_eq!(count, U256::from(ids.len()), "{context}");
        let page = Federation::agreementsCall {
            start: U256::ZERO,
            limit: U256::from(100),
        };
        let mut page: Vec<Agreement> = self
            .chain
            .ask(self.chain.federation, &page)
            .unwrap()
            .into_iter()
            .map(|agreement| agreement.try_into().unwrap())
            .collect();
        page.sort_by_key(Agreement::id);
        assert_eq!(page, self.model.agreements().cloned().collect::<Vec<_>>(), "{context}");
    }

    /// Every member bids, one leaves, another takes its place and finds no room; a replacement does.
    pub fn fill_with_bids(&mut self) {
        let id = AgreementId([1; 32]);
        let announcement = generate::announcement(id, self.now());
        let bid = |number: u8| Input {
            caller: name(number),
            action: Action::PlaceBid {
                id,
                price_per_hour: Price(number.into()),
                location: String::new(),
                offer: announcement.requirements,
            },
        };
        let announce = Input {
            caller: name(1),
            action: Action::Announce(announcement.clone()),
        };
        assert_eq!(self.step(&announce), "Announced");
        for number in 2..=64 {
            assert_eq!(self.step(&bid(number)), "BidPlaced");
        }
        for number in [64, 63] {
            self.chain_vote(number, |chain, proposer| {
                chain.propose_removal(proposer, number, false).unwrap()
            });
            self.model.members.remove(&name(number));
        }
        self.admit(65);
        self.admit(66);
        assert_eq!(self.step(&bid(65)), "BidPlaced");
        assert_eq!(self.step(&bid(66)), "TooManyBids");
        assert_eq!(self.step(&bid(2)), "BidPlaced");
    }
}

fn effect(log: &Log) -> Effect {
    FederationEvents::decode_log(log).unwrap().data.try_into().unwrap()
}

/// The name of a variant.
fn first_word(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(']).next().unwrap().to_owned()
}
