//! Several endpoints of one chain used as one: the first that works, and the next when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use alloy::primitives::B256;
use alloy::rpc::json_rpc::{RpcRecv, RpcSend};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use url::Url;

use crate::config::LedgerConfig;
use crate::endpoint::{Endpoint, RequestError};
use crate::error::LedgerError;
use crate::head::Head;
use crate::status::{Link, Status};

/// What tells one chain from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainIdentity {
    /// EIP-155.
    #[serde(alias = "chain_id")]
    pub chain_id: u64,
    /// Hash of block 0; None where a node does not keep it.
    #[serde(rename = "genesisHash", alias = "genesis")]
    pub genesis: Option<B256>,
}

impl ChainIdentity {
    /// True unless the two are known to be different chains.
    #[must_use]
    pub fn may_equal(&self, other: &Self) -> bool {
        self.chain_id == other.chain_id
            && match (self.genesis, other.genesis) {
                (Some(one), Some(two)) => one == two,
                _ => true,
            }
    }
}

impl std::fmt::Display for ChainIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.genesis {
            Some(genesis) => write!(f, "id {} with genesis block {genesis}", self.chain_id),
            None => write!(f, "id {}", self.chain_id),
        }
    }
}

/// See the module.
pub(crate) struct Rpc {
    endpoints: Vec<Arc<Endpoint>>,
    current: AtomicUsize,
    status: watch::Sender<Status>,
}

impl Rpc {
    pub(crate) fn new(config: &LedgerConfig) -> Result<Self, LedgerError> {
        let Some(first) = config.urls.first() else {
            return Err(LedgerError::Config(
                "no URL is given; name at least one node in `ledger.urls`".into(),
            ));
        };
        // reqwest panics without a provider; the process may have chosen one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(config.request_timeout)
            .timeout(config.request_timeout)
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(|error| LedgerError::Config(format!("the HTTP client cannot be set up: {error}")))?;
        let identity = Arc::new(std::sync::OnceLock::new());
        let endpoints = config
            .urls
            .iter()
            .map(|url| Endpoint::new(url.clone(), config.request_timeout, http.clone(), identity.clone()).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let (status, _) = watch::channel(Status {
            link: Link::Away {
                reason: "not connected yet".into(),
            },
            since: SystemTime::now(),
            url: first.clone(),
            head: None,
            member: None,
        });
        Ok(Self {
            endpoints,
            current: AtomicUsize::new(0),
            status,
        })
    }

    /// The endpoint in use. Several requests that must see one chain state go to the same one.
    pub(crate) fn current(&self) -> Arc<Endpoint> {
        let index = self.current.load(Ordering::Relaxed) % self.endpoints.len();
        Arc::clone(&self.endpoints[index])
    }

    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    pub(crate) fn status(&self) -> &watch::Sender<Status> {
        &self.status
    }

    /// Turns away from an endpoint, if it is still the one in use.
    pub(crate) fn turn_from(&self, endpoint: &Endpoint) {
        let index = self.current.load(Ordering::Relaxed);
        if self.endpoints[index % self.endpoints.len()].url() == endpoint.url() {
            let next = (index + 1) % self.endpoints.len();
            let turned = self
                .current
                .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
            if turned.is_ok() && next != index {
                tracing::info!(from = %endpoint.url(), to = %self.endpoints[next].url(), "another ledger endpoint");
            }
        }
    }

    pub(crate) fn set_link(&self, link: Link, url: &Url) {
        self.status.send_if_modified(|status| {
            let changed = status.link != link || status.url != *url;
            if changed {
                *status = status.with_link(link, url, SystemTime::now());
            }
            changed
        });
    }

    pub(crate) fn set_head(&self, head: Head) {
        self.status.send_modify(|status| status.head = Some(head));
    }

    /// One request to whichever endpoint answers; each is tried once. Errors that nodes answer with are returned as
    /// they are.
    pub(crate) async fn try_request<P: RpcSend + Clone, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, (Url, RequestError)> {
        let mut failures = Vec::new();
        let mut last = self.current();
        for _ in 0..self.endpoints.len() {
            let endpoint = self.current();
            match endpoint.request(method, params.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(RequestError::Link(detail)) => {
                    failures.push(format!("{}: {detail}", endpoint.url()));
                    self.turn_from(&endpoint);
                    last = endpoint;
                }
                Err(other) => return Err((endpoint.url().clone(), other)),
            }
        }
        Err((last.url().clone(), RequestError::Link(failures.join("; "))))
    }

    /// As [`try_request`](Self::try_request), for methods whose errors have no special meaning.
    pub(crate) async fn request<P: RpcSend + Clone, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, LedgerError> {
        self.try_request(method, params)
            .await
            .map_err(|(url, error)| match error {
                // Names each endpoint already.
                RequestError::Link(detail) => LedgerError::Unreachable { detail },
                other => other.into_ledger(method, &url),
            })
    }

    /// The newest block.
    pub(crate) async fn latest(&self) -> Result<Head, LedgerError> {
        self.request("eth_getBlockByNumber", ("latest", false)).await
    }
}

/// Waits between attempts to reach a ledger that is away: 50 ms, doubling to 2 s.
#[derive(Debug, Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let wait = Duration::from_millis(50 << self.0.min(6)).min(Duration::from_secs(2));
        self.0 = self.0.saturating_add(1);
        wait
    }

    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }
}
