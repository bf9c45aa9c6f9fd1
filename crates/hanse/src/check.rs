//! `hanse check`: what would keep an agent from working, and how to mend it.

use std::net::TcpListener;

use hanse_cluster::Cluster;
use hanse_swarm::model::SwarmAddress;
use serde::Serialize;
use url::Url;

use crate::cli::ConfigArguments;
use crate::config::Config;
use crate::keys::DomainKeys;
use crate::output::{self, Format};
use crate::{agent, swarm};

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

/// Looks at everything that can be looked at without starting the agent.
pub async fn run(arguments: &ConfigArguments, format: Format) -> anyhow::Result<()> {
    let config = arguments.load()?.config;
    let mut findings = vec![finding("configuration", Ok(format!("domain {}", config.domain)))];
    findings.push(finding("data folder", data_folder(&config)));
    findings.push(finding(
        "keys",
        DomainKeys::load(&config).map(|keys| format!("account {}", keys.ledger.address())),
    ));
    findings.push(finding("REST API port", port_free(config.api.listen, "api.listen")));
    if let Some(embedded) = &config.ledger.embedded {
        let genesis = agent::load_genesis(&embedded.genesis);
        findings.push(finding(
            "genesis",
            genesis.map(|genesis| format!("{} founding members", genesis.members.len())),
        ));
        findings.push(finding(
            "consensus port",
            port_free(embedded.consensus_listen, "ledger.embedded.consensusListen"),
        ));
        findings.push(finding(
            "ledger RPC port",
            port_free(embedded.rpc_listen, "ledger.embedded.rpcListen"),
        ));
    }
    findings.push(finding("swarm port", port_free(config.swarm.listen, "swarm.listen")));
    findings.push(finding("swarm key", swarm_key(&config)));
    findings.push(finding("swarm addresses", Ok(swarm_addresses(&config))));
    if config.ledger.embedded.is_none() {
        if config.is_discoverer() {
            findings.push(finding(
                "ledger",
                Ok("none: the agent finds other domains and does nothing else".into()),
            ));
        } else if config.ledger.urls.is_empty() {
            let missing = anyhow::anyhow!("neither ledger.embedded nor ledger.urls is set; set one of them");
            findings.push(finding("ledger", Err(missing)));
        }
        for url in &config.ledger.urls {
            findings.push(finding("ledger", ledger(&config, url).await));
        }
    }
    let cluster = match &config.cluster.development {
        Some(development) => port_free(development.listen, "cluster.development.listen"),
        None => real_cluster(&config).await,
    };
    findings.push(finding("cluster", cluster));
    let well = findings.iter().all(|finding| finding.ok);
    output::print(format, &findings, |findings| {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|it| {
                vec![
                    if it.ok { "ok" } else { "MEND" }.to_owned(),
                    it.what.to_owned(),
                    it.detail.clone(),
                ]
            })
            .collect();
        output::table(&rows)
    })?;
    anyhow::ensure!(well, "some things have to be mended before the agent can work");
    Ok(())
}

/// Each endpoint by itself, since the others would hide one that does not work.
async fn ledger(config: &Config, url: &Url) -> anyhow::Result<String> {
    let settings = agent::ledger_config(config, vec![url.clone()])?;
    let found = hanse_ledger::examine(&settings).await?;
    anyhow::ensure!(
        found.as_built,
        "{url}: the code of the contracts is not that of this version of hanse; check ledger.consortium and \
         ledger.federation, or use the version that deployed them"
    );
    Ok(format!(
        "{url} serves the chain with {}, at block {}, with the contracts on it",
        found.chain, found.head.number
    ))
}

fn finding(what: &'static str, result: anyhow::Result<String>) -> Finding {
    match result {
        Ok(detail) => Finding { what, ok: true, detail },
        Err(error) => Finding {
            what,
            ok: false,
            detail: format!("{error:#}"),
        },
    }
}

fn data_folder(config: &Config) -> anyhow::Result<String> {
    std::fs::create_dir_all(&config.data_dir)?;
    tempfile::tempfile_in(&config.data_dir).map_err(|error| {
        anyhow::anyhow!(
            "{} can't be written: {error}; change its owner or dataDir",
            config.data_dir.display()
        )
    })?;
    Ok(config.data_dir.display().to_string())
}

fn swarm_key(config: &Config) -> anyhow::Result<String> {
    Ok(match swarm::key(config)? {
        Some(key) => format!(
            "fingerprint {}; that of every other domain of the swarm must be the same",
            key.fingerprint()
        ),
        None => {
            "none yet: the first start makes one, and a swarm of its own with it; for another, set swarm.keyFile".into()
        }
    })
}

/// Who is called first, and where the others call. That nobody answers is told by the agent, which goes on calling.
fn swarm_addresses(config: &Config) -> String {
    let list = |addresses: &[SwarmAddress], none: &str| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if texts.is_empty() {
            none.to_owned()
        } else {
            texts.join(", ")
        }
    };
    format!(
        "begins with {}; is called at {}",
        list(&config.swarm.bootstrap, "nobody, and waits to be called"),
        list(&config.swarm.external, "where it listens")
    )
}

fn port_free(address: std::net::SocketAddr, setting: &str) -> anyhow::Result<String> {
    TcpListener::bind(address).map_err(|error| {
        anyhow::anyhow!("{address}: {error}; stop what uses it (an agent that runs?) or change {setting}")
    })?;
    Ok(format!("{address} is free"))
}

async fn real_cluster(config: &Config) -> anyhow::Result<String> {
    let cluster = Cluster::new(agent::real_cluster(&config.cluster).await?);
    let namespace = config.cluster.namespace.as_deref().unwrap_or("default");
    let report = cluster.check_access(namespace).await?;
    let missing: Vec<String> = report
        .missing()
        .map(|it| format!("{} {}", it.verb, it.resource))
        .collect();
    anyhow::ensure!(
        missing.is_empty(),
        "the agent may not {}; grant it a role that may",
        missing.join(", ")
    );
    Ok(format!(
        "{}, and the agent has the rights that it needs",
        report.server_version
    ))
}
