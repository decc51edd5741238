//! Whether a backup is what its manifest says.

use std::{fmt, io, path::Path};

use quorate_proto::Slot;

use super::{BackupError, BackupResult, Manifest, folder::Folder};
use crate::Meter;

/// Something in a data file that is not as the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name in the folder.
    pub file: String,
    /// Where in the file the damaged part begins.
    pub offset: u64,
    /// How long it should be.
    pub bytes: u64,
    /// The slot that it is of.
    pub slot: Slot,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, slot, what } = self;
        let slot = slot.number();
        write!(f, "{file}: slot {slot}, {bytes} bytes from offset {offset}: {what}")
    }
}

/// What checking a backup has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The backup.
    pub manifest: Manifest,
    /// What is wrong, by file and offset.
    pub damages: Vec<Damage>,
    /// Files in the folder that belong to no backup, as an interrupted one leaves them. The next
    /// backup removes them.
    pub strangers: Vec<String>,
}

/// Computes the checksums of a backup again; `meter` counts the bytes read.
///
/// # Errors
/// When there is no backup, or its manifest cannot be used. Damaged data is no error here.
pub fn verify(folder: impl AsRef<Path>, meter: &Meter) -> BackupResult<Verified> {
    let folder = Folder::to_read(folder.as_ref())?;
    let manifest = folder.existing()?;
    let damages = damages(&folder, &manifest, meter)?;
    let strangers = folder.strangers(&manifest)?;
    Ok(Verified { manifest, damages, strangers })
}

pub(super) fn damages(
    folder: &Folder,
    manifest: &Manifest,
    meter: &Meter,
) -> BackupResult<Vec<Damage>> {
    let mut damages = Vec::new();
    for (slot, record) in Slot::all().zip(&manifest.slots) {
        if record.bytes == 0 {
            continue;
        }
        let file = &manifest.files[record.file].name;
        let count = |bytes: &[u8]| {
            meter.add(bytes.len() as u64);
            Ok(())
        };
        let what = match folder.read(file, record.offset, record.bytes, count) {
            Ok((_, there)) if there < record.bytes => {
                format!("the file ends at {}", record.offset + there)
            }
            Ok((sha256, _)) if sha256 != record.sha256 => "the checksum is another one".into(),
            Ok(_) => continue,
            Err(BackupError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                "the file is missing".into()
            }
            // A disk that cannot read a part of a file is one of the things to find.
            Err(BackupError::File { error, .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        let (file, offset, bytes) = (file.clone(), record.offset, record.bytes);
        damages.push(Damage { file, offset, bytes, slot, what });
    }
    damages.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
    Ok(damages)
}
