//! The operating system's files.

use std::{
    fs::{self, File, OpenOptions},
    io,
    num::NonZeroU64,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use super::{Disk, DiskFile};

/// Files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = Mutex::new(Some(Arc::new(file)));
        Ok(Arc::new(RealFile { path: path.to_owned(), file }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        fs::create_dir_all(directory)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        ignore_missing(fs::remove_file(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let draft = draft_of(path);
        let file = open_kept(&draft)?;
        // Over the spare that may be there, which is in place already.
        file.write_all_at(contents, 0)?;
        file.set_len(contents.len() as u64)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        self.sync_directory(directory)
    }

    fn spare(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = open_kept(&draft_of(path))?;
        // Not reserved but written: then it is there on every file system that overwrites in place.
        file.write_all_at(&vec![0; length as usize], 0)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(contents) => Ok(Some(contents)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        ignore_missing(fs::remove_dir_all(directory))
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::create_dir_all(directory)?;
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                paths.push(entry.path());
            }
        }
        Ok(paths)
    }
}

/// What is to replace a file.
fn draft_of(path: &Path) -> PathBuf {
    path.with_extension("draft")
}

/// A file for writing, with what it holds, created when it is missing.
fn open_kept(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A file of the operating system, open while it is used.
#[derive(Debug)]
struct RealFile {
    path: PathBuf,
    /// `None` once it was released.
    file: Mutex<Option<Arc<File>>>,
}

impl RealFile {
    fn file(&self) -> io::Result<Arc<File>> {
        // What the lock guards is whole at any moment, also when a thread has died.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        // Not created anew: a file that is gone is an error.
        let opened = Arc::new(OpenOptions::new().read(true).write(true).open(&self.path)?);
        *file = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.file()?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let file = self.file()?;
        match fallocate(&*file, FallocateFlags::empty(), 0, length) {
            // A file system that cannot reserve space reports a lack of it when writing.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                if file.metadata()?.len() < length {
                    file.set_len(length)?;
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file()?.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file()?.metadata()?.len())
    }

    fn forget_cached(&self, offset: u64, length: u64) {
        // Advice that is not taken costs nothing but the proof that the disk was asked.
        if let Ok(file) = self.file() {
            let _ = fadvise(&*file, offset, NonZeroU64::new(length), Advice::DontNeed);
        }
    }

    fn release(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
