//! Which replicas run where: of N here, M move to the provider, N−M stay, and at the end all are here again.

use serde::{Deserialize, Serialize};

/// Replicas of one service at the two parties. Their sum never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    consumer: u32,
    provider: u32,
}

/// More replicas would move than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{moving} replicas cannot move: {present} run here; move 1 to {present}")]
pub struct CannotMove {
    /// How many would move.
    pub moving: u32,
    /// How many there are.
    pub present: u32,
}

impl Placement {
    /// All of them at the consumer.
    pub fn at_home(replicas: u32) -> Self {
        Self {
            consumer: replicas,
            provider: 0,
        }
    }

    /// At the consumer.
    pub fn consumer(self) -> u32 {
        self.consumer
    }

    /// At the provider.
    pub fn provider(self) -> u32 {
        self.provider
    }

    /// At both.
    pub fn total(self) -> u32 {
        self.consumer + self.provider
    }

    /// With `moving` of the consumer's replicas at the provider. At least one moves; all may.
    pub fn move_out(self, moving: u32) -> Result<Self, CannotMove> {
        match self.consumer.checked_sub(moving) {
            Some(consumer) if moving > 0 => Ok(Self {
                consumer,
                provider: self.provider + moving,
            }),
            _ => Err(CannotMove {
                moving,
                present: self.consumer,
            }),
        }
    }

    /// With all replicas at the consumer again, as after the end of the agreement.
    pub fn move_home(self) -> Self {
        Self::at_home(self.total())
    }
}
