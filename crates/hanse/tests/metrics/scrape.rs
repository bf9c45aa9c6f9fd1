//! The figures of an agent.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::league::League;

/// A scrape, read by Prometheus' own Python client.
pub struct Scrape(pub BTreeMap<String, Value>);

impl Scrape {
    pub fn of(league: &League, index: usize) -> Self {
        let answer = reqwest::blocking::get(format!("{}/metrics", league.agents[index].api)).unwrap();
        assert_eq!(answer.status(), 200);
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(
            kind.starts_with("application/openmetrics-text; version=1.0.0"),
            "{kind}"
        );
        Self(parse(&answer.text().unwrap()).unwrap())
    }

    /// The only sample with this name and these labels.
    pub fn get(&self, name: &str, labels: &Value) -> Option<f64> {
        let mut samples = self.0.values().flat_map(|family| family["samples"].as_array().unwrap());
        let sample = samples.find(|sample| sample["name"] == name && sample["labels"] == *labels)?;
        sample["value"].as_f64()
    }

    pub fn value(&self, name: &str) -> f64 {
        self.get(name, &json!({}))
            .unwrap_or_else(|| panic!("{name} is missing"))
    }

    pub fn peers(&self, state: &str) -> f64 {
        self.get("hanse_ledger_peers", &json!({ "state": state })).unwrap()
    }
}

/// The families by name, or why it is no scrape.
pub fn parse(text: &str) -> Result<BTreeMap<String, Value>, String> {
    let tools = std::env::var_os("HANSE_TEST_TOOLS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/hanse/tools"));
    let python = tools.join("python");
    assert!(
        python.join("prometheus_client").exists(),
        "{} is missing; `cargo xtask tools` installs it",
        python.display()
    );
    let mut child = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics/parse.py"))
        .env("PYTHONPATH", python)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
