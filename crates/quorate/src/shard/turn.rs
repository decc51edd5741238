//! The clocks that a turn of the shard goes by.

use quorate_cluster::time::Instant;

use super::Shard;

/// The two clocks, read once a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) monotonic: Instant,
    /// Microseconds since the Unix epoch.
    pub(crate) wall_us: u64,
}

impl Now {
    /// Milliseconds since the Unix epoch.
    pub(crate) fn wall_ms(self) -> u64 {
        self.wall_us / 1_000
    }
}

impl Shard {
    /// Begins a turn at this time. Returns the time that the turn goes by: its wall clock is the
    /// machine's as far as that is believed.
    pub(crate) fn begin_turn(&mut self, now: Now) -> Now {
        let alone = self.topology().len() == 1;
        let monotonic = now.monotonic;
        self.machine = now;
        let was_in_doubt = self.clock.is_in_doubt();
        let (wall_us, jumped) = self.clock.read(monotonic, now.wall_us, alone, self.peers.clocks());
        let now = Now { monotonic, wall_us };
        if let Some(ms) = jumped {
            tracing::warn!(ms, "the clock has jumped");
            self.peers.handle_clock_jump(ms);
        }
        let in_doubt = self.clock.is_in_doubt();
        if in_doubt != was_in_doubt {
            tracing::warn!(in_doubt, "whether this node's clock is contradicted has changed");
        }
        self.coordinator.handle_clock(in_doubt);
        let (me, read_only) = (self.topology().me(), self.storage.is_read_only());
        self.coordinator.handle_read_only(me, read_only);
        self.storage.begin_turn(now.wall_ms(), in_doubt);
        self.turn += 1;
        self.stats.begin_turn(monotonic, self.node.adjustable.slow_micros());
        self.resume_unfinished(now);
        now
    }

    /// What has just arrived had not when the turn began, and is executed at the moment at which it
    /// arrived: by the clock of its sender, no time to live may be longer than it was set. Returns the
    /// turn's time with the wall clock of now.
    pub(crate) fn advance_wall_clock(&mut self, now: Now, monotonic: Instant) -> Now {
        let passed = u64::try_from(monotonic.since(now.monotonic).as_micros()).unwrap_or(0);
        let now = Now { wall_us: now.wall_us.saturating_add(passed), ..now };
        self.storage.wall_ms = self.storage.wall_ms.max(now.wall_ms());
        now
    }

    /// The clocks show this in the middle of a turn. A long one must not answer for others' clocks with
    /// what its own showed when it began.
    pub(crate) fn read_clocks(&mut self, now: Now) {
        self.machine = now;
    }
}
