//! What the log holds on disk after what the engine told it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use alloy::primitives::{B256, Bytes};
use malachitebft_core_consensus::Input;
use malachitebft_core_types::{Round, Timeout, TimeoutKind, Validity, ValueOrigin};
use malachitebft_engine::wal::{Msg, WalRef};
use ractor::call;

use super::blocks::BlockPool;
use super::codec::WalCodec;
use super::context::{Height, LedgerContext, ValidatorAddress};
use super::proposals::proposed;
use super::value::Value;
use super::wal;
use crate::key::ValidatorKey;

type Entry = Input<LedgerContext>;

/// What a node that restarts at this height finds in the log; the log stays open.
async fn open(path: &Path, height: u64) -> (WalRef<LedgerContext>, Vec<Entry>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    // The log that was stopped closes its file on a thread of its own.
    let log = loop {
        match wal::start(path.to_owned(), WalCodec::new(BlockPool::default())).await {
            Ok(log) => break log,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    let entries = call!(log, Msg::StartedHeight, Height(height)).unwrap().unwrap();
    (log, entries.into_iter().map(Result::unwrap).collect())
}

async fn tell(log: &WalRef<LedgerContext>, height: u64, entry: &Entry) {
    call!(log, Msg::Append, Height(height), entry.clone()).unwrap().unwrap();
    call!(log, Msg::Flush).unwrap().unwrap();
}

async fn start_height(log: &WalRef<LedgerContext>, height: u64) {
    assert!(
        call!(log, Msg::StartedHeight, Height(height))
            .unwrap()
            .unwrap()
            .is_empty()
    );
}

fn elapsed() -> Entry {
    Input::TimeoutElapsed(Timeout::new(Round::new(0), TimeoutKind::Propose))
}

fn by_sync(height: u64) -> Entry {
    let proposer = ValidatorAddress::of_key(&ValidatorKey::generate().public_key());
    let value = Value::new(B256::repeat_byte(7), Bytes::from_static(b"a block"));
    let proposed = proposed(Height(height), Round::new(0), proposer, value, Validity::Valid);
    Input::ProposedValue(proposed, ValueOrigin::Sync)
}

#[tokio::test]
async fn heights_that_came_by_sync_leave_the_log_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log/consensus.wal");
    let (log, entries) = open(&path, 1).await;
    assert!(entries.is_empty());
    tell(&log, 1, &elapsed()).await;
    for height in 2..6 {
        start_height(&log, height).await;
        tell(&log, height, &by_sync(height)).await;
    }
    log.stop_and_wait(None, None).await.unwrap();
    let (log, entries) = open(&path, 1).await;
    assert_eq!(entries, [elapsed()]);
    log.stop_and_wait(None, None).await.unwrap();
    // A node whose ledger kept those heights finds nothing to replay.
    assert!(open(&path, 6).await.1.is_empty());
}

#[tokio::test]
async fn what_a_signature_may_follow_from_is_written_with_all_that_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consensus.wal");
    let (log, _) = open(&path, 1).await;
    tell(&log, 1, &elapsed()).await;
    start_height(&log, 2).await;
    let block = by_sync(2);
    tell(&log, 2, &block).await;
    tell(&log, 2, &elapsed()).await;
    tell(&log, 3, &elapsed()).await;
    log.stop_and_wait(None, None).await.unwrap();
    let (_log, entries) = open(&path, 2).await;
    // The log does not keep where a block came from.
    let Input::ProposedValue(proposed, _) = block else {
        unreachable!()
    };
    let found: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
    let wanted = [Input::ProposedValue(proposed, ValueOrigin::Consensus), elapsed()];
    assert_eq!(found, wanted.map(|entry| format!("{entry:?}")));
}
