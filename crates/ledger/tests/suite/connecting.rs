//! What is said when the configuration does not fit the world.

use alloy::primitives::Address;
use hanse_ledger::{Ledger, LedgerConfig, LedgerError};

use crate::anvil::Anvil;
use crate::league::{League, test_key};

async fn refused(config: LedgerConfig, key: usize) -> LedgerError {
    Ledger::connect(config, test_key(key))
        .await
        .expect_err("this cannot work")
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named() {
    let anvil = Anvil::start(&[]).await;
    let other_chain = Anvil::start(&["--chain-id", "4711"]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let good = league.config(&test_key(0));

    let mut config = good.clone();
    config.urls.clear();
    assert!(matches!(refused(config, 0).await, LedgerError::Config(_)));

    let mut config = good.clone();
    config.urls = vec!["ftp://127.0.0.1".parse().expect("a URL")];
    assert!(refused(config, 0).await.to_string().contains("use http"));

    // A port that nobody listens on.
    let port = hanse_ports::free_address().expect("a port").port();
    for scheme in ["ws", "http"] {
        let mut config = good.clone();
        config.urls = vec![format!("{scheme}://127.0.0.1:{port}").parse().expect("a URL")];
        let error = refused(config, 0).await;
        assert!(matches!(error, LedgerError::Unreachable { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&port.to_string()) && text.contains("Check that the node runs"),
            "{text}"
        );
    }

    let mut config = good.clone();
    config.federation = Address::repeat_byte(9);
    assert!(matches!(
        refused(config, 0).await,
        LedgerError::NoContract { name: "Federation", .. }
    ));

    let mut config = good.clone();
    std::mem::swap(&mut config.federation, &mut config.consortium);
    let error = refused(config, 0).await;
    assert!(error.to_string().contains("contract"), "{error}");

    let ledger = Ledger::connect(good.clone(), test_key(0)).await.expect("connected");
    let error = refused(good.clone(), 0).await;
    assert!(error.to_string().contains("it is in use"), "{error}");
    ledger.shutdown().await;
    let error = refused(good.clone(), 1).await;
    assert!(error.to_string().contains("belongs to account"), "{error}");

    // The same contracts at the same addresses, but another chain.
    let twin = League::on_anvil(&other_chain, vec![other_chain.ws()], 4).await;
    assert_eq!(twin.addresses, league.addresses);
    let mut config = good.clone();
    config.urls = vec![other_chain.ws()];
    let error = refused(config, 0).await;
    assert!(
        matches!(error, LedgerError::WrongChain { .. }) && error.to_string().contains("4711"),
        "{error}"
    );

    // Also where nothing but the configuration tells.
    let mut config = good.clone();
    let right = hanse_ledger::examine(&config).await.expect("all is well");
    assert!(right.as_built, "byte for byte what this version creates");
    assert_eq!(right.chain.chain_id, 31337);
    config.chain = Some(right.chain);
    hanse_ledger::examine(&config).await.expect("all is well");
    config.urls = vec![other_chain.ws()];
    let error = hanse_ledger::examine(&config).await.expect_err("another chain");
    assert!(matches!(error, LedgerError::WrongChain { .. }), "{error}");

    // As a second endpoint it is never used.
    let mut config = good;
    config.urls.push(other_chain.ws());
    let ledger = Ledger::connect(config, test_key(0)).await.expect("connected");
    assert_eq!(ledger.chain_id(), 31337);
    drop(anvil);
    let status = ledger.status();
    crate::league::eventually("it is noticed", 20, async || {
        matches!(&status.borrow().link, hanse_ledger::Link::Away { .. })
    })
    .await;
    assert!(matches!(ledger.tip().await, Err(LedgerError::Unreachable { .. })));
    ledger.shutdown().await;
    assert!(matches!(
        ledger.withdraw(hanse_ledger::IntentKey::random()).await,
        Err(LedgerError::Stopped)
    ));
}
