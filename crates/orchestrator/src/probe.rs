//! The connectivity check: does the federated service do its work? Not "is the port open" but "does the counter of work
//! done by the provider grow before our eyes".

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::model::{Endpoint, Probe, WorkSeen};

const EVERY: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(2);
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// Watches the counter for work by `domain` at `host` until it has grown enough; `Err` says what was last seen.
pub async fn watch_work(
    client: &reqwest::Client,
    probe: &Probe,
    host: &str,
    domain: &str,
    within: Duration,
) -> Result<WorkSeen, String> {
    let url = format!("http://{}:{}{}", bracketed(host), probe.port, probe.path);
    let pointer = probe.counter.replace("{domain}", &escape(domain));
    let deadline = Instant::now() + within;
    let mut first: Option<u64> = None;
    let mut last_seen;
    loop {
        let tick = Instant::now() + EVERY;
        match read_counter(client, &url, &pointer).await {
            Ok(count) => {
                // A counter that starts again belongs to a restarted service; count from there.
                let before = first.filter(|before| *before <= count).unwrap_or(count);
                first = Some(before);
                if count >= before + probe.growth {
                    return Ok(WorkSeen { before, after: count });
                }
                last_seen = format!(
                    "{pointer} at {url} stands at {count} and has to grow by {}",
                    probe.growth
                );
            }
            Err(reason) => last_seen = reason,
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "no work by {domain} was seen within {} s: {last_seen}",
                within.as_secs()
            ));
        }
        sleep_until(tick).await;
    }
}

/// A counter that does not exist yet stands at 0: nobody has worked.
async fn read_counter(client: &reqwest::Client, url: &str, pointer: &str) -> Result<u64, String> {
    let failed = |error: reqwest::Error| format!("{url} does not answer: {error}");
    let response = client.get(url).timeout(TIMEOUT).send().await.map_err(failed)?;
    let response = response.error_for_status().map_err(failed)?;
    if response.content_length().is_some_and(|length| length > LARGEST_ANSWER) {
        return Err(format!("{url} answers with more than {LARGEST_ANSWER} bytes"));
    }
    let document: serde_json::Value = response.json().await.map_err(failed)?;
    match document.pointer(pointer) {
        None => Ok(0),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| format!("{pointer} at {url} is {value}, not a count")),
    }
}

/// For services without a probe: every port of every service takes a connection.
pub async fn connect(endpoint: &Endpoint, within: Duration) -> Result<(), String> {
    let deadline = Instant::now() + within;
    for (service, address) in &endpoint.services {
        for (name, port) in &address.ports {
            loop {
                let tick = Instant::now() + EVERY;
                let attempt = timeout(TIMEOUT, TcpStream::connect((address.host.as_str(), *port))).await;
                if matches!(attempt, Ok(Ok(_))) {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(format!(
                        "{service} port {name} at {}:{port} takes no connection",
                        address.host
                    ));
                }
                sleep_until(tick).await;
            }
        }
    }
    Ok(())
}

/// RFC 6901: `~` and `/` in a name of a pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}
