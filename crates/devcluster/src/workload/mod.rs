//! Workloads on the development cluster: everything a Kubernetes cluster does *behind* its API, for
//! pods that are local processes.
//!
//! # Promise
//! - Deployments, ReplicaSets, Jobs, Services, Endpoints and quotas behave as on a real cluster, with
//!   the statuses, conditions, events and messages of the upstream controllers.
//! - Everything goes over the API through a [`kube::Client`]: nothing is known that a real controller
//!   would not know, and state survives in the API's store alone. After a restart pods are started again
//!   (restart count up), never twice.
//! - No process is left behind, neither by [`Workload::shutdown`] nor by `kill -9` ([`supervise_main`]).
//! - Nothing polls: watches, timers of what is due, and processes wake it up.
//!
//! # What the caller must do
//! - Call [`supervise_main`] first thing in `main` when the first argument is [`SUPERVISE`], and give
//!   that program as [`WorkloadConfig::supervisor`].
//! - Give ranges of 127.0.0.0/8 that no other cluster on the machine uses.
//! - Serve `pods/log` from [`Workload::logs`].
//!
//! # Rooms
//! Controllers: [`deployment`], [`replica_set`], [`job`], [`service`], [`quota`]; the node: [`scheduler`],
//! [`kubelet`], [`supervise`], [`proxy`]. Decisions are pure functions; the files named `mod.rs` do I/O.
//! Limits: [`kubelet`].

mod config;
mod control;
mod deployment;
mod events;
mod images;
mod int_or_percent;
mod job;
mod kubelet;
mod pod_factory;
mod pod_health;
mod proxy;
mod quantity;
mod quota;
mod range;
mod replica_set;
mod requests;
mod scheduler;
mod service;
mod supervise;

use std::{io, sync::Arc, time::Duration};

use kube::{Client, runtime::reflector};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use config::{NodeCapacity, Timing, WorkloadConfig};
pub use images::{Image, ImageError, Images};
pub use kubelet::{LogError, LogRange, LogReader};
pub use range::{AddressRange, RangeError};
pub use supervise::{SUPERVISE, supervise_main};

use control::Context;

/// Why the workload half cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The data folder cannot be made or found.
    #[error("cannot use the folder {path}: {source}")]
    DataDir {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The supervisor is not an executable file.
    #[error("the supervisor {0} is not an executable file; use the program that calls supervise_main")]
    Supervisor(std::path::PathBuf),
}

/// The running controllers and the node.
#[derive(Debug)]
pub struct Workload {
    logs: LogReader,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Workload {
    /// Starts the controllers and the node, working through `client`. Returns at once; the API may
    /// become reachable later.
    ///
    /// # Errors
    /// [`WorkloadError`] if the configuration cannot work on this machine.
    pub async fn start(client: Client, mut config: WorkloadConfig) -> Result<Self, WorkloadError> {
        if !images::is_executable(&config.supervisor) {
            return Err(WorkloadError::Supervisor(config.supervisor));
        }
        let explain = |source| WorkloadError::DataDir {
            path: config.data_dir.clone(),
            source,
        };
        tokio::fs::create_dir_all(config.data_dir.join("pods"))
            .await
            .map_err(explain)?;
        // Containers run in other folders: their paths must be absolute.
        config.data_dir = tokio::fs::canonicalize(&config.data_dir).await.map_err(explain)?;

        let config = Arc::new(config);
        let shutdown = CancellationToken::new();
        let events = events::Events::start(client.clone(), config.node_name.clone());
        let context = Context {
            client: client.clone(),
            events: events.clone(),
        };
        let withdrawn = kubelet::Withdrawn::default();
        let node = Arc::new(kubelet::Node::new(
            client.clone(),
            Arc::clone(&config),
            events.clone(),
            withdrawn.clone(),
        ));
        let logs = LogReader::of(&node);
        let (pods, writer) = reflector::store();
        let (changed, changes) = watch::channel(0);
        let proxy = proxy::Proxy::new(withdrawn);
        let services = service::ServiceContext::new(context.clone(), proxy, config.load_balancer_range);
        let jobs = job::JobContext {
            context: context.clone(),
            timing: config.timing,
        };

        let mut tasks = JoinSet::new();
        tasks.spawn(register_node(client.clone(), Arc::clone(&config), shutdown.clone()));
        tasks.spawn(kubelet::run(node, writer, changed, shutdown.clone()));
        tasks.spawn(scheduler::run(client, config, events, pods, changes, shutdown.clone()));
        tasks.spawn(deployment::run(context.clone(), shutdown.clone()));
        tasks.spawn(replica_set::run(context.clone(), shutdown.clone()));
        tasks.spawn(job::run(jobs, shutdown.clone()));
        tasks.spawn(service::run(services, shutdown.clone()));
        tasks.spawn(quota::run(context, shutdown.clone()));
        Ok(Self { logs, shutdown, tasks })
    }

    /// Starts only the controllers of Deployments, ReplicaSets and Jobs: nothing schedules or runs their pods.
    /// For tests of what the API shows without a node.
    pub(crate) fn start_controllers(client: Client, shutdown: CancellationToken) -> JoinSet<()> {
        let context = Context {
            client: client.clone(),
            events: events::Events::start(client, "none".to_owned()),
        };
        let jobs = job::JobContext {
            context: context.clone(),
            timing: Timing::default(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(deployment::run(context.clone(), shutdown.clone()));
        tasks.spawn(replica_set::run(context, shutdown.clone()));
        tasks.spawn(job::run(jobs, shutdown));
        tasks
    }

    /// Reads the logs of pods, for `pods/log`.
    #[must_use]
    pub fn logs(&self) -> LogReader {
        self.logs.clone()
    }

    /// Stops the controllers and all containers (SIGTERM, then SIGKILL after two seconds), and returns
    /// when nothing runs any more. The store keeps the pods; the next start runs them again.
    pub async fn shutdown(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Dropping without [`Workload::shutdown`] kills all containers at once.
impl Drop for Workload {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

async fn register_node(client: Client, config: Arc<WorkloadConfig>, shutdown: CancellationToken) {
    while let Err(error) = kubelet::register(&client, &config).await {
        tracing::debug!(%error, "node not registered");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = shutdown.cancelled() => return,
        }
    }
}
