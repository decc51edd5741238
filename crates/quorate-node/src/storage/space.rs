//! What a shard does while there is no space for its log.
//!
//! It takes what still fits, executes nothing that others can execute, tells them so, and looks for
//! space from time to time: to ask the file system for some with every write would keep it busy
//! with refusing.

use quorate_cluster::coordinator::Rejection;
use quorate_log::LogError;
use quorate_proto::{Slot, message::Cause};

use super::Storage;
use crate::limits;

/// Whether there is space for the log.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// A write has found none.
    missing: Option<Missing>,
    /// Wall clock when it was found last.
    found_ms: u64,
    /// How long to wait before it is looked for again.
    pause_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    /// Wall clock when it was looked for last.
    looked_ms: u64,
    /// Bytes with which the log goes on.
    wanted: usize,
}

impl Storage {
    /// Whether the log takes no writes: it has failed, or a write has found no space.
    pub(crate) fn is_read_only(&self) -> bool {
        self.has_failed() || self.space.missing.is_some()
    }

    /// Whether this replica executes writes on `slot`. One that has refused a write refuses those
    /// that follow too, or they would overtake it on its way to the next executor.
    pub(super) fn check_may_execute(&self, slot: Slot) -> Result<(), Rejection> {
        let has_others = self.topology.replicas(slot).len() > 1;
        if self.space.missing.is_some() && has_others { Err(no_space()) } else { Ok(()) }
    }

    /// Makes sure that the log can take `bytes`, before a change is made that it must hold.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), Rejection> {
        let Some(log) = &mut self.log else { return Ok(()) };
        if self.space.missing.is_some() && !log.fits(bytes) {
            return Err(no_space());
        }
        match log.reserve(bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.missed_space(error, bytes)),
        }
    }

    /// The log could not take so many bytes. Returns why nothing was done.
    pub(super) fn missed_space(&mut self, error: LogError, bytes: usize) -> Rejection {
        let text = format!("the log cannot take a write: {error}");
        if let LogError::Full(error) = error {
            let wanted = bytes.clamp(limits::SPACE_MIN, limits::SPACE_MAX);
            let looked_ms = self.wall_ms;
            self.space.missing = Some(Missing { looked_ms, wanted });
            let was_found = self.wall_ms.abs_diff(self.space.found_ms) < limits::SPACE_LASTS_MS;
            self.space.pause_ms = if was_found { self.space.pause_ms * 2 } else { 0 }
                .clamp(limits::SPACE_PAUSE_MIN_MS, limits::SPACE_PAUSE_MAX_MS);
            if !was_found {
                tracing::error!(
                    %error,
                    bytes,
                    "no space for the log: other replicas execute writes until there is some"
                );
            }
        }
        Rejection { cause: Cause::StoreFull, text }
    }

    /// Looks for space, a while after a write has found none. Where that was wrong the pause grows.
    pub(crate) fn look_for_space(&mut self) {
        let (Some(missing), Some(log)) = (&mut self.space.missing, &mut self.log) else { return };
        if self.wall_ms.abs_diff(missing.looked_ms) < self.space.pause_ms {
            return;
        }
        missing.looked_ms = self.wall_ms;
        if log.reserve(missing.wanted).is_ok() {
            tracing::info!("there is space for the log again");
            self.space.missing = None;
            self.space.found_ms = self.wall_ms;
        }
    }
}

fn no_space() -> Rejection {
    let text = "the log cannot take a write: there was no space for it a moment ago".into();
    Rejection { cause: Cause::StoreFull, text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_log::{LogOptions, SegmentLog, disk::SimulatedDisk};
    use quorate_proto::{command::Call, resp::Command};

    use super::*;
    use crate::storage::rounds::storage;

    fn set(storage: &mut Storage, bytes: usize) -> Result<(), Rejection> {
        let command = Command::from_args(["SET", "k", &"v".repeat(bytes)]);
        storage.execute_now(&Call::piece(Slot::of_key(b"k"), command), false).map(|_| ())
    }

    #[test]
    fn a_replica_that_has_refused_a_write_executes_none_until_it_has_found_space() {
        let disk = Arc::new(SimulatedDisk::new());
        let options =
            LogOptions { log_id: 1, segment_bytes: 64 << 10, new_salt: 1, reads_back: false };
        let (log, _) = SegmentLog::open(Arc::clone(&disk) as _, "log".as_ref(), options, |_, _| {})
            .expect("a new log");
        let mut storage = Storage { log: Some(log), ..storage(0) };
        disk.limit_capacity(Some(disk.used()));
        storage.wall_ms = 1_000_000;
        set(&mut storage, 10_000).expect("fits in what is left");
        assert!(!storage.is_read_only());
        let Err(Rejection { cause: Cause::StoreFull, .. }) = set(&mut storage, 100_000) else {
            panic!("there is no space")
        };
        assert!(storage.is_read_only());
        set(&mut storage, 10).expect_err("would overtake what went elsewhere");
        storage.reserve(10).expect("what others have executed is taken as long as it fits");
        // It does not look for space at once, and goes on with what is left.
        storage.look_for_space();
        assert!(storage.is_read_only());
        storage.wall_ms += limits::SPACE_PAUSE_MIN_MS;
        storage.look_for_space();
        assert!(storage.is_read_only(), "there is less than was missed");
        disk.limit_capacity(None);
        storage.look_for_space();
        assert!(storage.is_read_only(), "it has just looked");
        storage.wall_ms += limits::SPACE_PAUSE_MIN_MS;
        storage.look_for_space();
        assert!(!storage.is_read_only());
        set(&mut storage, 100_000).expect("there is space again");
        // Space that does not last is not trusted soon again.
        disk.limit_capacity(Some(0));
        set(&mut storage, 100_000).expect_err("there is none");
        disk.limit_capacity(None);
        storage.wall_ms += limits::SPACE_PAUSE_MIN_MS;
        storage.look_for_space();
        assert!(storage.is_read_only());
        storage.wall_ms += limits::SPACE_PAUSE_MIN_MS;
        storage.look_for_space();
        assert!(!storage.is_read_only());
    }
}
