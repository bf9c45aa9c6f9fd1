//! What the swarm and those who give credentials are told of this domain's agreements.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hanse_discovery::settings::Credentials;
use hanse_orchestrator::Orchestrator;
use hanse_swarm::model::{Membership, Party};
use hanse_swarm::{PeerId, Swarm};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Changes that come this close to each other are dealt with together.
const GATHER: Duration = Duration::from_millis(50);

/// Members change without a change of an agreement; and what failed is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What discovery publishes and goes by, beside the configuration. Each part is told when it is known.
pub struct Told {
    pub membership: watch::Receiver<Option<Membership>>,
    pub party: watch::Receiver<Option<Party>>,
    pub agreements: watch::Receiver<Option<BTreeSet<PeerId>>>,
}

impl Told {
    /// Of a domain without a ledger.
    pub fn nothing() -> Self {
        Self {
            membership: watch::channel(None).1,
            party: watch::channel(None).1,
            agreements: watch::channel(Some(BTreeSet::new())).1,
        }
    }

    /// As the credentials take it.
    pub(super) fn into_credentials(self, fixed: Credentials) -> Credentials {
        Credentials {
            agreements: self.agreements,
            ..fixed
        }
    }
}

/// Who tells.
pub struct Teller {
    party: watch::Sender<Option<Party>>,
    agreements: watch::Sender<Option<BTreeSet<PeerId>>>,
}

/// Both ends. The membership has a teller of its own.
pub fn told(membership: watch::Receiver<Option<Membership>>) -> (Teller, Told) {
    let (party, told_party) = watch::channel(None);
    let (agreements, told_agreements) = watch::channel(None);
    let told = Told {
        membership,
        party: told_party,
        agreements: told_agreements,
    };
    (Teller { party, agreements }, told)
}

impl Teller {
    /// Tells what the orchestrator has, until `stop`.
    pub async fn follow(self, orchestrator: Orchestrator, swarm: Arc<Swarm>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.tell(&orchestrator, &swarm) => {}
        }
    }

    async fn tell(&self, orchestrator: &Orchestrator, swarm: &Swarm) {
        let mut party = orchestrator.party();
        let mut records = orchestrator.changes();
        let mut peers = swarm.changes();
        loop {
            self.party.send_replace(Some(party.borrow_and_update().clone()));
            match orchestrator.partners().await {
                Ok(partners) => {
                    self.agreements.send_if_modified(|known| {
                        let is_new = known.as_ref() != Some(&partners);
                        *known = Some(partners);
                        is_new
                    });
                }
                Err(error) => tracing::warn!(%error, "the peers with an agreement are not known; it is tried again"),
            }
            tokio::select! {
                Ok(()) = party.changed() => {}
                Ok(()) = records.changed() => {}
                changed = peers.recv() => if changed == Err(RecvError::Closed) { return },
                () = sleep(LOOK_AGAIN) => {}
            }
            sleep(GATHER).await;
        }
    }
}
