//! Renewal, and everything that ends a credential.

use hanse_discovery::credentials::{Grant, Rule, To};
use hanse_discovery::model::Identity;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::Api;
use kube::api::ListParams;

use super::*;

pub fn rule(resource: &str, verbs: &[&str]) -> Rule {
    Rule {
        api_groups: vec![String::new()],
        resources: vec![resource.into()],
        resource_names: Vec::new(),
        verbs: verbs.iter().map(ToString::to_string).collect(),
    }
}

/// Waits until the API server takes a token no longer.
pub async fn until_void(domain: &Domain, kubeconfig: &str) {
    domain
        .until("the token is void", async || {
            (pods(kubeconfig).await == Err(401)).then_some(())
        })
        .await;
}

async fn until_other(taker: &Domain, giver: &Domain, before: &str) -> String {
    let name = peer_name(giver);
    taker
        .until("there is another kubeconfig", async || {
            kubeconfig(taker, &name).await.filter(|config| config != before)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_renewed_before_it_ends() {
    let key = SwarmKey::generate();
    let policy = Policy {
        life_seconds: 600,
        renew_after_seconds: Some(1),
        ..Policy::default()
    };
    let (wish_one, _policy) = with_policy(wish(&key, &[]), policy);
    let one = Domain::start_with(wish_one).await;
    let two = Domain::start_with(wish(&key, &[one.address().await])).await;
    let first = given(&two, &one).await;
    let second = until_other(&two, &one, &first).await;
    let third = until_other(&two, &one, &second).await;
    // Whoever just reads the old one is not cut off by a renewal.
    for kubeconfig in [&first, &second, &third] {
        assert_eq!(pods(kubeconfig).await, Ok(Vec::new()));
    }
    let claims = token(&third).split('.').nth(1).unwrap().to_owned();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert!(
        claims["kubernetes.io"]["secret"]["name"].is_string(),
        "it is bound: {claims}"
    );
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_revokes_and_gives_what_it_says() {
    let key = SwarmKey::generate();
    let (wish_one, policy) = with_policy(wish(&key, &[]), Policy::default());
    let one = Domain::start_with(wish_one).await;
    let bootstrap = [one.address().await];
    let (two, three) = tokio::join!(
        Domain::start_with(wish(&key, &bootstrap)),
        Domain::start_with(wish(&key, &bootstrap))
    );
    let (at_two, at_three) = tokio::join!(given(&two, &one), given(&three, &one));

    // More for one of them.
    let more = Grant {
        to: To::Peer(two.default.as_ref().unwrap().name().to_string()),
        rules: vec![rule("configmaps", &["list"])],
    };
    policy.send_modify(|policy| policy.grants.push(more));
    let second = until_other(&two, &one, &at_two).await;
    until_void(&one, &at_two).await;
    let configmaps: Api<ConfigMap> = Api::default_namespaced(client(&second).await);
    configmaps.list(&ListParams::default()).await.unwrap();
    assert_eq!(pods(&second).await, Ok(Vec::new()));
    let account = format!("{}-{}", identity_name(&one).await, peer_name(&two));
    assert!(
        secrets_refused(&second)
            .await
            .contains(&format!("serviceaccount:default:{account}\""))
    );
    // The other is as it was.
    assert_eq!(kubeconfig(&three, &peer_name(&one)).await.as_ref(), Some(&at_three));
    assert_eq!(pods(&at_three).await, Ok(Vec::new()));

    // Nothing for anybody: both are told, and their Secrets go.
    policy.send_modify(|policy| policy.grants.clear());
    for (domain, kubeconfig) in [(&two, &second), (&three, &at_three)] {
        until_void(&one, kubeconfig).await;
        let name = peer_name(&one);
        domain
            .until("the kubeconfig is removed", async || {
                crate::kubeconfig(domain, &name).await.is_none().then_some(())
            })
            .await;
        let secrets = domain.api::<Secret>(NAMESPACE);
        domain
            .until("the Secret is removed", async || {
                let found = secrets.get_opt(&format!("{name}-kubeconfig")).await.unwrap();
                found.is_none().then_some(())
            })
            .await;
    }
    let accounts = one.api::<ServiceAccount>(NAMESPACE);
    one.until("its account is removed", async || {
        accounts.get_opt(&account).await.unwrap().is_none().then_some(())
    })
    .await;
    for domain in [one, two, three] {
        domain.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_removed_loses_what_it_had() {
    let key = SwarmKey::generate();
    let one = Domain::start_with(wish(&key, &[])).await;
    let mut two = Domain::start_with(wish(&key, &[one.address().await])).await;
    let at_two = given(&two, &one).await;
    assert_eq!(pods(&at_two).await, Ok(Vec::new()));
    // Without a word, as a killed agent; its token is with whoever took it.
    two.stop_discovery().await;
    one.peers(NAMESPACE, "the Peer is removed", <[Peer]>::is_empty).await;
    until_void(&one, &at_two).await;
    // It comes back, and gets another.
    two.start_discovery(wish(&key, &[one.address().await])).await;
    let second = until_other(&two, &one, &at_two).await;
    assert_eq!(pods(&second).await, Ok(Vec::new()));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_identity_nobody_has_anything() {
    let key = SwarmKey::generate();
    let one = Domain::start_with(wish(&key, &[])).await;
    let two = Domain::start_with(wish(&key, &[one.address().await])).await;
    let at_two = given(&two, &one).await;
    let name = identity_name(&one).await;
    one.delete::<Identity>(NAMESPACE, &name).await;
    until_void(&one, &at_two).await;
    let accounts = one.api::<ServiceAccount>(NAMESPACE);
    one.until("the account is removed", async || {
        accounts.get_opt(&name).await.unwrap().is_none().then_some(())
    })
    .await;
    // What the other had goes with the Peer.
    let secrets = two.api::<Secret>(NAMESPACE);
    let received = format!("{}-kubeconfig", peer_name(&one));
    two.until("the Secret is removed", async || {
        secrets.get_opt(&received).await.unwrap().is_none().then_some(())
    })
    .await;
    one.stop().await;
    two.stop().await;
}
