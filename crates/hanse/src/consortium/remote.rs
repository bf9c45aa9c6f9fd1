//! Requests to another domain's agent. Whatever it answers is bounded and hostile until checked.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

const WITHIN: Duration = Duration::from_secs(20);
const MOST: usize = 4 * 1024 * 1024;

/// A client for these requests.
pub fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .build()?)
}

/// GET.
pub async fn get<T: DeserializeOwned>(http: &reqwest::Client, base: &Url, path: &str) -> anyhow::Result<T> {
    answer(http.get(base.join(path)?), base).await
}

/// POST of a JSON document.
pub async fn post<T: DeserializeOwned>(
    http: &reqwest::Client,
    base: &Url,
    path: &str,
    body: &impl Serialize,
) -> anyhow::Result<T> {
    answer(http.post(base.join(path)?).json(body), base).await
}

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder, base: &Url) -> anyhow::Result<T> {
    let mut response = request.timeout(WITHIN).send().await.with_context(|| {
        format!("{base} does not answer; is it the address of a member's agent, and can it be reached from here?")
    })?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST {
            bail!("{base} answers more than {MOST} bytes");
        }
    }
    if !status.is_success() {
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        bail!(
            "{}",
            detail.map_or_else(
                || format!("{base} answers {status}; is it a Hanse agent?"),
                str::to_owned
            )
        );
    }
    serde_json::from_slice(&body).with_context(|| format!("{base} answered something unexpected; is it a Hanse agent?"))
}
