//! Backups: what a cluster holds, as a folder of files, and back.
//!
//! ```text
//! folder/
//!   manifest.json                        what the backup is made of, see [`Manifest`]
//!   slots-00000-00255.000001.resp        slots 0 to 255, written by backup 1
//!   slots-00000-00255.000004.resp        those of them that backup 4 found changed
//!   LOCK                                 held while a backup is written or read
//! ```
//!
//! A data file is a stream of Redis commands, as [`NodeSource`](super::NodeSource) makes it: any
//! Redis-compatible server can replay it, and a node merges the states in it, so that a restore
//! loses no newer write and may be repeated.
//!
//! A backup is taken from nodes that serve. Each slot is as one replica had it at a moment of its
//! own: slots are not of one moment. What that replica had not received yet is not in it, unless
//! the [whole cluster](Backup::whole_cluster) is asked: then the states of replicas that differ
//! are.
//!
//! The manifest is replaced last, and atomically; files are never changed, and removed only when
//! the manifest that does without them is durable. So a backup that is interrupted anywhere leaves
//! the one before it whole.

mod check;
mod folder;
mod manifest;
mod places;
mod restore;
mod take;

use std::{io, path::PathBuf};

pub use check::{Damage, Verified, verify};
pub use manifest::{DataFile, Manifest, ManifestError, MemberRecord, SlotRecord};
pub use restore::{Restore, Restored};
pub use take::{Backup, Taken};

use super::EntropyError;

/// Why there is no backup, or no restore. A backup that was in the folder is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A file or folder cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder holds no backup.
    #[error("{} holds no backup", .0.display())]
    NoBackup(PathBuf),
    /// Another process writes or reads the backup.
    #[error("{} is in use by another backup or restore", .0.display())]
    Busy(PathBuf),
    /// The manifest cannot be used.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ManifestError,
    },
    /// A node cannot be asked, or gives no usable answer.
    #[error("{address}: {error}")]
    Node {
        /// Its client address.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The folder holds a backup of something else.
    #[error(
        "{} holds a backup of cluster '{found}' with other members; choose another folder",
        folder.display()
    )]
    OtherCluster {
        /// The folder.
        folder: PathBuf,
        /// The name of the cluster whose backup it holds.
        found: String,
    },
    /// The node does not hold everything.
    #[error(
        "{address} holds {held} of 16384 slots; take the others from their replicas (--cluster)"
    )]
    Partial {
        /// The node.
        address: String,
        /// What it holds.
        held: usize,
    },
    /// No replica of some slots can be asked.
    #[error("no replica of {slots} slots is up and ready ({why}); nothing was changed")]
    Unreachable {
        /// How many.
        slots: usize,
        /// What the last node that was tried said.
        why: String,
    },
    /// A node fell behind the others while it was read.
    #[error("{0} fell behind its cluster while it was read; take the backup again")]
    FellBehind(String),
    /// Files of the backup are damaged. Nothing was restored.
    #[error("nothing was restored, the backup is damaged: {}", list(.0))]
    Damaged(Vec<Damage>),
    /// The target refused. What was sent before has been applied.
    #[error("{0}")]
    Target(#[from] EntropyError),
}

/// The result of everything in this module.
pub type BackupResult<T> = Result<T, BackupError>;

/// Damages that an error names; the check lists all.
const DAMAGES_NAMED_MAX: usize = 8;

fn list(damages: &[Damage]) -> String {
    let mut texts: Vec<String> =
        damages.iter().take(DAMAGES_NAMED_MAX).map(ToString::to_string).collect();
    if damages.len() > DAMAGES_NAMED_MAX {
        texts.push(format!("and {} more", damages.len() - DAMAGES_NAMED_MAX));
    }
    texts.join("; ")
}

fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.into();
    move |error| BackupError::File { path, error }
}
