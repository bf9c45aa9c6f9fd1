//! Who could provide, as the ledger and the swarm have it.
//!
//! A peer of the swarm is a member if both say so: the ledger has the peer id in the member's entry, which the member alone can
//! change, and the peer's signed record has the member's account. Either alone could name somebody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_agreement::policy::{Candidate, Capacity, Unfit};
use hanse_agreement::{Account, Bid, Terms};
use hanse_swarm::PeerId;
use hanse_swarm::peers::Presence;
use hanse_swarm::service::PeerView;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::api::UnfitDomain;
use crate::error::StepError;
use crate::federation::Member;
use crate::model::{ConsumerRecord, Eligible, Providers};
use crate::request::RequestError;
use crate::service::{Orchestrator, Shared};

/// Changes in the swarm that come this close to each other are looked at together.
const GATHER: Duration = Duration::from_millis(200);

/// The members' peers, by account.
fn in_swarm<'a>(members: &[Member], peers: &'a [PeerView]) -> BTreeMap<Account, &'a PeerView> {
    let by_name: BTreeMap<PeerId, &PeerView> = peers.iter().map(|peer| (peer.name, peer)).collect();
    let tied = members.iter().filter_map(|member| {
        let peer = by_name.get(&member.peer?)?;
        let party = peer.identity.party()?;
        (party.account() == member.account).then_some((member.account, *peer))
    });
    tied.collect()
}

/// All members but `me`, with what is known of each.
fn candidates<'a>(members: &'a [Member], peers: &'a [PeerView], me: Account) -> Vec<(Account, Candidate<'a>)> {
    let peers = in_swarm(members, peers);
    let others = members.iter().filter(|member| member.account != me);
    let candidate = |member: &'a Member| {
        let peer = peers.get(&member.account);
        let categories = |peer: &&'a PeerView| peer.identity.categories().iter().map(|it| it.as_str()).collect();
        let party = peer.and_then(|peer| peer.identity.party());
        let candidate = Candidate {
            name: &member.name,
            account: Some(member.account),
            categories: peer.map(categories),
            capacity: match party.map(|party| party.capacity()) {
                None => Capacity::Unknown,
                Some(None) => Capacity::Nothing,
                Some(Some(capacity)) => Capacity::UpTo(*capacity),
            },
            reachable: !peer.is_some_and(|peer| matches!(peer.presence, Presence::Offline { .. })),
        };
        (member.account, candidate)
    };
    others.map(candidate).collect()
}

/// Who qualifies before an announcement, and why the others don't.
fn sift(
    asked: &Providers,
    required: &Terms,
    candidates: &[(Account, Candidate<'_>)],
) -> (BTreeSet<Account>, Vec<UnfitDomain>) {
    let (mut qualified, mut unfit) = (BTreeSet::new(), Vec::new());
    for (account, candidate) in candidates {
        let mut reasons = asked.wish().unfit(required, candidate);
        reasons.retain(Unfit::is_certain);
        if reasons.is_empty() {
            qualified.insert(*account);
        } else {
            unfit.push(UnfitDomain {
                domain: candidate.name.to_owned(),
                account: account.to_string(),
                reasons: reasons.iter().map(ToString::to_string).collect(),
            });
        }
    }
    (qualified, unfit)
}

/// Those of `bids` whose bidders qualify now and did not when it was looked last.
fn newly_qualified(eligible: &Eligible, bids: &[Bid], candidates: &[(Account, Candidate<'_>)]) -> BTreeSet<Account> {
    let has_bid = |account: &Account| bids.iter().any(|bid| bid.bidder == *account);
    let is_new = |account: &Account| !eligible.qualified.contains(account) && has_bid(account);
    let wish = eligible.asked.wish();
    let admitted = candidates
        .iter()
        .filter(|(account, candidate)| is_new(account) && wish.admits(candidate));
    admitted.map(|(account, _)| *account).collect()
}

/// What is asked for that no member is called.
fn unknown_domain<'a>(asked: &'a Providers, members: &[Member]) -> Option<&'a String> {
    let is_known = |domain: &String| {
        let is_it = |member: &Member| {
            member.name == *domain || domain.parse::<Account>().is_ok_and(|account| account == member.account)
        };
        members.iter().any(is_it)
    };
    asked.domains.iter().find(|domain| !is_known(domain))
}

impl Shared {
    /// Who of the members may provide what `required` says. Nothing is announced if nobody may, unless the caller waits.
    pub(crate) async fn eligible(
        &self,
        asked: &Providers,
        required: &Terms,
        members: &[Member],
    ) -> Result<Eligible, RequestError> {
        asked
            .check()
            .map_err(|(field, reason)| RequestError::Invalid { field, reason })?;
        if !asked.wait
            && let Some(domain) = unknown_domain(asked, members)
        {
            let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
            return Err(RequestError::Invalid {
                field: "providers.domains",
                reason: format!("no member is called {domain:?}; the members are {}", names.join(", ")),
            });
        }
        let peers = self.peers().await?;
        let (qualified, unfit) = sift(asked, required, &candidates(members, &peers, self.me()));
        if qualified.is_empty() && !asked.wait {
            return Err(RequestError::NoProvider(unfit));
        }
        Ok(Eligible {
            asked: asked.clone(),
            qualified,
        })
    }

    async fn peers(&self) -> Result<Vec<PeerView>, StepError> {
        let peers = self.swarm.peers().await;
        peers.map_err(|_| StepError::NotYet("the agent is leaving the swarm".into()))
    }

    /// The record with those who have bid and qualify now; they are written down before they are counted.
    pub(crate) async fn with_newly_qualified(
        &self,
        record: ConsumerRecord,
        bids: &[Bid],
        members: &[Member],
    ) -> Result<ConsumerRecord, StepError> {
        let Some(eligible) = &record.providers else {
            return Ok(record);
        };
        if bids.iter().all(|bid| eligible.qualified.contains(&bid.bidder)) {
            return Ok(record);
        }
        let peers = self.peers().await?;
        let new = newly_qualified(eligible, bids, &candidates(members, &peers, self.me()));
        if new.is_empty() {
            return Ok(record);
        }
        let id = record.id();
        self.update_consumer(id, move |record| {
            if let Some(eligible) = &mut record.providers {
                eligible.qualified.extend(new);
            }
        })
        .await?;
        Ok(self.store.consumer(id)?.unwrap_or(record))
    }

    /// Has the agreements that wait for certain providers looked at when something changes in the swarm.
    pub(crate) async fn follow_swarm(self: Arc<Self>) {
        let mut changes = self.swarm.changes();
        loop {
            match changes.recv().await {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
            sleep(GATHER).await;
            while changes.try_recv().is_ok() {}
            let waits = |record: &ConsumerRecord| {
                record.outcome.is_none() && record.award.is_none() && record.providers.is_some()
            };
            for record in self.store.consumers().unwrap_or_default().iter().filter(|it| waits(it)) {
                self.wake(record.id());
            }
        }
    }
}

impl Orchestrator {
    /// Counts changes of the agreements' records.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The peers of the swarm that are, as ledger and swarm agree, members with which this domain has an agreement that was awarded
    /// and is not over, on either side.
    ///
    /// # Errors
    /// If store, ledger or swarm can't be read.
    pub async fn partners(&self) -> Result<BTreeSet<PeerId>, StepError> {
        let shared = &self.shared;
        let (consumers, providers) = (shared.store.consumers()?, shared.store.providers()?);
        let of_consumers = consumers.iter().filter_map(ConsumerRecord::partner);
        let partners: BTreeSet<Account> = of_consumers
            .chain(providers.iter().filter_map(|record| record.partner()))
            .collect();
        if partners.is_empty() {
            return Ok(BTreeSet::new());
        }
        let (members, peers) = (shared.ledger.members().await?, shared.peers().await?);
        let tied = in_swarm(&members, &peers).into_iter();
        let tied = tied.filter(|(account, _)| partners.contains(account));
        Ok(tied.map(|(_, peer)| peer.name).collect())
    }
}

#[cfg(test)]
mod tests;
