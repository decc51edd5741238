//! Checkpoints: the whole state is written into the log again, and what stands before it is dropped.
//!
//! Where the log has grown a lot, what is live is counted first: a log that only took new data holds
//! little that is not, and to write it again would double what the disk has to take.

use quorate_proto::{Slot, slot::SLOTS};
use quorate_store::log::{Checkpoint, SegmentLog};

use super::{
    Storage,
    record::{SLOT_BYTES, write_effect},
};
use crate::limits;

/// A pass over all slots: the next one, and what is done with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    next: u16,
    pass: Pass,
}

#[derive(Clone, Copy, Debug)]
enum Pass {
    /// The bytes that the slots so far would take in a log.
    Counting(u64),
    Writing(Checkpoint),
}

impl Storage {
    /// Goes on with a checkpoint, or begins one when half of the log is not live any more, or
    /// something in it is damaged.
    pub(crate) fn advance_checkpoint(&mut self) {
        let going_on = self.checkpoint.take().or_else(|| self.begin_checkpoint());
        let Some(Progress { mut next, pass }) = going_on else { return };
        self.checkpoint = match pass {
            Pass::Counting(live) => {
                let live = self.count_live(&mut next, live);
                if next < SLOTS {
                    Some(Progress { next, pass: Pass::Counting(live) })
                } else {
                    self.live_bytes = live;
                    if self.log_has_grown() { self.begin_writing() } else { None }
                }
            }
            Pass::Writing(checkpoint) => {
                if !self.write_live(&mut next) {
                    tracing::warn!("a checkpoint was given up because the log has no space");
                    self.checkpoint_given_up_ms = self.wall_ms;
                    None
                } else if next < SLOTS {
                    Some(Progress { next, pass })
                } else {
                    self.finish_writing(checkpoint);
                    None
                }
            }
        };
    }

    fn begin_checkpoint(&mut self) -> Option<Progress> {
        let log = self.log.as_ref()?;
        let is_urgent = log.wants_checkpoint()
            && self.wall_ms.abs_diff(self.checkpoint_given_up_ms) >= limits::REWRITE_PAUSE_MS;
        if is_urgent {
            return self.begin_writing();
        }
        self.log_has_grown().then_some(Progress { next: 0, pass: Pass::Counting(0) })
    }

    /// Whether the log holds twice what was live when that was last known.
    fn log_has_grown(&self) -> bool {
        let growth = self.live_bytes.max(self.checkpoint_bytes_min);
        let log_bytes = self.log.as_ref().map_or(0, SegmentLog::bytes_since_checkpoint);
        log_bytes >= self.live_bytes + growth
    }

    /// Adds up what some more slots would take.
    fn count_live(&self, next: &mut u16, mut live: u64) -> u64 {
        let mut keys = 0;
        while keys < limits::CHECKPOINT_KEYS_PER_TURN
            && let Some(slot) = Slot::new(*next)
        {
            self.store.for_each_size(slot, |size| {
                keys += 1;
                live += (SegmentLog::RECORD_BYTES + SLOT_BYTES + size) as u64;
            });
            *next += 1;
        }
        live
    }

    fn begin_writing(&mut self) -> Option<Progress> {
        let log = self.log.as_mut()?;
        log.reserve(limits::FLOORS_RECORD_BYTES).ok()?;
        let checkpoint = log.begin_checkpoint().ok()?;
        self.append_floors(&self.floors());
        Some(Progress { next: 0, pass: Pass::Writing(checkpoint) })
    }

    /// Writes some more slots; whether there was space.
    fn write_live(&mut self, next: &mut u16) -> bool {
        let Some(log) = &mut self.log else { return false };
        let (mut keys, mut bytes, mut fits) = (0, 0, true);
        while keys < limits::CHECKPOINT_KEYS_PER_TURN
            && bytes < limits::CHECKPOINT_BYTES_PER_TURN
            && fits
            && let Some(slot) = Slot::new(*next)
        {
            self.store.export_slot(slot, |effect| {
                keys += 1;
                bytes += effect.len();
                fits = fits && log.reserve(effect.len() + SLOT_BYTES).is_ok();
                if fits {
                    log.append(|out| write_effect(out, slot, effect));
                }
            });
            *next += 1;
        }
        fits
    }

    fn finish_writing(&mut self, checkpoint: Checkpoint) {
        let Some(log) = &mut self.log else { return };
        if log.finish_checkpoint(checkpoint).is_ok() {
            self.live_bytes = log.bytes_since_checkpoint();
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_cluster::coordinator::Replica as _;
    use quorate_proto::{Slot, resp::Command};
    use quorate_store::log::LogOptions;

    use super::*;
    use crate::storage::rounds::storage;

    /// A storage with a log, which is looked at from a megabyte on.
    fn with_log() -> Storage {
        let options =
            LogOptions { log_id: 1, segment_bytes: 64 << 10, new_salt: 1, reads_back: false };
        let disk = crate::startup::memory_disk();
        let (log, _) =
            SegmentLog::open(disk, "log".as_ref(), options, |_, _| {}).expect("a new log");
        Storage { log: Some(log), ..storage(0) }
    }

    /// Sets keys to values of 1,000 bytes, going on with checkpoints all the while.
    fn write(storage: &mut Storage, keys: impl Iterator<Item = u32>) {
        for key in keys.map(|number| format!("key:{number:08}")) {
            let slot = Slot::of_key(key.as_bytes());
            let command = Command::from_args(["SET", &key, &"v".repeat(1_000)]);
            storage.execute(slot, &command, false).expect("is carried out");
            turn(storage);
        }
        while storage.is_busy() {
            turn(storage);
        }
    }

    fn turn(storage: &mut Storage) {
        storage.advance_checkpoint();
        storage.close().expect("is synced");
    }

    fn records(storage: &Storage) -> u64 {
        storage.log.as_ref().map_or(0, SegmentLog::written)
    }

    #[test]
    fn a_log_of_new_data_is_not_written_again() {
        let mut storage = with_log();
        write(&mut storage, 0..10_000);
        assert_eq!(records(&storage), 10_000);
        assert!(storage.log_bytes() > 10_000_000);
    }

    #[test]
    fn a_log_that_is_half_dead_is_written_again() {
        let mut storage = with_log();
        write(&mut storage, (0..20).flat_map(|_| 0..2_000));
        assert!(records(&storage) > 20 * 2_000, "checkpoints were written");
        // Twice what lives, and what a checkpoint took while it went on.
        assert!(storage.log_bytes() < 5 * 2_000 * 1_050, "{} bytes", storage.log_bytes());
    }

    #[test]
    fn what_is_counted_is_what_is_written() {
        let mut storage = with_log();
        write(&mut storage, 0..5_000);
        let (mut next, mut counted) = (0, 0);
        while next < SLOTS {
            counted = storage.count_live(&mut next, counted);
        }
        let written = storage.log_bytes();
        assert!((written..written * 103 / 100).contains(&counted), "{counted} of {written} bytes");
    }
}
