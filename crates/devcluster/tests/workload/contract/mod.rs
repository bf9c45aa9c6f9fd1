//! The contract suite: what Hanse expects of a Kubernetes cluster, as functions of a `kube::Client`.
//!
//! `suite.rs` runs it on the development cluster, and with `KUBECONFIG` and
//! `REQUIRE_CLUSTER=1` on a real one (which must be able to pull [`IMAGE`] and to give load-balancer
//! addresses that the machine running the suite can reach). Each function makes a namespace of its own.

pub mod access;
pub mod custom;
pub mod deployments;
pub mod failures;
pub mod jobs;
pub mod pods;

use std::{fmt::Debug, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Event, Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// The image of every container of the suite; the development cluster maps it to the local Python.
pub const IMAGE: &str = "python:3.13-alpine";

/// Longest wait for anything: generous, because images may be pulled and machines loaded.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A server as well-behaved programs are: it answers with its pod's name and `$VERSION`, and after SIGTERM it
/// serves for a moment longer and finishes what it began. `/exit/N` ends it at once.
pub const SERVER: &str = r#"
import http.server, os, signal, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith('/exit/'):
            os._exit(int(self.path[6:]))
        body = (os.environ['POD_NAME'] + ' ' + os.environ.get('VERSION', '')).encode()
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer((os.environ['POD_IP'], 8080), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(0.5, server.shutdown).start())
print('serving', flush=True)
server.serve_forever()
"#;

/// A namespace for one test.
pub struct Space {
    pub client: Client,
    pub name: String,
}

impl Space {
    pub async fn new(client: Client, what: &str) -> Self {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"generateName": format!("contract-{what}-")}})).unwrap();
        let name = namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap()
            .name_any();
        println!("namespace {name}");
        let space = Self { client, name };
        // Pods are refused before the namespace has it.
        space
            .wait::<ServiceAccount>("default", "the service account of the namespace", |_| true)
            .await;
        space
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Waits until the object of that name satisfies `condition`.
    pub async fn wait<K>(&self, name: &str, what: &str, condition: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let holds = |object: Option<&K>| object.is_some_and(&condition);
        match timeout(DEADLINE, await_condition(self.api::<K>(), name, holds)).await {
            Ok(result) => result.unwrap().unwrap(),
            Err(_) => panic!(
                "{name} not in time: {what}; it is {:#?}",
                self.api::<K>().get_opt(name).await
            ),
        }
    }

    /// Waits until the pods with the label `app=NAME` satisfy `condition`.
    pub async fn wait_pods(&self, app: &str, what: &str, condition: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let pods = self.pods(app).await;
            if condition(&pods) {
                return pods;
            }
            assert!(Instant::now() < deadline, "not in time: {what}; pods are {pods:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn pods(&self, app: &str) -> Vec<Pod> {
        self.api::<Pod>()
            .list(&ListParams::default().labels(&format!("app={app}")))
            .await
            .unwrap()
            .items
    }

    /// Waits for an event of that reason whose message contains `text`.
    pub async fn wait_event(&self, reason: &str, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let events = self.api::<Event>().list(&ListParams::default()).await.unwrap().items;
            let message = |event: &Event| event.message.clone().unwrap_or_default();
            if events
                .iter()
                .any(|event| event.reason.as_deref() == Some(reason) && message(event).contains(text))
            {
                return;
            }
            let seen: Vec<_> = events
                .iter()
                .map(|event| (event.reason.clone(), message(event)))
                .collect();
            assert!(
                Instant::now() < deadline,
                "no event {reason} with \"{text}\"; there are {seen:#?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deletes the namespace with everything in it and waits until it is gone.
    pub async fn delete(self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let uid = namespaces.get(&self.name).await.unwrap().uid().unwrap();
        namespaces.delete(&self.name, &DeleteParams::default()).await.unwrap();
        gone(namespaces, &self.name, uid).await;
    }
}

/// Environment with which [`SERVER`] runs.
pub fn environment(version: &str) -> Value {
    json!([
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "VERSION", "value": version},
    ])
}

/// A Deployment of [`SERVER`] with the label `app=NAME`.
pub fn server(name: &str, replicas: i32, version: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "main",
                        "image": IMAGE,
                        "command": ["python3", "-u", "-c", SERVER],
                        "env": environment(version),
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}

/// A Service of type LoadBalancer for [`server`].
pub fn load_balancer(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "selector": {"app": name},
        "ports": [{"port": 80, "targetPort": "http"}]}})
}

/// A pod with one container that runs a shell script.
pub fn script(name: &str, restart_policy: &str, script: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}],
    }})
}

/// Whether the pod is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// `REASON: MESSAGE` of the first container's waiting state.
pub fn waiting(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some(format!(
        "{}: {}",
        waiting.reason.as_deref()?,
        waiting.message.as_deref().unwrap_or_default()
    ))
}

/// Waits until the object of that name and uid is gone.
pub async fn gone<K>(api: Api<K>, name: &str, uid: String)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let gone = await_condition(api.clone(), name, conditions::is_deleted(&uid));
    match timeout(DEADLINE, gone).await {
        Ok(result) => drop(result.unwrap()),
        Err(_) => panic!("{name} not gone in time: {:#?}", api.get_opt(name).await),
    }
}
