//! The three programs as processes on the loopback interface, for tests.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses its part")]

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    future::Future,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
};

/// Longest wait for anything that should happen at once; machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. Dropping it kills it.
pub struct Program {
    name: &'static str,
    child: Child,
    pub listening: BTreeMap<String, SocketAddr>,
    log: Arc<Mutex<VecDeque<String>>>,
    http: reqwest::Client,
}

fn executable(name: &str) -> &'static str {
    match name {
        "sampler-sender" => env!("CARGO_BIN_EXE_sampler-sender"),
        "object-detector" => env!("CARGO_BIN_EXE_object-detector"),
        "receiver" => env!("CARGO_BIN_EXE_receiver"),
        _ => panic!("no program {name}"),
    }
}

/// A program with a clean environment and nothing inherited.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(executable(name));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Program {
    /// Starts a program and waits until it listens on all of its `ports`.
    pub async fn start(name: &'static str, ports: usize, args: &[&str]) -> Self {
        // Several tests may do this; the first wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A connection for each request, as probes make them.
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        let mut child = command(name)
            .args(["--bind-address", "127.0.0.1"])
            .args(args)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (tell, mut listening) = watch::channel(BTreeMap::new());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "listening" {
                    let address: SocketAddr = event["address"].as_str().unwrap().parse().unwrap();
                    tell.send_modify(|all| {
                        all.insert(event["purpose"].as_str().unwrap().to_owned(), address);
                    });
                }
                let mut kept = kept.lock().unwrap();
                kept.push_back(line);
                if kept.len() > 200 {
                    kept.pop_front();
                }
            }
        });
        let ready = tokio::time::timeout(PATIENCE, listening.wait_for(|all| all.len() == ports)).await;
        let listening = ready
            .ok()
            .and_then(Result::ok)
            .unwrap_or_else(|| panic!("{name} does not listen:\n{:#?}", log.lock().unwrap()))
            .clone();
        Self {
            name,
            child,
            listening,
            log,
            http,
        }
    }

    pub async fn receiver() -> Self {
        Self::start("receiver", 2, &["--pictures-port", "0", "--http-port", "0"]).await
    }

    /// A receiver at the address of another that is gone.
    pub async fn receiver_at(pictures: SocketAddr) -> Self {
        let port = pictures.port().to_string();
        Self::start("receiver", 2, &["--pictures-port", &port, "--http-port", "0"]).await
    }

    pub async fn detector(domain: &str, receiver: &Self) -> Self {
        Self::detector_with(domain, receiver, &["--frames-port", "0"]).await
    }

    pub async fn detector_with(domain: &str, receiver: &Self, more: &[&str]) -> Self {
        let to = receiver.listening["pictures"].to_string();
        let args = [
            "--detector-domain",
            domain,
            "--receiver-address",
            &to,
            "--http-port",
            "0",
        ];
        Self::start("object-detector", 2, &[&args, more].concat()).await
    }

    pub async fn sender(detectors: &[&Self]) -> Self {
        Self::sender_with(detectors, &[]).await
    }

    pub async fn sender_with(detectors: &[&Self], more: &[&str]) -> Self {
        let to: Vec<String> = detectors
            .iter()
            .map(|detector| detector.listening["frames"].to_string())
            .collect();
        let to = to.join(",");
        let args = ["--destination-ip", &to, "--http-port", "0"];
        Self::start("sampler-sender", 1, &[&args, more].concat()).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listening["http"])
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub async fn post(&self, path: &str) -> reqwest::Response {
        self.http.post(self.url(path)).send().await.unwrap()
    }

    pub async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    pub async fn is_ready(&self) -> bool {
        self.get("/readyz").await.status().is_success()
    }

    pub async fn wait_ready(&self) {
        eventually(&format!("{} is ready", self.name), || async {
            self.is_ready().await.then_some(()).ok_or(())
        })
        .await;
    }

    /// Figures of a receiver once `condition` holds for them.
    pub async fn stats_when(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async {
            let stats = self.json("/stats").await;
            if condition(&stats) { Ok(stats) } else { Err(stats) }
        })
        .await
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("the program runs").try_into().unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// SIGTERM; returns how it ended and how long that took.
    pub async fn stop(mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("it stops")
            .unwrap();
        (status, start.elapsed())
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Resident memory in kB.
    pub fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn has_logged(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }
}

/// Polls until there is an answer; panics with the last refusal when there is none in time.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, attempt: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(found) => return found,
            Err(why) if Instant::now() > deadline => panic!("not within {PATIENCE:?}: {what}; last seen: {why:#?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Asserts that a program that was told to stop did so as promised.
#[track_caller]
pub fn assert_graceful((status, took): (ExitStatus, Duration)) {
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
}
