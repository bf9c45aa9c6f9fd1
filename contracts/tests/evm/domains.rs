//! What domains do with the consortium, each in a block of its own.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;
use hanse_contracts::Consortium::{self, ConsortiumErrors as Refused};
use hanse_contracts::{Federation, IConsortium, IFederation};

use super::{Reverted, TestChain, account, member};

impl TestChain {
    /// `from` sends `call` to the consortium, in a block of its own, one second later.
    pub fn act<C: SolCall>(&mut self, from: u8, call: &C) -> Result<C::Return, Reverted> {
        self.advance(1);
        self.act_in_same_block(from, call)
    }

    pub fn act_in_same_block<C: SolCall>(&mut self, from: u8, call: &C) -> Result<C::Return, Reverted> {
        self.send(account(from), self.consortium, call, U256::ZERO)
            .map(|(value, _)| value)
    }

    pub fn refused<C: SolCall>(&mut self, from: u8, call: &C) -> Refused {
        match self.act(from, call) {
            Ok(_) => panic!("accepted"),
            Err(reverted) => reverted.consortium(),
        }
    }

    pub fn propose_admission(&mut self, from: u8, candidate: u8) -> Result<U256, Reverted> {
        self.act(
            from,
            &Consortium::proposeAdmissionCall {
                candidate: member(candidate),
            },
        )
    }

    pub fn propose_removal(&mut self, from: u8, target: u8, accept: bool) -> Result<U256, Reverted> {
        self.act(from, &removal(target, accept))
    }

    pub fn approve(&mut self, from: u8, id: U256) -> Result<(), Reverted> {
        self.act(from, &Consortium::approveCall { id }).map(|_| ())
    }

    pub fn members(&mut self) -> Vec<Address> {
        let members = self.ask(self.consortium, &Consortium::membersCall {}).unwrap();
        members.into_iter().map(|member| member.info.account).collect()
    }

    pub fn is_member(&mut self, number: u8) -> bool {
        self.ask(
            self.consortium,
            &Consortium::isMemberCall {
                account: account(number),
            },
        )
        .unwrap()
    }

    pub fn proposal(&mut self, id: U256) -> IConsortium::Proposal {
        self.ask(self.consortium, &Consortium::proposalCall { id }).unwrap()
    }

    pub fn open_proposals(&mut self) -> Vec<U256> {
        let open = self.ask(self.consortium, &Consortium::openProposalsCall {}).unwrap();
        open.into_iter().map(|proposal| proposal.id).collect()
    }

    pub fn announce(&mut self, from: u8, id: u8) {
        let announcement = IFederation::Announcement {
            id: B256::repeat_byte(id),
            description: String::new(),
            requirements: IFederation::Terms { replicas: 1, ..terms() },
            manifestHash: B256::ZERO,
            bidDeadline: self.now + 10,
            deployDeadline: self.now + 20,
            confirmWindow: 10,
        };
        let call = Federation::announceCall { announcement };
        self.send(account(from), self.federation, &call, U256::ZERO).unwrap();
    }
}

fn terms() -> IFederation::Terms {
    IFederation::Terms {
        availabilityBps: 0,
        latencyMs: 0,
        jitterMs: 0,
        bandwidthMbps: 0,
        cpuMillicores: 0,
        ramMb: 0,
        replicas: 1,
    }
}

pub fn removal(target: u8, accept: bool) -> Consortium::proposeRemovalCall {
    Consortium::proposeRemovalCall {
        target: account(target),
        acceptFewerThanFour: accept,
    }
}

pub fn leave(accept: bool) -> Consortium::leaveCall {
    Consortium::leaveCall {
        acceptFewerThanFour: accept,
    }
}
