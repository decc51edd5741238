//! Removing the keys whose time to live is over, at the pace at which they come.

use quorate_proto::Fitness;

use super::Storage;
use crate::limits;

/// How far the removal of expired keys is.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    /// How often an expiry was set before this turn.
    scheduled_before: u64,
    /// Whether keys that are due are left for the next turn.
    is_behind: bool,
}

impl Storage {
    /// Begins a turn at this time.
    pub(crate) fn begin_turn(&mut self, wall_ms: u64, fitness: Fitness) {
        (self.wall_ms, self.fitness) = (wall_ms, fitness);
        self.scans.get_mut().forget(self.monotonic);
        if !self.is_lent() {
            self.expiring.scheduled_before = self.store.scheduled();
        }
    }

    /// Removes some of the keys that are due: more than have come in this turn, so that no rate of
    /// writes leaves them behind, and no more than keeps turns short; none unless `active`.
    pub(crate) fn advance_expiring(&mut self, active: bool) {
        // A clock that may be wrong says nothing of what is due.
        if self.is_in_doubt() || !active {
            self.expiring.is_behind = false;
            return;
        }
        let came = self.store.scheduled() - self.expiring.scheduled_before;
        let came = usize::try_from(came).unwrap_or(usize::MAX);
        let limit = limits::EXPIRED_PER_TURN_MAX.max(came.saturating_mul(2));
        self.expiring.is_behind = self.store.sweep_expired(self.wall_ms, limit) == limit;
        self.index_changes();
    }

    /// Whether keys that are due are left for the next turn.
    pub(super) fn is_expiring(&self) -> bool {
        self.expiring.is_behind
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Slot, Unfit, command::Call, resp::Command};

    use super::*;
    use crate::storage::rounds::storage;

    fn set(storage: &mut Storage, number: usize, ttl_ms: u64) {
        let key = format!("key:{number}");
        let command = Command::from_args(["SET", &key, "v", "PX", &ttl_ms.to_string()]);
        storage
            .execute_now(&Call::piece(Slot::of_key(key.as_bytes()), command), false)
            .expect("is carried out");
    }

    #[test]
    fn no_rate_of_writes_leaves_expired_keys_behind() {
        for per_turn in [10, 1_000, 10_000] {
            let mut storage = storage(0);
            for turn in 0..20 {
                storage.begin_turn(1_000 + 10 * turn, Fitness::FIT);
                (0..per_turn).for_each(|n| set(&mut storage, turn as usize * per_turn + n, 20));
                storage.advance_expiring(true);
            }
            // Those of two turns live, and those of this one.
            assert!(storage.store.len() <= 3 * per_turn, "{} keys", storage.store.len());
        }
    }

    #[test]
    fn many_that_are_due_at_once_go_turn_by_turn() {
        let mut storage = storage(0);
        storage.begin_turn(1_000, Fitness::FIT);
        (0..10_000).for_each(|number| set(&mut storage, number, 500));
        let mut turns = 0;
        loop {
            storage.begin_turn(1_600, Fitness::FIT);
            let before = storage.store.len();
            storage.advance_expiring(true);
            assert!(before - storage.store.len() <= limits::EXPIRED_PER_TURN_MAX);
            turns += 1;
            if !storage.is_busy() {
                break;
            }
        }
        assert_eq!(
            (storage.store.len(), turns),
            (0, 10_000_usize.div_ceil(limits::EXPIRED_PER_TURN_MAX))
        );
    }

    #[test]
    fn in_doubt_of_the_clock_nothing_goes() {
        let mut storage = storage(0);
        storage.begin_turn(1_000, Fitness::FIT);
        set(&mut storage, 1, 500);
        storage.begin_turn(10_000_000, Fitness::FIT.with(Unfit::ClockInDoubt, true));
        storage.advance_expiring(true);
        assert_eq!((storage.store.len(), storage.is_busy()), (1, false));
    }
}
