//! `hanse up`: a whole league on this machine, and the example service moving in it.

pub mod folder;
pub mod league;
pub mod programs;
pub mod report;
pub mod scenario;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hanse_orchestrator::model::Scenario;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::config::Admission;
use crate::output::{self, Format};
use folder::{Folder, Plan};
use league::League;
use report::Report;
use scenario::Run;

/// Options of `hanse up`.
#[derive(Debug, Args)]
pub struct UpArguments {
    /// Domains of a new league (1 to 16).
    #[arg(long, default_value_t = 4)]
    domains: usize,
    /// Which part of the example service moves to another domain.
    #[arg(long, value_parser = parse_scenario)]
    scenario: Option<Scenario>,
    /// Replicas of the component to begin with.
    #[arg(long)]
    replicas: Option<u32>,
    /// Replicas that move.
    #[arg(long = "move")]
    moved: Option<u32>,
    /// Run the scenario once, print what came of it, and stop.
    #[arg(long)]
    once: bool,
    /// Only make the folder of a new league, and print where its configurations lie.
    #[arg(long, conflicts_with_all = ["once", "scenario"])]
    prepare: bool,
    /// Folder of the league; it is resumed if there is one. [default: .hanse, with --once a folder that is removed]
    #[arg(long)]
    data: Option<PathBuf>,
    /// REST API port of the first domain of a new league, the others follow; 0 takes any free ones.
    #[arg(long, default_value_t = 8000)]
    api_port: u16,
    /// Who votes when another domain asks to be admitted to a new league.
    #[arg(long, value_enum, default_value_t = Admission::Automatic)]
    admission: Admission,
    /// JSON-RPC endpoint of an Ethereum chain on which a new league puts its contracts, instead of its own ledger. The domains'
    /// accounts must be able to pay for gas there.
    #[arg(long, value_name = "URL")]
    ledger_url: Option<Url>,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

pub fn parse_scenario(text: &str) -> Result<Scenario, String> {
    match text {
        "whole" => Ok(Scenario::Whole),
        "component" => Ok(Scenario::Component),
        "scale" => Ok(Scenario::Scale),
        other => Err(format!("{other:?} is not one of whole, component, scale")),
    }
}

impl UpArguments {
    fn run(&self) -> anyhow::Result<Option<Run>> {
        let Some(scenario) = self.scenario.or(self.once.then_some(Scenario::Whole)) else {
            return Ok(None);
        };
        let (replicas, moved) = match scenario {
            Scenario::Scale => (self.replicas.unwrap_or(3), self.moved.unwrap_or(2)),
            Scenario::Whole | Scenario::Component => {
                let replicas = self.replicas.unwrap_or(1);
                (replicas, self.moved.unwrap_or(replicas))
            }
        };
        if moved == 0 || replicas == 0 || (scenario == Scenario::Scale && moved > replicas) {
            bail!("--replicas {replicas} --move {moved}: at least one has to move, and no more than there are");
        }
        if self.domains < 2 {
            bail!(
                "--domains {}: a service moves between two domains at least",
                self.domains
            );
        }
        Ok(Some(Run {
            scenario,
            replicas,
            moved,
        }))
    }
}

/// Runs the command.
pub async fn run(arguments: UpArguments) -> anyhow::Result<()> {
    let run = arguments.run()?;
    let progress = Progress::new(arguments.output);
    let temporary = tempfile::tempdir().context("there is no folder for temporary files")?;
    let path = match &arguments.data {
        Some(path) => path.clone(),
        None if arguments.once => temporary.path().join("league"),
        None => ".hanse".into(),
    };
    let example = programs::example(|text| progress.say(text)).await?;
    let folder = match Folder::open(&path)? {
        Some(_) if arguments.ledger_url.is_some() => bail!(
            "{} holds a league already, whose ledger does not change; leave --ledger-url out, or choose another --data",
            path.display()
        ),
        Some(folder) => folder,
        None => {
            Folder::create(
                &path,
                &Plan {
                    domains: arguments.domains,
                    first_api_port: (!arguments.once || arguments.data.is_some()).then_some(arguments.api_port),
                    catalogue: &example.catalogue,
                    images: &example.images,
                    admission: arguments.admission,
                    ledger_url: arguments.ledger_url.as_ref(),
                },
            )
            .await?
        }
    };
    if arguments.prepare {
        progress.clear();
        return output::print(arguments.output, &folder.configs, |configs| {
            configs.iter().map(|config| format!("{}\n", config.display())).collect()
        });
    }
    progress.say("starting the domains");
    let mut stop = signal(SignalKind::terminate())?;
    let started = League::start(&folder, |name| progress.say(&format!("{name} is ready")));
    let mut league = tokio::select! {
        league = started => league?,
        _ = tokio::signal::ctrl_c() => bail!("stopped before the domains were ready"),
        _ = stop.recv() => bail!("stopped before the domains were ready"),
    };
    let result = tokio::select! {
        result = with_league(&arguments, run, &mut league, &progress) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = stop.recv() => Ok(()),
    };
    progress.say("stopping");
    league.stop().await;
    progress.clear();
    result
}

async fn with_league(
    arguments: &UpArguments,
    run: Option<Run>,
    league: &mut League,
    progress: &Progress,
) -> anyhow::Result<()> {
    let report = match run {
        Some(run) => {
            let report = scenario::run(league, run, |text| progress.say(text)).await?;
            progress.clear();
            output::print(arguments.output, &report, text)?;
            let failures = report.failures(run.replicas, run.moved);
            if !failures.is_empty() && arguments.once {
                bail!("the scenario did not hold:\n  {}", failures.join("\n  "));
            }
            Some(report)
        }
        None => None,
    };
    if arguments.once {
        return Ok(());
    }
    progress.clear();
    if report.is_none() {
        let domains = report::domains(league).await?;
        output::print(arguments.output, &domains, |domains| domain_table(domains))?;
    }
    eprintln!(
        "\n{} domains are up after {:.1} s. Ctrl-C stops them; the next `hanse up` resumes them.",
        league.domains.len(),
        league.ready_after.as_secs_f64()
    );
    Err(league.first_to_stop().await)
}

fn domain_table(domains: &[report::DomainReport]) -> String {
    let mut rows = vec![["DOMAIN", "API", "HEIGHT", "KUBECONFIG"].map(str::to_owned).to_vec()];
    rows.extend(domains.iter().map(|domain| {
        vec![
            domain.name.clone(),
            format!("{}docs", domain.api),
            domain.ledger_height.to_string(),
            domain.kubeconfig.clone(),
        ]
    }));
    output::table(&rows)
}

/// The report for people.
fn text(report: &Report) -> String {
    let agreement = &report.agreement;
    let mut rows = vec![["STEP", "AT (ms)"].map(str::to_owned).to_vec()];
    rows.extend(
        agreement
            .steps
            .iter()
            .map(|step| vec![step.step.name().to_owned(), step.at_ms.to_string()]),
    );
    let service = &report.service;
    let endpoint: Vec<String> = service
        .endpoint
        .iter()
        .map(|(name, host)| format!("{name} at {host}"))
        .collect();
    format!(
        "{}\n{} moved from {} to {} ({}): {}\n\n{}\nledger overhead {} ms · frames through {}: {} → {} · lost {} · longest gap {} ms · replicas {} here, {} there",
        domain_table(&report.domains),
        "object-detection",
        agreement.consumer,
        agreement.provider,
        agreement.scenario,
        endpoint.join(", "),
        output::table(&rows),
        report.ledger.overhead_ms,
        agreement.provider,
        service.frames_before,
        service.frames_after,
        service.frames_lost,
        service.longest_gap_ms,
        report.replicas.consumer,
        report.replicas.provider,
    )
}

/// A line that tells what is being done, on a terminal only.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(format: Format) -> Self {
        if !output::interactive(format) {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub fn say(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }

    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
