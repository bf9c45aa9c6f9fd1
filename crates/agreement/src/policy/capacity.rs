//! What a provider has to give and what of it is promised: by an open bid, by an award, until the agreement has ended or
//! another was chosen. Nothing else frees it, and nothing stays reserved after that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Account, Agreement, AgreementId, State, Terms};

/// Computing resources of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_millicores: u64,
    /// Mebibytes.
    pub ram_mb: u64,
    /// Megabits a second.
    pub bandwidth_mbps: u64,
}

impl Capacity {
    /// What so many replicas under these terms take; bandwidth is that of the service as a whole.
    pub fn of(terms: &Terms) -> Self {
        let replicas = u64::from(terms.replicas);
        Self {
            cpu_millicores: replicas * u64::from(terms.cpu_millicores),
            ram_mb: replicas * u64::from(terms.ram_mb),
            bandwidth_mbps: terms.bandwidth_mbps.into(),
        }
    }

    /// What is left, or `None` where `part` is more than there is.
    pub fn checked_sub(self, part: Self) -> Option<Self> {
        Some(Self {
            cpu_millicores: self.cpu_millicores.checked_sub(part.cpu_millicores)?,
            ram_mb: self.ram_mb.checked_sub(part.ram_mb)?,
            bandwidth_mbps: self.bandwidth_mbps.checked_sub(part.bandwidth_mbps)?,
        })
    }

    fn saturating_add(self, other: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.saturating_add(other.cpu_millicores),
            ram_mb: self.ram_mb.saturating_add(other.ram_mb),
            bandwidth_mbps: self.bandwidth_mbps.saturating_add(other.bandwidth_mbps),
        }
    }

    fn saturating_sub(self, other: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.saturating_sub(other.cpu_millicores),
            ram_mb: self.ram_mb.saturating_sub(other.ram_mb),
            bandwidth_mbps: self.bandwidth_mbps.saturating_sub(other.bandwidth_mbps),
        }
    }
}

/// What one provider has promised. Reserve before bidding, so that two bids never promise the same core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservations {
    total: Capacity,
    held: BTreeMap<AgreementId, Capacity>,
}

/// Less is free than what would be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not enough is free: {} millicores, {} MiB and {} Mbit/s are needed, {} millicores, {} MiB and {} Mbit/s are left",
    needed.cpu_millicores, needed.ram_mb, needed.bandwidth_mbps, free.cpu_millicores, free.ram_mb, free.bandwidth_mbps
)]
pub struct NotEnough {
    /// What would be promised.
    pub needed: Capacity,
    /// What is left.
    pub free: Capacity,
}

impl Reservations {
    /// Nothing is promised of `total` yet.
    pub fn new(total: Capacity) -> Self {
        Self {
            total,
            held: BTreeMap::new(),
        }
    }

    /// What is not promised. Zero where `total` has shrunk below what is.
    pub fn free(&self) -> Capacity {
        self.total.saturating_sub(self.reserved())
    }

    /// What is promised.
    pub fn reserved(&self) -> Capacity {
        self.held
            .values()
            .fold(Capacity::default(), |sum, part| sum.saturating_add(*part))
    }

    /// The agreements for which something is promised.
    pub fn agreements(&self) -> impl Iterator<Item = AgreementId> {
        self.held.keys().copied()
    }

    /// The cluster has grown or shrunk. What is promised stays so.
    pub fn set_total(&mut self, total: Capacity) {
        self.total = total;
    }

    /// Promises `needed` for an agreement, in place of what was promised for it before.
    pub fn reserve(&mut self, id: AgreementId, needed: Capacity) -> Result<(), NotEnough> {
        let mine = self.held.get(&id).copied().unwrap_or_default();
        let free = self.total.saturating_sub(self.reserved().saturating_sub(mine));
        if free.checked_sub(needed).is_none() {
            return Err(NotEnough { needed, free });
        }
        self.held.insert(id, needed);
        Ok(())
    }

    /// Takes back what was promised for an agreement; nothing happens if nothing was.
    pub fn free_agreement(&mut self, id: AgreementId) {
        self.held.remove(&id);
    }

    /// Frees what `agreement`, as the ledger now has it, no longer needs: it has ended, or someone other than `me` was
    /// chosen. To be called with each change seen on the ledger; repeating it changes nothing.
    pub fn observe(&mut self, me: Account, agreement: &Agreement) {
        let needed = match agreement.state {
            State::Open => true,
            State::Awarded | State::Deployed | State::Confirmed => agreement.provider == Some(me),
            State::Terminated | State::Cancelled | State::Expired => false,
        };
        if !needed {
            self.free_agreement(agreement.id());
        }
    }
}
