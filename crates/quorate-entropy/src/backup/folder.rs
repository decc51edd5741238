//! The folder: locked, and changed so that it always holds a whole backup.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    BackupError, BackupResult, DataFile, Manifest, at,
    manifest::{hex, is_data_file},
};

const MANIFEST: &str = "manifest.json";
const MANIFEST_PARTIAL: &str = "manifest.json.partial";
const LOCK: &str = "LOCK";

/// What is read from a file at a time.
const READ_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    _lock: Option<File>,
}

impl Folder {
    /// A folder to write to; it is made when it is not there.
    pub(super) fn to_write(path: &Path) -> BackupResult<Self> {
        fs::create_dir_all(path).map_err(at(path))?;
        // The name of a folder that is new; one that cannot be opened has other guards.
        if let Ok(parent) = File::open(path.join("..")) {
            let _ = parent.sync_all();
        }
        let lock = path.join(LOCK);
        let lock = File::create(&lock).map_err(at(lock))?;
        locked(lock.try_lock(), path)?;
        let folder = Self { path: path.to_owned(), _lock: Some(lock) };
        // A manifest that is here but not durable yet must be so before files it replaced are
        // written over.
        folder.sync()?;
        Ok(folder)
    }

    /// A folder to read from, which nobody changes meanwhile.
    pub(super) fn to_read(path: &Path) -> BackupResult<Self> {
        // Copies, and folders that may not be written to, have no lock and need none.
        let lock = File::open(path.join(LOCK)).ok();
        if let Some(lock) = &lock {
            locked(lock.try_lock_shared(), path)?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The backup in the folder, if there is one.
    pub(super) fn manifest(&self) -> BackupResult<Option<Manifest>> {
        let path = self.path.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::File { path, error }),
        };
        let manifest = Manifest::decode(&bytes);
        manifest.map(Some).map_err(|error| BackupError::Manifest { path, error })
    }

    /// The backup in the folder.
    pub(super) fn existing(&self) -> BackupResult<Manifest> {
        self.manifest()?.ok_or_else(|| BackupError::NoBackup(self.path.clone()))
    }

    /// Makes `manifest` the folder's backup. Its data files are synced before.
    pub(super) fn replace(&self, manifest: &Manifest) -> BackupResult<()> {
        let path = self.path.join(MANIFEST);
        let failed = |error| BackupError::Manifest { path: path.clone(), error };
        let bytes = manifest.encode().map_err(failed)?;
        // The names of the data files, before a manifest that names them.
        self.sync()?;
        let partial = self.path.join(MANIFEST_PARTIAL);
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&partial, &path)
        };
        write().map_err(at(&partial))?;
        self.sync()
    }

    /// Removes what the folder's backup, which is durable, does not need. Returns how many files.
    pub(super) fn clean(&self, manifest: &Manifest) -> BackupResult<usize> {
        let mut removed = 0;
        for name in self.strangers(manifest)? {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(at(path))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Data files that the backup does not need, as an interrupted one leaves them.
    pub(super) fn strangers(&self, manifest: &Manifest) -> BackupResult<Vec<String>> {
        let needed: BTreeSet<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
        let mut strangers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            let name = entry.map_err(at(&self.path))?.file_name();
            let name = name.to_string_lossy().into_owned();
            let ours = is_data_file(&name) || name == MANIFEST_PARTIAL;
            if ours && !needed.contains(name.as_str()) {
                strangers.push(name);
            }
        }
        strangers.sort_unstable();
        Ok(strangers)
    }

    fn sync(&self) -> BackupResult<()> {
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(at(&self.path))
    }

    /// Gives away a part of a data file piece by piece. Returns its checksum, and how much of it
    /// there is.
    pub(super) fn read(
        &self,
        name: &str,
        offset: u64,
        bytes: u64,
        mut take: impl FnMut(&[u8]) -> BackupResult<()>,
    ) -> BackupResult<(String, u64)> {
        let path = self.path.join(name);
        let mut file = File::open(&path).map_err(at(&path))?;
        file.seek(SeekFrom::Start(offset)).map_err(at(&path))?;
        let mut file = file.take(bytes);
        let mut hash = Sha256::new();
        let mut buffer = vec![0; READ_BYTES.min(usize::try_from(bytes).unwrap_or(READ_BYTES))];
        let mut there = 0;
        loop {
            let count = file.read(&mut buffer).map_err(at(&path))?;
            if count == 0 {
                return Ok((hex(&hash.finalize()), there));
            }
            hash.update(&buffer[..count]);
            take(&buffer[..count])?;
            there += count as u64;
        }
    }
}

fn locked(outcome: Result<(), TryLockError>, path: &Path) -> BackupResult<()> {
    outcome.map_err(|error| match error {
        TryLockError::WouldBlock => BackupError::Busy(path.to_owned()),
        TryLockError::Error(error) => BackupError::File { path: path.join(LOCK), error },
    })
}

/// A data file being written: parts, each with a checksum.
pub(super) struct DataWriter {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    bytes: u64,
    start: u64,
    hash: Sha256,
}

/// Where a part is.
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl DataWriter {
    pub(super) fn create(folder: &Folder, name: String) -> BackupResult<Self> {
        let path = folder.path.join(&name);
        let file = BufWriter::with_capacity(READ_BYTES, File::create(&path).map_err(at(&path))?);
        Ok(Self { path, name, file, bytes: 0, start: 0, hash: Sha256::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> BackupResult<()> {
        self.file.write_all(bytes).map_err(at(&self.path))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Ends a part; the next one begins behind it.
    pub(super) fn end_part(&mut self) -> Part {
        let offset = std::mem::replace(&mut self.start, self.bytes);
        let hash = std::mem::replace(&mut self.hash, Sha256::new());
        Part { offset, bytes: self.bytes - offset, sha256: hex(&hash.finalize()) }
    }

    /// Makes the file durable; the folder is synced later, once for all.
    pub(super) fn finish(mut self) -> BackupResult<DataFile> {
        self.file.flush().map_err(at(&self.path))?;
        self.file.get_ref().sync_all().map_err(at(&self.path))?;
        Ok(DataFile { name: self.name, bytes: self.bytes })
    }
}
