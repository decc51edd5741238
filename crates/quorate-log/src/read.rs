//! Reading a segment through a window, so that memory stays bounded by the largest record.

use std::{io, sync::Arc};

use quorate_proto::checksum;

use super::{
    Sequence,
    segment::{Found, RECORD_HEADER, RecordHeader, Seed, read_record, u64_at},
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
    seed: Seed,
    buffer: Vec<u8>,
    /// Start of what is not consumed, in `buffer`.
    start: usize,
    /// Offset of `buffer[0]` in the file.
    base: u64,
    end: u64,
}

impl Window {
    /// A window on the bytes from `offset` up to `end`.
    pub(super) fn between(file: Arc<dyn DiskFile>, seed: Seed, offset: u64, end: u64) -> Self {
        Self { file, seed, buffer: Vec::new(), start: 0, base: offset, end }
    }

    /// Offset in the file of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Moves on over bytes that are in memory.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// The next bytes, `wanted` of them unless the window ends before.
    fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.start < wanted {
            self.fill(wanted)?;
        }
        Ok(&self.buffer[self.start..])
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        self.base += self.start as u64;
        self.buffer.drain(..self.start);
        self.start = 0;
        let have = self.buffer.len();
        let at = self.base + have as u64;
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let more = wanted.saturating_sub(have).max(CHUNK).min(left);
        self.buffer.resize(have + more, 0);
        let got = self.file.read_at(&mut self.buffer[have..], at)?;
        self.buffer.truncate(have + got);
        Ok(())
    }

    /// What stands next. A record that is cut off by the end of the window is partial.
    pub(super) fn record(&mut self) -> io::Result<Found<'_>> {
        let seed = self.seed;
        let left = self.end.saturating_sub(self.offset());
        if let Found::Partial(whole) = read_record(self.ahead(RECORD_HEADER)?, seed)
            && whole as u64 <= left
        {
            self.ahead(whole)?;
        }
        Ok(read_record(&self.buffer[self.start..], seed))
    }

    /// The header of a record that stands next, if one does.
    pub(super) fn header(&mut self) -> io::Result<Option<RecordHeader>> {
        let seed = self.seed;
        let first = self.ahead(RECORD_HEADER)?.first_chunk();
        Ok(first.and_then(|bytes| RecordHeader::decode(bytes, seed)))
    }

    /// Moves on over the record with this header, which stands next, and returns whether it is
    /// whole. However large it is, only a chunk of it is in memory at a time.
    pub(super) fn skim(&mut self, header: RecordHeader) -> io::Result<bool> {
        if self.ahead(RECORD_HEADER)?.len() < RECORD_HEADER {
            return Ok(false);
        }
        self.advance(RECORD_HEADER);
        let (mut left, mut sum) = (header.length - RECORD_HEADER, header.of_header);
        while left > 0 {
            let bytes = self.ahead(1)?;
            let taken = bytes.len().min(left);
            if taken == 0 {
                return Ok(false);
            }
            sum = checksum::crc32c_append(sum, &bytes[..taken]);
            left -= taken;
            self.advance(taken);
        }
        Ok(sum == header.of_record)
    }

    /// Moves on to the next byte at which a record with this or a later sequence begins, or to the
    /// end.
    pub(super) fn seek_record(&mut self, expected: Sequence) -> io::Result<Option<Sequence>> {
        let seed = self.seed;
        let plausible = expected..expected.saturating_add(SEQUENCE_JUMP_MAX);
        // The cheap checks come first: an attempt at every byte must not sum up a payload.
        let begins = |bytes: &[u8]| {
            plausible.contains(&u64_at(bytes, 8))
                && bytes
                    .first_chunk()
                    .is_some_and(|header| RecordHeader::decode(header, seed).is_some())
        };
        loop {
            // What stands here is known to be no record.
            let bytes = self.ahead(RECORD_HEADER + 1)?;
            let Some(last) = bytes.len().checked_sub(RECORD_HEADER).filter(|last| *last > 0) else {
                // The file may be shorter than the window.
                (self.base, self.start) = (self.end, 0);
                self.buffer.clear();
                return Ok(None);
            };
            let found = (1..=last).find(|&at| begins(&bytes[at..]));
            self.advance(found.unwrap_or(last));
            if found.is_some()
                && let Found::Record { header, .. } = self.record()?
            {
                return Ok(Some(header.sequence));
            }
        }
    }

    /// The offset after the last byte that is not zero, from here on.
    pub(super) fn used_end(&self) -> io::Result<u64> {
        let mut used = self.offset();
        let mut at = used;
        let mut chunk = Vec::new();
        while at < self.end {
            let wanted = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(CHUNK);
            chunk.resize(wanted, 0);
            let got = self.file.read_at(&mut chunk, at)?;
            if got == 0 {
                break;
            }
            if let Some(last) = chunk[..got].iter().rposition(|byte| *byte != 0) {
                used = at + last as u64 + 1;
            }
            at += got as u64;
        }
        Ok(used)
    }
}
