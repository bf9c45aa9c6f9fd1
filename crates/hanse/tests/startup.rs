//! What keeps an agent from starting is told in words that say what to do.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use league::{HANSE, League};

fn agent(config: &Path) -> Output {
    Command::new("timeout")
        .args(["60", HANSE, "agent", "--config"])
        .arg(config)
        .output()
        .unwrap()
}

fn refused(config: &Path, words: &[&str]) {
    let output = agent(config);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

/// A copy of the first domain's configuration and keys in another folder.
fn copy_of_the_first(league: &League) -> PathBuf {
    let original = league.agents[0].config.parent().unwrap().to_owned();
    let copy = original.parent().unwrap().join("copy");
    std::fs::create_dir_all(copy.join("keys")).unwrap();
    for key in std::fs::read_dir(original.join("keys")).unwrap() {
        let key = key.unwrap();
        std::fs::copy(key.path(), copy.join("keys").join(key.file_name())).unwrap();
    }
    std::fs::copy(&league.agents[0].config, copy.join("hanse.yaml")).unwrap();
    copy
}

/// An agent of that copy, with ports of its own.
fn copy_command(copy: &Path) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["90", HANSE, "agent", "--config"])
        .arg(copy.join("hanse.yaml"));
    for setting in [
        "api.listen=127.0.0.1:0",
        "ledger.embedded.consensusListen=127.0.0.1:0",
        "ledger.embedded.rpcListen=127.0.0.1:0",
        "cluster.development.listen=127.0.0.1:0",
        "swarm.listen=127.0.0.1:0",
    ] {
        command.args(["--set", setting]);
    }
    command
}

#[test]
fn a_port_that_is_taken_is_named() {
    let league = League::prepare(1);
    let address = league.agents[0].api.trim_start_matches("http://").to_owned();
    let _taken = std::net::TcpListener::bind(&address).unwrap();
    refused(&league.agents[0].config, &[&address, "api.listen"]);
}

#[test]
fn a_data_folder_of_another_consortium_is_refused() {
    let mut first = League::prepare(1);
    first.spawn(0);
    first.wait_ready(0);
    first.kill(0);
    let second = League::prepare(1);
    // The first domain's ledger under the second one's genesis.
    let data = |league: &League| league.agents[0].config.parent().unwrap().join("ledger");
    std::fs::rename(data(&first), data(&second)).unwrap();
    refused(
        &second.agents[0].config,
        &["genesis", "holds another ledger", "hanse ledger resync"],
    );
}

#[test]
fn two_agents_with_one_validator_key_do_not_both_run() {
    let mut league = League::prepare(4);
    for index in 0..4 {
        league.spawn(index);
    }
    league.wait_all_ready();
    let output = copy_command(&copy_of_the_first(&league)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("another node already runs with this validator key"),
        "{text}"
    );
    league.wait_all_ready();
}

#[test]
fn a_listener_that_others_can_reach_needs_a_token() {
    let league = League::prepare(1);
    let output = Command::new(HANSE)
        .args(["agent", "--set", "api.listen=0.0.0.0:0", "--config"])
        .arg(&league.agents[0].config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("api.tokenFile"), "{text}");
}

#[test]
fn on_a_listener_that_others_can_reach_metrics_need_the_token_and_probes_do_not() {
    const TOKEN: &str = "0123456789abcdef-right";
    let mut league = League::prepare(1);
    let agent = &league.agents[0];
    let port = agent.api.rsplit(':').next().unwrap().to_owned();
    let file = agent.config.with_file_name("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let text = std::fs::read_to_string(&agent.config).unwrap();
    let text = text.replace(&format!("listen: 127.0.0.1:{port}"), &format!("listen: 0.0.0.0:{port}"));
    let text = text.replace("tokenFile: null", "tokenFile: token");
    std::fs::write(&agent.config, text).unwrap();
    league.spawn(0);
    league.wait_ready(0);

    let metrics = format!("{}/metrics", league.agents[0].api);
    let get = |authorization: Option<&str>| {
        let mut request = reqwest::blocking::Client::new().get(&metrics);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, answer.text().unwrap())
    };
    let wrong = [
        None,
        Some("Bearer "),
        Some("Bearer 0123456789abcdef-wrong"),
        Some("Bearer 0123456789abcdef-right2"),
        Some("Bearer 0123456789abcdef"),
        Some("Basic 0123456789abcdef-right"),
        Some(TOKEN),
    ];
    for authorization in wrong {
        let (status, kind, text) = get(authorization);
        assert_eq!(
            (status, kind.as_str()),
            (401, "application/problem+json"),
            "{authorization:?}"
        );
        assert!(text.contains("Authorization: Bearer"), "{authorization:?}: {text}");
        assert!(!text.contains("hanse_"), "{authorization:?}: {text}");
    }
    let (status, kind, text) = get(Some(&format!("Bearer {TOKEN}")));
    assert_eq!(status, 200, "{text}");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(text.contains("hanse_agent_info"), "{text}");
    // What a kubelet asks, which has no token.
    for probe in ["live", "ready", "health"] {
        let answer = reqwest::blocking::get(format!("{}/api/v1/{probe}", league.agents[0].api)).unwrap();
        assert!(answer.status().is_success(), "{probe}: {}", answer.status());
    }
}

#[test]
fn of_two_agents_with_one_seed_that_start_at_the_same_instant_one_stops() {
    let mut league = League::prepare(4);
    (1..4).for_each(|index| league.spawn(index));
    let copy = copy_of_the_first(&league);
    // Both at once: neither can find the other listening.
    let twin = copy_command(&copy)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    league.spawn(0);
    let output = twin.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("another node"), "{text}");
    // The one at the registered address is well, and has not contradicted the other.
    league.wait_all_ready();
    let height = league.get(0, "/api/v1/health")["ledger_height"].as_u64().unwrap();
    league::wait("the ledger to go on with all four", || {
        let page = league.try_get(0, "/api/v1/ready")?;
        (page["ledger_height"].as_u64()? > height).then_some(())
    });
}

#[test]
fn a_seed_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let league = League::prepare(1);
    let config = &league.agents[0].config;
    let seed = config.with_file_name("keys").join("seed");
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(config, &["others may read", "chmod 600"]);
}
