//! How fast slots go to other members: at the pace that was set while this shard serves clients, and
//! faster while it does not.

use quorate_cluster::{limits::SYNC_BYTES_PER_SECOND, time::Instant};

use super::Shard;
use crate::limits::{MOVEMENT_IDLE_FACTOR, SERVING_FOR};

/// What is known of whether clients are served.
#[derive(Debug)]
pub(super) struct Pacing {
    /// What the coordinator had counted when somebody was served last.
    served: u64,
    serving_until: Instant,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { served: 0, serving_until: Instant::ZERO }
    }
}

impl Shard {
    /// Sets the pace of rounds for this turn.
    pub(super) fn pace_rounds(&mut self, now: Instant) {
        let served = self.coordinator.served();
        if self.pacing.served != served {
            self.pacing = Pacing { served, serving_until: now + SERVING_FOR };
        }
        let bytes_per_second = if self.topology().is_moving() {
            let shards = u64::from(self.node.settings.shards.max(1));
            let limit = self.node.adjustable.movement_bytes_per_second() / shards;
            let is_serving = now < self.pacing.serving_until;
            if is_serving { limit } else { limit.saturating_mul(MOVEMENT_IDLE_FACTOR) }
        } else {
            SYNC_BYTES_PER_SECOND
        };
        self.anti_entropy.set_pace(now, bytes_per_second);
    }
}
