//! The REST API as commands use it.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

/// How long a download may take, and how long nothing may come of it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const STALLED: Duration = Duration::from_secs(60);

/// A client of one agent.
#[derive(Clone)]
pub struct Client {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// For the agent at `base`.
    pub fn new(base: &str, token: Option<String>) -> anyhow::Result<Self> {
        let base = Url::parse(base).with_context(|| format!("{base} is not a URL"))?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(90));
        Ok(Self {
            base,
            token,
            http: http.build()?,
        })
    }

    /// The agent's address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// A DELETE whose answer has no content that matters.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.call::<Value>(Method::DELETE, path, None::<&()>).await.map(drop)
    }

    /// A GET whose answer may be long: each part of it is given to `take`, and has to come within [`STALLED`].
    pub async fn download(&self, path: &str, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut response = self.send(self.request(Method::GET, path)?.timeout(LONGEST)).await?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await?;
            bail!("{}", explain(&Method::GET, path, status, &text));
        }
        loop {
            let part = tokio::time::timeout(STALLED, response.chunk())
                .await
                .with_context(|| format!("the agent sent nothing more for {STALLED:?}"))?
                .context("the agent broke off; its log says why")?;
            match part {
                Some(part) => take(&part)?,
                None => return Ok(()),
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<reqwest::RequestBuilder> {
        let request = self.http.request(method, self.base.join(path)?);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        request.send().await.with_context(|| {
            format!(
                "the agent at {} does not answer; is it running? (hanse up, or --api URL)",
                self.base
            )
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let url = self.base.join(path)?;
        let mut request = self.request(method.clone(), path)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.send(request).await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{}", explain(&method, url.path(), status, &text));
        }
        let text = if text.is_empty() { "null" } else { &text };
        serde_json::from_str(text).with_context(|| format!("{method} {url} answered something unexpected: {text}"))
    }
}

/// The detail of a problem document, or whatever was answered.
fn explain(method: &Method, path: &str, status: StatusCode, text: &str) -> String {
    let problem: Option<Value> = serde_json::from_str(text).ok();
    let detail = problem
        .as_ref()
        .and_then(|problem| problem["detail"].as_str())
        .unwrap_or(text);
    format!("{method} {path}: {status}: {detail}")
}
