//! What a domain looks after by itself: who may catch up from it, its votes if it gives them automatically, and its own request
//! for admission as long as it is no member.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use futures::future::join_all;
use hanse_chain::consensus::{ConsensusStatus, validator_peer};
use hanse_ledger::IConsortium;
use hanse_orchestrator::api::Problem;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::invite::Invite;
use super::pages::RequestPage;
use super::request::AdmissionRequest;
use super::service::{Consortium, lock, now, of_ledger};
use super::{plan, remote};

/// Members that a newcomer asks: enough for some of them to be gone.
const ASKED: usize = 7;

/// Between two looks at what is open, if nothing happens.
const LOOK: Duration = Duration::from_secs(1);

/// After something has changed, each new block is looked at for so long; but not sooner than this after the last look.
const LIVELY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Members that were asked for admission are asked again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// And after this, if the own node has caught up meanwhile.
const BREATH: Duration = Duration::from_millis(50);

/// What is remembered from one look to the next.
struct Looks {
    lively_until: Instant,
    /// How many members, approvals of proposals, and requests there were.
    counted: (usize, usize, usize),
    /// Who has taken this domain's request, and when all are asked again.
    taken: HashSet<Url>,
    ask_at: Instant,
    /// The newest block that the own node had then, and whether a member found that too old.
    asked_with: Option<u64>,
    lags: bool,
    /// Not before this the members are asked about another block.
    breath: Instant,
    /// How often all were asked since the own node follows.
    rounds: usize,
}

impl Looks {
    fn new(now: Instant) -> Self {
        Self {
            lively_until: now + LIVELY,
            counted: (0, 0, 0),
            taken: HashSet::new(),
            ask_at: now,
            asked_with: None,
            lags: false,
            breath: now,
            rounds: 0,
        }
    }

    /// Begins to ask all members, if it is time: again after a while; and, as long as a member finds that the own node has not
    /// caught up, as soon as it has another block.
    fn ask_all(&mut self, height: Option<u64>, now: Instant) {
        let again = now >= self.ask_at;
        let moved = self.lags && height.is_some() && height != self.asked_with && now >= self.breath;
        if !again && !moved {
            return;
        }
        if again {
            self.ask_at = now + ASK_AGAIN;
            self.rounds += usize::from(height.is_some());
        }
        (self.asked_with, self.breath) = (height, now + BREATH);
        self.lags = false;
        self.taken.clear();
    }

    fn count(&mut self, counted: (usize, usize, usize), now: Instant) {
        if self.counted != counted {
            (self.counted, self.lively_until) = (counted, now + LIVELY);
        }
    }
}

/// The newest block of a node, if it hears validators and misses no more than the block that is being decided.
fn follows_at(status: &ConsensusStatus) -> Option<u64> {
    let follows = status.highest.is_some_and(|highest| highest <= status.height + 1);
    follows.then_some(status.height)
}

impl Consortium {
    /// Looks after what is open until told to stop.
    pub async fn attend(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = Looks::new(Instant::now());
        loop {
            let height = self.node.as_ref().map(|node| node.status.borrow().height);
            let follows_at = self.follows_at();
            match self.look(&mut looks).await {
                Ok(()) => {}
                Err(error) => tracing::debug!(detail = error.detail, "the consortium can't be looked after now"),
            }
            let lively = Instant::now() < looks.lively_until;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK) => {}
                () = self.wake.notified() => {}
                () = self.moved_from(height, follows_at), if lively => sleep(PAUSE).await,
            }
        }
    }

    fn follows_at(&self) -> Option<u64> {
        self.node.as_ref().and_then(|node| follows_at(&node.status.borrow()))
    }

    /// Waits until the own node has decided a block after this height, or begins or ends to follow.
    async fn moved_from(&self, height: Option<u64>, before: Option<u64>) {
        let status = self.node.as_ref().map(|node| node.status.clone());
        let (Some(mut status), Some(height)) = (status, height) else {
            return std::future::pending().await;
        };
        let moved = |status: &ConsensusStatus| status.height > height || follows_at(status) != before;
        if status.wait_for(moved).await.is_err() {
            // The node is gone.
            std::future::pending().await
        }
    }

    async fn look(&self, looks: &mut Looks) -> Result<(), Problem> {
        let members = self.ledger.members().await.map_err(of_ledger)?;
        let proposals = self.ledger.proposals().await.map_err(of_ledger)?;
        let accounts: HashSet<Address> = members.iter().map(|member| member.info.account).collect();
        let member = accounts.contains(&self.ledger.account());
        let forgotten = lock(&self.desk).forget(&accounts, now());
        let joined = member && lock(&self.desk).set_joined(true);
        if forgotten || joined {
            self.keep_desk()?;
        }
        let approvals = proposals.iter().map(|proposal| 1 + proposal.approvals.len()).sum();
        let requests = lock(&self.desk).requests().len();
        looks.count((members.len(), approvals, requests), Instant::now());
        self.let_guests_in(&proposals);
        self.end_offer(&members);
        self.claim_membership(member);
        if member {
            lock(&self.asked).take();
            return self.vote_by_itself(&proposals).await;
        }
        if lock(&self.desk).has_joined() {
            self.note("no member any more; `hanse consortium request` asks to be one again".to_owned());
        } else if !self.settings.bootstrap.is_empty() {
            looks.ask_all(self.follows_at(), Instant::now());
            if let Some(answer) = self.ask_members(&members, looks).await {
                self.note(answer);
            }
        }
        Ok(())
    }

    /// How this domain stands with the members, for its status; logged when it is new.
    fn note(&self, answer: String) {
        let before = lock(&self.asked).replace(answer.clone());
        if before.as_ref() != Some(&answer) {
            tracing::info!("{answer}");
        }
    }

    /// Has the swarm told whether this domain is a member.
    fn claim_membership(&self, member: bool) {
        let claim = self.settings.claim.clone().filter(|_| member);
        self.settings.membership.send_if_modified(|present| {
            let changed = *present != claim;
            *present = claim;
            changed
        });
    }

    /// Asks the members that invited, and beside them the others as far as the own node knows them: each lets its guests catch
    /// up from its own node, and one of them may be gone. Those who have taken the request are passed over; `None` if there are
    /// no others.
    ///
    /// A member proposes by itself whom it gave a token, once that has caught up. So in the first round after that all are shown
    /// the token of the first member, in the second round the second member is shown its own, and so on: until there is a
    /// proposal, and no more than one.
    async fn ask_members(&self, members: &[IConsortium::Member], looks: &mut Looks) -> Option<String> {
        let mut invites = self.settings.bootstrap.clone();
        let invite = invites.first()?.clone();
        for later in invites.iter_mut().skip(looks.rounds.max(1)) {
            later.token.clone_from(&invite.token);
        }
        for url in members.iter().filter_map(|member| Url::parse(&member.info.url).ok()) {
            if invites.len() < ASKED && invites.iter().all(|known| known.url != url) {
                invites.push(Invite { url, ..invite.clone() });
            }
        }
        invites.retain(|invite| !looks.taken.contains(&invite.url));
        let answers = join_all(invites.iter().map(|invite| self.ask(invite))).await;
        let (mut first, mut refusals) = (None, Vec::new());
        for (invite, answer) in invites.iter().zip(answers) {
            match answer {
                Ok(page) => {
                    looks.taken.insert(invite.url.clone());
                    looks.lags |= !page.caught_up;
                    first.get_or_insert_with(|| {
                        format!(
                            "asked {}: {} ({} of {})",
                            invite.url, page.state, page.approvals, page.needed
                        )
                    });
                }
                Err(error) => refusals.push(format!(
                    "{} did not take the request for admission: {error:#}",
                    invite.url
                )),
            }
        }
        first.or_else(|| (!refusals.is_empty()).then(|| refusals.join("; ")))
    }

    /// Who may catch up from this domain's node: the invited, and whom a member has proposed.
    pub(super) fn let_guests_in(&self, proposals: &[IConsortium::Proposal]) {
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
        let votes = plan::votes(&self.settings.policy, me, proposals, &waiting, now());
        // At once: several newcomers do not wait for each other's blocks.
        let cast = votes.into_iter().map(|vote| async {
            let name = vote.name().to_owned();
            match self.cast(vote).await {
                Ok(_) => tracing::info!(candidate = name, "voted for the admission"),
                // Somebody else was quicker, or its block has another change: the next look tells.
                Err(problem) => tracing::debug!(candidate = name, detail = problem.detail, "could not vote"),
            }
        });
        join_all(cast).await;
        Ok(())
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
            self.follows_at(),
            &self.keys,
            &self.keys.validator.generation(0),
        )?;
        remote::post(&self.http, &invite.url, "api/v1/consortium/requests", &request).await
    }
}
