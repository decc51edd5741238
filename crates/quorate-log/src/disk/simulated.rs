//! A disk in memory that can be made to fail.
//!
//! What is written is seen by readers at once, as with a page cache, and becomes durable only by a
//! sync; files that were made or removed become so by a sync of their directory.
//! [`SimulatedDisk::crash`] takes everything back to what is durable, and
//! [`SimulatedDisk::lose_power`] to something in between, as a real disk does that had begun to
//! write. [`Disk::replace`] and [`Disk::remove_directory`] are durable at once, which is what their
//! contract and the order of their uses ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    files: BTreeMap<PathBuf, Arc<Mutex<Contents>>>,
    /// The files that a loss of power leaves.
    durable_files: BTreeMap<PathBuf, Arc<Mutex<Contents>>>,
    /// Bytes that files may take together; `None` for any number.
    capacity: Option<u64>,
    used: u64,
    syncs_fail: bool,
    writes_fail: bool,
    reads_fail: bool,
}

#[derive(Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What has changed since the last sync, in order.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Box<[u8]> },
    Length(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Length(length) => contents.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                contents.resize(contents.len().max(end), 0);
                contents[*offset..end].copy_from_slice(bytes);
            }
        }
    }

    /// The same change, of which only the first `length` bytes were written.
    fn torn(&self, length: usize) -> Self {
        match self {
            Self::Length(length) => Self::Length(*length),
            Self::Write { offset, bytes } => {
                let bytes = bytes[..length.min(bytes.len())].into();
                Self::Write { offset: *offset, bytes }
            }
        }
    }
}

/// A step of SplitMix64: the loss of power must not depend on a generator that callers share.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl SimulatedDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk with the same files, all of them durable.
    pub fn duplicate(&self) -> Self {
        let copy = Self::new();
        let mut files = copy.lock();
        for (path, contents) in &self.lock().files {
            let now = lock(contents).now.clone();
            files.used += now.len() as u64;
            let contents = Contents { durable: now.clone(), now, unsynced: Vec::new() };
            let contents = Arc::new(Mutex::new(contents));
            files.files.insert(path.clone(), Arc::clone(&contents));
            files.durable_files.insert(path.clone(), contents);
        }
        drop(files);
        copy
    }

    /// Bounds the bytes that all files may take together.
    pub fn limit_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Bytes that all files take together.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Makes every sync fail, or none. What a failed sync was to make durable never will be, though
    /// it can be read: the page cache takes it for clean.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock().syncs_fail = fail;
    }

    /// Makes every write fail, or none.
    pub fn fail_writes(&self, fail: bool) {
        self.lock().writes_fail = fail;
    }

    /// Makes every read of an open file fail, or none.
    pub fn fail_reads(&self, fail: bool) {
        self.lock().reads_fail = fail;
    }

    /// Forgets everything that was not synced. Of the last write to each file, `torn_bytes`
    /// survive even so.
    pub fn crash(&self, torn_bytes: usize) {
        self.settle(|_, _| false, |position, last| if position == last { torn_bytes } else { 0 });
    }

    /// Makes everything durable, as operating systems do from time to time without being asked.
    pub fn write_back(&self) {
        self.settle(|_, _| true, |_, _| usize::MAX);
    }

    /// Loses power while the disk was writing: of what was not synced, each change of a directory
    /// and each write survives or not, or in part, as `seed` has it.
    pub fn lose_power(&self, mut seed: u64) {
        let mut other = next(&mut seed);
        let survives = |_: &Path, _: bool| next(&mut seed).is_multiple_of(2);
        let kept = |_: usize, _: usize| match next(&mut other) % 4 {
            0 => 0,
            1 => next(&mut other) as usize % 600,
            _ => usize::MAX,
        };
        self.settle(survives, kept);
    }

    /// Takes the disk to a state that `survives` and `kept` choose: whether a change of a directory
    /// lasts, and how many bytes of an unsynced write do, given its position and the last one.
    fn settle(
        &self,
        mut survives: impl FnMut(&Path, bool) -> bool,
        mut kept: impl FnMut(usize, usize) -> usize,
    ) {
        let mut inner = self.lock();
        let paths: BTreeSet<PathBuf> =
            inner.files.keys().chain(inner.durable_files.keys()).cloned().collect();
        for path in paths {
            let (now, durable) = (inner.files.get(&path), inner.durable_files.get(&path));
            let same = match (now, durable) {
                (Some(now), Some(durable)) => Arc::ptr_eq(now, durable),
                _ => false,
            };
            if !same && survives(&path, now.is_some()) {
                match now.cloned() {
                    Some(now) => inner.durable_files.insert(path, now),
                    None => inner.durable_files.remove(&path),
                };
            }
        }
        inner.files = inner.durable_files.clone();
        inner.used = 0;
        for contents in inner.files.values() {
            let contents = &mut *lock(contents);
            let last = contents.unsynced.len().saturating_sub(1);
            for (position, change) in std::mem::take(&mut contents.unsynced).iter().enumerate() {
                let length = kept(position, last);
                if length > 0 {
                    change.torn(length).apply(&mut contents.durable);
                }
            }
            contents.now.clone_from(&contents.durable);
        }
        inner.used = inner.files.values().map(|contents| lock(contents).now.len() as u64).sum();
    }

    /// Flips one bit of a file. Nothing happens when it has none at this place.
    pub fn flip_bit(&self, path: &Path, bit: usize) {
        let inner = self.lock();
        let Some(contents) = inner.files.get(path) else { return };
        let contents = &mut *lock(contents);
        for bytes in [&mut contents.now, &mut contents.durable] {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// The files, in order of their paths, with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let inner = self.lock();
        let files = inner.files.iter();
        files.map(|(path, contents)| (path.clone(), lock(contents).now.len())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    fn length(&self, path: &Path) -> u64 {
        self.files.get(path).map_or(0, |file| lock(file).now.len() as u64)
    }

    /// A file holds this and nothing else, durably, in the space that it has and what it needs
    /// besides.
    fn overwrite(&mut self, path: &Path, contents: Vec<u8>) -> io::Result<()> {
        if self.writes_fail {
            return Err(io::Error::other("writes fail"));
        }
        let used = self.used - self.length(path) + contents.len() as u64;
        if used > self.used && self.capacity.is_some_and(|capacity| used > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.used = used;
        let durable = contents.clone();
        let file = Contents { now: contents, durable, unsynced: Vec::new() };
        let file = Arc::new(Mutex::new(file));
        self.durable_files.insert(path.to_owned(), Arc::clone(&file));
        self.files.insert(path.to_owned(), file);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        let contents = Arc::clone(inner.files.entry(path.to_owned()).or_default());
        Ok(Arc::new(SimulatedFile { disk: self.clone(), contents }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        let inside = inner.files.keys().filter(|path| path.parent() == Some(directory));
        let names = inside.filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(contents) = inner.files.remove(path) {
            inner.used -= lock(&contents).now.len() as u64;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let moved = inner.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(old) = inner.files.insert(to.to_owned(), moved) {
            inner.used -= lock(&old).now.len() as u64;
        }
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.syncs_fail {
            return Err(io::Error::other("simulated failure of sync"));
        }
        inner.durable_files.retain(|path, _| path.parent() != Some(directory));
        let inside: Vec<_> = inner
            .files
            .iter()
            .filter(|(path, _)| path.parent() == Some(directory))
            .map(|(path, contents)| (path.clone(), Arc::clone(contents)))
            .collect();
        inner.durable_files.extend(inside);
        Ok(())
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        let draft = path.with_extension("draft");
        inner.overwrite(&draft, contents.to_vec())?;
        if let Some(new) = inner.files.remove(&draft) {
            inner.durable_files.remove(&draft);
            inner.durable_files.insert(path.to_owned(), Arc::clone(&new));
            if let Some(old) = inner.files.insert(path.to_owned(), new) {
                inner.used -= lock(&old).now.len() as u64;
            }
        }
        Ok(())
    }

    fn spare(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        let draft = path.with_extension("draft");
        let others = inner.used - inner.length(&draft);
        let free = inner.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(others));
        inner.overwrite(&draft, vec![0; length.min(free) as usize])?;
        if free < length { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.lock().files.get(path).map(|contents| lock(contents).now.clone()))
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.durable_files.retain(|path, _| !path.starts_with(directory));
        inner.files.retain(|path, _| !path.starts_with(directory));
        inner.used = inner.files.values().map(|contents| lock(contents).now.len() as u64).sum();
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

/// An open file. It stays usable when its name is removed, as with any Unix file system.
#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    contents: Arc<Mutex<Contents>>,
}

impl SimulatedFile {
    fn grow(&self, length: usize) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let contents = &mut *lock(&self.contents);
        let growth = length.saturating_sub(contents.now.len()) as u64;
        if growth == 0 {
            return Ok(());
        }
        if inner.capacity.is_some_and(|capacity| inner.used + growth > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.used += growth;
        contents.now.resize(length, 0);
        contents.unsynced.push(Change::Length(length));
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.disk.lock().writes_fail {
            return Err(io::Error::other("simulated failure of write"));
        }
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        self.grow(end)?;
        let contents = &mut *lock(&self.contents);
        contents.now[start..end].copy_from_slice(bytes);
        contents.unsynced.push(Change::Write { offset: start, bytes: bytes.into() });
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.disk.lock().reads_fail {
            return Err(io::Error::other("simulated failure of read"));
        }
        let contents = lock(&self.contents);
        let rest = contents.now.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let fails = self.disk.lock().syncs_fail;
        let contents = &mut *lock(&self.contents);
        let changes = std::mem::take(&mut contents.unsynced);
        if fails {
            return Err(io::Error::other("simulated failure of sync"));
        }
        changes.iter().for_each(|change| change.apply(&mut contents.durable));
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.grow(length as usize)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let contents = &mut *lock(&self.contents);
        let cut = (contents.now.len() as u64).saturating_sub(length);
        inner.used = inner.used.saturating_sub(cut);
        contents.now.truncate(length as usize);
        contents.unsynced.push(Change::Length(contents.now.len()));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.contents).now.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &SimulatedDisk, name: &str) -> Arc<dyn DiskFile> {
        disk.open(&Path::new("/d").join(name)).expect("opens")
    }

    fn contents(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
        disk.read(&Path::new("/d").join(name)).expect("reads")
    }

    #[test]
    fn only_what_was_synced_survives_a_crash() {
        let disk = SimulatedDisk::new();
        let a = file(&disk, "a");
        a.write_at(b"kept", 0).expect("writes");
        a.sync().expect("syncs");
        disk.sync_directory(Path::new("/d")).expect("syncs");
        a.write_at(b"lost", 4).expect("writes");
        file(&disk, "b").write_at(b"b", 0).expect("writes");
        disk.remove(Path::new("/d/a")).expect("removes");
        disk.crash(0);
        assert_eq!(contents(&disk, "a").as_deref(), Some(&b"kept"[..]));
        assert_eq!(contents(&disk, "b"), None);
        assert_eq!(disk.used(), 4);
    }

    #[test]
    fn a_crash_can_tear_the_last_write() {
        let disk = SimulatedDisk::new();
        let a = file(&disk, "a");
        disk.sync_directory(Path::new("/d")).expect("syncs");
        a.write_at(b"one", 0).expect("writes");
        a.sync().expect("syncs");
        a.write_at(b"two", 3).expect("writes");
        disk.crash(2);
        assert_eq!(contents(&disk, "a").as_deref(), Some(&b"onetw"[..]));
    }

    #[test]
    fn what_a_failed_sync_covered_is_never_durable() {
        let disk = SimulatedDisk::new();
        let a = file(&disk, "a");
        disk.sync_directory(Path::new("/d")).expect("syncs");
        a.write_at(b"x", 0).expect("writes");
        disk.fail_syncs(true);
        a.sync().expect_err("fails");
        disk.fail_syncs(false);
        a.sync().expect("syncs");
        assert_eq!(contents(&disk, "a").as_deref(), Some(&b"x"[..]));
        disk.crash(0);
        assert_eq!(contents(&disk, "a").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn losses_of_power_keep_what_was_synced_and_parts_of_the_rest() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..64 {
            let disk = SimulatedDisk::new();
            let a = file(&disk, "a");
            a.write_at(b"1", 0).expect("writes");
            a.sync().expect("syncs");
            disk.sync_directory(Path::new("/d")).expect("syncs");
            a.write_at(b"2", 1).expect("writes");
            a.write_at(b"3", 2).expect("writes");
            disk.lose_power(seed);
            let left = contents(&disk, "a").expect("there");
            assert_eq!(left[0], b'1');
            outcomes.insert(left);
        }
        assert!(outcomes.len() >= 4, "{outcomes:?}");
    }
}
