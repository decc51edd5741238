//! The hint log: a durable queue of effects for one target.

use std::{io, path::Path, sync::Arc};

use super::{
    Damage, LogError, LogOptions, ScrubJob, ScrubPosition, Scrubbed, SegmentLog, Sequence, SyncJob,
    read::Window,
    segment::{Found, SEGMENT_HEADER},
};
use crate::disk::Disk;

/// Bytes of a segment of hints. Small, because whole segments are dropped as they are delivered.
const SEGMENT_BYTES: u64 = 4 << 20;

/// A full queue has at least so many segments, so that delivering frees space step by step.
const SEGMENTS_MIN: u64 = 8;

/// How a queue is kept.
#[derive(Clone, Copy, Debug)]
pub struct HintOptions {
    /// Identity of the log; segments of another log in its directory are refused.
    pub log_id: u64,
    /// Bytes that it may hold.
    pub bytes_max: u64,
    /// As in [`LogOptions`].
    pub new_salt: u32,
}

/// A queue of effects that a target has not taken yet.
#[derive(Debug)]
pub struct HintLog {
    log: SegmentLog,
    bytes_max: u64,
    /// Newest hint that the target has taken.
    acknowledged: Sequence,
    /// Up to here everything was handed out by [`HintLog::read`], or cannot be.
    read: Sequence,
    /// Newest hint handed out.
    delivered: Sequence,
    /// Where reading goes on: number of the segment, offset in it.
    cursor: (u64, u64),
    /// Whether hints were lost that nobody was told of.
    lost: bool,
}

/// The hint log holds as much as it may. The hint was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the hint log holds {bytes} bytes (allowed: {bytes_max})")]
pub struct HintsFull {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes allowed.
    pub bytes_max: u64,
}

impl HintLog {
    /// Opens the queue in `directory`. Hints delivered before a crash may be delivered again,
    /// which is harmless: they are merged.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path, options: HintOptions) -> io::Result<Self> {
        let HintOptions { log_id, bytes_max, new_salt } = options;
        let segment_bytes = SEGMENT_BYTES.min(bytes_max / SEGMENTS_MIN);
        let options = LogOptions { log_id, segment_bytes, new_salt };
        let mut first = None;
        let (log, recovery) = SegmentLog::open(disk, directory, options, |sequence, _| {
            first.get_or_insert(sequence);
        })?;
        let acknowledged = first.unwrap_or(log.written() + 1) - 1;
        Ok(Self {
            log,
            bytes_max,
            acknowledged,
            read: acknowledged,
            delivered: acknowledged,
            cursor: (0, 0),
            lost: !recovery.damages.is_empty() || recovery.torn_bytes > 0,
        })
    }

    /// Whether hints were lost since the last call, so that only comparing the data tells what the
    /// target lacks.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Adds a hint at the end. It is handed to the operating system by [`HintLog::write`].
    pub fn append(&mut self, payload: impl FnOnce(&mut Vec<u8>)) -> Result<(), HintsFull> {
        let bytes = self.log.bytes();
        if bytes > self.bytes_max {
            return Err(HintsFull { bytes, bytes_max: self.bytes_max });
        }
        self.log.append(payload);
        Ok(())
    }

    /// Hands the turn's hints to the operating system. Without space for them they are given up,
    /// and the queue goes on.
    pub fn write(&mut self) -> Result<(), LogError> {
        let result = self.log.write();
        if matches!(result, Err(LogError::Full(_))) {
            self.log.discard_unwritten();
        }
        result
    }

    /// What must be done to make the hints durable.
    pub fn sync_job(&mut self) -> Option<SyncJob> {
        // Few hints follow that would prove that these were durable.
        self.log.sync_job(true)
    }

    /// Notes how a sync job ended.
    pub fn sync_ended(&mut self, result: &io::Result<Sequence>) {
        self.log.sync_ended(result);
    }

    /// Where it is on disk.
    pub fn directory(&self) -> &Path {
        self.log.directory()
    }

    /// Where a pass over the queue begins that reads the disk again.
    pub fn begin_scrub(&self) -> ScrubPosition {
        self.log.begin_scrub()
    }

    /// The next part of a pass, as [`SegmentLog::scrub_job`].
    pub fn scrub_job(&self, position: ScrubPosition, bytes_max: u64) -> Option<ScrubJob> {
        self.log.scrub_job(position, bytes_max)
    }

    /// Notes what a part of a pass has found. Hints that are damaged count as lost; the others stay.
    pub fn scrub_ended(&mut self, scrubbed: Scrubbed) -> (ScrubPosition, Option<Damage>) {
        let (position, damage) = self.log.scrub_ended(scrubbed);
        let loses = |damage: &Damage| damage.next.is_none_or(|next| next > damage.first);
        self.lost |= damage.as_ref().is_some_and(loses);
        (position, damage)
    }

    /// Whether a write or sync failed.
    pub fn has_failed(&self) -> bool {
        self.log.has_failed()
    }

    /// Hints that the target has not taken.
    pub fn pending(&self) -> u64 {
        self.log.written() - self.acknowledged
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// The next hints that are not handed out yet, oldest first, up to about `bytes_max` bytes.
    pub fn read(&mut self, bytes_max: usize) -> io::Result<Vec<(Sequence, Vec<u8>)>> {
        let mut hints = Vec::new();
        let mut bytes = 0;
        // Noted at the end: a read that fails must not skip what it had collected.
        let (mut read, mut cursor) = (self.read, self.cursor);
        let (mut delivered, mut lost) = (self.delivered, self.lost);
        while bytes < bytes_max && read < self.log.written() {
            let (number, offset) = cursor;
            let Some(segment) = self.log.segments.iter().find(|segment| segment.number >= number)
            else {
                (read, lost) = (self.log.written(), true);
                break;
            };
            let offset = if segment.number == number { offset } else { SEGMENT_HEADER as u64 };
            let (number, end) = (segment.number, segment.end);
            let mut window = Window::between(Arc::clone(&segment.file), segment.seed, offset, end);
            while bytes < bytes_max && window.offset() < end {
                let Found::Record { header, payload } = window.record()? else {
                    window.seek_record(read + 1)?;
                    continue;
                };
                if header.sequence > read {
                    lost |= header.sequence > read + 1;
                    bytes += payload.len();
                    (read, delivered) = (header.sequence, header.sequence);
                    hints.push((header.sequence, payload.to_vec()));
                }
                window.advance(header.length);
            }
            let ended = window.offset() >= end;
            let is_active = self.log.segments.back().is_some_and(|last| last.number == number);
            cursor = if ended && !is_active {
                (number + 1, SEGMENT_HEADER as u64)
            } else {
                (number, window.offset())
            };
            if ended && is_active {
                lost |= read < self.log.written();
                read = self.log.written();
            }
        }
        (self.read, self.cursor, self.delivered, self.lost) = (read, cursor, delivered, lost);
        self.pass_over_lost();
        Ok(hints)
    }

    /// Nobody acknowledges a hint that cannot be read.
    fn pass_over_lost(&mut self) {
        if self.acknowledged >= self.delivered {
            self.acknowledged = self.acknowledged.max(self.read);
        }
    }

    /// Hands out again what was handed out and not acknowledged.
    pub fn rewind(&mut self) {
        (self.read, self.delivered) = (self.acknowledged, self.acknowledged);
        self.cursor = (0, 0);
    }

    /// The target has taken every hint up to this one.
    pub fn acknowledge(&mut self, up_to: Sequence) -> Result<(), LogError> {
        self.acknowledged = self.acknowledged.max(up_to);
        self.pass_over_lost();
        // Before a new segment is asked for, which a full disk refuses.
        self.log.drop_before(self.acknowledged + 1);
        if self.pending() == 0 {
            self.log.roll()?;
            self.log.drop_before(self.acknowledged + 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn options(bytes_max: u64) -> HintOptions {
        HintOptions { log_id: 1, bytes_max, new_salt: 7 }
    }
    use crate::disk::SimulatedDisk;

    fn open(disk: &SimulatedDisk) -> HintLog {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        HintLog::open(disk, Path::new("/hints"), options(64 << 20)).expect("opens")
    }

    fn fill(hints: &mut HintLog, numbers: std::ops::Range<u32>) {
        for number in numbers {
            hints.append(|out| out.extend_from_slice(&number.to_le_bytes())).expect("room");
        }
        hints.write().expect("written");
    }

    fn numbers(hints: &[(Sequence, Vec<u8>)]) -> Vec<u32> {
        let number = |bytes: &Vec<u8>| u32::from_le_bytes(*bytes.first_chunk().expect("four"));
        hints.iter().map(|(_, payload)| number(payload)).collect()
    }

    #[test]
    fn hints_come_out_in_order_and_only_once() {
        let mut hints = open(&SimulatedDisk::new());
        fill(&mut hints, 0..10);
        let first = hints.read(16).expect("reads");
        assert_eq!(numbers(&first), [0, 1, 2, 3]);
        let rest = hints.read(1000).expect("reads");
        assert_eq!(numbers(&rest), [4, 5, 6, 7, 8, 9]);
        assert!(hints.read(1000).expect("reads").is_empty());
        fill(&mut hints, 10..12);
        assert_eq!(numbers(&hints.read(1000).expect("reads")), [10, 11]);
    }

    #[test]
    fn what_is_not_acknowledged_comes_again() {
        let disk = SimulatedDisk::new();
        let mut hints = open(&disk);
        fill(&mut hints, 0..10);
        let batch = hints.read(1000).expect("reads");
        hints.acknowledge(batch[3].0).expect("acknowledged");
        assert_eq!(hints.pending(), 6);
        hints.rewind();
        assert_eq!(numbers(&hints.read(1000).expect("reads")), [4, 5, 6, 7, 8, 9]);
        // After a restart nothing is lost; what was acknowledged may come again.
        let mut hints = open(&disk);
        let again = numbers(&hints.read(1000).expect("reads"));
        assert!(again.ends_with(&[4, 5, 6, 7, 8, 9]));
    }

    #[test]
    fn delivered_segments_leave_the_disk() {
        let disk = SimulatedDisk::new();
        let mut hints = open(&disk);
        for _ in 0..12 {
            hints.append(|out| out.resize(out.len() + (1 << 20), 7)).expect("room");
            hints.write().expect("written");
        }
        assert!(hints.bytes() > 12 << 20);
        let mut last = 0;
        while hints.pending() > 0 {
            for (sequence, payload) in hints.read(1 << 20).expect("reads") {
                assert_eq!(payload.len(), 1 << 20);
                assert_eq!(sequence, last + 1);
                last = sequence;
            }
            hints.acknowledge(last).expect("acknowledged");
        }
        assert_eq!(last, 12);
        assert!(hints.bytes() < 1024);
    }

    #[test]
    fn a_full_log_says_so() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        let mut hints = HintLog::open(disk, Path::new("/hints"), options(100)).expect("opens");
        fill(&mut hints, 0..10);
        assert!(hints.append(|out| out.push(1)).is_err());
        assert_eq!(hints.pending(), 10);
    }
}
