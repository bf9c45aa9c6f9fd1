//! How the sender looks at the chain, signs and sends.

use std::collections::{BTreeMap, HashSet};

use alloy::primitives::{B256, TxHash, U64, U256};
use futures::StreamExt;
use serde::Deserialize;

use crate::endpoint::{Endpoint, RequestError};
use crate::error::LedgerError;
use crate::head::Head;
use crate::intent::{IntentKey, Receipt};
use crate::nonces::{Change, End, IntentId, Landing, Moment, Observation, Purpose};
use crate::outbox::Stage;
use crate::preflight::preflight;
use crate::rpc::Rpc;
use crate::sender::{Outcome, Sender};
use crate::signing::{VOID_GAS, sign, void_call};
use crate::submission::{Verdict, judge};

/// Receipts asked for along with the counts; with few transactions out this saves a round trip.
const EARLY: usize = 8;

/// Receipts asked for in one look beyond those.
const RECEIPTS_AT_ONCE: usize = 512;

/// Requests to one endpoint at the same time.
const PARALLEL: usize = 16;

/// How long the next transaction may wait before its fee is raised.
const STUCK: Moment = Moment::from_secs(15);

/// How long a nonce that nobody holds may hold up those above it.
const GAP: Moment = Moment::from_secs(2);

/// Fees are not raised more often than this for one nonce.
const MOST_SIGNED: usize = 12;

/// The part of a receipt that matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireReceipt {
    block_number: Option<U64>,
    status: Option<U64>,
    #[serde(default)]
    logs: Vec<WireLog>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLog {
    block_timestamp: Option<U256>,
}

impl Sender {
    /// Looks at the chain through one endpoint and draws the conclusions.
    pub(crate) async fn observe(&mut self) -> Result<(), LedgerError> {
        let endpoint = self.rpc.current();
        let seats: Vec<(IntentId, u64, Vec<TxHash>)> = self.nonces.seats().collect();
        let mut times = BTreeMap::new();
        if let Some(seen) = self.heads.newest() {
            times.insert(seen.head.number, seen.head.time);
        }
        let result = self.gather(&endpoint, &seats, &mut times).await;
        let seen = match result {
            Ok(seen) => seen,
            Err(error) => {
                if let RequestError::Link(_) = error {
                    self.rpc.turn_from(&endpoint);
                }
                return Err(error.into_ledger("eth_getTransactionReceipt", endpoint.url()));
            }
        };
        let now = self.now();
        for change in self.nonces.observe(now, &seen) {
            match change {
                Change::Ended(id, End::Landed { hash, landing }) => {
                    let receipt = Receipt {
                        tx: hash,
                        block: landing.block,
                        block_time: times.get(&landing.block).copied().unwrap_or_default(),
                    };
                    let outcome = if landing.success {
                        Outcome::Landed(receipt)
                    } else {
                        Outcome::Reverted {
                            tx: hash,
                            block: landing.block,
                        }
                    };
                    self.end(id, outcome);
                }
                Change::Ended(id, End::Voided) => self.end(id, Outcome::Rejected("it was withdrawn".into())),
                Change::Unseated(id) => {
                    tracing::warn!(account = %self.signer.address(), "something else sends from this account; its nonce was used, the command is signed again");
                    self.recheck.insert(id);
                }
            }
        }
        // What this says can be read off the chain again, so it need not be on disk at once.
        self.outbox.write(&mut self.unsaved, false).await
    }

    async fn gather(
        &self,
        endpoint: &Endpoint,
        seats: &[(IntentId, u64, Vec<TxHash>)],
        times: &mut BTreeMap<u64, u64>,
    ) -> Result<Observation, RequestError> {
        let early = seats
            .iter()
            .take(EARLY)
            .flat_map(|(_, _, hashes)| hashes.iter().copied());
        let (counts, found) = futures::join!(self.counts(endpoint), receipts(endpoint, early.collect()));
        let mut seen = counts?;
        let mut found = found?;
        // Those that can have landed and were not seen to: ask now that the counts are known.
        let mut hashes = Vec::new();
        for (id, nonce, signed) in seats {
            if *nonce >= seen.latest_count {
                seen.asked.insert(*id);
            } else if !signed.iter().any(|hash| found.iter().any(|(known, _)| known == hash))
                && hashes.len() < RECEIPTS_AT_ONCE
            {
                seen.asked.insert(*id);
                hashes.extend(signed.iter().copied());
            }
        }
        found.extend(receipts(endpoint, hashes).await?);
        let mut unknown = HashSet::new();
        for (hash, receipt) in found {
            let Some(block) = receipt.block_number.map(|number| number.to::<u64>()) else {
                continue;
            };
            let stamped = receipt.logs.iter().find_map(|log| log.block_timestamp);
            if let Some(time) = stamped {
                times.insert(block, time.saturating_to());
            } else if !times.contains_key(&block) {
                unknown.insert(block);
            }
            let success = receipt.status.is_none_or(|status| status == U64::from(1));
            seen.landed.insert(hash, Landing { block, success });
        }
        for number in unknown {
            if let Some(head) = endpoint.block(number).await? {
                times.insert(number, head.time);
            }
        }
        Ok(seen)
    }

    async fn counts(&self, endpoint: &Endpoint) -> Result<Observation, RequestError> {
        let account = self.signer.address();
        let latest = endpoint.request::<_, U64>("eth_getTransactionCount", (account, "latest"));
        if self.confirmations == 0 {
            let count = latest.await?.to();
            return Ok(Observation {
                // Every block is deep enough.
                head: u64::MAX,
                latest_count: count,
                final_count: count,
                ..Observation::default()
            });
        }
        let head = endpoint.latest().await?;
        let final_count = match head.number.checked_sub(self.confirmations) {
            Some(number) => {
                let settled: U64 = endpoint
                    .request("eth_getTransactionCount", (account, U64::from(number)))
                    .await?;
                settled.to()
            }
            None => 0,
        };
        Ok(Observation {
            head: head.number,
            latest_count: latest.await?.to(),
            final_count,
            ..Observation::default()
        })
    }

    /// Signs for everything that waits, and makes it durable.
    pub(crate) async fn sign_waiting(&mut self) -> Result<(), LedgerError> {
        self.raise_stuck().await?;
        while let Some((id, nonce)) = self.nonces.next_assignment() {
            if self.recheck.contains(&id) && !self.still_allowed(id).await? {
                continue;
            }
            self.sign_seat(id, nonce, Purpose::Call, None).await?;
        }
        for (id, nonce) in self.nonces.voids_to_sign() {
            self.sign_seat(id, nonce, Purpose::Void, None).await?;
        }
        self.fill_gap().await?;
        self.outbox.write(&mut self.unsaved, true).await
    }

    /// Asks the contracts whether a command that lost its nonce still makes sense.
    async fn still_allowed(&mut self, id: IntentId) -> Result<bool, LedgerError> {
        let Some(Stage::Open { call, .. }) = self.outbox.get(id).map(|intent| intent.stage.clone()) else {
            self.nonces.forget(id);
            return Ok(false);
        };
        match preflight(&self.rpc, self.signer.address(), &call).await {
            Ok(_) => {
                self.recheck.remove(&id);
                Ok(true)
            }
            Err(LedgerError::Refused(refusal)) => {
                self.nonces.forget(id);
                self.end(id, Outcome::Refused(refusal));
                Ok(false)
            }
            Err(LedgerError::Rejected { reason }) => {
                self.nonces.forget(id);
                self.end(id, Outcome::Rejected(reason));
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    /// Signs one transaction; `over`: for more than this fee.
    async fn sign_seat(
        &mut self,
        id: IntentId,
        nonce: u64,
        purpose: Purpose,
        over: Option<u128>,
    ) -> Result<(), LedgerError> {
        let Some(Stage::Open { call, gas, signed, .. }) = self.outbox.get(id).map(|intent| intent.stage.clone()) else {
            self.nonces.forget(id);
            return Ok(());
        };
        let before = signed
            .iter()
            .filter(|signed| signed.nonce == nonce)
            .map(|signed| signed.max_fee);
        let over = over.or(before.max().map(|fee| fee.saturating_to()));
        let head = self.head().await?;
        let endpoint = self.rpc.current();
        let fee = self.fees.fee(head, &endpoint).await;
        let fee = fee.map_err(|error| error.into_ledger("eth_gasPrice", endpoint.url()))?;
        let fee = match over {
            Some(old) => fee.raised_over(old),
            None => fee,
        };
        let (call, gas) = match purpose {
            Purpose::Call => (call, gas),
            Purpose::Void => (void_call(&self.signer), VOID_GAS),
        };
        let signed = sign(&self.signer, self.chain_id, &call, gas, nonce, purpose, fee)?;
        self.nonces.signed(id, nonce, signed.hash, purpose);
        self.outbox.record(id, signed, &mut self.unsaved);
        Ok(())
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        match self.heads.newest() {
            Some(seen) => Ok(seen.head),
            None => self.rpc.latest().await,
        }
    }

    /// The transaction whose turn it is pays too little: sign it again for more.
    async fn raise_stuck(&mut self) -> Result<(), LedgerError> {
        let now = self.now();
        let Some(id) = self.nonces.next_to_land() else {
            self.stuck_since = None;
            return Ok(());
        };
        let since = match self.stuck_since {
            Some((same, since)) if same == id => since,
            _ => {
                self.stuck_since = Some((id, now));
                now
            }
        };
        let Some(Stage::Open { signed, .. }) = self.outbox.get(id).map(|intent| &intent.stage) else {
            return Ok(());
        };
        let Some(last) = signed.last() else { return Ok(()) };
        let (nonce, purpose, paid) = (last.nonce, last.purpose, last.max_fee.saturating_to::<u128>());
        let base_fee = self.heads.newest().and_then(|seen| seen.head.base_fee).unwrap_or(0);
        let too_little = base_fee > paid || (now.saturating_sub(since) >= STUCK && paid > 0);
        if too_little && signed.len() < MOST_SIGNED {
            self.stuck_since = Some((id, now));
            self.sign_seat(id, nonce, purpose, Some(paid)).await?;
        }
        Ok(())
    }

    /// Uses up a nonce below ours that a stranger's transaction left when it was undone.
    async fn fill_gap(&mut self) -> Result<(), LedgerError> {
        let now = self.now();
        match (self.nonces.gap(), self.gap_since) {
            (None, _) => self.gap_since = None,
            (Some(nonce), Some((same, since))) if same == nonce => {
                if now.saturating_sub(since) >= GAP {
                    let call = void_call(&self.signer);
                    let id = self.outbox.add(IntentKey::random(), call, VOID_GAS, true);
                    self.sign_seat(id, nonce, Purpose::Void, None).await?;
                    self.gap_since = None;
                }
            }
            (Some(nonce), _) => self.gap_since = Some((nonce, now)),
        }
        Ok(())
    }

    /// Sends what is due. True if a node newly took something.
    pub(crate) async fn send_due(&mut self) -> Result<bool, LedgerError> {
        let mut sent = false;
        loop {
            let now = self.now();
            let due = self.nonces.due(now);
            if due.is_empty() {
                return Ok(sent);
            }
            let mut raw = Vec::with_capacity(due.len());
            for (id, hash) in due {
                if let Some(Stage::Open { signed, .. }) = self.outbox.get(id).map(|intent| &intent.stage)
                    && let Some(signed) = signed.iter().find(|signed| signed.hash == hash)
                {
                    raw.push((id, signed.raw.clone()));
                }
            }
            let rpc = &self.rpc;
            let results: Vec<_> = futures::stream::iter(raw)
                .map(|(id, raw)| async move {
                    let answer = rpc.try_request::<_, B256>("eth_sendRawTransaction", (raw,)).await;
                    (id, answer)
                })
                .buffered(PARALLEL)
                .collect()
                .await;
            for (id, answer) in results {
                let verdict = match answer {
                    Ok(_) => Verdict::Has,
                    Err((_, RequestError::Answer { message, .. })) => judge(&message),
                    Err((url, error)) => return Err(error.into_ledger("eth_sendRawTransaction", &url)),
                };
                match verdict {
                    Verdict::Has => {
                        sent = true;
                        self.taken.insert(id);
                        self.words.remove(&id);
                    }
                    Verdict::Later(words) => {
                        self.words.insert(id, words);
                    }
                    Verdict::Underpriced => self.pay_more(id).await?,
                    Verdict::Never(words) => self.refused_by_node(id, words),
                }
            }
            // Whatever was signed again must be durable before the next turn sends it.
            self.outbox.write(&mut self.unsaved, true).await?;
        }
    }

    async fn pay_more(&mut self, id: IntentId) -> Result<(), LedgerError> {
        self.words.insert(id, "the fee is too low".into());
        let Some(Stage::Open { signed, .. }) = self.outbox.get(id).map(|intent| &intent.stage) else {
            return Ok(());
        };
        let Some(last) = signed.last() else { return Ok(()) };
        if signed.len() >= MOST_SIGNED {
            return Ok(());
        }
        let (nonce, purpose, paid) = (last.nonce, last.purpose, last.max_fee.saturating_to::<u128>());
        self.fees.underpriced();
        self.sign_seat(id, nonce, purpose, Some(paid)).await
    }

    /// A node will never take it. If none has, it is given up; its nonce is used up otherwise when others need the ones
    /// above.
    fn refused_by_node(&mut self, id: IntentId, words: String) {
        if !self.taken.contains(&id) && self.nonces.void(id) {
            self.outbox.set_void(id, true, &mut self.unsaved);
            for reply in self.waiters.remove(&id).into_iter().flatten() {
                let _ = reply.send(Ok(Outcome::Rejected(words.clone())));
            }
        }
        self.words.insert(id, words);
    }
}

/// Whether the transaction is in the block that its receipt names, as far as the endpoint in use knows.
pub(crate) async fn is_included(rpc: &Rpc, receipt: Receipt) -> Result<bool, LedgerError> {
    let found: Option<WireReceipt> = rpc.request("eth_getTransactionReceipt", (receipt.tx,)).await?;
    Ok(found.is_some_and(|found| found.block_number == Some(U64::from(receipt.block))))
}

/// The receipts there are among those of `hashes`.
async fn receipts(endpoint: &Endpoint, hashes: Vec<TxHash>) -> Result<Vec<(TxHash, WireReceipt)>, RequestError> {
    let answers: Vec<Result<Option<(TxHash, WireReceipt)>, RequestError>> = futures::stream::iter(hashes)
        .map(|hash| async move {
            let receipt: Option<WireReceipt> = endpoint.request("eth_getTransactionReceipt", (hash,)).await?;
            Ok(receipt.map(|receipt| (hash, receipt)))
        })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}
