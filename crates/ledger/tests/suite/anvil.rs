//! A real Ethereum node of others' making, as counterpart.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// A running anvil. Killed when dropped.
pub struct Anvil {
    child: Child,
    pub port: u16,
    arguments: Vec<String>,
}

/// Where the tests' tools lie.
pub fn tools() -> PathBuf {
    std::env::var_os("HANSE_TEST_TOOLS").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/hanse/tools"),
        PathBuf::from,
    )
}

fn program() -> PathBuf {
    let program = tools().join(format!(
        "node_modules/@foundry-rs/anvil-linux-{}/bin/anvil",
        if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }
    ));
    assert!(
        program.exists(),
        "{} is missing: run `cargo xtask test`, which installs it",
        program.display()
    );
    program
}

async fn spawn(port: u16, arguments: &[String]) -> (Child, u16) {
    let mut child = Command::new(program())
        .args(["--port", &port.to_string(), "--host", "127.0.0.1"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("anvil starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await.expect("anvil's output") {
            if let Some((_, address)) = line.split_once("Listening on ") {
                let port = address.rsplit(':').next().expect("host:port");
                return port.trim().parse().expect("a port");
            }
        }
        panic!("anvil ended before it listened");
    };
    let port = tokio::time::timeout(Duration::from_secs(60), listening)
        .await
        .expect("anvil listens within a minute");
    // Its output must be read on, or it blocks.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, port)
}

impl Anvil {
    /// With these arguments, on a free port.
    pub async fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let port = hanse_ports::free_address().expect("a port").port();
        let (child, port) = spawn(port, &arguments).await;
        Self { child, port, arguments }
    }

    pub fn http(&self) -> Url {
        format!("http://127.0.0.1:{}", self.port).parse().expect("a URL")
    }

    pub fn ws(&self) -> Url {
        format!("ws://127.0.0.1:{}", self.port).parse().expect("a URL")
    }

    /// For what the test does behind the client's back.
    pub fn provider(&self) -> DynProvider {
        ProviderBuilder::new().connect_http(self.http()).erased()
    }

    /// Asks it to stop (so that it writes its state) and waits until it has.
    pub async fn stop(&mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        let asked = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .expect("kill runs");
        assert!(asked.success());
        tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .expect("anvil stops within 30 s")
            .expect("its status");
    }

    /// Starts it again on the same port.
    pub async fn start_again(&mut self) {
        let (child, port) = spawn(self.port, &self.arguments).await;
        assert_eq!(port, self.port);
        self.child = child;
    }

    /// A method that has no typed form.
    pub async fn raw<R: alloy::rpc::json_rpc::RpcRecv>(&self, method: &'static str, params: serde_json::Value) -> R {
        self.provider()
            .raw_request(method.into(), params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}
