//! What a domain gives to another, with development clusters and real swarms.
#![allow(clippy::unwrap_used)]
#![allow(missing_docs)] // a test program has no users of its items
#![allow(dead_code)] // of the bed, which is that of the other tests too

#[path = "../discovery/bed.rs"]
mod bed;
mod hostile;
mod life;
mod partners;
mod restart;
mod secrecy;
mod use_of;

use hanse_discovery::OwnIdentity;
use hanse_discovery::credentials::Policy;
use hanse_discovery::model::{KUBECONFIG_SECRET, Peer};
use hanse_swarm::SwarmKey;
use hanse_swarm::model::SwarmAddress;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use tokio::sync::watch;

use bed::{Domain, Wish};

/// Namespace of the Identities that the configuration makes.
const NAMESPACE: &str = "default";

fn wish(key: &SwarmKey, bootstrap: &[SwarmAddress]) -> Wish {
    Wish {
        default: Some((key.clone(), bootstrap.to_vec())),
        identity: Some(OwnIdentity {
            description: "tested".into(),
            url: "https://192.0.2.7".into(),
            categories: vec!["computing".into()],
        }),
        ..Wish::default()
    }
}

fn with_policy(wish: Wish, policy: Policy) -> (Wish, watch::Sender<Policy>) {
    policy.check().unwrap();
    let (sender, receiver) = watch::channel(policy);
    let wish = Wish {
        credentials: Some(receiver),
        ..wish
    };
    (wish, sender)
}

/// The name of a domain's Peer object at others.
fn peer_name(domain: &Domain) -> String {
    domain.default.as_ref().unwrap().name().to_string().to_lowercase()
}

/// The kubeconfig that `giver` gave to `taker`, taken out as the original's README does.
async fn kubeconfig(taker: &Domain, giver: &str) -> Option<String> {
    let peer = taker.api::<Peer>(NAMESPACE).get_opt(giver).await.unwrap()?;
    let secret = peer.annotations().get(KUBECONFIG_SECRET)?.clone();
    let secret = taker.api::<Secret>(NAMESPACE).get_opt(&secret).await.unwrap()?;
    let config = secret.data?.remove("config")?;
    Some(String::from_utf8(config.0).unwrap())
}

async fn given(taker: &Domain, giver: &Domain) -> String {
    let name = peer_name(giver);
    taker
        .until("there is a kubeconfig", async || kubeconfig(taker, &name).await)
        .await
}

fn token(kubeconfig: &str) -> String {
    let read: serde_json::Value = serde_saphyr::from_str(kubeconfig).unwrap();
    read["users"][0]["user"]["token"].as_str().unwrap().to_owned()
}

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

/// What the API server says to a list of pods: their names, or the code of the refusal.
async fn pods(kubeconfig: &str) -> Result<Vec<String>, u16> {
    let api: Api<Pod> = Api::default_namespaced(client(kubeconfig).await);
    match api.list(&ListParams::default()).await {
        Ok(pods) => Ok(pods.items.iter().map(ResourceExt::name_any).collect()),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(error) => panic!("{error}"),
    }
}

/// The words of the refusal of listing secrets.
async fn secrets_refused(kubeconfig: &str) -> String {
    let api: Api<Secret> = Api::default_namespaced(client(kubeconfig).await);
    match api.list(&ListParams::default()).await.unwrap_err() {
        kube::Error::Api(status) => {
            assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
            status.message.clone()
        }
        error => panic!("{error}"),
    }
}

/// A pod that nothing runs.
async fn make_pod(domain: &Domain, name: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "none"}], "nodeSelector": {"none": "such"}},
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let api = domain.api::<Pod>(NAMESPACE);
    // The service account that pods need is made by a controller.
    domain
        .until("a pod can be made", async || {
            api.create(&PostParams::default(), &pod).await.ok()
        })
        .await;
}

/// The Identity that the configuration made.
async fn identity_name(domain: &Domain) -> String {
    let api = domain.api::<hanse_discovery::model::Identity>(NAMESPACE);
    let find = async || {
        let found = api.list(&ListParams::default()).await.unwrap();
        found.items.first().map(ResourceExt::name_any)
    };
    domain.until("there is an Identity", find).await
}
