//! Domains come and go while the league runs: real agent processes, and the commands that an operator types.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use league::commands::{Joining, json_of, refusal};
use league::{League, log, wait};
use serde_json::{Value, json};

impl League {
    fn consortium(&self, index: usize, arguments: &[&str]) -> Value {
        json_of(&[&["consortium"], arguments, &["--api", &self.agents[index].api]].concat())
    }

    fn refused(&self, index: usize, arguments: &[&str]) -> String {
        refusal(&[&["consortium"], arguments, &["--api", &self.agents[index].api]].concat())
    }

    fn names(&self, index: usize) -> Vec<String> {
        let page = self.consortium(index, &["members"]);
        let name = |member: &Value| member["name"].as_str().unwrap().to_owned();
        page["members"].as_array().unwrap().iter().map(name).collect()
    }

    fn wait_members(&self, indices: &[usize], count: usize) {
        for index in indices {
            let name = &self.agents[*index].name;
            wait(
                &format!(
                    "{name} to count {count} members; its log:\n{}",
                    log(&self.agents[*index].config)
                ),
                || {
                    let page = self.try_get(*index, "/api/v1/consortium")?;
                    (page["members"].as_array()?.len() == count).then_some(())
                },
            );
        }
    }

    /// Blocks are decided: a domain sends a transaction and it becomes final.
    fn works(&self, index: usize) {
        let before = self.get(index, "/api/v1/health")["ledger_height"].as_u64().unwrap();
        wait("the next block", || {
            let height = self.try_get(index, "/api/v1/health")?["ledger_height"].as_u64()?;
            (height > before).then_some(())
        });
    }
}

#[test]
fn a_domain_joins_a_running_league_is_voted_in_and_validates_and_others_leave_and_are_removed() {
    let mut league = League::prepare_with(4, &["--admission", "by-hand"]);
    (0..4).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    let invite = league.consortium(0, &["invite"])["invite"].as_str().unwrap().to_owned();

    // Invites that are none, of another ledger, or of nobody.
    let folder = league.folder.path().join("fifth");
    let shown = folder.to_str().unwrap();
    let join = |invite: &str| {
        refusal(&[
            "join",
            invite,
            "--name",
            "fifth",
            "--local",
            "--prepare",
            "--folder",
            shown,
        ])
    };
    assert!(join("http://127.0.0.1:1/").contains("an invite looks like"));
    let (address, rest) = invite.split_once('#').unwrap();
    let token = rest.split_once('.').unwrap().1;
    let text = join(&format!("{address}#{}.{token}", "00".repeat(32)));
    assert!(text.contains("genesis of another ledger"), "{text}");
    let text = join(&format!("http://127.0.0.1:1/#{rest}"));
    assert!(text.contains("does not answer"), "{text}");
    assert!(
        !folder.join("hanse.yaml").exists(),
        "nothing is left that looks as if it could run"
    );

    // Killed while it sets up, and killed while it follows the ledger and waits; the same command goes on.
    let joining = Joining::start(&folder, &[&invite]);
    wait("the folder", || folder.exists().then_some(()));
    joining.kill();
    let mut joining = Joining::start(&folder, &[&invite]);
    let fifth = league.adopt(joining.wait_configured());
    let waiting = |league: &League| {
        let page = league.try_get(0, "/api/v1/consortium")?;
        let requests = page["requests"].as_array()?.clone();
        (!requests.is_empty()).then_some(requests)
    };
    let requests = joining.wait_for("the request to arrive", || waiting(&league));
    assert_eq!((requests.len(), &requests[0]["name"]), (1, &json!("fifth")));
    joining.kill();
    let _joining = Joining::start(&folder, &[&invite]);

    // It follows the ledger before it is a member, and has no say.
    wait(
        &format!("the newcomer to follow; its log:\n{}", log(&folder.with_extension("x"))),
        || {
            let theirs = league.try_get(fifth, "/api/v1/health")?;
            assert_eq!(theirs["member"], false);
            let ours = league.try_get(0, "/api/v1/health")?["ledger_height"].as_u64()?;
            (theirs["ledger_height"].as_u64()? + 1 >= ours && ours > 0).then_some(())
        },
    );
    let text = league.refused(fifth, &["vote", "fifth"]);
    assert!(
        text.contains("no proposal or request") || text.contains("not a member"),
        "{text}"
    );
    let again = league.consortium(fifth, &["request", "--bootstrap", &invite]);
    assert_eq!(again["state"], "waiting");
    assert_eq!(waiting(&league).unwrap().len(), 1, "asking twice is asking once");
    wait("the newcomer to ask another member too", || {
        let page = league.try_get(1, "/api/v1/consortium")?;
        (page["requests"][0]["name"] == "fifth" && page["requests"][0]["invited"] == true).then_some(())
    });

    // Three of four votes, the first of which is the proposal.
    let first = league.consortium(0, &["vote", "fifth"]);
    assert_eq!((&first["state"], &first["needed"]), (&json!("open"), &json!(3)));
    wait("the newcomer to see the proposal", || {
        let page = league.try_get(fifth, "/api/v1/consortium")?;
        (page["proposals"][0]["id"] == first["id"]).then_some(())
    });
    let text = league.refused(fifth, &["vote", &first["id"].to_string()]);
    assert!(text.contains("not a member"), "{text}");
    let text = league.refused(0, &["vote", "fifth"]);
    assert!(text.contains("has approved proposal"), "{text}");
    league.consortium(1, &["vote", "fifth"]);
    assert_eq!(league.consortium(2, &["vote", "fifth"])["state"], "passed");
    league.wait_members(&[0, 1, 2, 3, fifth], 5);
    league.wait_ready(fifth);
    assert!(league.names(3).contains(&"fifth".to_owned()));

    // Of five four are needed: without one founder the newcomer's vote is.
    league.kill(3);
    league.works(0);
    league.works(fifth);
    league.spawn(3);
    league.wait_ready(3);

    // A new validator key, in use at once; the domain survives a kill with it.
    let key = |league: &League| {
        let page = league.get(1, "/api/v1/consortium");
        let members = page["members"].as_array().unwrap().clone();
        let north = members.iter().find(|member| member["name"] == "north").unwrap();
        north["validatorKey"].clone()
    };
    let old = key(&league);
    let rotated = league.consortium(0, &["rotate-key"]);
    assert!(rotated["done"].as_str().unwrap().contains("is in use"), "{rotated}");
    assert_ne!(key(&league), old);
    assert_eq!(key(&league), rotated["validatorKey"]);
    let text = league.refused(0, &["rotate-key"]);
    assert!(text.contains("rotated its validator key a short while ago"), "{text}");
    league.kill(0);
    league.spawn(0);
    league.wait_ready(0);
    league.works(0);

    // One leaves, one is removed, and the last ones stay.
    let left = league.consortium(3, &["leave"]);
    assert!(left["done"].as_str().unwrap().contains("has left"), "{left}");
    league.wait_members(&[0, 1, 2, fifth], 4);
    let text = league.refused(0, &["remove", "fifth"]);
    assert!(text.contains("accept fewer than four"), "{text}");
    let proposed = league.consortium(0, &["remove", "fifth", "--accept-fewer-than-four"]);
    assert_eq!((&proposed["kind"], &proposed["needed"]), (&json!("removal"), &json!(3)));
    league.consortium(1, &["vote", "fifth"]);
    assert_eq!(league.consortium(2, &["vote", "fifth"])["state"], "passed");
    league.wait_members(&[0, 1, 2], 3);
    wait("the removed domain to learn of it", || {
        let page = league.try_get(fifth, "/api/v1/health")?;
        (page["member"] == false).then_some(())
    });
    let config = folder.join("hanse.yaml");
    let through = league.agents[0].api.clone();
    let text = refusal(&[
        "consortium",
        "withdraw",
        "--through",
        &through,
        "--config",
        config.to_str().unwrap(),
    ]);
    assert!(text.contains("nothing is owed"), "{text}");
    league.consortium(2, &["leave"]);
    league.wait_members(&[0, 1], 2);
    // Their agents still run, and were approved beforehand: they do not come back by themselves.
    league.works(0);
    assert_eq!(league.names(0).len(), 2);

    // Asked by hand it comes back, once the others have hung up too: its node hears nobody before a member lets it in.
    let metrics = format!("{}/metrics", league.agents[2].api);
    wait("the others to hang up", || {
        let text = reqwest::blocking::get(&metrics).ok()?.text().ok()?;
        text.contains("hanse_ledger_peers{state=\"connected\"} 0").then_some(())
    });
    let invite = league.consortium(0, &["invite"])["invite"].as_str().unwrap().to_owned();
    league.consortium(2, &["request", "--bootstrap", &invite]);
    league.wait_members(&[0, 1, 2], 3);
    league.consortium(2, &["leave"]);
    league.wait_members(&[0, 1], 2);

    let text = league.refused(0, &["leave"]);
    assert!(text.contains("more than a third"), "{text}");
    let text = league.refused(0, &["leave", "--accept-fewer-than-four"]);
    assert!(text.contains("more than a third"), "{text}");
    league.works(0);
}

#[test]
fn a_newcomer_goes_on_when_the_member_that_invited_it_dies() {
    let mut league = League::prepare_with(4, &["--admission", "by-hand"]);
    (0..4).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    let invite = league.consortium(0, &["invite"])["invite"].as_str().unwrap().to_owned();
    let folder = league.folder.path().join("fifth");
    let mut joining = Joining::start(&folder, &[&invite]);
    joining.wait_configured();
    joining.wait_for("the request to arrive at another member", || {
        let page = league.try_get(1, "/api/v1/consortium")?;
        (page["requests"][0]["name"] == "fifth").then_some(())
    });
    league.kill(0);

    let fifth = league.adopt(folder.join("hanse.yaml"));
    league.works(1);
    let height = league.get(1, "/api/v1/health")["ledger_height"].as_u64().unwrap();
    wait("the newcomer to follow the others", || {
        let theirs = league.try_get(fifth, "/api/v1/health")?["ledger_height"].as_u64()?;
        (theirs >= height).then_some(())
    });
    for index in [1, 2, 3] {
        wait("the request to wait there", || {
            let page = league.try_get(index, "/api/v1/consortium")?;
            let asked = page["requests"].as_array()?.len() + page["proposals"].as_array()?.len();
            (asked > 0).then_some(())
        });
        league.consortium(index, &["vote", "fifth"]);
    }
    league.wait_members(&[1, 2, 3, fifth], 5);
    league.wait_ready(fifth);
    // Of five four are needed, so the newcomer's vote is.
    league.works(2);
}

#[test]
fn a_league_of_one_that_votes_by_itself_grows_with_one_command() {
    let league = League::start(1);
    let invite = league.consortium(0, &["invite"])["invite"].as_str().unwrap().to_owned();
    let folder = league.folder.path().join("second");
    let _joining = Joining::start(&folder, &[&invite]);
    league.wait_members(&[0], 2);
    // Both are needed from now on.
    league.works(0);
}
