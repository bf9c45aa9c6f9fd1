//! A development cluster for one test, with addresses that no other test of this machine uses.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use hanse_devcluster::{DevCluster, DevClusterConfig, Image, Images};

use crate::contract::IMAGE;

/// The cluster and its folder.
pub struct Local {
    cluster: DevCluster,
    folder: tempfile::TempDir,
    ranges: Ranges,
}

/// Three blocks of loopback addresses that are this test's as long as the value lives.
pub struct Ranges {
    number: u8,
    _claim: TcpListener,
}

impl Ranges {
    /// Claims a number by a listening port, which also works between processes.
    pub fn claim() -> Self {
        let first: u8 = rand::random_range(0..100);
        for number in (0..100).map(|step| (first + step) % 100) {
            if let Ok(claim) = TcpListener::bind((Ipv4Addr::new(127, 100 + number, 255, 254), 47_113)) {
                return Self { number, _claim: claim };
            }
        }
        panic!("a hundred tests run at a time");
    }

    /// The first two numbers of the addresses.
    pub fn network(&self) -> String {
        format!("127.{}", 100 + self.number)
    }

    pub fn pods(&self) -> String {
        format!("127.{}.0.0/20", 100 + self.number)
    }

    pub fn load_balancers(&self) -> String {
        format!("127.{}.16.0/20", 100 + self.number)
    }

    pub fn services(&self) -> String {
        format!("127.{}.32.0/20", 100 + self.number)
    }
}

pub fn images() -> Images {
    let python = Image {
        program: which("python3"),
        args: Vec::new(),
    };
    let server = Image {
        program: PathBuf::from(env!("CARGO_BIN_EXE_hanse-test-server")),
        args: Vec::new(),
    };
    let by_name = BTreeMap::from([
        (IMAGE.to_owned(), python),
        ("test/hanse-test-server:1".to_owned(), server),
    ]);
    Images { by_name, dir: None }
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("the suite needs {program}"))
}

impl Local {
    pub async fn start() -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        let ranges = Ranges::claim();
        let cluster = DevCluster::start(config(folder.path().to_owned(), &ranges))
            .await
            .unwrap();
        Self {
            cluster,
            folder,
            ranges,
        }
    }

    pub fn client(&self) -> kube::Client {
        self.cluster.client()
    }

    /// Writes a kubeconfig as users have it.
    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        self.cluster.write_kubeconfig(&path).unwrap();
        path
    }

    /// The first two numbers of the cluster's addresses.
    pub fn network(&self) -> String {
        self.ranges.network()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the cluster and hands out its folder.
    pub async fn stop(self) -> tempfile::TempDir {
        self.cluster.shutdown().await;
        self.folder
    }
}

pub fn config(folder: PathBuf, ranges: &Ranges) -> DevClusterConfig {
    DevClusterConfig {
        service_range: ranges.services().parse().unwrap(),
        pod_range: ranges.pods().parse().unwrap(),
        load_balancer_range: ranges.load_balancers().parse().unwrap(),
        images: images(),
        supervisor: PathBuf::from(env!("CARGO_BIN_EXE_hanse-pod")),
        ..DevClusterConfig::new(folder)
    }
}
