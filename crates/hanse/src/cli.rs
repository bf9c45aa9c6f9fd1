//! The command line.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use hanse_orchestrator::api::{AgreementPage, HealthPage, MemberPage, ServicePage};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::client::Client;
use crate::config::Layers;
use crate::evidence::EvidencePage;
use crate::output::{self, Format};
use crate::{agent, bench, check, consortium, keys, ledger, swarm, up};

#[derive(Parser)]
#[command(
    name = "hanse",
    version,
    about = "Federates services between Kubernetes clusters of different owners",
    after_help = "Example: hanse up --scenario component --once"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a league of domains on this machine, and move the example service in it.
    #[command(after_help = "Example: hanse up --domains 4 --scenario scale --replicas 6 --move 4 --once -o json")]
    Up(up::UpArguments),
    /// Run the agent of one domain.
    #[command(after_help = "Example: hanse agent --config hanse.yaml --set api.listen=127.0.0.1:9000")]
    Agent {
        #[command(flatten)]
        config: ConfigArguments,
        /// Stop when standard input ends.
        #[arg(long, hide = true)]
        with_parent: bool,
    },
    /// Show how an agent and its agreements are.
    #[command(after_help = "Example: hanse status --api http://127.0.0.1:8000")]
    Status(ApiArguments),
    /// Deploy, list, federate and delete services.
    #[command(
        subcommand,
        after_help = "Example: hanse services federate object-detection --scenario component --category edge"
    )]
    Services(Services),
    /// Set up a new domain that finds the consortium in a swarm, or has an invite of a member; have it admitted, and run its agent.
    #[command(
        after_help = "Examples:\n  hanse join --swarm-key swarm.key --bootstrap /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW… --name fifth\n  \
                      hanse join 'http://127.0.0.1:8000/#5be1….a0c3…' --name fifth --local"
    )]
    Join(Box<consortium::JoinArguments>),
    /// See who is in the consortium; let domains come and go.
    #[command(subcommand)]
    Consortium(consortium::ConsortiumCommand),
    /// Make a swarm's key; see who is in the swarm, and what they offer.
    #[command(subcommand)]
    Swarm(swarm::SwarmCommand),
    /// Make and look at a domain's keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Look at an agent's configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check that an agent could start with this configuration, and say how to mend what is wrong.
    #[command(after_help = "Example: hanse check --config hanse.yaml")]
    Check {
        #[command(flatten)]
        config: ConfigArguments,
        /// Form of the answer.
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    /// Operate the ledger.
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// Measure.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Print a completion script for a shell.
    #[command(after_help = "Example: hanse completions bash > /etc/bash_completion.d/hanse")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// Configuration file.
    #[arg(long, env = "HANSE_CONFIG", default_value = "hanse.yaml")]
    config: PathBuf,
    /// Set one value, as PATH=VALUE; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
}

impl ConfigArguments {
    pub fn load(&self) -> anyhow::Result<Layers> {
        Layers::load(&self.config, std::env::vars(), &self.set)
    }
}

#[derive(Debug, Args)]
pub struct ApiArguments {
    /// Address of the agent's REST API.
    #[arg(long, env = "HANSE_API", default_value = "http://127.0.0.1:8000")]
    api: String,
    /// File that holds the API's token.
    #[arg(long, env = "HANSE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

impl ApiArguments {
    pub fn client(&self) -> anyhow::Result<Client> {
        let token = self.token_file.as_ref().map(std::fs::read_to_string).transpose()?;
        Client::new(&self.api, token.map(|token| token.trim().to_owned()))
    }
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print every value and where it comes from.
    #[command(after_help = "Example: HANSE__API__LISTEN=127.0.0.1:9000 hanse config show")]
    Show {
        #[command(flatten)]
        config: ConfigArguments,
        /// Form of the answer.
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
}

#[derive(Subcommand)]
enum Services {
    /// List the services of a domain.
    List(ApiArguments),
    /// Deploy a service of the agent's catalogue.
    Deploy {
        /// Name in the catalogue.
        name: String,
        /// Replicas of its component.
        #[arg(long)]
        replicas: Option<u32>,
        #[command(flatten)]
        api: ApiArguments,
    },
    /// Have a service, or a part of it, run by another domain.
    Federate {
        /// Name of the service.
        name: String,
        /// Which part: whole, component or scale.
        #[arg(long, value_parser = up::parse_scenario)]
        scenario: hanse_orchestrator::model::Scenario,
        /// Replicas that the provider shall run.
        #[arg(long)]
        replicas: Option<u32>,
        /// A category that the provider has to offer in the swarm; may be repeated, then it has to offer all of them.
        #[arg(long)]
        category: Vec<String>,
        /// A domain that may provide, by name or ledger account; may be repeated. Any member when absent.
        #[arg(long, value_name = "DOMAIN")]
        provider: Vec<String>,
        /// Announce also if nobody who qualifies is there now, and take who comes until the bid deadline.
        #[arg(long)]
        wait_for_provider: bool,
        #[command(flatten)]
        api: ApiArguments,
    },
    /// List agreements.
    Agreements(ApiArguments),
    /// End a confirmed agreement; the service comes back.
    Return {
        /// Id of the agreement.
        id: String,
        #[command(flatten)]
        api: ApiArguments,
    },
    /// Delete a service.
    Delete {
        /// Name of the service.
        name: String,
        #[command(flatten)]
        api: ApiArguments,
    },
}

/// Parses the command line, runs the command, and reports a failure in one place.
pub fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if arguments
        .get(1)
        .is_some_and(|argument| argument == hanse_devcluster::SUPERVISE)
    {
        return hanse_devcluster::supervise_main(arguments.into_iter().skip(2));
    }
    let cli = Cli::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: another cryptography provider was installed before the program began");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the asynchronous runtime did not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What libraries say of peers that come and go is not of interest; `HANSE_LOG` shows it.
const AGENT_LOG: &str = "info,libp2p=off,yamux=off,arc_malachitebft=off,arc_malachitebft_network=off,alloy_pubsub=off,alloy_transport_ws=off";

fn log(default: &str) {
    let filter = EnvFilter::try_from_env("HANSE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(arguments) => {
            log("warn");
            up::run(arguments).await
        }
        Command::Agent { config, with_parent } => {
            log(AGENT_LOG);
            agent::run(config.load()?.config, with_parent).await
        }
        Command::Status(api) => status(&api).await,
        Command::Services(command) => services(command).await,
        Command::Join(arguments) => {
            log(AGENT_LOG);
            consortium::join(*arguments).await
        }
        Command::Consortium(command) => consortium::run(command).await,
        Command::Swarm(command) => swarm::run(command).await,
        Command::Keys(command) => keys::run(command),
        Command::Config(ConfigCommand::Show { config, output }) => show_config(&config, output),
        Command::Check { config, output } => check::run(&config, output).await,
        Command::Ledger(command) => ledger::run(command).await,
        Command::Bench(command) => {
            // Nodes that a bench stops end their connections, which is as it should be.
            log("warn,alloy_pubsub=off,alloy_transport_ws=off");
            bench::run(command).await
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hanse", &mut script);
            output::write(&String::from_utf8_lossy(&script))
        }
    }
}

fn show_config(arguments: &ConfigArguments, output: Format) -> anyhow::Result<()> {
    let layers = arguments.load()?;
    let document: serde_json::Map<String, serde_json::Value> = layers
        .sources
        .iter()
        .map(|(path, (value, source))| (path.clone(), json!({ "value": value, "source": source })))
        .collect();
    output::print(output, &document, |_| {
        let mut rows = vec![["VALUE", "", "FROM"].map(str::to_owned).to_vec()];
        rows.extend(
            layers
                .sources
                .iter()
                .map(|(path, (value, source))| vec![path.clone(), value.to_string(), source.clone()]),
        );
        output::table(&rows)
    })
}

async fn status(arguments: &ApiArguments) -> anyhow::Result<()> {
    let client = arguments.client()?;
    let health: HealthPage = client.get("api/v1/health").await?;
    let members: Vec<MemberPage> = client.get("api/v1/members").await.unwrap_or_default();
    let agreements: Vec<AgreementPage> = client.get("api/v1/agreements?live=true").await.unwrap_or_default();
    let evidence: EvidencePage = client.get("api/v1/ledger/evidence").await.unwrap_or_default();
    let document = json!({ "health": health, "members": members, "agreements": agreements, "evidence": evidence });
    output::print(arguments.output, &document, |_| {
        let height = health
            .ledger_height
            .map_or("unknown".into(), |height| height.to_string());
        let mut text = format!(
            "{} ({})\nledger height {height}, {} members",
            health.domain,
            health.account,
            members.len()
        );
        text.push_str(match members.len() {
            0..=3 => ": fewer than 4 members tolerate no faulty one\n",
            _ => "\n",
        });
        for trouble in &health.troubles {
            text.push_str(&format!("trouble: {trouble}\n"));
        }
        for case in &evidence.counts {
            let name = members.iter().find(|member| member.account == case.validator);
            let name = name.map_or(case.validator.as_str(), |member| member.name.as_str());
            text.push_str(&format!(
                "evidence: {name} {} ({} times; GET /api/v1/ledger/evidence has the proof)\n",
                case.what(),
                case.count
            ));
        }
        let mut rows = vec![["MEMBER", "ACCOUNT", "API"].map(str::to_owned).to_vec()];
        rows.extend(
            members
                .iter()
                .map(|member| vec![member.name.clone(), member.account.clone(), member.url.clone()]),
        );
        text.push_str(&format!("\n{}\n{}", output::table(&rows), agreement_table(&agreements)));
        text
    })
}

fn agreement_table(agreements: &[AgreementPage]) -> String {
    let mut rows = vec![
        ["AGREEMENT", "ROLE", "STATE", "SERVICE", "TROUBLE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(agreements.iter().map(|page| {
        let trouble = page.trouble.clone().unwrap_or_default();
        vec![
            page.id.clone(),
            page.role.clone(),
            page.state.clone(),
            page.description.clone(),
            trouble,
        ]
    }));
    output::table(&rows)
}

async fn services(command: Services) -> anyhow::Result<()> {
    match command {
        Services::List(api) => {
            let services: Vec<ServicePage> = api.client()?.get("api/v1/services").await?;
            output::print(api.output, &services, |services| service_table(services))
        }
        Services::Deploy { name, replicas, api } => {
            let body = json!({ "catalogue": name, "replicas": replicas });
            let service: ServicePage = api.client()?.post("api/v1/services", &body).await?;
            output::print(api.output, &service, |service| {
                service_table(std::slice::from_ref(service))
            })
        }
        Services::Federate {
            name,
            scenario,
            replicas,
            category,
            provider,
            wait_for_provider,
            api,
        } => {
            let mut body = json!({ "service": name, "scenario": scenario, "replicas": replicas });
            if wait_for_provider || !category.is_empty() || !provider.is_empty() {
                body["providers"] = json!({ "categories": category, "domains": provider, "wait": wait_for_provider });
            }
            let page: AgreementPage = api.client()?.post("api/v1/agreements", &body).await?;
            output::print(api.output, &page, |page| agreement_table(std::slice::from_ref(page)))
        }
        Services::Agreements(api) => {
            let pages: Vec<AgreementPage> = api.client()?.get("api/v1/agreements").await?;
            output::print(api.output, &pages, |pages| agreement_table(pages))
        }
        Services::Return { id, api } => {
            let path = format!("api/v1/agreements/{id}/terminate");
            let page: AgreementPage = api.client()?.post(&path, &json!({})).await?;
            output::print(api.output, &page, |page| agreement_table(std::slice::from_ref(page)))
        }
        Services::Delete { name, api } => {
            api.client()?.delete(&format!("api/v1/services/{name}")).await?;
            output::print(api.output, &json!({ "deleting": name }), |_| {
                format!("{name} is being deleted")
            })
        }
    }
}

fn service_table(services: &[ServicePage]) -> String {
    let mut rows = vec![
        [
            "SERVICE",
            "READY",
            "REPLICAS",
            "HERE",
            "AGREEMENTS",
            "MANIFEST",
            "TROUBLE",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(services.iter().map(|service| {
        vec![
            service.name.clone(),
            if service.ready { "yes" } else { "no" }.to_owned(),
            service.replicas.to_string(),
            service.running_replicas.to_string(),
            service.agreements.len().to_string(),
            service.manifest.clone(),
            service.trouble.clone().unwrap_or_default(),
        ]
    }));
    output::table(&rows)
}
