//! The consortium as this domain takes part in it, and what of that its operator sees. What it looks after by itself is in
//! `attend`, what newcomers ask of it in `newcomers`, what its operator asks for in `votes` and `rotation`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, U256};
use axum::http::StatusCode;
use hanse_chain::consensus::{ConsensusStatus, Wishes};
use hanse_chain::genesis::{Genesis, MemberInfo};
use hanse_ledger::{IConsortium, IntentKey, Ledger, LedgerError, Receipt, Refusal};
use hanse_orchestrator::StepError;
use hanse_orchestrator::api::Problem;
use hanse_swarm::model::Membership;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use url::Url;

use super::desk::Desk;
use super::invite::Invite;
use super::pages::{ChangePage, ConsortiumPage, MemberLine, ProposalPage, RequestLine};
use super::rate::Rate;
use super::rotation::Rotation;
use super::{kept, plan};
use crate::config::{Admission, Guests};
use crate::keys::DomainKeys;

/// A change of membership waits this long for a block of its own: an idle ledger makes one every few seconds.
const BLOCK_WITHIN: Duration = Duration::from_secs(30);

/// The node of this domain, if it runs one itself.
pub struct OwnNode {
    pub genesis: Genesis,
    pub wishes: watch::Sender<Wishes>,
    pub status: watch::Receiver<ConsensusStatus>,
    /// Its JSON-RPC over HTTP.
    pub rpc: Url,
}

/// What the service is told once.
pub struct Settings {
    /// As this domain is to be known to the others; its validator key is that of generation 0.
    pub me: MemberInfo,
    pub policy: plan::Policy,
    pub guests: Guests,
    /// What it says in its swarm while it is a member; nothing for a ledger that runs elsewhere.
    pub claim: Option<Membership>,
    /// Is told of it when that changes.
    pub membership: watch::Sender<Option<Membership>>,
    /// Whom to ask for admission, as long as this domain is no member.
    pub bootstrap: Vec<Invite>,
    /// Folder for what survives a restart.
    pub data_dir: PathBuf,
}

/// A command that may change who is in the consortium.
pub(super) enum Change {
    Propose(Box<IConsortium::MemberInfo>),
    Approve(U256),
    Remove(Address, bool),
    Leave(bool),
    RotateKey(B256),
}

/// This domain's part in the consortium.
pub struct Consortium {
    pub(super) settings: Settings,
    pub(super) ledger: Ledger,
    pub(super) keys: Arc<DomainKeys>,
    pub(super) node: Option<OwnNode>,
    pub(super) http: reqwest::Client,
    pub(super) desk: Mutex<Desk>,
    /// What strangers may ask for, and what guests may.
    pub(super) rate: Mutex<Rate>,
    pub(super) guest_rate: Mutex<Rate>,
    /// Held while a rotation is under way.
    pub(super) rotating: tokio::sync::Mutex<()>,
    /// The last answer to this domain's own request.
    pub(super) asked: Mutex<Option<String>>,
    /// Something came that is to be looked after at once.
    pub(super) wake: Notify,
}

pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of the ledger as the REST API tells it.
pub(super) fn of_ledger(error: LedgerError) -> Problem {
    StepError::from(error).into()
}

pub(super) fn failed(error: &anyhow::Error) -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "store",
        "The agent's store failed",
        format!("{error:#}"),
    )
}

impl Consortium {
    /// Reads what survived.
    ///
    /// # Errors
    /// When that is damaged.
    pub fn open(
        settings: Settings,
        ledger: Ledger,
        keys: Arc<DomainKeys>,
        node: Option<OwnNode>,
        http: reqwest::Client,
    ) -> anyhow::Result<Self> {
        let desk = kept::read(&settings.data_dir.join(kept::DESK))?.unwrap_or_default();
        if let Some(node) = &node {
            let rotation: Option<Rotation> = kept::read(&settings.data_dir.join(kept::ROTATION))?;
            let offered_key = rotation.map(|rotation| rotation.generation);
            node.wishes.send_modify(|wishes| wishes.offered_key = offered_key);
        }
        Ok(Self {
            settings,
            ledger,
            keys,
            node,
            http,
            desk: Mutex::new(desk),
            rate: Mutex::new(Rate::new(now_ms())),
            guest_rate: Mutex::new(Rate::full(100.0, 20.0, now_ms())),
            rotating: tokio::sync::Mutex::default(),
            asked: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// This domain's own node, whose genesis document names the ledger.
    ///
    /// # Errors
    /// On a ledger that runs elsewhere there is no such document, and nothing to join but the contract.
    pub(super) fn node(&self) -> Result<&OwnNode, Problem> {
        self.node.as_ref().ok_or_else(|| {
            Problem::conflict(
                "this domain runs no ledger node of its own; ask a member that does, or use that ledger's own tools",
            )
        })
    }

    pub(super) async fn cast(&self, vote: plan::Vote) -> Result<Receipt, Problem> {
        match vote {
            plan::Vote::Approve { id, .. } => self.change(Change::Approve(id)).await,
            plan::Vote::Propose(member) => self.change(Change::Propose(Box::new((&*member).into()))).await,
        }
    }

    /// Sends a command that may change the membership, again if its block has another change already.
    pub(super) async fn change(&self, change: Change) -> Result<Receipt, Problem> {
        self.change_once(&IntentKey::random(), change).await.map_err(of_ledger)
    }

    /// The same, with a key under which it takes effect once however often it is asked for.
    pub(super) async fn change_once(&self, key: &IntentKey, change: Change) -> Result<Receipt, LedgerError> {
        let deadline = Instant::now() + BLOCK_WITHIN;
        loop {
            match self.send(key.clone(), &change).await {
                Err(LedgerError::Refused(Refusal::ChangeInThisBlock)) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(50)).await;
                }
                result => return result,
            }
        }
    }

    async fn send(&self, key: IntentKey, change: &Change) -> Result<Receipt, LedgerError> {
        match change {
            Change::Propose(candidate) => self.ledger.propose_admission(key, (**candidate).clone()).await,
            Change::Approve(id) => self.ledger.approve(key, *id).await,
            Change::Remove(target, accept) => self.ledger.propose_removal(key, *target, *accept).await,
            Change::Leave(accept) => self.ledger.leave(key, *accept).await,
            Change::RotateKey(new) => self.ledger.rotate_key(key, *new).await,
        }
    }

    /// Everything that is to know.
    pub(super) async fn page(&self) -> Result<ConsortiumPage, Problem> {
        let members = self.ledger.members().await.map_err(of_ledger)?;
        let proposals = self.ledger.proposals().await.map_err(of_ledger)?;
        let me = self.ledger.account();
        let requests = lock(&self.desk).requests().to_vec();
        Ok(ConsortiumPage {
            proposals: proposals
                .iter()
                .map(|proposal| self.proposal_page(proposal, &members))
                .collect(),
            requests: requests
                .into_iter()
                .map(|waiting| RequestLine {
                    invited: waiting.is_guest(),
                    caught_up: waiting.caught_up,
                    name: waiting.request.member.name,
                    account: waiting.request.member.account,
                    consensus_address: waiting.request.member.consensus_address,
                    url: waiting.request.member.url,
                    since: waiting.since,
                })
                .collect(),
            tolerated: members.len().saturating_sub(1) / 3,
            automatic: self.settings.policy.admission == Admission::Automatic,
            members: members
                .into_iter()
                .map(|member| MemberLine {
                    name: member.info.name,
                    account: member.info.account,
                    validator_key: member.info.validatorKey,
                    consensus_address: member.info.consensusAddress,
                    url: member.info.url,
                    joined_at: member.joinedAt,
                    me: member.info.account == me,
                })
                .collect(),
        })
    }

    pub(super) fn proposal_page(
        &self,
        proposal: &IConsortium::Proposal,
        members: &[IConsortium::Member],
    ) -> ProposalPage {
        let name = |account: &Address| {
            let member = members.iter().find(|member| member.info.account == *account);
            member.map_or_else(|| account.to_string(), |member| member.info.name.clone())
        };
        ProposalPage {
            id: proposal.id.saturating_to(),
            kind: plan::kind(proposal).into(),
            subject: match proposal.kind {
                plan::ADMISSION => proposal.candidate.name.clone(),
                plan::REMOVAL => name(&proposal.target),
                _ => String::new(),
            },
            state: plan::state(proposal).into(),
            approvals: proposal.approvals.iter().map(name).collect(),
            needed: plan::needed(members.len()),
            deadline: proposal.deadline,
        }
    }
}

pub(super) fn changed(done: String, receipt: Receipt, validator_key: Option<B256>) -> ChangePage {
    ChangePage {
        done,
        tx: receipt.tx,
        block: receipt.block,
        validator_key,
    }
}
