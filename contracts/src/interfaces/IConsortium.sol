// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.0;

/// @title The domains that share a ledger.
/// @notice The active members are the validator set of the next height, each with one vote.
/// @dev At most one membership change (admission, removal, departure, key rotation) takes effect per block, and
///      none that removes more than a third of the voting power.
interface IConsortium {
    /// @param account      ledger account; sends this domain's transactions
    /// @param validatorKey Ed25519 public key that signs consensus messages
    /// @param sealingKey   X25519 public key; what is meant for this domain alone is sealed to it
    /// @param name         unique, 1 to 64 bytes
    /// @param consensusAddress multiaddr on which the domain's ledger node takes consensus connections, e.g. /ip4/192.0.2.1/tcp/26656
    /// @param peerId       libp2p peer id in the swarm; empty until the domain has one
    /// @param url          base URL of the domain's REST API
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

    /// Timeouts of consensus in milliseconds; each round adds its delta.
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

    function federation() external view returns (address);
    function isMember(address account) external view returns (bool);
    function memberCount() external view returns (uint256);
    function members() external view returns (Member[] memory);
    function member(address account) external view returns (Member memory);
    function consensusParameters() external view returns (ConsensusParameters memory);
    function proposal(uint256 id) external view returns (Proposal memory);
    function openProposals() external view returns (Proposal[] memory);

    /// A proposal counts as its proposer's approval.
    function proposeAdmission(MemberInfo calldata candidate) external returns (uint256 id);
    function proposeRemoval(address target, bool acceptFewerThanFour) external returns (uint256 id);
    function proposeParameters(ConsensusParameters calldata parameters) external returns (uint256 id);
    function approve(uint256 id) external;
    function withdrawProposal(uint256 id) external;

    /// Refused while the caller is a party of live agreements.
    function leave(bool acceptFewerThanFour) external;
    function rotateValidatorKey(bytes32 newKey) external;
    /// Account, name and validator key stay as they are.
    function updateMember(bytes32 sealingKey, string calldata consensusAddress, string calldata peerId, string calldata url) external;
}
