//! A league of real agent processes, to be killed and started again at will.

#![allow(clippy::unwrap_used, dead_code, missing_docs)] // each test file uses a part of it

pub mod chain;
pub mod commands;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

pub const HANSE: &str = env!("CARGO_BIN_EXE_hanse");

/// Until what takes seconds on an idle machine has surely happened on a busy one.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Agent {
    pub name: String,
    pub config: PathBuf,
    pub api: String,
    process: Option<Child>,
}

impl Agent {
    fn new(config: PathBuf) -> Self {
        let shown = Command::new(HANSE)
            .args(["config", "show", "-o", "json", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        Self {
            name: shown["domain"]["value"].as_str().unwrap().to_owned(),
            api: format!("http://{}", shown["api.listen"]["value"].as_str().unwrap()),
            config,
            process: None,
        }
    }
}

pub struct League {
    pub folder: tempfile::TempDir,
    pub agents: Vec<Agent>,
    http: reqwest::blocking::Client,
}

impl League {
    /// Makes a league without starting anything.
    pub fn prepare(domains: usize) -> Self {
        Self::prepare_with(domains, &[])
    }

    /// With more options of `hanse up`.
    pub fn prepare_with(domains: usize, options: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(HANSE)
            .args([
                "up",
                "--prepare",
                "--api-port",
                "0",
                "-o",
                "json",
                "--domains",
                &domains.to_string(),
                "--data",
            ])
            .arg(folder.path().join("league"))
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let configs: Vec<PathBuf> = serde_json::from_slice(&output.stdout).unwrap();
        let agents = configs.into_iter().map(Agent::new).collect();
        let http = reqwest::blocking::Client::builder()
            .timeout(Duration::from_secs(90))
            .build()
            .unwrap();
        Self { folder, agents, http }
    }

    /// Adds an agent that the league did not make.
    pub fn adopt(&mut self, config: PathBuf) -> usize {
        self.agents.push(Agent::new(config));
        self.agents.len() - 1
    }

    /// A league of running agents.
    pub fn start(domains: usize) -> Self {
        let mut league = Self::prepare(domains);
        for index in 0..domains {
            league.spawn(index);
        }
        league.wait_all_ready();
        league
    }

    pub fn spawn(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        agent.process = Some(spawn(&agent.config));
    }

    pub fn wait_all_ready(&self) {
        for index in 0..self.agents.len() {
            self.wait_ready(index);
        }
    }

    pub fn wait_ready(&self, index: usize) {
        let agent = &self.agents[index];
        wait(
            &format!("{} to be ready; its log:\n{}", agent.name, log(&agent.config)),
            || {
                let answer = self.http.get(format!("{}/api/v1/ready", agent.api)).send().ok()?;
                answer.status().is_success().then_some(())
            },
        );
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        let mut process = self.agents[index].process.take().expect("the agent runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// `kill -STOP`: its connections stay, and it says nothing more.
    pub fn freeze(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    /// `kill -CONT`.
    pub fn thaw(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    fn signal(&self, index: usize, signal: Signal) {
        let process = self.agents[index].process.as_ref().expect("the agent runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    pub fn get(&self, index: usize, path: &str) -> Value {
        self.try_get(index, path)
            .unwrap_or_else(|| panic!("GET {path} at {} failed", self.agents[index].name))
    }

    pub fn try_get(&self, index: usize, path: &str) -> Option<Value> {
        let answer = self.http.get(format!("{}{path}", self.agents[index].api)).send().ok()?;
        answer.status().is_success().then(|| answer.json().unwrap())
    }

    /// Status and body of a POST.
    pub fn post(&self, index: usize, path: &str, body: &Value) -> (u16, Value) {
        let answer = self
            .http
            .post(format!("{}{path}", self.agents[index].api))
            .json(body)
            .send()
            .unwrap();
        (answer.status().as_u16(), answer.json().unwrap_or(Value::Null))
    }

    pub fn delete(&self, index: usize, path: &str) -> u16 {
        self.http
            .delete(format!("{}{path}", self.agents[index].api))
            .send()
            .unwrap()
            .status()
            .as_u16()
    }

    /// Deploys the example in a domain and waits until it is ready.
    pub fn deploy_example(&self, index: usize, replicas: u32) {
        let (status, body) = self.post(
            index,
            "/api/v1/services",
            &json!({ "catalogue": "object-detection", "replicas": replicas }),
        );
        assert_eq!(status, 202, "{body}");
        wait("the example to be ready", || {
            let page = self.try_get(index, "/api/v1/services/object-detection")?;
            (page["ready"] == true).then_some(())
        });
    }

    /// Asks for a federation and returns the agreement's id.
    pub fn federate(&self, index: usize, request: &Value) -> String {
        let (status, page) = self.post(index, "/api/v1/agreements", request);
        assert_eq!(status, 202, "{page}");
        page["id"].as_str().unwrap().to_owned()
    }

    pub fn agreement(&self, index: usize, id: &str) -> Option<Value> {
        self.try_get(index, &format!("/api/v1/agreements/{id}"))
    }

    /// Waits until the move is complete and returns the page.
    pub fn wait_complete(&self, index: usize, id: &str) -> Value {
        wait(&format!("agreement {id} to be complete"), || {
            let page = self.agreement(index, id)?;
            assert!(page["outcome"].is_null(), "agreement {id} ended: {page}");
            (page["state"] == "confirmed" && page["completed"] == true).then_some(page)
        })
    }

    pub fn wait_outcome(&self, index: usize, id: &str) -> Value {
        wait(&format!("agreement {id} to be over"), || {
            let page = self.agreement(index, id)?;
            (!page["outcome"].is_null()).then(|| page["outcome"].clone())
        })
    }

    /// Index of the domain with this ledger account.
    pub fn by_account(&self, account: &Value) -> usize {
        let of = |index: &usize| self.get(*index, "/api/v1/health")["account"] == *account;
        (0..self.agents.len())
            .find(of)
            .expect("the account is one of the league's")
    }

    /// No domain has anything reserved, deployed or under way.
    pub fn wait_nothing_left(&self) {
        for index in 0..self.agents.len() {
            wait(
                &format!("{} to have nothing under way", self.agents[index].name),
                || {
                    let live = self.try_get(index, "/api/v1/agreements?live=true")?;
                    live.as_array()?.is_empty().then_some(())
                },
            );
        }
    }
}

impl Drop for League {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            if let Some(process) = &mut agent.process {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

fn spawn(config: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(config.with_file_name("agent.log"))
        .unwrap();
    Command::new(HANSE)
        .args(["agent", "--with-parent", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The end of an agent's log, for messages.
pub fn log(config: &Path) -> String {
    let text = whole_log(config);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// All that an agent has logged in all its starts.
pub fn whole_log(config: &Path) -> String {
    std::fs::read_to_string(config.with_file_name("agent.log")).unwrap_or_default()
}

/// What the real kubectl says, as JSON, with the kubeconfig of the domain of this configuration.
pub fn kubectl(config: &Path, arguments: &[&str]) -> Value {
    try_kubectl(config, arguments).unwrap_or_else(|said| panic!("kubectl {arguments:?}: {said}"))
}

/// The same, or what kubectl says was wrong.
pub fn try_kubectl(config: &Path, arguments: &[&str]) -> Result<Value, String> {
    let tools = std::env::var_os("HANSE_TEST_TOOLS").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/hanse/tools"),
        PathBuf::from,
    );
    let output = Command::new(tools.join("bin/kubectl"))
        .args(arguments)
        .args(["-o", "json", "--kubeconfig"])
        .arg(config.with_file_name("kubeconfig"))
        .output()
        .expect("kubectl is installed by `cargo xtask tools`");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// Asks again and again until there is an answer, or fails saying what was waited for.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
