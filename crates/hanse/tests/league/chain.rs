//! What the agents' ledger nodes say, and settings of agents that are not running.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{HANSE, League, wait};

/// Sets a value in an agent's configuration.
pub fn set(file: &Path, key: &str, value: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(key))
        .unwrap_or_else(|| panic!("{key} in {text}"));
    let indent = &line[..line.len() - line.trim_start().len()];
    std::fs::write(file, text.replacen(line, &format!("{indent}{key}: {value}"), 1)).unwrap();
}

impl League {
    /// Makes a league whose idle ledger makes a block this often, without starting anything.
    pub fn prepare_beating(domains: usize, heartbeat_ms: u32) -> Self {
        let league = Self::prepare(domains);
        let genesis = league.agents[0].config.with_file_name("../genesis.json");
        let mut document: Value = serde_json::from_slice(&std::fs::read(&genesis).unwrap()).unwrap();
        document["consensusParameters"]["heartbeatMs"] = json!(heartbeat_ms);
        std::fs::write(&genesis, serde_json::to_vec(&document).unwrap()).unwrap();
        // The others look for the consortium of the document as it was.
        for agent in &league.agents[1..] {
            let text = std::fs::read_to_string(&agent.config).unwrap();
            let pinned = text.lines().find(|line| line.trim_start().starts_with("genesis: \"0x"));
            let pinned = pinned.unwrap_or_else(|| panic!("no hash of a genesis document in {text}"));
            let indent = &pinned[..pinned.len() - pinned.trim_start().len()];
            std::fs::write(&agent.config, text.replace(pinned, &format!("{indent}genesis: null"))).unwrap();
        }
        league
    }

    /// Height of an agent's ledger node, if it answers.
    pub fn height(&self, index: usize) -> Option<u64> {
        self.try_get(index, "/api/v1/health")?["ledger_height"].as_u64()
    }

    /// Asks an agent's ledger node over JSON-RPC.
    pub fn ask_node(&self, index: usize, method: &str, parameters: Value) -> Value {
        let shown = Command::new(HANSE)
            .args(["config", "show", "-o", "json", "--config"])
            .arg(&self.agents[index].config)
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let address = shown["ledger.embedded.rpcListen"]["value"].as_str().unwrap().to_owned();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters });
        let answer = reqwest::blocking::Client::new()
            .post(format!("http://{address}"))
            .json(&body)
            .send();
        answer.unwrap().json().unwrap()
    }

    /// Waits until an agent's node has so many blocks more.
    pub fn wait_for_blocks(&self, index: usize, more: u64) {
        let before = wait("the height", || self.height(index));
        wait(&format!("{more} more blocks at {}", self.agents[index].name), || {
            (self.height(index)? >= before + more).then_some(())
        });
    }

    /// Waits until an agent's node has a few blocks more.
    pub fn decides(&self, index: usize) {
        self.wait_for_blocks(index, 4);
    }
}
