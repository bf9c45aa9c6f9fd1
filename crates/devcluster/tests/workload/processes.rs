//! What only the development cluster promises: processes are never left behind, pods go on after a restart,
//! readiness is quick, and a cluster that does nothing costs nothing.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::contract::{
    DEADLINE, Space,
    deployments::{answered, http},
    is_ready,
};
use crate::{
    contract,
    local::{Local, Ranges},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Node, Pod, Service},
};
use kube::{Api, Client, ResourceExt as _, api::ListParams, config::Kubeconfig};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// A Deployment of the small test server, which starts in a few milliseconds.
fn quick(name: &str, replicas: i32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main",
            "image": "test/hanse-test-server:1", "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 10}}]}}}})
}

/// Ids of the processes that descend from this folder's pods: their environment names it.
fn processes_of(folder: &Path) -> BTreeSet<u32> {
    let needle = folder
        .canonicalize()
        .unwrap()
        .join("workload/pods")
        .to_string_lossy()
        .into_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&needle)
    })
    .collect()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The development cluster as a process of its own, which can be killed.
struct Process {
    child: Child,
    client: Client,
}

impl Process {
    async fn start(folder: &Path, ranges: &Ranges) -> Self {
        let kubeconfig = folder.join("kubeconfig");
        let _ = std::fs::remove_file(&kubeconfig);
        let server = Path::new(env!("CARGO_BIN_EXE_hanse-test-server"));
        let child = Command::new(env!("CARGO_BIN_EXE_hanse-devcluster"))
            .arg(folder)
            .arg("--images")
            .arg(server.parent().unwrap())
            .args(["--network", &ranges.network()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let complete = || Kubeconfig::read_from(&kubeconfig).is_ok_and(|config| !config.clusters.is_empty());
        eventually("the cluster runs", complete).await;
        let config = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
            .await
            .unwrap();
        Self {
            child,
            client: Client::try_from(config).unwrap(),
        }
    }

    fn space(&self, name: &str) -> Space {
        Space {
            client: self.client.clone(),
            name: name.to_owned(),
        }
    }

    /// kill -9.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_cluster_leaves_no_process_and_its_pods_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ranges = Ranges::claim();
    let cluster = Process::start(folder.path(), &ranges).await;
    let space = Space::new(cluster.client.clone(), "kill").await;
    space.create::<Deployment>(quick("web", 2)).await;
    space.create::<Service>(contract::load_balancer("web")).await;
    let pods = space
        .wait_pods("web", "ready", |pods| pods.len() == 2 && pods.iter().all(is_ready))
        .await;
    let names: BTreeSet<String> = pods.iter().map(|pod| pod.name_any()).collect();
    // One of them leaves a daemon in a session of its own, the hardest to find again.
    let ip = pods[0].status.as_ref().unwrap().pod_ip.clone().unwrap();
    let daemon: u32 = answered(&http(), &format!("http://{ip}:8080/spawn"))
        .await
        .parse()
        .unwrap();
    // While a program takes the place of another its environment cannot be read.
    let seen = || {
        let running = processes_of(folder.path());
        running.len() >= 3 && running.contains(&daemon)
    };
    eventually("the daemon is among the pods' processes", seen).await;
    let address = |service: &Service| service.status.clone()?.load_balancer?.ingress?.first()?.ip.clone();
    let service = space
        .wait::<Service>("web", "an address", |service| address(service).is_some())
        .await;

    let name = space.name.clone();
    cluster.kill();
    eventually("every process of every pod is gone", || {
        processes_of(folder.path()).is_empty()
    })
    .await;

    let cluster = Process::start(folder.path(), &ranges).await;
    let space = cluster.space(&name);
    let restarted = |pod: &Pod| {
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.clone())
            .unwrap_or_default();
        statuses.iter().all(|status| status.restart_count == 1)
    };
    let all = |pods: &[Pod]| pods.len() == 2 && pods.iter().all(|pod| is_ready(pod) && restarted(pod));
    let pods = space.wait_pods("web", "the same pods run again", all).await;
    assert_eq!(
        pods.iter().map(|pod| pod.name_any()).collect::<BTreeSet<_>>(),
        names,
        "never duplicated"
    );
    let again = space
        .wait::<Service>("web", "an address", |service| address(service).is_some())
        .await;
    assert_eq!(address(&again), address(&service), "the address stays");
    let text = answered(&http(), &format!("http://{}/", address(&again).unwrap())).await;
    assert!(names.contains(text.split(' ').next().unwrap()), "{text}");
    space.delete().await;
    eventually("nothing runs after the deletion", || {
        processes_of(folder.path()).is_empty()
    })
    .await;
    cluster.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_leaves_no_process() {
    let cluster = Local::start().await;
    let space = Space::new(cluster.client(), "shutdown").await;
    space.create::<Deployment>(quick("web", 3)).await;
    let mut deaf = contract::script("deaf", "Always", "trap '' TERM; while true; do sleep 0.1; done");
    deaf["spec"]["terminationGracePeriodSeconds"] = json!(1000);
    space.create::<Pod>(deaf).await;
    space
        .wait_pods("web", "ready", |pods| pods.len() == 3 && pods.iter().all(is_ready))
        .await;
    space.wait::<Pod>("deaf", "running", is_ready).await;
    assert!(processes_of(cluster.folder()).len() >= 4);
    let folder = cluster.stop().await;
    assert_eq!(
        processes_of(folder.path()),
        BTreeSet::new(),
        "all gone when the shutdown returns"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_hanging_probe_is_left() {
    let cluster = Local::start().await;
    let space = Space::new(cluster.client(), "hang").await;
    let mut pod = contract::script("hang", "Always", "sleep 1000");
    let hang = json!({"exec": {"command": ["sh", "-c", "setsid sleep 1000 & wait"]}, "periodSeconds": 1});
    pod["spec"]["containers"][0]["readinessProbe"] = hang;
    space.create::<Pod>(pod).await;
    let events: Api<Event> = space.api();
    let deadline = Instant::now() + DEADLINE;
    let timed_out = |event: &Event| {
        event.reason.as_deref() == Some("Unhealthy")
            && event
                .message
                .as_deref()
                .is_some_and(|message| message.contains("timed out"))
            && event.count.unwrap_or(0) >= 3
    };
    while !events.list(&ListParams::default()).await.unwrap().iter().any(timed_out) {
        assert!(Instant::now() < deadline, "three probes did not time out");
        sleep(Duration::from_millis(50)).await;
    }
    let sleeping = || {
        let programs = processes_of(cluster.folder()).into_iter();
        programs
            .filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"))
            .count()
    };
    // The container's own, and that of at most one probe under way.
    eventually("probes that timed out are gone", || sleeping() <= 2).await;
    let folder = cluster.stop().await;
    eventually("nothing is left", || processes_of(folder.path()).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_ready_soon_after_its_programs_listen() {
    let cluster = Local::start().await;
    let space = Space::new(cluster.client(), "soon").await;
    // The first probe comes too early; a kubelet would probe again after the period of 10 s.
    let mut slow = quick("web", 3);
    slow["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "START_DELAY_MS", "value": "300"}]);
    let begin = Instant::now();
    space.create::<Deployment>(slow).await;
    let available =
        |deployment: &Deployment| deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(3);
    space.wait::<Deployment>("web", "available", available).await;
    println!(
        "three replicas that listen after 300 ms were available after {:?}",
        begin.elapsed()
    );
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "three replicas took {:?}",
        begin.elapsed()
    );
    space.delete().await;
    cluster.stop().await;
}

const WINDOW: Duration = Duration::from_secs(10);
/// 1.5 % of one core.
const LIMIT: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_pods_that_do_nothing_cost_next_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Process::start(folder.path(), &Ranges::claim()).await;
    let space = Space::new(cluster.client.clone(), "idle").await;
    space.create::<Deployment>(quick("web", 20)).await;
    space
        .wait_pods("web", "ready", |pods| pods.len() == 20 && pods.iter().all(is_ready))
        .await;
    // Each window holds a probe of every pod. Other tests may slow down the first ones.
    let mut spent = Vec::new();
    while spent.len() < 3 && spent.last().is_none_or(|last| *last > LIMIT) {
        let before = cpu_time(cluster.child.id());
        // Not to wait for something, but to let time pass in which nothing shall happen.
        sleep(WINDOW).await;
        spent.push(cpu_time(cluster.child.id()) - before);
    }
    println!("CPU time in {WINDOW:?}: {spent:?}");
    assert!(
        spent.iter().any(|spent| *spent <= LIMIT),
        "CPU time for nothing in {WINDOW:?}: {spent:?}"
    );
    space.delete().await;
}

/// User and system time of a process (proc(5), in clock ticks of 10 ms).
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_says_what_it_offers() {
    let cluster = Local::start().await;
    let nodes: Api<Node> = Api::all(cluster.client());
    let deadline = Instant::now() + DEADLINE;
    let node = loop {
        if let Some(node) = nodes.get_opt("devcluster").await.unwrap()
            && node.status.is_some_and(|status| status.capacity.is_some())
        {
            break nodes.get("devcluster").await.unwrap();
        }
        assert!(Instant::now() < deadline, "the node is not there");
        sleep(Duration::from_millis(10)).await;
    };
    let status = node.status.unwrap();
    assert_eq!(status.capacity.unwrap()["pods"].0, "110");
    assert!(
        status
            .conditions
            .unwrap()
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    );
    cluster.stop().await;
}
