//! Waiting until a manifest runs, or until it is clear that it will not.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::{ClusterError, Permanent};
use crate::follow::Deadline;
use crate::manifest::{Kind, Manifest, Object, ObjectRef};
use crate::observation::{Observation, Woken};
use crate::readiness::{Cause, Decision, NotReady, Readiness, Reason, Watchlist, most_telling};

/// Lines of a crashed program's log that go into the error.
const LOG_LINES: u32 = 10;

/// Everything that was waited for is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What was waited for.
    pub objects: Vec<ObjectRef>,
    /// How long it took from the call.
    pub after: Duration,
}

impl Cluster {
    /// Waits until every Deployment is rolled out, every Job complete and every Service has its address.
    ///
    /// Ends early when a cause is final (see [`Reason`] and [`Patience`](crate::Patience)); with the reason, a message and
    /// the last lines of the program's log where there are any. The wait is driven by watches: it ends with the change it
    /// waited for. Repeating it is harmless.
    ///
    /// # Errors
    /// [`NotReady`], which names the first object that will not (or at the deadline: did not) become ready.
    pub async fn wait_ready(&self, namespace: &str, manifest: &Manifest, within: Duration) -> Result<Ready, NotReady> {
        let objects = manifest.objects().iter().map(Object::reference);
        let objects = objects
            .filter(|o| matches!(o.kind, Kind::Deployment | Kind::Job | Kind::Service))
            .collect();
        self.wait_for(namespace, objects, within).await.map(|(ready, _)| ready)
    }

    /// Waits until one Deployment is rolled out, e.g. after [`scale`](Cluster::scale) or
    /// [`rollout_restart`](Cluster::rollout_restart): its newest version runs in the wanted number and older pods are gone or ending.
    ///
    /// # Errors
    /// As [`wait_ready`](Cluster::wait_ready).
    pub async fn wait_rollout(&self, namespace: &str, deployment: &str, within: Duration) -> Result<Ready, NotReady> {
        let objects = vec![ObjectRef::new(Kind::Deployment, deployment)];
        self.wait_for(namespace, objects, within).await.map(|(ready, _)| ready)
    }

    /// Waits for these objects and returns the observation, from which more can be read.
    pub(crate) async fn wait_for(
        &self,
        namespace: &str,
        objects: Vec<ObjectRef>,
        within: Duration,
    ) -> Result<(Ready, Observation), NotReady> {
        let start = Instant::now();
        let deadline = Deadline::after(within).at;
        let mut observation = Observation::start(self.client(), namespace, &objects);
        let mut watchlist = Watchlist::default();
        let mut trouble: Option<ClusterError> = None;
        loop {
            let now = Instant::now();
            let mut look_again = deadline;
            if observation.is_complete() {
                let seen: Vec<(ObjectRef, Readiness)> = objects
                    .iter()
                    .map(|o| (o.clone(), observation.readiness(o, self.patience())))
                    .collect();
                match watchlist.decide(&seen, self.patience().settle, now.into_std()) {
                    Decision::Ready => {
                        return Ok((
                            Ready {
                                objects,
                                after: start.elapsed(),
                            },
                            observation,
                        ));
                    }
                    Decision::GiveUp(object, cause) => return Err(self.explain(namespace, object, &cause, None).await),
                    Decision::Wait(until) => {
                        look_again = until.map_or(deadline, |t| Instant::from_std(t).min(deadline))
                    }
                }
                if now >= deadline
                    && let Some((object, cause)) = most_telling(&seen)
                {
                    return Err(self.explain(namespace, object.clone(), cause, Some(within)).await);
                }
            }
            if now >= deadline {
                return Err(unreachable(&objects, trouble.as_ref(), within));
            }
            match observation.next(look_again).await {
                Ok(Woken::Change) => trouble = None,
                Ok(Woken::Time) => {}
                Ok(Woken::Failure(error)) => {
                    tracing::debug!(namespace, %error, "a watch failed and is tried again");
                    trouble = Some(error);
                }
                Err(error) => return Err(refused(&objects, &error)),
            }
        }
    }

    async fn explain(&self, namespace: &str, object: ObjectRef, cause: &Cause, deadline: Option<Duration>) -> NotReady {
        let log = match &cause.log {
            Some((pod, container)) => self.last_words(namespace, pod, container, LOG_LINES).await,
            None => Vec::new(),
        };
        let hint = cause.reason.hint();
        NotReady {
            object,
            reason: cause.reason,
            message: cause.message.clone(),
            hint,
            log,
            deadline,
        }
    }
}

fn unreachable(objects: &[ObjectRef], trouble: Option<&ClusterError>, within: Duration) -> NotReady {
    let message = trouble.map_or_else(|| "the Kubernetes API did not answer".to_owned(), ToString::to_string);
    not_ready(objects, Reason::Unreachable, message, Some(within))
}

fn refused(objects: &[ObjectRef], error: &Permanent) -> NotReady {
    not_ready(objects, Reason::Forbidden, error.to_string(), None)
}

fn not_ready(objects: &[ObjectRef], reason: Reason, message: String, deadline: Option<Duration>) -> NotReady {
    // With nothing to wait for, the wait ends at once; so there is a first object.
    let object = objects
        .first()
        .cloned()
        .unwrap_or_else(|| ObjectRef::new(Kind::Deployment, ""));
    NotReady {
        object,
        reason,
        message,
        hint: reason.hint(),
        log: Vec::new(),
        deadline,
    }
}
