//! What a peer can do with what it got.

use hanse_discovery::model::Identity;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use hanse_swarm::SwarmKey;

use crate::bed::{Domain, condition};
use crate::*;

fn code<T: std::fmt::Debug>(answer: kube::Result<T>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_peer_may_read_the_pods_of_the_identitys_namespace_and_nothing_else() {
    let key = SwarmKey::generate();
    let one = Domain::start_with(wish(&key, &[])).await;
    let two = Domain::start_with(wish(&key, &[one.address().await])).await;
    make_pod(&one, "cluster1-cluster1-ss-0").await;

    let at_two = given(&two, &one).await;
    assert_eq!(pods(&at_two).await, Ok(vec!["cluster1-cluster1-ss-0".to_owned()]));
    let identity = identity_name(&one).await;
    assert_eq!(
        secrets_refused(&at_two).await,
        format!(
            "secrets is forbidden: User \"system:serviceaccount:default:{identity}\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\""
        )
    );
    // Neither changing, nor other namespaces.
    let client = client(&at_two).await;
    let other: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    assert_eq!(code(other.list(&ListParams::default()).await), 403);
    let own: Api<Pod> = Api::default_namespaced(client);
    assert_eq!(
        code(own.delete("cluster1-cluster1-ss-0", &Default::default()).await),
        403
    );

    // The other way round as well, and both sides say so.
    let at_one = given(&one, &two).await;
    assert_eq!(pods(&at_one).await, Ok(Vec::new()));
    one.identity(NAMESPACE, &identity, "it says that all is delivered", |identity| {
        let status = identity.status.as_ref();
        let found = status.and_then(|status| condition(&status.conditions, "CredentialsDelivered"));
        found.is_some_and(|found| found.reason == "Delivered")
    })
    .await;
    let stored = |peer: &Peer| {
        let status = peer.status.as_ref();
        let found = status.and_then(|status| condition(&status.conditions, "CredentialReceived"));
        found.is_some_and(|found| found.reason == "CredentialStored")
    };
    two.peers(NAMESPACE, "the Peer says so", |peers| peers.iter().all(stored))
        .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_somebody_else_made_is_neither_used_nor_touched() {
    let key = SwarmKey::generate();
    let mut one = Domain::start_with(Wish::default()).await;
    one.stop_discovery().await;
    let name = format!("cluster-{}", one.tag);
    // An account of this name that may do anything.
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let accounts = one.api::<ServiceAccount>(NAMESPACE);
    let before = accounts.create(&PostParams::default(), &account).await.unwrap();
    one.apply(&format!(
        r#"apiVersion: peerdiscovery.irt-saintexupery.com/v1alpha1
kind: SwarmPool
metadata:
  name: mine
  namespace: default
spec:
  swarms:
  - name: mine
---
apiVersion: peerdiscovery.irt-saintexupery.com/v1alpha1
kind: Identity
metadata:
  name: {name}
  namespace: default
spec:
  swarms:
  - swarmPool: mine
    swarm: mine
  name: One
  URL: https://192.0.2.7
"#
    ))
    .await;
    one.start_discovery(Wish {
        identity: None,
        ..wish(&key, &[])
    })
    .await;
    let two = Domain::start_with(wish(&key, &[one.address().await])).await;
    let message = one
        .until("the Identity is told", async || {
            let identity = one.api::<Identity>(NAMESPACE).get(&name).await.unwrap();
            let status = identity.status?;
            let found = condition(&status.conditions, "CredentialsDelivered")?;
            (found.reason == "Conflict").then(|| found.message.clone())
        })
        .await;
    assert!(message.contains(&format!("ServiceAccount default/{name}")), "{message}");
    // The other direction works, so there was time for this one too.
    given(&one, &two).await;
    assert_eq!(kubeconfig(&two, &peer_name(&one)).await, None);
    let after = accounts.get(&name).await.unwrap();
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    let all = ListParams::default();
    assert!(one.api::<Role>(NAMESPACE).list(&all).await.unwrap().items.is_empty());
    assert!(
        one.api::<RoleBinding>(NAMESPACE)
            .list(&all)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let given = all.labels("peerdiscovery.irt-saintexupery.com/credential=given");
    assert!(
        one.api::<Secret>(NAMESPACE)
            .list(&given)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    one.stop().await;
    two.stop().await;
}
