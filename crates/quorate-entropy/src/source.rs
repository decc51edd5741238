//! Where a snapshot comes from.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use super::{EntropyResult, error::source, spool::FileRange};

/// A snapshot taken as a whole: for small data.
pub trait SnapshotSource: Send + Sync {
    /// The bytes to send.
    ///
    /// # Errors
    /// `Source` when there is no snapshot; nothing is sent then.
    fn snapshot(&self) -> EntropyResult<Vec<u8>>;
}

/// A shared source of whole snapshots.
pub type BoxedSnapshotSource = Arc<dyn SnapshotSource>;

/// Shares a source.
pub fn boxed_source(source: impl SnapshotSource + 'static) -> BoxedSnapshotSource {
    Arc::new(source)
}

/// A snapshot read piece by piece: for data of any size.
pub trait StreamingSource: Send + Sync {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// `Source` when there is none; nothing is sent then. An error while reading ends the transfer,
    /// and the receiver discards what it got.
    fn open(&self) -> EntropyResult<Snapshot>;
}

/// A shared streaming source.
pub type BoxedStreamingSource = Arc<dyn StreamingSource>;

/// A snapshot that has begun.
pub struct Snapshot {
    /// Its bytes, to the end of the reader.
    pub reader: Box<dyn Read + Send>,
    /// Their number, when it is known. The classic protocol announces it and so copies a snapshot
    /// of unknown length first, to a temporary file when it is large.
    pub length: Option<u64>,
    /// Set before the first byte is read when the receiver needs only states with stamps; `None` of
    /// a snapshot that is the same for everybody.
    pub(super) states_only: Option<Arc<AtomicBool>>,
    /// The same bytes, when they are those of a file.
    pub(super) range: Option<FileRange>,
}

impl Snapshot {
    /// A snapshot of the bytes of `reader`; `length` is their number, when it is known.
    pub fn new(reader: impl Read + Send + 'static, length: Option<u64>) -> Self {
        Self { reader: Box::new(reader), length, states_only: None, range: None }
    }

    /// A snapshot of a range of a file.
    pub(super) fn of_file(range: FileRange) -> Self {
        let length = Some(range.length());
        Self { range: Some(range.clone()), ..Self::new(range, length) }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("length", &self.length).finish_non_exhaustive()
    }
}

/// A whole snapshot as a streaming one.
pub(super) struct Whole(pub(super) BoxedSnapshotSource);

impl StreamingSource for Whole {
    fn open(&self) -> EntropyResult<Snapshot> {
        let bytes = self.0.snapshot()?;
        let length = Some(bytes.len() as u64);
        Ok(Snapshot::new(io::Cursor::new(bytes), length))
    }
}

/// The same bytes every time.
#[derive(Clone, Debug, Default)]
pub struct StaticSnapshot {
    bytes: Arc<[u8]>,
}

impl StaticSnapshot {
    /// A source of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into().into() }
    }
}

impl SnapshotSource for StaticSnapshot {
    fn snapshot(&self) -> EntropyResult<Vec<u8>> {
        Ok(self.bytes.to_vec())
    }
}

/// A file, or a range of it.
#[derive(Clone, Debug)]
pub struct FileSource {
    path: PathBuf,
    start: u64,
    length: Option<u64>,
}

impl FileSource {
    /// The whole file, as long as it is when the snapshot begins.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), start: 0, length: None }
    }

    /// `length` bytes from `start` on, or fewer when the file ends before.
    #[must_use]
    pub fn range(mut self, start: u64, length: u64) -> Self {
        (self.start, self.length) = (start, Some(length));
        self
    }
}

impl StreamingSource for FileSource {
    fn open(&self) -> EntropyResult<Snapshot> {
        let path = self.path.display();
        let failed = |error: io::Error| source(format_args!("{path}: {error}"));
        let file = File::open(&self.path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(source(format_args!("{path} is a directory")));
        }
        if !about.is_file() {
            // A pipe or a device has no length and no ranges.
            return Ok(Snapshot::new(file, None));
        }
        let start = self.start.min(about.len());
        let end =
            self.length.map_or(about.len(), |length| about.len().min(start.saturating_add(length)));
        Ok(Snapshot::of_file(FileRange::new(file, start, end)))
    }
}

/// Any reader, such as standard input. It can be read once.
pub struct ReaderSource {
    reader: Mutex<Option<Snapshot>>,
}

impl ReaderSource {
    /// A source that gives what `reader` gives until its end; `length` when that is known.
    pub fn new(reader: impl Read + Send + 'static, length: Option<u64>) -> Self {
        Self { reader: Mutex::new(Some(Snapshot::new(reader, length))) }
    }
}

impl std::fmt::Debug for ReaderSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderSource").finish_non_exhaustive()
    }
}

impl StreamingSource for ReaderSource {
    fn open(&self) -> EntropyResult<Snapshot> {
        let taken = self.reader.lock().ok().and_then(|mut reader| reader.take());
        taken.ok_or_else(|| source("the stream has been read already"))
    }
}

/// Reads until `buffer` is full or the reader ends; returns how much was read.
pub(super) fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
