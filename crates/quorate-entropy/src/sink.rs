//! Where a snapshot goes.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{EntropyResult, error::sink, wire::SAFE_PREALLOC};

/// Applies a whole snapshot at once: for small data.
pub trait SnapshotSink: Send + Sync {
    /// Applies a snapshot that has arrived whole.
    ///
    /// # Errors
    /// `Sink` when it could not be applied.
    fn apply(&self, snapshot: &[u8]) -> EntropyResult<()>;
}

/// A shared sink of whole snapshots.
pub type BoxedSnapshotSink = Arc<dyn SnapshotSink>;

/// Shares a sink.
pub fn boxed_sink(sink: impl SnapshotSink + 'static) -> BoxedSnapshotSink {
    Arc::new(sink)
}

/// Takes snapshots piece by piece: for data of any size. Several may be under way at a time.
pub trait StreamingSink: Send + Sync {
    /// A sender has been admitted: begins a snapshot of `length` bytes, when that is known.
    ///
    /// # Errors
    /// `Sink` when it cannot be taken.
    fn begin(&self, length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>>;

    /// Whether it merges the states with stamps that a node sends, so that the plain commands that
    /// those stand for need not be sent: half of the bytes. Senders of version 2 are told.
    fn merges_states(&self) -> bool {
        false
    }
}

/// A shared streaming sink.
pub type BoxedStreamingSink = Arc<dyn StreamingSink>;

/// One snapshot on its way into a sink. Ends with exactly one call of `finish` or `abort`.
pub trait SinkStream: Send {
    /// Takes the next bytes. Pieces are of any size and never empty.
    ///
    /// # Errors
    /// `Sink`; `abort` follows.
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()>;

    /// The snapshot is whole: makes it take effect. The sender hears of it after this.
    ///
    /// # Errors
    /// `Sink` when it did not take effect; the sender hears of that too.
    fn finish(self: Box<Self>) -> EntropyResult<()>;

    /// The snapshot was cut off or refused: discards what can be discarded.
    fn abort(self: Box<Self>);
}

/// A sink of whole snapshots as a streaming one: collects in memory.
pub(super) struct Whole(pub(super) BoxedSnapshotSink);

struct Collected {
    sink: BoxedSnapshotSink,
    bytes: Vec<u8>,
}

impl StreamingSink for Whole {
    fn begin(&self, length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        let announced = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
        let bytes = Vec::with_capacity(announced.min(SAFE_PREALLOC));
        Ok(Box::new(Collected { sink: Arc::clone(&self.0), bytes }))
    }
}

impl SinkStream for Collected {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> EntropyResult<()> {
        self.sink.apply(&self.bytes)
    }

    fn abort(self: Box<Self>) {}
}

/// Keeps the snapshots that it was given, in the order in which they became whole.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    snapshots: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl MemorySink {
    /// An empty sink. Clones share what they keep.
    pub fn new() -> Self {
        Self::default()
    }

    /// The snapshots so far.
    pub fn snapshots(&self) -> Vec<Vec<u8>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SnapshotSink for MemorySink {
    fn apply(&self, snapshot: &[u8]) -> EntropyResult<()> {
        let mut kept = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(snapshot.to_vec());
        Ok(())
    }
}

/// Counts bytes and forgets them.
#[derive(Clone, Debug, Default)]
pub struct DiscardSink {
    bytes: Arc<AtomicU64>,
}

impl DiscardSink {
    /// A sink that has counted nothing. Clones share the count.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of whole snapshots so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

struct Discarded {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl StreamingSink for DiscardSink {
    fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        Ok(Box::new(Discarded { total: Arc::clone(&self.bytes), bytes: 0 }))
    }
}

impl SinkStream for Discarded {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> EntropyResult<()> {
        self.total.fetch_add(self.bytes, Ordering::Relaxed);
        Ok(())
    }

    fn abort(self: Box<Self>) {}
}

/// A file that holds the newest whole snapshot. Until one is whole, it is in a file beside it.
#[derive(Clone, Debug)]
pub struct FileSink {
    path: PathBuf,
    append: bool,
    next: Arc<AtomicU64>,
    /// Snapshots are appended one at a time.
    appending: Arc<Mutex<()>>,
}

impl FileSink {
    /// Each snapshot replaces the file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), append: false, next: Arc::default(), appending: Arc::default() }
    }

    /// Each snapshot is appended to the file: for data that comes in several.
    #[must_use]
    pub fn append(mut self) -> Self {
        self.append = true;
        self
    }
}

struct FileStream {
    sink: FileSink,
    partial: PathBuf,
    /// `None` for a target that is written as it comes.
    target: Option<PathBuf>,
    file: File,
}

impl FileStream {
    fn failed(&self) -> impl Fn(io::Error) -> super::EntropyError + use<> {
        let path = self.partial.display().to_string();
        move |error| sink(format_args!("{path}: {error}"))
    }
}

impl StreamingSink for FileSink {
    fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        // A device or a pipe cannot be replaced by a file of the same name.
        let special = fs::metadata(&self.path).is_ok_and(|about| !about.is_file());
        let (partial, target) = if special {
            (self.path.clone(), None)
        } else {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{}-{number}.partial", std::process::id()));
            (PathBuf::from(name), Some(self.path.clone()))
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(!special).truncate(!special);
        let open = if special {
            OpenOptions::new().write(true).open(&partial)
        } else {
            options.open(&partial)
        };
        let file = open.map_err(|error| sink(format_args!("{}: {error}", partial.display())))?;
        Ok(Box::new(FileStream { sink: self.clone(), partial, target, file }))
    }
}

impl SinkStream for FileStream {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        self.file.write_all(bytes).map_err(self.failed())
    }

    fn finish(mut self: Box<Self>) -> EntropyResult<()> {
        let failed = self.failed();
        let Some(target) = self.target.clone() else { return Ok(()) };
        if self.sink.append {
            let _one = self.sink.appending.lock().unwrap_or_else(PoisonError::into_inner);
            let mut whole =
                OpenOptions::new().append(true).create(true).open(&target).map_err(&failed)?;
            io::Seek::rewind(&mut self.file).map_err(&failed)?;
            io::copy(&mut self.file, &mut whole).map_err(&failed)?;
            whole.sync_data().map_err(&failed)?;
            return fs::remove_file(&self.partial).map_err(&failed);
        }
        self.file.sync_data().map_err(&failed)?;
        fs::rename(&self.partial, target).map_err(&failed)
    }

    fn abort(self: Box<Self>) {
        if self.target.is_some() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Any writer, such as standard output. Snapshots follow each other, so one that begins while
/// another is under way is refused; a piece that was written cannot be taken back when its
/// snapshot is cut off.
#[derive(Clone)]
pub struct WriterSink {
    writer: Arc<Mutex<dyn Write + Send>>,
    busy: Arc<AtomicBool>,
}

impl WriterSink {
    /// A sink that writes to `writer`.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Arc::new(Mutex::new(writer)), busy: Arc::default() }
    }
}

impl fmt::Debug for WriterSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterSink").finish_non_exhaustive()
    }
}

struct Written(WriterSink);

impl StreamingSink for WriterSink {
    fn begin(&self, _length: Option<u64>) -> EntropyResult<Box<dyn SinkStream>> {
        if self.busy.swap(true, Ordering::SeqCst) {
            return Err(sink("another snapshot is being written"));
        }
        Ok(Box::new(Written(self.clone())))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

impl SinkStream for Written {
    fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        let mut writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(bytes).map_err(sink)
    }

    fn finish(self: Box<Self>) -> EntropyResult<()> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).flush().map_err(sink)
    }

    fn abort(self: Box<Self>) {}
}
