//! One scenario from deployment to the moved service, watched from outside like any user could.

use std::time::Duration;

use anyhow::{Context, bail};
use hanse_orchestrator::api::{AgreementPage, ServicePage};
use hanse_orchestrator::model::{Outcome, Scenario};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::league::{Domain, League};
use super::report::{AgreementReport, Replicas, Report, ServiceReport, StepReport};

const SERVICE: &str = "object-detection";
const WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub scenario: Scenario,
    /// Replicas of the component to begin with.
    pub replicas: u32,
    /// Replicas that move (scale), or that the provider shall run (component, whole).
    pub moved: u32,
}

/// Deploys the example in the first domain, has it federated, and looks at what came of it.
pub async fn run(league: &League, run: Run, mut progress: impl FnMut(&str)) -> anyhow::Result<Report> {
    let consumer = league.domains.first().context("a league has domains")?;
    progress("deploying the service in its own domain");
    let body = json!({ "catalogue": SERVICE, "replicas": run.replicas });
    consumer.client.post::<ServicePage>("api/v1/services", &body).await?;
    wait_service(consumer).await?;
    let receiver = service_host(consumer, "receiver").await?;
    wait_frames(&receiver)
        .await
        .context("no frames flow in the consumer's own domain")?;
    reset_statistics(&receiver).await?;

    progress("asking the other domains to run it");
    let request = json!({ "service": SERVICE, "scenario": run.scenario, "replicas": run.moved });
    let accepted: AgreementPage = consumer.client.post("api/v1/agreements", &request).await?;
    let page = follow(consumer, &accepted.id, &mut progress).await?;
    let account = page.provider.clone().context("a confirmed agreement has a provider")?;
    let provider = league
        .domains
        .iter()
        .find(|domain| domain.account == account)
        .with_context(|| format!("the provider {account} is not in this league"))?;
    let theirs: AgreementPage = provider.client.get(&format!("api/v1/agreements/{}", page.id)).await?;

    progress("looking at the frames");
    let endpoint = page.endpoint.clone().unwrap_or_default();
    let seen_at = endpoint
        .services
        .get("receiver")
        .map_or(receiver, |address| address.host.clone());
    let statistics = statistics(&seen_at).await?;
    let service: ServicePage = consumer.client.get(&format!("api/v1/services/{SERVICE}")).await?;
    let work = page.work;
    Ok(Report {
        domains: super::report::domains(league).await?,
        agreement: AgreementReport {
            id: page.id.clone(),
            scenario: run.scenario,
            consumer: consumer.name.clone(),
            provider: provider.name.clone(),
            steps: steps(&page, &theirs),
        },
        ledger: super::report::ledger(&page, &theirs)?,
        service: ServiceReport {
            endpoint: endpoint
                .services
                .iter()
                .map(|(name, address)| (name.clone(), address.host.clone()))
                .collect(),
            answered: page.verified.unwrap_or(false),
            frames_before: work.map_or(0, |work| work.before),
            frames_after: work.map_or(0, |work| work.after),
            frames_lost: statistics["frames_lost"]
                .as_u64()
                .context("the receiver counts lost frames")?,
            longest_gap_ms: statistics["longest_gap_ms"]
                .as_u64()
                .context("the receiver knows the longest gap")?,
        },
        replicas: Replicas {
            consumer: service.running_replicas,
            provider: theirs.running.get("object-detector").copied().unwrap_or(0),
        },
    })
}

/// Ends the agreement, waits until the service is back, and removes it.
pub async fn undo(league: &League, report: &Report) -> anyhow::Result<()> {
    let consumer = league.domains.first().context("a league has domains")?;
    let path = format!("api/v1/agreements/{}", report.agreement.id);
    consumer
        .client
        .post::<AgreementPage>(&format!("{path}/terminate"), &json!({}))
        .await?;
    let deadline = Instant::now() + WITHIN;
    for domain in &league.domains {
        loop {
            let live: Vec<AgreementPage> = domain.client.get("api/v1/agreements?live=true").await?;
            if live.iter().all(|page| page.id != report.agreement.id) {
                break;
            }
            if Instant::now() > deadline {
                bail!(
                    "{} has not wound up agreement {} within {} s",
                    domain.name,
                    report.agreement.id,
                    WITHIN.as_secs()
                );
            }
            sleep(POLL).await;
        }
    }
    consumer.client.delete(&format!("api/v1/services/{SERVICE}")).await?;
    loop {
        let services: Vec<ServicePage> = consumer.client.get("api/v1/services").await?;
        if services.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the service was not removed within {} s", WITHIN.as_secs());
        }
        sleep(POLL).await;
    }
}

async fn wait_service(domain: &Domain) -> anyhow::Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let page: ServicePage = domain.client.get(&format!("api/v1/services/{SERVICE}")).await?;
        if page.ready {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "{SERVICE} is not ready in {}: {}",
                domain.name,
                page.trouble.unwrap_or_default()
            );
        }
        sleep(POLL).await;
    }
}

/// Follows an agreement, naming each step as it happens, until everything has moved.
async fn follow(consumer: &Domain, id: &str, progress: &mut impl FnMut(&str)) -> anyhow::Result<AgreementPage> {
    let deadline = Instant::now() + WITHIN;
    let mut told = 0;
    loop {
        let page: AgreementPage = consumer.client.get(&format!("api/v1/agreements/{id}")).await?;
        for mark in page.timeline.iter().skip(told) {
            progress(mark.step.name());
        }
        told = page.timeline.len();
        match &page.outcome {
            Some(Outcome::Cancelled { reason } | Outcome::Expired { reason }) => {
                bail!("agreement {id} came to nothing: {reason}")
            }
            Some(other) => bail!("agreement {id} ended early: {other:?}"),
            None if page.state == "confirmed" && page.completed == Some(true) => return Ok(page),
            None if Instant::now() > deadline => {
                bail!(
                    "agreement {id} is still {} after {} s: {}",
                    page.state,
                    WITHIN.as_secs(),
                    page.trouble.unwrap_or_default()
                )
            }
            None => sleep(POLL).await,
        }
    }
}

/// All steps of both sides in the order in which they happened, relative to the request.
fn steps(consumer: &AgreementPage, provider: &AgreementPage) -> Vec<StepReport> {
    let origin = consumer.requested_ms.unwrap_or_default();
    let mut marks: Vec<_> = consumer.timeline.iter().chain(&provider.timeline).collect();
    marks.sort_by_key(|mark| (mark.at_ms, mark.step));
    marks
        .iter()
        .map(|mark| StepReport {
            step: mark.step,
            at_ms: mark.at_ms.saturating_sub(origin),
        })
        .collect()
}

/// The external address of one of the domain's own Services, read from its cluster.
async fn service_host(domain: &Domain, name: &str) -> anyhow::Result<String> {
    let page: ServicePage = domain.client.get(&format!("api/v1/services/{SERVICE}")).await?;
    page.addresses
        .get(name)
        .cloned()
        .with_context(|| format!("Service {name} has no external address"))
}

async fn wait_frames(host: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match statistics(host).await {
            Ok(page) if page["frames_received"].as_u64().is_some_and(|frames| frames > 10) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Ok(page) if Instant::now() > deadline => bail!("the receiver says {page}"),
            _ => sleep(POLL).await,
        }
    }
}

async fn statistics(host: &str) -> anyhow::Result<Value> {
    let answer = http()?
        .get(format!("http://{host}:5000/stats"))
        .send()
        .await?
        .error_for_status()?;
    Ok(answer.json().await?)
}

async fn reset_statistics(host: &str) -> anyhow::Result<()> {
    http()?
        .post(format!("http://{host}:5000/stats/reset"))
        .send()
        .await?
        .error_for_status()?;
    Ok(())
}

fn http() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?)
}
