//! Both contracts on a chain of one process: revm over a database in memory, one transaction at a time. The chain makes no
//! step by itself; tests set block and time. Gas costs nothing.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use a part"
)]

pub mod domains;

use alloy::primitives::{Address, B256, Bytes, Log, TxKind, U256};
use alloy::sol_types::{SolCall, SolInterface};
use hanse_contracts::Consortium::ConsortiumErrors;
use hanse_contracts::{GENESIS_DEPLOYER, IConsortium, addresses_of, consortium_init_code, federation_init_code};
use revm::bytecode::Bytecode;
use revm::context::result::{ExecutionResult, Output};
use revm::context::{BlockEnv, Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::handler::{MainnetContext, MainnetEvm};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{Database, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext};

type Db = CacheDB<EmptyDB>;

/// Time of the first block, Unix seconds.
pub const START: u64 = 1_800_000_000;

/// Code that refuses every call, and so every coin: PUSH0 PUSH0 REVERT.
pub const REFUSES: &[u8] = &[0x5f, 0x5f, 0xfd];

/// Code that, when called, calls `withdraw()` of its caller, ignores what comes of it, and keeps the coins.
pub const REENTERS: &[u8] = &[
    0x63, 0x3c, 0xcf, 0xd6, 0x0b, // PUSH4 selector of withdraw()
    0x60, 0xe0, 0x1b, 0x5f, 0x52, // PUSH1 224 SHL PUSH0 MSTORE: to the start of memory
    0x5f, 0x5f, 0x60, 0x04, 0x5f, 0x5f, // no output; 4 bytes of input from 0; no value
    0x33, 0x5a, 0xf1, // CALLER GAS CALL
    0x50, 0x00, // POP STOP
];

/// Where the chain is, and how to speak to it.
pub struct TestChain {
    evm: MainnetEvm<MainnetContext<Db>>,
    pub consortium: Address,
    pub federation: Address,
    pub now: u64,
    pub block: u64,
}

/// What a reverted call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverted(pub Bytes);

impl Reverted {
    /// As an error of the consortium.
    pub fn consortium(&self) -> ConsortiumErrors {
        ConsortiumErrors::abi_decode(&self.0).unwrap()
    }
}

/// A founder or candidate that can be admitted: everything follows from `number`.
pub fn member(number: u8) -> IConsortium::MemberInfo {
    IConsortium::MemberInfo {
        account: account(number),
        validatorKey: B256::repeat_byte(number),
        sealingKey: B256::repeat_byte(100 + number),
        name: format!("domain-{number}"),
        consensusAddress: format!("/ip4/192.0.2.{number}/tcp/26656"),
        peerId: String::new(),
        url: format!("https://192.0.2.{number}"),
    }
}

/// The account of [`member`].
pub fn account(number: u8) -> Address {
    Address::repeat_byte(0xa0 + number)
}

pub const PARAMETERS: IConsortium::ConsensusParameters = IConsortium::ConsensusParameters {
    proposeMs: 300,
    proposeDeltaMs: 100,
    voteMs: 100,
    voteDeltaMs: 50,
    heartbeatMs: 5000,
};

impl TestChain {
    /// Both contracts, created in block 0, with members 1 to `members`.
    pub fn with_members(members: u8) -> Self {
        Self::with_founders((1..=members).map(member).collect(), PARAMETERS).unwrap()
    }

    /// Both contracts, created in block 0 as on an embedded ledger, or why the consortium's constructor refused.
    pub fn with_founders(
        founders: Vec<IConsortium::MemberInfo>,
        parameters: IConsortium::ConsensusParameters,
    ) -> Result<Self, Reverted> {
        let addresses = addresses_of(GENESIS_DEPLOYER, 0);
        let mut chain = Self {
            evm: evm(Db::new(EmptyDB::new())),
            consortium: addresses.consortium,
            federation: addresses.federation,
            now: START,
            block: 0,
        };
        let codes = [
            consortium_init_code(founders, parameters, addresses.federation),
            federation_init_code(addresses.consortium),
        ];
        for (nonce, (code, expected)) in (0..).zip(codes.into_iter().zip([addresses.consortium, addresses.federation]))
        {
            let creation = TxEnv {
                nonce,
                ..chain.transaction(GENESIS_DEPLOYER, TxKind::Create, code, U256::ZERO)
            };
            match chain.commit(creation)? {
                (Output::Create(_, Some(created)), _) => assert_eq!(created, expected),
                (other, _) => panic!("creation gave {other:?}"),
            }
        }
        chain.block = 1;
        Ok(chain)
    }

    /// The same chain once more; both go their own way from here.
    pub fn fork(&self) -> Self {
        Self {
            evm: evm(self.evm.ctx.journaled_state.database.clone()),
            ..*self
        }
    }

    /// Gives an account coins and makes it run `code` when it is called, as an account does that delegates (EIP-7702).
    pub fn endow(&mut self, account: Address, balance: U256, code: &[u8]) {
        let mut info = AccountInfo::from_balance(balance);
        if !code.is_empty() {
            let delegate = Address::from_word(alloy::primitives::keccak256(code));
            let code = AccountInfo::from_bytecode(Bytecode::new_raw(Bytes::copy_from_slice(code)));
            self.database().insert_account_info(delegate, code);
            let delegation = [&[0xef, 0x01, 0x00], delegate.as_slice()].concat();
            info = AccountInfo::from_bytecode(Bytecode::new_raw(delegation.into())).with_balance(balance);
        }
        self.database().insert_account_info(account, info);
    }

    pub fn balance(&mut self, account: Address) -> U256 {
        self.database()
            .basic(account)
            .unwrap()
            .map_or(U256::ZERO, |info| info.balance)
    }

    /// Sends a transaction to the contract; its return value and logs, or what it reverted with.
    pub fn send<C: SolCall>(
        &mut self,
        from: Address,
        to: Address,
        call: &C,
        value: U256,
    ) -> Result<(C::Return, Vec<Log>), Reverted> {
        let transaction = self.transaction(from, TxKind::Call(to), call.abi_encode().into(), value);
        let (output, logs) = self.commit(transaction)?;
        Ok((C::abi_decode_returns(output.data()).unwrap(), logs))
    }

    /// Asks a view.
    pub fn ask<C: SolCall>(&mut self, to: Address, call: &C) -> Result<C::Return, Reverted> {
        let transaction = self.transaction(Address::ZERO, TxKind::Call(to), call.abi_encode().into(), U256::ZERO);
        self.set_block();
        let result = self.evm.transact(transaction).unwrap().result;
        Ok(C::abi_decode_returns(succeeded(result)?.0.data()).unwrap())
    }

    /// How many empty storage slots of the contract a transaction would fill, and how many filled ones it would change.
    pub fn written_slots<C: SolCall>(&mut self, from: Address, to: Address, call: &C) -> (usize, usize) {
        let transaction = self.transaction(from, TxKind::Call(to), call.abi_encode().into(), U256::ZERO);
        self.set_block();
        let outcome = self.evm.transact(transaction).unwrap();
        succeeded(outcome.result).unwrap();
        let slots = outcome.state[&to].storage.values().filter(|slot| slot.is_changed());
        let (filled, changed): (Vec<_>, Vec<_>) = slots.partition(|slot| slot.original_value().is_zero());
        (filled.len(), changed.len())
    }

    /// One block and so many seconds later.
    pub fn advance(&mut self, seconds: u64) {
        self.block += 1;
        self.now += seconds;
    }

    fn database(&mut self) -> &mut Db {
        &mut self.evm.ctx.journaled_state.database
    }

    fn transaction(&self, caller: Address, kind: TxKind, data: Bytes, value: U256) -> TxEnv {
        TxEnv {
            caller,
            kind,
            data,
            value,
            gas_limit: 500_000_000,
            chain_id: Some(1),
            ..TxEnv::default()
        }
    }

    fn commit(&mut self, transaction: TxEnv) -> Result<(Output, Vec<Log>), Reverted> {
        self.set_block();
        succeeded(self.evm.transact_commit(transaction).unwrap())
    }

    fn set_block(&mut self) {
        self.evm.set_block(BlockEnv {
            number: U256::from(self.block),
            timestamp: U256::from(self.now),
            gas_limit: u64::MAX,
            prevrandao: Some(B256::ZERO),
            ..BlockEnv::default()
        });
    }
}

fn evm(db: Db) -> MainnetEvm<MainnetContext<Db>> {
    Context::mainnet()
        .with_db(db)
        .modify_cfg_chained(|cfg| {
            cfg.set_spec_and_mainnet_gas_params(SpecId::PRAGUE);
            cfg.disable_nonce_check = true;
        })
        .build_mainnet()
}

fn succeeded(result: ExecutionResult) -> Result<(Output, Vec<Log>), Reverted> {
    match result {
        ExecutionResult::Success { output, logs, .. } => Ok((output, logs)),
        ExecutionResult::Revert { output, .. } => Err(Reverted(output)),
        ExecutionResult::Halt { reason, .. } => panic!("halted: {reason:?}"),
    }
}
