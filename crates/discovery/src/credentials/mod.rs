//! Credentials: what each peer may do in this domain's cluster, and nobody else in its name.
//!
//! # The protocol in words
//! * The [`Policy`] says who gets which rights in the namespace of an Identity. Nobody gets anything that no grant gives.
//! * Rights are a Role of a ServiceAccount. Peers with equal rights act as one account: the one that has the Identity's name;
//!   a peer with other rights has an account of its own. What else has such a name is never touched and never used.
//! * A credential is a token of that account, asked for with TokenRequest, with a bounded life, and **bound to a Secret of that peer
//!   and Identity alone**: deleting the Secret ends the token at once. The Secret is empty. Tokens are kept nowhere here.
//! * The kubeconfig with the token is sealed to the peer's key and handed over directly ([`hanse_swarm::Swarm::ask`]); the peer
//!   confirms when it is stored. Only then does it stand on the Secret that it is delivered. Whatever happens before, another
//!   token is made and handed over: that is safe to repeat.
//! * It is replaced before it ends, and revoked when the policy, the peer or the Identity is no longer what it was.
//! * What other domains hand over is hostile. It is read strictly, written anew, and stored beside the Peer that gave it.
//!
//! # Rooms
//! `policy`, `plan`, `kubeconfig`, `message`, `objects`: pure. `cluster`: what is done in the cluster. `give`, `take`: the
//! two sides. `report`: conditions and events.

mod cluster;
mod give;
mod kubeconfig;
mod message;
mod names;
mod objects;
mod plan;
mod policy;
mod report;
mod take;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_swarm::{PeerId, Swarm};
use kube::Client;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use kubeconfig::KubeconfigError;
pub use policy::{Grant, Policy, PolicyError, Rule, To};

pub(crate) use report::{DELIVERED as CONDITION_DELIVERED, RECEIVED as CONDITION_RECEIVED};

use give::Giver;
use report::Reports;
use take::Taker;

/// Changes that come this close to each other are dealt with together.
const GATHER: Duration = Duration::from_millis(20);
/// What failed is tried again after this long, then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// But at least so often.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// An Identity that speaks for this domain in a swarm.
#[derive(Debug, Clone)]
pub struct Speaks {
    /// Its namespace: peers get rights there, and the Peers of the swarm are there.
    pub namespace: String,
    /// Its name.
    pub identity: String,
    /// Its uid.
    pub uid: String,
    /// Fingerprint of the swarm's key, in hexadecimal digits.
    pub fingerprint: String,
    /// The running swarm.
    pub swarm: Arc<Swarm>,
}

impl Speaks {
    /// What names of objects have of the fingerprint.
    fn swarm_label(&self) -> String {
        self.fingerprint.chars().take(12).collect::<String>().to_lowercase()
    }
}

impl PartialEq for Speaks {
    fn eq(&self, other: &Self) -> bool {
        let named = |speaks: &Self| {
            let Self {
                namespace,
                identity,
                uid,
                fingerprint,
                ..
            } = speaks.clone();
            (namespace, identity, uid, fingerprint)
        };
        named(self) == named(other) && Arc::ptr_eq(&self.swarm, &other.swarm)
    }
}

/// Where peers call this domain's API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServer {
    url: String,
    authority: Option<String>,
}

impl ApiServer {
    /// An API server at an https URL; `authority`: PEM certificates that its own is checked by, if not by those that every
    /// system knows.
    ///
    /// # Errors
    /// For a URL that is not https (a token must not go over anything else), and for what are no certificates.
    pub fn new(url: String, authority: Option<String>) -> Result<Self, KubeconfigError> {
        kubeconfig::check_server(&url)?;
        match &authority {
            Some(pem) if !kubeconfig::is_certificates(pem) => Err(KubeconfigError::Authority),
            _ => Ok(Self { url, authority }),
        }
    }

    fn url(&self) -> &str {
        &self.url
    }

    fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    fn view(&self) -> plan::Server<'_> {
        plan::Server {
            url: &self.url,
            authority: self.authority().unwrap_or_default(),
        }
    }
}

/// What is looked at. Whatever of it changes is acted on at once.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Who gets what. It was checked.
    pub policy: watch::Receiver<Policy>,
    /// The peers with a running agreement with this domain, as soon as that is known.
    pub agreements: watch::Receiver<Option<BTreeSet<PeerId>>>,
    /// Who speaks for this domain where.
    pub speaks: watch::Receiver<Vec<Speaks>>,
    /// Where peers call the API server, or why that is not known: then nobody gets anything.
    pub server: Result<ApiServer, String>,
}

/// Gives and takes credentials until `stop`.
pub async fn run(client: Client, sources: Sources, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work(client, sources) => {}
    }
}

/// The tasks of one swarm; they end with this.
struct Listening {
    speaks: Speaks,
    tasks: [AbortHandle; 2],
}

async fn work(client: Client, mut sources: Sources) {
    let reports = Reports::new(client.clone());
    let mut giver = Giver::new(client.clone(), reports.clone(), sources.clone());
    // Tasks end when this set is dropped.
    let mut tasks = JoinSet::new();
    let mut listening: BTreeMap<String, Listening> = BTreeMap::new();
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let mut retry = FIRST_RETRY;
    loop {
        let speaks = sources.speaks.borrow_and_update().clone();
        listen(&client, &reports, &speaks, &mut listening, &mut tasks, &wake);
        let pause = match giver.pass().await {
            Ok(pause) => {
                retry = FIRST_RETRY;
                pause
            }
            Err(error) => {
                tracing::warn!(%error, "credentials could not be looked after; it is tried again");
                // Also when changes keep coming: who refuses is not asked all the time.
                tokio::time::sleep(FIRST_RETRY).await;
                retry = (retry * 2).min(LAST_RETRY);
                retry
            }
        };
        tokio::select! {
            Ok(()) = sources.policy.changed() => {}
            Ok(()) = sources.agreements.changed() => {}
            changed = sources.speaks.changed() => if changed.is_err() { return },
            _ = woken.recv() => {}
            () = giver.delivered() => {}
            () = tokio::time::sleep(pause) => {}
        }
        tokio::time::sleep(GATHER).await;
        while tasks.try_join_next().is_some() {}
    }
}

/// Listens in each swarm in which an Identity speaks, and in no other.
fn listen(
    client: &Client,
    reports: &Reports,
    speaks: &[Speaks],
    listening: &mut BTreeMap<String, Listening>,
    tasks: &mut JoinSet<()>,
    wake: &mpsc::Sender<()>,
) {
    listening.retain(|fingerprint, there| {
        let stays = speaks
            .iter()
            .any(|speaks| speaks.fingerprint == *fingerprint && *speaks == there.speaks);
        if !stays {
            there.tasks.iter().for_each(AbortHandle::abort);
        }
        stays
    });
    for speaks in speaks {
        if listening.contains_key(&speaks.fingerprint) {
            continue;
        }
        let taker = Taker {
            client: client.clone(),
            reports: reports.clone(),
            namespace: speaks.namespace.clone(),
        };
        let asked = speaks.swarm.answer(message::TOPIC);
        let there = Listening {
            speaks: speaks.clone(),
            tasks: [
                tasks.spawn(taker.run(asked)),
                tasks.spawn(follow(speaks.swarm.clone(), wake.clone())),
            ],
        };
        listening.insert(speaks.fingerprint.clone(), there);
    }
}

/// Wakes when something changes in the swarm.
async fn follow(swarm: Arc<Swarm>, wake: mpsc::Sender<()>) {
    let mut changes = swarm.changes();
    loop {
        match changes.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {
                // Full: it is woken already.
                let _ = wake.try_send(());
            }
            Err(RecvError::Closed) => return,
        }
    }
}
