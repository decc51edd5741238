//! The only place that reads the clocks.

use std::time::{Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use quorate_cluster::time::Instant;
use quorate_node::shard::Now;

/// Both clocks of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: SystemInstant,
}

impl Clock {
    /// A clock whose monotonic side starts now.
    pub(crate) fn start() -> Self {
        Self { start: SystemInstant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        Now { monotonic: self.monotonic(), wall_us: wall_us() }
    }

    /// The monotonic side alone.
    pub(crate) fn monotonic(&self) -> Instant {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Instant::from_micros(micros)
    }
}

/// Microseconds since the Unix epoch.
fn wall_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
