//! A provider is paid: what the consumer put into escrow is released, owed and withdrawn. Real agent processes and coins.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::process::{Command, Output, Stdio};

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolEvent;
use hanse_contracts::Federation;
use league::{HANSE, League, wait};
use serde_json::{Value, json};

const HOURS: u64 = 3;

impl League {
    /// `hanse consortium withdraw` of one domain, through the agent of another.
    fn withdraw(&self, index: usize, through: usize) -> Output {
        Command::new("timeout")
            .args(["90", HANSE, "consortium", "withdraw", "-o", "json", "--through"])
            .arg(&self.agents[through].api)
            .arg("--config")
            .arg(&self.agents[index].config)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Asks the ledger node of the consumer.
    fn rpc(&self, method: &str, params: Value) -> Value {
        let config = &self.agents[0].config;
        let shown = Command::new(HANSE)
            .args(["config", "show", "-o", "json", "--config"])
            .arg(config)
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let address = shown["ledger.embedded.rpcListen"]["value"].as_str().unwrap();
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = reqwest::blocking::Client::new()
            .post(format!("http://{address}"))
            .json(&request)
            .send()
            .unwrap();
        let answer: Value = answer.json().unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn balance(&self, account: Address) -> U256 {
        serde_json::from_value(self.rpc("eth_getBalance", json!([account, "latest"]))).unwrap()
    }

    /// Every event of this kind that there was.
    fn events<E: SolEvent>(&self) -> Vec<E> {
        let filter = json!({ "fromBlock": "0x0", "topics": [E::SIGNATURE_HASH] });
        let logs: Vec<alloy::rpc::types::Log> =
            serde_json::from_value(self.rpc("eth_getLogs", json!([filter]))).unwrap();
        let logs = logs.into_iter();
        logs.map(|log| log.log_decode::<E>().unwrap().inner.data).collect()
    }

    /// Account and amount of every withdrawal that there was.
    fn withdrawals(&self) -> Vec<(Address, U256)> {
        let events = self.events::<Federation::Withdrawn>().into_iter();
        events.map(|it| (it.account, it.amount)).collect()
    }
}

#[track_caller]
fn nothing_is_owed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("nothing is owed"), "{text}");
}

#[test]
fn a_provider_that_was_removed_withdraws_what_it_was_paid_once() {
    let mut league = League::start(4);
    league.deploy_example(0, 1);
    let request = json!({ "service": "object-detection", "scenario": "component", "hoursPaid": HOURS });
    let id = league.federate(0, &request);
    let page = league.wait_complete(0, &id);
    let provider = league.by_account(&page["provider"]);
    let account: Address = page["provider"].as_str().unwrap().parse().unwrap();
    let [award] = league.events::<Federation::Awarded>().try_into().unwrap();
    assert!(award.provider == account && award.pricePerHour > 0, "{award:?}");
    let pay = U256::from(award.pricePerHour) * U256::from(HOURS);
    assert_eq!(award.escrow, pay);

    // It dies before it has fetched what it earned, and the others vote it out.
    league.kill(provider);
    let name = league.agents[provider].name.clone();
    let removal = json!({ "member": name, "acceptFewerThanFour": true });
    let others: Vec<usize> = (0..4).filter(|index| *index != provider).collect();
    for index in &others {
        let (status, answer) = league.post(*index, "/api/v1/consortium/removals", &removal);
        assert_eq!(status, 200, "{answer}");
    }
    wait("the provider to be no member any more", || {
        let page = league.try_get(0, "/api/v1/consortium")?;
        (page["members"].as_array()?.len() == 3).then_some(())
    });

    nothing_is_owed(&league.withdraw(0, others[1]));
    let before = league.balance(account);
    let output = league.withdraw(provider, 0);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["wei"], pay.to_string());
    assert_eq!(done["account"].as_str().unwrap().parse::<Address>().unwrap(), account);
    assert_eq!(league.balance(account), before + pay);
    assert_eq!(league.withdrawals(), [(account, pay)]);

    nothing_is_owed(&league.withdraw(provider, 0));
    assert_eq!(league.balance(account), before + pay);
    assert_eq!(league.withdrawals().len(), 1);
}
