//! Where damaged segments are kept for the operator once the log does without them.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{SegmentLog, segment::file_name, write::Segment};
use crate::disk::Disk;

/// Files that a quarantine holds: enough to see a pattern, few enough to look through.
const FILES_MAX: usize = 16;

/// Bytes that a quarantine holds: sixteen segments of the usual size.
const BYTES_MAX: u64 = 1 << 30;

/// A folder for damaged segments. When it is full it keeps what it has.
#[derive(Clone, Debug)]
pub struct Quarantine {
    /// The folder, on the same file system as the log. It may be shared by several logs.
    pub directory: PathBuf,
    /// What the names of the files of this log begin with.
    pub prefix: String,
}

/// A damaged segment that left the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// It is here now.
    Kept(PathBuf),
    /// It was deleted, because it could not be kept.
    Deleted(PathBuf),
}

impl Quarantine {
    /// Moves a file here. Returns its new place, `None` when there is no room.
    fn take(&self, disk: &dyn Disk, path: &Path, name: &str) -> io::Result<Option<PathBuf>> {
        let names = disk.list(&self.directory)?;
        let mut bytes = disk.open(path)?.length()?;
        for name in &names {
            bytes += disk.open(&self.directory.join(name))?.length()?;
        }
        if names.len() >= FILES_MAX || bytes > BYTES_MAX {
            return Ok(None);
        }
        let target = self.directory.join(format!("{}-{name}", self.prefix));
        disk.rename(path, &target)?;
        Ok(Some(target))
    }
}

impl SegmentLog {
    /// Keeps damaged segments there from now on. Without a quarantine they are deleted like others.
    pub fn set_quarantine(&mut self, quarantine: Quarantine) {
        self.quarantine = Some(quarantine);
    }

    /// The damaged segments that have left the log since the last call.
    pub fn take_set_aside(&mut self) -> Vec<SetAside> {
        std::mem::take(&mut self.set_aside)
    }

    /// Moves damaged segments away although the log was not rewritten: it is given up for another.
    pub fn abandon(mut self) -> Vec<SetAside> {
        while let Some(segment) = self.segments.pop_front() {
            if segment.damaged {
                self.discard(&segment);
            }
        }
        self.set_aside
    }

    /// Takes the file of a segment that is not needed out of the log's directory.
    pub(super) fn discard(&mut self, segment: &Segment) {
        let name = file_name(segment.number);
        let path = self.shared.directory.join(&name);
        let disk = &*self.shared.disk;
        if segment.damaged
            && let Some(quarantine) = &self.quarantine
        {
            // What cannot be moved must not stay: the next start would not know that it is damaged.
            if let Ok(Some(place)) = quarantine.take(disk, &path, &name) {
                return self.set_aside.push(SetAside::Kept(place));
            }
            self.set_aside.push(SetAside::Deleted(path.clone()));
        }
        // One that stays is passed over at the next start, and removed then.
        let _ = disk.remove(&path);
    }
}
