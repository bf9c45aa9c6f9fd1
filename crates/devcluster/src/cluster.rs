//! Starting and stopping a development cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{PodLogs, Server, router};
use crate::auth::Credentials;
use crate::controllers;
use crate::listener::Listener;
use crate::store::{OpenError, Store};
use crate::tls::Identity;
use crate::workload::{
    AddressRange, Images, LogRange, LogReader, NodeCapacity, Timing, Workload, WorkloadConfig, WorkloadError,
};

/// How to start.
#[derive(Debug, Clone)]
pub struct DevClusterConfig {
    /// Folder for everything that must survive: `objects.redb` and what the pods write.
    pub data_dir: PathBuf,
    /// Where the API listens: a loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Cluster IPs of Services. Ranges of two clusters on one machine must not overlap.
    pub service_range: AddressRange,
    /// Addresses of pods.
    pub pod_range: AddressRange,
    /// Addresses of Services of type LoadBalancer.
    pub load_balancer_range: AddressRange,
    /// What image names stand for.
    pub images: Images,
    /// The program that calls [`crate::supervise_main`]: usually this one.
    pub supervisor: PathBuf,
    /// What the one node offers.
    pub capacity: NodeCapacity,
    /// Times of the kubelet.
    pub timing: Timing,
}

impl DevClusterConfig {
    /// Listens on a free port of 127.0.0.1, with ranges of 127.20.0.0 to 127.22.255.255, no images, and this program
    /// as the supervisor.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let range = |text: &str| text.parse().expect("the default ranges are well formed");
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            service_range: range("127.22.0.0/16"),
            pod_range: range("127.20.0.0/16"),
            load_balancer_range: range("127.21.0.0/16"),
            images: Images::default(),
            supervisor: std::env::current_exe().unwrap_or_default(),
            capacity: NodeCapacity::of_this_machine(),
            timing: Timing::default(),
        }
    }

    fn workload(&self) -> WorkloadConfig {
        WorkloadConfig {
            data_dir: self.data_dir.join("workload"),
            node_name: "devcluster".into(),
            capacity: self.capacity,
            pod_range: self.pod_range,
            load_balancer_range: self.load_balancer_range,
            images: self.images.clone(),
            supervisor: self.supervisor.clone(),
            timing: self.timing,
        }
    }
}

/// Why a development cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not a loopback address.
    #[error(
        "refusing to listen on {0}: the development cluster has no isolation, so it listens on loopback only; use 127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken or not there.
    #[error("cannot listen on {address}: {source}; choose another port, or 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is no certificate for TLS.
    #[error("no certificate in {folder}: {reason}")]
    Certificate {
        /// Where it is kept.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A client for this server cannot be made.
    #[error("cannot make a client for the development cluster: {0}")]
    Client(String),
    /// The workload side cannot work on this machine.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The kubeconfig cannot be written.
    #[error("cannot write {path}: {source}")]
    Kubeconfig {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running development cluster.
pub struct DevCluster {
    server: Arc<Server>,
    addr: SocketAddr,
    /// Certificate that clients check the server's by, in PEM.
    authority: String,
    client: kube::Client,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    workload: Option<Workload>,
}

impl PodLogs for LogReader {
    fn open(&self, pod: &Pod, range: LogRange) -> Result<BoxStream<'static, std::io::Result<Bytes>>, String> {
        Self::open(self, pod, range).map_err(|error| error.to_string())
    }
}

impl DevCluster {
    /// Starts; when it returns, the API answers.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub async fn start(config: DevClusterConfig) -> Result<Self, StartError> {
        let workload = config.workload();
        let mut cluster = Self::start_api(config).await?;
        let workload = match Workload::start(cluster.client(), workload).await {
            Ok(workload) => workload,
            Err(error) => {
                cluster.shutdown().await;
                return Err(error.into());
            }
        };
        let _ = cluster.server.logs.set(Arc::new(workload.logs()));
        cluster.workload = Some(workload);
        Ok(cluster)
    }

    /// Starts the API alone: nothing runs the pods. For tests of the API.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_api(config: DevClusterConfig) -> Result<Self, StartError> {
        if !config.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(config.listen));
        }
        let store = Store::open(&config.data_dir)?;
        let identity =
            Identity::open(&config.data_dir, config.listen.ip()).map_err(|error| StartError::Certificate {
                folder: config.data_dir.clone(),
                reason: error.to_string(),
            })?;
        let failed = |source| StartError::Listen {
            address: config.listen,
            source,
        };
        let socket = TcpListener::bind(config.listen).await.map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        let listener = Listener::new(socket, identity.server).map_err(failed)?;
        let credentials = Credentials::new(*store.secret());
        let stop = CancellationToken::new();
        let server = Arc::new(Server::new(
            store,
            credentials,
            config.service_range,
            identity.authority.clone(),
            stop.clone(),
        ));
        controllers::bootstrap(&server)
            .await
            .map_err(|status| StartError::Client(status.message))?;

        let shutdown = stop.clone();
        let app = router(server.clone());
        let serve = tokio::spawn(async move {
            let ended = axum::serve(listener, app)
                .with_graceful_shutdown(shutdown.cancelled_owned())
                .await;
            if let Err(error) = ended {
                tracing::error!(%error, "the API server ended");
            }
        });
        let control = tokio::spawn(controllers::run(server.clone()));
        // In one process nobody listens in between.
        let plain = kubeconfig(format!("http://{addr}"), None, server.credentials.admin_token());
        let client = client(plain).await?;
        Ok(Self {
            server,
            addr,
            authority: identity.authority,
            client,
            stop,
            tasks: Mutex::new(vec![serve, control]),
            workload: None,
        })
    }

    /// Runs the controllers of Deployments, ReplicaSets and Jobs on a cluster from [`DevCluster::start_api`]: there is no
    /// node, so pods stay `Pending`, and who tests writes their status. So the recordings of a real server were made.
    pub fn run_controllers_without_node(&self) {
        let mut controllers = Workload::start_controllers(self.client(), self.stop.clone());
        let task = tokio::spawn(async move { while controllers.join_next().await.is_some() {} });
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// A client with all rights.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Where the API listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How others reach it, with all rights: keep it to yourself.
    pub fn kubeconfig(&self) -> Kubeconfig {
        kubeconfig(
            format!("https://{}", self.addr),
            Some(&self.authority),
            self.server.credentials.admin_token(),
        )
    }

    /// Writes a kubeconfig to a file that only its owner may read.
    ///
    /// # Errors
    /// [`StartError::Kubeconfig`].
    pub fn write_kubeconfig(&self, path: &Path) -> Result<(), StartError> {
        write_private(path, &self.kubeconfig())
    }

    /// Forgets the history of changes: watches from before are told `410 Expired`.
    pub fn compact(&self) {
        self.server.store.compact();
    }

    /// Stops: processes of pods first, then the API. Watches end, writes under way are finished.
    pub async fn shutdown(self) {
        if let Some(workload) = self.workload {
            workload.shutdown().await;
        }
        self.stop.cancel();
        drop(self.client);
        for task in self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner) {
            // Connections that stay open although nothing is asked on them are not waited for.
            let abort = task.abort_handle();
            if tokio::time::timeout(SHUTDOWN_LIMIT, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

/// Longest wait for requests under way.
const SHUTDOWN_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

fn write_private(path: &Path, config: &Kubeconfig) -> Result<(), StartError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // JSON is YAML, so every tool reads it.
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    let failed = |source| StartError::Kubeconfig {
        path: path.into(),
        source,
    };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

fn kubeconfig(address: String, authority: Option<&str>, token: &str) -> Kubeconfig {
    use base64::Engine;
    const NAME: &str = "devcluster";
    Kubeconfig {
        api_version: Some("v1".into()),
        kind: Some("Config".into()),
        clusters: vec![NamedCluster {
            name: NAME.into(),
            cluster: Some(Cluster {
                server: Some(address),
                certificate_authority_data: authority
                    .map(|text| base64::engine::general_purpose::STANDARD.encode(text)),
                ..Cluster::default()
            }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: NAME.into(),
            auth_info: Some(AuthInfo {
                token: Some(token.to_string().into()),
                ..AuthInfo::default()
            }),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: NAME.into(),
            context: Some(Context {
                cluster: NAME.into(),
                user: Some(NAME.into()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some(NAME.into()),
        ..Kubeconfig::default()
    }
}

async fn client(kubeconfig: Kubeconfig) -> Result<kube::Client, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Client(error.to_string());
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|e| failed(&e))?;
    kube::Client::try_from(config).map_err(|e| failed(&e))
}
