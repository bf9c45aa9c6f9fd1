//! A domain joins a league by snapshot, with real agent processes: killed while it joins, it goes on; it validates; members that
//! joined by snapshot or that forget old transactions serve the next newcomer.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::process::{Command, Stdio};

use league::chain::set;
use league::{HANSE, League, log, wait, whole_log};
use serde_json::{Value, json};

/// Blocks before anybody joins.
const BLOCKS: u64 = 150;

impl League {
    /// Makes a newcomer's folder with an invite of a member.
    fn invite(&mut self, member: usize, name: &str, least_blocks: u64) -> (usize, String) {
        let output = Command::new(HANSE)
            .args(["consortium", "invite", "-o", "json", "--api", &self.agents[member].api])
            .output()
            .unwrap();
        let page: Value = serde_json::from_slice(&output.stdout).unwrap();
        let folder = self.folder.path().join(name);
        let output = Command::new(HANSE)
            .args([
                "join",
                page["invite"].as_str().unwrap(),
                "--name",
                name,
                "--local",
                "--prepare",
                "--folder",
            ])
            .arg(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let config = folder.join("hanse.yaml");
        set(&config, "leastBlocks", &least_blocks.to_string());
        let invite = page["invite"].as_str().unwrap().to_owned();
        (self.adopt(config), invite)
    }

    fn is_member(&self, index: usize) {
        let name = &self.agents[index].name;
        wait(
            &format!("{name} to be a member; its log:\n{}", log(&self.agents[index].config)),
            || (self.try_get(index, "/api/v1/health")?["member"] == true).then_some(()),
        );
    }
}

#[test]
fn a_domain_joins_by_snapshot_and_validates_and_serves_the_next() {
    let mut league = League::prepare_beating(4, 100);
    (0..4).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    league.wait_for_blocks(0, BLOCKS + 5);

    let (fifth, invite) = league.invite(0, "fifth", 50);
    // Without an invite nobody reads the ledger.
    let offer = format!("{}/api/v1/ledger/snapshots/offer", league.agents[0].api);
    let status = reqwest::blocking::get(&offer).unwrap().status();
    assert_eq!(status, 403);
    // With one, every member lets it: this one did not make it.
    let (_, token) = invite.rsplit_once('.').unwrap();
    let height = format!("{}/api/v1/ledger/snapshots/height", league.agents[1].api);
    let asked = reqwest::blocking::Client::new()
        .get(&height)
        .header("x-hanse-invite", token);
    let height: u64 = asked.send().unwrap().text().unwrap().parse().unwrap();
    assert!(height > BLOCKS, "{height}");
    // Killed as soon as it has begun, and again when it has a ledger.
    let data = league.agents[fifth].config.with_file_name("ledger");
    league.spawn(fifth);
    wait("it to begin", || data.exists().then_some(()));
    league.kill(fifth);
    league.spawn(fifth);
    wait("it to have a ledger", || {
        data.join("ledger.redb").exists().then_some(())
    });
    league.kill(fifth);
    league.spawn(fifth);
    league.is_member(fifth);
    let log = whole_log(&league.agents[fifth].config);
    // The second kill may have come between the last step and its line in the log.
    assert!(log.contains("building the state"), "{log}");
    assert!(!data.join("snapshot.redb").exists());

    // The same blocks with the same state roots, also of those that it has only the headers of.
    let height = wait("its height", || league.height(fifth)) - 1;
    for height in [1, BLOCKS / 2, BLOCKS, height] {
        let block = |index: usize| {
            let block = league.ask_node(index, "eth_getBlockByNumber", json!([format!("{height:#x}"), false]));
            (block["result"]["hash"].clone(), block["result"]["stateRoot"].clone())
        };
        assert!(block(0).0.is_string());
        assert_eq!(block(fifth), block(0), "block {height}");
    }
    let logs = league.ask_node(
        fifth,
        "eth_getLogs",
        json!([{ "fromBlock": "0x0", "toBlock": "latest" }]),
    );
    assert_eq!(logs["error"]["code"], 4444, "{logs}");

    // Of five four are needed: without one founder the newcomer's vote is.
    league.kill(3);
    league.decides(0);
    league.decides(fifth);
    league.spawn(3);
    league.wait_ready(3);

    let (sixth, _) = league.invite(fifth, "sixth", 50);
    league.spawn(sixth);
    // Who came by a command votes by hand; the founders vote for whomever a member proposes.
    wait("the newcomer's vote", || {
        let vote = Command::new(HANSE)
            .args(["consortium", "vote", "sixth", "--api", &league.agents[fifth].api])
            .stdin(Stdio::null())
            .output();
        vote.unwrap().status.success().then_some(())
    });
    league.is_member(sixth);
    let log = whole_log(&league.agents[sixth].config);
    assert!(log.contains("joined by snapshot"), "{log}");
    league.decides(sixth);
}
