//! What the ledger's rate of announcements depends on: the storage slots that a call writes, on the committed bytecode.
#![allow(clippy::unwrap_used)]

mod evm;

use alloy::primitives::{B256, U256, keccak256};
use evm::{START, TestChain, account};
use hanse_contracts::{Federation, IFederation};

const TERMS: IFederation::Terms = IFederation::Terms {
    availabilityBps: 9900,
    latencyMs: 50,
    jitterMs: 10,
    bandwidthMbps: 100,
    cpuMillicores: 500,
    ramMb: 256,
    replicas: 2,
};

fn announce(number: u8) -> Federation::announceCall {
    Federation::announceCall {
        announcement: IFederation::Announcement {
            id: B256::repeat_byte(number),
            description: "object detection".into(),
            requirements: TERMS,
            manifestHash: keccak256("manifest"),
            bidDeadline: START + 600,
            deployDeadline: START + 1200,
            confirmWindow: 600,
        },
    }
}

fn bid(number: u8, location: &str) -> Federation::placeBidCall {
    Federation::placeBidCall {
        id: B256::repeat_byte(number),
        pricePerHour: 1000,
        location: location.into(),
        offer: TERMS,
    }
}

/// Number, requirements, hash of the manifest, description, and two slots with all the rest.
#[test]
fn an_announcement_fills_six_slots() {
    let mut chain = TestChain::with_members(4);
    let federation = chain.federation;
    chain.send(account(1), federation, &announce(1), U256::ZERO).unwrap();
    // The count of all agreements and that of the creator's live ones are changed by every announcement.
    assert_eq!(chain.written_slots(account(1), federation, &announce(2)), (6, 2));
}

/// The bidder's place in the list, price and sequence, location, offer.
#[test]
fn a_bid_fills_four_slots_and_its_replacement_none() {
    let mut chain = TestChain::with_members(4);
    let federation = chain.federation;
    chain.send(account(1), federation, &announce(1), U256::ZERO).unwrap();
    let first = bid(1, "Berlin");
    assert_eq!(chain.written_slots(account(2), federation, &first), (4, 1));
    chain.send(account(2), federation, &first, U256::ZERO).unwrap();
    let replacement = bid(1, "Hamburg");
    assert_eq!(chain.written_slots(account(2), federation, &replacement), (0, 3));
}
