//! Making a log durable, beside the log itself: the job that any thread can run.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quorate_proto::mutant::Mutant;

use super::{
    Sequence,
    superblock::{self, Begin, Superblock, Unsound},
    write::unless_full,
};
use crate::disk::{Disk, DiskFile};

/// Makes written records durable. May run on any thread; the log goes on meanwhile.
///
/// A job covers all that was not known to be durable when it was made, also what another job is
/// about to sync. So jobs may run and end in any order.
#[derive(Debug)]
pub struct SyncJob {
    pub(super) shared: Arc<Shared>,
    pub(super) files: Vec<Written>,
    pub(super) directory_changes: u64,
    pub(super) begin: Begin,
    pub(super) up_to: Sequence,
    /// Whether to bring the superblock up to date in any case.
    pub(super) record: bool,
}

/// A file with writes.
#[derive(Debug)]
pub(super) struct Written {
    /// Number of its segment.
    pub(super) segment: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// Up to where the system's cache need not keep it once it is durable.
    pub(super) forget_up_to: Option<u64>,
}

/// What a log and its sync jobs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) log_id: u64,
    pub(super) salt: u32,
    /// The superblock's file, once there is one. A job holds it while it runs: a file whose sync
    /// failed must not seem durable to a job that syncs it at the same time.
    superblock: Mutex<Option<Arc<dyn DiskFile>>>,
    /// Never held while the disk works.
    durable: Mutex<Durable>,
}

/// What is durable.
#[derive(Clone, Copy, Debug)]
struct Durable {
    superblock: Option<Superblock>,
    /// Changes of the directory.
    directory_changes: u64,
    /// Whether a sync failed, after which no other one proves anything.
    failed: bool,
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        log_id: u64,
        salt: u32,
        superblock: (Option<Arc<dyn DiskFile>>, Option<Superblock>),
    ) -> Self {
        let durable = Durable { superblock: superblock.1, directory_changes: 0, failed: false };
        Self {
            disk,
            directory: directory.to_owned(),
            log_id,
            salt,
            superblock: Mutex::new(superblock.0),
            durable: Mutex::new(durable),
        }
    }

    /// Where the log begins as far as the superblock knows.
    pub(super) fn recorded_begin(&self) -> Option<Begin> {
        lock(&self.durable).superblock.map(|block| block.begin)
    }
}

impl SyncJob {
    /// Syncs, and returns up to where everything is durable now. The result belongs into
    /// [`SegmentLog::sync_ended`](super::SegmentLog::sync_ended).
    pub fn run(self) -> io::Result<Sequence> {
        if Mutant::SyncSkipped.is_planted() {
            return Ok(self.up_to);
        }
        let mut file = lock(&self.shared.superblock);
        let before = *lock(&self.shared.durable);
        if before.failed {
            return Err(io::Error::other("an earlier sync of this log failed"));
        }
        let result = self.sync(&mut file, before);
        let mut durable = lock(&self.shared.durable);
        match result {
            Ok(now) => *durable = now,
            Err(ref error) if is_out_of_descriptors(error) => {}
            Err(_) => durable.failed = true,
        }
        result.map(|_| self.up_to)
    }

    /// Checks the superblock on disk, and writes what is not as it was written once more. Returns
    /// whether anything was not. Of the job only what it knows to be durable counts.
    pub(super) fn scrub_superblock(self) -> io::Result<bool> {
        let file = lock(&self.shared.superblock);
        let Durable { superblock, failed, .. } = *lock(&self.shared.durable);
        let (Some(file), Some(known), false) = (file.as_deref(), superblock, failed) else {
            return Ok(false);
        };
        let unsound = known.unsound(file);
        let result = known.restore(file, unsound);
        let mut durable = lock(&self.shared.durable);
        match &result {
            Ok(newest) => durable.superblock = Some(*newest),
            Err(_) => durable.failed = true,
        }
        result.map(|_| unsound != Unsound::default())
    }

    fn sync(
        &self,
        superblock: &mut Option<Arc<dyn DiskFile>>,
        mut durable: Durable,
    ) -> io::Result<Durable> {
        let Shared { disk, directory, .. } = &*self.shared;
        let begin = durable.superblock.map_or(0, |block| block.begin.segment);
        for Written { segment, file, forget_up_to } in &self.files {
            // What comes before is not needed, and may be removed already.
            if *segment >= begin {
                file.sync()?;
                if let Some(end) = *forget_up_to {
                    file.forget_cached(0, end);
                }
            }
        }
        let is_stale = durable.superblock.is_none_or(|block| block.begin < self.begin);
        let record = self.record || is_stale;
        let is_new = record && superblock.is_none();
        if is_new {
            *superblock = unless_full(disk.open(&directory.join(superblock::FILE_NAME)))?;
        }
        if is_new || self.directory_changes > durable.directory_changes {
            if let Err(error) = disk.sync_directory(directory) {
                // The next job must find the file new again, or it would not sync the directory.
                if is_new {
                    *superblock = None;
                }
                return Err(error);
            }
            durable.directory_changes = self.directory_changes.max(durable.directory_changes);
        }
        if durable.superblock.is_none()
            && let Some(parent) = directory.parent()
        {
            disk.sync_directory(if parent == Path::new("") { Path::new(".") } else { parent })?;
        }
        if record && let Some(file) = superblock {
            self.write_superblock(&**file, &mut durable)?;
        }
        Ok(durable)
    }

    /// Without space for it the superblock stays behind, which only delays what waits for it.
    fn write_superblock(&self, file: &dyn DiskFile, durable: &mut Durable) -> io::Result<()> {
        let is_first = durable.superblock.is_none();
        if is_first && unless_full(Superblock::allocate(file))?.is_none() {
            return Ok(());
        }
        // The first time both slots are written: from then on two that are unreadable are no
        // interrupted first write.
        let writes = if is_first { 2 } else { 1 };
        for _ in 0..writes {
            let known = durable.superblock;
            let block = Superblock {
                log_id: self.shared.log_id,
                generation: known.map_or(0, |known| known.generation + 1),
                begin: known.map_or(self.begin, |known| known.begin.max(self.begin)),
                synced: known.map_or(self.up_to, |known| known.synced.max(self.up_to)),
                salt: self.shared.salt,
            };
            if unless_full(block.write(file))?.is_none() {
                return Ok(());
            }
            durable.superblock = Some(block);
        }
        Ok(())
    }
}

/// Whether a file or directory could not be opened because the process, or the machine, has too
/// many open. Nothing was asked of the disk then, so that nothing is lost and the next try proves
/// as much as this one would have: no system reports it of a write or a sync.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// What the locks guard is whole at any moment, also when a thread has died.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
