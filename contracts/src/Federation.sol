// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {AgreementRecord, AgreementRecords, BidRecord} from "./storage/AgreementRecord.sol";

/// @title Agreements between domains; IFederation says what each function promises.
/// @dev Order of checks in each function: what the call is about, its state, who calls, time, then the arguments. The Rust
///      crate hanse-agreement holds the same transitions in the same order, and a differential test compares the two.
///      Money: `owed` and `escrow` are changed before any coin moves, and coins leave in `withdraw` alone, so the sum of
///      both is the balance between calls and a re-entering receiver finds nothing left.
contract Federation is IFederation {
    using AgreementRecords for AgreementRecord;

    uint256 internal constant MAX_DESCRIPTION = 1024;
    uint256 internal constant MAX_LOCATION = 128;
    uint256 internal constant MAX_REASON = 1024;
    uint256 internal constant MAX_SEALED = 4096;
    uint256 internal constant MAX_BIDS = 64;
    uint256 internal constant MAX_PAGE = 100;

    IConsortium internal immutable _consortium;

    bytes32[] internal _ids;
    mapping(bytes32 id => AgreementRecord) internal _agreements;
    mapping(address account => uint256) internal _owed;
    mapping(address account => uint256) internal _live;

    constructor(address consortium_) {
        _consortium = IConsortium(consortium_);
    }

    // Transitions

    function announce(Announcement calldata announcement) external {
        _requireMember(msg.sender);
        bytes32 id = announcement.id;
        AgreementRecord storage a = _agreements[id];
        if (a.state != State.None) revert IdTaken(id);
        _requireShort(bytes(announcement.description).length, MAX_DESCRIPTION);
        _requireMeaningful(announcement.requirements);
        if (
            announcement.bidDeadline <= block.timestamp || announcement.deployDeadline <= announcement.bidDeadline
                || announcement.confirmWindow == 0
        ) revert InvalidDeadlines();

        a.creator = msg.sender;
        _enter(a, State.Open);
        a.announcedAt = _now();
        a.bidDeadline = announcement.bidDeadline;
        a.deployDeadline = announcement.deployDeadline;
        a.confirmWindow = announcement.confirmWindow;
        a.requirements = announcement.requirements;
        a.manifestHash = announcement.manifestHash;
        a.description = announcement.description;
        _ids.push(id);
        ++_live[msg.sender];
        emit Announced(
            id,
            msg.sender,
            announcement.description,
            announcement.manifestHash,
            announcement.bidDeadline,
            announcement.deployDeadline
        );
    }

    function placeBid(bytes32 id, uint128 pricePerHour, string calldata location, Terms calldata offer) external {
        AgreementRecord storage a = _known(id);
        _requireState(a, id, State.Open);
        _requireMember(msg.sender);
        if (msg.sender == a.creator) revert OwnAgreement(id);
        _requireInTime(id, a.bidDeadline);
        _requireShort(bytes(location).length, MAX_LOCATION);
        _requireMeaningful(offer);

        BidRecord storage bid = a.bids[msg.sender];
        bool replaced = bid.sequence != 0;
        if (!replaced) {
            if (a.bidCount == MAX_BIDS) revert TooManyBids(id);
            a.bidders[a.bidCount++] = msg.sender;
        }
        uint64 sequence = ++a.lastSequence;
        bid.pricePerHour = pricePerHour;
        bid.sequence = sequence;
        bid.location = location;
        bid.offer = offer;
        emit BidPlaced(id, msg.sender, pricePerHour, sequence, replaced);
    }

    function choose(bytes32 id, address bidder, uint64 sequence, uint32 hoursPaid, bytes calldata sealedParameters)
        external
        payable
    {
        AgreementRecord storage a = _known(id);
        _requireState(a, id, State.Open);
        _requireCreator(a, id);
        _requireMember(msg.sender);
        _requireInTime(id, a.deployDeadline);
        BidRecord storage bid = a.bids[bidder];
        if (bid.sequence == 0 || bid.sequence != sequence) revert NoSuchBid(id, bidder);
        _requireMember(bidder);
        _requireShort(sealedParameters.length, MAX_SEALED);
        uint128 pricePerHour = bid.pricePerHour;
        uint256 expected = uint256(pricePerHour) * hoursPaid;
        if (msg.value != expected) revert WrongPayment(expected, msg.value);

        a.provider = bidder;
        a.hoursPaid = hoursPaid;
        a.escrow = msg.value;
        _enter(a, State.Awarded);
        ++_live[bidder];
        emit Awarded(id, bidder, pricePerHour, msg.value, sealedParameters);
    }

    function deployed(bytes32 id, bytes calldata sealedEndpoint) external {
        AgreementRecord storage a = _known(id);
        _requireState(a, id, State.Awarded);
        _requireProvider(a, id);
        _requireMember(msg.sender);
        _requireInTime(id, a.deployDeadline);
        if (sealedEndpoint.length == 0) revert Empty();
        _requireShort(sealedEndpoint.length, MAX_SEALED);

        bytes32 endpointHash = keccak256(sealedEndpoint);
        uint40 confirmDeadline = _now() + a.confirmWindow;
        a.endpointHash = endpointHash;
        a.confirmDeadline = confirmDeadline;
        _enter(a, State.Deployed);
        emit Deployed(id, msg.sender, endpointHash, confirmDeadline, sealedEndpoint);
    }

    function confirm(bytes32 id) external {
        AgreementRecord storage a = _known(id);
        _requireState(a, id, State.Deployed);
        _requireCreator(a, id);
        _release(a, id);
    }

    function settle(bytes32 id) external {
        AgreementRecord storage a = _known(id);
        _requireState(a, id, State.Deployed);
        if (block.timestamp <= a.confirmDeadline) revert ConfirmWindowOpen(id, a.confirmDeadline);
        _release(a, id);
    }

    function cancel(bytes32 id, string calldata reason) external {
        AgreementRecord storage a = _known(id);
        if (a.state != State.Open && a.state != State.Awarded) _requireState(a, id, State.Deployed);
        _requireCreator(a, id);
        if (a.state == State.Deployed) _requireInTime(id, a.confirmDeadline);
        _requireShort(bytes(reason).length, MAX_REASON);
        emit Cancelled(id, msg.sender, _refund(a, State.Cancelled), reason);
    }

    function decline(bytes32 id, string calldata reason) external {
        AgreementRecord storage a = _known(id);
        if (a.state != State.Awarded) _requireState(a, id, State.Deployed);
        _requireProvider(a, id);
        _requireShort(bytes(reason).length, MAX_REASON);
        emit Cancelled(id, msg.sender, _refund(a, State.Cancelled), reason);
    }

    function expire(bytes32 id) external {
        AgreementRecord storage a = _known(id);
        State was = a.state;
        if (was > State.Confirmed) revert WrongState(id, was);
        if (was == State.Deployed && block.timestamp > a.confirmDeadline) revert NotExpired(id);
        if (!_missedDeadline(a) && !_lostParty(a)) revert NotExpired(id);
        emit Expired(id, msg.sender, was, _refund(a, State.Expired));
    }

    function terminate(bytes32 id) external {
        AgreementRecord storage a = _known(id);
        _requireState(a, id, State.Confirmed);
        if (msg.sender != a.creator && msg.sender != a.provider) revert NotParty(id, msg.sender);
        _end(a, State.Terminated);
        emit Terminated(id, msg.sender, _now() - a.confirmedAt);
    }

    function withdraw() external {
        uint256 amount = _owed[msg.sender];
        if (amount == 0) revert NothingOwed(msg.sender);
        _owed[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        (bool sent,) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender);
    }

    // Views

    function consortium() external view returns (address) {
        return address(_consortium);
    }

    function owed(address account) external view returns (uint256) {
        return _owed[account];
    }

    function liveAgreements(address account) external view returns (uint256) {
        return _live[account];
    }

    function agreementCount() external view returns (uint256) {
        return _ids.length;
    }

    function agreement(bytes32 id) external view returns (Agreement memory) {
        return _known(id).toAgreement(id);
    }

    function agreements(uint256 start, uint256 limit) external view returns (Agreement[] memory page) {
        uint256 count = _ids.length;
        uint256 length = start < count ? count - start : 0;
        if (length > limit) length = limit;
        if (length > MAX_PAGE) length = MAX_PAGE;
        page = new Agreement[](length);
        for (uint256 i = 0; i < length; ++i) {
            bytes32 id = _ids[start + i];
            page[i] = _agreements[id].toAgreement(id);
        }
    }

    function bids(bytes32 id) external view returns (Bid[] memory) {
        return _known(id).toBids();
    }

    function details(bytes32 id) external view returns (Agreement memory, Bid[] memory) {
        AgreementRecord storage a = _known(id);
        return (a.toAgreement(id), a.toBids());
    }

    // Shared steps of the transitions

    function _enter(AgreementRecord storage a, State next) internal {
        a.state = next;
        a.changedAt = _now();
    }

    /// Leaves the live states for ever.
    function _end(AgreementRecord storage a, State end) internal {
        --_live[a.creator];
        if (a.provider != address(0)) --_live[a.provider];
        _enter(a, end);
    }

    function _refund(AgreementRecord storage a, State end) internal returns (uint256 refunded) {
        refunded = a.escrow;
        a.escrow = 0;
        _owed[a.creator] += refunded;
        _end(a, end);
    }

    function _release(AgreementRecord storage a, bytes32 id) internal {
        uint256 released = a.escrow;
        a.escrow = 0;
        _owed[a.provider] += released;
        a.confirmedAt = _now();
        _enter(a, State.Confirmed);
        emit Confirmed(id, msg.sender, released);
    }

    function _missedDeadline(AgreementRecord storage a) internal view returns (bool) {
        if (a.state == State.Open && a.bidCount == 0) return block.timestamp > a.bidDeadline;
        if (a.state == State.Open || a.state == State.Awarded) return block.timestamp > a.deployDeadline;
        return false;
    }

    function _lostParty(AgreementRecord storage a) internal view returns (bool) {
        return !_consortium.isMember(a.creator) || (a.provider != address(0) && !_consortium.isMember(a.provider));
    }

    /// Time of the block; AgreementRecord says why 40 bits hold it.
    function _now() internal view returns (uint40) {
        return uint40(block.timestamp);
    }

    // Checks

    function _known(bytes32 id) internal view returns (AgreementRecord storage a) {
        a = _agreements[id];
        if (a.state == State.None) revert UnknownAgreement(id);
    }

    function _requireMember(address account) internal view {
        if (!_consortium.isMember(account)) revert NotMember(account);
    }

    function _requireState(AgreementRecord storage a, bytes32 id, State wanted) internal view {
        if (a.state != wanted) revert WrongState(id, a.state);
    }

    function _requireCreator(AgreementRecord storage a, bytes32 id) internal view {
        if (msg.sender != a.creator) revert NotCreator(id, msg.sender);
    }

    function _requireProvider(AgreementRecord storage a, bytes32 id) internal view {
        if (msg.sender != a.provider) revert NotProvider(id, msg.sender);
    }

    function _requireInTime(bytes32 id, uint64 deadline) internal view {
        if (block.timestamp > deadline) revert DeadlinePassed(id, deadline);
    }

    function _requireShort(uint256 length, uint256 limit) internal pure {
        if (length > limit) revert TooLong(length, limit);
    }

    function _requireMeaningful(Terms calldata terms) internal pure {
        if (terms.replicas == 0 || terms.availabilityBps > 10_000) revert InvalidTerms();
    }
}
