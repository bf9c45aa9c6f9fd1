//! Grants to those with whom there is an agreement.

use std::collections::BTreeSet;

use hanse_discovery::credentials::{Grant, To};

use super::life::{rule, until_void};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_has_it_until_it_is_known_to_be_none_and_a_restart_alone_takes_nothing() {
    let key = SwarmKey::generate();
    let policy = Policy {
        grants: vec![Grant {
            to: To::Agreement,
            rules: vec![rule("pods", &["list"])],
        }],
        ..Policy::default()
    };
    let (agreements, told) = watch::channel(None);
    let with = |bootstrap: &[SwarmAddress]| Wish {
        agreements: Some(told.clone()),
        ..with_policy(wish(&key, bootstrap), policy.clone()).0
    };
    let mut one = Domain::start_with(with(&[])).await;
    let two = Domain::start_with(wish(&key, &[one.address().await])).await;
    // Whoever was given something has looked at what to give as well.
    given(&one, &two).await;
    assert_eq!(kubeconfig(&two, &peer_name(&one)).await, None);
    let partner = two.default.as_ref().unwrap().name();
    agreements.send_replace(Some(BTreeSet::from([partner])));
    let at_two = given(&two, &one).await;
    assert_eq!(pods(&at_two).await, Ok(Vec::new()));

    // It starts again, and has yet to learn with whom there is an agreement.
    one.stop_discovery().await;
    agreements.send_replace(None);
    let address = two.address().await;
    one.start_discovery(with(std::slice::from_ref(&address))).await;
    let three = Domain::start_with(wish(&key, &[address])).await;
    given(&one, &three).await;
    assert_eq!(pods(&at_two).await, Ok(Vec::new()));

    agreements.send_replace(Some(BTreeSet::new()));
    until_void(&one, &at_two).await;
    let name = peer_name(&one);
    two.until("the kubeconfig is removed", async || {
        kubeconfig(&two, &name).await.is_none().then_some(())
    })
    .await;
    assert_eq!(kubeconfig(&three, &name).await, None);
    for domain in [one, two, three] {
        domain.stop().await;
    }
}
