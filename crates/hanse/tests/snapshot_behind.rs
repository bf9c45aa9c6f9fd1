//! A member that was away for long takes the state of a later block from the others' agents, validates at once, and fetches the
//! blocks that it passed by; killed in between it goes on; a founder that has lost its whole ledger does the same.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::process::Command;

use league::chain::set;
use league::{HANSE, League, log, wait, whole_log};
use serde_json::{Value, json};

/// Blocks that it misses.
const MISSED: u64 = 150;

impl League {
    /// How often an agent has begun to take the others' state.
    fn times_taking(&self, index: usize) -> usize {
        whole_log(&self.agents[index].config)
            .matches("taking their state")
            .count()
    }

    /// All logs of the ledger, once a node has them.
    fn all_logs(&self, index: usize) -> Value {
        let what = format!("all logs; its log:\n{}", log(&self.agents[index].config));
        wait(&what, || {
            let query = json!([{ "fromBlock": "0x0", "toBlock": "latest" }]);
            let mut answer = self.ask_node(index, "eth_getLogs", query);
            if answer["error"].is_null() {
                return Some(answer["result"].take());
            }
            assert_eq!(
                answer["error"]["code"], -32002,
                "nothing is lost, only awaited: {answer}"
            );
            None
        })
    }

    /// An agent has all history, and the ledger needs and gets its vote.
    fn has_caught_up(&mut self, index: usize, times: usize) {
        self.wait_ready(index);
        assert_eq!(self.times_taking(index), times);
        let logs = self.all_logs(0);
        assert!(!logs.as_array().unwrap().is_empty());
        assert_eq!(self.all_logs(index), logs);
        // Of four three are needed: without another founder its vote is.
        self.kill(2);
        self.decides(0);
        self.decides(index);
        self.spawn(2);
        self.wait_ready(2);
    }
}

#[test]
fn a_member_far_behind_is_back_at_once_and_gets_what_it_missed() {
    let mut league = League::prepare_beating(4, 100);
    let config = league.agents[3].config.clone();
    set(&config, "leastBlocks", "50");
    (0..4).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    league.decides(3);

    league.kill(3);
    // What others agree on meanwhile.
    league.deploy_example(0, 1);
    let request = json!({
        "service": "object-detection", "scenario": "component", "retries": 1, "hoursPaid": 2,
        "bidSeconds": 3, "deploySeconds": 60, "offersWanted": 2,
    });
    let agreement = league.federate(0, &request);
    league.wait_complete(0, &agreement);
    league.wait_for_blocks(0, MISSED);
    // Killed as soon as it has begun.
    let staging = config.with_file_name("ledger/snapshot.redb");
    league.spawn(3);
    wait("it to begin", || (league.times_taking(3) > 0).then_some(()));
    league.kill(3);
    league.spawn(3);
    league.wait_ready(3);
    assert!(!staging.exists());
    let times = league.times_taking(3);
    league.has_caught_up(3, times);
    let evidence = league.get(0, "/api/v1/ledger/evidence").to_string();
    assert!(!evidence.contains("ouble"), "it contradicted its votes: {evidence}");

    league.kill(3);
    let resync = Command::new(HANSE)
        .args(["ledger", "resync", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(resync.status.success(), "{}", String::from_utf8_lossy(&resync.stderr));
    league.spawn(3);
    league.has_caught_up(3, times + 1);
}
