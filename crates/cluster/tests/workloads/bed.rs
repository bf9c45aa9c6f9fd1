//! The cluster that the suite runs on: any that `KUBECONFIG` names, else a devcluster.

use std::future::Future;
use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use hanse_cluster::{Cluster, KindPolicy, Manifest, Owner};
use kube::{Client, Config};
use libtest_mimic::{Failed, Trial};

use crate::devbed::DevBed;

/// Generous: a loaded machine, or a real kubelet that pulls images.
pub const SOON: Duration = Duration::from_secs(120);
/// What one test may take in all.
const TEST_DEADLINE: Duration = Duration::from_secs(300);
/// Image with a shell; on a devcluster it stands for this machine's.
pub const SHELL: &str = "busybox:1.36";

/// One cluster for all tests; each test has its own namespace.
pub struct Bed {
    runtime: tokio::runtime::Runtime,
    config: Config,
    client: Client,
    /// `None` on a real cluster.
    dev: Option<DevBed>,
    run: u32,
    next: AtomicU32,
}

/// A test's surroundings.
pub struct Case {
    /// The cluster under test.
    pub cluster: Cluster,
    /// How to reach it, as administrator.
    pub config: Config,
    /// A namespace of its own, which exists.
    pub namespace: String,
    /// An owner of its own.
    pub owner: Owner,
    /// A container that listens on TCP 8080 and gives back each line.
    pub echo_container: &'static str,
}

pub type Test = for<'a> fn(&'a Case) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

impl Bed {
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let required = std::env::var_os("REQUIRE_CLUSTER").is_some_and(|v| v == "1");
        let named = std::env::var_os("KUBECONFIG").is_some();
        if required && !named {
            bail!("REQUIRE_CLUSTER=1 but KUBECONFIG is not set: name the cluster to test on");
        }
        let (config, dev) = runtime.block_on(async {
            anyhow::Ok(if required {
                (Config::infer().await.context("reading KUBECONFIG")?, None)
            } else {
                let dev = DevBed::start().await?;
                (dev.config().await?, Some(dev))
            })
        })?;
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config.clone())?
        };
        Ok(Self {
            runtime,
            config,
            client,
            dev,
            run: std::process::id(),
            next: AtomicU32::new(0),
        })
    }

    /// Runs one test in its own namespace, with a deadline, and removes the namespace whatever happened.
    pub fn run(&self, test: Test) -> Result<(), Failed> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.runtime.block_on(async {
            let case = Case {
                cluster: Cluster::new(self.client.clone()),
                config: self.config.clone(),
                namespace: format!("hanse-test-{}-{number}", self.run),
                owner: Owner::new(format!("test-{number}"))?,
                echo_container: if self.dev.is_some() { DevBed::ECHO } else { REAL_ECHO },
            };
            case.cluster.ensure_namespace(&case.namespace, None).await?;
            let outcome = AssertUnwindSafe(tokio::time::timeout(TEST_DEADLINE, test(&case)))
                .catch_unwind()
                .await;
            let cleaned = case.cluster.delete_namespace(&case.namespace, SOON).await;
            match outcome {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(Err(_)) => return Err(Failed::from("the test did not end in time")),
                Ok(Ok(result)) => result.map_err(|e| Failed::from(format!("{e:?}")))?,
            }
            cleaned.map_err(Failed::from)
        })
    }

    pub fn stop(self) {
        let Self { runtime, dev, .. } = self;
        if let Some(dev) = dev {
            runtime.block_on(dev.stop());
        }
    }
}

/// busybox' nc starts a `cat` for each connection.
const REAL_ECHO: &str = "{name: echo, image: \"busybox:1.36\", command: [nc, -lk, -p, \"8080\", -e, cat]}";

/// Makes a libtest trial of a test.
pub fn trial(bed: &Arc<Bed>, name: &str, test: Test) -> Trial {
    let bed = Arc::clone(bed);
    Trial::test(name.to_owned(), move || bed.run(test))
}

impl Case {
    /// Parses with the default policy.
    pub fn manifest(&self, yaml: &str) -> Manifest {
        Manifest::parse(yaml, &KindPolicy::default()).unwrap_or_else(|e| panic!("{e}\n{yaml}"))
    }

    /// Applies and returns the manifest.
    pub async fn applied(&self, yaml: &str) -> Result<Manifest> {
        let manifest = self.manifest(yaml);
        self.cluster.apply(&self.namespace, &manifest, &self.owner).await?;
        Ok(manifest)
    }
}

/// A Deployment of one container. `container` is a YAML flow mapping; `spec` is put among the Deployment's fields.
pub fn deployment(name: &str, replicas: u32, container: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  {spec}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n      containers: [{container}]\n"
    )
}

/// A Job that runs one container once.
pub fn job(name: &str, container: &str) -> String {
    format!(
        "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      \
         restartPolicy: Never\n      containers: [{container}]\n"
    )
}

/// A container that runs a shell script. `more` are further fields, with a leading comma.
pub fn script(script: &str, more: &str) -> String {
    format!(
        "{{name: main, image: \"{SHELL}\", command: [sh, -c, {}]{more}}}",
        serde_json::Value::from(script)
    )
}

/// A container that does nothing until it is told to end.
pub fn idle() -> String {
    script("trap 'exit 0' TERM; echo started; while true; do sleep 0.2; done", "")
}

pub fn config_map(name: &str, data: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n")
}

/// A load balancer Service for the pods of Deployment `name`.
pub fn service(name: &str, kind: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: {kind}\n  \
         selector: {{app: {name}}}\n  ports: [{{name: echo, port: 8080}}]\n"
    )
}

/// Where a devcluster puts load balancers and pods: distinct for each run, so that runs at the same time do not meet.
pub fn loopback(part: u8) -> Ipv4Addr {
    let run = u16::try_from(std::process::id() % 0xfff0).unwrap_or(0).to_be_bytes();
    Ipv4Addr::new(127, 64 + part * 64 + run[0] % 64, run[1], 0)
}
