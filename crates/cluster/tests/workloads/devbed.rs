//! A devcluster for the suite, and the parts that this very program plays in it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Result;
use hanse_devcluster::{DevCluster, DevClusterConfig, Image, Images};
use kube::Config;
use kube::config::KubeConfigOptions;

use crate::bed::{SHELL, loopback};

/// First argument with which this program is an echo server in a pod.
const ECHO_ARGUMENT: &str = "__echo";

/// Plays another part if the first argument says so: a pod's supervisor, or the echo server in a pod.
pub fn other_self(first: &OsStr, args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if first == hanse_devcluster::SUPERVISE {
        return Some(hanse_devcluster::supervise_main(args));
    }
    (first == ECHO_ARGUMENT).then(|| match echo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Gives back what it gets on port 8080 of the pod's address, one connection at a time, until it is ended.
fn echo() -> io::Result<()> {
    let address = std::env::var("HANSE_POD_IP").map_err(io::Error::other)?;
    let listener = TcpListener::bind((address.as_str(), 8080))?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// A running devcluster in a folder of its own.
pub struct DevBed {
    cluster: DevCluster,
    folder: tempfile::TempDir,
}

impl DevBed {
    /// The echo server's container.
    pub const ECHO: &'static str = "{name: echo, image: \"hanse-test/echo:1\"}";

    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let shell = Image {
            program: "/bin/sh".into(),
            args: Vec::new(),
        };
        let echo = Image {
            program: std::env::current_exe()?,
            args: vec![ECHO_ARGUMENT.to_owned()],
        };
        let images = [(SHELL.to_owned(), shell), ("hanse-test/echo:1".to_owned(), echo)];
        let config = DevClusterConfig {
            images: Images {
                by_name: BTreeMap::from(images),
                dir: None,
            },
            pod_range: format!("{}/24", loopback(0)).parse()?,
            service_range: format!("{}/24", loopback(1)).parse()?,
            load_balancer_range: format!("{}/24", loopback(2)).parse()?,
            ..DevClusterConfig::new(folder.path())
        };
        Ok(Self {
            cluster: DevCluster::start(config).await?,
            folder,
        })
    }

    pub async fn config(&self) -> Result<Config> {
        Ok(Config::from_custom_kubeconfig(self.cluster.kubeconfig(), &KubeConfigOptions::default()).await?)
    }

    pub async fn stop(self) {
        self.cluster.shutdown().await;
        drop(self.folder);
    }
}
