//! A running ledger: blocks are made as soon as a transaction waits, and JSON-RPC is served on a free port.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanse_chain::application::Application;
use hanse_chain::ledger::Ledger;
use hanse_chain::rpc::{NodeInfo, RpcHandle, serve};
use tokio::task::JoinHandle;

use crate::support::{install_cryptography, open, produce};

/// Longest time that anything in these tests may take on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Chain {
    pub ledger: Arc<Ledger>,
    pub rpc: RpcHandle,
    producer: JoinHandle<()>,
}

impl Chain {
    pub async fn start(folder: &Path, members: u8) -> Self {
        Self::with(open(folder, members), members).await
    }

    pub async fn with(ledger: Arc<Ledger>, members: u8) -> Self {
        install_cryptography();
        let rpc = serve(ledger.clone(), "127.0.0.1:0".parse().unwrap(), NodeInfo::alone())
            .await
            .unwrap();
        let producer = tokio::spawn(produce_when_needed(ledger.clone(), members));
        Self { ledger, rpc, producer }
    }

    pub fn http(&self) -> String {
        format!("http://{}", self.rpc.address())
    }

    pub fn ws(&self) -> String {
        format!("ws://{}", self.rpc.address())
    }

    pub async fn stop(self) {
        self.producer.abort();
        let _ = self.producer.await;
        self.rpc.shutdown(DEADLINE).await;
    }
}

async fn produce_when_needed(ledger: Arc<Ledger>, members: u8) {
    let mut waiting = ledger.waiting();
    loop {
        if waiting.wait_for(|waiting| *waiting > 0).await.is_err() {
            return;
        }
        let ledger = ledger.clone();
        let proposer = (ledger.tip().height % u64::from(members)) as u8;
        tokio::task::spawn_blocking(move || produce(&ledger, proposer))
            .await
            .unwrap();
    }
}

/// Polls until `condition` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let polled = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, polled)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"))
}
