//! What a provider has to give and what of it is promised: by an open bid, by an award, until the agreement has ended or
//! another was chosen. Nothing else frees it, and nothing stays reserved after that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::terms::{Field, Shortfall, shortfalls};
use crate::{Account, Agreement, AgreementId, State, Terms};

/// What one provider has promised. Reserve before bidding, so that two bids never promise the same core.
///
/// Capacity is given as [`Terms`]: CPU, memory and replicas are the totals for all agreements together; availability,
/// latency, jitter and bandwidth are what each single agreement gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservations {
    capacity: Terms,
    held: BTreeMap<AgreementId, Terms>,
}

/// What a provider lacks for a service, never empty. CPU, memory and replicas are totals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this domain cannot offer that: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Shortage(pub Vec<Shortfall>);

/// Totals over all replicas.
#[derive(Clone, Copy, Default)]
struct Resources {
    cpu_millicores: u64,
    ram_mb: u64,
    replicas: u64,
}

impl Resources {
    /// What so many replicas under these terms take.
    fn of(terms: &Terms) -> Self {
        let replicas = u64::from(terms.replicas);
        Self {
            cpu_millicores: replicas * u64::from(terms.cpu_millicores),
            ram_mb: replicas * u64::from(terms.ram_mb),
            replicas,
        }
    }

    fn total(capacity: &Terms) -> Self {
        Self {
            cpu_millicores: capacity.cpu_millicores.into(),
            ram_mb: capacity.ram_mb.into(),
            replicas: capacity.replicas.into(),
        }
    }
}

impl Reservations {
    /// Nothing is promised of `capacity` yet.
    pub fn new(capacity: Terms) -> Self {
        Self {
            capacity,
            held: BTreeMap::new(),
        }
    }

    /// Notes that `terms` are promised for an agreement, in place of what was promised for it before. Ask
    /// [`Reservations::offer_for`] first whether there is room; what the ledger holds a provider to is noted even if not.
    pub fn reserve(&mut self, id: AgreementId, terms: &Terms) {
        self.held.insert(id, *terms);
    }

    /// Takes back what was promised for an agreement; nothing happens if nothing was.
    pub fn release(&mut self, id: AgreementId) {
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
            self.release(agreement.id());
        }
    }

    /// What is promised, for each agreement.
    pub fn held(&self) -> impl Iterator<Item = (AgreementId, &Terms)> {
        self.held.iter().map(|(id, terms)| (*id, terms))
    }

    /// Terms that meet `wanted` beside all that is promised already, or what is missing.
    pub fn offer_for(&self, wanted: &Terms) -> Result<Terms, Shortage> {
        let offer = Terms {
            cpu_millicores: wanted.cpu_millicores,
            ram_mb: wanted.ram_mb,
            replicas: wanted.replicas,
            ..self.capacity
        };
        let mut missing = shortfalls(wanted, &offer);
        let (needed, free) = (Resources::of(wanted), self.free());
        missing.extend(
            [
                (Field::CpuMillicores, needed.cpu_millicores, free.cpu_millicores),
                (Field::RamMb, needed.ram_mb, free.ram_mb),
                (Field::Replicas, needed.replicas, free.replicas),
            ]
            .into_iter()
            .filter(|(_, needed, free)| needed > free)
            .map(|(field, needed, free)| Shortfall {
                field,
                required: needed,
                offered: free,
            }),
        );
        if missing.is_empty() {
            Ok(offer)
        } else {
            Err(Shortage(missing))
        }
    }

    /// Zero where the capacity has shrunk below what is promised.
    fn free(&self) -> Resources {
        self.held
            .values()
            .map(Resources::of)
            .fold(Resources::total(&self.capacity), |free, taken| Resources {
                cpu_millicores: free.cpu_millicores.saturating_sub(taken.cpu_millicores),
                ram_mb: free.ram_mb.saturating_sub(taken.ram_mb),
                replicas: free.replicas.saturating_sub(taken.replicas),
            })
    }
}
