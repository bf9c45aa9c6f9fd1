//! From a container's specification to a running process, and to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Container, Pod, Secret, Service},
};
use kube::{Api, Client, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::{
    environment::{self, References},
    expand::expand,
    logs,
    messages::{Input, Refusal},
    node::Node,
    probe::Target,
    process::{self, Launch, Orders},
    volumes,
};

/// What the tasks of a pod tell its actor.
#[derive(Debug)]
pub(super) enum Report {
    /// Goes straight to the machine.
    Input(Input),
    /// A container runs: how to stop and to probe it.
    Running {
        container: usize,
        attempt: u32,
        orders: Orders,
        target: Box<Target>,
    },
}

/// One start of one container.
pub(super) struct Start {
    pub(super) node: Arc<Node>,
    pub(super) pod: Arc<Pod>,
    pub(super) pod_ip: String,
    pub(super) pod_dir: PathBuf,
    pub(super) container: usize,
    pub(super) spec: Container,
    pub(super) attempt: u32,
    pub(super) written: watch::Sender<u64>,
}

impl Start {
    /// Starts the container, reports, and follows it to its end.
    pub(super) async fn run(self, reports: mpsc::Sender<Report>) {
        let (container, attempt) = (self.container, self.attempt);
        let (launch, target) = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let _ = reports
                    .send(Report::Input(Input::Refused {
                        container,
                        attempt,
                        refusal,
                    }))
                    .await;
                return;
            }
        };
        let root = launch_root(&self.pod_dir, &self.spec.name);
        let (mut process, orders) = match process::start(launch).await {
            Ok(started) => started,
            Err(message) => {
                let refusal = Refusal::Start(message);
                let _ = reports
                    .send(Report::Input(Input::Refused {
                        container,
                        attempt,
                        refusal,
                    }))
                    .await;
                return;
            }
        };
        // The actor is gone if nobody listens; dropping the process then kills it.
        if reports
            .send(Report::Running {
                container,
                attempt,
                orders,
                target: Box::new(target),
            })
            .await
            .is_err()
        {
            return;
        }
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        let recording = async {
            let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
                return;
            };
            let name = &self.spec.name;
            if let Err(error) = logs::record(&self.pod_dir, name, attempt, stdout, stderr, &self.written).await {
                tracing::warn!(%error, container = name, "log not written");
            }
        };
        let mut recording = std::pin::pin!(recording);
        let mut end = std::pin::pin!(process.end());
        let code = tokio::select! {
            code = &mut end => {
                // Everything is dead: what is left in the pipes is read in no time.
                let _ = tokio::time::timeout(Duration::from_secs(5), &mut recording).await;
                code
            }
            () = &mut recording => end.await,
        };
        self.written.send_modify(|count| *count += 1);
        let message = termination_message(&root, &self.spec).await;
        let _ = reports
            .send(Report::Input(Input::Exited {
                container,
                attempt,
                code,
                message,
            }))
            .await;
    }

    async fn prepare(&self) -> Result<(Launch, Target), Refusal> {
        supported(&self.spec).map_err(Refusal::Config)?;
        let image_name = self.spec.image.as_deref().unwrap_or_default();
        let images = &self.node.config.images;
        let image = images
            .resolve(image_name)
            .map_err(|error| Refusal::Image(error.to_string()))?;
        let references = self
            .references()
            .await
            .map_err(|error| Refusal::Config(error.to_string()))?;

        let host_ip = &self.node.host_ip;
        let root = launch_root(&self.pod_dir, &self.spec.name);
        let contents = volumes::contents(&self.pod, &self.pod_ip, host_ip, &references).map_err(Refusal::Volume)?;
        let mounts = self.spec.volume_mounts.as_deref().unwrap_or_default();
        volumes::materialize(&self.pod_dir, &root, &contents, mounts).map_err(Refusal::Volume)?;

        let variables = environment::environment(&self.pod, &self.spec, &self.pod_ip, host_ip, &references)
            .map_err(Refusal::Config)?;
        let expanded = |list: &Option<Vec<String>>| {
            let list = list.as_deref().unwrap_or_default();
            list.iter().map(|text| expand(text, &variables)).collect::<Vec<_>>()
        };
        let (mut command, args) = (expanded(&self.spec.command), expanded(&self.spec.args));
        let (program, args) = if command.is_empty() {
            (
                image.program.clone().into_os_string(),
                if args.is_empty() { image.args.clone() } else { args },
            )
        } else {
            let program = OsString::from(command.remove(0));
            command.extend(args);
            (program, command)
        };
        let folders = [image.program.parent(), images.dir.as_deref()].into_iter().flatten();
        let environment = self.base_environment(&root, folders, variables);
        let directory = working_directory(&root, self.spec.working_dir.as_deref()).map_err(Refusal::Config)?;
        let made = self.make_folders(&[
            &directory,
            &root.join("tmp"),
            &root.join("dev"),
            &self.pod_dir.join("locks"),
        ]);
        made.map_err(Refusal::Config)?;
        let lock = self.pod_dir.join("locks").join(&self.spec.name);
        let supervisor = self.node.config.supervisor.clone();
        let target = Target {
            pod_ip: self.pod_ip.clone(),
            environment: environment.clone(),
            directory: directory.clone(),
            supervisor: supervisor.clone(),
            probe_lock: self.pod_dir.join("locks").join(format!("{}.probe", self.spec.name)),
        };
        Ok((
            Launch {
                supervisor,
                lock,
                program,
                args,
                environment,
                directory,
            },
            target,
        ))
    }

    fn make_folders(&self, folders: &[&Path]) -> Result<(), String> {
        folders.iter().try_for_each(|path| {
            std::fs::create_dir_all(path).map_err(|error| format!("cannot create {}: {error}", path.display()))
        })
    }

    /// What every container finds in its environment, under the variables of its own.
    fn base_environment<'a>(
        &self,
        root: &Path,
        program_folders: impl Iterator<Item = &'a Path>,
        variables: BTreeMap<String, String>,
    ) -> BTreeMap<String, OsString> {
        let inherited = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let folders = program_folders
            .map(Path::to_owned)
            .chain(std::env::split_paths(&inherited));
        let path = std::env::join_paths(folders).unwrap_or(inherited);
        let hostname = self.pod.metadata.name.clone().unwrap_or_default();
        let mut environment: BTreeMap<String, OsString> = [
            ("PATH", path),
            ("HOME", root.into()),
            ("TMPDIR", root.join("tmp").into()),
            ("HOSTNAME", hostname.into()),
            ("HANSE_POD_ROOT", root.into()),
            ("HANSE_POD_IP", self.pod_ip.clone().into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        environment.extend(variables.into_iter().map(|(name, value)| (name, value.into())));
        environment
    }

    async fn references(&self) -> Result<References, kube::Error> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        let client = &self.node.client;
        let (mut config_maps, mut secrets) = environment::referred(&self.spec);
        let (more_config_maps, more_secrets) = volumes::referred(&self.pod);
        config_maps.extend(more_config_maps);
        secrets.extend(more_secrets);
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        Ok(References {
            config_maps: read::<ConfigMap>(client, namespace, config_maps).await?,
            secrets: read::<Secret>(client, namespace, secrets).await?,
            services: services.list(&ListParams::default()).await?.items,
        })
    }
}

async fn read<K>(client: &Client, namespace: &str, names: Vec<String>) -> Result<BTreeMap<String, K>, kube::Error>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in names.into_iter().collect::<BTreeSet<_>>() {
        if let Some(object) = api.get_opt(&name).await? {
            found.insert(name, object);
        }
    }
    Ok(found)
}

/// Refuses what would otherwise wait for ever, or write outside of the pod's folder.
fn supported(container: &Container) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if container.name.is_empty() || !container.name.chars().all(plain) {
        return Err(format!("the container name \"{}\" is not a DNS label", container.name));
    }
    if container.restart_policy.is_some() {
        return Err("a container's own restartPolicy (sidecar) is not supported by the development cluster".to_owned());
    }
    Ok(())
}

fn launch_root(pod_dir: &Path, container: &str) -> PathBuf {
    pod_dir.join("root").join(container)
}

fn working_directory(root: &Path, configured: Option<&str>) -> Result<PathBuf, String> {
    let relative = Path::new(configured.unwrap_or_default().trim_start_matches('/'));
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(format!("workingDir \"{}\" leaves the pod's folder", relative.display()));
    }
    Ok(root.join(relative))
}

/// The first 4096 bytes of the file at `terminationMessagePath`.
async fn termination_message(root: &Path, container: &Container) -> Option<String> {
    use tokio::io::AsyncReadExt as _;
    let path = container
        .termination_message_path
        .as_deref()
        .unwrap_or("/dev/termination-log");
    let path = working_directory(root, Some(path)).ok()?;
    let mut text = Vec::new();
    tokio::fs::File::open(&path)
        .await
        .ok()?
        .take(4096)
        .read_to_end(&mut text)
        .await
        .ok()?;
    let _ = tokio::fs::remove_file(&path).await;
    (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
}
