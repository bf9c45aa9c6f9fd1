//! What a domain looks after by itself: who may catch up from it, its votes if it gives them automatically, and its own request
//! for admission as long as it is no member.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use futures::future::join_all;
use hanse_chain::consensus::validator_peer;
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

/// Between two looks at what is open.
const LOOK: Duration = Duration::from_secs(1);

impl Consortium {
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
        remote::post(&self.http, &invite.url, "api/v1/consortium/requests", &request).await
    }
}
