//! Giving: looks at who should have which credential, and does what the plan says. Deliveries run beside it, so that a peer that
//! is slow keeps nobody from losing rights.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use hanse_swarm::Swarm;
use hanse_swarm::model::UnixMillis;
use hanse_swarm::peers::Presence;
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::cluster::{self, CallError, within};
use super::kubeconfig::{KubeconfigError, PeerKubeconfig};
use super::message::{Delivery, Receipt, TOPIC};
use super::names;
use super::plan::{self, Action, Cluster, Delivered, Key, Memory, Published, SeenPeer, Wanted};
use super::policy::Policy;
use super::report::{DELIVERED, Finding, Reports};
use super::{ApiServer, Sources, Speaks};
use crate::model::Identity;

/// How long a peer may take to store a credential.
const DELIVERING: Duration = Duration::from_secs(30);
/// Deliveries at a time.
const AT_A_TIME: usize = 4;
/// Everything is looked at so often although nothing is known to have changed: somebody may have deleted a Secret by hand.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// That some wait still is said this often, not at each that waits no longer.
const STILL_PENDING: Duration = Duration::from_secs(5);
/// How many peers are named in a condition.
const NAMED: usize = 3;

/// Reason of the condition of an Identity while some peers do not have their credential.
const PENDING: &str = "Pending";

/// The wall clock, read here only. 0 for a clock before 1970.
fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

/// Why a credential was not delivered.
#[derive(Debug, thiserror::Error)]
enum IssueError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("what would be delivered is no kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    #[error(transparent)]
    Ask(#[from] hanse_swarm::service::AskError),
    #[error("it can't store it yet")]
    Later,
    #[error("it refused: {0}")]
    Refused(String),
    #[error("what it answered is no receipt")]
    NoReceipt,
}

struct Outcome {
    key: Key,
    digest: String,
    result: Result<(), IssueError>,
}

/// What a delivery needs.
#[derive(Clone)]
struct Courier {
    client: Client,
    server: Arc<ApiServer>,
    policy: Arc<Policy>,
    swarm: Arc<Swarm>,
}

/// Gives credentials.
pub(super) struct Giver {
    client: Client,
    reports: Reports,
    sources: Sources,
    memory: Memory,
    /// Failures one after another, with the digest of what was to be delivered and what happened last.
    failures: BTreeMap<Key, (String, u32, String)>,
    /// Accounts that could not be made, and why.
    hindrances: BTreeMap<(String, String), String>,
    running: JoinSet<Outcome>,
    aborts: HashMap<Key, (String, AbortHandle)>,
    slots: Arc<Semaphore>,
    /// Namespaces in which there may be something.
    namespaces: BTreeSet<String>,
    /// What was said of each Identity last, by its uid.
    told: BTreeMap<String, (Finding, Instant)>,
}

impl Giver {
    pub fn new(client: Client, reports: Reports, sources: Sources) -> Self {
        Self {
            client,
            reports,
            sources,
            memory: Memory::default(),
            failures: BTreeMap::new(),
            hindrances: BTreeMap::new(),
            running: JoinSet::new(),
            aborts: HashMap::new(),
            slots: Arc::new(Semaphore::new(AT_A_TIME)),
            namespaces: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// Waits until a delivery is over; never, while there is none.
    pub async fn delivered(&mut self) {
        loop {
            match self.running.join_next().await {
                Some(Ok(outcome)) => break self.note(outcome),
                // It was revoked meanwhile.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
        while let Some(over) = self.running.try_join_next() {
            if let Ok(outcome) = over {
                self.note(outcome);
            }
        }
    }

    fn note(&mut self, outcome: Outcome) {
        let Outcome { key, digest, result } = outcome;
        // Another one may run for the same key, of a newer policy.
        if self.aborts.get(&key).is_some_and(|(running, _)| *running == digest) {
            self.aborts.remove(&key);
            self.memory.under_way.remove(&key);
        }
        match result {
            Ok(()) => {
                tracing::info!(peer = %key.peer, identity = key.identity, namespace = key.namespace, "a credential was delivered");
                self.failures.remove(&key);
                self.memory.not_before.remove(&key);
            }
            Err(error) => {
                if let IssueError::Call(error) = &error
                    && error.is_not_found()
                {
                    // Somebody deleted the account.
                    self.memory.broken.insert((key.namespace.clone(), key.identity.clone()));
                }
                let before = self.failures.get(&key).filter(|(failed, ..)| *failed == digest);
                let count = before.map_or(1, |(_, count, _)| count.saturating_add(1));
                let pause = match error {
                    IssueError::Refused(_) => plan::pause(u32::MAX),
                    _ => plan::pause(count),
                };
                tracing::debug!(peer = %key.peer, %error, ?pause, "a credential was not delivered; it is tried again");
                self.memory.not_before.insert(key.clone(), now().plus(pause));
                self.failures.insert(key, (digest, count, error.to_string()));
            }
        }
    }

    /// Looks at everything once. Returns how long nothing has to be done, if nothing changes until then.
    pub async fn pass(&mut self) -> Result<Duration, CallError> {
        let policy = Arc::new(self.sources.policy.borrow_and_update().clone());
        let agreements = self.sources.agreements.borrow_and_update().clone();
        // After a restart, who has an agreement keeps what it has until that is known.
        let agreements = match agreements {
            Some(agreements) => agreements,
            None if policy.asks_for_agreements() => return Ok(LOOK_AGAIN),
            None => BTreeSet::new(),
        };
        let speaks = self.sources.speaks.borrow_and_update().clone();
        let mut published = Vec::new();
        let mut swarms = BTreeMap::new();
        for speaks in &speaks {
            if let Some(identity) = seen(speaks).await {
                swarms.insert(identity.swarm.clone(), speaks.swarm.clone());
                self.namespaces.insert(identity.namespace.clone());
                published.push(identity);
            }
        }
        let (cluster, strays) = cluster::read(&self.client, &self.namespaces).await?;
        for (namespace, name) in strays {
            tracing::warn!(
                namespace,
                name,
                "a Secret of a credential was changed by somebody; it is revoked"
            );
            cluster::revoke(&self.client, &namespace, &name).await?;
        }
        let server = self.sources.server.clone();
        let wanted = server.as_ref().map_or_else(
            |_| BTreeMap::new(),
            |server| plan::wanted(&policy, &published, &agreements, &server.view()),
        );
        self.forget(&wanted);
        let now = now();
        let plan = plan::plan(&policy, &published, &wanted, &cluster, &self.memory, now);
        let mut again = plan.look_again.map_or(LOOK_AGAIN, |at| at.since(now).min(LOOK_AGAIN));
        self.revoke(&plan.actions, &wanted, &swarms).await?;
        self.accounts(&plan.actions).await?;
        if let Ok(server) = &server {
            let server = Arc::new(server.clone());
            for action in plan.actions {
                if let Action::Issue { key, wanted } = action {
                    self.issue(key, wanted, &policy, &server, &swarms);
                }
            }
        }
        if !self.report(&published, &wanted, &cluster).await || !self.hindrances.is_empty() {
            again = again.min(Duration::from_secs(1));
        }
        let here: BTreeSet<String> = published.into_iter().map(|identity| identity.namespace).collect();
        if cluster.issued.is_empty() && cluster.accounts.is_empty() {
            self.namespaces = here;
        }
        Ok(again)
    }

    /// What is no longer wanted is remembered no longer, and not delivered either.
    fn forget(&mut self, wanted: &BTreeMap<Key, Wanted>) {
        let is_wanted = |key: &Key, digest: &str| wanted.get(key).is_some_and(|wanted| wanted.digest == digest);
        self.failures.retain(|key, (digest, ..)| is_wanted(key, digest));
        let failures = &self.failures;
        self.memory.not_before.retain(|key, _| failures.contains_key(key));
        let stale: Vec<Key> = self
            .aborts
            .iter()
            .filter(|(key, (digest, _))| !is_wanted(key, digest))
            .map(|(key, _)| key.clone())
            .collect();
        for key in stale {
            if let Some((_, abort)) = self.aborts.remove(&key) {
                abort.abort();
            }
            self.memory.under_way.remove(&key);
        }
    }

    async fn revoke(
        &self,
        actions: &[Action],
        wanted: &BTreeMap<Key, Wanted>,
        swarms: &BTreeMap<String, Arc<Swarm>>,
    ) -> Result<(), CallError> {
        let revoked = actions.iter().filter_map(|action| match action {
            Action::Revoke(key) => Some(key),
            _ => None,
        });
        let revoking = revoked.map(|key| async move {
            cluster::revoke(&self.client, &key.namespace, &names::binding(key)).await?;
            tracing::info!(peer = %key.peer, identity = key.identity, namespace = key.namespace, "a credential was revoked");
            // The token is dead already. Telling it is a courtesy, and is not repeated.
            if !wanted.contains_key(key)
                && let Some(swarm) = swarms.get(&key.swarm).cloned()
            {
                let peer = key.peer;
                tokio::spawn(async move {
                    let told = swarm.ask(peer, TOPIC, Delivery::Revoked.to_bytes(), DELIVERING).await;
                    if let Err(error) = told {
                        tracing::debug!(%peer, %error, "a peer was not told that its credential was revoked");
                    }
                });
            }
            Ok(())
        });
        join_all(revoking).await.into_iter().collect()
    }

    async fn accounts(&mut self, actions: &[Action]) -> Result<(), CallError> {
        self.memory.broken.clear();
        // What was in the way may be gone.
        self.hindrances.clear();
        for action in actions {
            match action {
                Action::RemoveAccount { namespace, name } => {
                    cluster::remove_account(&self.client, namespace, name).await?;
                }
                Action::MakeAccount(account) => {
                    let place = (account.namespace.clone(), account.name.clone());
                    match cluster::make_account(&self.client, account).await {
                        Ok(()) => {}
                        Err(error @ (CallError::Taken { .. } | CallError::StillEnding { .. })) => {
                            self.hindrances.insert(place, error.to_string());
                        }
                        Err(error) => return Err(error),
                    }
                }
                Action::Revoke(_) | Action::Issue { .. } => {}
            }
        }
        Ok(())
    }

    fn issue(
        &mut self,
        key: Key,
        wanted: Wanted,
        policy: &Arc<Policy>,
        server: &Arc<ApiServer>,
        swarms: &BTreeMap<String, Arc<Swarm>>,
    ) {
        let place = (wanted.account.namespace.clone(), wanted.account.name.clone());
        let Some(swarm) = swarms.get(&key.swarm).filter(|_| !self.hindrances.contains_key(&place)) else {
            return;
        };
        let courier = Courier {
            client: self.client.clone(),
            server: server.clone(),
            policy: policy.clone(),
            swarm: swarm.clone(),
        };
        let (slots, digest) = (self.slots.clone(), wanted.digest.clone());
        self.memory.under_way.insert(key.clone());
        let (for_task, digest_of_task) = (key.clone(), digest.clone());
        let abort = self.running.spawn(async move {
            // Only closing the semaphore would be an error, which nobody does.
            let _slot = slots.acquire_owned().await;
            let result = courier.deliver(&for_task, &wanted).await;
            Outcome {
                key: for_task,
                digest: digest_of_task,
                result,
            }
        });
        self.aborts.insert(key, (digest, abort));
    }

    /// Says at each Identity how far its credentials are. `false` if that could not be written.
    async fn report(&mut self, published: &[Published], wanted: &BTreeMap<Key, Wanted>, cluster: &Cluster) -> bool {
        let mut findings: BTreeMap<&str, (&Published, Finding)> = BTreeMap::new();
        for identity in published {
            findings.entry(&identity.uid).or_insert_with(|| {
                let finding = self.finding(identity, wanted, cluster);
                (identity, finding)
            });
        }
        self.told.retain(|uid, _| findings.contains_key(uid.as_str()));
        let mut all_written = true;
        for (uid, (identity, finding)) in findings {
            if let Some((told, at)) = self.told.get(uid) {
                let still_pending = told.reason == PENDING && finding.reason == PENDING;
                if *told == finding || (still_pending && at.elapsed() < STILL_PENDING) {
                    continue;
                }
            }
            let api: Api<Identity> = Api::namespaced(self.client.clone(), &identity.namespace);
            let written = async {
                match within(api.get_opt(&identity.identity)).await? {
                    Some(object) if object.metadata.uid.as_deref() == Some(uid) => {
                        self.reports.put(&object, DELIVERED, &finding).await
                    }
                    _ => Ok(()),
                }
            };
            match written.await {
                Ok(()) => drop(self.told.insert(uid.to_owned(), (finding, Instant::now()))),
                Err(error) => {
                    all_written = false;
                    tracing::debug!(%error, "the condition of an Identity could not be written");
                }
            }
        }
        all_written
    }

    fn finding(&self, identity: &Published, wanted: &BTreeMap<Key, Wanted>, cluster: &Cluster) -> Finding {
        if let Err(reason) = &self.sources.server {
            return Finding::new(false, "NoServer", reason.clone());
        }
        let hindrance = self
            .hindrances
            .iter()
            .find(|((namespace, name), _)| *namespace == identity.namespace && name.starts_with(&identity.identity));
        if let Some((_, hindrance)) = hindrance {
            return Finding::new(false, "Conflict", hindrance.clone());
        }
        let of_identity = |key: &Key| key.namespace == identity.namespace && key.identity == identity.identity;
        let all: Vec<_> = wanted.iter().filter(|(key, _)| of_identity(key)).collect();
        if all.is_empty() {
            return Finding::new(
                true,
                "NothingToDeliver",
                "no peer is there to which the policy grants anything",
            );
        }
        let is_delivered = |key: &Key, wanted: &Wanted| {
            let issued = cluster.issued.get(key);
            issued.is_some_and(|issued| issued.digest == wanted.digest && issued.delivered.is_some())
        };
        let missing: Vec<&Key> = all
            .iter()
            .filter(|(key, wanted)| !is_delivered(key, wanted))
            .map(|(key, _)| *key)
            .collect();
        if missing.is_empty() {
            let message = format!("{} peers have what the policy grants them", all.len());
            return Finding::new(true, "Delivered", message);
        }
        let reasons = missing.iter().take(NAMED).map(|key| {
            let failure = self.failures.get(*key);
            let reason = failure.map_or("not tried yet", |(_, _, reason)| reason.as_str());
            format!("{}: {reason}", key.peer)
        });
        let reasons: Vec<String> = reasons.collect();
        let message = format!(
            "{} of {} peers do not have their credential yet ({})",
            missing.len(),
            all.len(),
            reasons.join("; ")
        );
        Finding::new(false, PENDING, message)
    }
}

/// Who is in the swarm; `None` if it was left.
async fn seen(speaks: &Speaks) -> Option<Published> {
    let peers = speaks.swarm.peers().await.ok()?;
    let peers = peers.into_iter().map(|peer| SeenPeer {
        name: peer.name,
        categories: peer
            .identity
            .categories()
            .iter()
            .map(|category| category.as_str().to_owned())
            .collect(),
        sealing_key: peer.identity.sealing_key(),
        may_answer: peer.connected() || peer.presence == Presence::Online,
    });
    Some(Published {
        namespace: speaks.namespace.clone(),
        identity: speaks.identity.clone(),
        uid: speaks.uid.clone(),
        swarm: speaks.swarm_label(),
        peers: peers.collect(),
    })
}

impl Courier {
    /// Makes a token and has the peer store it. Safe to repeat: a second token takes the place of the first.
    async fn deliver(&self, key: &Key, wanted: &Wanted) -> Result<(), IssueError> {
        let uid = cluster::prepare(&self.client, key, &wanted.account, &wanted.digest).await?;
        let at = now();
        let (token, ends) = cluster::mint(&self.client, key, &wanted.account, &uid, &self.policy).await?;
        let kubeconfig = PeerKubeconfig::new(
            self.server.url().to_owned(),
            self.server.authority().map(ToOwned::to_owned),
            key.namespace.clone(),
            token,
        )?;
        let body = Delivery::Kubeconfig(kubeconfig).to_bytes();
        let answer = self.swarm.ask(key.peer, TOPIC, body, DELIVERING).await?;
        match Receipt::from_bytes(&answer).ok_or(IssueError::NoReceipt)? {
            Receipt::Done {} => {}
            Receipt::Later {} => return Err(IssueError::Later),
            Receipt::Refused { reason } => return Err(IssueError::Refused(reason)),
        }
        cluster::note_delivered(&self.client, key, &uid, Delivered { at, ends }).await?;
        Ok(())
    }
}
