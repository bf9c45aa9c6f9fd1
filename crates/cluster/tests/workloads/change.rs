//! Addresses, scaling, configuration, logs, status.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hanse_cluster::{ClusterError, Exposure, Host, LogSource, Permanent, Protocol, Replicas, State};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::bed::{Case, SOON, config_map, deployment, idle, script, service};

pub async fn a_service_answers_where_its_address_says(case: &Case) -> Result<()> {
    let yaml = service("web", "LoadBalancer") + &deployment("web", 1, case.echo_container, "");
    let manifest = case.applied(&yaml).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let addresses = case
        .cluster
        .addresses(&case.namespace, &manifest, Exposure::LoadBalancer, SOON)
        .await?;
    ensure!(addresses.len() == 1, "{addresses:?}");
    let port = &addresses[0].ports[0];
    assert_eq!(
        (addresses[0].service.as_str(), port.name.as_deref(), port.port),
        ("web", Some("echo"), 8080)
    );
    assert_eq!(port.protocol, Protocol::Tcp);
    let host = addresses[0].hosts[0].to_string();
    assert_eq!(echo(&host, 8080, "hello").await?, "hello\n");

    // The same Service inside the cluster; it is no node port, so that choice leaves it out unless the balancer uses one.
    let inside = case
        .cluster
        .addresses(&case.namespace, &manifest, Exposure::ClusterIp, SOON)
        .await?;
    ensure!(matches!(inside[0].hosts[0], Host::Ip(_)), "{inside:?}");
    Ok(())
}

/// Connects until it is answered: a real load balancer may need a moment after it has its address.
async fn echo(host: &str, port: u16, line: &str) -> Result<String> {
    let attempt = || async {
        let mut stream = BufReader::new(TcpStream::connect((host, port)).await?);
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        ensure!(!answer.is_empty(), "the connection was closed without an answer");
        anyhow::Ok(answer)
    };
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        match tokio::time::timeout(Duration::from_secs(5), attempt()).await {
            Ok(Ok(answer)) => return Ok(answer),
            failed if tokio::time::Instant::now() > deadline => {
                return failed.context("no answer")?.with_context(|| format!("{host}:{port}"));
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

pub async fn services_without_such_an_address_are_left_out(case: &Case) -> Result<()> {
    let manifest = case.applied(&service("web", "ClusterIP")).await?;
    let one = case
        .cluster
        .service_address(&case.namespace, "web", Exposure::LoadBalancer, SOON)
        .await?;
    ensure!(one.is_none(), "{one:?}");
    let outside = case
        .cluster
        .addresses(&case.namespace, &manifest, Exposure::LoadBalancer, SOON)
        .await?;
    ensure!(outside.is_empty(), "{outside:?}");
    let inside = case
        .cluster
        .addresses(&case.namespace, &manifest, Exposure::ClusterIp, SOON)
        .await?;
    ensure!(inside.len() == 1, "{inside:?}");
    Ok(())
}

pub async fn scaling_up_and_down(case: &Case) -> Result<()> {
    let manifest = case.applied(&deployment("web", 1, &idle(), "")).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    for wanted in [3, 0, 2] {
        case.cluster.scale(&case.namespace, "web", wanted).await?;
        case.cluster.wait_rollout(&case.namespace, "web", SOON).await?;
        assert_eq!(
            case.cluster.replicas(&case.namespace, "web").await?,
            Replicas {
                wanted,
                available: wanted
            }
        );
    }
    let missing = case.cluster.scale(&case.namespace, "nobody", 1).await;
    assert!(
        matches!(missing, Err(ClusterError::Permanent(Permanent::NotFound { .. }))),
        "{missing:?}"
    );
    Ok(())
}

pub async fn new_configuration_reaches_the_program_after_a_restart(case: &Case) -> Result<()> {
    let container = script(
        "echo to $destination_ip; trap 'exit 0' TERM; while true; do sleep 0.2; done",
        ", envFrom: [{configMapRef: {name: sampler-sender-config-map}}]",
    );
    let yaml = config_map("sampler-sender-config-map", "{destination_ip: \"10.0.0.1\"}")
        + &deployment("sampler-sender", 1, &container, "");
    let manifest = case.applied(&yaml).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let patch = || {
        case.cluster.patch_config_map(
            &case.namespace,
            "sampler-sender-config-map",
            "destination_ip",
            "10.0.0.2",
        )
    };
    assert!(patch().await?, "the value changed");
    assert!(!patch().await?, "the value was there already");
    case.cluster.rollout_restart(&case.namespace, "sampler-sender").await?;
    case.cluster
        .wait_rollout(&case.namespace, "sampler-sender", SOON)
        .await?;
    let logs = case
        .cluster
        .logs(&case.namespace, LogSource::Deployment("sampler-sender"), 10)
        .await?;
    ensure!(logs.len() == 1, "only the new pod is left: {logs:?}");
    assert_eq!(logs[0].lines, ["to 10.0.0.2"]);
    Ok(())
}

pub async fn a_roll_out_for_the_same_cause_happens_once(case: &Case) -> Result<()> {
    let manifest = case.applied(&deployment("web", 1, &idle(), "")).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let pods = async || -> Result<Vec<String>> {
        case.cluster.wait_rollout(&case.namespace, "web", SOON).await?;
        let logs = case
            .cluster
            .logs(&case.namespace, LogSource::Deployment("web"), 1)
            .await?;
        Ok(logs.into_iter().map(|log| log.pod).collect())
    };
    let first = pods().await?;
    case.cluster.rollout_for(&case.namespace, "web", "10.0.0.2").await?;
    let second = pods().await?;
    assert_ne!(first, second, "the pods were replaced");
    case.cluster.rollout_for(&case.namespace, "web", "10.0.0.2").await?;
    assert_eq!(second, pods().await?, "they are not replaced for the same cause again");
    // Applying the manifest anew is no cause either.
    case.cluster.apply(&case.namespace, &manifest, &case.owner).await?;
    assert_eq!(second, pods().await?);
    Ok(())
}

pub async fn logs_are_the_last_lines_of_each_container(case: &Case) -> Result<()> {
    let container = script("for i in 1 2 3 4 5; do echo line $i; done; exec sleep 1000", "");
    let manifest = case.applied(&deployment("web", 1, &container, "")).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let deadline = tokio::time::Instant::now() + SOON;
    let logs = loop {
        let logs = case
            .cluster
            .logs(&case.namespace, LogSource::Deployment("web"), 2)
            .await?;
        // Ready means started; it may not have written everything yet.
        if logs[0].lines.last().is_some_and(|l| l == "line 5") || tokio::time::Instant::now() > deadline {
            break logs;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(logs[0].lines, ["line 4", "line 5"]);
    let pod = case
        .cluster
        .logs(&case.namespace, LogSource::Pod(&logs[0].pod), 1)
        .await?;
    assert_eq!(pod[0].lines, ["line 5"]);
    Ok(())
}

pub async fn the_status_lists_what_the_owner_has(case: &Case) -> Result<()> {
    let yaml = config_map("c", "{k: v}")
        + &service("web", "ClusterIP")
        + &deployment("web", 1, &idle(), "")
        + &deployment("broken", 1, "{name: main, image: \"localhost:1/no-such:1\"}", "");
    let manifest = case.applied(&yaml).await?;
    case.cluster
        .wait_ready(&case.namespace, &manifest, SOON)
        .await
        .expect_err("one image is missing");
    case.cluster.wait_rollout(&case.namespace, "web", SOON).await?;
    let list = case.cluster.list(&case.namespace, &case.owner).await?;
    let names: Vec<String> = list.iter().map(|o| o.object.to_string()).collect();
    assert_eq!(
        names,
        [
            "ConfigMap \"c\"",
            "Service \"web\"",
            "Deployment \"broken\"",
            "Deployment \"web\""
        ]
    );
    assert!(
        matches!(&list[2].state, State::NotReady { message, .. } if message.contains("no-such")),
        "{:?}",
        list[2]
    );
    assert_eq!((&list[3].state, list[3].pods.len()), (&State::Ready, 1));
    assert!(
        list[3].pods[0].ready && list[3].pods[0].phase == "Running",
        "{:?}",
        list[3]
    );
    Ok(())
}

pub async fn the_rights_of_an_administrator_suffice(case: &Case) -> Result<()> {
    let report = case.cluster.check_access(&case.namespace).await?;
    assert!(report.server_version.starts_with('v'), "{}", report.server_version);
    assert_eq!(report.missing().next(), None);
    ensure!(report.checks.len() > 30, "{} checks", report.checks.len());
    Ok(())
}
