//! The superblock: how far the log was synced for certain.

use std::{io, path::Path, sync::Arc};

use super::{
    Sequence,
    segment::{VERSION, u32_at, u64_at},
};
use crate::disk::{Disk, DiskFile};

const MAGIC: [u8; 4] = *b"QRSB";
const SLOT_LENGTH: u64 = 4096;
const CONTENT_LENGTH: usize = 36;
const FILE_NAME: &str = "superblock";

/// The contents of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) log_id: u64,
    pub(super) generation: u64,
    pub(super) synced: Sequence,
}

impl Superblock {
    /// The newer of the two slots that are intact.
    pub(super) fn read(disk: &dyn Disk, directory: &Path) -> io::Result<Option<Self>> {
        let file = disk.open(&directory.join(FILE_NAME))?;
        let mut newest: Option<Self> = None;
        for slot in [0, 1] {
            let mut bytes = [0; CONTENT_LENGTH];
            if file.read_at(&mut bytes, slot * SLOT_LENGTH)? < CONTENT_LENGTH {
                continue;
            }
            if let Some(found) = Self::decode(&bytes)
                && newest.is_none_or(|known| known.generation < found.generation)
            {
                newest = Some(found);
            }
        }
        Ok(newest)
    }

    pub(super) fn open(disk: &dyn Disk, directory: &Path) -> io::Result<Arc<dyn DiskFile>> {
        disk.open(&directory.join(FILE_NAME))
    }

    /// Writes the slot that the generation before did not use, and syncs it.
    pub(super) fn write(self, file: &dyn DiskFile) -> io::Result<()> {
        file.write_at(&self.encode(), (self.generation % 2) * SLOT_LENGTH)?;
        file.sync()
    }

    fn encode(self) -> [u8; CONTENT_LENGTH] {
        let mut bytes = [0; CONTENT_LENGTH];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..32]);
        bytes[32..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; CONTENT_LENGTH]) -> Option<Self> {
        let intact = bytes[..4] == MAGIC
            && u32_at(bytes, 4) == VERSION
            && u32_at(bytes, 32) == crc32c::crc32c(&bytes[..32]);
        intact.then(|| Self {
            log_id: u64_at(bytes, 8),
            generation: u64_at(bytes, 16),
            synced: u64_at(bytes, 24),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn a_torn_slot_leaves_the_other_one() {
        let disk = SimulatedDisk::new();
        let directory = Path::new("/log");
        let file = Superblock::open(&disk, directory).expect("opens");
        let at = |generation, synced| Superblock { log_id: 5, generation, synced };
        assert_eq!(Superblock::read(&disk, directory).expect("reads"), None);
        at(1, 10).write(&*file).expect("writes");
        at(2, 20).write(&*file).expect("writes");
        assert_eq!(Superblock::read(&disk, directory).expect("reads"), Some(at(2, 20)));
        disk.flip_bit(&directory.join(FILE_NAME), 8 * 24);
        assert_eq!(Superblock::read(&disk, directory).expect("reads"), Some(at(1, 10)));
    }
}
