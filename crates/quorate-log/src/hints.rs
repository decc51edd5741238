//! The hint log: a durable queue of effects for one target.
//!
//! Of every segment it is known which groups of slots its hints are about and how old they are, so
//! that whole segments can be given up, and what is given up has a name.

use std::{collections::VecDeque, io, path::Path, sync::Arc};

use quorate_proto::Groups;

use super::{
    Damage, LogError, LogOptions, ScrubJob, ScrubPosition, Scrubbed, SegmentLog, Sequence, SyncJob,
    read::Window,
    segment::{Found, SEGMENT_HEADER},
};
use crate::disk::Disk;

/// Bytes of a segment of hints. Small, because whole segments are dropped as they are delivered.
const SEGMENT_BYTES: u64 = 4 << 20;

/// A full queue has at least so many segments, so that delivering frees space step by step, and
/// hints of one segment differ by no more than such a part of the time that they are kept.
const SEGMENTS_MIN: u64 = 8;

/// How a queue is kept.
#[derive(Clone, Copy, Debug)]
pub struct HintOptions {
    /// Identity of the log; segments of another log in its directory are refused.
    pub log_id: u64,
    /// Bytes that it may take on disk.
    pub bytes_max: u64,
    /// Bytes of a segment at most.
    pub segment_bytes_max: u64,
    /// As in [`LogOptions`].
    pub new_salt: u32,
}

/// What a queue must know of a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintAbout {
    /// The group of its slot.
    pub group: u16,
    /// Its age counts from here, in milliseconds since the Unix epoch.
    pub date_ms: u64,
    /// Keys that it changes.
    pub keys: u64,
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
    /// Groups of hints that were lost and that nobody was told of.
    lost: Groups,
    /// What the segments hold that the target has not taken all of, older first.
    parts: VecDeque<Part>,
    /// What is appended and not written yet.
    unwritten: Summary,
    /// Bytes of disk that the unwritten may take.
    reserved: u64,
}

/// Some hints in a row.
#[derive(Clone, Copy, Debug)]
struct Summary {
    groups: Groups,
    oldest_ms: u64,
    newest_ms: u64,
    keys: u64,
}

/// What a segment holds.
#[derive(Clone, Copy, Debug)]
struct Part {
    segment: u64,
    last: Sequence,
    summary: Summary,
}

/// The hint log holds as much as it may. The hint was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the hint log takes {bytes} bytes (allowed: {bytes_max})")]
pub struct HintsFull {
    /// Bytes taken on disk.
    pub bytes: u64,
    /// Bytes allowed.
    pub bytes_max: u64,
}

/// Hints of a turn could not be written. Without space for them they are given up, and the queue
/// goes on.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct HintsUnwritten {
    /// Why.
    pub error: LogError,
    /// Groups of the hints that were given up.
    pub groups: Groups,
}

impl Summary {
    const NOTHING: Self = Self { groups: Groups::NONE, oldest_ms: u64::MAX, newest_ms: 0, keys: 0 };

    /// Of a hint that tells nothing.
    const UNKNOWN: Self = Self { groups: Groups::ALL, ..Self::NOTHING };

    fn of(about: HintAbout) -> Self {
        let HintAbout { group, date_ms, keys } = about;
        let groups = Groups::from_iter([group]);
        Self { groups, oldest_ms: date_ms, newest_ms: date_ms, keys }
    }

    fn and(self, other: Self) -> Self {
        Self {
            groups: self.groups.union(other.groups),
            oldest_ms: self.oldest_ms.min(other.oldest_ms),
            newest_ms: self.newest_ms.max(other.newest_ms),
            keys: self.keys + other.keys,
        }
    }
}

impl HintLog {
    /// Opens the queue in `directory`. Hints delivered before a crash may be delivered again,
    /// which is harmless: they are merged. `about` tells of a hint what the queue must know.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: HintOptions,
        about: impl Fn(&[u8]) -> Option<HintAbout>,
    ) -> io::Result<Self> {
        let HintOptions { log_id, bytes_max, segment_bytes_max, new_salt } = options;
        let segment_bytes = SEGMENT_BYTES.min(bytes_max / SEGMENTS_MIN).min(segment_bytes_max);
        let options = LogOptions { log_id, segment_bytes, new_salt, reads_back: true };
        let mut parts: VecDeque<Part> = VecDeque::new();
        let mut first = None;
        let each = |segment, last, payload: &[u8]| {
            first.get_or_insert(last);
            let summary = about(payload).map_or(Summary::UNKNOWN, Summary::of);
            match parts.back_mut().filter(|part| part.segment == segment) {
                Some(part) => (part.last, part.summary) = (last, part.summary.and(summary)),
                None => parts.push_back(Part { segment, last, summary }),
            }
        };
        let (log, recovery) = SegmentLog::open_segments(disk, directory, options, each)?;
        let acknowledged = first.unwrap_or(log.written() + 1) - 1;
        let is_whole = recovery.damages.is_empty() && recovery.torn_bytes == 0;
        Ok(Self {
            parts,
            log,
            bytes_max,
            acknowledged,
            read: acknowledged,
            delivered: acknowledged,
            cursor: (0, 0),
            lost: if is_whole { Groups::NONE } else { Groups::ALL },
            unwritten: Summary::NOTHING,
            reserved: 0,
        })
    }

    /// Groups of which hints were lost since the last call, so that only comparing the data tells
    /// what the target lacks.
    pub fn take_lost(&mut self) -> Groups {
        std::mem::take(&mut self.lost)
    }

    /// Whether a hint of `length` bytes may be added, and by how much the queue may grow on disk
    /// with it. One may always, if there is no other.
    pub fn room_for(&self, length: usize) -> Result<u64, HintsFull> {
        let growth = self.log.growth(length).saturating_sub(self.reserved);
        let bytes = self.log.allocated() + self.reserved + growth;
        if bytes > self.bytes_max && !self.is_empty() {
            return Err(HintsFull { bytes: self.log.allocated(), bytes_max: self.bytes_max });
        }
        Ok(growth)
    }

    /// Adds a hint at the end. It is handed to the operating system by [`HintLog::write`].
    pub fn append(&mut self, about: HintAbout, payload: &[u8]) {
        self.reserved = self.reserved.max(self.log.growth(payload.len()));
        self.log.append(|out| out.extend_from_slice(payload));
        self.unwritten = self.unwritten.and(Summary::of(about));
    }

    /// Hands the turn's hints to the operating system.
    pub fn write(&mut self) -> Result<(), HintsUnwritten> {
        let summary = std::mem::replace(&mut self.unwritten, Summary::NOTHING);
        self.reserved = 0;
        let had_unwritten = self.log.has_unwritten();
        if let Err(error) = self.log.write() {
            if matches!(error, LogError::Full(_)) {
                self.log.discard_unwritten();
            }
            return Err(HintsUnwritten { error, groups: summary.groups });
        }
        if had_unwritten && let Some(active) = self.log.segments.back() {
            let (segment, last) = (active.number, self.log.written());
            match self.parts.back_mut().filter(|part| part.segment == segment) {
                Some(part) => (part.last, part.summary) = (last, part.summary.and(summary)),
                None => self.parts.push_back(Part { segment, last, summary }),
            }
        }
        Ok(())
    }

    /// What must be done to make the hints durable, and what was given up gone.
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

    /// Notes what a part of a pass has found. Hints that are damaged count as lost; the others
    /// stay.
    pub fn scrub_ended(&mut self, scrubbed: Scrubbed) -> (ScrubPosition, Option<Damage>) {
        let (position, damage) = self.log.scrub_ended(scrubbed);
        let loses = |damage: &Damage| damage.next.is_none_or(|next| next > damage.first);
        if damage.as_ref().is_some_and(loses) {
            // What was damaged cannot tell of which group it was.
            self.lost = self.lost.union(self.groups());
        }
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

    /// Whether there is no hint, written or not.
    pub fn is_empty(&self) -> bool {
        self.pending() == 0 && !self.log.has_unwritten()
    }

    /// Groups of the hints that the target has not taken; the segments that hold them may hold
    /// some of other groups that it has.
    pub fn groups(&self) -> Groups {
        self.summary().groups
    }

    /// Keys changed by the hints of these segments, each as often as it is changed.
    pub fn keys(&self) -> u64 {
        self.summary().keys
    }

    /// The date of the oldest hint of these segments, in milliseconds since the Unix epoch.
    pub fn oldest_ms(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.summary().oldest_ms)
    }

    fn summary(&self) -> Summary {
        let parts = self.parts.iter().map(|part| part.summary);
        parts.fold(self.unwritten, Summary::and)
    }

    /// Bytes of hints, and of the segments around them.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Bytes taken on disk, those of segments that are about to go included.
    pub fn allocated(&self) -> u64 {
        self.log.allocated()
    }

    /// Gives up every segment whose hints are all older than `age_max_ms`. Returns their groups.
    pub fn expire(&mut self, now_ms: u64, age_max_ms: u64) -> Groups {
        let before_ms = now_ms.saturating_sub(age_max_ms);
        let part_ms = age_max_ms / SEGMENTS_MIN;
        let active = |log: &SegmentLog| log.segments.back().map(|active| active.number);
        if let Some(part) = self.parts.back()
            && Some(part.segment) == active(&self.log)
            && part.summary.oldest_ms < now_ms.saturating_sub(part_ms)
        {
            // The next hints get a segment of their own. Without space they stay together.
            let _ = self.log.roll();
        }
        let mut groups = Groups::NONE;
        let mut last = None;
        let active = active(&self.log);
        while let Some(part) = self
            .parts
            .pop_front_if(|part| part.summary.newest_ms < before_ms && Some(part.segment) != active)
        {
            groups = groups.union(part.summary.groups);
            last = Some(part.last);
        }
        if let Some(last) = last {
            self.pass_over(last);
            self.log.drop_before(last + 1);
        }
        groups
    }

    /// Gives up every hint. Returns their groups.
    pub fn clear(&mut self) -> Groups {
        let groups = self.groups();
        // What is not written now is given up all the same.
        let _ = self.write();
        let last = self.log.written();
        self.pass_over(last);
        let _ = self.acknowledge(last);
        groups
    }

    /// Nobody is to get the hints up to this one any more.
    fn pass_over(&mut self, last: Sequence) {
        self.acknowledged = self.acknowledged.max(last);
        self.read = self.read.max(last);
        self.delivered = self.delivered.max(last);
    }

    /// The next hints that are not handed out yet, oldest first, up to about `bytes_max` bytes.
    pub fn read(&mut self, bytes_max: usize) -> io::Result<Vec<(Sequence, Vec<u8>)>> {
        let mut hints = Vec::new();
        let mut bytes = 0;
        // Noted at the end: a read that fails must not skip what it had collected.
        let (mut read, mut cursor) = (self.read, self.cursor);
        let (mut delivered, mut lost) = (self.delivered, false);
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
            if !self.log.is_in_use(number) {
                segment.file.release();
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
        (self.read, self.cursor, self.delivered) = (read, cursor, delivered);
        if lost {
            self.lost = self.lost.union(self.groups());
        }
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
        while self.parts.pop_front_if(|part| part.last <= self.acknowledged).is_some() {}
        if self.is_empty() {
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

    use crate::disk::SimulatedDisk;

    fn open_with(disk: &SimulatedDisk, bytes_max: u64) -> HintLog {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let options =
            HintOptions { log_id: 1, bytes_max, segment_bytes_max: u64::MAX, new_salt: 7 };
        HintLog::open(disk, Path::new("/hints"), options, about).expect("opens")
    }

    fn open(disk: &SimulatedDisk) -> HintLog {
        open_with(disk, 64 << 20)
    }

    /// Hints are numbers: the group and the date are the number as well.
    fn about(payload: &[u8]) -> Option<HintAbout> {
        let number = u32::from_le_bytes(*payload.first_chunk()?);
        Some(HintAbout { group: number as u16 % 64, date_ms: number.into(), keys: 1 })
    }

    fn append(hints: &mut HintLog, number: u32, length: usize) -> Result<(), HintsFull> {
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(length.max(4), 7);
        hints.room_for(payload.len())?;
        hints.append(about(&payload).expect("a number"), &payload);
        Ok(())
    }

    fn fill(hints: &mut HintLog, numbers: std::ops::Range<u32>) {
        for number in numbers {
            append(hints, number, 4).expect("room");
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
            append(&mut hints, 0, 1 << 20).expect("room");
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
    fn a_full_log_says_so_and_stays_below_its_bound_on_disk() {
        let disk = SimulatedDisk::new();
        let mut hints = open_with(&disk, 10_000);
        let on_disk = || disk.files().iter().map(|(_, length)| *length as u64).sum::<u64>();
        let superblock = 2 * 4_096;
        let mut taken = 0;
        // Many in a turn count, too.
        while (0..7).all(|_| append(&mut hints, taken, 100).is_ok_and(|()| taken < 10_000)) {
            taken += 7;
            hints.write().expect("written");
            assert!(on_disk() <= 10_000 + superblock, "{}", on_disk());
        }
        hints.write().expect("written");
        assert!((60..90).contains(&taken), "{taken}");
        assert!(hints.allocated() <= 10_000);
    }

    #[test]
    fn an_empty_queue_takes_a_hint_of_any_size() {
        let mut hints = open_with(&SimulatedDisk::new(), 1_000);
        append(&mut hints, 1, 5_000).expect("it is the only one");
        assert!(append(&mut hints, 2, 4).is_err());
        hints.write().expect("written");
        assert!(append(&mut hints, 2, 4).is_err());
        hints.read(10_000).expect("reads");
        hints.acknowledge(1).expect("acknowledged");
        assert!(hints.is_empty());
        append(&mut hints, 2, 5_000).expect("it is the only one");
    }

    #[test]
    fn old_segments_are_given_up_whole_and_named() {
        let disk = SimulatedDisk::new();
        let mut hints = open(&disk);
        fill(&mut hints, 1_000..1_003);
        assert_eq!(hints.expire(1_100, 1_000), Groups::NONE);
        // Its segment is closed by now, so that younger ones do not keep it.
        assert_eq!(hints.expire(1_500, 1_000), Groups::NONE);
        fill(&mut hints, 1_500..1_502);
        assert_eq!(hints.oldest_ms(), Some(1_000));
        let of = |numbers: std::ops::Range<u16>| numbers.map(|number| number % 64).collect();
        assert_eq!(hints.groups(), Groups::union(of(1_000..1_003), of(1_500..1_502)));
        assert_eq!(hints.keys(), 5);
        // A restart knows as much.
        drop(hints);
        let mut hints = open(&disk);
        assert_eq!(hints.pending(), 5);
        assert_eq!(hints.expire(2_100, 1_000), of(1_000..1_003));
        assert_eq!((hints.pending(), hints.oldest_ms()), (2, Some(1_500)));
        assert_eq!(numbers(&hints.read(1_000).expect("reads")), [1_500, 1_501]);
        assert_eq!(hints.take_lost(), Groups::NONE);
    }

    #[test]
    fn a_queue_that_is_cleared_tells_what_of() {
        let disk = SimulatedDisk::new();
        let mut hints = open(&disk);
        fill(&mut hints, 0..3);
        let batch = hints.read(1_000).expect("reads");
        append(&mut hints, 9, 4).expect("room");
        assert_eq!(hints.clear(), [0, 1, 2, 9].into_iter().collect());
        assert!(hints.is_empty() && hints.groups().is_empty());
        // Late answers change nothing, and what comes now is kept.
        hints.acknowledge(batch[1].0).expect("acknowledged");
        fill(&mut hints, 5..6);
        assert_eq!(numbers(&hints.read(1_000).expect("reads")), [5]);
        assert_eq!((hints.pending(), hints.groups()), (1, [5].into_iter().collect()));
    }
}
