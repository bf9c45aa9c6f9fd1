//! A development cluster on its own: the Kubernetes API, and pods as processes of this machine.
//!
//! `hanse-devcluster FOLDER [--images DIRECTORY] [--network 127.30] [--listen 127.0.0.1:0]` writes
//! `FOLDER/kubeconfig`, prints its path, and runs until Ctrl-C or SIGTERM. An image `…/NAME:TAG` stands for the executable
//! NAME in DIRECTORY. Pods, load balancers and cluster IPs have the addresses NETWORK.0.0/20, NETWORK.16.0/20 and
//! NETWORK.32.0/20.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use hanse_devcluster::{DevCluster, DevClusterConfig, Images, SUPERVISE, supervise_main};

const USAGE: &str = "usage: hanse-devcluster FOLDER [--images DIRECTORY] [--network 127.30] [--listen 127.0.0.1:0]";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_some_and(|first| first == SUPERVISE) {
        return supervise_main(args.skip(1));
    }
    let result = configuration(args.map(|arg| arg.to_string_lossy().into_owned())).and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("hanse-devcluster: {message}");
            ExitCode::FAILURE
        }
    }
}

fn configuration(mut args: impl Iterator<Item = String>) -> Result<DevClusterConfig, String> {
    let folder = args.next().filter(|first| !first.starts_with('-')).ok_or(USAGE)?;
    let mut config = DevClusterConfig::new(folder);
    while let Some(option) = args.next() {
        let value = args.next().ok_or_else(|| format!("{option} needs a value; {USAGE}"))?;
        match option.as_str() {
            "--images" => {
                config.images = Images {
                    dir: Some(PathBuf::from(value)),
                    ..Images::default()
                }
            }
            "--listen" => config.listen = value.parse().map_err(|error| format!("--listen {value}: {error}"))?,
            "--network" => {
                let range = |third: u8| {
                    let text = format!("{value}.{third}.0/20");
                    text.parse().map_err(|error| format!("--network {value}: {error}"))
                };
                (config.pod_range, config.load_balancer_range, config.service_range) =
                    (range(0)?, range(16)?, range(32)?);
            }
            _ => return Err(format!("unknown option {option}; {USAGE}")),
        }
    }
    Ok(config)
}

fn run(config: DevClusterConfig) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let kubeconfig = config.data_dir.join("kubeconfig");
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|error| error.to_string())?;
        let cluster = DevCluster::start(config).await.map_err(|error| error.to_string())?;
        cluster
            .write_kubeconfig(&kubeconfig)
            .map_err(|error| error.to_string())?;
        let mut out = std::io::stdout();
        // Nobody may be reading; the cluster runs all the same.
        let _ = writeln!(out, "KUBECONFIG={}", kubeconfig.display()).and_then(|()| out.flush());
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        cluster.shutdown().await;
        Ok(())
    })
}
