//! Which Identity speaks for the domain in which swarm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;

use crate::model::{Identity, SwarmPool, TargetedSwarm};
use crate::swarms::{Entry, EntryKey, SwarmId};

/// An Identity, as others refer to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Owner {
    /// Of this Identity.
    pub fn of(identity: &Identity) -> Self {
        Self {
            namespace: identity.namespace().unwrap_or_default(),
            name: identity.name_any(),
            uid: identity.uid().unwrap_or_default(),
        }
    }
}

/// Who speaks in a swarm.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The Identity.
    pub identity: Arc<Identity>,
    /// The same, as it is referred to.
    pub owner: Owner,
}

/// Why an Identity does not speak in a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// There is no such pool.
    PoolNotFound(String),
    /// The pool has no such swarm.
    SwarmNotFound(String),
    /// The pool is there, and its swarm does not run.
    SwarmNotReady(String),
    /// Another Identity speaks there.
    Conflict(String),
    /// The same swarm is named twice.
    Repeated(String),
}

impl Hindrance {
    /// The reason of the condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PoolNotFound(_) => "PoolNotFound",
            Self::SwarmNotFound(_) => "SwarmNotFound",
            Self::SwarmNotReady(_) => "SwarmNotReady",
            Self::Conflict(_) => "Conflict",
            Self::Repeated(_) => "Repeated",
        }
    }

    /// For people.
    pub fn message(&self) -> &str {
        match self {
            Self::PoolNotFound(text)
            | Self::SwarmNotFound(text)
            | Self::SwarmNotReady(text)
            | Self::Conflict(text)
            | Self::Repeated(text) => text,
        }
    }
}

/// What became of one target of an Identity.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which swarm of which pool.
    pub entry: EntryKey,
    /// The swarm, if it runs.
    pub swarm: Option<SwarmId>,
    /// Why it does not speak there.
    pub hindrance: Option<Hindrance>,
}

/// Who speaks where.
#[derive(Debug, Clone, Default)]
pub struct PublicationPlan {
    /// One Identity at most for each swarm.
    pub claims: BTreeMap<SwarmId, Claim>,
    /// Of every Identity that is not being deleted, in the order of its spec.
    pub targets: BTreeMap<Owner, Vec<Target>>,
    /// Namespaces with an Identity one of whose swarms should run and does not: what is there is left as it is.
    pub unsettled: BTreeSet<String>,
}

/// The entry that a target means.
pub(super) fn entry_of(identity: &Identity, target: &TargetedSwarm) -> EntryKey {
    EntryKey {
        namespace: target
            .namespace
            .clone()
            .or_else(|| identity.namespace())
            .unwrap_or_default(),
        pool: target.swarm_pool.clone(),
        swarm: target.swarm.clone(),
    }
}

/// Decides. The oldest Identity that names a swarm speaks there; among those of the same second the one whose namespace and
/// name come first.
pub fn publications(
    identities: &[Arc<Identity>],
    pools: &[Arc<SwarmPool>],
    entries: &BTreeMap<EntryKey, Entry>,
) -> PublicationPlan {
    let mut plan = PublicationPlan::default();
    let mut living: Vec<_> = identities
        .iter()
        .filter(|identity| identity.metadata.deletion_timestamp.is_none())
        .map(|identity| {
            let created = identity.creation_timestamp().map(|time| time.0);
            (created, Owner::of(identity), identity)
        })
        .collect();
    living.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    for (_, owner, identity) in living {
        let mut targets: Vec<Target> = Vec::new();
        for target in &identity.spec.swarms {
            let entry = entry_of(identity, target);
            let (swarm, hindrance) = match entries.get(&entry) {
                Some(Entry::Running(id)) => (Some(id.clone()), taken(&plan, &targets, id, &entry)),
                Some(Entry::Waiting(why)) => {
                    plan.unsettled.insert(owner.namespace.clone());
                    let text = format!("{entry} does not run yet: {why}");
                    (None, Some(Hindrance::SwarmNotReady(text)))
                }
                None => (None, Some(absent(&entry, pools))),
            };
            if let (Some(id), None) = (&swarm, &hindrance) {
                let claim = Claim {
                    identity: Arc::clone(identity),
                    owner: owner.clone(),
                };
                plan.claims.insert(id.clone(), claim);
            }
            targets.push(Target {
                entry,
                swarm,
                hindrance,
            });
        }
        plan.targets.insert(owner, targets);
    }
    plan
}

/// Why somebody else speaks in the swarm already.
fn taken(plan: &PublicationPlan, before: &[Target], id: &SwarmId, entry: &EntryKey) -> Option<Hindrance> {
    if before.iter().any(|other| other.swarm.as_ref() == Some(id)) {
        return Some(Hindrance::Repeated(format!(
            "{entry} is a swarm that this Identity names already; remove one of the two"
        )));
    }
    let claim = plan.claims.get(id)?;
    Some(Hindrance::Conflict(format!(
        "in {entry} the older Identity {}/{} speaks for this domain; delete that one, or remove the swarm from one of the two",
        claim.owner.namespace, claim.owner.name
    )))
}

/// Why there is no such entry, and what there is.
fn absent(entry: &EntryKey, pools: &[Arc<SwarmPool>]) -> Hindrance {
    let living = pools.iter().filter(|pool| pool.metadata.deletion_timestamp.is_none());
    let here: Vec<_> = living
        .clone()
        .filter(|pool| pool.namespace().as_deref() == Some(entry.namespace.as_str()))
        .collect();
    if let Some(pool) = here.iter().find(|pool| pool.name_any() == entry.pool) {
        if pool.spec.swarms.iter().any(|swarm| swarm.name == entry.swarm) {
            return Hindrance::SwarmNotReady(format!("{entry} is being set up"));
        }
        return Hindrance::SwarmNotFound(format!(
            "SwarmPool {}/{} has no swarm {}; it has: {}",
            entry.namespace,
            entry.pool,
            entry.swarm,
            listed(pool.spec.swarms.iter().map(|swarm| swarm.name.clone()))
        ));
    }
    let mut text = format!(
        "there is no SwarmPool {} in namespace {}; there is: {}",
        entry.pool,
        entry.namespace,
        listed(here.iter().map(|pool| pool.name_any()))
    );
    let elsewhere: Vec<String> = living
        .filter(|pool| pool.name_any() == entry.pool)
        .filter_map(|pool| pool.namespace())
        .collect();
    if !elsewhere.is_empty() {
        text += &format!("; one of that name is in: {}", listed(elsewhere.into_iter()));
    }
    Hindrance::PoolNotFound(text)
}

/// The first few names, and that there are more.
fn listed(names: impl Iterator<Item = String>) -> String {
    const MOST: usize = 8;
    let names: Vec<String> = names.collect();
    match names.len() {
        0 => "none".into(),
        1..=MOST => names.join(", "),
        more => format!("{} and {} more", names[..MOST].join(", "), more - MOST),
    }
}
