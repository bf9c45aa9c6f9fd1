//! The client: connecting, and sending commands.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::config::LedgerConfig;
use crate::error::LedgerError;
use crate::examine::{Examined, examine_through};
use crate::intent::{Call, IntentKey, Receipt};
use crate::outbox::{Outbox, Owner};
use crate::preflight::{preflight, why_undone};
use crate::pursuit::is_included;
use crate::rpc::Rpc;
use crate::sender::{Answer, Ask, Known, Outcome, Sender};
use crate::status::Status;
use crate::watcher::{Heads, watch_heads};

/// Requests waiting for the sender task.
const ASKS: usize = 1024;

/// Replacements that go back further than this many blocks behind what is final are not looked for.
pub(crate) const REACH: u64 = 128;

/// Least gas limits. An estimate is of the state now; by the time of inclusion the same command may do more: a
/// replacing bid may have become a first one, an approval the one that admits a member. What is not used is not paid.
const GAS_FEDERATION: u64 = 600_000;
const GAS_CONSORTIUM: u64 = 2_500_000;

/// Client of the two contracts for one account. Clones are cheap and share everything; when the last is dropped, or on
/// [`shutdown`](Self::shutdown), the tasks behind it end. See the crate's documentation for what it promises.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    rpc: Arc<Rpc>,
    heads: Heads,
    config: LedgerConfig,
    chain_id: u64,
    account: Address,
    asks: mpsc::Sender<Ask>,
    tasks: std::sync::Mutex<Option<Tasks>>,
}

struct Tasks {
    /// Ended at any moment.
    watching: JoinSet<()>,
    /// Ends when nobody can ask any more; never in the middle of a write.
    sender: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Ledger {
    /// Connects to the first endpoint that answers, checks that it is the right chain with the right contracts, takes
    /// up what an earlier process left in the store, and starts following the chain.
    ///
    /// An account that is not (yet) a member is no error: reading works, and [`status`](Self::status) says so.
    ///
    /// # Errors
    /// `Unreachable`, `WrongChain`, `NoContract`, `WrongContract`, `ForeignContract`, `Store`, `Config`, `Protocol`,
    /// each saying what to do.
    pub async fn connect(config: LedgerConfig, signer: PrivateKeySigner) -> Result<Self, LedgerError> {
        let rpc = Arc::new(Rpc::new(&config)?);
        let Examined { chain, head, as_built } = examine_through(&rpc, &config).await?;
        rpc.set_head(head);
        let url = rpc.current().url().clone();
        if !as_built {
            tracing::warn!(%url, consortium = %config.consortium, federation = %config.federation,
                "the contracts answer as they should, but their code is not that of this version");
        }
        let path = config.store.clone();
        let outbox = tokio::task::spawn_blocking(move || Outbox::open(&path))
            .await
            .map_err(|_| LedgerError::Stopped)??;
        let account = signer.address();
        outbox.claim(Owner { account, chain }, &url)?;

        let heads = Heads::new();
        let (asks, inbox) = mpsc::channel(ASKS);
        let sender = Sender::new(
            Arc::clone(&rpc),
            heads.clone(),
            signer,
            chain.chain_id,
            config.confirmations,
            outbox,
        );
        let mut watching = JoinSet::new();
        watching.spawn(watch_heads(Arc::clone(&rpc), heads.clone(), config.poll));
        let (stop, stopped) = oneshot::channel();
        let sender = tokio::spawn(sender.run(inbox, stopped));
        let ledger = Self {
            inner: Arc::new(Inner {
                rpc,
                heads,
                chain_id: chain.chain_id,
                config,
                account,
                asks,
                tasks: std::sync::Mutex::new(Some(Tasks { watching, sender, stop })),
            }),
        };
        match ledger.is_member(account).await {
            Ok(_) | Err(LedgerError::NotFinalYet { .. }) => Ok(ledger),
            Err(error) => {
                // So that the store can be opened again at once.
                ledger.shutdown().await;
                Err(error)
            }
        }
    }

    /// The account that commands are sent from.
    #[must_use]
    pub fn account(&self) -> Address {
        self.inner.account
    }

    /// The chain's id.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.inner.chain_id
    }

    /// What it was connected with.
    #[must_use]
    pub fn config(&self) -> &LedgerConfig {
        &self.inner.config
    }

    /// How the connection is doing, now and whenever it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.rpc.status().subscribe()
    }

    /// Height up to which all events were dealt with by whoever reads the event stream; 0 before it has begun.
    #[must_use]
    pub fn events_done(&self) -> Arc<std::sync::atomic::AtomicU64> {
        self.heads().read_up_to()
    }

    pub(crate) fn rpc(&self) -> &Arc<Rpc> {
        &self.inner.rpc
    }

    pub(crate) fn heads(&self) -> &Heads {
        &self.inner.heads
    }

    /// For whoever finds that blocks were replaced; does not keep the client alive.
    pub(crate) fn asks(&self) -> mpsc::WeakSender<Ask> {
        self.inner.asks.downgrade()
    }

    /// Keys of the commands that are neither final nor given up.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn in_flight(&self) -> Result<Vec<IntentKey>, LedgerError> {
        self.ask(|reply| Ask::Open { reply }).await
    }

    /// Gives up a command that is in flight, for example after a timeout: its nonce is used up by an empty transaction
    /// when another command needs the ones after it. The command may still win that race; repeating it tells (a
    /// receipt, or a new attempt). False if there is nothing to give up.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn withdraw_command(&self, key: IntentKey) -> Result<bool, LedgerError> {
        self.ask(|reply| Ask::Withdraw { key, reply }).await
    }

    /// Ends the tasks and closes the store; returns when it can be opened again. What is in flight is taken up by the
    /// next start.
    pub async fn shutdown(&self) {
        let tasks = self
            .inner
            .tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        let Some(mut tasks) = tasks else { return };
        let _ = tasks.stop.send(());
        // It ends by itself after the round it is in; requests in that round have deadlines.
        let _ = tasks.sender.await;
        tasks.watching.shutdown().await;
        self.inner.heads.close();
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.inner
            .asks
            .send(make(reply))
            .await
            .map_err(|_| LedgerError::Stopped)?;
        answer.await.map_err(|_| LedgerError::Stopped)
    }

    pub(crate) async fn federation(
        &self,
        key: IntentKey,
        value: U256,
        call: impl SolCall,
    ) -> Result<Receipt, LedgerError> {
        self.command(
            key,
            self.inner.config.federation,
            value,
            call.abi_encode().into(),
            GAS_FEDERATION,
        )
        .await
    }

    pub(crate) async fn consortium(&self, key: IntentKey, call: impl SolCall) -> Result<Receipt, LedgerError> {
        let to = self.inner.config.consortium;
        self.command(key, to, U256::ZERO, call.abi_encode().into(), GAS_CONSORTIUM)
            .await
    }

    async fn command(
        &self,
        key: IntentKey,
        to: Address,
        value: U256,
        data: Bytes,
        least_gas: u64,
    ) -> Result<Receipt, LedgerError> {
        let call = Call { to, value, data };
        let allowed = self.inner.config.receipt_timeout;
        let attempt = self.attempt(&key, call, least_gas);
        match timeout(allowed, attempt).await {
            Ok(result) => result,
            Err(_) => {
                // The sender answers between rounds, which have deadlines of their own; this one is for the worst case.
                let asked = timeout(Duration::from_secs(1), self.ask(|reply| Ask::Detail { key, reply })).await;
                Err(LedgerError::Timeout {
                    waited: allowed,
                    detail: asked
                        .ok()
                        .and_then(Result::ok)
                        .unwrap_or_else(|| "the ledger is slow to answer".into()),
                })
            }
        }
    }

    async fn attempt(&self, key: &IntentKey, call: Call, least_gas: u64) -> Result<Receipt, LedgerError> {
        let digest = call.digest();
        let known = self
            .ask(|reply| Ask::Look {
                key: key.clone(),
                digest,
                reply,
            })
            .await??;
        let answer: Answer = match known {
            Known::Done(receipt) => match self.reopen_if_undone(key, receipt).await? {
                Some(answer) => answer,
                None => return Ok(receipt),
            },
            Known::Open(answer) => answer,
            Known::Nothing => {
                let gas = preflight(&self.inner.rpc, self.inner.account, &call).await?;
                let (reply, answer) = oneshot::channel();
                let submit = Ask::Submit {
                    key: key.clone(),
                    call: call.clone(),
                    gas: gas.max(least_gas),
                    reply,
                };
                self.inner.asks.send(submit).await.map_err(|_| LedgerError::Stopped)?;
                answer
            }
        };
        self.outcome(answer, &call).await
    }

    /// A command that was final may have been undone with its block. Asked only of those that are repeated, and only while
    /// that is not too long ago.
    async fn reopen_if_undone(&self, key: &IntentKey, receipt: Receipt) -> Result<Option<Answer>, LedgerError> {
        let head = match self.inner.heads.newest() {
            Some(seen) => seen.head,
            None => self.inner.rpc.latest().await?,
        };
        if receipt.block.saturating_add(REACH) < self.inner.heads.settled(head, self.inner.config.confirmations)
            || is_included(&self.inner.rpc, receipt).await?
        {
            return Ok(None);
        }
        let key = key.clone();
        self.ask(|reply| Ask::Reopen { key, reply }).await
    }

    async fn outcome(&self, answer: Answer, call: &Call) -> Result<Receipt, LedgerError> {
        match answer.await.map_err(|_| LedgerError::Stopped)?? {
            Outcome::Landed(receipt) => Ok(receipt),
            Outcome::Refused(refusal) => Err(refusal.into()),
            Outcome::Rejected(reason) => Err(LedgerError::Rejected { reason }),
            Outcome::Reverted { tx, block } => {
                match why_undone(&self.inner.rpc, self.inner.account, call, block).await {
                    Ok(refusal) => Err(refusal.into()),
                    Err(reason) => Err(LedgerError::Reverted { tx, block, reason }),
                }
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.heads.close();
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("account", &self.inner.account)
            .field("chain_id", &self.inner.chain_id)
            .finish_non_exhaustive()
    }
}
