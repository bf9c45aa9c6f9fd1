//! The whole path of an agreement through real JSON-RPC, with alloy as the client and the real contracts.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod support;

use alloy::network::EthereumWallet;
use alloy::primitives::{B256, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::{BlockNumberOrTag, Filter, TransactionReceipt};
use alloy::sol_types::SolEvent;
use chain::{Chain, DEADLINE};
use futures::StreamExt;
use hanse_chain::application::{Application, Durability};
use hanse_contracts::{Consortium, Federation, genesis_addresses};
use support::*;

type Contract = Federation::FederationInstance<DynProvider>;

async fn federation(url: &str, member: u8) -> Contract {
    let wallet = EthereumWallet::from(key(member));
    let provider = ProviderBuilder::new().wallet(wallet).connect(url).await.unwrap();
    Federation::new(genesis_addresses().federation, provider.erased())
}

/// Sends a call with everything filled in by the client, and waits for its receipt.
macro_rules! send {
    ($call:expr) => {{
        let pending = $call.send().await.unwrap();
        let receipt: TransactionReceipt = pending.with_timeout(Some(DEADLINE)).get_receipt().await.unwrap();
        assert!(receipt.status());
        receipt
    }};
}

async fn agree(consumer_url: &str, provider_url: &str, chain: &Chain) {
    let consumer = federation(consumer_url, 0).await;
    let provider = federation(provider_url, 1).await;
    let id = B256::repeat_byte(7);

    let watcher = ProviderBuilder::new().connect(&chain.ws()).await.unwrap();
    let mut heads = watcher.subscribe_blocks().await.unwrap().into_stream();
    let filter = Filter::new().address(genesis_addresses().federation);
    let mut events = watcher.subscribe_logs(&filter).await.unwrap().into_stream();

    let announced = send!(consumer.announce(announcement(id)));
    let head = tokio::time::timeout(DEADLINE, heads.next()).await.unwrap().unwrap();
    assert_eq!(Some(head.hash), announced.block_hash);
    let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap();
    assert_eq!(event, announced.logs()[0]);
    assert_eq!(event.log_decode::<Federation::Announced>().unwrap().inner.id, id);

    send!(provider.placeBid(id, 5, "Lübeck".into(), terms()));
    let bids = consumer.bids(id).call().await.unwrap();
    assert_eq!((bids.len(), bids[0].bidder, bids[0].sequence), (1, key(1).address(), 1));
    send!(
        consumer
            .choose(id, key(1).address(), 1, 2, vec![1].into())
            .value(U256::from(10))
    );
    send!(provider.deployed(id, vec![2, 3].into()));
    let confirmed = send!(consumer.confirm(id));
    let agreement = provider.agreement(id).call().await.unwrap();
    assert_eq!((agreement.state, agreement.provider), (4, key(1).address()));
    assert_eq!(provider.owed(key(1).address()).call().await.unwrap(), U256::from(10));

    // Everything is found again: by index, block by block, and from the stream.
    let all = watcher
        .get_logs(&filter.clone().from_block(BlockNumberOrTag::Earliest))
        .await
        .unwrap();
    assert_eq!(all.len(), 5);
    let of_id = filter
        .from_block(0)
        .topic1(id)
        .event_signature(Federation::Confirmed::SIGNATURE_HASH);
    assert_eq!(watcher.get_logs(&of_id).await.unwrap(), confirmed.logs());
    let streamed: Vec<_> = tokio::time::timeout(DEADLINE, events.take(4).collect()).await.unwrap();
    assert_eq!(streamed, all[1..]);

    let height = chain.ledger.tip().height;
    assert_eq!(height, 5, "one block for each step, none else");
    assert_eq!(watcher.get_block_number().await.unwrap(), height);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_goes_from_announcement_to_confirmation() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 4).await;
    agree(&chain.http(), &chain.ws(), &chain).await;

    // Another node that gets the decided blocks ends in the same state.
    let other = tempfile::tempdir().unwrap();
    let other = open(other.path(), 4);
    for height in chain.ledger.earliest()..=chain.ledger.tip().height {
        let decided = chain.ledger.decided(height).unwrap().unwrap();
        other
            .commit(&decided.block, &decided.certificate, Durability::Immediate)
            .unwrap();
    }
    assert_eq!(other.tip(), chain.ledger.tip());
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_errors_reach_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 4).await;
    let contract = federation(&chain.http(), 2).await;
    let id = B256::repeat_byte(9);
    for error in [
        contract.confirm(id).call().await.map(drop).unwrap_err(),
        contract.confirm(id).send().await.map(drop).unwrap_err(),
    ] {
        let decoded = error.as_decoded_error::<Federation::UnknownAgreement>();
        assert_eq!(decoded.unwrap().id, id, "{error}");
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_members_changes_the_validators_of_the_next_height() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 4).await;
    let consortium = genesis_addresses().consortium;
    let as_member = async |member: u8| {
        let wallet = EthereumWallet::from(key(member));
        let provider = ProviderBuilder::new()
            .wallet(wallet)
            .connect(&chain.http())
            .await
            .unwrap();
        Consortium::new(consortium, provider)
    };
    let candidate = genesis(5).members.pop().unwrap();
    let candidate = hanse_contracts::IConsortium::MemberInfo {
        account: candidate.account,
        validatorKey: candidate.validator_key,
        sealingKey: candidate.sealing_key,
        name: candidate.name,
        consensusAddress: candidate.consensus_address,
        peerId: candidate.peer_id,
        url: candidate.url,
    };
    let early = announce(4, 0, B256::repeat_byte(1));
    assert!(
        chain
            .ledger
            .submit(&early)
            .unwrap_err()
            .to_string()
            .contains("not a member")
    );
    send!(as_member(0).await.proposeAdmission(candidate.clone()));
    let proposal = as_member(0).await.openProposals().call().await.unwrap()[0].id;
    send!(as_member(1).await.approve(proposal));
    assert_eq!(chain.ledger.rules().unwrap().validators.len(), 4);
    send!(as_member(2).await.approve(proposal));
    let validators = chain.ledger.rules().unwrap().validators;
    assert_eq!(validators.len(), 5);
    assert_eq!(validators[4].account, candidate.account);
    chain.ledger.submit(&early).unwrap();
    chain.stop().await;
}
