//! A chain with the contracts and some members on it, whichever chain it is.

use std::collections::HashMap;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use futures::StreamExt;
use hanse_ledger::{
    Addresses, Cursor, Event, Foundation, IConsortium, IFederation, IntentKey, Ledger, LedgerConfig, LedgerEvent,
    PrivateKeySigner,
};
use tempfile::TempDir;
use url::Url;

use crate::anvil::Anvil;

/// What every test needs to know about the chain it runs on.
pub struct League {
    pub urls: Vec<Url>,
    /// For looking behind the client's back.
    pub plain: Url,
    pub addresses: Addresses,
    /// Four founders.
    pub members: Vec<PrivateKeySigner>,
    /// Someone else.
    pub stranger: PrivateKeySigner,
    pub confirmations: u64,
    pub receipt_timeout: Duration,
    stores: TempDir,
    open: tokio::sync::Mutex<HashMap<Address, Ledger>>,
}

/// Keys number 0 to 9 of the mnemonic that anvil gives coins to.
pub fn test_key(index: usize) -> PrivateKeySigner {
    const KEYS: [&str; 5] = [
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
        "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
        "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
        "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    ];
    KEYS[index].parse().expect("a key")
}

pub fn member_info(name: &str, account: Address) -> IConsortium::MemberInfo {
    IConsortium::MemberInfo {
        account,
        validatorKey: alloy::primitives::keccak256(name),
        sealingKey: alloy::primitives::keccak256(format!("sealing {name}")),
        name: name.into(),
        consensusAddress: "/ip4/127.0.0.1/tcp/26656".into(),
        peerId: String::new(),
        url: format!("http://{name}.example"),
    }
}

pub fn parameters() -> IConsortium::ConsensusParameters {
    IConsortium::ConsensusParameters {
        proposeMs: 400,
        proposeDeltaMs: 300,
        voteMs: 200,
        voteDeltaMs: 150,
        heartbeatMs: 5000,
    }
}

impl League {
    /// See [`League::deployed`].
    pub async fn on_anvil(anvil: &Anvil, urls: Vec<Url>, founders: usize) -> Self {
        Self::deployed(&anvil.ws(), anvil.http(), urls, founders).await
    }

    /// Deploys the contracts with the first `founders` keys as members.
    pub async fn deployed(deploy: &Url, plain: Url, urls: Vec<Url>, founders: usize) -> Self {
        let members: Vec<_> = (0..founders).map(test_key).collect();
        let infos = members
            .iter()
            .enumerate()
            .map(|(index, key)| member_info(&format!("domain-{index}"), key.address()))
            .collect();
        let stranger = test_key(4);
        let foundation = Foundation {
            founders: infos,
            parameters: parameters(),
        };
        let deployment = hanse_ledger::deploy(deploy, &stranger, &foundation)
            .await
            .expect("the contracts can be deployed");
        Self::new(urls, plain, deployment.addresses(), members, stranger)
    }

    pub fn new(
        urls: Vec<Url>,
        plain: Url,
        addresses: Addresses,
        members: Vec<PrivateKeySigner>,
        stranger: PrivateKeySigner,
    ) -> Self {
        Self {
            urls,
            plain,
            addresses,
            members,
            stranger,
            confirmations: 0,
            receipt_timeout: Duration::from_secs(60),
            stores: TempDir::new().expect("a temporary folder"),
            open: tokio::sync::Mutex::default(),
        }
    }

    pub fn config(&self, signer: &PrivateKeySigner) -> LedgerConfig {
        let store = self.stores.path().join(format!("{}.redb", signer.address()));
        let mut config = LedgerConfig::new(
            self.urls.clone(),
            self.addresses.consortium,
            self.addresses.federation,
            store,
        );
        config.confirmations = self.confirmations;
        config.receipt_timeout = self.receipt_timeout;
        config
    }

    /// The client of that account, connected at the first time.
    pub async fn connect(&self, signer: &PrivateKeySigner) -> Ledger {
        let mut open = self.open.lock().await;
        if let Some(ledger) = open.get(&signer.address()) {
            return ledger.clone();
        }
        let ledger = Ledger::connect(self.config(signer), signer.clone())
            .await
            .expect("the ledger can be reached");
        open.insert(signer.address(), ledger.clone());
        ledger
    }

    /// As if its process had been stopped and started again.
    pub async fn restart(&self, signer: &PrivateKeySigner) -> Ledger {
        let before = self.open.lock().await.remove(&signer.address());
        if let Some(ledger) = before {
            ledger.shutdown().await;
        }
        self.connect(signer).await
    }

    /// Client of member `index`.
    pub async fn member(&self, index: usize) -> Ledger {
        self.connect(&self.members[index]).await
    }

    pub fn provider(&self) -> DynProvider {
        ProviderBuilder::new().connect_http(self.plain.clone()).erased()
    }

    pub async fn nonce(&self, signer: &PrivateKeySigner) -> u64 {
        let provider = self.provider();
        provider
            .get_transaction_count(signer.address())
            .await
            .expect("the account's nonce")
    }
}

pub fn key(text: impl Into<String>) -> IntentKey {
    IntentKey::new(text).expect("a key")
}

pub fn fresh_id() -> B256 {
    B256::new(rand::random())
}

pub fn terms(replicas: u32) -> IFederation::Terms {
    IFederation::Terms {
        availabilityBps: 9_900,
        latencyMs: 50,
        jitterMs: 10,
        bandwidthMbps: 100,
        cpuMillicores: 500,
        ramMb: 256,
        replicas,
    }
}

/// An announcement that is open for bids for `bid_seconds`, by the chain's clock.
pub async fn announcement(ledger: &Ledger, id: B256, bid_seconds: u64) -> IFederation::Announcement {
    let now = ledger.tip().await.expect("the newest block").time.max(unix_now());
    IFederation::Announcement {
        id,
        description: "object detection".into(),
        requirements: terms(1),
        manifestHash: alloy::primitives::keccak256("manifest"),
        bidDeadline: now + bid_seconds,
        deployDeadline: now + bid_seconds + 600,
        confirmWindow: 300,
    }
}

pub fn unix_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Announces with a random id.
pub async fn announce(ledger: &Ledger) -> B256 {
    let id = fresh_id();
    let announcement = announcement(ledger, id, 600).await;
    ledger
        .announce(key(format!("{id}/announce")), announcement)
        .await
        .expect("announced");
    id
}

/// The events from `from` until `enough` says so of one of them.
pub async fn events_until(
    ledger: &Ledger,
    from: Cursor,
    mut enough: impl FnMut(&LedgerEvent) -> bool,
) -> Vec<LedgerEvent> {
    let mut stream = ledger.events(from);
    let mut events = Vec::new();
    let reading = async {
        loop {
            let event = stream
                .next()
                .await
                .expect("it goes on for ever")
                .expect("no replaced blocks");
            let last = enough(&event);
            events.push(event);
            if last {
                return events;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading)
        .await
        .expect("the event within a minute")
}

/// Prices of the bids on `id` in the order in which they took effect.
pub fn bid_prices(events: &[LedgerEvent], id: B256) -> Vec<u128> {
    events
        .iter()
        .filter_map(|event| match &event.kind {
            Event::BidPlaced(bid) if bid.id == id => Some(bid.pricePerHour),
            _ => None,
        })
        .collect()
}

/// Repeats `look` until it is true, for at most `seconds`.
pub async fn eventually<F: Future<Output = bool>>(what: &str, seconds: u64, mut look: impl FnMut() -> F) {
    let patience = tokio::time::timeout(Duration::from_secs(seconds), async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(patience.await.is_ok(), "{what}: not within {seconds} s");
}
