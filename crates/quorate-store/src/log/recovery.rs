//! Reading a log back after a stop of any kind.

use std::{collections::VecDeque, fmt, io, path::Path, sync::Arc};

use super::{
    Sequence,
    read::Window,
    segment::{Found, Header, SEGMENT_HEADER, VERSION, file_name, number_of, segment_version},
    superblock::Superblock,
    write::Segment,
};
use crate::disk::Disk;

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records handed out.
    pub records: u64,
    /// The newest one.
    pub last: Sequence,
    /// Bytes after the last record that were cut off: a write that a crash interrupted. Nothing
    /// that was synced is lost with them.
    pub torn_bytes: u64,
    /// Places where records are missing or unreadable that were once whole.
    pub damages: Vec<Damage>,
}

/// A place where records are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// File name of the segment.
    pub segment: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The first record missing.
    pub first: Sequence,
    /// The record after the last one missing; `None` when none follows.
    pub next: Option<Sequence>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, first, next } = self;
        write!(f, "segment {segment} at byte {offset}: records from {first}")?;
        match next {
            Some(next) => write!(f, " up to {} are unreadable", next - 1),
            None => write!(f, " on are missing"),
        }
    }
}

/// Reads every segment. Returns those that hold records, ready to be read again or dropped.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    log_id: u64,
    superblock: Option<Superblock>,
    mut each: impl FnMut(Sequence, &[u8]),
) -> io::Result<(VecDeque<Segment>, Recovery)> {
    let mut numbers: Vec<u64> =
        disk.list(directory)?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let mut recovery = Recovery::default();
    let mut segments = VecDeque::new();
    let synced = superblock.map_or(0, |block| block.synced);
    for (index, &number) in numbers.iter().enumerate() {
        let path = directory.join(file_name(number));
        let file = disk.open(&path)?;
        let mut window = Window::new(Arc::clone(&file))?;
        let header = Header::decode(window.ahead(SEGMENT_HEADER)?);
        if header.is_some_and(|header| header.log_id != log_id) {
            return Err(io::Error::other(format!(
                "{} belongs to another log; was a data directory mixed up?",
                path.display()
            )));
        }
        if segment_version(window.ahead(SEGMENT_HEADER)?).is_some_and(|found| found != VERSION) {
            return Err(io::Error::other(format!("{} has another format", path.display())));
        }
        let before = recovery.records;
        let mut reader = SegmentReader {
            name: file_name(number),
            window,
            synced,
            is_last: index + 1 == numbers.len(),
            recovery: &mut recovery,
        };
        let end = reader.read(header, &mut each)?;
        if recovery.records == before {
            // Nothing readable: kept only as long as something in it might be missed.
            if end == SEGMENT_HEADER as u64 || end == 0 {
                disk.remove(&path)?;
                continue;
            }
        }
        // Space taken ahead by a process that was killed.
        if end < file.length()? {
            file.truncate(end)?;
        }
        let first = header.map_or(recovery.last, |header| header.first);
        segments.push_back(Segment { number, first, file, end, allocated: end });
    }
    if recovery.last < synced && recovery.damages.iter().all(|damage| damage.next.is_some()) {
        recovery.damages.push(Damage {
            segment: numbers.last().map_or_else(|| "(none)".into(), |number| file_name(*number)),
            offset: 0,
            first: recovery.last + 1,
            next: None,
        });
    }
    Ok((segments, recovery))
}

struct SegmentReader<'a> {
    name: String,
    window: Window,
    synced: Sequence,
    is_last: bool,
    recovery: &'a mut Recovery,
}

impl SegmentReader<'_> {
    /// Hands out every record and returns where the segment's useful part ends.
    fn read(
        &mut self,
        header: Option<Header>,
        each: &mut impl FnMut(Sequence, &[u8]),
    ) -> io::Result<u64> {
        match header {
            Some(header) => {
                self.window.advance(SEGMENT_HEADER);
                self.note_gap(header.first);
                self.recovery.last = self.recovery.last.max(header.first - 1);
            }
            None if self.window.is_blank()? => return Ok(0),
            None => return self.damaged(each),
        }
        self.records(each)
    }

    fn records(&mut self, each: &mut impl FnMut(Sequence, &[u8])) -> io::Result<u64> {
        loop {
            let (sequence, length) = match self.window.record()? {
                Found::Record { sequence, payload, length }
                    if sequence == self.recovery.last + 1 =>
                {
                    each(sequence, payload);
                    (sequence, length)
                }
                Found::End => {
                    if self.window.is_blank()? {
                        return Ok(self.window.offset());
                    }
                    return self.damaged(each);
                }
                Found::Record { .. } | Found::Partial(_) | Found::Damaged => {
                    return self.damaged(each);
                }
            };
            self.recovery.last = sequence;
            self.recovery.records += 1;
            self.window.advance(length);
        }
    }

    /// Something is not a record: a torn tail is cut off, damage is skipped and reported.
    fn damaged(&mut self, each: &mut impl FnMut(Sequence, &[u8])) -> io::Result<u64> {
        let offset = self.window.offset();
        let expected = self.recovery.last + 1;
        if self.is_last && expected > self.synced && offset >= SEGMENT_HEADER as u64 {
            self.recovery.torn_bytes += self.window.used_length()? - offset;
            self.window.truncate(offset)?;
            return Ok(offset);
        }
        let found = self.window.seek_record(expected)?;
        self.recovery.damages.push(Damage {
            segment: self.name.clone(),
            offset,
            first: expected,
            next: found,
        });
        match found {
            Some(sequence) => {
                self.recovery.last = sequence - 1;
                self.records(each)
            }
            None => Ok(self.window.offset()),
        }
    }

    /// A segment must begin where the one before ended; the first one may begin anywhere.
    fn note_gap(&mut self, first: Sequence) {
        let expected = self.recovery.last + 1;
        if self.recovery.records > 0 && first > expected {
            let already = self.recovery.damages.last_mut().filter(|damage| damage.next.is_none());
            match already {
                Some(damage) => damage.next = Some(first),
                None => self.recovery.damages.push(Damage {
                    segment: self.name.clone(),
                    offset: 0,
                    first: expected,
                    next: Some(first),
                }),
            }
        }
    }
}
