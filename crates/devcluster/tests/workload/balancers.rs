//! Services whose endpoints somebody else writes, at addresses of a load balancer: how a program outside of the cluster's pods is
//! reached.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::commands::Shell;
use crate::kubectl::DEADLINE;

/// Something that listens on loopback and says one word to whoever calls.
struct Program {
    port: u16,
    _serving: AbortOnDropHandle<()>,
}

impl Program {
    async fn saying(word: &'static str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = socket.accept().await {
                let _ = stream.write_all(word.as_bytes()).await;
            }
        });
        Self {
            port,
            _serving: AbortOnDropHandle::new(serving),
        }
    }
}

fn service(name: &str, address: Option<&str>) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "ports": [{"name": "swarm", "port": 4001, "targetPort": 4001}]},
    });
    if let Some(address) = address {
        service["spec"]["loadBalancerIP"] = address.into();
    }
    service
}

fn slice(service: &str, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-ipv4"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "swarm", "port": port, "protocol": "TCP"}],
    })
}

async fn address(shell: &Shell, service: &str) -> String {
    shell
        .says(
            &[
                "wait",
                "--for=jsonpath={.status.loadBalancer.ingress[0].ip}",
                &format!("service/{service}"),
                "--timeout=60s",
            ],
            "condition met",
        )
        .await;
    shell
        .prints(&[
            "get",
            "service",
            service,
            "-o",
            "jsonpath={.status.loadBalancer.ingress[0].ip}",
        ])
        .await
}

/// Calls until the word is heard.
async fn hears(address: SocketAddr, word: &str) {
    let start = Instant::now();
    let mut heard = String::new();
    while heard != word {
        assert!(start.elapsed() < DEADLINE, "{address} says {heard:?} and not {word:?}");
        heard.clear();
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let reading = stream.read_to_string(&mut heard);
            let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_selector_leads_where_the_slices_say_that_somebody_wrote() {
    let shell = Shell::start("slices").await;
    let (one, two) = (Program::saying("one").await, Program::saying("two").await);
    shell.apply(&service("swarm", None), "service/swarm created").await;
    shell.apply(&slice("swarm", one.port), "created").await;
    let place: SocketAddr = format!("{}:4001", address(&shell, "swarm").await).parse().unwrap();
    hears(place, "one").await;
    shell.apply(&slice("swarm", two.port), "configured").await;
    hears(place, "two").await;
    shell
        .says(
            &["get", "service", "swarm"],
            &format!(r"swarm +LoadBalancer +\S+ +{} +4001:\d+/TCP", place.ip()),
        )
        .await;
    shell
        .says(
            &["describe", "service", "swarm"],
            &format!(r"Endpoints: +127.0.0.1:{}", two.port),
        )
        .await;
    shell.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_asked_for_is_given_if_it_is_of_the_range() {
    let shell = Shell::start("addresses").await;
    let Some(cluster) = &shell.cluster else {
        // Which addresses there are is a matter of each cluster.
        return shell.finish().await;
    };
    let inside = format!("{}.16.77", cluster.network());
    shell.apply(&service("inside", Some(&inside)), "created").await;
    assert_eq!(address(&shell, "inside").await, inside);

    shell.apply(&service("outside", Some("203.0.113.7")), "created").await;
    let start = Instant::now();
    let wanted = "SyncLoadBalancerFailed.*203.0.113.7 is in use or not in the load-balancer range";
    let wanted = regex::Regex::new(wanted).unwrap();
    loop {
        let described = shell.prints(&["describe", "service", "outside"]).await;
        if wanted.is_match(&described) {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "no event says why:\n{described}");
    }
    shell
        .says(&["get", "service", "outside"], r"outside +LoadBalancer +\S+ +<pending>")
        .await;
    shell.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_either_api_are_described_with_what_they_are_about() {
    let shell = Shell::start("events").await;
    shell
        .says(&["create", "configmap", "about", "--from-literal=k=v"], "created")
        .await;
    let uid = shell
        .prints(&["get", "configmap", "about", "-o", "jsonpath={.metadata.uid}"])
        .await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "about.1"},
        "eventTime": "2026-01-02T03:04:05.678900Z", "type": "Warning", "reason": "PoolNotFound", "action": "Published",
        "note": "there is no such pool", "reportingController": "test/events", "reportingInstance": "test-1",
        "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "name": "about",
            "namespace": shell.namespace, "uid": uid},
    });
    let printed = shell.run_with(&["create", "-f", "-"], &event.to_string()).await;
    assert_eq!(printed.exit, 0, "{}", printed.stderr);
    shell
        .says(
            &["describe", "configmap", "about"],
            "Warning +PoolNotFound .* there is no such pool",
        )
        .await;
    shell
        .says(
            &["get", "events"],
            "PoolNotFound +configmap/about +there is no such pool",
        )
        .await;
    shell.finish().await;
}
