//! Identities: what this domain says in which swarm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use hanse_swarm::model as record;
use hanse_swarm::model::Statement;
use hanse_swarm::peers::Presence;
use jiff::Timestamp;
use kube::ResourceExt;

use super::pools::is_withdrawn;
use super::{Controller, Pass, Shared, apply_status, has_finalizer, set_finalizer};
use crate::credentials::{CONDITION_DELIVERED, Speaks};
use crate::metrics::Row;
use crate::model::{Identity, IdentitySpec};
use crate::plan::{Owner, PublicationPlan, Target, TargetReport, identity_status, publications};
use crate::swarms::{EntryKey, Member, Said, Snapshot, SwarmId};

/// How soon it is looked again whether a withdrawal was taken.
const WITHDRAWING: Duration = Duration::from_millis(50);

/// The controller.
pub struct Identities {
    shared: Arc<Shared>,
    rows: Arc<Mutex<Vec<Row>>>,
    /// uids of those that wait for us when they are deleted.
    marked: BTreeSet<String>,
}

impl Controller for Identities {
    async fn pass(&mut self) -> Pass {
        let mut pass = Pass::default();
        let now = self.shared.swarms.now();
        let Some(entries) = &now.entries else { return pass };
        let identities = self.shared.identities.state();
        let marked = self.mark(&identities, &mut pass).await;
        let plan = publications(&marked, &self.shared.pools.state(), entries);
        let troubles = self.publish(&plan, &now, &mut pass).await;
        self.tell_who_speaks(&plan, &now);
        self.report(&identities, &plan, &troubles, &now, &mut pass).await;
        self.let_go(&identities, &plan, &now, &mut pass).await;
        pass
    }
}

impl Identities {
    /// `rows`: where the figures for the metrics go.
    pub fn new(shared: Arc<Shared>, rows: Arc<Mutex<Vec<Row>>>) -> Self {
        Self {
            shared,
            rows,
            marked: BTreeSet::new(),
        }
    }

    /// Only Identities that wait for us when they are deleted may speak: else their going would not be told.
    async fn mark(&mut self, identities: &[Arc<Identity>], pass: &mut Pass) -> Vec<Arc<Identity>> {
        let (known, shared) = (&self.marked, &self.shared);
        let mark = |identity: Arc<Identity>| async move {
            if identity.metadata.deletion_timestamp.is_some() || has_finalizer(&*identity) {
                return (Some(identity), Ok(()));
            }
            let namespace = identity.namespace().unwrap_or_default();
            let done = set_finalizer(&*identity, &shared.api(&namespace), true).await;
            // What is seen of it may be older than the mark: it does not stop speaking for that.
            let known = identity.uid().is_some_and(|uid| known.contains(&uid));
            ((known || done.is_ok()).then_some(identity), done)
        };
        let mut marked = Vec::new();
        for (identity, done) in join_all(identities.iter().cloned().map(mark)).await {
            pass.check(|| "an Identity could not be marked".into(), done);
            marked.extend(identity);
        }
        self.marked = marked.iter().filter_map(|identity| identity.uid()).collect();
        marked
    }

    /// Says in each swarm what is to be said there. Returns what could not be said, and why.
    async fn publish(
        &self,
        plan: &PublicationPlan,
        now: &Snapshot,
        pass: &mut Pass,
    ) -> BTreeMap<SwarmId, (String, String)> {
        let mut troubles = BTreeMap::new();
        let says = now.members.values().map(|member| self.say(plan, member));
        for (id, said) in now.members.keys().zip(join_all(says).await) {
            if let Err((reason, message)) = said {
                pass.failed |= reason != "Invalid";
                troubles.insert(id.clone(), (reason.to_owned(), message));
            }
        }
        troubles
    }

    /// Only who has published can be answered: credentials go by that.
    fn tell_who_speaks(&self, plan: &PublicationPlan, now: &Snapshot) {
        let speaking = plan.claims.iter().filter_map(|(id, claim)| {
            let member = now.members.get(id)?;
            let present = matches!(member.said(), Said::Statement(Statement::Present(_), _));
            present.then(|| Speaks {
                namespace: claim.owner.namespace.clone(),
                identity: claim.owner.name.clone(),
                uid: claim.owner.uid.clone(),
                fingerprint: id.to_string(),
                swarm: Arc::clone(&member.swarm),
            })
        });
        let speaking: Vec<Speaks> = speaking.collect();
        self.shared.speaks.send_if_modified(|before| {
            let same = *before == speaking;
            *before = speaking;
            !same
        });
    }

    async fn say(&self, plan: &PublicationPlan, member: &Member) -> Result<(), (&'static str, String)> {
        let statement = match plan.claims.get(&member.id) {
            Some(claim) => {
                let identity = self
                    .record(&claim.identity.spec, member)
                    .map_err(|error| ("Invalid", error.to_string()))?;
                Statement::Present(Box::new(identity))
            }
            None => Statement::Withdrawn,
        };
        match member.said() {
            Said::Statement(said, _) if said == statement => return Ok(()),
            Said::Unknown if statement == Statement::Withdrawn => {
                let status = member
                    .swarm
                    .status()
                    .await
                    .map_err(|error| ("NotPublished", error.to_string()))?;
                // Whoever never said anything has nothing to withdraw.
                if status.published.is_none() {
                    return Ok(());
                }
            }
            _ => {}
        }
        match member.swarm.publish(statement.clone()).await {
            Ok(()) => {
                member.note(statement);
                Ok(())
            }
            Err(hanse_swarm::service::PublishError::Statement(error)) => Err(("Invalid", error.to_string())),
            Err(error) => Err(("NotPublished", error.to_string())),
        }
    }

    fn record(&self, spec: &IdentitySpec, member: &Member) -> Result<record::Identity, record::TextError> {
        let categories = spec.categories.iter().map(|category| category.name.clone().try_into());
        let identity = record::Identity::new(
            spec.name.clone().try_into()?,
            spec.description.clone().try_into()?,
            spec.url.clone().try_into()?,
            categories.collect::<Result<_, _>>()?,
            member.swarm.sealing_key(),
        )?;
        let membership = member.is_default.then(|| self.shared.membership.borrow().clone());
        let party = member.is_default.then(|| self.shared.settings.party.borrow().clone());
        Ok(identity
            .with_membership(membership.flatten())
            .with_party(party.flatten()))
    }

    async fn report(
        &self,
        identities: &[Arc<Identity>],
        plan: &PublicationPlan,
        troubles: &BTreeMap<SwarmId, (String, String)>,
        now: &Snapshot,
        pass: &mut Pass,
    ) {
        let mut rows = Vec::new();
        let mut writes = Vec::new();
        for identity in identities {
            let owner = Owner::of(identity);
            let withdrawing = identity.metadata.deletion_timestamp.is_some();
            let targets = plan.targets.get(&owner).map(Vec::as_slice).unwrap_or_default();
            let reports: Vec<TargetReport> = targets.iter().map(|target| report(target, troubles, now)).collect();
            if !withdrawing {
                let row = |report: &TargetReport, target: &Target| {
                    Row::new(&owner, report, target.swarm.as_ref().and_then(|id| now.members.get(id)))
                };
                rows.extend(
                    reports
                        .iter()
                        .zip(targets)
                        .filter(|(report, _)| report.trouble.is_none())
                        .map(|(report, target)| row(report, target)),
                );
            }
            let generation = identity.metadata.generation.unwrap_or_default();
            // Of the conditions, that of the credentials is written by them.
            let mut old = identity.status.clone();
            if let Some(old) = &mut old {
                old.conditions.retain(|condition| condition.kind != CONDITION_DELIVERED);
            }
            let old = old.as_ref();
            let (status, transitions) = identity_status(old, &reports, withdrawing, generation, Timestamp::now());
            if old != Some(&status) {
                writes.push(async move {
                    let api = self.shared.api(&owner.namespace);
                    let done = apply_status(&**identity, &api, &status).await;
                    if done.is_ok() {
                        self.shared.events.tell(&**identity, &transitions);
                    }
                    done
                });
            }
        }
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        for done in join_all(writes).await {
            pass.check(|| "the status of an Identity could not be written".into(), done);
        }
    }

    /// Identities that are being deleted may go when the others were told.
    async fn let_go(&self, identities: &[Arc<Identity>], plan: &PublicationPlan, now: &Snapshot, pass: &mut Pass) {
        for identity in identities {
            if identity.metadata.deletion_timestamp.is_none() || !has_finalizer(&**identity) {
                continue;
            }
            let mut told = true;
            for member in now
                .members
                .values()
                .filter(|member| !plan.claims.contains_key(&member.id))
            {
                told &= is_withdrawn(member, self.shared.settings.withdraw_within).await;
            }
            if !told {
                pass.again(WITHDRAWING);
                continue;
            }
            let namespace = identity.namespace().unwrap_or_default();
            let done = set_finalizer(&**identity, &self.shared.api(&namespace), false).await;
            pass.check(
                || format!("Identity {namespace}/{} could not be let go", identity.name_any()),
                done,
            );
        }
    }
}

/// What became of a target.
fn report(target: &Target, troubles: &BTreeMap<SwarmId, (String, String)>, now: &Snapshot) -> TargetReport {
    let hindered = target.hindrance.as_ref();
    let hindered = hindered.map(|hindrance| (hindrance.reason().to_owned(), hindrance.message().to_owned()));
    let failed = || troubles.get(target.swarm.as_ref()?).cloned();
    let member = target.swarm.as_ref().and_then(|id| now.members.get(id));
    let (synchronized, out_of_sync) = member.map(|member| counts(member)).unwrap_or_default();
    TargetReport {
        entry: EntryKey::clone(&target.entry),
        trouble: hindered.or_else(failed),
        synchronized,
        out_of_sync,
    }
}

/// Domains with a valid record that answer; and members that do not answer, or have not published who they are.
fn counts(member: &Member) -> (u32, u32) {
    let view = member.view();
    let online = view
        .peers
        .iter()
        .filter(|peer| peer.presence == Presence::Online)
        .count();
    let connected_domains = view.peers.iter().filter(|peer| peer.connected()).count();
    let silent = view.connected.saturating_sub(connected_domains);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (count(online), count(view.peers.len() - online + silent))
}
