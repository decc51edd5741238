//! The few file operations that durability needs, behind traits, so that tests and the simulator
//! can make a disk fail.

mod real;
mod simulated;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use real::RealDisk;
pub use simulated::SimulatedDisk;

/// A directory tree of files.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens a file for reading and writing, creating it when it is missing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of the files in a directory, created when it is missing.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Removes a file. Removing a missing file is fine.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Moves a file to another directory of the same file system, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the creation and removal of files in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Replaces a small file as a whole, durably: afterwards, and after a crash at any moment, it
    /// holds either the old or the new contents.
    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()>;

    /// Takes space for the next [`Disk::replace`] of a file, so that `length` bytes can be written
    /// then however full the disk is. Where there is less it takes what there is, and fails. A loss
    /// of power may give it back.
    fn spare(&self, path: &Path, length: u64) -> io::Result<()>;

    /// The contents of a small file, `None` when it is missing.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Removes a directory with everything in it. Removing a missing one is fine.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;

    /// The directories inside a directory.
    fn list_directories(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;
}

/// One open file.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads up to the length of `buffer` at `offset`; fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes everything written so far durable.
    fn sync(&self) -> io::Result<()>;

    /// Takes space for the first `length` bytes, so that writing them cannot fail for lack of it.
    /// New bytes read as zeros.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Drops what is held in memory of a durable part of the file, so that the next read of it asks
    /// the disk itself. A disk that holds nothing in memory has nothing to do.
    fn forget_cached(&self, _offset: u64, _length: u64) {}

    /// Gives back the descriptor of a file that is not used for now; the next use opens it again.
    /// What is not synced must not be left behind by it. A disk without descriptors has nothing to
    /// do.
    fn release(&self) {}
}
