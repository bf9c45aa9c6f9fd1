//! What newcomers ask of a member, and what it keeps of that: invites and requests for admission.

use axum::http::StatusCode;
use hanse_orchestrator::api::Problem;
use url::Url;

use super::desk::{LASTS, Maker, Waiting};
use super::invite::Invite;
use super::pages::RequestPage;
use super::request::AdmissionRequest;
use super::service::{Consortium, failed, lock, now, now_ms, of_ledger};
use super::{kept, plan, token};

impl Consortium {
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

    /// Whether another request of a newcomer is served now: those who hold a token that is known here may ask more often.
    ///
    /// # Errors
    /// 429.
    pub(super) fn admit_request(&self, request: &AdmissionRequest) -> Result<(), Problem> {
        let token = request.token.as_ref();
        if token.is_some_and(|token| lock(&self.desk).knows(token)) && lock(&self.guest_rate).allows(now_ms()) {
            return Ok(());
        }
        self.admit_stranger()
    }

    /// Requests for admission that nobody has decided yet.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        lock(&self.desk).requests().to_vec()
    }

    pub(super) fn keep_desk(&self) -> Result<(), Problem> {
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
                caught_up: true,
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
        let height = self.node()?.status.borrow().height;
        let taken = lock(&self.desk).take(request, maker, height, now()).cloned();
        let waiting = taken.map_err(|refused| {
            Problem::new(
                StatusCode::FORBIDDEN,
                "refused",
                "The request is not taken",
                refused.to_string(),
            )
        })?;
        self.keep_desk()?;
        self.wake.notify_one();
        let proposals = self.ledger.proposals().await.map_err(of_ledger)?;
        self.let_guests_in(&proposals);
        let proposal = proposals.iter().find(|proposal| plan::admits(proposal, account));
        Ok(RequestPage {
            state: if proposal.is_some() { "proposed" } else { "waiting" }.into(),
            approvals: proposal.map_or(0, |proposal| proposal.approvals.len()),
            needed,
            caught_up: waiting.caught_up,
        })
    }
}
