//! The read-only HTTP API of a swarm, in the shape of kubo's RPC API (`/api/v0/…`). It tells who and where this node is, and whom
//! it is connected to; it changes nothing and knows no secret. kubo takes POST alone; here GET does too, since there is nothing
//! to protect from being caused.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::swarms::Member;

/// Serves the API of `member`, unless it is served already: at `port`, or at any free one if that is taken.
///
/// # Errors
/// If there is none.
pub async fn serve(member: &Arc<Member>, listen: IpAddr, port: u16) -> std::io::Result<()> {
    if member.api_port().is_some() {
        return Ok(());
    }
    let listener = match TcpListener::bind(SocketAddr::new(listen, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(SocketAddr::new(listen, 0)).await?,
    };
    let port = listener.local_addr()?.port();
    if !member.set_api_port(port) {
        return Ok(());
    }
    let router = router(Answers {
        member: Arc::downgrade(member),
        name: member.name.clone(),
    });
    let left = member.left();
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router)
            .with_graceful_shutdown(left.cancelled_owned())
            .await
        {
            tracing::warn!(%error, "the read-only HTTP API of a swarm ended");
        }
    });
    Ok(())
}

/// What the answers are read from. It does not keep the swarm running.
#[derive(Clone)]
struct Answers {
    member: std::sync::Weak<Member>,
    name: String,
}

fn router(answers: Answers) -> Router {
    let both = |path: &str, router: Router<Answers>, handler: fn(&Answers, &Member) -> Value| {
        let answer = move |State(answers): State<Answers>| async move {
            match answers.member.upgrade() {
                Some(member) => Json(handler(&answers, &member)).into_response(),
                None => error(StatusCode::SERVICE_UNAVAILABLE, "the swarm was left"),
            }
        };
        router.route(path, get(answer).post(answer))
    };
    let router = both("/api/v0/id", Router::new(), id);
    let router = both("/api/v0/version", router, |_, _| version());
    let router = both("/api/v0/swarm/peers", router, peers);
    let router = both(
        "/api/v0/swarm/addrs/listen",
        router,
        |_, member| json!({"Strings": member.view().addresses}),
    );
    let router = both("/api/v0/bootstrap/list", router, bootstrap);
    router
        .fallback(|| async {
            error(
                StatusCode::NOT_FOUND,
                "this read-only API has id, version, swarm/peers, swarm/addrs/listen and bootstrap/list below /api/v0",
            )
        })
        .layer(middleware::from_fn(no_browsers))
        .with_state(answers)
}

/// Pages in a browser of this network must not read who is here; kubo refuses them in the same way.
async fn no_browsers(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return error(StatusCode::FORBIDDEN, "requests of web pages are refused");
    }
    next.run(request).await
}

/// An error in kubo's form.
fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"Message": message, "Code": 0, "Type": "error"}))).into_response()
}

fn agent() -> String {
    format!("hanse/{}", env!("CARGO_PKG_VERSION"))
}

fn id(answers: &Answers, member: &Member) -> Value {
    json!({
        "ID": answers.name,
        "Addresses": member.view().addresses,
        "AgentVersion": agent(),
        "Protocols": [],
    })
}

fn version() -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Commit": "",
        "Repo": "",
        "System": format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS),
        "Golang": "",
    })
}

/// Domains that are connected. Their addresses are not told: a swarm's member may read this, and so may everybody else in the
/// cluster.
fn peers(_: &Answers, member: &Member) -> Value {
    let view = member.view();
    let connected = view.peers.iter().filter(|peer| peer.connected());
    let peers: Vec<Value> = connected
        .map(|peer| json!({"Addr": "", "Peer": peer.name.to_string()}))
        .collect();
    json!({"Peers": peers})
}

fn bootstrap(_: &Answers, member: &Member) -> Value {
    let peers: Vec<String> = member.bootstrap.iter().map(ToString::to_string).collect();
    json!({"Peers": peers})
}
