//! Reading an open log again, to find out whether the disk still holds what was written.
//!
//! A pass goes from the superblock over every segment up to what was written when it began. Its
//! jobs read a bounded part each and run on any thread, as those of syncs do, while the log goes
//! on. The log knows how long its segments are and which sequences they hold, so anything but whole
//! records in their order is damage, and so is a read that fails.
//!
//! A damaged superblock is written again by the job itself. A damaged segment is noted: memory has
//! what it held, so a checkpoint makes it dispensable, which [`SegmentLog::wants_checkpoint`] asks
//! for. No more is read of it then.

use std::{io, path::Path, sync::Arc};

use quorate_proto::mutant::Mutant;

use super::{
    Damage, Recovery, SegmentLog, Sequence, SyncJob,
    read::Window,
    segment::{Header, RECORD_HEADER, SEGMENT_HEADER, Seed, file_name},
    superblock,
    sync::is_out_of_descriptors,
};
use crate::disk::DiskFile;

const HEADER_END: u64 = SEGMENT_HEADER as u64;

/// Where a pass over a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubPosition {
    /// The segment to go on with; `None` while the superblock is to be read.
    segment: Option<u64>,
    /// Where in it; zero before its header.
    offset: u64,
    /// Sequence of the record there.
    next: Sequence,
    /// The newest record when the pass began. What came later is for the next pass, or this one
    /// would not end.
    until: Sequence,
}

/// Reads a part of a log again. May run on any thread; the log goes on meanwhile.
#[derive(Debug)]
pub struct ScrubJob {
    part: Part,
    position: ScrubPosition,
    bytes_max: u64,
}

#[derive(Debug)]
enum Part {
    Superblock(SyncJob),
    Segment(Extent),
}

/// What of a segment was written when the job was made.
#[derive(Debug)]
struct Extent {
    number: u64,
    file: Arc<dyn DiskFile>,
    header: Header,
    seed: Seed,
    end: u64,
    /// The first record after it.
    after: Sequence,
    /// Whether the file is written to, or must be synced, so that it stays open.
    is_in_use: bool,
}

/// What a job has found. It belongs into [`SegmentLog::scrub_ended`].
#[derive(Debug)]
pub struct Scrubbed {
    /// Bytes read.
    pub bytes: u64,
    damage: Option<Damage>,
    position: ScrubPosition,
    /// Why the superblock could not be written again.
    failure: Option<io::Error>,
}

impl SegmentLog {
    /// Where the log is on disk.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Where a pass that begins now begins.
    pub fn begin_scrub(&self) -> ScrubPosition {
        ScrubPosition { segment: None, offset: 0, next: 0, until: self.written() }
    }

    /// The next part of a pass, of about `bytes_max` bytes, or one record if that is larger; `None`
    /// when the pass has ended.
    pub fn scrub_job(&self, position: ScrubPosition, bytes_max: u64) -> Option<ScrubJob> {
        if self.failed {
            return None;
        }
        let Some(number) = position.segment else {
            let part = Part::Superblock(self.job(self.synced(), true));
            return Some(ScrubJob { part, position, bytes_max });
        };
        let needed = |number: u64| number >= self.begin.segment;
        let mut segments = self.segments.iter().enumerate();
        let (index, segment) = segments.find(|(_, segment)| {
            let is_read = segment.number == number && position.offset >= segment.end;
            segment.number >= number && needed(segment.number) && !segment.damaged && !is_read
        })?;
        let goes_on = segment.number == number && position.offset > 0;
        let next = if goes_on { position.next } else { segment.first };
        if next > position.until {
            return None;
        }
        let offset = if goes_on { position.offset } else { 0 };
        let position = ScrubPosition { segment: Some(segment.number), offset, next, ..position };
        let later = self.segments.get(index + 1);
        let part = Part::Segment(Extent {
            number: segment.number,
            file: Arc::clone(&segment.file),
            header: Header {
                log_id: self.shared.log_id,
                first: segment.first,
                salt: self.shared.salt,
            },
            seed: segment.seed,
            end: segment.end,
            after: later.map_or(self.written() + 1, |later| later.first),
            is_in_use: self.is_in_use(segment.number),
        });
        Some(ScrubJob { part, position, bytes_max })
    }

    /// Notes what a job has found. Returns where the pass goes on, and damage that is news and
    /// concerns something that the log still needs.
    pub fn scrub_ended(&mut self, scrubbed: Scrubbed) -> (ScrubPosition, Option<Damage>) {
        let Scrubbed { damage, position, failure, .. } = scrubbed;
        self.failed |= failure.is_some();
        let Some(number) = position.segment.filter(|_| damage.is_some()) else {
            return (position, damage);
        };
        let begin = self.begin.segment;
        let mut found = self.segments.iter_mut().filter(|segment| segment.number >= begin);
        if damage.as_ref().is_some_and(|damage| damage.segment == superblock::FILE_NAME) {
            return (position, damage);
        }
        match found.find(|segment| segment.number == number && !segment.damaged) {
            Some(segment) => {
                segment.damaged = true;
                self.damaged_up_to = self.damaged_up_to.max(Some(number));
                (position, damage)
            }
            None => (position, None),
        }
    }

    /// Whether something that the log needs is damaged, so that memory must be written again.
    pub fn wants_checkpoint(&self) -> bool {
        self.damaged_up_to.is_some_and(|number| number >= self.begin.segment)
    }

    /// Whether anything damaged is still part of the log, or waits for the checkpoint in its place
    /// to be durable.
    pub fn has_damage(&self) -> bool {
        self.wants_checkpoint() || self.segments.iter().any(|segment| segment.damaged)
    }

    /// Damage that recovery has found is as good as new: what is gone is gone from memory as well,
    /// and a checkpoint leaves the holes behind.
    pub(super) fn note_recovered_damage(&mut self, recovery: &Recovery) {
        let newest = self.segments.back().map(|segment| segment.number);
        if !recovery.damages.is_empty() {
            self.damaged_up_to = newest;
        }
        for segment in &mut self.segments {
            let name = file_name(segment.number);
            segment.damaged = recovery.damages.iter().any(|damage| damage.segment == name);
        }
    }
}

impl ScrubJob {
    /// Reads.
    pub fn run(self) -> Scrubbed {
        let Self { part, position, bytes_max } = self;
        let extent = match part {
            Part::Superblock(job) => return scrub_superblock(job, position),
            Part::Segment(extent) => extent,
        };
        if Mutant::ScrubBlind.is_planted() {
            let position = ScrubPosition { offset: extent.end, next: extent.after, ..position };
            return Scrubbed { bytes: extent.end, damage: None, position, failure: None };
        }
        let mut reading = Reading { extent, position, bytes_max, bytes: 0 };
        let result = reading.read();
        let Reading { extent, position, bytes, .. } = reading;
        let (offset, first) = (position.offset, position.next);
        if !extent.is_in_use {
            extent.file.release();
        }
        let damage = match result {
            Ok(found) => found,
            // Nothing was asked of the disk: the next job of the pass does what this one could not.
            Err(error) if is_out_of_descriptors(&error) => None,
            // What cannot be read is as good as damaged.
            Err(_) => Some((offset, first, Some(extent.after))),
        };
        let damage = damage.map(|(offset, first, next)| Damage {
            segment: file_name(extent.number),
            offset,
            first,
            next,
        });
        Scrubbed { bytes, damage, position, failure: None }
    }
}

fn scrub_superblock(job: SyncJob, position: ScrubPosition) -> Scrubbed {
    let first = job.up_to + 1;
    let (found, failure) = match job.scrub_superblock() {
        Ok(found) => (found && !Mutant::ScrubBlind.is_planted(), None),
        Err(error) => (true, Some(error)),
    };
    let segment = superblock::FILE_NAME.into();
    // It is whole again, and no record was in it.
    let damage = found.then_some(Damage { segment, offset: 0, first, next: Some(first) });
    let position = ScrubPosition { segment: Some(0), ..position };
    Scrubbed { bytes: superblock::LENGTH, damage, position, failure }
}

/// A part of a segment being read.
struct Reading {
    extent: Extent,
    position: ScrubPosition,
    bytes_max: u64,
    bytes: u64,
}

/// Where damage is, the first record that is lost, and the one after the last.
type Hole = (u64, Sequence, Option<Sequence>);

impl Reading {
    /// Reads on, up to the first damage.
    fn read(&mut self) -> io::Result<Option<Hole>> {
        let Extent { file, header, end, .. } = &self.extent;
        let (file, header, end) = (Arc::clone(file), *header, *end);
        let start = self.position.offset;
        let mut limit = end.min(start.max(HEADER_END).saturating_add(self.bytes_max));
        file.forget_cached(start, limit - start);
        if start == 0 {
            let mut bytes = [0; SEGMENT_HEADER];
            self.bytes += HEADER_END;
            file.read_at(&mut bytes, 0)?;
            if Header::decode(&bytes) != Some(header) {
                return Ok(Some((0, header.first, Some(header.first))));
            }
            self.position.offset = HEADER_END;
        }
        let begun = self.position.offset;
        let mut window = self.window(limit);
        while self.position.offset < end {
            let offset = self.position.offset;
            if offset + RECORD_HEADER as u64 > limit && limit < end {
                break;
            }
            let Some(found) = window.header()? else { return self.hole() };
            let record_end = offset + found.length as u64;
            if found.sequence != self.position.next || record_end > end {
                return self.hole();
            }
            if record_end > limit {
                if offset > begun {
                    break;
                }
                // One record that is larger than what a job should read.
                file.forget_cached(offset, record_end - offset);
                limit = record_end;
                window = self.window(limit);
            }
            let is_whole = window.skim(found)?;
            self.bytes += found.length as u64;
            if !is_whole {
                return self.hole();
            }
            self.position.offset = record_end;
            self.position.next += 1;
        }
        // Nobody else reads a log while it is open: the memory is better used for other things.
        file.forget_cached(start, limit - start);
        Ok(None)
    }

    fn window(&self, limit: u64) -> Window {
        let Extent { file, seed, .. } = &self.extent;
        Window::between(Arc::clone(file), *seed, self.position.offset, limit)
    }

    /// There is no record where one should be: how far the damage goes.
    fn hole(&self) -> io::Result<Option<Hole>> {
        let ScrubPosition { offset, next: first, .. } = self.position;
        let mut window = self.window(self.extent.end);
        let next = window.seek_record(first)?.unwrap_or(self.extent.after);
        Ok(Some((offset, first, Some(next))))
    }
}
