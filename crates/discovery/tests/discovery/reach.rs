//! How others reach a domain.

use hanse_discovery::model::SwarmPool;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::Value;

use crate::bed::{Domain, reason};
use crate::conditions::pool;

fn network(exposed: bool) -> String {
    format!(
        "    swarmDefinition:\n      swarmKeySecretRef: key\n    network:\n      loadBalancer:\n        exposedAPI: {exposed}\n      swarmPort: 4001\n      apiPort: 5001\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_api_is_reached_through_the_load_balancer_only_when_asked_for() {
    let domain = Domain::start().await;
    domain.apply(&pool("own", "a", &network(false))).await;
    let exposed = |pool: &SwarmPool| reason(pool, "Exposed") == "Exposed";
    let found = domain.pool("default", "own", "it is exposed", exposed).await;
    let services = domain.api::<Service>("default");
    let balancer = services.get("own-a-lb").await.unwrap();
    let ports = |service: &Service| service.spec.as_ref().unwrap().ports.as_ref().unwrap().len();
    assert_eq!(ports(&balancer), 1);
    let inside = services.get("own-a").await.unwrap();
    assert_eq!(inside.spec.as_ref().unwrap().cluster_ip.as_deref(), Some("None"));
    assert_eq!(ports(&inside), 2);

    domain.apply(&pool("own", "a", &network(true))).await;
    domain
        .until("the API has a port", async || {
            (ports(&services.get("own-a-lb").await.unwrap()) == 2).then_some(())
        })
        .await;
    let swarm = found.status.unwrap().status["a"].clone();
    let host = swarm.addresses[0].split('/').nth(2).unwrap().to_owned();
    let http = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(5))
        .build()
        .unwrap();
    let ask = async |path: &str| -> Option<Value> {
        let answer = http
            .post(format!("http://{host}:5001/api/v0/{path}"))
            .send()
            .await
            .ok()?;
        answer.json().await.ok()
    };
    let id = domain.until("the API answers", async || ask("id").await).await;
    assert_eq!(id["ID"], swarm.peer_id);
    // Where the load balancer is goes into the domain's record.
    domain
        .until("the swarm says where it is called", async || {
            let id = ask("id").await?;
            let said = id["Addresses"]
                .as_array()?
                .iter()
                .any(|said| *said == swarm.addresses[0]);
            said.then_some(())
        })
        .await;
    assert_eq!(ask("swarm/peers").await.unwrap()["Peers"], serde_json::json!([]));
    assert!(
        ask("config/show").await.unwrap()["Message"]
            .as_str()
            .unwrap()
            .contains("read-only")
    );
    let get = http
        .get(format!("http://{host}:5001/api/v0/version"))
        .send()
        .await
        .unwrap();
    assert_eq!(get.status(), 200);
    let page = http
        .post(format!("http://{host}:5001/api/v0/id"))
        .header("origin", "http://evil.example");
    assert_eq!(page.send().await.unwrap().status(), 403);

    // A Service that somebody deletes is made again; those of a pool that is deleted go with it.
    services.delete("own-a-lb", &Default::default()).await.unwrap();
    domain
        .until("it is back", async || services.get_opt("own-a-lb").await.unwrap())
        .await;
    domain.delete::<SwarmPool>("default", "own").await;
    domain
        .until("everything has gone", async || {
            let of_pool = ListParams::default().labels("peerdiscovery.irt-saintexupery.com/swarmpool=own");
            let services = services.list(&of_pool).await.unwrap().items.len();
            let slices = domain
                .api::<EndpointSlice>("default")
                .list(&of_pool)
                .await
                .unwrap()
                .items
                .len();
            (services + slices == 0).then_some(())
        })
        .await;
    domain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_changed_pool_no_longer_needs_is_deleted() {
    let domain = Domain::start().await;
    domain.apply(&pool("own", "a", &network(false))).await;
    let services = domain.api::<Service>("default");
    domain
        .until("there is a Service", async || {
            services.get_opt("own-a-lb").await.unwrap()
        })
        .await;
    let without = "    swarmDefinition:\n      swarmKeySecretRef: key\n";
    domain.apply(&pool("own", "a", without)).await;
    domain
        .until("the Services have gone", async || {
            let gone = services.get_opt("own-a-lb").await.unwrap().is_none()
                && services.get_opt("own-a").await.unwrap().is_none();
            gone.then_some(())
        })
        .await;
    domain
        .pool("default", "own", "it is ready without", |pool| {
            reason(pool, "Ready") == "Ready"
        })
        .await;
    domain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_to_begin_with_that_are_given_later_are_called() {
    let (one, two) = tokio::join!(Domain::start(), Domain::start());
    one.apply(&pool("own", "a", &network(false))).await;
    let found = one
        .pool("default", "own", "it is exposed", |pool| {
            reason(pool, "Exposed") == "Exposed"
        })
        .await;
    let address = found.status.unwrap().status["a"].addresses[0].clone();
    let secret = one.api::<Secret>("default").get("key").await.unwrap();
    let secret =
        serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": secret.data});
    let params = PatchParams::apply("test");
    two.api::<Secret>("default")
        .patch("key", &params, &Patch::Apply(&secret))
        .await
        .unwrap();
    two.apply(&pool("own", "a", &network(false))).await;
    let alone = two
        .pool("default", "own", "it is ready", |pool| reason(pool, "Ready") == "Ready")
        .await;
    let key = format!("swarmKeySecretRef: key\n      bootstrapNodeAddresses: [{address}]\n");
    two.apply(&pool(
        "own",
        "a",
        &network(false).replace("swarmKeySecretRef: key\n", &key),
    ))
    .await;
    let connected = |pool: &SwarmPool| {
        let swarm = pool.status.as_ref().and_then(|status| status.status.get("a"));
        swarm.is_some_and(|swarm| swarm.connected == 1)
    };
    let found = two.pool("default", "own", "it is connected", connected).await;
    let (before, after) = (alone.status.unwrap(), found.status.unwrap());
    assert_eq!(before.status["a"].peer_id, after.status["a"].peer_id);
    assert_ne!(before.hash, after.hash);
    tokio::join!(one.stop(), two.stop());
}
