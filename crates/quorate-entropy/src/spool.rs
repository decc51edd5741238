//! Where a part of a stream waits until its length is known: in memory while it is small, and in an
//! unnamed temporary file when it is not.

use std::{
    fs::{File, OpenOptions},
    io::{self, Cursor, Read, Write as _},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use bytes::Bytes;

use super::{EntropyResult, error::source};

/// Up to this size a part stays in memory, of which there may be three.
pub(super) const MEMORY_MAX: usize = 8 << 20;

/// A part that is still being filled.
pub(super) enum Spool {
    Memory(Vec<u8>),
    File(File),
}

/// A part that is filled.
pub(super) enum Spooled {
    Memory(Bytes),
    File(FileRange),
}

/// A range of a file; its clones read the same bytes.
#[derive(Clone, Debug)]
pub(super) struct FileRange {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Spool {
    /// An empty one for at most so many bytes.
    pub(super) fn new(length_max: u64) -> Self {
        Self::Memory(Vec::with_capacity(length_max.min(MEMORY_MAX as u64) as usize))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> EntropyResult<()> {
        if let Self::Memory(kept) = self
            && kept.len() + bytes.len() > MEMORY_MAX
        {
            let mut file = temporary_file().map_err(spooling)?;
            file.write_all(kept).map_err(spooling)?;
            *self = Self::File(file);
        }
        match self {
            Self::Memory(kept) => kept.extend_from_slice(bytes),
            Self::File(file) => file.write_all(bytes).map_err(spooling)?,
        }
        Ok(())
    }

    /// What was written: so many bytes, and then the rest of all `length`.
    pub(super) fn split(self, at: u64, length: u64) -> (Spooled, Spooled) {
        match self {
            Self::Memory(kept) => {
                let mut first = Bytes::from(kept);
                let rest = first.split_off(at as usize);
                (Spooled::Memory(first), Spooled::Memory(rest))
            }
            Self::File(file) => {
                let (first, rest) = FileRange::new(file, 0, length).split(at);
                (Spooled::File(first), Spooled::File(rest))
            }
        }
    }
}

impl Spooled {
    pub(super) fn reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::Memory(bytes) => Box::new(Cursor::new(bytes)),
            Self::File(range) => Box::new(range),
        }
    }
}

impl FileRange {
    /// The bytes of `file` from `at` to `end`.
    pub(super) fn new(file: File, at: u64, end: u64) -> Self {
        Self { file: Arc::new(file), at, end }
    }

    pub(super) fn length(&self) -> u64 {
        self.end - self.at
    }

    /// The first `length` bytes, and the others.
    pub(super) fn split(self, length: u64) -> (Self, Self) {
        let cut = self.end.min(self.at + length);
        (Self { end: cut, ..self.clone() }, Self { at: cut, ..self })
    }
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.length().min(buffer.len() as u64) as usize;
        let got = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

fn spooling(error: io::Error) -> super::EntropyError {
    source(format_args!("a temporary copy in {}: {error}", std::env::temp_dir().display()))
}

/// A file that has no name any more: it is gone when it is closed, however this process ends.
pub(super) fn temporary_file() -> io::Result<File> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = format!("quorate-entropy-{:016x}", u64::from_be_bytes(random));
    let path = std::env::temp_dir().join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    // The data may be secret; others must not open it while it has a name.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
