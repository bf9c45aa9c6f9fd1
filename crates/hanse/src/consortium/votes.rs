//! What an operator decides about the consortium: who comes, who goes, and whether this domain stays.

use alloy::primitives::U256;
use hanse_orchestrator::api::Problem;

use super::pages::{ChangePage, ProposalPage};
use super::plan;
use super::service::{Change, Consortium, changed, of_ledger};

impl Consortium {
    /// Votes for the admission or removal of a domain, named by name, account or number of the proposal.
    pub(super) async fn vote(&self, what: &str) -> Result<ProposalPage, Problem> {
        let members = self.ledger.members().await.map_err(of_ledger)?;
        let proposals = self.ledger.proposals().await.map_err(of_ledger)?;
        let waiting = self.waiting();
        let vote = plan::find(what, &members, &proposals, &waiting).map_err(Problem::not_found)?;
        let id = vote.proposal();
        self.cast(vote).await?;
        self.decided(id, what).await
    }

    /// Proposes that a member has to go.
    pub(super) async fn remove(&self, who: &str, accept_fewer_than_four: bool) -> Result<ProposalPage, Problem> {
        let members = self.ledger.members().await.map_err(of_ledger)?;
        let Some(target) = plan::member(who, &members) else {
            return Err(Problem::not_found(format!(
                "{who:?} is neither the name nor the account of a member"
            )));
        };
        if target == self.ledger.account() {
            return Err(Problem::conflict(
                "a domain does not remove itself; use `hanse consortium leave`",
            ));
        }
        let proposals = self.ledger.proposals().await.map_err(of_ledger)?;
        let open = proposals
            .iter()
            .find(|proposal| proposal.kind == plan::REMOVAL && proposal.target == target);
        if let Some(open) = open {
            // Two members who propose the same at once mean one proposal.
            let id = open.id;
            self.change(Change::Approve(id)).await?;
            return self.decided(Some(id), who).await;
        }
        self.change(Change::Remove(target, accept_fewer_than_four)).await?;
        self.decided(None, who).await
    }

    /// How a proposal stands after this domain's vote. Without a number it is the newest about that domain.
    async fn decided(&self, id: Option<U256>, what: &str) -> Result<ProposalPage, Problem> {
        let members = self.ledger.members().await.map_err(of_ledger)?;
        let open = self.ledger.proposals().await.map_err(of_ledger)?;
        let me = self.ledger.account();
        let proposal = match id {
            Some(id) => self.ledger.proposal(id).await.map_err(of_ledger)?,
            None => match open.iter().rev().find(|proposal| proposal.proposer == me) {
                Some(proposal) => proposal.clone(),
                // It needed no other vote.
                None => {
                    return Ok(ProposalPage {
                        id: 0,
                        kind: String::new(),
                        subject: what.to_owned(),
                        state: "passed".into(),
                        approvals: vec![self.settings.me.name.clone()],
                        needed: 1,
                        deadline: 0,
                    });
                }
            },
        };
        Ok(self.proposal_page(&proposal, &members))
    }

    /// This domain leaves.
    pub(super) async fn leave(&self, accept_fewer_than_four: bool) -> Result<ChangePage, Problem> {
        let receipt = self.change(Change::Leave(accept_fewer_than_four)).await?;
        let done = format!(
            "{} has left the consortium; its agent can be stopped",
            self.settings.me.name
        );
        Ok(changed(done, receipt, None))
    }
}
