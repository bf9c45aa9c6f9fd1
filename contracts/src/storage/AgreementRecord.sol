// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IFederation} from "../interfaces/IFederation.sol";

/// A bid as Federation keeps it, under its bidder.
struct BidRecord {
    uint128 pricePerHour;
    uint64 sequence; // zero: no bid
    string location;
    IFederation.Terms offer;
}

/// An agreement as Federation keeps it, under its id. The order of the fields makes the slots: what changes together lies
/// together, and an announcement fills five slots of the record where its description is shorter than 32 bytes.
///
/// What is narrower here than in IFederation can't overflow:
/// times of blocks, in seconds, have 40 bits until the year 36812, and so has `confirmDeadline`, which is one of them and a
/// window of 32 bits; bids are at most 64; each `sequence` costs a transaction, and no chain has room for 2^48 of them.
/// Deadlines that an announcement gives may be any number, so they keep their 64 bits.
struct AgreementRecord {
    // Each change of state. 31 bytes
    address creator;
    IFederation.State state;
    uint40 changedAt;
    uint40 confirmDeadline;
    // Each bid. 32 bytes
    uint40 announcedAt;
    uint64 bidDeadline;
    uint64 deployDeadline;
    uint32 confirmWindow;
    uint8 bidCount;
    uint48 lastSequence;
    // Never again
    IFederation.Terms requirements;
    bytes32 manifestHash;
    string description;
    // From the choice on. 29 bytes
    address provider;
    uint32 hoursPaid;
    uint40 confirmedAt;
    uint256 escrow;
    bytes32 endpointHash;
    /// In the order of their first bids, from 0 to bidCount - 1.
    mapping(uint256 position => address) bidders;
    mapping(address bidder => BidRecord) bids;
}

/// @title Records as IFederation shows them.
library AgreementRecords {
    function toAgreement(AgreementRecord storage r, bytes32 id)
        internal
        view
        returns (IFederation.Agreement memory a)
    {
        a.announcement = IFederation.Announcement({
            id: id,
            description: r.description,
            requirements: r.requirements,
            manifestHash: r.manifestHash,
            bidDeadline: r.bidDeadline,
            deployDeadline: r.deployDeadline,
            confirmWindow: r.confirmWindow
        });
        a.state = r.state;
        a.creator = r.creator;
        a.provider = r.provider;
        // No bid changes once one is chosen; before that the provider is the zero address, which has none.
        a.pricePerHour = r.bids[r.provider].pricePerHour;
        a.hoursPaid = r.hoursPaid;
        a.escrow = r.escrow;
        a.endpointHash = r.endpointHash;
        a.confirmDeadline = r.confirmDeadline;
        a.bidCount = r.bidCount;
        a.announcedAt = r.announcedAt;
        a.changedAt = r.changedAt;
        a.confirmedAt = r.confirmedAt;
    }

    function toBids(AgreementRecord storage r) internal view returns (IFederation.Bid[] memory bids) {
        bids = new IFederation.Bid[](r.bidCount);
        for (uint256 i = 0; i < bids.length; ++i) {
            address bidder = r.bidders[i];
            BidRecord storage bid = r.bids[bidder];
            bids[i] = IFederation.Bid({
                bidder: bidder,
                pricePerHour: bid.pricePerHour,
                sequence: bid.sequence,
                location: bid.location,
                offer: bid.offer
            });
        }
    }
}
