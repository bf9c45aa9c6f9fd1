// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.0;

/// @title The domains that share a ledger.
/// @notice The active members are the validator set of the next height, each with one vote.
/// @dev At most one membership change (admission, removal, departure, key rotation) takes effect per block, and
///      none that removes more than a third of the voting power: of one or two members none can be removed or
///      leave, of three one can. A key rotation leaves the power with its owner and is possible at any size.
///      Nothing grows without bound: 64 members, 4 open proposals of each, a proposal is open for 7 days.
interface IConsortium {
    /// @param account      ledger account; sends this domain's transactions
    /// @param validatorKey Ed25519 public key that signs consensus messages
    /// @param sealingKey   X25519 public key; what is meant for this domain alone is sealed to it
    /// @param name         unique, 1 to 64 bytes
    /// @param consensusAddress multiaddr on which the domain's ledger node takes consensus connections, e.g.
    ///                     /ip4/192.0.2.1/tcp/26656; 1 to 256 bytes, begins with '/'
    /// @param peerId       libp2p peer id in the swarm, at most 128 bytes; empty until the domain has one
    /// @param url          base URL of the domain's REST API, at most 256 bytes
    struct MemberInfo {
        address account;
        bytes32 validatorKey;
        bytes32 sealingKey;
        string name;
        string consensusAddress;
        string peerId;
        string url;
    }

    struct Member {
        MemberInfo info;
        uint64 joinedAt; // Unix seconds; 0 for genesis members
    }

    /// Timeouts of consensus in milliseconds; each round adds its delta. Each is 1 to 60000, so that no vote can stop
    /// the ledger for long; the heartbeat is 10 to 3600000.
    struct ConsensusParameters {
        uint32 proposeMs;
        uint32 proposeDeltaMs;
        uint32 voteMs;
        uint32 voteDeltaMs;
        uint32 heartbeatMs; // an idle chain makes an empty block this often
    }

    enum ProposalKind { Admission, Removal, Parameters }
    enum ProposalState { Open, Passed, Withdrawn }

    struct Proposal {
        uint256 id;
        ProposalKind kind;
        ProposalState state;
        address proposer;
        MemberInfo candidate;           // Admission
        address target;                 // Removal
        bool acceptFewerThanFour;       // Removal: from four members to three Byzantine tolerance is lost
        ConsensusParameters parameters; // Parameters
        address[] approvals;            // of present members; more than two thirds pass it
        uint64 deadline;                // Unix seconds; no vote counts after it
    }

    event MemberAdmitted(address indexed account, bytes32 validatorKey, string name);
    event MemberRemoved(address indexed account, string name, uint256 liveAgreements);
    event MemberLeft(address indexed account, string name);
    event MemberUpdated(address indexed account);
    event ValidatorKeyRotated(address indexed account, bytes32 oldKey, bytes32 newKey);
    event ProposalMade(uint256 indexed id, ProposalKind kind, address indexed proposer);
    event ProposalApproved(uint256 indexed id, address indexed by, uint256 approvals, uint256 needed);
    event ProposalPassed(uint256 indexed id);
    event ProposalWithdrawn(uint256 indexed id);
    event ConsensusParametersChanged();

    error NotMember(address account);
    error AlreadyMember(address account);
    error NameTaken(string name);
    error ValidatorKeyTaken(bytes32 key);
    error InvalidMember(string field);
    error UnknownProposal(uint256 id);
    error ProposalClosed(uint256 id);
    error AlreadyApproved(uint256 id, address by);
    error NotProposer(uint256 id, address by);
    error RemovesTooMuchPower(uint256 members);
    error BelowFaultTolerance(uint256 members);
    error ChangeInThisBlock();
    error LiveAgreements(address account, uint256 count);
    error InvalidParameters();
    error TooManyMembers(uint256 limit);
    error TooManyProposals(address proposer, uint256 limit);
    error RotatedRecently(address account, uint64 until);

    function federation() external view returns (address);
    function isMember(address account) external view returns (bool);
    function memberCount() external view returns (uint256);
    function members() external view returns (Member[] memory);
    function member(address account) external view returns (Member memory);
    function consensusParameters() external view returns (ConsensusParameters memory);
    function proposal(uint256 id) external view returns (Proposal memory);
    function openProposals() external view returns (Proposal[] memory);

    /// A proposal counts as its proposer's approval, and passes at once where that is enough.
    function proposeAdmission(MemberInfo calldata candidate) external returns (uint256 id);
    function proposeRemoval(address target, bool acceptFewerThanFour) external returns (uint256 id);
    function proposeParameters(ConsensusParameters calldata parameters) external returns (uint256 id);
    /// The approval that makes more than two thirds carries the proposal out; where it cannot be carried out (a change in
    /// this block, a name taken meanwhile) the approval fails with the reason and may be repeated. If departures have
    /// made the approvals given so far enough, any member carries it out by approving, also once more.
    function approve(uint256 id) external;
    /// By its proposer. A proposal to admit a domain is also withdrawn when another one has admitted it, and one to remove a
    /// domain when that is no member any more.
    function withdrawProposal(uint256 id) external;

    /// Refused while the caller is a party of live agreements.
    function leave(bool acceptFewerThanFour) external;
    /// Once in 10 minutes, so that no member can fill each block's one change with its own rotations.
    function rotateValidatorKey(bytes32 newKey) external;
    /// Account, name and validator key stay as they are.
    function updateMember(bytes32 sealingKey, string calldata consensusAddress, string calldata peerId, string calldata url) external;
}
