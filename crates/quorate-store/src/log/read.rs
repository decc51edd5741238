//! Reading a segment through a window, so that memory stays bounded by the largest record.

use std::{io, sync::Arc};

use super::{
    Sequence,
    segment::{Found, RECORD_HEADER, read_record, u64_at},
};
use crate::disk::DiskFile;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// How far ahead the number of the next whole record may be.
const SEQUENCE_JUMP_MAX: u64 = 1 << 40;

/// A part of a segment in memory, moving forward.
#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Start of what is not consumed, in `buffer`.
    start: usize,
    /// Offset of `buffer[0]` in the file.
    base: u64,
    length: u64,
}

impl Window {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self { file, buffer: Vec::new(), start: 0, base: 0, length })
    }

    /// A window on the bytes from `offset` up to `end`.
    pub(super) fn between(file: Arc<dyn DiskFile>, offset: u64, end: u64) -> Self {
        Self { file, buffer: Vec::new(), start: 0, base: offset, length: end }
    }

    /// Offset in the file of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// The next bytes, `wanted` of them unless the file ends before.
    pub(super) fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.start.min(self.buffer.len()) < wanted {
            self.fill(wanted)?;
        }
        Ok(&self.buffer[self.start..])
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        self.base += self.start as u64;
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.start = 0;
        let have = self.buffer.len();
        let at = self.base + have as u64;
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
        let more = wanted.saturating_sub(have).max(CHUNK).min(left);
        self.buffer.resize(have + more, 0);
        let got = self.file.read_at(&mut self.buffer[have..], at)?;
        self.buffer.truncate(have + got);
        Ok(())
    }

    /// What stands next. A record that is cut off by the end of the file is partial.
    pub(super) fn record(&mut self) -> io::Result<Found<'_>> {
        let mut wanted = 16;
        loop {
            let available = self.ahead(wanted)?.len();
            match read_record(&self.buffer[self.start..]) {
                Found::Partial(whole) if whole > wanted && available >= wanted => wanted = whole,
                _ => break,
            }
        }
        Ok(read_record(&self.buffer[self.start..]))
    }

    /// Everything from here to the end of the file.
    pub(super) fn rest(&mut self) -> io::Result<&[u8]> {
        let left = usize::try_from(self.length.saturating_sub(self.offset())).unwrap_or(usize::MAX);
        self.ahead(left)
    }

    /// Moves on to the next byte at which a record with this or a later sequence begins, or to the end.
    pub(super) fn seek_record(&mut self, expected: Sequence) -> io::Result<Option<Sequence>> {
        let rest = self.rest()?;
        // Every record takes room; a number far ahead is none. The check comes before the checksum,
        // which would else run over whatever length stands at every byte.
        let plausible = expected..expected.saturating_add(SEQUENCE_JUMP_MAX);
        for skipped in 1..rest.len() {
            let bytes = &rest[skipped..];
            if bytes.len() < RECORD_HEADER || !plausible.contains(&u64_at(bytes, 8)) {
                continue;
            }
            if let Found::Record { sequence, .. } = read_record(bytes) {
                self.advance(skipped);
                return Ok(Some(sequence));
            }
        }
        let length = rest.len();
        self.advance(length);
        Ok(None)
    }

    /// Whether only zeros follow.
    pub(super) fn is_blank(&mut self) -> io::Result<bool> {
        Ok(self.rest()?.iter().all(|byte| *byte == 0))
    }

    /// Length of the file without zeros at its end.
    pub(super) fn used_length(&mut self) -> io::Result<u64> {
        let offset = self.offset();
        let rest = self.rest()?;
        let used = rest.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        Ok(offset + used as u64)
    }

    pub(super) fn truncate(&mut self, offset: u64) -> io::Result<()> {
        self.file.truncate(offset)
    }
}
