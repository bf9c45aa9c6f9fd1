//! A ledger with real validator keys whose blocks are certified without running consensus, and whose members come and go.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolCall;
use hanse_chain::application::{Application, Durability};
use hanse_chain::consensus::certify;
use hanse_chain::genesis::{Genesis, MemberInfo};
use hanse_chain::key::ValidatorKey;
use hanse_chain::ledger::Ledger;
use hanse_contracts::{Consortium, genesis_addresses};

use crate::support::{announce, call, genesis, key, now_ms, signed};

pub struct Founders {
    pub ledger: Arc<Ledger>,
    pub genesis: Genesis,
    keys: BTreeMap<u8, ValidatorKey>,
    every: BTreeMap<u8, ValidatorKey>,
    announced: u64,
}

impl Founders {
    pub fn start(folder: &Path, members: u8) -> Self {
        let keys: BTreeMap<u8, ValidatorKey> = (0..members).map(|n| (n, ValidatorKey::generate())).collect();
        let mut genesis = genesis(members);
        for (member, key) in genesis.members.iter_mut().zip(keys.values()) {
            member.validator_key = key.public_key().into();
        }
        Self {
            ledger: Ledger::open(folder, &genesis).unwrap(),
            genesis,
            every: keys.clone(),
            keys,
            announced: 0,
        }
    }

    pub fn origin(&self) -> B256 {
        self.genesis.hash().unwrap()
    }

    /// The first key of a member, even if it has left or has another.
    pub fn key_of(&self, member: u8) -> ValidatorKey {
        self.every[&member].clone()
    }

    fn nonce(&self, member: u8) -> u64 {
        let account = self.ledger.head().snapshot().account(key(member).address()).unwrap();
        account.map_or(0, |account| account.nonce)
    }

    fn send(&self, member: u8, input: Vec<u8>) {
        let transaction = call(self.nonce(member), genesis_addresses().consortium, input);
        self.ledger
            .submit(&signed(&key(member), transaction).encoded_2718())
            .unwrap();
    }

    /// A block of what waits, certified by all validators.
    pub fn block(&self) {
        let proposer: Address = self.ledger.rules().unwrap().proposers[0];
        let block = self.ledger.build(proposer, now_ms()).unwrap();
        let height = self.ledger.tip().height + 1;
        let keys: Vec<ValidatorKey> = self.keys.values().cloned().collect();
        let certificate = certify(self.origin(), height, self.ledger.block_id(&block).unwrap(), &keys);
        assert_eq!(
            self.ledger
                .commit(&block, &certificate, Durability::Immediate)
                .unwrap()
                .height,
            height
        );
    }

    pub fn empty_blocks(&self, blocks: u64) {
        (0..blocks).for_each(|_| self.block());
    }

    /// So many announcements of a member, in blocks of 40.
    pub fn announce(&mut self, member: u8, announcements: u64) {
        let mut left = announcements;
        while left > 0 {
            let (first, now) = (self.nonce(member), left.min(40));
            for n in 0..now {
                self.announced += 1;
                let id = keccak256(self.announced.to_be_bytes());
                self.ledger.submit(&announce(member, first + n, id)).unwrap();
            }
            self.block();
            assert_eq!(self.nonce(member), first + now);
            left -= now;
        }
    }

    /// Three vote for a new member.
    pub fn admit(&mut self, member: u8) {
        let new = ValidatorKey::generate();
        let info = MemberInfo {
            account: key(member).address(),
            validator_key: new.public_key().into(),
            sealing_key: keccak256([b's', member]),
            name: format!("domain-{member}"),
            consensus_address: format!("/ip4/127.0.0.1/tcp/{}", 27_000 + u16::from(member)),
            peer_id: String::new(),
            url: String::new(),
        };
        let candidate = (&info).into();
        self.send(1, Consortium::proposeAdmissionCall { candidate }.abi_encode());
        self.block();
        for voter in [2, 3] {
            self.send(voter, Consortium::approveCall { id: U256::from(1) }.abi_encode());
            self.block();
        }
        self.keys.insert(member, new.clone());
        self.every.insert(member, new);
        self.check();
    }

    pub fn rotate(&mut self, member: u8) {
        let new = ValidatorKey::generate();
        let input = Consortium::rotateValidatorKeyCall {
            newKey: new.public_key().into(),
        };
        self.send(member, input.abi_encode());
        self.block();
        self.keys.insert(member, new);
        self.check();
    }

    pub fn leave(&mut self, member: u8) {
        let input = Consortium::leaveCall {
            acceptFewerThanFour: false,
        };
        self.send(member, input.abi_encode());
        self.block();
        self.keys.remove(&member);
        self.check();
    }

    /// A fifth is admitted, one gets another key, and one leaves.
    pub fn live(&mut self) {
        self.admit(4);
        self.announce(1, 5);
        self.rotate(1);
        self.empty_blocks(30);
        self.leave(3);
        self.announce(2, 40);
    }

    /// The contract says what this test believes.
    fn check(&self) {
        let rules = self.ledger.rules().unwrap();
        let mut theirs: Vec<[u8; 32]> = rules.validators.iter().map(|validator| validator.key).collect();
        let mut ours: Vec<[u8; 32]> = self.keys.values().map(ValidatorKey::public_key).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(theirs, ours);
    }
}

/// A ledger of four founders, to which a fifth was admitted, of which one has another key, and that one has left.
pub fn lived(folder: &Path) -> Founders {
    let mut founders = Founders::start(folder, 4);
    founders.announce(0, 3);
    founders.live();
    founders
}
