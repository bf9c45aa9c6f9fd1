//! The consortium as this domain takes part in it: what its operator asks for, what newcomers ask for, and what it looks after
//! by itself.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, U256};
use axum::http::StatusCode;
use futures::future::join_all;
use hanse_chain::consensus::{ConsensusStatus, Wishes, validator_peer};
use hanse_chain::genesis::{Genesis, MemberInfo};
use hanse_ledger::{IConsortium, IntentKey, Ledger, LedgerError, Receipt, Refusal};
use hanse_orchestrator::StepError;
use hanse_orchestrator::api::Problem;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::desk::{Desk, LASTS, Maker, Rate, Waiting};
use super::invite::Invite;
use super::pages::{ChangePage, ConsortiumPage, MemberLine, ProposalPage, RequestLine, RequestPage};
use super::request::AdmissionRequest;
use super::rotation::Rotation;
use super::{kept, plan, token};
use crate::config::Admission;
use crate::keys::DomainKeys;

/// Members that a newcomer asks: enough for some of them to be gone.
const ASKED: usize = 7;

/// Between two looks at what is open.
const LOOK: Duration = Duration::from_secs(1);

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
    pub admission: Admission,
    /// Whom to ask for admission, as long as this domain is no member.
    pub bootstrap: Option<Invite>,
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
    desk: Mutex<Desk>,
    rate: Mutex<Rate>,
    /// Held while a rotation is under way.
    pub(super) rotating: tokio::sync::Mutex<()>,
    /// The last answer to this domain's own request.
    asked: Mutex<Option<String>>,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
            rotating: tokio::sync::Mutex::default(),
            asked: Mutex::default(),
        })
    }

    /// The digest of the genesis document; what names the ledger.
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

    /// Looks after what is open until told to stop.
    pub async fn attend(self: Arc<Self>, stop: CancellationToken) {
        let mut ask_at = Instant::now();
        loop {
            match self.look(&mut ask_at).await {
                Ok(()) => {}
                Err(error) => tracing::debug!(detail = error.detail, "the consortium can't be looked after now"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, ask_at: &mut Instant) -> Result<(), Problem> {
        let members = self.ledger.members().await.map_err(of_ledger)?;
        let proposals = self.ledger.proposals().await.map_err(of_ledger)?;
        let accounts: HashSet<Address> = members.iter().map(|member| member.info.account).collect();
        if lock(&self.desk).forget(&accounts, now()) {
            self.keep_desk()?;
        }
        self.let_guests_in(&proposals);
        self.end_offer(&members);
        if accounts.contains(&self.ledger.account()) {
            lock(&self.asked).take();
            return self.vote_by_itself(&proposals).await;
        }
        if let (Some(invite), true) = (&self.settings.bootstrap, Instant::now() >= *ask_at) {
            *ask_at = Instant::now() + Duration::from_secs(5);
            let answer = self.ask_members(invite, &members).await;
            let before = lock(&self.asked).replace(answer.clone());
            if before.as_ref() != Some(&answer) {
                tracing::info!("{answer}");
            }
        }
        Ok(())
    }

    /// Asks the member that invited, and beside it the others as far as the own node knows them: each lets its guests catch up
    /// from its own node, and one of them may be gone.
    async fn ask_members(&self, invite: &Invite, members: &[IConsortium::Member]) -> String {
        let mut invites = vec![invite.clone()];
        for url in members.iter().filter_map(|member| Url::parse(&member.info.url).ok()) {
            if invites.len() < ASKED && invites.iter().all(|known| known.url != url) {
                invites.push(Invite { url, ..invite.clone() });
            }
        }
        let answers = join_all(invites.iter().map(|invite| self.ask(invite))).await;
        let mut refusals = Vec::new();
        for (invite, answer) in invites.iter().zip(answers) {
            match answer {
                Ok(page) => {
                    return format!(
                        "asked {}: {} ({} of {})",
                        invite.url, page.state, page.approvals, page.needed
                    );
                }
                Err(error) => refusals.push(format!(
                    "{} did not take the request for admission: {error:#}",
                    invite.url
                )),
            }
        }
        refusals.join("; ")
    }

    /// Who may catch up from this domain's node: the invited, and whom a member has proposed.
    fn let_guests_in(&self, proposals: &[IConsortium::Proposal]) {
        let Some(node) = &self.node else { return };
        let candidates = proposals.iter().filter(|proposal| proposal.kind == plan::ADMISSION);
        let mut keys = lock(&self.desk).guests();
        keys.extend(candidates.map(|proposal| proposal.candidate.validatorKey.0));
        let mut guests: Vec<_> = keys.iter().filter_map(validator_peer).collect();
        guests.sort_unstable();
        guests.dedup();
        node.wishes.send_if_modified(|wishes| {
            let changed = wishes.guests != guests;
            wishes.guests = guests;
            changed
        });
    }

    async fn vote_by_itself(&self, proposals: &[IConsortium::Proposal]) -> Result<(), Problem> {
        let me = self.ledger.account();
        let waiting = self.waiting();
        for vote in plan::votes(self.settings.admission, me, proposals, &waiting) {
            let name = vote.name().to_owned();
            match self.cast(vote).await {
                Ok(_) => tracing::info!(candidate = name, "voted for the admission"),
                // Somebody else was quicker, or its block has another change: the next look tells.
                Err(problem) => tracing::debug!(candidate = name, detail = problem.detail, "could not vote"),
            }
        }
        Ok(())
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
                    sleep(Duration::from_millis(250)).await;
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

    // The desk

    /// Whether another request of a stranger is served now.
    ///
    /// # Errors
    /// 429.
    pub(super) fn admit_stranger(&self) -> Result<(), Problem> {
        if lock(&self.rate).allows(now_ms()) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
            "this domain answers a few such requests a second; try again in a moment",
        ))
    }

    /// Requests for admission that nobody has decided yet.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        lock(&self.desk).requests().to_vec()
    }

    fn keep_desk(&self) -> Result<(), Problem> {
        let path = self.settings.data_dir.join(kept::DESK);
        kept::write(&path, &*lock(&self.desk)).map_err(|error| failed(&error))
    }

    /// A new invite.
    pub(super) fn invite(&self) -> Result<Invite, Problem> {
        let genesis = self.node()?.genesis.digest();
        let token = token::make(&self.keys.ledger, genesis, now() + LASTS).map_err(|error| failed(&error))?;
        lock(&self.desk).invite(&token, now());
        self.keep_desk()?;
        let url = Url::parse(&self.settings.me.url)
            .map_err(|error| Problem::conflict(format!("api.url {:?}: {error}", self.settings.me.url)))?;
        Ok(Invite {
            url,
            genesis,
            token: Some(token),
        })
    }

    /// Takes a newcomer's request, or tells how far it is.
    pub(super) async fn take(&self, request: AdmissionRequest) -> Result<RequestPage, Problem> {
        let genesis = self.node()?.genesis.digest();
        request
            .check(genesis, now())
            .map_err(|error| Problem::invalid(format!("{error:#}")))?;
        let account = request.member.account;
        let members = self.ledger.members().await.map_err(of_ledger)?;
        let needed = plan::needed(members.len());
        if members.iter().any(|member| member.info.account == account) {
            return Ok(RequestPage {
                state: "member".into(),
                approvals: needed,
                needed,
            });
        }
        if !members
            .iter()
            .any(|member| member.info.account == self.ledger.account())
        {
            return Err(Problem::conflict("this domain is no member itself; ask one that is"));
        }
        if let Some(taken) = plan::taken(&members, &request.member) {
            return Err(Problem::conflict(taken));
        }
        let maker = request.token.as_ref();
        let maker = maker.and_then(|token| token::maker(token, genesis, now()).ok());
        let others = members.iter().map(|member| member.info.account);
        let maker = match others
            .filter(|it| *it != self.ledger.account())
            .find(|it| Some(*it) == maker)
        {
            Some(_) => Maker::OtherMember,
            None => Maker::OwnOrNobody,
        };
        lock(&self.desk).take(request, maker, now()).map_err(|refused| {
            Problem::new(
                StatusCode::FORBIDDEN,
                "refused",
                "The request is not taken",
                refused.to_string(),
            )
        })?;
        self.keep_desk()?;
        let proposals = self.ledger.proposals().await.map_err(of_ledger)?;
        self.let_guests_in(&proposals);
        let proposal = proposals.iter().find(|proposal| plan::admits(proposal, account));
        Ok(RequestPage {
            state: if proposal.is_some() { "proposed" } else { "waiting" }.into(),
            approvals: proposal.map_or(0, |proposal| proposal.approvals.len()),
            needed,
        })
    }

    /// Asks a member for admission.
    pub(super) async fn ask(&self, invite: &Invite) -> anyhow::Result<RequestPage> {
        let genesis = self
            .node()
            .map_err(|problem| anyhow::anyhow!(problem.detail))?
            .genesis
            .digest();
        anyhow::ensure!(
            genesis == invite.genesis,
            "the invite is for another ledger than this node's; set up a folder of its own with `hanse join`"
        );
        let request = AdmissionRequest::sign(
            self.settings.me.clone(),
            genesis,
            now(),
            invite.token.clone(),
            &self.keys,
            &self.keys.validator.generation(0),
        )?;
        super::remote::post(&self.http, &invite.url, "api/v1/consortium/requests", &request).await
    }

    // What the operator asks for

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
                    name: waiting.request.member.name,
                    account: waiting.request.member.account,
                    consensus_address: waiting.request.member.consensus_address,
                    url: waiting.request.member.url,
                    since: waiting.since,
                })
                .collect(),
            tolerated: members.len().saturating_sub(1) / 3,
            automatic: self.settings.admission == Admission::Automatic,
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
