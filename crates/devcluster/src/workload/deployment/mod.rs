//! The Deployment controller: ReplicaSets by template, roll-outs, scaling, and an honest status.
//!
//! Decisions are pure: [`rolling`] (how many replicas where), [`revision`] (which set belongs to which
//! template) and [`status`]. This file reads and writes. One reconciliation makes at most one step of a roll-out; the
//! change of a ReplicaSet's status brings the next.

mod revision;
mod rolling;
mod status;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch},
    core::Selector,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::{
    rolling::{Scaling, Set, Wanted},
    status::Happened,
};
use super::{
    control::{self, Context, ReconcileError},
    events::Severity,
};

const COMPONENT: &str = "deployment-controller";
const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";

/// Runs the controller until `shutdown`.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let deployments: Api<Deployment> = Api::all(context.client.clone());
    let sets: Api<ReplicaSet> = Api::all(context.client.clone());
    let controller = Controller::new(deployments, watcher::Config::default()).owns(sets, watcher::Config::default());
    control::run("deployment", controller, Arc::new(context), reconcile, shutdown).await;
}

/// The Deployment and its ReplicaSets, oldest first, as they are in the store now.
struct State {
    context: Arc<Context>,
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    wanted: Wanted,
    collisions: Option<i32>,
    happened: Happened,
}

async fn reconcile(deployment: Arc<Deployment>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let namespace = deployment.namespace().unwrap_or_default();
    let api: Api<Deployment> = Api::namespaced(context.client.clone(), &namespace);
    let Some(deployment) = api.get_opt(&deployment.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let spec = deployment.spec.clone();
    let wanted = Wanted::of(&spec);
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let happened = Happened::default();
    let mut state = State {
        context,
        deployment,
        sets: Vec::new(),
        wanted,
        collisions,
        happened,
    };
    state.read_sets().await?;
    if state.deployment.metadata.deletion_timestamp.is_none() {
        state.step(spec.paused == Some(true)).await?;
    }
    state.write_status(&api).await
}

impl State {
    fn sets_api(&self) -> Api<ReplicaSet> {
        Api::namespaced(
            self.context.client.clone(),
            &self.deployment.namespace().unwrap_or_default(),
        )
    }

    async fn read_sets(&mut self) -> Result<(), ReconcileError> {
        let selector = self.deployment.spec.selector.clone();
        let selector = Selector::try_from(selector).map_err(|error| ReconcileError::Invalid(error.to_string()))?;
        let uid = self.deployment.uid().unwrap_or_default();
        let mut sets = self
            .sets_api()
            .list(&ListParams::default().labels_from(&selector))
            .await?
            .items;
        sets.retain(|set| control::is_controlled_by(set, &uid));
        sets.sort_by_key(|set| {
            (
                set.metadata.creation_timestamp.as_ref().map(|time| time.0),
                revision::revision(set),
                set.name_any(),
            )
        });
        self.sets = sets;
        Ok(())
    }

    fn current(&self) -> Option<&ReplicaSet> {
        revision::current(&self.sets, &self.deployment.spec.template)
    }

    fn split(&self) -> (Option<Set>, Vec<Set>) {
        let current = self.current().map(|set| set.name_any());
        let (new, old): (Vec<Set>, Vec<Set>) = self
            .sets
            .iter()
            .map(Set::of)
            .partition(|set| Some(&set.name) == current.as_ref());
        (new.into_iter().next(), old)
    }

    /// One step towards what is wanted.
    async fn step(&mut self, paused: bool) -> Result<(), ReconcileError> {
        let figures: Vec<Set> = self.sets.iter().map(Set::of).collect();
        let scaling = rolling::is_scaling_event(self.wanted, &figures);
        if paused || scaling {
            let new = self.current().map(|set| set.name_any());
            let status = self.deployment.status.clone().unwrap_or_default();
            let changes = rolling::scale(self.wanted, &figures, new.as_deref(), status.replicas.unwrap_or(0));
            return self.scale(changes).await;
        }
        let (new, old) = self.split();
        let old_pods_left = old.iter().any(|set| set.replicas > 0 || set.pods > 0);
        if new.is_none() && !self.wanted.rolling && old_pods_left {
            let down = old
                .iter()
                .filter(|set| set.replicas > 0)
                .map(|set| (set.name.clone(), 0))
                .collect();
            return self.scale(down).await;
        }
        self.ensure_current(&old).await?;
        if self.happened.created {
            return Ok(());
        }
        if let (Some(new), old) = self.split() {
            let changes = rolling::roll(self.wanted, &new, &old);
            if changes.is_empty() {
                self.clean_up().await?;
            }
            self.scale(changes).await?;
        }
        Ok(())
    }

    /// Makes sure that the set of the template exists and has the newest revision.
    async fn ensure_current(&mut self, old: &[Set]) -> Result<(), ReconcileError> {
        let revision = revision::next_revision(&self.sets, self.current());
        if let Some(current) = self.current() {
            let name = current.name_any();
            if revision::revision(current) != revision {
                let patch = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
                self.sets_api()
                    .patch(&name, &control::patch(), &Patch::Merge(patch))
                    .await?;
                self.read_sets().await?;
            }
        } else {
            let all = old.iter().map(|set| set.replicas).sum();
            let replicas = rolling::new_replicas(self.wanted, 0, all);
            let template = self.deployment.spec.template.clone();
            let hash = revision::hash(&template, self.collisions.unwrap_or(0));
            let set = revision::new_set(&self.deployment, &hash, self.wanted, replicas, revision);
            match self.sets_api().create(&control::post(), &set).await {
                Ok(_) => {
                    self.happened.created = true;
                    if replicas > 0 {
                        self.tell_scaled(&set.name_any(), 0, replicas);
                    }
                }
                // The name is taken by a set of another template or owner: hash differently next time.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    self.collisions = Some(self.collisions.unwrap_or(0).saturating_add(1));
                }
                Err(error) => return Err(error.into()),
            }
            self.read_sets().await?;
        }
        self.note_revision(revision).await
    }

    async fn note_revision(&mut self, revision: i64) -> Result<(), ReconcileError> {
        let revision = revision.to_string();
        if self.deployment.annotations().get(REVISION) == Some(&revision) {
            return Ok(());
        }
        let api: Api<Deployment> = Api::namespaced(
            self.context.client.clone(),
            &self.deployment.namespace().unwrap_or_default(),
        );
        let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
        self.deployment = api
            .patch(&self.deployment.name_any(), &control::patch(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    async fn scale(&mut self, changes: Vec<Scaling>) -> Result<(), ReconcileError> {
        if changes.is_empty() {
            return Ok(());
        }
        for (name, replicas) in changes {
            let Some(set) = self.sets.iter().find(|set| set.name_any() == name) else {
                continue;
            };
            let before = set.spec.replicas.unwrap_or(1);
            let annotations: Map<String, Value> = revision::scale_annotations(self.wanted)
                .into_iter()
                .map(|(name, value)| (name, value.into()))
                .collect();
            // The version makes sure that the decision was made on what is there.
            let patch = json!({"metadata": {"resourceVersion": set.resource_version(), "annotations": annotations},
                "spec": {"replicas": replicas}});
            self.sets_api()
                .patch(&name, &control::patch(), &Patch::Merge(patch))
                .await?;
            if before != replicas {
                self.tell_scaled(&name, before, replicas);
            }
        }
        self.read_sets().await
    }

    fn tell_scaled(&self, name: &str, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.context.events.publish(
            &self.deployment,
            COMPONENT,
            Severity::Normal,
            "ScalingReplicaSet",
            message,
        );
    }

    /// Deletes old sets beyond the history limit once the roll-out is complete.
    async fn clean_up(&self) -> Result<(), ReconcileError> {
        let status = self.deployment.status.clone().unwrap_or_default();
        let Some(current) = self.current().map(|set| set.name_any()) else {
            return Ok(());
        };
        if !status::complete(&self.deployment, &status) {
            return Ok(());
        }
        let limit = self.deployment.spec.revision_history_limit.unwrap_or(10);
        let old: Vec<ReplicaSet> = self
            .sets
            .iter()
            .filter(|set| set.name_any() != current)
            .cloned()
            .collect();
        for name in revision::surplus(&old, limit) {
            match self.sets_api().delete(&name, &DeleteParams::default()).await {
                Err(error) if control::is_gone(&error) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    async fn write_status(self, api: &Api<Deployment>) -> Result<Action, ReconcileError> {
        let now = Timestamp::now();
        let status = status::status(
            &self.deployment,
            &self.sets,
            self.current(),
            self.collisions,
            self.happened,
            now,
        );
        let deadline = status::deadline(&self.deployment, &status);
        if self.deployment.status.as_ref() != Some(&status) {
            let name = self.deployment.name_any();
            let updated = Deployment {
                status: Some(status),
                ..self.deployment
            };
            match api.replace_status(&name, &control::post(), &updated).await {
                Err(error) if control::is_gone(&error) => return Ok(Action::await_change()),
                other => drop(other?),
            }
        }
        Ok(deadline.map_or_else(Action::await_change, |at| {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            Action::requeue(wait + Duration::from_secs(1))
        }))
    }
}
