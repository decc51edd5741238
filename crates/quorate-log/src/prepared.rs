//! Large records, which are written beside the log before they belong to it.
//!
//! To copy, sum up and write hundreds of megabytes takes long, and nobody can wait for it in the turn
//! in which the record is appended. So any thread writes the payload, piece by piece, into a file of its
//! own that the log does not know; what is left for the turn are two headers and a new name:
//!
//! ```text
//!  SegmentLog::preparer -> Preparer::write      -> SegmentLog::append_prepared
//!                          large-3.part:           000000000000002a.log:
//!                          0 0 0 0 | payload       segment header | record header | payload
//! ```
//! The file becomes the next segment of the log, with this one record. Until then it is nothing: one
//! that is dropped goes, and so does one that a crash has left, when the log is opened. Whoever writes
//! the checksum of a record needs its sequence; the sum of the payload is computed without it, and the
//! two are combined.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_proto::checksum;

use super::{
    segment::{RECORD_HEADER, SEGMENT_HEADER},
    sync::Shared,
};
use crate::disk::{Disk, DiskFile};

/// Bytes before the payload.
const HEADERS: usize = SEGMENT_HEADER + RECORD_HEADER;

/// Bytes that are copied and written at once.
const PIECE: usize = 1 << 20;

/// What the names of prepared files end with.
const SUFFIX: &str = ".part";

/// Writes a large record beside its log, on any thread.
#[derive(Debug)]
pub struct Preparer {
    shared: Arc<Shared>,
    /// No other one of this log has it.
    number: u64,
}

/// A large record that is with the operating system, and belongs to its log once it is
/// [appended](super::SegmentLog::append_prepared). One that is dropped leaves nothing behind.
#[derive(Debug)]
pub struct Prepared {
    shared: Arc<Shared>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    length: u32,
    /// Checksum of the payload alone.
    sum: u32,
}

impl Preparer {
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        Self { shared, number }
    }

    /// Writes the payload of a record, which is in two parts.
    ///
    /// # Errors
    /// Those of the disk. The log is as before.
    pub fn write(self, head: &[u8], payload: &[u8]) -> io::Result<Prepared> {
        let length = u32::try_from(head.len() + payload.len())
            .map_err(|_| io::Error::other("a record of 4 GiB or more"))?;
        let path = self.shared.directory.join(format!("large-{}{SUFFIX}", self.number));
        let file = self.shared.disk.open(&path)?;
        let shared = Arc::clone(&self.shared);
        // From here on a failure removes the file.
        let mut prepared = Prepared { shared, path, file, length, sum: 0 };
        let mut end = HEADERS as u64;
        prepared.file.allocate(end + u64::from(length))?;
        for piece in std::iter::once(head).chain(payload.chunks(PIECE)) {
            prepared.file.write_at(piece, end)?;
            prepared.sum = checksum::crc32c_append(prepared.sum, piece);
            end += piece.len() as u64;
        }
        Ok(prepared)
    }
}

impl Prepared {
    /// Bytes of the payload.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// Checksum of the payload.
    pub(super) fn sum(&self) -> u32 {
        self.sum
    }

    /// Where the file ends.
    pub(super) fn end(&self) -> u64 {
        HEADERS as u64 + u64::from(self.length)
    }

    /// Completes the file with what comes before the payload, and gives it another name. Returns it
    /// under that.
    pub(super) fn complete(
        mut self,
        headers: &[u8; HEADERS],
        name: &str,
    ) -> io::Result<Arc<dyn DiskFile>> {
        self.file.write_at(headers, 0)?;
        let path = self.shared.directory.join(name);
        self.shared.disk.rename(&self.path, &path)?;
        // What is dropped from here on is what has just become a segment.
        self.path = PathBuf::new();
        self.shared.disk.open(&path)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // One that stays goes when the log is opened.
            let _ = self.shared.disk.remove(&self.path);
        }
    }
}

/// Removes what a crash has left among the files of a log.
pub(super) fn remove_leftovers(disk: &dyn Disk, directory: &Path, names: &[String]) {
    for name in names.iter().filter(|name| name.ends_with(SUFFIX)) {
        // One that stays is passed over, and goes another time.
        let _ = disk.remove(&directory.join(name));
    }
}
