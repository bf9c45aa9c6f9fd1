//! How many replicas each ReplicaSet of a Deployment shall have. Pure.
//!
//! The rules are those of the upstream deployment controller: never more than `replicas + maxSurge`
//! pods, never fewer than `replicas - maxUnavailable` available ones by its own doing; replicas that
//! are not available are taken from old sets first; a change of `replicas` during a roll-out is
//! spread over the sets in proportion.

use k8s_openapi::{
    api::apps::v1::{DeploymentSpec, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt as _;

use super::{DESIRED_REPLICAS, MAX_REPLICAS};
use crate::workload::int_or_percent::{Rounding, resolve};

/// What a Deployment wants, with percentages resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) replicas: i32,
    pub(super) max_surge: i32,
    pub(super) max_unavailable: i32,
    pub(super) rolling: bool,
}

impl Wanted {
    pub(super) fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1).max(0);
        let strategy = spec.strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("Recreate") {
            return Self {
                replicas,
                max_surge: 0,
                max_unavailable: 0,
                rolling: false,
            };
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let quarter = || IntOrString::String("25%".to_owned());
        let max_surge = resolve(&rolling.max_surge.unwrap_or_else(quarter), replicas, Rounding::Up);
        let unavailable = resolve(
            &rolling.max_unavailable.unwrap_or_else(quarter),
            replicas,
            Rounding::Down,
        );
        // Both zero would never move.
        let unavailable = if max_surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        Self {
            replicas,
            max_surge,
            max_unavailable: unavailable.min(replicas),
            rolling: true,
        }
    }

    pub(super) fn max_total(self) -> i32 {
        self.replicas.saturating_add(self.max_surge)
    }

    pub(super) fn min_available(self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

/// The figures of one ReplicaSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: String,
    /// `spec.replicas`.
    pub(super) replicas: i32,
    pub(super) available: i32,
    /// Pods that exist or are ending.
    pub(super) pods: i32,
    /// What the Deployment wanted when the set was last scaled.
    pub(super) desired_then: Option<i32>,
    /// What the Deployment allowed at most when the set was last scaled.
    pub(super) max_then: Option<i32>,
}

impl Set {
    pub(super) fn of(set: &ReplicaSet) -> Self {
        let annotation = |name: &str| set.annotations().get(name).and_then(|text| text.parse().ok());
        let status = set.status.clone().unwrap_or_default();
        Self {
            name: set.name_any(),
            replicas: set.spec.replicas.unwrap_or(1),
            available: status.available_replicas.unwrap_or(0),
            pods: status.replicas + status.terminating_replicas.unwrap_or(0),
            desired_then: annotation(DESIRED_REPLICAS),
            max_then: annotation(MAX_REPLICAS),
        }
    }
}

/// A set that shall have another number of replicas.
pub(super) type Scaling = (String, i32);

/// Whether `replicas` changed since the sets were last scaled.
pub(super) fn is_scaling_event(wanted: Wanted, sets: &[Set]) -> bool {
    sets.iter()
        .filter(|set| set.replicas > 0)
        .any(|set| set.desired_then.is_some_and(|then| then != wanted.replicas))
}

/// The replicas that the set of the current template starts or goes on with.
pub(super) fn new_replicas(wanted: Wanted, new: i32, all: i32) -> i32 {
    if !wanted.rolling {
        return wanted.replicas;
    }
    let room = wanted.max_total() - all;
    if room <= 0 {
        return new;
    }
    new + room.min(wanted.replicas - new)
}

/// One step of a roll-out. `old` is ordered by age.
pub(super) fn roll(wanted: Wanted, new: &Set, old: &[Set]) -> Vec<Scaling> {
    let all = new.replicas + old.iter().map(|set| set.replicas).sum::<i32>();
    if !wanted.rolling {
        let down: Vec<Scaling> = old
            .iter()
            .filter(|set| set.replicas > 0)
            .map(|set| (set.name.clone(), 0))
            .collect();
        if !down.is_empty() || old.iter().any(|set| set.pods > 0) {
            return down;
        }
    }
    let goal = if new.replicas > wanted.replicas {
        wanted.replicas
    } else {
        new_replicas(wanted, new.replicas, all)
    };
    if goal != new.replicas {
        return vec![(new.name.clone(), goal)];
    }
    scale_down_old(wanted, new, old, all)
}

fn scale_down_old(wanted: Wanted, new: &Set, old: &[Set], all: i32) -> Vec<Scaling> {
    let new_unavailable = new.replicas - new.available;
    let spare = all - wanted.min_available() - new_unavailable;
    if spare <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(|set| set.replicas).collect();
    // Replicas that are not available can go without harm.
    let mut left = spare;
    for (size, set) in sizes.iter_mut().zip(old) {
        let unhealthy = (*size - set.available).clamp(0, left);
        *size -= unhealthy;
        left -= unhealthy;
    }
    let available = new.available + old.iter().map(|set| set.available).sum::<i32>();
    let mut left = (available - wanted.min_available()).max(0);
    for size in &mut sizes {
        let down = (*size).min(left);
        *size -= down;
        left -= down;
    }
    let changed = sizes.into_iter().zip(old).filter(|(size, set)| *size != set.replicas);
    changed.map(|(size, set)| (set.name.clone(), size)).collect()
}

/// Spreads a change of `replicas` over the sets. `sets` is ordered by age, `new` names the set of the
/// current template; `status_replicas` stands in for a missing annotation.
pub(super) fn scale(wanted: Wanted, sets: &[Set], new: Option<&str>, status_replicas: i32) -> Vec<Scaling> {
    let active: Vec<&Set> = sets.iter().filter(|set| set.replicas > 0).collect();
    let current = sets.iter().find(|set| Some(set.name.as_str()) == new);
    let only = match active.as_slice() {
        [] => current.or(sets.last()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(set) = only {
        return if set.replicas == wanted.replicas {
            Vec::new()
        } else {
            vec![(set.name.clone(), wanted.replicas)]
        };
    }
    let saturated = current.is_some_and(|set| {
        set.replicas == wanted.replicas && set.desired_then == Some(wanted.replicas) && set.available == wanted.replicas
    });
    if saturated {
        let old = active.iter().filter(|set| Some(set.name.as_str()) != new);
        return old.map(|set| (set.name.clone(), 0)).collect();
    }
    if !wanted.rolling {
        return Vec::new();
    }
    let all: i32 = active.iter().map(|set| set.replicas).sum();
    let allowed = if wanted.replicas > 0 { wanted.max_total() } else { 0 };
    let to_add = allowed - all;
    // The largest first; among equals the newest grows and the oldest shrinks.
    let mut order: Vec<(usize, &Set)> = active.into_iter().enumerate().collect();
    order.sort_by_key(|(age, set)| {
        let age = i64::try_from(*age).unwrap_or(i64::MAX);
        (-i64::from(set.replicas), if to_add > 0 { -age } else { age })
    });
    let mut added = 0;
    let mut sizes: Vec<(String, i32)> = Vec::new();
    for (_, set) in &order {
        let share = share(wanted, set, status_replicas);
        let left = to_add - added;
        let part = if to_add > 0 {
            share.clamp(0, left)
        } else {
            share.clamp(left, 0)
        };
        added += part;
        sizes.push((set.name.clone(), set.replicas + part));
    }
    if let Some(first) = sizes.first_mut() {
        first.1 = (first.1 + to_add - added).max(0);
    }
    // Sets whose size stays are named too: they must note what is wanted now, or this would go on.
    sizes
}

/// The set's part of a change, in proportion to its size.
fn share(wanted: Wanted, set: &Set, status_replicas: i32) -> i32 {
    if wanted.replicas == 0 {
        return -set.replicas;
    }
    let before = set.max_then.unwrap_or(status_replicas);
    if before <= 0 {
        return 0;
    }
    let size = f64::from(set.replicas) * f64::from(wanted.max_total()) / f64::from(before);
    // Saturates, which the caller's bounds make harmless.
    #[allow(clippy::cast_possible_truncation)]
    let size = size.round() as i32;
    size - set.replicas
}

#[cfg(test)]
mod tests;
