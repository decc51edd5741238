//! A disk in memory that can be made to fail.
//!
//! What is written is seen by readers at once, as with a page cache, and becomes durable only by a
//! sync. [`SimulatedDisk::crash`] takes everything back to what is durable. Replaced files,
//! removals and new files are durable at once: the log does not rely on their order.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Disk, DiskFile};

/// A disk in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<PathBuf, Contents>,
    /// Bytes that files may take together; `None` for any number.
    capacity: Option<u64>,
    syncs_fail: bool,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Start of the last write, where a crash may tear.
    last_write: usize,
}

impl SimulatedDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds the bytes that all files may take together.
    pub fn limit_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Makes every sync fail, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock().syncs_fail = fail;
    }

    /// Forgets everything that was not synced. Of the last write to each file, `torn_bytes`
    /// survive even so.
    pub fn crash(&self, torn_bytes: usize) {
        for contents in self.lock().files.values_mut() {
            let end = (contents.last_write + torn_bytes).min(contents.now.len());
            if torn_bytes > 0 && contents.now.get(..end) != contents.durable.get(..end) {
                let torn = contents.now[contents.last_write..end].to_vec();
                let needed = contents.durable.len().max(end);
                contents.durable.resize(needed, 0);
                contents.durable[contents.last_write..end].copy_from_slice(&torn);
            }
            contents.now.clone_from(&contents.durable);
        }
    }

    /// Flips one bit of a file.
    pub fn flip_bit(&self, path: &Path, bit: usize) {
        if let Some(contents) = self.lock().files.get_mut(path) {
            contents.now[bit / 8] ^= 1 << (bit % 8);
            contents.durable.clone_from(&contents.now);
        }
    }

    /// The files, in order of their paths, with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let inner = self.lock();
        inner.files.iter().map(|(path, contents)| (path.clone(), contents.now.len())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.lock().files.entry(path.to_owned()).or_default();
        Ok(Arc::new(SimulatedFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        let inside = inner.files.keys().filter(|path| path.parent() == Some(directory));
        let names = inside.filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().files.remove(path);
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let (now, durable) = (contents.to_vec(), contents.to_vec());
        self.lock().files.insert(path.to_owned(), Contents { now, durable, last_write: 0 });
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.lock().files.get(path).map(|contents| contents.now.clone()))
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.lock().files.retain(|path, _| !path.starts_with(directory));
        Ok(())
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let inner = self.lock();
        let below = inner.files.keys().filter_map(|path| {
            let first = path.strip_prefix(directory).ok()?.components().next()?;
            let child = directory.join(first);
            (child != *path).then_some(child)
        });
        let mut directories: Vec<PathBuf> = below.collect();
        directories.dedup();
        Ok(directories)
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> io::Result<T> {
        let mut inner = self.disk.lock();
        inner.files.get_mut(&self.path).map(act).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn grow(&self, length: usize) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let used: u64 = inner.files.values().map(|contents| contents.now.len() as u64).sum();
        let capacity = inner.capacity.unwrap_or(u64::MAX);
        let Some(contents) = inner.files.get_mut(&self.path) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let growth = length.saturating_sub(contents.now.len()) as u64;
        if growth > 0 && used + growth > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if growth > 0 {
            contents.now.resize(length, 0);
        }
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        self.grow(end)?;
        self.with(|contents| {
            contents.now[start..end].copy_from_slice(bytes);
            contents.last_write = start;
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|contents| {
            let rest = contents.now.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.lock().syncs_fail {
            return Err(io::Error::other("simulated failure of sync"));
        }
        self.with(|contents| contents.durable.clone_from(&contents.now))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.grow(length as usize)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.with(|contents| {
            contents.now.truncate(length as usize);
            contents.durable.truncate(length as usize);
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|contents| contents.now.len() as u64)
    }
}
