//! From a backup into a cluster.

use std::{collections::BTreeSet, path::Path};

use super::{BackupError, BackupResult, Damage, Manifest, check::damages, folder::Folder};
use crate::{Meter, StreamingSink, error};

/// A backup that has been checked and can be restored.
///
/// Into [`NodeSink`](crate::NodeSink) it is a merge through one node of a cluster of any
/// shape: that node sends each slot to its replicas at its write level, with hints for those that
/// are down. What is newer there stays, and restoring again changes nothing. Into
/// [`RedisReplaySink`](crate::RedisReplaySink) keys are replaced one by one.
#[derive(Debug)]
pub struct Restore {
    folder: Folder,
    manifest: Manifest,
    damages: Vec<Damage>,
    meter: Meter,
}

/// What has been restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Slots with something in them.
    pub slots: usize,
    /// Keys that show something.
    pub keys: u64,
    /// Bytes of the streams.
    pub bytes: u64,
    /// What was left out because it is damaged.
    pub damages: Vec<Damage>,
}

impl Restore {
    /// Checks the backup in a folder. `meter` counts the bytes.
    ///
    /// # Errors
    /// `Damaged` when a file is not what it was, unless `keep_going`: then those slots are left
    /// out.
    pub fn check(folder: impl AsRef<Path>, keep_going: bool, meter: &Meter) -> BackupResult<Self> {
        let folder = Folder::to_read(folder.as_ref())?;
        let manifest = folder.existing()?;
        let damages = damages(&folder, &manifest, meter)?;
        if !damages.is_empty() && !keep_going {
            return Err(BackupError::Damaged(damages));
        }
        Ok(Self { folder, manifest, damages, meter: Meter::new() })
    }

    /// The backup.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Counts the bytes restored.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Restores.
    ///
    /// # Errors
    /// When the target refuses something: what came before has been applied, and restoring again
    /// is safe.
    pub fn run(self, target: &dyn StreamingSink) -> BackupResult<Restored> {
        let damaged: BTreeSet<u16> =
            self.damages.iter().map(|damage| damage.slot.number()).collect();
        let mut restored = Restored::default();
        let mut stream = target.begin(None)?;
        for record in &self.manifest.slots {
            if record.bytes == 0 || damaged.contains(&record.slot) {
                continue;
            }
            let file = &self.manifest.files[record.file].name;
            let outcome = self.folder.read(file, record.offset, record.bytes, |bytes| {
                self.meter.add(bytes.len() as u64);
                Ok(stream.write(bytes)?)
            });
            let (sha256, _) = match outcome {
                Ok(read) => read,
                Err(error) => {
                    stream.abort();
                    return Err(error);
                }
            };
            if sha256 != record.sha256 {
                stream.abort();
                let text = format!("{file}: slot {} was changed meanwhile", record.slot);
                return Err(BackupError::Target(error::source(text)));
            }
            restored.slots += 1;
            restored.keys += record.keys;
            restored.bytes += record.bytes;
        }
        stream.finish()?;
        restored.damages = self.damages;
        Ok(restored)
    }
}
