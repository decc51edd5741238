//! Checkpoints: the whole state is written into the log again, and what stands before it is
//! dropped.
//!
//! The state of a key with a large string is written beside the shard, and the checkpoint waits for it
//! before it ends.
//!
//! Where the log has grown a lot, what is live is counted first: a log that only took new data
//! holds little that is not, and to write it again would double what the disk has to take.

use quorate_log::{Checkpoint, SegmentLog, Sequence};
use quorate_proto::{Slot, slot::SLOTS};

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
    Writing(Writing),
    /// All is written. Before what stands before it is dropped, other shards' logs must hold their
    /// copies of the transactions up to this record durably.
    Written(Writing, Sequence),
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    checkpoint: Checkpoint,
    /// Bytes of the slots so far.
    live: u64,
    /// Bytes of the log since it began, at the end of the last turn.
    seen: u64,
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
                    self.counted_keys = self.store.len();
                    self.counted_at = self.log_bytes_since_checkpoint();
                    if self.log_is_half_dead() { self.begin_writing() } else { None }
                }
            }
            Pass::Writing(mut writing) => {
                if !self.write_live(&mut next, &mut writing) {
                    self.give_up_checkpoint();
                    None
                } else if next < SLOTS {
                    Some(Progress { next, pass: Pass::Writing(writing) })
                } else {
                    Some(Progress { next, pass: Pass::Written(writing, self.transactions.last) })
                }
            }
            Pass::Written(writing, upto) if self.are_copied(upto) && !self.is_recording() => {
                self.finish_writing(writing);
                None
            }
            Pass::Written(..) => going_on,
        };
    }

    /// There is no space for it.
    pub(super) fn give_up_checkpoint(&mut self) {
        tracing::warn!("a checkpoint was given up because the log has no space");
        self.checkpoint = None;
        self.checkpoint_given_up_ms = self.wall_ms;
    }

    /// Whether nothing is lost with the transactions up to `upto` in this log.
    fn are_copied(&self, upto: Sequence) -> bool {
        self.shards == 1 || upto <= self.transactions.copied
    }

    /// Whether a checkpoint has work to do.
    pub(super) fn is_checkpointing(&self) -> bool {
        let pass = self.checkpoint.as_ref().map(|progress| progress.pass);
        match pass {
            None => false,
            Some(Pass::Written(_, upto)) => self.are_copied(upto) && !self.is_recording(),
            Some(Pass::Counting(_) | Pass::Writing(_)) => true,
        }
    }

    /// Up to which record a checkpoint waits for copies of transactions to be durable, unless they
    /// are being synced already.
    pub(crate) fn copies_to_sync(&mut self) -> Option<Sequence> {
        let Progress { pass: Pass::Written(_, upto), .. } = self.checkpoint? else { return None };
        let is_due = !self.are_copied(upto) && !self.transactions.syncing;
        self.transactions.syncing |= is_due;
        is_due.then_some(upto)
    }

    /// Copies of transactions up to this record are durable, or will not be.
    pub(crate) fn copies_synced(&mut self, upto: Sequence, are_durable: bool) {
        self.transactions.syncing = false;
        if are_durable {
            self.transactions.copied = upto;
            return self.advance_checkpoint();
        }
        tracing::warn!("a checkpoint was given up because the log of another shard is not synced");
        self.checkpoint = None;
        self.checkpoint_given_up_ms = self.wall_ms;
    }

    /// Whether the whole state is being written again.
    pub(crate) fn is_rewriting(&self) -> bool {
        matches!(self.checkpoint, Some(Progress { pass: Pass::Writing(_) | Pass::Written(..), .. }))
    }

    fn begin_checkpoint(&mut self) -> Option<Progress> {
        let log = self.log.as_ref().filter(|log| !log.has_failed())?;
        let was_given_up =
            self.wall_ms.abs_diff(self.checkpoint_given_up_ms) < limits::REWRITE_PAUSE_MS;
        if was_given_up || self.is_recording() {
            return None;
        }
        if log.wants_checkpoint() || std::mem::take(&mut self.checkpoint_wanted) {
            return self.begin_writing();
        }
        // Where about half of what comes is new, the next count would follow at once.
        let has_grown = log.bytes_since_checkpoint() >= self.counted_at + self.live_bytes / 8;
        let is_due = has_grown && self.log_is_half_dead() || self.has_lost_most_keys();
        is_due.then_some(Progress { next: 0, pass: Pass::Counting(0) })
    }

    /// Whether the log holds twice what was live when that was last known.
    fn log_is_half_dead(&self) -> bool {
        let dead_min = self.live_bytes.max(self.checkpoint_bytes_min);
        self.log_bytes_since_checkpoint() >= self.live_bytes + dead_min
    }

    /// Whether most of the keys are gone that were there when what is live was last known, so that
    /// it is much less than was believed.
    fn has_lost_most_keys(&self) -> bool {
        self.store.len() < self.counted_keys / 2
            && self.log_bytes_since_checkpoint() >= self.checkpoint_bytes_min
    }

    fn log_bytes_since_checkpoint(&self) -> u64 {
        self.log.as_ref().map_or(0, SegmentLog::bytes_since_checkpoint)
    }

    /// Adds up what some more slots would take.
    fn count_live(&self, next: &mut u16, mut live: u64) -> u64 {
        let (mut keys, until) = (0, live + limits::CHECKPOINT_COUNTED_PER_TURN);
        while keys < limits::CHECKPOINT_KEYS_PER_TURN
            && live < until
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
        self.counted_at = 0;
        let log = self.log.as_mut()?;
        let reserved = log.reserve(limits::FLOORS_RECORD_BYTES);
        let Ok(checkpoint) = reserved.and_then(|()| log.begin_checkpoint()) else {
            self.checkpoint_given_up_ms = self.wall_ms;
            return None;
        };
        self.append_floors(&self.floors());
        self.append_last_transaction();
        let writing = Writing { checkpoint, live: 0, seen: 0 };
        Some(Progress { next: 0, pass: Pass::Writing(writing) })
    }

    /// Writes some more slots; whether there was space.
    fn write_live(&mut self, next: &mut u16, writing: &mut Writing) -> bool {
        let Some(log) = &mut self.log else { return false };
        // More than clients write meanwhile, or the log would grow without end.
        let came = log.bytes_since_checkpoint().saturating_sub(writing.seen);
        let budget = limits::CHECKPOINT_BYTES_PER_TURN.max(came.saturating_mul(2));
        let (mut keys, mut bytes, mut fits) = (0, 0, true);
        let bounds = (limits::EXPORT_PIECE_BYTES, self.beside.effect_min());
        let mut large = Vec::new();
        while (keys < limits::CHECKPOINT_KEYS_PER_TURN || bytes < came)
            && bytes < budget
            && fits
            && let Some(slot) = Slot::new(*next)
        {
            let left_out = self.store.export_small(slot, bounds, |effect| {
                keys += 1;
                bytes += (SegmentLog::RECORD_BYTES + SLOT_BYTES + effect.len()) as u64;
                fits = fits && log.reserve(effect.len() + SLOT_BYTES).is_ok();
                if fits {
                    log.append(|out| write_effect(out, slot, effect));
                }
            });
            large.extend(left_out.into_iter().map(|(key, length)| (slot, key, length)));
            *next += 1;
        }
        writing.live += bytes;
        writing.seen = log.bytes_since_checkpoint() + bytes;
        for (slot, key, length) in large {
            writing.live += length as u64;
            self.record_beside(slot, &key);
        }
        fits
    }

    fn finish_writing(&mut self, writing: Writing) {
        let Some(log) = &mut self.log else { return };
        if log.finish_checkpoint(writing.checkpoint).is_ok() {
            self.live_bytes = writing.live;
            self.counted_keys = self.store.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_log::{LogOptions, disk::SimulatedDisk};
    use quorate_proto::{Slot, command::Call, resp::Command};
    use quorate_store::Request;

    use super::*;
    use crate::{
        reactor::Done,
        storage::{Beside, Record, TransactionRecord, rounds::storage},
    };

    /// When values are written.
    const WALL_MS: u64 = 1_700_000_000_000;

    /// A storage with a log, which is looked at from a megabyte on.
    fn with_log() -> Storage {
        with_log_on(Arc::new(SimulatedDisk::new()))
    }

    fn with_log_on(disk: Arc<SimulatedDisk>) -> Storage {
        let options =
            LogOptions { log_id: 1, segment_bytes: 64 << 10, new_salt: 1, reads_back: false };
        let (log, _) =
            SegmentLog::open(disk, "log".as_ref(), options, |_, _| {}).expect("a new log");
        Storage { log: Some(log), ..storage(0) }
    }

    /// Sets keys to values of 1,000 bytes, going on with checkpoints all the while.
    fn write(storage: &mut Storage, keys: impl Iterator<Item = u32>) {
        for key in keys.map(|number| format!("key:{number:08}")) {
            let slot = Slot::of_key(key.as_bytes());
            let command = Command::from_args(["SET", &key, &"v".repeat(1_000)]);
            storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
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
    fn what_comes_while_a_checkpoint_is_written_is_not_taken_for_live() {
        let mut storage = with_log();
        write(&mut storage, 0..4_000);
        write(&mut storage, 0..4_000);
        // As many writes between two turns as make the log grow faster than a turn at its least.
        for round in 0..8 {
            for number in (0..8_000).map(|number| number % 4_000) {
                let key = format!("key:{number:08}");
                let slot = Slot::of_key(key.as_bytes());
                let command = Command::from_args(["SET", &key, &"v".repeat(1_000 + round)]);
                storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
            }
            turn(&mut storage);
        }
        while storage.is_busy() {
            turn(&mut storage);
        }
        assert!(storage.live_bytes < 4_000 * 1_100, "{} bytes", storage.live_bytes);
        assert!(storage.log_bytes() < 6 * 8_000 * 1_100, "{} bytes", storage.log_bytes());
    }

    #[test]
    fn a_few_large_keys_that_are_gone_leave_the_log() {
        let mut storage = with_log();
        let large = "v".repeat(2 << 20);
        let keys = ["a", "b", "c", "d"];
        let sets = keys.map(|key| Command::from_args(["SET", key, &large]));
        let dels = keys.map(|key| Command::from_args(["DEL", key]));
        for command in sets.into_iter().chain(dels) {
            let slot = Slot::of_key(command.arg(1));
            storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
            turn(&mut storage);
            while storage.is_busy() {
                turn(&mut storage);
            }
        }
        assert!(storage.log_bytes() < 2 << 20, "{} bytes", storage.log_bytes());
    }

    #[test]
    fn a_large_value_is_written_beside_the_shard_and_is_there_when_the_checkpoint_ends() {
        let disk = Arc::new(SimulatedDisk::new());
        let mut storage = Storage { beside: Beside::new(16), ..with_log_on(Arc::clone(&disk)) };
        let slot = Slot::of_key(b"large");
        let set = |storage: &mut Storage, value: &str| {
            let command = Command::from_args(["SET", "large", value]);
            storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
        };
        let (before, after) = ("b".repeat(100_000), "a".repeat(100_000));
        set(&mut storage, &before);
        storage.want_checkpoint();
        let first = records(&storage);
        (0..10_000).for_each(|_| turn(&mut storage));
        assert!(storage.is_rewriting() && !storage.is_busy(), "it waits for the value");
        // What changes meanwhile is newer, wherever the record of before comes to stand.
        set(&mut storage, &after);
        let job = storage.take_work().expect("the value is to be written");
        let Done::Worked(worked) = job.run() else { panic!("it is work") };
        storage.work_ended(*worked);
        assert!(storage.is_busy());
        (0..10).for_each(|_| turn(&mut storage));
        assert!(!storage.is_rewriting());
        drop(storage);
        let mut store = crate::storage::rounds::storage(0).store;
        let options =
            LogOptions { log_id: 1, segment_bytes: 64 << 10, new_salt: 1, reads_back: false };
        let each = |sequence, record: &[u8]| {
            assert!(sequence > first, "what was before the checkpoint is gone");
            if let Some(Record::Effect { slot, effect, .. }) = Record::read(record) {
                store.merge(slot, effect, WALL_MS).expect("is sound");
            }
        };
        SegmentLog::open(disk, "log".as_ref(), options, each).expect("opens");
        let mut reply = Vec::new();
        let call = Call::piece(slot, Command::from_args(["GET", "large"]));
        let request = Request { call: &call, wall_ms: WALL_MS, resp3: false };
        let shared = store.execute(request, &mut reply, &mut Vec::new());
        let reply = shared.map_or(reply, |shared| shared.to_vec());
        assert!(reply.windows(after.len()).any(|found| found == after.as_bytes()));
    }

    #[test]
    fn without_space_a_checkpoint_waits_for_a_while() {
        let disk = Arc::new(SimulatedDisk::new());
        let mut storage = with_log_on(Arc::clone(&disk));
        storage.checkpoint_bytes_min = u64::MAX / 2;
        write(&mut storage, (0..4).flat_map(|_| 0..2_000));
        storage.checkpoint_bytes_min = 1 << 20;
        disk.limit_capacity(Some(disk.used()));
        (0..1_000).for_each(|_| storage.advance_checkpoint());
        assert!(!storage.is_busy(), "nor is anything counted again and again");
        disk.limit_capacity(None);
        storage.wall_ms += limits::REWRITE_PAUSE_MS;
        write(&mut storage, 0..1);
        assert!(storage.log_bytes() < 2 * 2_000 * 1_050, "{} bytes", storage.log_bytes());
    }

    #[test]
    fn a_checkpoint_waits_until_copies_of_transactions_are_durable_elsewhere() {
        let mut storage = Storage { shards: 2, ..with_log() };
        let key = (0..).map(|number| format!("key:{number}"));
        let mut keys = key.filter(|key| Slot::of_key(key.as_bytes()).group().is_multiple_of(2));
        let mut write = |storage: &mut Storage| {
            let key = keys.next().expect("there are more");
            let slot = Slot::of_key(key.as_bytes());
            let call = Call::piece(slot, Command::from_args(["SET", &key, "v"]));
            let request = Request { call: &call, wall_ms: storage.wall_ms, resp3: false };
            let mut record = TransactionRecord::new(1, 0);
            record.part(slot, |effect| storage.store.execute(request, &mut Vec::new(), effect));
            storage.append_transactions(&record.finish().expect("has an effect"));
        };
        let until_it_asks = |storage: &mut Storage| {
            storage.want_checkpoint();
            loop {
                turn(storage);
                if let Some(upto) = storage.copies_to_sync() {
                    return upto;
                }
            }
        };
        write(&mut storage);
        let upto = until_it_asks(&mut storage);
        write(&mut storage);
        (0..10).for_each(|_| turn(&mut storage));
        assert!(storage.is_rewriting() && !storage.is_busy(), "it waits");
        assert_eq!(storage.copies_to_sync(), None, "and asks once");
        storage.copies_synced(upto, true);
        assert!(!storage.is_rewriting());
        // The last record is not covered yet.
        let upto = until_it_asks(&mut storage);
        storage.copies_synced(upto, false);
        assert!(!storage.is_rewriting(), "it is given up where another log has failed");
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
