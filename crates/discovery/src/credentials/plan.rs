//! What has to be done: which credentials there should be, which there are, and the time → actions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hanse_swarm::PeerId;
use hanse_swarm::model::{SealingKey, UnixMillis};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::names;
use super::policy::{Candidate, Policy, Rights};

/// One credential: of an Identity, for a peer in a swarm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Namespace of the Identity.
    pub namespace: String,
    /// Its name.
    pub identity: String,
    /// Short fingerprint of the swarm's key.
    pub swarm: String,
    pub peer: PeerId,
}

/// An Identity that is published in a swarm, and who is there.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub namespace: String,
    pub identity: String,
    pub uid: String,
    pub swarm: String,
    pub peers: Vec<SeenPeer>,
}

/// A peer as the swarm knows it.
#[derive(Debug, Clone)]
pub(super) struct SeenPeer {
    pub name: PeerId,
    pub categories: Vec<String>,
    pub sealing_key: SealingKey,
    /// Whether it is worth calling it.
    pub may_answer: bool,
}

/// A service account with its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Account {
    pub namespace: String,
    pub identity: String,
    /// The Identity's uid: what is made for another one of the same name counts for nothing.
    pub uid: String,
    /// Name of the account, the role and the binding.
    pub name: String,
    pub rights: Rights,
}

impl Account {
    /// Equal for equal accounts.
    pub fn digest(&self) -> String {
        digest(self)
    }
}

/// A credential that there should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub account: Account,
    /// Another one for other rights, another key to seal to, another server or audience.
    pub digest: String,
    pub may_answer: bool,
}

/// A credential that there is: what stands on its Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issued {
    /// uid of the Identity for which it was made.
    pub identity_uid: String,
    pub digest: String,
    /// When the peer confirmed to have it, and when it ends; `None`: it may have it or not.
    pub delivered: Option<Delivered>,
}

/// The last delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    pub at: UnixMillis,
    pub ends: UnixMillis,
}

/// What is in the cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Cluster {
    pub issued: BTreeMap<Key, Issued>,
    /// Accounts by namespace and name, with their digest.
    pub accounts: BTreeMap<(String, String), String>,
}

/// What this process remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Credentials that are being delivered.
    pub under_way: BTreeSet<Key>,
    /// Not before then is it tried again.
    pub not_before: BTreeMap<Key, UnixMillis>,
    /// Identities, by namespace and name, some of whose accounts somebody deleted in part.
    pub broken: BTreeSet<(String, String)>,
}

/// Something to be done. In this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Deletes the Secret to which the token is bound, with which the token ends at once.
    Revoke(Key),
    /// Deletes an account that nobody needs any more.
    RemoveAccount { namespace: String, name: String },
    /// Makes an account, or changes its role.
    MakeAccount(Account),
    /// Makes a token and delivers it.
    Issue { key: Key, wanted: Wanted },
}

/// What to do now, and when to look again if nothing happens until then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub actions: Vec<Action>,
    pub look_again: Option<UnixMillis>,
}

/// Where peers call the API server, as far as a credential depends on it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Server<'a> {
    pub url: &'a str,
    pub authority: &'a str,
}

fn digest(what: &impl Serialize) -> String {
    let text = serde_json::to_vec(what).expect("names and rules are plain data");
    let hash = Sha256::digest(text);
    hash.iter().take(16).fold(String::new(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

/// Which credentials there should be.
pub(super) fn wanted(
    policy: &Policy,
    published: &[Published],
    agreements: &BTreeSet<PeerId>,
    server: &Server<'_>,
) -> BTreeMap<Key, Wanted> {
    let everyone = policy.for_everyone();
    let mut all = BTreeMap::new();
    for identity in published {
        for peer in &identity.peers {
            let candidate = Candidate {
                name: peer.name,
                categories: &peer.categories,
                has_agreement: agreements.contains(&peer.name),
            };
            let Some(rights) = policy.rights(&candidate) else {
                continue;
            };
            // Equal rights are one account's: the one whose name the original's users know.
            let name = if Some(&rights) == everyone.as_ref() {
                identity.identity.clone()
            } else {
                names::own_account(&identity.identity, &peer.name)
            };
            let account = account(identity, name, rights);
            let sealing_key = String::from(peer.sealing_key);
            let digest = digest(&(&account, sealing_key, server, &policy.audiences));
            let key = Key {
                namespace: identity.namespace.clone(),
                identity: identity.identity.clone(),
                swarm: identity.swarm.clone(),
                peer: peer.name,
            };
            let wanted = Wanted {
                account,
                digest,
                may_answer: peer.may_answer,
            };
            all.insert(key, wanted);
        }
    }
    all
}

fn account(identity: &Published, name: String, rights: Rights) -> Account {
    Account {
        namespace: identity.namespace.clone(),
        identity: identity.identity.clone(),
        uid: identity.uid.clone(),
        name,
        rights,
    }
}

/// Which accounts there should be: those of the credentials, and the one for everyone also while nobody is there, as the
/// original makes it with the Identity.
fn accounts(
    policy: &Policy,
    published: &[Published],
    wanted: &BTreeMap<Key, Wanted>,
) -> BTreeMap<(String, String), Account> {
    let everyone = policy.for_everyone();
    let shared = published.iter().filter_map(|identity| {
        let rights = everyone.clone()?;
        Some(account(identity, identity.identity.clone(), rights))
    });
    let of_credentials = wanted.values().map(|wanted| wanted.account.clone());
    shared
        .chain(of_credentials)
        .map(|account| ((account.namespace.clone(), account.name.clone()), account))
        .collect()
}

/// What has to be done so that there is what should be.
pub(super) fn plan(
    policy: &Policy,
    published: &[Published],
    wanted: &BTreeMap<Key, Wanted>,
    cluster: &Cluster,
    memory: &Memory,
    now: UnixMillis,
) -> Plan {
    let mut plan = Plan::default();
    let mut revoked = BTreeSet::new();
    for (key, issued) in &cluster.issued {
        let stays = wanted
            .get(key)
            .is_some_and(|wanted| wanted.digest == issued.digest && wanted.account.uid == issued.identity_uid);
        if !stays {
            plan.actions.push(Action::Revoke(key.clone()));
            revoked.insert(key);
        }
    }
    let accounts = accounts(policy, published, wanted);
    for (namespace, name) in cluster.accounts.keys() {
        if !accounts.contains_key(&(namespace.clone(), name.clone())) {
            plan.actions.push(Action::RemoveAccount {
                namespace: namespace.clone(),
                name: name.clone(),
            });
        }
    }
    for (place, account) in accounts {
        let broken = memory
            .broken
            .contains(&(account.namespace.clone(), account.identity.clone()));
        if broken || cluster.accounts.get(&place) != Some(&account.digest()) {
            plan.actions.push(Action::MakeAccount(account));
        }
    }
    for (key, wanted) in wanted {
        if memory.under_way.contains(key) || !wanted.may_answer {
            continue;
        }
        let issued = cluster.issued.get(key).filter(|_| !revoked.contains(key));
        let due = due(policy, issued, now);
        let due = due.max(memory.not_before.get(key).copied().unwrap_or(UnixMillis(0)));
        if due <= now {
            plan.actions.push(Action::Issue {
                key: key.clone(),
                wanted: wanted.clone(),
            });
        } else {
            plan.look_again = Some(plan.look_again.map_or(due, |earlier| earlier.min(due)));
        }
    }
    plan
}

/// When a credential is to be made, anew or for the first time.
fn due(policy: &Policy, issued: Option<&Issued>, now: UnixMillis) -> UnixMillis {
    let Some(Delivered { at, ends }) = issued.and_then(|issued| issued.delivered) else {
        return now;
    };
    if at > now {
        // The clock was set back: how old it is can't be told.
        return now;
    }
    // A server may give shorter lives than it was asked for.
    let life = ends.since(at);
    let renew = policy.renew_after().min(life * 2 / 3);
    at.plus(renew)
}

/// How long to wait after the n-th failure (from 1): a quarter of a second, doubled each time, up to a minute.
pub(super) fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.saturating_sub(1).min(8)).min(Duration::from_secs(60))
}
