//! One JSON-RPC address: a connection made when it is needed, every request with a deadline.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use alloy::primitives::{B256, Bytes, U64};
use alloy::pubsub::{ConnectionHandle, PubSubConnect, Subscription};
use alloy::rpc::client::{ClientBuilder, RpcClient};
use alloy::rpc::json_rpc::{RpcError, RpcRecv, RpcSend};
use alloy::transports::ws::{WsBackend, WsConnect};
use alloy::transports::{TransportError, TransportErrorKind, TransportResult};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use url::Url;

use crate::error::LedgerError;
use crate::head::Head;
use crate::rpc::ChainIdentity;

/// How a request failed.
#[derive(Debug, Clone)]
pub(crate) enum RequestError {
    /// No answer: another endpoint, or the same one later, may give one.
    Link(String),
    /// The node answered with an error.
    Answer {
        code: i64,
        message: String,
        /// Data of a revert, if it was one.
        revert: Option<Bytes>,
    },
    /// The node answered something that does not have the prescribed form.
    Form(String),
}

impl RequestError {
    /// The same as the crate's error, for methods whose errors have no special meaning.
    pub(crate) fn into_ledger(self, method: &'static str, url: &Url) -> LedgerError {
        match self {
            Self::Link(detail) => LedgerError::Unreachable {
                detail: format!("{url}: {detail}"),
            },
            Self::Answer { code, message, .. } => LedgerError::Node { method, code, message },
            Self::Form(detail) => LedgerError::Protocol {
                method,
                url: url.to_string(),
                detail,
            },
        }
    }
}

/// A connection whose loss is reported instead of mended behind our back: what was missed meanwhile must be noticed.
/// And one without Nagle's algorithm, which `WsConnect` itself would use: two small requests at once then cost 40 ms of
/// waiting for an acknowledgement.
struct Once(WsConnect, Duration);

impl Once {
    async fn socket(&self) -> TransportResult<ConnectionHandle> {
        let request = self
            .0
            .clone()
            .into_client_request()
            .map_err(TransportErrorKind::custom)?;
        let (socket, _) = tokio_tungstenite::connect_async_with_config(request, None, true)
            .await
            .map_err(TransportErrorKind::custom)?;
        let (handle, interface) = ConnectionHandle::new();
        WsBackend::from_socket(socket, interface, KEEPALIVE).spawn();
        Ok(handle)
    }
}

/// A silent connection is asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(5);

impl PubSubConnect for Once {
    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        timeout(self.1, self.socket())
            .await
            .map_err(|_| TransportErrorKind::custom_str("connecting took too long"))?
    }

    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        Err(TransportErrorKind::non_retryable_str("the connection was lost"))
    }
}

/// One address. See the module.
pub(crate) struct Endpoint {
    url: Url,
    request_timeout: Duration,
    /// Shared by all HTTP endpoints.
    http: reqwest::Client,
    connection: Mutex<Option<RpcClient>>,
    /// Only one task connects at a time; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    /// The chain that all endpoints must serve: that of the first one reached, or of the store.
    identity: Arc<OnceLock<ChainIdentity>>,
}

impl Endpoint {
    pub(crate) fn new(
        url: Url,
        request_timeout: Duration,
        http: reqwest::Client,
        identity: Arc<OnceLock<ChainIdentity>>,
    ) -> Result<Self, LedgerError> {
        match url.scheme() {
            "http" | "https" | "ws" | "wss" => Ok(Self {
                url,
                request_timeout,
                http,
                connection: Mutex::new(None),
                connecting: tokio::sync::Mutex::new(()),
                identity,
            }),
            other => Err(LedgerError::Config(format!(
                "{url} has the scheme {other}; use http, https, ws or wss"
            ))),
        }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// True where blocks can be subscribed to.
    pub(crate) fn announces_blocks(&self) -> bool {
        matches!(self.url.scheme(), "ws" | "wss")
    }

    fn connected(&self) -> Option<RpcClient> {
        self.connection
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Forgets the connection; the next request makes a new one.
    pub(crate) fn disconnect(&self) {
        self.connection
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
    }

    async fn client(&self) -> Result<RpcClient, RequestError> {
        if let Some(client) = self.connected() {
            return Ok(client);
        }
        let _only_one = self.connecting.lock().await;
        if let Some(client) = self.connected() {
            return Ok(client);
        }
        let client = if self.announces_blocks() {
            let connect = Once(WsConnect::new(self.url.as_str()), self.request_timeout);
            ClientBuilder::default()
                .pubsub(connect)
                .await
                .map_err(|error| RequestError::Link(error.to_string()))?
        } else {
            ClientBuilder::default().http_with_client(self.http.clone(), self.url.clone())
        };
        let found = identify(&client).await?;
        let expected = self.identity.get_or_init(|| found);
        if !found.may_equal(expected) {
            return Err(RequestError::Link(format!(
                "it serves another chain ({found}) than expected ({expected})"
            )));
        }
        *self
            .connection
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// The chain that it serves, whatever is expected.
    pub(crate) async fn identity(&self) -> Result<ChainIdentity, RequestError> {
        self.latest().await?;
        self.identity
            .get()
            .copied()
            .ok_or_else(|| RequestError::Form("it does not tell which chain it serves".into()))
    }

    /// One request within the deadline.
    pub(crate) async fn request<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RequestError> {
        let answer = timeout(self.request_timeout, async {
            let client = self.client().await?;
            client.request::<P, R>(method, params).await.map_err(classify)
        })
        .await
        .unwrap_or_else(|_| {
            Err(RequestError::Link(format!(
                "no answer to {method} within {:?}",
                self.request_timeout
            )))
        });
        if let Err(RequestError::Link(_)) = &answer {
            self.disconnect();
        }
        answer
    }

    /// The newest block.
    pub(crate) async fn latest(&self) -> Result<Head, RequestError> {
        self.request("eth_getBlockByNumber", ("latest", false)).await
    }

    /// The block of that height, or None if this endpoint does not have it (yet).
    pub(crate) async fn block(&self, number: u64) -> Result<Option<Head>, RequestError> {
        self.request("eth_getBlockByNumber", (U64::from(number), false)).await
    }

    /// Announcements of new blocks.
    pub(crate) async fn subscribe(&self) -> Result<Subscription<Head>, RequestError> {
        let id: B256 = self.request("eth_subscribe", ("newHeads",)).await?;
        let client = self.client().await?;
        let frontend = client
            .pubsub_frontend()
            .ok_or_else(|| RequestError::Link("not a connection with subscriptions".into()))?;
        let raw = timeout(self.request_timeout, frontend.get_subscription(id))
            .await
            .map_err(|_| RequestError::Link("no answer to the subscription".into()))?
            .map_err(classify)?;
        Ok(raw.into_typed())
    }
}

async fn identify(client: &RpcClient) -> Result<ChainIdentity, RequestError> {
    let chain_id: U64 = client.request_noparams("eth_chainId").await.map_err(classify)?;
    let genesis: Option<Head> = client
        .request("eth_getBlockByNumber", (U64::ZERO, false))
        .await
        .map_err(classify)?;
    Ok(ChainIdentity {
        chain_id: chain_id.to(),
        genesis: genesis.map(|head| head.hash),
    })
}

fn classify(error: TransportError) -> RequestError {
    match error {
        RpcError::ErrorResp(payload) => RequestError::Answer {
            code: payload.code,
            revert: revert_data(&payload),
            message: payload.message.to_string(),
        },
        // An HTTP status that says "your request", not "me".
        RpcError::Transport(TransportErrorKind::HttpError(http))
            if http.status / 100 == 4 && !matches!(http.status, 408 | 425 | 429) =>
        {
            RequestError::Form(format!("HTTP status {}: {}", http.status, shorten(&http.body)))
        }
        RpcError::DeserError { err, text } => RequestError::Form(format!("{err}: {}", shorten(&text))),
        RpcError::NullResp => RequestError::Form("null where a value must be".into()),
        other => RequestError::Link(shorten(&other.to_string())),
    }
}

/// Revert data wherever nodes put it: a hex string in `data`, or nested in an object there.
fn revert_data(payload: &alloy::rpc::json_rpc::ErrorPayload) -> Option<Bytes> {
    if let Some(data) = payload.as_revert_data() {
        return Some(data);
    }
    // Geth's code for a revert; some nodes word the message differently.
    if payload.code != 3 {
        return None;
    }
    serde_json::from_str::<Bytes>(payload.data.as_ref()?.get()).ok()
}

/// Nodes and proxies answer with whole pages at times.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 300;
    let mut short: String = text.chars().take(LIMIT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
