// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {IFederation} from "./interfaces/IFederation.sol";

/// @title The member list, which is the validator set; IConsortium says what each function promises.
/// @dev A membership has a number of its own, so that who leaves and is admitted again is someone new: neither the approvals
///      it gave before nor a removal proposed against it then carry over. An open proposal to admit someone or to remove
///      someone is withdrawn when that has come about in another way: it would count again at the next membership.
contract Consortium is IConsortium {
    uint256 internal constant MAX_MEMBERS = 64;
    uint256 internal constant MAX_OPEN_PROPOSALS = 4; // of one proposer
    uint64 internal constant VOTING_PERIOD = 7 days;
    uint64 internal constant ROTATION_INTERVAL = 10 minutes;
    uint256 internal constant MAX_NAME = 64;
    uint256 internal constant MAX_CONSENSUS_ADDRESS = 256;
    uint256 internal constant MAX_PEER_ID = 128;
    uint256 internal constant MAX_URL = 256;
    uint32 internal constant MAX_TIMEOUT_MS = 60_000;
    uint32 internal constant MIN_HEARTBEAT_MS = 10;
    uint32 internal constant MAX_HEARTBEAT_MS = 3_600_000;

    IFederation internal immutable _federation;

    address[] internal _accounts;
    mapping(address account => Member) internal _members;
    /// Number of the account's present membership; zero where it is no member.
    mapping(address account => uint64) internal _membership;
    mapping(address account => uint64) internal _rotatedAt;
    mapping(bytes32 nameHash => bool) internal _nameTaken;
    mapping(bytes32 validatorKey => bool) internal _keyTaken;
    uint64 internal _memberships;
    uint256 internal _changedInBlock;

    ConsensusParameters internal _parameters;

    uint256 internal _proposalCount;
    uint256[] internal _open;
    mapping(uint256 id => Proposal) internal _proposals;
    /// Membership that gave the approval; zero where the account gave none.
    mapping(uint256 id => mapping(address account => uint64)) internal _approvedBy;

    constructor(MemberInfo[] memory founders, ConsensusParameters memory parameters, address federation_) {
        _federation = IFederation(federation_);
        if (founders.length == 0) revert InvalidMember("none");
        for (uint256 i = 0; i < founders.length; ++i) {
            _requireAdmissible(founders[i]);
            _add(founders[i], 0);
        }
        _setParameters(parameters);
        _changedInBlock = block.number;
    }

    // Proposals

    function proposeAdmission(MemberInfo calldata candidate) external returns (uint256 id) {
        id = _propose(ProposalKind.Admission);
        _requireAdmissible(candidate);
        _proposals[id].candidate = candidate;
        _approve(id);
    }

    function proposeRemoval(address target, bool acceptFewerThanFour) external returns (uint256 id) {
        id = _propose(ProposalKind.Removal);
        _requireMember(target);
        _requireRemovable(acceptFewerThanFour);
        Proposal storage p = _proposals[id];
        p.target = target;
        p.acceptFewerThanFour = acceptFewerThanFour;
        _approve(id);
    }

    function proposeParameters(ConsensusParameters calldata parameters) external returns (uint256 id) {
        id = _propose(ProposalKind.Parameters);
        _requireValid(parameters);
        _proposals[id].parameters = parameters;
        _approve(id);
    }

    function approve(uint256 id) external {
        _requireMember(msg.sender);
        Proposal storage p = _openProposal(id);
        _forgetFormerMembers(p, id);
        if (_approvedBy[id][msg.sender] == _membership[msg.sender]) {
            if (p.approvals.length < _needed()) revert AlreadyApproved(id, msg.sender);
            _carryOut(p, id);
        } else {
            _approve(id);
        }
    }

    function withdrawProposal(uint256 id) external {
        Proposal storage p = _openProposal(id);
        if (msg.sender != p.proposer) revert NotProposer(id, msg.sender);
        _close(p, id, ProposalState.Withdrawn);
        emit ProposalWithdrawn(id);
    }

    // What a member decides for itself

    function leave(bool acceptFewerThanFour) external {
        _requireMember(msg.sender);
        _requireRemovable(acceptFewerThanFour);
        uint256 live = _federation.liveAgreements(msg.sender);
        if (live != 0) revert LiveAgreements(msg.sender, live);
        _changeMembership();
        emit MemberLeft(msg.sender, _remove(msg.sender));
    }

    function rotateValidatorKey(bytes32 newKey) external {
        _requireMember(msg.sender);
        if (newKey == 0) revert InvalidMember("validatorKey");
        if (_keyTaken[newKey]) revert ValidatorKeyTaken(newKey);
        uint64 rotatedAt = _rotatedAt[msg.sender];
        if (rotatedAt != 0 && block.timestamp < rotatedAt + ROTATION_INTERVAL) {
            revert RotatedRecently(msg.sender, rotatedAt + ROTATION_INTERVAL);
        }
        _changeMembership();
        MemberInfo storage info = _members[msg.sender].info;
        bytes32 oldKey = info.validatorKey;
        delete _keyTaken[oldKey];
        _keyTaken[newKey] = true;
        info.validatorKey = newKey;
        _rotatedAt[msg.sender] = uint64(block.timestamp);
        emit ValidatorKeyRotated(msg.sender, oldKey, newKey);
    }

    function updateMember(
        bytes32 sealingKey,
        string calldata consensusAddress,
        string calldata peerId,
        string calldata url
    ) external {
        _requireMember(msg.sender);
        MemberInfo storage info = _members[msg.sender].info;
        info.sealingKey = sealingKey;
        info.consensusAddress = consensusAddress;
        info.peerId = peerId;
        info.url = url;
        _requireReachable(info);
        emit MemberUpdated(msg.sender);
    }

    // Views

    function federation() external view returns (address) {
        return address(_federation);
    }

    function isMember(address account) external view returns (bool) {
        return _membership[account] != 0;
    }

    function memberCount() external view returns (uint256) {
        return _accounts.length;
    }

    function members() external view returns (Member[] memory list) {
        list = new Member[](_accounts.length);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = _members[_accounts[i]];
        }
    }

    function member(address account) external view returns (Member memory) {
        _requireMember(account);
        return _members[account];
    }

    function consensusParameters() external view returns (ConsensusParameters memory) {
        return _parameters;
    }

    function proposal(uint256 id) external view returns (Proposal memory) {
        if (id == 0 || id > _proposalCount) revert UnknownProposal(id);
        return _view(id);
    }

    function openProposals() external view returns (Proposal[] memory list) {
        uint256 count;
        for (uint256 i = 0; i < _open.length; ++i) {
            if (block.timestamp <= _proposals[_open[i]].deadline) ++count;
        }
        list = new Proposal[](count);
        for (uint256 i = _open.length; i > 0; --i) {
            if (block.timestamp <= _proposals[_open[i - 1]].deadline) list[--count] = _view(_open[i - 1]);
        }
    }

    // Voting

    /// More than two thirds of the present members.
    function _needed() internal view returns (uint256) {
        return _accounts.length * 2 / 3 + 1;
    }

    function _propose(ProposalKind kind) internal returns (uint256 id) {
        _requireMember(msg.sender);
        _forgetLateProposals();
        uint256 mine;
        for (uint256 i = 0; i < _open.length; ++i) {
            if (_proposals[_open[i]].proposer == msg.sender) ++mine;
        }
        if (mine == MAX_OPEN_PROPOSALS) revert TooManyProposals(msg.sender, MAX_OPEN_PROPOSALS);

        id = ++_proposalCount;
        _open.push(id);
        Proposal storage p = _proposals[id];
        p.id = id;
        p.kind = kind;
        p.proposer = msg.sender;
        p.deadline = uint64(block.timestamp) + VOTING_PERIOD;
        emit ProposalMade(id, kind, msg.sender);
    }

    function _approve(uint256 id) internal {
        Proposal storage p = _proposals[id];
        _approvedBy[id][msg.sender] = _membership[msg.sender];
        p.approvals.push(msg.sender);
        uint256 needed = _needed();
        emit ProposalApproved(id, msg.sender, p.approvals.length, needed);
        if (p.approvals.length >= needed) _carryOut(p, id);
    }

    function _carryOut(Proposal storage p, uint256 id) internal {
        _close(p, id, ProposalState.Passed);
        emit ProposalPassed(id);
        if (p.kind == ProposalKind.Admission) {
            _changeMembership();
            MemberInfo memory candidate = p.candidate;
            _requireAdmissible(candidate);
            _add(candidate, uint64(block.timestamp));
            emit MemberAdmitted(candidate.account, candidate.validatorKey, candidate.name);
        } else if (p.kind == ProposalKind.Removal) {
            _changeMembership();
            address target = p.target;
            _requireRemovable(p.acceptFewerThanFour);
            emit MemberRemoved(target, _remove(target), _federation.liveAgreements(target));
        } else {
            _setParameters(p.parameters);
            emit ConsensusParametersChanged();
        }
    }

    function _close(Proposal storage p, uint256 id, ProposalState end) internal {
        p.state = end;
        for (uint256 i = 0; i < _open.length; ++i) {
            if (_open[i] == id) {
                _dropOpen(i);
                return;
            }
        }
    }

    function _forgetLateProposals() internal {
        uint256 i = 0;
        while (i < _open.length) {
            if (block.timestamp > _proposals[_open[i]].deadline) _dropOpen(i);
            else ++i;
        }
    }

    /// Withdraws the open proposals to admit, or to remove, this account.
    function _withdrawAbout(ProposalKind kind, address account) internal {
        uint256 length = _open.length;
        uint256 kept;
        for (uint256 i = 0; i < length; ++i) {
            uint256 id = _open[i];
            Proposal storage p = _proposals[id];
            address subject = kind == ProposalKind.Admission ? p.candidate.account : p.target;
            if (p.kind == kind && subject == account) {
                p.state = ProposalState.Withdrawn;
                emit ProposalWithdrawn(id);
                continue;
            }
            if (kept != i) _open[kept] = id;
            ++kept;
        }
        for (; length > kept; --length) {
            _open.pop();
        }
    }

    /// Keeps the order, oldest first.
    function _dropOpen(uint256 position) internal {
        for (uint256 i = position + 1; i < _open.length; ++i) {
            _open[i - 1] = _open[i];
        }
        _open.pop();
    }

    function _openProposal(uint256 id) internal view returns (Proposal storage p) {
        if (id == 0 || id > _proposalCount) revert UnknownProposal(id);
        p = _proposals[id];
        if (p.state != ProposalState.Open || block.timestamp > p.deadline) revert ProposalClosed(id);
    }

    function _counts(uint256 id, address approver) internal view returns (bool) {
        return _membership[approver] != 0 && _approvedBy[id][approver] == _membership[approver];
    }

    /// So the list of approvals is never longer than that of the members.
    function _forgetFormerMembers(Proposal storage p, uint256 id) internal {
        address[] storage approvals = p.approvals;
        uint256 kept;
        uint256 length = approvals.length;
        for (uint256 i = 0; i < length; ++i) {
            address approver = approvals[i];
            if (!_counts(id, approver)) continue;
            if (kept != i) approvals[kept] = approver;
            ++kept;
        }
        for (; length > kept; --length) {
            approvals.pop();
        }
    }

    /// As stored, without the approvals that no longer count; those of a closed proposal stay as they were.
    function _view(uint256 id) internal view returns (Proposal memory p) {
        p = _proposals[id];
        if (p.state != ProposalState.Open) return p;
        address[] memory stored = p.approvals;
        uint256 count;
        for (uint256 i = 0; i < stored.length; ++i) {
            if (_counts(id, stored[i])) ++count;
        }
        p.approvals = new address[](count);
        for (uint256 i = stored.length; i > 0; --i) {
            if (_counts(id, stored[i - 1])) p.approvals[--count] = stored[i - 1];
        }
    }

    // Membership

    function _changeMembership() internal {
        if (_changedInBlock == block.number) revert ChangeInThisBlock();
        _changedInBlock = block.number;
    }

    function _add(MemberInfo memory info, uint64 joinedAt) internal {
        _membership[info.account] = ++_memberships;
        _accounts.push(info.account);
        _nameTaken[keccak256(bytes(info.name))] = true;
        _keyTaken[info.validatorKey] = true;
        Member storage added = _members[info.account];
        added.info = info;
        added.joinedAt = joinedAt;
        _withdrawAbout(ProposalKind.Admission, info.account);
    }

    function _remove(address account) internal returns (string memory name) {
        MemberInfo storage info = _members[account].info;
        name = info.name;
        delete _nameTaken[keccak256(bytes(name))];
        delete _keyTaken[info.validatorKey];
        delete _members[account];
        delete _membership[account];
        _withdrawAbout(ProposalKind.Removal, account);
        uint256 last = _accounts.length - 1;
        uint256 position = 0;
        while (_accounts[position] != account) ++position;
        for (; position < last; ++position) {
            _accounts[position] = _accounts[position + 1];
        }
        _accounts.pop();
    }

    function _setParameters(ConsensusParameters memory parameters) internal {
        _requireValid(parameters);
        _parameters = parameters;
    }

    // Checks

    function _requireMember(address account) internal view {
        if (_membership[account] == 0) revert NotMember(account);
    }

    /// One member fewer takes at most a third of the power.
    function _requireRemovable(bool acceptFewerThanFour) internal view {
        uint256 count = _accounts.length;
        if (count < 3) revert RemovesTooMuchPower(count);
        if (count == 4 && !acceptFewerThanFour) revert BelowFaultTolerance(count);
    }

    function _requireAdmissible(MemberInfo memory info) internal view {
        if (_accounts.length == MAX_MEMBERS) revert TooManyMembers(MAX_MEMBERS);
        if (info.account == address(0)) revert InvalidMember("account");
        if (_membership[info.account] != 0) revert AlreadyMember(info.account);
        if (bytes(info.name).length == 0 || bytes(info.name).length > MAX_NAME) revert InvalidMember("name");
        if (_nameTaken[keccak256(bytes(info.name))]) revert NameTaken(info.name);
        if (info.validatorKey == 0) revert InvalidMember("validatorKey");
        if (_keyTaken[info.validatorKey]) revert ValidatorKeyTaken(info.validatorKey);
        _requireReachable(info);
    }

    /// What a member may change later by itself.
    function _requireReachable(MemberInfo memory info) internal pure {
        if (info.sealingKey == 0) revert InvalidMember("sealingKey");
        bytes memory consensusAddress = bytes(info.consensusAddress);
        if (
            consensusAddress.length == 0 || consensusAddress.length > MAX_CONSENSUS_ADDRESS
                || consensusAddress[0] != "/"
        ) revert InvalidMember("consensusAddress");
        if (bytes(info.peerId).length > MAX_PEER_ID) revert InvalidMember("peerId");
        if (bytes(info.url).length > MAX_URL) revert InvalidMember("url");
    }

    function _requireValid(ConsensusParameters memory p) internal pure {
        if (
            !_isTimeout(p.proposeMs) || !_isTimeout(p.proposeDeltaMs) || !_isTimeout(p.voteMs)
                || !_isTimeout(p.voteDeltaMs) || p.heartbeatMs < MIN_HEARTBEAT_MS || p.heartbeatMs > MAX_HEARTBEAT_MS
        ) revert InvalidParameters();
    }

    function _isTimeout(uint32 milliseconds) internal pure returns (bool) {
        return milliseconds != 0 && milliseconds <= MAX_TIMEOUT_MS;
    }
}
