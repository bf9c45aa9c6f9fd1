//! A node that lacks what is not needed: a filter in front of anvil that knows neither fee history nor filters nor
//! subscriptions.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use crate::anvil::Anvil;

/// What it does not know.
const UNKNOWN: [&str; 10] = [
    "eth_feeHistory",
    "eth_maxPriorityFeePerGas",
    "eth_createAccessList",
    "eth_newFilter",
    "eth_newBlockFilter",
    "eth_newPendingTransactionFilter",
    "eth_getFilterChanges",
    "eth_subscribe",
    "eth_unsubscribe",
    "eth_syncing",
];

/// The filter; it ends when it is dropped.
pub struct Sparse {
    port: u16,
    asked: tokio::sync::watch::Receiver<Vec<String>>,
    _serving: JoinSet<()>,
}

impl Sparse {
    /// Over HTTP, where an upgrade to WebSocket is refused.
    pub async fn http(anvil: &Anvil) -> Self {
        Self::serve(anvil, false).await
    }

    /// Over WebSocket.
    pub async fn ws(anvil: &Anvil) -> Self {
        Self::serve(anvil, true).await
    }

    async fn serve(anvil: &Anvil, websocket: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (asking, asked) = tokio::sync::watch::channel(Vec::new());
        // As the client itself does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let node = Node {
            client,
            url: anvil.http(),
            asking,
        };
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let node = node.clone();
                connections.spawn(async move {
                    if websocket {
                        node.talk(stream).await;
                    } else {
                        node.answer_requests(stream).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            asked,
            _serving: serving,
        }
    }

    pub fn url(&self, scheme: &str) -> Url {
        format!("{scheme}://127.0.0.1:{}", self.port).parse().expect("a URL")
    }

    /// Whether it was asked for that, and said that it does not know it.
    pub fn was_asked_for(&self, method: &str) -> bool {
        self.asked.borrow().iter().any(|asked| asked == method)
    }
}

#[derive(Clone)]
struct Node {
    client: reqwest::Client,
    url: Url,
    asking: tokio::sync::watch::Sender<Vec<String>>,
}

impl Node {
    async fn answer(&self, request: &[u8]) -> Vec<u8> {
        let request: Value = serde_json::from_slice(request).expect("JSON");
        let method = request["method"].as_str().expect("one request at a time");
        if UNKNOWN.contains(&method) {
            self.asking.send_modify(|asked| asked.push(method.to_owned()));
            let error = json!({ "code": -32601, "message": format!("the method {method} does not exist") });
            return serde_json::to_vec(&json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }))
                .expect("JSON");
        }
        let sent = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&request).expect("JSON"))
            .send();
        let answer = sent.await.expect("anvil answers");
        answer.bytes().await.expect("anvil answers").to_vec()
    }

    /// HTTP/1.1, as much of it as is needed here. Ends with the connection.
    async fn answer_requests(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut length = None;
            let mut upgrade = false;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                let line = line.trim_end().to_lowercase();
                if line.is_empty() {
                    break;
                }
                upgrade |= line.starts_with("upgrade:");
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse::<usize>().ok();
                }
            }
            let (status, body) = match length.filter(|_| !upgrade) {
                Some(length) => {
                    let mut body = vec![0; length];
                    if stream.read_exact(&mut body).await.is_err() {
                        return;
                    }
                    ("200 OK", self.answer(&body).await)
                }
                None => ("405 Method Not Allowed", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let answer = [head.into_bytes(), body].concat();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    async fn talk(&self, stream: TcpStream) {
        use futures::{SinkExt, StreamExt};
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            let Ok(text) = message.to_text() else { continue };
            if !message.is_text() {
                continue;
            }
            let answer = String::from_utf8(self.answer(text.as_bytes()).await).expect("UTF-8");
            if socket.send(answer.into()).await.is_err() {
                return;
            }
        }
    }
}
