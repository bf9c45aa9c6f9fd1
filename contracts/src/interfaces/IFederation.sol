// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.0;

/// @title Agreements between domains on running a service.
/// @notice Open --choose--> Awarded --deployed--> Deployed --confirm|settle--> Confirmed --terminate--> Terminated.
///         Before Confirmed the creator may cancel (also within the confirmation window of Deployed) and the provider
///         decline; anyone may expire what missed its deadline or lost a party, and settle what the creator left
///         unanswered; so at any moment someone other than the one waited for can end a wait. Money is the chain's own coin, held
///         here, and paid out by `withdraw` alone.
/// @dev Times are Unix seconds of the block. A deadline is the last second in which the act is still in time.
interface IFederation {
    enum State { None, Open, Awarded, Deployed, Confirmed, Terminated, Cancelled, Expired }

    /// What a service needs, and what a bid offers: the same fields so that they compare one by one.
    /// availabilityBps: hundredths of a percent, 9999 = 99.99 %; the offer must not be lower.
    /// latencyMs, jitterMs: the offer must not be higher; 0 in a requirement means "any".
    /// bandwidthMbps, cpuMillicores, ramMb, replicas: the offer must not be lower.
    /// The contract checks that each side is meaningful (replicas at least 1, availability at most 10000); whether an
    /// offer suffices is the creator's judgement.
    struct Terms {
        uint16 availabilityBps;
        uint32 latencyMs;
        uint32 jitterMs;
        uint32 bandwidthMbps;
        uint32 cpuMillicores;
        uint32 ramMb;
        uint32 replicas;
    }

    struct Announcement {
        bytes32 id;            // chosen by the creator; unique for ever
        string description;    // at most 1024 bytes
        Terms requirements;    // replicas at least 1
        bytes32 manifestHash;  // SHA-256 of the manifest's bytes
        uint64 bidDeadline;    // after now
        uint64 deployDeadline; // after bidDeadline; also the last moment to choose
        uint32 confirmWindow;  // seconds from deployed in which the creator confirms or cancels; at least 1
    }

    struct Bid {
        address bidder;
        uint128 pricePerHour; // wei
        uint64 sequence;      // 1, 2, … within the agreement; a replaced bid takes a new one
        string location;      // at most 128 bytes
        Terms offer;
    }

    struct Agreement {
        Announcement announcement;
        State state;
        address creator;
        address provider;      // zero until Awarded
        uint128 pricePerHour;  // of the chosen bid
        uint32 hoursPaid;      // 0: nothing in escrow
        uint256 escrow;        // wei held now
        bytes32 endpointHash;  // keccak256 of the sealed endpoint; zero until Deployed
        uint64 confirmDeadline; // zero until Deployed
        uint32 bidCount;
        uint64 announcedAt;
        uint64 changedAt;      // time of the last change of state
        uint64 confirmedAt;    // zero until Confirmed; from then on the service counts as used, until changedAt once ended
    }

    event Announced(bytes32 indexed id, address indexed creator, string description, bytes32 manifestHash, uint64 bidDeadline, uint64 deployDeadline);
    event BidPlaced(bytes32 indexed id, address indexed bidder, uint128 pricePerHour, uint64 sequence, bool replaced);
    /// sealedParameters: what the provider alone must know to deploy, sealed to its sealing key.
    event Awarded(bytes32 indexed id, address indexed provider, uint128 pricePerHour, uint256 escrow, bytes sealedParameters);
    /// sealedEndpoint: where the service answers, sealed to the creator's sealing key.
    event Deployed(bytes32 indexed id, address indexed provider, bytes32 endpointHash, uint64 confirmDeadline, bytes sealedEndpoint);
    event Confirmed(bytes32 indexed id, address indexed by, uint256 released);
    /// servedSeconds: from Confirmed to now.
    event Terminated(bytes32 indexed id, address indexed by, uint64 servedSeconds);
    event Cancelled(bytes32 indexed id, address indexed by, uint256 refunded, string reason);
    event Expired(bytes32 indexed id, address indexed by, State was, uint256 refunded);
    event Withdrawn(address indexed account, uint256 amount);

    error NotMember(address account);
    error IdTaken(bytes32 id);
    error UnknownAgreement(bytes32 id);
    error WrongState(bytes32 id, State current);
    error OwnAgreement(bytes32 id);
    error NotCreator(bytes32 id, address caller);
    error NotProvider(bytes32 id, address caller);
    error NotParty(bytes32 id, address caller);
    error DeadlinePassed(bytes32 id, uint64 deadline);
    error NotExpired(bytes32 id);
    error ConfirmWindowOpen(bytes32 id, uint64 deadline);
    error NoSuchBid(bytes32 id, address bidder);
    error TooManyBids(bytes32 id);
    error WrongPayment(uint256 expected, uint256 sent);
    error InvalidDeadlines();
    error InvalidTerms();
    error TooLong(uint256 length, uint256 limit);
    error Empty();
    error NothingOwed(address account);
    error TransferFailed(address account);

    function consortium() external view returns (address);

    function announce(Announcement calldata announcement) external;
    /// Places the caller's only bid, or replaces it: the new one stays at its place in `bids` but takes a new, higher
    /// `sequence`, which is the order that counts. At most 64 bids an agreement.
    function placeBid(bytes32 id, uint128 pricePerHour, string calldata location, Terms calldata offer) external;
    /// hoursPaid 0: no escrow, and no value may be sent; else the value must be exactly pricePerHour * hoursPaid.
    /// The chosen bid must still be the one the creator saw: `sequence` guards against a replacement in between.
    function choose(bytes32 id, address bidder, uint64 sequence, uint32 hoursPaid, bytes calldata sealedParameters) external payable;
    /// sealed blobs: 1 to 4096 bytes (parameters may be empty). By the provider, while it is a member.
    function deployed(bytes32 id, bytes calldata sealedEndpoint) external;
    /// By the creator: Deployed, until someone settles.
    function confirm(bytes32 id) external;
    /// By the creator: Open, Awarded, or Deployed until confirmDeadline. Refunds the escrow. reason: at most
    /// 1024 bytes, here and in `decline`.
    function cancel(bytes32 id, string calldata reason) external;
    /// By the provider: Awarded or Deployed. Refunds the escrow to the creator.
    function decline(bytes32 id, string calldata reason) external;
    /// By anyone: Open after bidDeadline without bids; Open or Awarded after deployDeadline; any live state once the creator or
    /// the provider is no longer a member. Refunds the escrow. Not Deployed after confirmDeadline: what the creator left
    /// unanswered is due to the provider, so that is settled first, whoever is still a member.
    function expire(bytes32 id) external;
    /// By anyone: Deployed after confirmDeadline; releases the escrow to the provider as `confirm` does.
    function settle(bytes32 id) external;
    /// By creator or provider: Confirmed.
    function terminate(bytes32 id) external;
    /// Pays the caller what it is owed.
    function withdraw() external;

    /// What `withdraw` would pay, in wei.
    function owed(address account) external view returns (uint256);
    /// Agreements in Open, Awarded, Deployed or Confirmed of which the account is creator or provider.
    function liveAgreements(address account) external view returns (uint256);
    function agreementCount() external view returns (uint256);
    function agreement(bytes32 id) external view returns (Agreement memory);
    /// Newest last; at most `limit` (≤ 100) from index `start`.
    function agreements(uint256 start, uint256 limit) external view returns (Agreement[] memory);
    function bids(bytes32 id) external view returns (Bid[] memory);
    /// Everything a page about one agreement needs.
    function details(bytes32 id) external view returns (Agreement memory, Bid[] memory);
}
