//! Appending, writing, syncing and dropping: the life of a log while it is open.

use std::{collections::VecDeque, io, path::Path, sync::Arc};

use super::{
    Sequence,
    prepared::{self, Prepared, Preparer},
    quarantine::{Quarantine, SetAside},
    recovery::{self, Recovery},
    segment::{
        Header, RECORD_HEADER, SEGMENT_HEADER, Seed, encode_record, file_name, prepared_headers,
    },
    superblock::{self, Begin, Stored},
    sync::{Shared, SyncJob, Written, is_out_of_descriptors},
};
use crate::disk::{Disk, DiskFile};

/// Bytes of the current segment that are worth asking the system's cache to forget.
const FORGOTTEN_MIN: u64 = 1 << 20;

/// A turn's buffer that grew beyond this is given back.
const BUFFER_KEPT_MAX: usize = 1 << 20;

/// Where there is no space for a segment, one of this share of it is tried, and so on.
const SCARCE_STEP: u64 = 4;

/// The smallest segment that is tried, as a share of a whole one.
const SCARCE_SHARE: u64 = 256;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Identity of the log; segments of another log in its directory are refused.
    pub log_id: u64,
    /// Bytes of a segment. A larger record gets a larger segment.
    pub segment_bytes: u64,
    /// The salt of a log that has none yet. It should be hard to guess, so that nobody can write a
    /// value in which there are bytes that pass for records of the log.
    pub new_salt: u32,
    /// Whether records are read again soon. Where not, the system is asked to forget what is
    /// durable, which would push what others need out of its cache.
    pub reads_back: bool,
}

/// Why nothing more can be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no space for it. Nothing was changed; it may be tried again.
    #[error("no space for the log: {0}")]
    Full(io::Error),
    /// A write or sync failed. What is on disk is unknown, so the log takes nothing more until it
    /// is recovered by a restart.
    #[error("the log failed: {0}")]
    Failed(io::Error),
}

/// `None` when there is no space, which is no failure.
pub(super) fn unless_full<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if is_full(&error) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether there was no space for something. Nothing else is wrong with the disk then.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An open log.
#[derive(Debug)]
pub struct SegmentLog {
    options: LogOptions,
    pub(super) shared: Arc<Shared>,
    seed: Seed,
    /// Older first; the last one is written to. Those before the beginning only wait to be removed.
    pub(super) segments: VecDeque<Segment>,
    /// Highest number that a segment of this log has or had.
    newest: u64,
    /// Bytes of the next segment, as far as there was space when the last one was made.
    affordable: u64,
    /// Records of this turn, encoded.
    buffer: Vec<u8>,
    /// Sequence of the next record.
    next: Sequence,
    /// Everything up to here is written.
    written: Sequence,
    /// Everything up to here is durable.
    synced: Sequence,
    /// Files with writes that are not known to be durable, older first.
    unsynced: Vec<Unsynced>,
    /// Files that came into the directory, counted.
    directory_changes: u64,
    /// What comes before is not needed, and goes once the superblock says so.
    pub(super) begin: Begin,
    bytes_since_checkpoint: u64,
    /// Up to where the system's cache was asked to forget the current segment.
    forgotten: u64,
    pub(super) failed: bool,
    /// Large records that were begun beside the log.
    prepared: u64,
    /// The newest segment of which, or before which, something was found to be unreadable.
    pub(super) damaged_up_to: Option<u64>,
    pub(super) quarantine: Option<Quarantine>,
    /// What became of damaged segments, for the caller to report.
    pub(super) set_aside: Vec<SetAside>,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) first: Sequence,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) seed: Seed,
    /// End of what is written.
    pub(super) end: u64,
    /// Space taken.
    pub(super) allocated: u64,
    /// Whether records of it are unreadable: it is kept for the operator when it is dropped.
    pub(super) damaged: bool,
}

#[derive(Debug)]
struct Unsynced {
    segment: u64,
    file: Arc<dyn DiskFile>,
    /// The newest record in it.
    last: Sequence,
    /// Where it ends.
    end: u64,
}

/// A checkpoint in progress.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint {
    begin: Begin,
}

impl SegmentLog {
    /// Bytes that a record takes besides its payload.
    pub const RECORD_BYTES: usize = RECORD_HEADER;

    /// Opens the log in `directory`, handing every record that it holds to `each`, in order.
    ///
    /// A torn tail is cut off. Damage elsewhere is skipped and reported; what to do about it is the
    /// caller's decision. On a full disk the log opens, too, and takes writes when there is space
    /// again.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: LogOptions,
        mut each: impl FnMut(Sequence, &[u8]),
    ) -> io::Result<(Self, Recovery)> {
        Self::open_segments(disk, directory, options, |_, sequence, record| each(sequence, record))
    }

    /// The same, telling of every record the number of its segment.
    pub(super) fn open_segments(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: LogOptions,
        each: impl FnMut(u64, Sequence, &[u8]),
    ) -> io::Result<(Self, Recovery)> {
        // Makes the directory, too.
        let names = disk.list(directory)?;
        let file = unless_full(disk.open(&directory.join(superblock::FILE_NAME)))?;
        let stored = file.as_deref().map_or(Ok(Stored::Nothing), Stored::read)?;
        if stored.superblock().is_some_and(|block| block.log_id != options.log_id) {
            return Err(io::Error::other(format!(
                "the superblock in {} belongs to another log; was a data directory mixed up?",
                directory.display()
            )));
        }
        prepared::remove_leftovers(&*disk, directory, &names);
        let found = recovery::recover(&*disk, directory, &names, options.log_id, stored, each)?;
        let salt = found.salt.unwrap_or(options.new_salt);
        // Never reuse a sequence that was once synced, even when its record is lost.
        let last = found.recovery.last.max(found.proven);
        let superblock = (file, stored.superblock());
        let mut log = Self {
            options,
            shared: Arc::new(Shared::new(disk, directory, options.log_id, salt, superblock)),
            seed: Seed::new(options.log_id, salt),
            unsynced: unsynced(&found.segments, found.proven, last),
            begin: found.begin,
            segments: found.segments,
            newest: found.newest,
            affordable: options.segment_bytes,
            buffer: Vec::new(),
            next: last + 1,
            written: last,
            synced: found.proven,
            directory_changes: 1,
            bytes_since_checkpoint: 0,
            forgotten: 0,
            failed: false,
            prepared: 0,
            damaged_up_to: None,
            quarantine: None,
            set_aside: Vec::new(),
        };
        log.bytes_since_checkpoint = log.bytes();
        log.note_recovered_damage(&found.recovery);
        let recorded = stored.superblock().map_or(0, |block| block.synced);
        if !found.leftovers.is_empty() && found.proven > recorded {
            log.job(found.proven, true).run()?;
        }
        found.leftovers.discard(&*log.shared.disk, directory)?;
        unless_full(log.start_segment(0))?;
        for segment in log.segments.iter().filter(|segment| !log.is_in_use(segment.number)) {
            segment.file.release();
        }
        Ok((log, found.recovery))
    }

    /// Makes sure that `bytes` more of payload can be written, in records of any number up to
    /// `bytes`/16. To be called before a change is made that the log must hold.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), LogError> {
        self.check()?;
        if self.fits(bytes) {
            return Ok(());
        }
        self.write()?;
        self.start_segment(framed(bytes)).map_err(LogError::Full)
    }

    /// Whether the current segment has room for what [`SegmentLog::reserve`] would ask for.
    pub fn fits(&self, bytes: usize) -> bool {
        self.has_room(self.buffer.len() as u64 + framed(bytes))
    }

    /// Appends a record to the turn's buffer; `payload` appends its payload.
    pub fn append(&mut self, payload: impl FnOnce(&mut Vec<u8>)) -> Sequence {
        let sequence = self.next;
        self.next += 1;
        encode_record(&mut self.buffer, self.seed, sequence, self.synced, payload);
        sequence
    }

    /// Whether the turn's buffer holds anything.
    pub fn has_unwritten(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Hands the turn's records to the operating system: they survive the death of the process.
    pub fn write(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.check()?;
        let length = self.buffer.len() as u64;
        if !self.has_room(length) {
            // More was appended than was reserved. Nothing is written yet, so it may be tried
            // again.
            self.start_segment(length).map_err(LogError::Full)?;
        }
        let active = self.segments.back_mut().expect("invariant: a segment has room");
        if let Err(error) = active.file.write_at(&self.buffer, active.end) {
            // Where space cannot be taken beforehand. What was written is written once more.
            if is_full(&error) {
                return Err(LogError::Full(error));
            }
            self.failed = true;
            return Err(LogError::Failed(error));
        }
        active.end += length;
        self.written = self.next - 1;
        match self.unsynced.last_mut().filter(|newest| newest.segment == active.number) {
            Some(newest) => (newest.last, newest.end) = (self.written, active.end),
            None => self.unsynced.push(Unsynced {
                segment: active.number,
                file: Arc::clone(&active.file),
                last: self.written,
                end: active.end,
            }),
        }
        self.bytes_since_checkpoint += length;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_MAX);
        Ok(())
    }

    /// Who writes the next large record beside the log.
    pub fn preparer(&mut self) -> Preparer {
        self.prepared += 1;
        Preparer::new(Arc::clone(&self.shared), self.prepared)
    }

    /// Appends a large record whose payload is written already. It is with the operating system at once,
    /// and so is what was appended before it. The records that follow go to another segment.
    pub fn append_prepared(&mut self, prepared: Prepared) -> Result<Sequence, LogError> {
        self.write()?;
        self.check()?;
        let (number, sequence) = (self.newest + 1, self.next);
        let header =
            Header { log_id: self.options.log_id, first: sequence, salt: self.shared.salt };
        let payload = (prepared.length(), prepared.sum());
        let headers = prepared_headers(header, self.seed, self.synced, payload);
        let end = prepared.end();
        let file = match prepared.complete(&headers, &file_name(number)) {
            Ok(file) => file,
            Err(error) if is_full(&error) => return Err(LogError::Full(error)),
            Err(error) => {
                self.failed = true;
                return Err(LogError::Failed(error));
            }
        };
        self.add_segment(number, sequence, Arc::clone(&file), end);
        let active = self.segments.back_mut().expect("invariant: one was just added");
        active.end = end;
        self.next += 1;
        self.written = sequence;
        self.unsynced.push(Unsynced { segment: number, file, last: sequence, end });
        self.bytes_since_checkpoint += end;
        Ok(sequence)
    }

    /// Gives up the records that are not written yet.
    pub(super) fn discard_unwritten(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_MAX);
        self.next = self.written + 1;
    }

    /// The newest record that is written.
    pub fn written(&self) -> Sequence {
        self.written
    }

    /// The newest record that is durable.
    pub fn synced(&self) -> Sequence {
        self.synced
    }

    /// What must be done to make everything written durable; `None` when it is. With `record`, the
    /// superblock is brought up to date too, at the price of a second sync.
    pub fn sync_job(&mut self, record: bool) -> Option<SyncJob> {
        let is_durable = self.unsynced.is_empty() && self.synced == self.written;
        // After a failed sync nothing that follows proves anything.
        if self.failed || (is_durable && !self.awaits_sync()) {
            return None;
        }
        let (newest, forgotten) = (self.newest, self.forgotten);
        let written = |unsynced: &Unsynced| {
            let Unsynced { segment, ref file, end, .. } = *unsynced;
            // To forget little at a time costs more than it brings.
            let is_worth_it = segment != newest || end >= forgotten + FORGOTTEN_MIN;
            let forget_up_to = (is_worth_it && !self.options.reads_back).then_some(end);
            Written { segment, file: Arc::clone(file), forget_up_to }
        };
        let files: Vec<Written> = self.unsynced.iter().map(written).collect();
        let active = files.last().filter(|written| written.segment == newest);
        self.forgotten = active.and_then(|active| active.forget_up_to).unwrap_or(forgotten);
        Some(SyncJob { files, ..self.job(self.written, record) })
    }

    /// A job without files.
    pub(super) fn job(&self, up_to: Sequence, record: bool) -> SyncJob {
        SyncJob {
            shared: Arc::clone(&self.shared),
            files: Vec::new(),
            directory_changes: self.directory_changes,
            begin: self.begin,
            up_to,
            record,
        }
    }

    /// Notes how a sync job ended. A failed sync is never tried again: what the operating system
    /// has dropped it would report as synced. A job that found no descriptor for a file has not
    /// come to its sync, and the next one does its work.
    pub fn sync_ended(&mut self, result: &io::Result<Sequence>) {
        match result {
            Ok(up_to) => {
                self.synced = self.synced.max(*up_to);
                let newest = self.newest;
                for done in self.unsynced.extract_if(.., |unsynced| unsynced.last <= *up_to) {
                    // A log of any length keeps but a few files open.
                    if done.segment != newest {
                        done.file.release();
                    }
                }
                self.remove_dropped();
            }
            Err(error) if is_out_of_descriptors(error) => {}
            Err(_) => self.failed = true,
        }
    }

    /// Whether old segments wait for a sync before they can go.
    pub fn awaits_sync(&self) -> bool {
        self.segments.front().is_some_and(|oldest| oldest.number < self.begin.segment)
    }

    /// Whether a write or sync failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Begins a checkpoint: the caller now appends the whole state, a part at a time, while other
    /// records go on, and then calls [`SegmentLog::finish_checkpoint`].
    pub fn begin_checkpoint(&mut self) -> Result<Checkpoint, LogError> {
        self.check()?;
        self.write()?;
        self.start_segment(0).map_err(LogError::Full)?;
        self.bytes_since_checkpoint = 0;
        Ok(Checkpoint { begin: Begin { segment: self.newest, first: self.next } })
    }

    /// Ends a checkpoint: the segments before it are dropped as soon as it is durable.
    pub fn finish_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), LogError> {
        self.write()?;
        self.begin = self.begin.max(checkpoint.begin);
        Ok(())
    }

    /// Bytes of all segments that are in use.
    pub fn bytes(&self) -> u64 {
        let used = self.segments.iter().filter(|segment| segment.number >= self.begin.segment);
        used.map(|segment| segment.end).sum()
    }

    /// Bytes taken on disk, those of segments that are about to go included.
    pub(super) fn allocated(&self) -> u64 {
        self.segments.iter().map(|segment| segment.allocated).sum()
    }

    /// Bytes that the log takes more on disk when a record of `payload` bytes comes to what is not
    /// written yet.
    pub(super) fn growth(&self, payload: usize) -> u64 {
        let length = (self.buffer.len() + RECORD_HEADER + payload) as u64;
        let fits = self.has_room(length);
        if fits { 0 } else { self.options.segment_bytes.max(length + SEGMENT_HEADER as u64) }
    }

    /// Bytes written since the last checkpoint began.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.bytes_since_checkpoint
    }

    /// Starts a new segment when the current one holds anything.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        self.check()?;
        self.write()?;
        if self.segments.back().is_some_and(|active| active.end == SEGMENT_HEADER as u64) {
            return Ok(());
        }
        self.start_segment(0).map_err(LogError::Full)
    }

    /// Drops every segment whose records all come before `sequence`, except the current one.
    pub(super) fn drop_before(&mut self, sequence: Sequence) {
        let later = self.segments.iter().skip(1).take_while(|segment| segment.first <= sequence);
        if let Some(oldest) = later.last() {
            let begin = Begin { segment: oldest.number, first: oldest.first };
            self.begin = self.begin.max(begin);
        }
    }

    /// Removes what the superblock does not count to the log any more.
    fn remove_dropped(&mut self) {
        let Some(begin) = self.shared.recorded_begin() else { return };
        while self.segments.len() > 1
            && let Some(segment) =
                self.segments.pop_front_if(|oldest| oldest.number < begin.segment)
        {
            self.unsynced.retain(|unsynced| unsynced.segment != segment.number);
            self.discard(&segment);
        }
    }

    fn check(&self) -> Result<(), LogError> {
        if self.failed {
            return Err(LogError::Failed(io::Error::other("an earlier write or sync failed")));
        }
        Ok(())
    }

    /// Whether a segment is written to, or has writes that are not synced.
    pub(super) fn is_in_use(&self, number: u64) -> bool {
        number == self.newest || self.is_unsynced(number)
    }

    fn is_unsynced(&self, number: u64) -> bool {
        self.unsynced.iter().any(|unsynced| unsynced.segment == number)
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.segments.back().is_some_and(|active| active.end + bytes <= active.allocated)
    }

    /// Starts the next segment, with room for `length` bytes, and for less than usual where space
    /// is scarce. Nothing changes on an error.
    fn start_segment(&mut self, length: u64) -> io::Result<()> {
        let (number, first) = (self.newest + 1, self.written + 1);
        let least = length + SEGMENT_HEADER as u64;
        let smallest = self.options.segment_bytes / SCARCE_SHARE;
        let (file, allocated) = loop {
            let allocated = self.affordable.max(least);
            match self.make_segment(number, first, allocated) {
                Ok(file) => break (file, allocated),
                Err(error) if !is_full(&error) || allocated <= smallest.max(least) => {
                    return Err(error);
                }
                Err(_) => self.affordable = (self.affordable / SCARCE_STEP).max(smallest),
            }
        };
        self.affordable = self.options.segment_bytes.min(self.affordable * SCARCE_STEP);
        self.add_segment(number, first, file, allocated);
        Ok(())
    }

    /// A new segment is the current one from now on.
    fn add_segment(
        &mut self,
        number: u64,
        first: Sequence,
        file: Arc<dyn DiskFile>,
        allocated: u64,
    ) {
        self.retire_active();
        // Where all of it is synced already, no sync closes it.
        let retired = self.segments.back().filter(|last| !self.is_unsynced(last.number));
        retired.iter().for_each(|segment| segment.file.release());
        let end = SEGMENT_HEADER as u64;
        let (seed, damaged) = (self.seed, false);
        self.segments.push_back(Segment { number, first, file, seed, end, allocated, damaged });
        self.newest = number;
        self.forgotten = 0;
        self.directory_changes += 1;
    }

    fn make_segment(
        &self,
        number: u64,
        first: Sequence,
        allocated: u64,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.shared.directory.join(file_name(number));
        let (log_id, salt) = (self.options.log_id, self.shared.salt);
        let header = Header { log_id, first, salt };
        let file = self.shared.disk.open(&path)?;
        let made = file.allocate(allocated).and_then(|()| file.write_at(&header.encode(), 0));
        if made.is_err() {
            let _ = self.shared.disk.remove(&path);
        }
        made.map(|()| file)
    }

    /// Gives back the space that the current segment did not need.
    fn retire_active(&mut self) {
        if let Some(active) = self.segments.back_mut()
            && active.end < active.allocated
            && active.file.truncate(active.end).is_ok()
        {
            active.allocated = active.end;
        }
    }
}

/// Bytes that `bytes` of payload take at most, in records of any number up to a sixteenth of them.
fn framed(bytes: usize) -> u64 {
    (bytes + (bytes / 16 + 1) * RECORD_HEADER) as u64
}

/// The files of recovered segments with records that a process wrote, but perhaps never synced.
fn unsynced(segments: &VecDeque<Segment>, proven: Sequence, last: Sequence) -> Vec<Unsynced> {
    let ends = segments.iter().skip(1).map(|later| later.first - 1).chain([last]);
    segments
        .iter()
        .zip(ends)
        .filter(|(_, last)| *last > proven)
        .map(|(segment, last)| Unsynced {
            segment: segment.number,
            file: Arc::clone(&segment.file),
            last,
            end: segment.end,
        })
        .collect()
}
