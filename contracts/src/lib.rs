//! Hanse's contracts, as Rust sees them: typed bindings and creation code, made from the committed artifacts alone.
//!
//! `contracts/src/*.sol` are the sources; `cargo xtask contracts` compiles them into `contracts/artifacts`, and
//! `cargo xtask contracts --check` proves that the artifacts are what the sources give. Building this crate needs no
//! Solidity compiler.
//!
//! [`Consortium`] is the member list and the validator set, [`Federation`] holds the agreements; what each function
//! promises is written in `src/interfaces/I*.sol`. Types that functions take and return are in the modules
//! [`IConsortium`] and [`IFederation`]; enums are plain numbers there, in the order of the interface.
//!
//! `From` and `TryFrom` lead from the bindings' structs, events and errors to the types of `hanse-agreement`.
//!
//! On an embedded ledger both are created in the genesis block by [`GENESIS_DEPLOYER`], the consortium with nonce 0 and
//! the federation with nonce 1, by running the init code of [`genesis_deployments`]. On any other chain the same init
//! code is sent as two transactions of one account; [`addresses_of`] tells beforehand where they will be, which the
//! constructors need because each contract knows the other.

use alloy::primitives::{Address, Bytes};
use alloy::sol_types::SolConstructor;

#[allow(
    missing_docs,
    clippy::all,
    reason = "generated; the Solidity interfaces are the documentation"
)]
mod bindings {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Consortium,
        "artifacts/Consortium.json"
    );
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Federation,
        "artifacts/Federation.json"
    );
}

mod convert;

pub use bindings::{Consortium, Federation, IConsortium, IFederation};
pub use convert::UnknownState;

/// Creates both contracts in the genesis block. It spells "Hanse genesis": nobody holds a key that hashes to it, so
/// nothing else can ever come from it.
pub const GENESIS_DEPLOYER: Address = Address::new(*b"Hanse genesis\0\0\0\0\0\0\0");

/// Where the two contracts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// The member list.
    pub consortium: Address,
    /// The agreements.
    pub federation: Address,
}

/// One contract to create: run `init_code` as a creation by the deployer at its next nonce; the code is then at `address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Where the deployed code will be.
    pub address: Address,
    /// Creation bytecode followed by the encoded constructor arguments.
    pub init_code: Bytes,
}

/// The addresses on every embedded ledger.
pub fn genesis_addresses() -> Addresses {
    addresses_of(GENESIS_DEPLOYER, 0)
}

/// The addresses if `deployer` creates the consortium at `nonce` and the federation at the nonce after it.
pub fn addresses_of(deployer: Address, nonce: u64) -> Addresses {
    Addresses {
        consortium: deployer.create(nonce),
        federation: deployer.create(nonce + 1),
    }
}

/// What [`GENESIS_DEPLOYER`] creates in the genesis block, in this order: consortium, federation.
///
/// The consortium's constructor reverts (with the errors of `IConsortium`) on a founder that could not be admitted, on
/// none at all and on parameters out of bounds.
pub fn genesis_deployments(
    founders: Vec<IConsortium::MemberInfo>,
    parameters: IConsortium::ConsensusParameters,
) -> [Deployment; 2] {
    let addresses = genesis_addresses();
    [
        Deployment {
            address: addresses.consortium,
            init_code: consortium_init_code(founders, parameters, addresses.federation),
        },
        Deployment {
            address: addresses.federation,
            init_code: federation_init_code(addresses.consortium),
        },
    ]
}

/// Creation code of a [`Consortium`] with these founding members, which will ask `federation` for live agreements.
pub fn consortium_init_code(
    founders: Vec<IConsortium::MemberInfo>,
    parameters: IConsortium::ConsensusParameters,
    federation: Address,
) -> Bytes {
    let arguments = Consortium::constructorCall {
        founders,
        parameters,
        federation_: federation,
    };
    with_arguments(&Consortium::BYTECODE, &arguments)
}

/// Creation code of a [`Federation`] between the members of `consortium`.
pub fn federation_init_code(consortium: Address) -> Bytes {
    let arguments = Federation::constructorCall {
        consortium_: consortium,
    };
    with_arguments(&Federation::BYTECODE, &arguments)
}

/// The code that is at the addresses once both are created there: each contract knows the other as an immutable, for which
/// the compiler leaves a constant of zeros in the code.
pub fn deployed_code(addresses: Addresses) -> [Bytes; 2] {
    [
        with_immutable(&Consortium::DEPLOYED_BYTECODE, addresses.federation),
        with_immutable(&Federation::DEPLOYED_BYTECODE, addresses.consortium),
    ]
}

fn with_immutable(code: &Bytes, immutable: Address) -> Bytes {
    const PUSH32: u8 = 0x7f;
    let mut placeholder = [0; 33];
    placeholder[0] = PUSH32;
    let mut code = code.to_vec();
    let mut at = 0;
    while let Some(next) = code[at..]
        .windows(placeholder.len())
        .position(|window| window == placeholder)
    {
        at += next + placeholder.len();
        code[at - 20..at].copy_from_slice(immutable.as_slice());
    }
    code.into()
}

fn with_arguments(code: &Bytes, arguments: &impl SolConstructor) -> Bytes {
    [code.as_ref(), &arguments.abi_encode()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genesis_addresses_never_change() {
        let addresses = genesis_addresses();
        assert_eq!(
            addresses.consortium.to_string(),
            "0x57183bbE3e288691BE90eDaF54D709403f1f5f5c"
        );
        assert_eq!(
            addresses.federation.to_string(),
            "0x6cDa710afC222d810d07B1B8fcf310179593253e"
        );
    }

    #[test]
    fn code_fits_every_chain() {
        for code in [&Consortium::DEPLOYED_BYTECODE, &Federation::DEPLOYED_BYTECODE] {
            assert!(!code.is_empty() && code.len() < 24_576, "EIP-170: {}", code.len());
        }
    }
}
