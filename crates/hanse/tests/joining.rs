//! Domains find a consortium in the swarm and join it: real agent processes, one key and one bootstrap address.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hanse_ports::free_address;
use league::commands::{Joining, json_of, refusal};
use league::{League, log, wait};
use serde_json::{Value, json};

impl League {
    fn swarm_key(&self) -> PathBuf {
        self.folder.path().join("league").join("swarm.key")
    }

    fn swarm(&self, index: usize, arguments: &[&str]) -> Value {
        json_of(&[&["swarm"], arguments, &["--api", &self.agents[index].api]].concat())
    }

    /// The address at which others begin with an agent.
    fn bootstrap(&self, index: usize) -> String {
        self.swarm(index, &["status"])["addresses"][0]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn members(&self, index: usize) -> Option<Vec<String>> {
        let page = self.try_get(index, "/api/v1/consortium")?;
        let name = |member: &Value| member["name"].as_str().unwrap().to_owned();
        Some(page["members"].as_array()?.iter().map(name).collect())
    }

    fn wait_member(&self, index: usize, name: &str) {
        let agent = &self.agents[index];
        wait(
            &format!(
                "{} to count {name} among the members; its log:\n{}",
                agent.name,
                log(&agent.config)
            ),
            || self.members(index)?.iter().any(|member| member == name).then_some(()),
        );
    }
}

/// The newcomer is given the swarm's key and one address.
fn join(key: &Path, bootstrap: &str, folder: &Path, more: &[&str]) -> Joining {
    let given = ["--swarm-key", key.to_str().unwrap(), "--bootstrap", bootstrap];
    Joining::start(folder, &[&given, more].concat())
}

#[test]
fn a_league_grows_from_one_address_and_goes_on_growing_when_its_first_domain_is_gone() {
    let mut league = League::start(4);
    // Nothing that the others were given names a place but the first one's, in the swarm.
    let first = league.bootstrap(0);
    for agent in &league.agents[1..] {
        let text = std::fs::read_to_string(&agent.config).unwrap();
        let places: Vec<&str> = text.lines().filter(|line| line.contains("/tcp/")).collect();
        assert_eq!(places.len(), 1, "{places:?}");
        assert!(places[0].contains(&first), "{places:?} is not {first}");
    }
    for index in 0..4 {
        wait("each to see the others as members", || {
            let peers = league.swarm(index, &["peers"]);
            let members = peers.as_array()?.iter().filter(|peer| peer["member"] == peer["name"]);
            (members.count() == 3).then_some(())
        });
    }

    let folder = league.folder.path().join("fifth");
    let mut fifth = join(&league.swarm_key(), &first, &folder, &["--category", "far away"]);
    let at = league.adopt(fifth.wait_configured());
    league.wait_member(0, "fifth");
    league.wait_ready(at);
    wait("it to be found by what it offers", || {
        let found = league.swarm(1, &["find", "--category", "far away"]);
        let found = &found["domains"][0];
        (found["name"] == "fifth" && found["member"] == "fifth").then_some(())
    });
    let found = league.swarm(1, &["find", "--category", "nothing of this kind"]);
    assert_eq!(found["domains"], json!([]));
    assert_eq!(found["others"].as_array().unwrap().len(), 4);

    // The first domain dies. The others go on, and any of them lets another in.
    league.kill(0);
    let folder = league.folder.path().join("sixth");
    let through = league.bootstrap(2);
    let mut sixth = join(&league.swarm_key(), &through, &folder, &[]);
    let at = league.adopt(sixth.wait_configured());
    // Four of five votes: three domains vote by themselves, the fifth's operator does it by hand.
    let fifth = league.agents[4].api.clone();
    wait("the proposal to reach the fifth", || {
        let page = league.try_get(4, "/api/v1/consortium")?;
        let subjects: Vec<&str> = page["proposals"]
            .as_array()?
            .iter()
            .filter_map(|it| it["subject"].as_str())
            .collect();
        assert!(!subjects.contains(&"fifth"), "it was proposed twice");
        (subjects == ["sixth"]).then_some(())
    });
    json_of(&["consortium", "vote", "sixth", "--api", &fifth]);
    for index in [1, 2, 3] {
        league.wait_member(index, "sixth");
    }
    league.wait_ready(at);
}

#[test]
fn a_league_starts_again_without_its_first_domain() {
    let mut league = League::start(4);
    (0..4).for_each(|index| league.kill(index));
    (1..4).for_each(|index| league.spawn(index));
    (1..4).for_each(|index| league.wait_ready(index));
    assert_eq!(league.members(1).unwrap().len(), 4);
    // They find each other in the swarm too, where none of them was given another's address.
    for index in 1..4 {
        wait("the others of the swarm to be online again", || {
            let peers = league.swarm(index, &["peers"]);
            let online = peers.as_array()?.iter().filter(|peer| peer["presence"] == "online");
            (online.count() == 2).then_some(())
        });
    }
}

#[test]
fn whoever_is_killed_while_it_joins_goes_on_with_the_same_command() {
    let mut league = League::prepare_with(4, &["--admission", "by-hand"]);
    (0..4).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    let (key, bootstrap) = (league.swarm_key(), league.bootstrap(0));
    let folder = league.folder.path().join("fifth");
    let start = || join(&key, &bootstrap, &folder, &[]);

    let mut joining = start();
    joining.wait_for("the keys", || folder.join("keys").exists().then_some(()));
    joining.kill();
    let mut joining = start();
    joining.wait_for("the genesis document", || {
        folder.join("genesis.json").exists().then_some(())
    });
    joining.kill();
    let mut joining = start();
    let requests = |league: &League| {
        let page = league.try_get(0, "/api/v1/consortium")?;
        let requests = page["requests"].as_array()?.clone();
        (!requests.is_empty()).then_some(requests)
    };
    joining.wait_for("the request for admission", || requests(&league).map(drop));
    joining.kill();
    assert_eq!(requests(&league).unwrap().len(), 1);
    let mut joining = start();
    let account = requests(&league).unwrap()[0]["account"].clone();

    for index in 0..3 {
        let api = league.agents[index].api.clone();
        json_of(&["consortium", "vote", "fifth", "--api", &api]);
    }
    league.wait_member(3, "fifth");
    let fifth = league.adopt(folder.join("hanse.yaml"));
    joining.wait_for("the domain to be a member", || {
        let page = league.try_get(fifth, "/api/v1/health")?;
        (page["member"] == true && page["account"] == account).then_some(())
    });
}

#[test]
fn who_can_not_find_a_consortium_is_told_why_with_the_fingerprint_of_its_key() {
    let league = League::start(1);
    let folder = league.folder.path();
    let other = folder.join("other.key");
    let made = json_of(&["swarm", "keygen", "--output", other.to_str().unwrap()]);
    let fingerprint = made["fingerprint"].as_str().unwrap();
    let text = refusal(&["swarm", "keygen", "--output", other.to_str().unwrap()]);
    assert!(text.contains("is not overwritten"), "{text}");

    let refused = |key: &Path, bootstrap: &str, name: &str| {
        let (key, place) = (key.to_str().unwrap(), folder.join(name));
        refusal(&[
            "join",
            "--swarm-key",
            key,
            "--bootstrap",
            bootstrap,
            "--name",
            name,
            "--local",
            "--within",
            "3",
            "--folder",
            place.to_str().unwrap(),
        ])
    };
    let bootstrap = league.bootstrap(0);
    let text = refused(&other, &bootstrap, "stranger");
    assert!(text.contains(fingerprint) && text.contains("answer"), "{text}");

    // Nobody there.
    let peer = bootstrap.rsplit('/').next().unwrap();
    let nobody = format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", free_address().unwrap().port());
    let text = refused(&league.swarm_key(), &nobody, "lonely");
    assert!(text.contains(&nobody) && text.contains("does not answer"), "{text}");

    // Not what a key or an address looks like.
    let text = refused(&folder.join("league/genesis.json"), &bootstrap, "mistaken");
    assert!(text.contains("this is no swarm key"), "{text}");
    let quic = format!("/ip4/127.0.0.1/udp/4001/quic-v1/p2p/{peer}");
    let text = refused(&league.swarm_key(), &quic, "quick");
    assert!(text.contains("use /tcp"), "{text}");
}

#[test]
fn of_two_consortia_in_one_swarm_the_newcomer_names_one() {
    let (first, second) = (League::prepare(1), League::prepare(1));
    // The second league's only domain moves into the first one's swarm.
    std::fs::copy(first.swarm_key(), second.swarm_key()).unwrap();
    let (mut first, mut second) = (first, second);
    first.spawn(0);
    first.wait_ready(0);
    let bootstrap = first.bootstrap(0);
    let config = &second.agents[0].config;
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains("bootstrap: []"), "{text}");
    let (before, swarm) = text.split_once("\nswarm:").unwrap();
    let swarm = swarm.replacen("bootstrap: []", &format!("bootstrap: [\"{bootstrap}\"]"), 1);
    std::fs::write(config, format!("{before}\nswarm:{swarm}")).unwrap();
    second.spawn(0);
    second.wait_ready(0);
    wait("the two to see each other's claims", || {
        let claimed = |league: &League| !league.swarm(0, &["peers"])[0]["claims"].is_null();
        (claimed(&first) && claimed(&second)).then_some(())
    });

    let key = first.swarm_key();
    let folder = first.folder.path().join("newcomer");
    let arguments = [
        "join",
        "--swarm-key",
        key.to_str().unwrap(),
        "--bootstrap",
        &bootstrap,
        "--name",
        "newcomer",
        "--local",
        "--folder",
        folder.to_str().unwrap(),
    ];
    let started = Instant::now();
    let text = refusal(&arguments);
    assert!(started.elapsed() < Duration::from_secs(60));
    let claims = |league: &League, of: &str| {
        let peers = league.swarm(0, &["peers"]);
        let peers = peers.as_array().unwrap().clone();
        let peer = peers
            .iter()
            .find(|peer| peer["url"].as_str().unwrap().contains(of))
            .cloned()
            .unwrap();
        peer["claims"].as_str().unwrap().to_owned()
    };
    let digest = claims(&first, second.agents[0].api.trim_start_matches("http://"));
    assert!(
        text.contains("several consortia") && text.contains(&digest) && text.contains("--genesis"),
        "{text}"
    );

    // The folder is there already; what it belongs to is not written down yet.
    std::fs::remove_dir_all(&folder).unwrap();
    let more = ["--genesis", digest.as_str()];
    let _joining = join(&key, &bootstrap, &folder, &more);
    second.wait_member(0, "newcomer");
    assert_eq!(first.members(0).unwrap(), ["north"]);
}
