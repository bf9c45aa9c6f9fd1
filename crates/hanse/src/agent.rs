//! One agent: puts the roles together as the configuration says. No logic of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy::primitives::Address;
use anyhow::{Context, anyhow};
use hanse_chain::consensus::ConsensusStatus;
use hanse_chain::genesis::{Genesis, MemberInfo};
use hanse_chain::node::{LEAST_HISTORY, Node, NodeConfig};
use hanse_chain::snapshot;
use hanse_cluster::Cluster;
use hanse_devcluster::{DevCluster, DevClusterConfig, Image, Images};
use hanse_discovery::Discovery;
use hanse_ledger::{ChainIdentity, Ledger};
use hanse_orchestrator::api::{self, Access, NodeTroubles, Trouble};
use hanse_orchestrator::store::Store;
use hanse_orchestrator::{Catalogue, Federation, Orchestrator, OrchestratorConfig};
use hanse_swarm::Swarm;
use hanse_swarm::model::{GenesisDigest, Membership, SwarmAddress};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use utoipa::OpenApi;

use crate::config::{ClusterConfig, Config, DevelopmentCluster, EmbeddedLedger};
use crate::consortium::snapshots::{self, Gate};
use crate::consortium::{self, Consortium, OwnNode};
use crate::discoverer::Discoverer;
use crate::keys::DomainKeys;
use crate::swarm::Found;
use crate::{evidence, metrics, swarm};

/// Connections that may wait to be accepted.
pub const BACKLOG: u32 = 1024;

/// Everything that runs in an agent.
pub struct Agent {
    swarm: Arc<Swarm>,
    discovery: Discovery,
    node: Option<Node>,
    development: Option<DevCluster>,
    orchestrator: Orchestrator,
    consortium: (CancellationToken, JoinHandle<()>),
    server: JoinHandle<std::io::Result<()>>,
}

/// Runs an agent until SIGTERM or Ctrl-C; with `follow_stdin` also until standard input ends, which it does when the
/// process that started it is gone.
pub async fn run(config: Config, follow_stdin: bool) -> anyhow::Result<()> {
    if config.is_discoverer() {
        return discover(&config, follow_stdin).await;
    }
    let mut agent = Agent::start(&config).await?;
    let node = agent.node.as_ref().map(Node::watch_status);
    tracing::info!(domain = config.domain, api = %config.api.listen, "agent ready");
    let mut terminate = signal(SignalKind::terminate())?;
    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result.context("could not listen for Ctrl-C"),
        () = parent_gone(), if follow_stdin => Ok(()),
        reason = has_twin(node) => Err(anyhow!(reason)),
        served = &mut agent.server => Err(anyhow!("the REST API stopped: {served:?}")),
    };
    tracing::info!("stopping");
    agent.stop().await;
    result
}

/// The same for an agent without a ledger.
async fn discover(config: &Config, follow_stdin: bool) -> anyhow::Result<()> {
    let mut agent = Discoverer::start(config).await?;
    tracing::info!(domain = config.domain, api = %config.api.listen, "agent ready; it has no ledger");
    let mut terminate = signal(SignalKind::terminate())?;
    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result.context("could not listen for Ctrl-C"),
        () = parent_gone(), if follow_stdin => Ok(()),
        broken = agent.broken() => Err(broken),
    };
    tracing::info!("stopping");
    agent.stop().await;
    result
}

/// Takes an address without listening on it yet.
fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // An agent that starts again at once is not told that its port is taken.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Takes the address of the REST API without listening on it yet.
pub fn reserve_api(config: &Config) -> anyhow::Result<TcpSocket> {
    reserve(config.api.listen).with_context(|| port_taken(config))
}

/// What to do when the REST API's address is not free.
pub fn port_taken(config: &Config) -> String {
    format!(
        "the REST API can't listen on {}; stop what uses the port or set api.listen",
        config.api.listen
    )
}

/// Makes the data folder if it is missing.
pub fn make_data_folder(config: &Config) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("could not create the data folder {}", config.data_dir.display()))
}

async fn parent_gone() {
    let mut buffer = [0; 64];
    let mut input = tokio::io::stdin();
    while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Returns when the node has found another one that runs with its key; this one must stop.
async fn has_twin(node: Option<watch::Receiver<ConsensusStatus>>) -> String {
    let Some(mut status) = node else {
        return std::future::pending().await;
    };
    match status.wait_for(|status| status.duplicate_key).await {
        Ok(status) => status.halted.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

impl Agent {
    async fn start(config: &Config) -> anyhow::Result<Self> {
        make_data_folder(config)?;
        let keys = Arc::new(DomainKeys::load(config)?);
        // First, because whoever is told of a port that is taken should be told before anything else runs. Until it is served,
        // callers are refused: others that start at the same time would wait for an answer.
        let socket = reserve_api(config)?;
        let access = Access::for_listener(config.api.listen, token(config)?)?;

        let swarm = swarm::start(config, &keys).await?;
        let stop = CancellationToken::new();
        let failed = stop.clone().drop_guard();
        let found = swarm::enter(config, &keys, &swarm).await?;
        let node = match &config.ledger.embedded {
            Some(embedded) => Some(start_node(config, embedded, found.as_ref(), &keys, &stop).await?),
            None => None,
        };
        let (development, client) = cluster(config).await?;
        let (membership, told) = watch::channel(None);
        let (teller, told) = swarm::told(told);
        let discovery = swarm::discover(config, &keys, &swarm, client.clone(), told)?;
        let contracts = connect_ledger(config, node.as_ref(), &keys).await?;
        if let (Some(node), Some(blocks)) = (&node, config.ledger.history) {
            anyhow::ensure!(
                blocks >= LEAST_HISTORY,
                "ledger.history is {blocks}, but the newest {LEAST_HISTORY} blocks are always kept, for others to catch up from"
            );
            let done = contracts.events_done();
            node.keep_newest(blocks, move || done.load(Ordering::Relaxed));
        }
        let consortium = open_consortium(
            config,
            contracts.clone(),
            membership,
            found.as_ref(),
            &keys,
            node.as_ref(),
        )?;
        let of_ledger = crate::ledger::routes(contracts.clone(), node.as_ref());
        let of_swarm = swarm::api::routes(swarm.clone(), contracts.clone());
        let ledger = Federation::new(contracts);
        let store = Store::open(&config.data_dir.join("orchestrator.redb"))?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .build()?;
        let settings = OrchestratorConfig {
            domain: config.domain.clone(),
            namespace: config.cluster.namespace.clone().unwrap_or_else(|| "default".into()),
            bidding: config.bidding.clone(),
            deploy_timeout: Duration::from_secs(config.deploy_timeout_seconds),
            check_timeout: Duration::from_secs(config.check_timeout_seconds),
            experiments: config.data_dir.join("experiments"),
        };
        let orchestrator = Orchestrator::start(
            settings,
            ledger,
            Cluster::new(client),
            store,
            swarm.clone(),
            keys.sealing.clone(),
            http,
        )
        .await?;
        tokio::spawn(teller.follow(orchestrator.clone(), swarm.clone(), stop.clone()));
        let catalogue = Catalogue::new(config.catalogue.clone());
        let mut others = consortium::routes(consortium.clone());
        let mut registry = metrics::registry(&config.domain, node.as_ref(), &orchestrator, &discovery);
        metrics::register_swarm(&mut registry, swarm.clone());
        let evidence = evidence::routes(node.as_ref().map(Node::evidence));
        others.operator = others
            .operator
            .merge(metrics::routes(registry))
            .merge(evidence)
            .merge(of_ledger)
            .merge(of_swarm);
        others.description.merge(evidence::Description::openapi());
        others.description.merge(crate::ledger::Description::openapi());
        others.description.merge(metrics::Description::openapi());
        others.description.merge(swarm::api::Description::openapi());
        if let Some(node) = &node {
            others.node_troubles = node_troubles(node);
        }
        if let (Some(node), Some(embedded)) = (&node, &config.ledger.embedded) {
            let gate = Gate::new(node.snapshots().clone(), load_genesis(&embedded.genesis)?.digest());
            others.strangers = others.strangers.merge(snapshots::routes(Arc::new(gate)));
        }
        let router = api::router(orchestrator.clone(), catalogue, access, config.api.listen, others);
        let questions = swarm.answer(swarm::guests::TOPIC);
        tokio::spawn(consortium.clone().answer_guests(questions, stop.clone()));
        let attending = tokio::spawn(consortium.attend(stop.clone()));
        let listener = socket.listen(BACKLOG).with_context(|| port_taken(config))?;
        let server = tokio::spawn(api::serve(listener, router, orchestrator.clone()));
        failed.disarm();
        Ok(Self {
            swarm,
            discovery,
            node,
            development,
            orchestrator,
            consortium: (stop, attending),
            server,
        })
    }

    async fn stop(self) {
        let (stop, attending) = self.consortium;
        stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(5), attending).await;
        self.discovery.shutdown().await;
        self.orchestrator.shutdown().await;
        let _ = tokio::time::timeout(Duration::from_secs(5), self.server).await;
        if let Some(development) = self.development {
            development.shutdown().await;
        }
        if let Some(node) = self.node {
            node.shutdown().await;
        }
        self.swarm.stop().await;
    }
}

/// Why the node is not ready, as the API tells it.
fn node_troubles(node: &Node) -> NodeTroubles {
    let unready = node.readiness();
    Arc::new(move || {
        let reasons = unready().into_iter();
        reasons.map(|it| Trouble::new(it.name(), &it, it.next_step())).collect()
    })
}

/// The token of the REST API, if it has one.
pub fn token(config: &Config) -> anyhow::Result<Option<String>> {
    let Some(path) = &config.api.token_file else {
        return Ok(None);
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("could not read api.tokenFile {}", path.display()))?;
    let token = text.trim();
    anyhow::ensure!(
        token.len() >= 16,
        "api.tokenFile {} holds less than 16 characters",
        path.display()
    );
    Ok(Some(token.to_owned()))
}

/// This domain's part in the consortium.
fn open_consortium(
    config: &Config,
    ledger: Ledger,
    membership: watch::Sender<Option<Membership>>,
    found: Option<&Found>,
    keys: &Arc<DomainKeys>,
    node: Option<&Node>,
) -> anyhow::Result<Arc<Consortium>> {
    let embedded = config.ledger.embedded.as_ref();
    let node = match (node, embedded) {
        (Some(node), Some(embedded)) => Some(OwnNode {
            genesis: load_genesis(&embedded.genesis)?,
            wishes: node.wishes(),
            status: node.watch_status(),
            rpc: format!("http://{}", node.rpc_addr()).parse()?,
        }),
        _ => None,
    };
    let listen = embedded.map(|embedded| consortium::consensus_address(embedded.consensus_listen));
    let address = embedded.and_then(|embedded| embedded.consensus_address.clone());
    let me = MemberInfo {
        account: keys.ledger.address(),
        validator_key: keys.validator.generation(0).public_key().into(),
        sealing_key: keys.sealing.public().into(),
        name: config.domain.clone(),
        consensus_address: address.or(listen).unwrap_or_default(),
        peer_id: keys.swarm.peer_id().to_string(),
        url: config.api.public_url(),
    };
    let claim = node
        .as_ref()
        .map(|node| claim(config, &me, &node.genesis))
        .transpose()?;
    let found = found.iter().flat_map(|found| &found.invites);
    let settings = consortium::Settings {
        me,
        policy: consortium::Policy {
            admission: config.consortium.admission,
            approved: config.consortium.approved.clone(),
        },
        guests: config.consortium.guests,
        claim,
        membership,
        bootstrap: config.consortium.invite.iter().chain(found).cloned().collect(),
        data_dir: config.data_dir.clone(),
    };
    let http = consortium::http_client()?;
    Ok(Arc::new(Consortium::open(settings, ledger, keys.clone(), node, http)?))
}

/// What a member says of that in its swarm.
fn claim(config: &Config, me: &MemberInfo, genesis: &Genesis) -> anyhow::Result<Membership> {
    Ok(Membership {
        genesis: GenesisDigest(genesis.digest().0),
        api: Some(config.api.public_url().try_into().context("api.url")?),
        consensus: SwarmAddress::parse(&me.consensus_address).context("ledger.embedded.consensusAddress")?,
    })
}

async fn start_node(
    config: &Config,
    embedded: &EmbeddedLedger,
    found: Option<&Found>,
    keys: &DomainKeys,
    stop: &CancellationToken,
) -> anyhow::Result<Node> {
    let genesis = load_genesis(&embedded.genesis)?;
    let snapshot = snapshot::Settings {
        data_dir: config.data_dir.join("ledger"),
        genesis: genesis.clone(),
        // Whose node ran here before has voted or followed, and wants its history back.
        fill: hanse_chain::consensus::folder(&ledger_folder(config)).exists(),
        least_blocks: config.ledger.snapshot.least_blocks,
        most_bytes: config.ledger.snapshot.most_mebibytes.saturating_mul(1 << 20),
    };
    let configured = config.consortium.invite.iter().chain(&config.ledger.snapshot.invites);
    let in_swarm = found.iter().flat_map(|found| &found.invites);
    let invites: Vec<_> = configured.chain(in_swarm).cloned().collect();
    let bootstrap = found.iter().flat_map(|found| &found.bootstrap);
    let bootstrap = embedded.bootstrap.iter().chain(bootstrap).cloned().collect();
    snapshots::fetch(snapshot, &invites, &keys.ledger).await?;
    let digest = genesis.digest();
    let node = Node::start(NodeConfig {
        data_dir: ledger_folder(config),
        genesis,
        keys: keys.validator.clone(),
        consensus_listen: embedded.consensus_listen,
        rpc_listen: embedded.rpc_listen,
        bootstrap,
    });
    let node = node.await.context("the ledger node did not start")?;
    snapshots::fill(&node, digest, &keys.ledger, stop).await?;
    Ok(node)
}

/// Data folder of the embedded ledger node.
pub fn ledger_folder(config: &Config) -> PathBuf {
    config.data_dir.join("ledger")
}

/// Reads and checks a `genesis.json`.
pub fn load_genesis(path: &Path) -> anyhow::Result<Genesis> {
    let genesis = Genesis::load(path)?;
    genesis.validate()?;
    Ok(genesis)
}

/// The cluster that the configuration names, and a client of it.
pub async fn cluster(config: &Config) -> anyhow::Result<(Option<DevCluster>, kube::Client)> {
    let development = match &config.cluster.development {
        Some(cluster) => Some(start_development_cluster(config, cluster).await?),
        None => None,
    };
    let client = match &development {
        Some(development) => development.client(),
        None => real_cluster(&config.cluster).await?,
    };
    Ok((development, client))
}

async fn start_development_cluster(config: &Config, cluster: &DevelopmentCluster) -> anyhow::Result<DevCluster> {
    let image = |program: &std::path::PathBuf| Image {
        program: program.clone(),
        args: Vec::new(),
    };
    let images = cluster
        .images
        .iter()
        .map(|(name, program)| (name.clone(), image(program)));
    let settings = DevClusterConfig {
        listen: cluster.listen,
        pod_range: cluster.pod_range.parse().context("cluster.development.podRange")?,
        service_range: cluster
            .service_range
            .parse()
            .context("cluster.development.serviceRange")?,
        load_balancer_range: cluster
            .load_balancer_range
            .parse()
            .context("cluster.development.loadBalancerRange")?,
        images: Images {
            by_name: images.collect(),
            dir: None,
        },
        ..DevClusterConfig::new(config.data_dir.join("cluster"))
    };
    let started = DevCluster::start(settings)
        .await
        .context("the development cluster did not start")?;
    started.write_kubeconfig(&config.data_dir.join("kubeconfig"))?;
    Ok(started)
}

pub async fn real_cluster(config: &ClusterConfig) -> anyhow::Result<kube::Client> {
    let options = kube::config::KubeConfigOptions {
        context: config.context.clone(),
        ..Default::default()
    };
    let found = match kube::Config::from_kubeconfig(&options).await {
        Ok(found) => found,
        Err(_) if config.context.is_none() => kube::Config::incluster()
            .context("no usable kubeconfig and not in a pod; set KUBECONFIG, or cluster.development for a trial")?,
        Err(error) => return Err(error).context("cluster.context can't be used"),
    };
    kube::Client::try_from(found).context("the cluster's client could not be made")
}

async fn connect_ledger(config: &Config, node: Option<&Node>, keys: &DomainKeys) -> anyhow::Result<Ledger> {
    let urls = match node {
        Some(node) => vec![format!("ws://{}", node.rpc_addr()).parse()?],
        None => config.ledger.urls.clone(),
    };
    Ledger::connect(ledger_config(config, urls)?, keys.ledger.clone())
        .await
        .context("the ledger can't be used")
}

/// What the ledger's client is told when it uses these endpoints.
pub fn ledger_config(config: &Config, urls: Vec<Url>) -> anyhow::Result<hanse_ledger::LedgerConfig> {
    let genesis = hanse_contracts::genesis_addresses();
    let address = |configured: &Option<String>, otherwise: Address, setting: &str| match configured {
        Some(text) => text
            .parse()
            .with_context(|| format!("{setting}: {text:?} is not an address")),
        None => Ok(otherwise),
    };
    let consortium = address(&config.ledger.consortium, genesis.consortium, "ledger.consortium")?;
    let federation = address(&config.ledger.federation, genesis.federation, "ledger.federation")?;
    let chain = config.ledger.chain_id.map(|chain_id| ChainIdentity {
        chain_id,
        genesis: config.ledger.genesis_hash,
    });
    Ok(hanse_ledger::LedgerConfig {
        confirmations: config.ledger.confirmations,
        chain,
        ..hanse_ledger::LedgerConfig::new(urls, consortium, federation, config.data_dir.join("outbox.redb"))
    })
}
