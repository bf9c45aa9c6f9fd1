//! Requests to another domain's agent. Whatever it answers is bounded and hostile until checked.

use std::time::Duration;

use alloy::primitives::B256;
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::pages::BootstrapPage;

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

/// What a member gives to newcomers, whose genesis document has this digest.
///
/// # Errors
/// When nobody answers there, or with the document of another ledger.
pub async fn bootstrap(base: &Url, genesis: B256) -> anyhow::Result<BootstrapPage> {
    let page: BootstrapPage = get(&client()?, base, "api/v1/consortium/bootstrap").await?;
    let digest = page.genesis.digest();
    ensure!(
        digest == genesis,
        "{base} gives the genesis of another ledger ({digest}) than it should ({genesis}): the invite is wrong, or that address \
         is not what it claims to be"
    );
    page.genesis.validate().context("the genesis document")?;
    Ok(page)
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
