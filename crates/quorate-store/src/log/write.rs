//! Appending, writing, syncing and dropping: the life of a log while it is open.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Sequence,
    recovery::{self, Recovery},
    segment::{Header, RECORD_HEADER, SEGMENT_HEADER, encode_record, file_name},
    superblock::Superblock,
};
use crate::disk::{Disk, DiskFile};

/// A turn's buffer that grew beyond this is given back.
const BUFFER_KEPT_MAX: usize = 1 << 20;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Identity of the log; segments of another log in its directory are refused.
    pub log_id: u64,
    /// Bytes of a segment. A larger record gets a larger segment.
    pub segment_bytes: u64,
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

/// An open log.
#[derive(Debug)]
pub struct SegmentLog {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    options: LogOptions,
    /// Older first; the last one is written to.
    pub(super) segments: VecDeque<Segment>,
    /// Records of this turn, encoded.
    buffer: Vec<u8>,
    /// Sequence of the next record.
    next: Sequence,
    /// Everything up to here is written.
    written: Sequence,
    /// Everything up to here is durable.
    synced: Sequence,
    /// Files with writes that were not synced yet, and whether their directory changed.
    unsynced: Vec<Arc<dyn DiskFile>>,
    directory_changed: bool,
    superblock: Arc<dyn DiskFile>,
    generation: u64,
    /// Segments before this number go once everything up to the sequence is durable.
    doomed: Option<(u64, Sequence)>,
    bytes_since_checkpoint: u64,
    failed: bool,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) first: Sequence,
    pub(super) file: Arc<dyn DiskFile>,
    /// End of what is written.
    pub(super) end: u64,
    /// Space taken.
    pub(super) allocated: u64,
}

/// A checkpoint in progress.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint {
    first_segment: u64,
}

impl SegmentLog {
    /// Opens the log in `directory`, handing every record that it holds to `each`, in order.
    ///
    /// A torn tail is cut off. Damage elsewhere is skipped and reported; what to do about it is the
    /// caller's decision.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: LogOptions,
        each: impl FnMut(Sequence, &[u8]),
    ) -> io::Result<(Self, Recovery)> {
        // Makes the directory, too.
        disk.list(directory)?;
        let superblock = Superblock::read(&*disk, directory)?;
        if superblock.is_some_and(|block| block.log_id != options.log_id) {
            return Err(io::Error::other(format!(
                "the superblock in {} belongs to another log; was a data directory mixed up?",
                directory.display()
            )));
        }
        let (segments, recovery) =
            recovery::recover(&*disk, directory, options.log_id, superblock, each)?;
        let newest = segments.back().map_or(0, |segment| segment.number);
        // Never reuse a sequence that was once synced, even when its record is lost.
        let last = recovery.last.max(superblock.map_or(0, |block| block.synced));
        let mut log = Self {
            superblock: Superblock::open(&*disk, directory)?,
            disk,
            directory: directory.to_owned(),
            options,
            segments,
            buffer: Vec::new(),
            next: last + 1,
            written: last,
            synced: 0,
            unsynced: Vec::new(),
            directory_changed: true,
            generation: superblock.map_or(0, |block| block.generation),
            doomed: None,
            bytes_since_checkpoint: 0,
            failed: false,
        };
        log.bytes_since_checkpoint = log.bytes();
        // What a process wrote before it was killed may not be durable yet.
        log.unsynced = log.segments.iter().map(|segment| Arc::clone(&segment.file)).collect();
        log.start_segment(newest + 1, 0)?;
        Ok((log, recovery))
    }

    /// Makes sure that `bytes` more of payload can be written, in records of any number up to
    /// `bytes`/16. To be called before a change is made that the log must hold.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), LogError> {
        if self.failed {
            return Err(LogError::Failed(io::Error::other("an earlier write or sync failed")));
        }
        let wanted = (2 * bytes + RECORD_HEADER) as u64;
        let active = self.active();
        if active.end + self.buffer.len() as u64 + wanted <= active.allocated {
            return Ok(());
        }
        self.write()?;
        let number = self.active().number + 1;
        self.start_segment(number, wanted).map_err(LogError::Full)
    }

    /// Appends a record to the turn's buffer; `payload` appends its payload.
    pub fn append(&mut self, payload: impl FnOnce(&mut Vec<u8>)) -> Sequence {
        let sequence = self.next;
        self.next += 1;
        encode_record(&mut self.buffer, sequence, payload);
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
        if self.failed {
            return Err(LogError::Failed(io::Error::other("an earlier write or sync failed")));
        }
        let length = self.buffer.len() as u64;
        let active = self.active();
        if active.end + length > active.allocated {
            // More was appended than was reserved. Nothing is written yet, so it may be tried again.
            let number = active.number + 1;
            self.start_segment_for_buffer(number, length).map_err(LogError::Full)?;
        }
        let active = self.active();
        if let Err(error) = active.file.write_at(&self.buffer, active.end) {
            self.failed = true;
            return Err(LogError::Failed(error));
        }
        let active = self.segments.back_mut().expect("invariant: one segment is open");
        active.end += length;
        let file = &active.file;
        if !self.unsynced.last().is_some_and(|last| Arc::ptr_eq(last, file)) {
            self.unsynced.push(Arc::clone(file));
        }
        self.written = self.next - 1;
        self.bytes_since_checkpoint += length;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_MAX);
        Ok(())
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
        // After a failed sync nothing that follows proves anything.
        if self.failed || (self.unsynced.is_empty() && self.synced == self.written) {
            return None;
        }
        let superblock = record.then(|| {
            self.generation += 1;
            let block = Superblock {
                log_id: self.options.log_id,
                generation: self.generation,
                synced: self.written,
            };
            (Arc::clone(&self.superblock), block)
        });
        Some(SyncJob {
            files: std::mem::take(&mut self.unsynced),
            directory: std::mem::take(&mut self.directory_changed)
                .then(|| (Arc::clone(&self.disk), self.directory.clone())),
            superblock,
            up_to: self.written,
        })
    }

    /// Notes how a sync job ended. A failed sync is never tried again: what the operating system
    /// has dropped it would report as synced.
    pub fn sync_ended(&mut self, result: &io::Result<Sequence>) {
        match result {
            Ok(up_to) => {
                self.synced = self.synced.max(*up_to);
                self.drop_doomed();
            }
            Err(_) => self.failed = true,
        }
    }

    /// Whether old segments wait for a sync before they can go.
    pub fn awaits_sync(&self) -> bool {
        self.doomed.is_some()
    }

    /// Whether a write or sync failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Begins a checkpoint: the caller now appends the whole state, a part at a time, while other
    /// records go on, and then calls [`SegmentLog::finish_checkpoint`].
    pub fn begin_checkpoint(&mut self) -> Result<Checkpoint, LogError> {
        self.write()?;
        let number = self.active().number + 1;
        self.start_segment(number, 0).map_err(LogError::Full)?;
        self.bytes_since_checkpoint = 0;
        Ok(Checkpoint { first_segment: number })
    }

    /// Ends a checkpoint: the segments before it are dropped as soon as it is durable.
    pub fn finish_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), LogError> {
        self.write()?;
        self.doomed = Some((checkpoint.first_segment, self.written));
        self.drop_doomed();
        Ok(())
    }

    /// Bytes of all segments that are in use.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// Bytes written since the last checkpoint began.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.bytes_since_checkpoint
    }

    /// Starts a new segment when the current one holds anything.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        self.write()?;
        let active = self.active();
        if active.end == SEGMENT_HEADER as u64 {
            return Ok(());
        }
        let number = active.number + 1;
        self.start_segment(number, 0).map_err(LogError::Full)
    }

    /// Drops every segment whose records all come before `sequence`, except the current one.
    pub(super) fn drop_before(&mut self, sequence: Sequence) {
        while self.segments.len() > 1 && self.segments[1].first <= sequence {
            self.drop_first();
        }
    }

    fn drop_doomed(&mut self) {
        let Some((first_kept, sequence)) = self.doomed else {
            return;
        };
        if self.synced < sequence {
            return;
        }
        self.doomed = None;
        while self.segments.len() > 1 && self.segments[0].number < first_kept {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        self.unsynced.retain(|file| !Arc::ptr_eq(file, &segment.file));
        // A segment that cannot be removed is merged once more at the next start, which is
        // harmless, and removed by the next checkpoint.
        let _ = self.disk.remove(&self.directory.join(file_name(segment.number)));
    }

    fn active(&self) -> &Segment {
        self.segments.back().expect("invariant: one segment is open")
    }

    /// Starts the next segment with room for `payload` bytes. Nothing changes on an error.
    fn start_segment(&mut self, number: u64, payload: u64) -> io::Result<()> {
        let segment = self.create_segment(number, self.next, payload)?;
        self.retire_active();
        self.segments.push_back(segment);
        self.directory_changed = true;
        Ok(())
    }

    fn start_segment_for_buffer(&mut self, number: u64, length: u64) -> io::Result<()> {
        let segment = self.create_segment(number, self.written + 1, length)?;
        self.retire_active();
        self.segments.push_back(segment);
        self.directory_changed = true;
        Ok(())
    }

    fn create_segment(&self, number: u64, first: Sequence, payload: u64) -> io::Result<Segment> {
        let path = self.directory.join(file_name(number));
        let allocated = self.options.segment_bytes.max(payload + SEGMENT_HEADER as u64);
        let file = self.disk.open(&path)?;
        let header = Header { log_id: self.options.log_id, first };
        let made = file.allocate(allocated).and_then(|()| file.write_at(&header.encode(), 0));
        if let Err(error) = made {
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        Ok(Segment { number, first, file, end: SEGMENT_HEADER as u64, allocated })
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

/// Makes written records durable. May run on any thread; the log goes on meanwhile.
#[derive(Debug)]
pub struct SyncJob {
    files: Vec<Arc<dyn DiskFile>>,
    directory: Option<(Arc<dyn Disk>, PathBuf)>,
    superblock: Option<(Arc<dyn DiskFile>, Superblock)>,
    up_to: Sequence,
}

impl SyncJob {
    /// Syncs, and returns up to where everything is durable now. The result belongs into
    /// [`SegmentLog::sync_ended`].
    pub fn run(self) -> io::Result<Sequence> {
        for file in &self.files {
            file.sync()?;
        }
        if let Some((disk, directory)) = &self.directory {
            disk.sync_directory(directory)?;
        }
        if let Some((file, block)) = &self.superblock {
            block.write(&**file)?;
        }
        Ok(self.up_to)
    }
}
