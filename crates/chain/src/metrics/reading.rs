//! What a node can tell of itself at any time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::UNIX_EPOCH;

use alloy::primitives::Address;
use hanse_metrics::{Page, Reading};
use tokio::sync::watch;

use super::name;
use crate::consensus::{ConsensusStatus, EvidenceBook, Misbehaviour};
use crate::ledger::Ledger;
use crate::turns::Standings;

/// Reads a node. It does not keep the node's store open.
#[derive(Debug)]
pub struct NodeReading {
    pub(crate) ledger: Weak<Ledger>,
    pub(crate) status: watch::Receiver<ConsensusStatus>,
    pub(crate) evidence: EvidenceBook,
    pub(crate) data_dir: PathBuf,
}

impl Reading for NodeReading {
    fn read(&self, page: &mut Page<'_>) -> fmt::Result {
        let status = self.status.borrow().clone();
        read_status(page, &status)?;
        self.read_misbehaviour(page)?;
        self.read_files(page)?;
        match self.ledger.upgrade() {
            Some(ledger) => read_ledger(page, &ledger),
            None => Ok(()),
        }
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

fn read_status(page: &mut Page<'_>, status: &ConsensusStatus) -> fmt::Result {
    page.gauge(
        "hanse_ledger_height",
        "Height of the newest block that this node has committed",
        status.height as f64,
    )?;
    page.gauge_if_known(
        "hanse_ledger_highest_known_height",
        "Height that more validators claim to have than may lie; absent until enough were heard",
        status.highest.map(|height| height as f64),
    )?;
    let committed = status.last_block.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    page.gauge_if_known(
        "hanse_ledger_last_commit_timestamp_seconds",
        "Unix time at which this node committed its newest block; absent until it has committed one",
        committed.map(|at| at.as_secs_f64()),
    )?;
    page.gauge(
        "hanse_ledger_validators",
        "Validators of the next height",
        status.validators as f64,
    )?;
    page.gauge(
        "hanse_ledger_quorum_validators",
        "Validators of the next height that must be connected with each other for a block to be decided",
        status.quorum as f64,
    )?;
    let own = usize::from(status.is_validator);
    let others = status.validators - own.min(status.validators);
    let connected = status.connected.saturating_sub(own);
    let state = |state: &str, count: usize| ([("state", state.to_owned())], count as f64);
    page.gauges(
        "hanse_ledger_peers",
        "Other nodes: validators that are connected or away, and connected guests, who follow the ledger without a vote",
        [
            state("connected", connected),
            state("away", others.saturating_sub(connected)),
            state("guest", status.guests),
        ],
    )?;
    page.gauge(
        "hanse_ledger_validating",
        "1 if this node is a validator of the next height, else 0",
        flag(status.is_validator),
    )?;
    page.gauge(
        "hanse_ledger_standstill",
        "1 while the height stands still although a quorum is connected and the watchdog had to restart the engine, else 0",
        flag(status.standstill),
    )?;
    page.gauge(
        "hanse_ledger_halted",
        "1 if this node has stopped to take part because going on would be wrong, else 0",
        flag(status.halted.is_some()),
    )?;
    page.counter(
        "hanse_ledger_engine_restarts",
        "Restarts of the consensus engine within this process because it had died or gone silent",
        status.engine_restarts.into(),
    )
}

fn read_ledger(page: &mut Page<'_>, ledger: &Ledger) -> fmt::Result {
    let head = ledger.head();
    let header = head.snapshot().header();
    page.gauge(
        "hanse_ledger_block_timestamp_seconds",
        "Time in the header of the newest block, Unix time",
        header.timestamp as f64,
    )?;
    let check = ledger.state_check();
    page.gauge(
        "hanse_ledger_state_root_checked_height",
        "Newest height at which this node executed the decided block itself and compared all roots",
        check.height as f64,
    )?;
    page.gauge(
        "hanse_ledger_state_root_agrees",
        "1 if the roots were equal there, 0 if a decided block gave this node another state than the others",
        flag(check.agrees),
    )?;
    // Damage of the header would have kept it from being the head.
    let standings = Standings::after_block(header).unwrap_or_default();
    let misses = |validator: &Address| {
        let absence = standings.absences().iter().find(|it| it.member() == *validator);
        absence.map_or(0, |absence| absence.misses())
    };
    let validators = head.rules().validators.iter();
    page.gauges(
        "hanse_ledger_missed_proposals_in_a_row",
        "Turns to propose that a validator has let pass since it last made one, as the newest block records it",
        validators.map(|it| ([name(&it.account)], f64::from(misses(&it.account)))),
    )?;
    let load = ledger.mempool().load();
    page.gauge(
        "hanse_mempool_transactions",
        "Transactions that wait, those behind a nonce gap included",
        load.transactions as f64,
    )?;
    page.gauge(
        "hanse_mempool_ready_transactions",
        "Transactions that could go into the next block",
        load.ready as f64,
    )?;
    page.gauge(
        "hanse_mempool_size_bytes",
        "Encoded bytes of the transactions that wait",
        load.bytes as f64,
    )
}

impl NodeReading {
    fn read_misbehaviour(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.evidence.counts();
        let of = |kinds: &'static [Misbehaviour]| {
            let counts = counts.iter().filter(move |((_, kind), _)| kinds.contains(kind));
            let mut by_validator = std::collections::BTreeMap::new();
            for ((validator, _), count) in counts {
                *by_validator.entry(*validator).or_insert(0) += *count;
            }
            by_validator
                .into_iter()
                .map(|(validator, count)| ([name(&validator)], count))
        };
        page.counters(
            "hanse_ledger_equivocations",
            "Heights at which a validator signed two different votes or proposals for one round, as far as this node has seen; \
             kept over restarts",
            of(&[Misbehaviour::DoubleVote, Misbehaviour::DoubleProposal]),
        )?;
        page.counters(
            "hanse_ledger_invalid_proposals",
            "Blocks that a validator proposed and this node refused, for instance because of a wrong state root; kept over \
             restarts",
            of(&[Misbehaviour::InvalidBlock]),
        )
    }

    fn read_files(&self, page: &mut Page<'_>) -> fmt::Result {
        let store = self.data_dir.join(crate::store::FILE_NAME);
        let consensus = crate::consensus::folder(&self.data_dir);
        let part = |part: &str, bytes: u64| ([("part", part.to_owned())], bytes as f64);
        page.gauges(
            "hanse_ledger_store_size_bytes",
            "Size of the files on disk: blocks and state, and the write-ahead log of consensus with the evidence",
            [
                part("store", length(&store)),
                part("consensus", folder_length(&consensus)),
            ],
        )
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |it| it.len())
}

fn folder_length(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| length(&file.path())).sum()
}
