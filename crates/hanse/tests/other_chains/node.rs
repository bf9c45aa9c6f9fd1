//! Ethereum nodes of others' making, and the lines to them.

use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

/// Until a node that starts within seconds on an idle machine has surely started on a busy one.
const STARTS_WITHIN: Duration = Duration::from_secs(90);

fn tools() -> PathBuf {
    let folder = std::env::var_os("HANSE_TEST_TOOLS").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/hanse/tools"),
        PathBuf::from,
    );
    assert!(folder.join("installed").exists(), "run `cargo xtask tools` first");
    folder.join("node_modules")
}

/// A node that is stopped with the test. Gas costs nothing on it.
pub struct Node {
    process: Child,
    pub port: u16,
    http: reqwest::blocking::Client,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start(mut command: Command, folder: tempfile::TempDir, port: u16, ready: &'static str) -> Self {
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut node = Self {
            process,
            port,
            http: reqwest::blocking::Client::builder()
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
            _folder: folder,
        };
        let output = BufReader::new(node.process.stdout.take().unwrap());
        let (started, starts) = mpsc::channel();
        // Its output must be read on, or it blocks.
        std::thread::spawn(move || {
            let mut lines = output.lines().map_while(Result::ok);
            if lines.any(|line| line.contains(ready)) {
                let _ = started.send(());
            }
            lines.for_each(drop);
        });
        starts
            .recv_timeout(STARTS_WITHIN)
            .unwrap_or_else(|_| panic!("the node did not say {ready:?}"));
        node
    }

    pub fn anvil(arguments: &[&str]) -> Self {
        let port = hanse_ports::free_address().unwrap().port();
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let mut command = Command::new(tools().join(format!("@foundry-rs/anvil-linux-{architecture}/bin/anvil")));
        command
            .args(["--port", &port.to_string(), "--hardfork", "cancun"])
            .args(["--gas-price", "0", "--block-base-fee-per-gas", "0"])
            .args(arguments);
        Self::start(command, tempfile::tempdir().unwrap(), port, "Listening on")
    }

    pub fn hardhat() -> Self {
        let port = hanse_ports::free_address().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let config = r#"module.exports = { solidity: "0.8.28", networks: { hardhat: {
            hardfork: "cancun", gasPrice: 0, initialBaseFeePerGas: 0, blockGasLimit: 100000000 } } };"#;
        std::fs::write(folder.path().join("hardhat.config.js"), config).unwrap();
        std::fs::write(folder.path().join("package.json"), "{}").unwrap();
        // Hardhat insists on being installed in its project.
        std::os::unix::fs::symlink(tools(), folder.path().join("node_modules")).unwrap();
        let mut command = Command::new("node");
        command
            .arg(folder.path().join("node_modules/hardhat/internal/cli/cli.js"))
            .args(["node", "--hostname", "127.0.0.1", "--port", &port.to_string()])
            .env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true")
            .current_dir(folder.path());
        Self::start(command, folder, port, "Started HTTP")
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A JSON-RPC call behind the agents' backs.
    pub fn call(&self, method: &str, params: Value) -> Value {
        call(&self.http, &self.url(), method, params)
    }
}

/// A JSON-RPC call.
pub fn call(http: &reqwest::blocking::Client, url: &str, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer: Value = http.post(url).json(&body).send().unwrap().json().unwrap();
    assert!(answer["error"].is_null(), "{method}: {answer}");
    answer["result"].clone()
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line to a node that can be cut, after which it is as if there were none.
pub struct Line {
    pub port: u16,
    /// None once it is cut.
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Line {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let streams = Arc::clone(&open);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let mut streams = streams.lock().unwrap();
                // The thread and its listener end with the line.
                let (Some(streams), Ok(near)) = (streams.as_mut(), near) else {
                    return;
                };
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else {
                    continue;
                };
                for (mut from, mut to) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far.try_clone().unwrap(), near.try_clone().unwrap()),
                ] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                streams.extend([near, far]);
            }
        });
        Self { port, open }
    }

    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread, so that nobody listens any more.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }

    /// Whether anybody uses it.
    pub fn is_used(&self) -> bool {
        self.open
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(|streams| !streams.is_empty())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
    }
}
