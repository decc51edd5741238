//! Reading a log back after a stop of any kind.
//!
//! Where bytes are no record, either a crash has interrupted writes, or records that were whole are
//! lost. The proof is a number: the superblock and every record say how far the log was durable
//! when they were written. Up to the largest such number a hole is damage: it is reported, and the
//! records after it count. Beyond, nothing was promised, and the log ends at the hole, so that what
//! comes back is all that was written up to one moment.
//!
//! The next segment says by its first sequence where the log ended when it was started: what
//! stands at or after that number in older segments was cut off before, and stays away.

use std::{
    collections::VecDeque,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Sequence,
    read::Window,
    segment::{
        Found, Header, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SEGMENT_MAGIC, Seed, file_name,
        has_other_version, number_of, salt_of,
    },
    superblock::{self, Begin, Stored},
    write::Segment,
};
use crate::disk::{Disk, DiskFile};

const HEADER_END: u64 = SEGMENT_HEADER as u64;

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
    /// File name of the segment, or of the superblock.
    pub segment: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The first record missing.
    pub first: Sequence,
    /// The record after the last one missing; `None` when none follows. Equal to `first` when no
    /// record is missing.
    pub next: Option<Sequence>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, first, next } = self;
        if segment == superblock::FILE_NAME {
            return write!(
                f,
                "the superblock is unreadable: records from {first} on may be missing"
            );
        }
        write!(f, "segment {segment} at byte {offset}: ")?;
        match next {
            Some(next) if next <= first => write!(f, "unreadable, but no record is missing"),
            Some(next) => write!(f, "records from {first} up to {} are unreadable", next - 1),
            None => write!(f, "records from {first} on are missing"),
        }
    }
}

/// What is known of a log after reading it.
pub(super) struct Recovered {
    pub(super) recovery: Recovery,
    /// Segments that hold records, ready to be read again or dropped.
    pub(super) segments: VecDeque<Segment>,
    /// Highest number of a segment, also of those that are removed.
    pub(super) newest: u64,
    /// Everything up to here was durable once.
    pub(super) proven: Sequence,
    pub(super) begin: Begin,
    /// `None` when nothing is there that would have it.
    pub(super) salt: Option<u32>,
    pub(super) leftovers: Leftovers,
}

/// What is on disk and not in the log. It may hold the proof that what comes before it was durable,
/// so it goes only after that is noted in the superblock.
#[derive(Default)]
pub(super) struct Leftovers {
    /// Files with bytes after their useful part, and where that ends.
    ends: Vec<(Arc<dyn DiskFile>, u64)>,
    segments: Vec<PathBuf>,
    /// Whether writes were interrupted, so that what they left must not come back beside what is
    /// written from now on.
    is_torn: bool,
}

impl Leftovers {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.segments.is_empty()
    }

    pub(super) fn discard(self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        for (file, end) in self.ends {
            file.truncate(end)?;
            if self.is_torn {
                file.sync()?;
            }
        }
        for path in &self.segments {
            // One that stays is passed over again at the next start.
            let _ = disk.remove(path);
        }
        if self.is_torn { disk.sync_directory(directory) } else { Ok(()) }
    }
}

/// Reads every segment, handing the number of each and its records to `each`. Changes nothing on
/// disk.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    names: &[String],
    log_id: u64,
    stored: Stored,
    each: impl FnMut(u64, Sequence, &[u8]),
) -> io::Result<Recovered> {
    let superblock = stored.superblock();
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let newest = numbers.last().copied().unwrap_or(0);
    let newest = superblock.map_or(newest, |block| newest.max(block.begin.segment));
    let first_needed = superblock.map_or(0, |block| block.begin.segment);
    let (dropped, needed) = numbers.split_at(numbers.partition_point(|at| *at < first_needed));

    let mut leftovers = Leftovers::default();
    leftovers.segments.extend(dropped.iter().map(|number| directory.join(file_name(*number))));
    let mut drafts = Vec::new();
    for &number in needed {
        let path = directory.join(file_name(number));
        let file = disk.open(&path)?;
        drafts.push(Draft::read(number, path, file, log_id)?);
    }
    let intact = drafts.iter().find_map(|draft| draft.header.map(|header| header.salt));
    let salt = superblock.map(|block| block.salt).or(intact);
    let salt = salt.or_else(|| drafts.iter().find_map(|draft| draft.raw_salt));
    let drafts = drafts.into_iter().map(|draft| draft.into_entry(log_id, salt));
    let entries = drafts.collect::<io::Result<Vec<Entry>>>()?;
    let entries = only_needed(entries, &mut leftovers)?;
    let proven = entries.iter().map(|entry| entry.proven).max().unwrap_or(0);
    let mut reader = Reader {
        expected: superblock.map_or(1, |block| block.begin.first),
        proven: superblock.map_or(proven, |block| proven.max(block.synced)),
        scanned: false,
        recovery: Recovery::default(),
        segments: VecDeque::new(),
        leftovers,
        each,
    };
    reader.find_beginning(&entries, stored)?;
    let begin = superblock.map(|block| block.begin);
    let begin = begin.unwrap_or(Begin {
        segment: entries.first().map_or(newest + 1, |entry| entry.number),
        first: reader.expected,
    });
    reader.read(&entries)?;
    reader.note_lost_tail(&entries, stored);
    let Reader { mut recovery, segments, leftovers, expected, proven, .. } = reader;
    recovery.last = expected - 1;
    Ok(Recovered { recovery, segments, newest, proven, begin, salt, leftovers })
}

/// Takes out segments that hold nothing, or only what was cut off, and notes where others are.
fn only_needed(mut entries: Vec<Entry>, leftovers: &mut Leftovers) -> io::Result<Vec<Entry>> {
    let mut limit = Sequence::MAX;
    let mut needed = VecDeque::new();
    while let Some(mut entry) = entries.pop() {
        let is_blank = !entry.is_intact && entry.window(0).used_end()? == 0;
        if is_blank || entry.first.is_some_and(|first| first >= limit) {
            leftovers.segments.push(entry.path);
            continue;
        }
        entry.limit = limit;
        limit = entry.first.unwrap_or(limit);
        needed.push_front(entry);
    }
    Ok(needed.into())
}

/// A segment of which only the head was looked at.
struct Draft {
    number: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    length: u64,
    header: Option<Header>,
    /// What stands where the salt is, right or not.
    raw_salt: Option<u32>,
    /// What stands where the first record begins.
    first_record: Option<[u8; RECORD_HEADER]>,
}

impl Draft {
    fn read(number: u64, path: PathBuf, file: Arc<dyn DiskFile>, log_id: u64) -> io::Result<Self> {
        let mut bytes = [0; SEGMENT_HEADER + RECORD_HEADER];
        let got = file.read_at(&mut bytes, 0)?;
        let head = bytes[..got].first_chunk::<SEGMENT_HEADER>();
        let header = head.and_then(Header::decode);
        let refusal = if header.is_some_and(|header| header.log_id != log_id) {
            Some("belongs to another log; was a data directory mixed up?")
        } else if head.is_some_and(|head| has_other_version(head, SEGMENT_MAGIC)) {
            Some("has another format")
        } else {
            None
        };
        if let Some(why) = refusal {
            return Err(io::Error::other(format!("{} {why}", path.display())));
        }
        let raw_salt = head.filter(|head| **head != [0; SEGMENT_HEADER]).map(salt_of);
        let first_record = bytes[..got].last_chunk().copied().filter(|_| got == bytes.len());
        let length = file.length()?;
        file.release();
        Ok(Self { number, path, file, length, header, raw_salt, first_record })
    }

    /// `salt` is that of the log, for a header that cannot be read.
    fn into_entry(self, log_id: u64, salt: Option<u32>) -> io::Result<Entry> {
        let salt = self.header.map(|header| header.salt).or(salt).or(self.raw_salt);
        let seed = Seed::new(log_id, salt.unwrap_or(0));
        let first_record = self.first_record.and_then(|it| RecordHeader::decode(&it, seed));
        let mut entry = Entry {
            number: self.number,
            path: self.path,
            file: self.file,
            seed,
            length: self.length,
            is_intact: self.header.is_some(),
            first: self.header.map(|header| header.first),
            proven: first_record.map_or(0, |record| record.synced),
            limit: Sequence::MAX,
        };
        // A header that cannot be read is made up for by a record that can.
        if !entry.is_intact
            && let Found::Record { header, .. } = entry.window(HEADER_END).record()?
        {
            entry.first = Some(header.sequence);
        }
        Ok(entry)
    }
}

/// A segment to be read.
struct Entry {
    number: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    seed: Seed,
    length: u64,
    /// Whether the header is.
    is_intact: bool,
    /// Sequence of the first record, as far as the header or that record can be read.
    first: Option<Sequence>,
    /// What the first record knows to be durable.
    proven: Sequence,
    /// Records from here on were cut off before a later segment was started.
    limit: Sequence,
}

impl Entry {
    fn window(&self, offset: u64) -> Window {
        Window::between(Arc::clone(&self.file), self.seed, offset, self.length)
    }
}

/// Where the reading of a segment ended.
enum End {
    /// Where its useful part does.
    At(u64),
    /// Where a crash has interrupted writes: the log ends here.
    Torn(u64),
}

struct Reader<F> {
    /// Sequence of the next record.
    expected: Sequence,
    proven: Sequence,
    /// Whether `proven` takes everything that follows into account.
    scanned: bool,
    recovery: Recovery,
    segments: VecDeque<Segment>,
    leftovers: Leftovers,
    each: F,
}

impl<F: FnMut(u64, Sequence, &[u8])> Reader<F> {
    /// Without a superblock nothing was dropped by the log itself, but a crash may have taken the
    /// first segments with it; and when it cannot be read, it cannot be asked.
    fn find_beginning(&mut self, entries: &[Entry], stored: Stored) -> io::Result<()> {
        let first = entries.first().and_then(|entry| entry.first).unwrap_or(self.expected);
        let may_begin_anywhere = match stored {
            Stored::Superblock(_) => false,
            Stored::Unreadable => true,
            Stored::Nothing => first > self.expected && self.is_torn(entries, HEADER_END)?,
        };
        if may_begin_anywhere {
            self.expected = first;
        }
        Ok(())
    }

    fn read(&mut self, entries: &[Entry]) -> io::Result<()> {
        for (index, entry) in entries.iter().enumerate() {
            let (first, records) = (self.expected, self.recovery.records);
            let end = self.read_segment(&entries[index..])?;
            let (End::At(at) | End::Torn(at)) = end;
            let is_torn = matches!(end, End::Torn(_));
            if is_torn {
                self.recovery.torn_bytes += used_bytes(&entries[index..], at)?;
            }
            if self.recovery.records == records && at <= HEADER_END {
                self.leftovers.segments.push(entry.path.clone());
            } else {
                // Torn bytes, or space taken ahead by a process that was killed.
                if at < entry.length {
                    self.leftovers.ends.push((Arc::clone(&entry.file), at));
                }
                self.segments.push_back(Segment {
                    number: entry.number,
                    first: entry.first.unwrap_or(first),
                    file: Arc::clone(&entry.file),
                    seed: entry.seed,
                    end: at,
                    allocated: at,
                    damaged: false,
                });
            }
            entry.file.release();
            if is_torn {
                self.leftovers.is_torn = true;
                let later = &entries[index + 1..];
                self.leftovers.segments.extend(later.iter().map(|entry| entry.path.clone()));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands out every record of the first of these segments.
    fn read_segment(&mut self, entries: &[Entry]) -> io::Result<End> {
        let [entry, ..] = entries else { return Ok(End::At(0)) };
        if let Some(first) = entry.first.filter(|first| *first > self.expected) {
            if self.is_torn(entries, HEADER_END)? {
                return Ok(End::Torn(HEADER_END));
            }
            self.note_damage(entry, 0, Some(first));
            self.expected = first;
        }
        if !entry.is_intact && entry.first == Some(self.expected) {
            // Records that were never durable may have outlived the header before them.
            if self.is_torn(entries, HEADER_END)? {
                return Ok(End::Torn(HEADER_END));
            }
            self.note_damage(entry, 0, Some(self.expected));
        }
        let mut window = entry.window(HEADER_END);
        loop {
            let offset = window.offset();
            if self.expected >= entry.limit {
                return Ok(End::At(offset));
            }
            let mut next = None;
            match window.record()? {
                Found::Record { header, payload } if header.sequence == self.expected => {
                    (self.each)(entry.number, header.sequence, payload);
                    self.proven = self.proven.max(header.synced);
                    self.recovery.records += 1;
                    self.expected += 1;
                    window.advance(header.length);
                    continue;
                }
                Found::Record { header, .. } if header.sequence > self.expected => {
                    next = Some(header.sequence);
                }
                Found::End if entry.window(offset).used_end()? == offset => {
                    return Ok(End::At(offset));
                }
                _ => {}
            }
            if self.is_torn(entries, offset)? {
                return Ok(End::Torn(offset));
            }
            if next.is_none() {
                next = window.seek_record(self.expected)?;
            }
            next = next.filter(|next| *next < entry.limit);
            self.note_damage(entry, offset, next);
            match next {
                Some(next) => self.expected = next,
                None => return Ok(End::At(entry.window(offset).used_end()?)),
            }
        }
    }

    /// Whether what is missing here, at `offset` in the first of these segments, was never durable.
    fn is_torn(&mut self, entries: &[Entry], offset: u64) -> io::Result<bool> {
        if self.expected > self.proven && !self.scanned {
            self.scanned = true;
            for (index, entry) in entries.iter().enumerate() {
                let mut window = entry.window(if index == 0 { offset } else { HEADER_END });
                loop {
                    if let Found::Record { header, .. } = window.record()? {
                        self.proven = self.proven.max(header.synced);
                        window.advance(header.length);
                    } else if window.seek_record(self.expected)?.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(self.expected > self.proven)
    }

    /// Notes that records are missing up to `next`, or that the damage before goes on up to there.
    fn note_damage(&mut self, entry: &Entry, offset: u64, next: Option<Sequence>) {
        match self.recovery.damages.last_mut().filter(|damage| damage.next.is_none()) {
            Some(damage) => damage.next = next,
            None => self.recovery.damages.push(Damage {
                segment: file_name(entry.number),
                offset,
                first: self.expected,
                next,
            }),
        }
    }

    fn note_lost_tail(&mut self, entries: &[Entry], stored: Stored) {
        let is_noted = self.recovery.damages.last().is_some_and(|damage| damage.next.is_none());
        if self.expected <= self.proven && !is_noted {
            let segment = entries.last().map_or_else(|| "(none)".into(), |e| file_name(e.number));
            let offset = self.segments.back().map_or(0, |segment| segment.end);
            let first = self.expected;
            self.recovery.damages.push(Damage { segment, offset, first, next: None });
        }
        if stored == Stored::Unreadable {
            let segment = superblock::FILE_NAME.into();
            let first = self.expected;
            self.recovery.damages.push(Damage { segment, offset: 0, first, next: None });
        }
    }
}

/// Bytes that stand at `from` or after it in the first of these segments, and in the others.
fn used_bytes(entries: &[Entry], from: u64) -> io::Result<u64> {
    let starts = std::iter::once(from).chain(std::iter::repeat(HEADER_END));
    let used = entries.iter().zip(starts).map(|(entry, start)| {
        let end = entry.window(start).used_end()?;
        Ok(end - start)
    });
    used.sum()
}
