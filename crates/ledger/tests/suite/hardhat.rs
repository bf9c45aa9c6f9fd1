//! Another Ethereum node of others' making; it speaks a dialect of its own.

use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

use crate::anvil::tools;

/// A running hardhat node with the same funded accounts as anvil. Killed when dropped.
pub struct Hardhat {
    port: u16,
    _child: Child,
    _folder: TempDir,
}

impl Hardhat {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let config = r#"module.exports = { solidity: "0.8.28", networks: { hardhat: { hardfork: "cancun", blockGasLimit: 100000000 } } };"#;
        std::fs::write(folder.path().join("hardhat.config.js"), config).expect("a file");
        std::fs::write(folder.path().join("package.json"), "{}").expect("a file");
        // Hardhat insists on being installed in its project.
        let modules = tools().join("node_modules");
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).expect("a link");
        let port = hanse_ports::free_address().expect("a port").port();
        let mut child = Command::new("node")
            .arg(folder.path().join("node_modules/hardhat/internal/cli/cli.js"))
            .args(["node", "--hostname", "127.0.0.1", "--port", &port.to_string()])
            .env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("hardhat starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.expect("hardhat's output") {
                if line.contains("Started HTTP") {
                    return;
                }
            }
            panic!("hardhat ended before it listened");
        };
        tokio::time::timeout(Duration::from_secs(60), listening)
            .await
            .expect("hardhat listens within a minute");
        // Its output must be read on, or it blocks.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            port,
            _child: child,
            _folder: folder,
        }
    }

    pub fn http(&self) -> Url {
        format!("http://127.0.0.1:{}", self.port).parse().expect("a URL")
    }

    pub fn ws(&self) -> Url {
        format!("ws://127.0.0.1:{}", self.port).parse().expect("a URL")
    }
}
