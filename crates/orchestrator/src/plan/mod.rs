//! Pure decisions: what the ledger says + what was done so far + the time → the next action.

pub mod consumer;
pub mod provider;
#[cfg(test)]
mod tests;

/// The answer of both plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<Action> {
    /// Do this, then ask again.
    Do(Action),
    /// Nothing before this Unix time (ms), unless something happens on the ledger or the owner wants something else.
    WaitUntil(u64),
    /// Nothing, until something happens.
    Wait,
    /// Nothing ever again.
    Done,
}

/// Whether the last second of `deadline` (Unix seconds) is over.
fn after(deadline: u64, now_ms: u64) -> bool {
    now_ms / 1000 > deadline
}

/// The first millisecond that is [`after`] the deadline.
fn start_of_next(deadline: u64) -> u64 {
    (deadline + 1) * 1000
}
