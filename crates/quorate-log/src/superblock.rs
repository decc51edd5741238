//! The superblock: where the log begins, and how far it was synced for certain.

use std::io;

use super::{
    Sequence,
    segment::{SEQUENCE_MAX, has_other_version, is_sealed, seal, u32_at, u64_at},
};
use crate::disk::DiskFile;

pub(super) const FILE_NAME: &str = "superblock";

const MAGIC: [u8; 4] = *b"QRSB";
const SLOT_LENGTH: u64 = 4096;
const SLOTS: u64 = 2;
const CONTENT_LENGTH: usize = 56;

/// Bytes of the file.
pub(super) const LENGTH: u64 = SLOTS * SLOT_LENGTH;

/// Where a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Begin {
    /// Segments before this one are not needed.
    pub(super) segment: u64,
    /// The first record.
    pub(super) first: Sequence,
}

/// The contents of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) log_id: u64,
    pub(super) generation: u64,
    pub(super) begin: Begin,
    pub(super) synced: Sequence,
    pub(super) salt: u32,
}

/// Slots that do not hold what was written to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unsound {
    newest: bool,
    older: bool,
}

/// What the superblock's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// No superblock was ever completed.
    Nothing,
    /// The newer of the slots that are intact.
    Superblock(Superblock),
    /// Both slots were written, of which a crash spoils at most one, and neither can be read.
    Unreadable,
}

impl Stored {
    pub(super) fn read(file: &dyn DiskFile) -> io::Result<Self> {
        let (mut written, mut newest) = (0, None::<Superblock>);
        for slot in 0..SLOTS {
            let mut bytes = [0; CONTENT_LENGTH];
            file.read_at(&mut bytes, slot * SLOT_LENGTH)?;
            if has_other_version(&bytes, MAGIC) {
                return Err(io::Error::other("the superblock has another format"));
            }
            written += u64::from(bytes != [0; CONTENT_LENGTH]);
            if let Some(found) = Superblock::decode(&bytes)
                && newest.is_none_or(|known| known.generation < found.generation)
            {
                newest = Some(found);
            }
        }
        Ok(match newest {
            Some(newest) => Self::Superblock(newest),
            None if written == SLOTS => Self::Unreadable,
            None => Self::Nothing,
        })
    }

    pub(super) fn superblock(self) -> Option<Superblock> {
        match self {
            Self::Superblock(block) => Some(block),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

impl Superblock {
    /// Takes the space of both slots, so that no later write lacks it.
    pub(super) fn allocate(file: &dyn DiskFile) -> io::Result<()> {
        file.allocate(LENGTH)
    }

    /// Writes the slot that the generation before did not use, and syncs it.
    pub(super) fn write(self, file: &dyn DiskFile) -> io::Result<()> {
        file.write_at(&self.encode(), (self.generation % SLOTS) * SLOT_LENGTH)?;
        file.sync()
    }

    /// Which slots do not hold what they should if this is the newest one. A slot that cannot be
    /// read does not.
    pub(super) fn unsound(self, file: &dyn DiskFile) -> Unsound {
        file.forget_cached(0, LENGTH);
        let slot = |generation: u64| {
            let mut bytes = [0; CONTENT_LENGTH];
            let read = file.read_at(&mut bytes, (generation % SLOTS) * SLOT_LENGTH);
            Self::decode(&bytes).filter(|_| read.is_ok())
        };
        let is_older =
            |found: Self| found.log_id == self.log_id && found.generation + 1 == self.generation;
        Unsound {
            newest: slot(self.generation) != Some(self),
            older: self.generation > 0 && !slot(self.generation + 1).is_some_and(is_older),
        }
    }

    /// Writes the slots that are unsound once more, and no other: a crash may spoil what is being
    /// written. Returns what is the newest one then.
    pub(super) fn restore(self, file: &dyn DiskFile, unsound: Unsound) -> io::Result<Self> {
        if unsound.newest {
            self.write(file)?;
        }
        if !unsound.older {
            return Ok(self);
        }
        let next = Self { generation: self.generation + 1, ..self };
        next.write(file)?;
        Ok(next)
    }

    fn encode(self) -> [u8; CONTENT_LENGTH] {
        let mut bytes = [0; CONTENT_LENGTH];
        let fields =
            [self.log_id, self.generation, self.begin.segment, self.begin.first, self.synced];
        for (field, chunk) in fields.iter().zip(bytes[8..48].chunks_exact_mut(8)) {
            chunk.copy_from_slice(&field.to_le_bytes());
        }
        bytes[48..52].copy_from_slice(&self.salt.to_le_bytes());
        seal(&mut bytes, MAGIC);
        bytes
    }

    fn decode(bytes: &[u8; CONTENT_LENGTH]) -> Option<Self> {
        if !is_sealed(bytes, MAGIC) {
            return None;
        }
        let begin = Begin { segment: u64_at(bytes, 24), first: u64_at(bytes, 32) };
        let block = Self {
            log_id: u64_at(bytes, 8),
            generation: u64_at(bytes, 16),
            begin,
            synced: u64_at(bytes, 40),
            salt: u32_at(bytes, 48),
        };
        let plausible = (1..=SEQUENCE_MAX).contains(&begin.first)
            && block.synced <= SEQUENCE_MAX
            && begin.segment <= SEQUENCE_MAX
            && block.generation <= SEQUENCE_MAX;
        plausible.then_some(block)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::{Disk as _, SimulatedDisk};

    fn at(generation: u64) -> Superblock {
        let begin = Begin { segment: 6, first: 7 };
        Superblock { log_id: 5, generation, begin, synced: 10 * generation, salt: 9 }
    }

    #[test]
    fn golden_bytes() {
        let bytes = at(1).encode();
        assert_eq!(
            bytes[..52],
            *b"QRSB\x02\0\0\0\x05\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\
               \x07\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x09\0\0\0"
        );
        // Computed bit by bit elsewhere.
        assert_eq!(u32_at(&bytes, 52), 0xedb6_ff2b);
    }

    #[test]
    fn a_slot_that_rots_is_found_and_written_again() {
        for spoilt in 0..SLOTS as usize {
            let (disk, path) = (SimulatedDisk::new(), Path::new("/log/superblock"));
            let file = disk.open(path).expect("opens");
            (0..3).for_each(|generation| at(generation).write(&*file).expect("writes"));
            assert_eq!(at(2).unsound(&*file), Unsound::default());
            disk.flip_bit(path, 8 * (SLOT_LENGTH as usize * spoilt + 24));
            let unsound = at(2).unsound(&*file);
            assert_eq!(unsound, Unsound { newest: spoilt == 0, older: spoilt == 1 });
            let newest = at(2).restore(&*file, unsound).expect("writes");
            assert_eq!(newest.unsound(&*file), Unsound::default());
            assert_eq!(Stored::read(&*file).expect("reads"), Stored::Superblock(newest));
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_other_one_and_two_are_damage() {
        let (disk, path) = (SimulatedDisk::new(), Path::new("/log/superblock"));
        let file = disk.open(path).expect("opens");
        assert_eq!(Stored::read(&*file).expect("reads"), Stored::Nothing);
        at(0).write(&*file).expect("writes");
        disk.flip_bit(path, 0);
        assert_eq!(Stored::read(&*file).expect("reads"), Stored::Nothing);
        disk.flip_bit(path, 0);
        at(1).write(&*file).expect("writes");
        assert_eq!(Stored::read(&*file).expect("reads"), Stored::Superblock(at(1)));
        disk.flip_bit(path, 8 * (SLOT_LENGTH as usize + 24));
        assert_eq!(Stored::read(&*file).expect("reads"), Stored::Superblock(at(0)));
        disk.flip_bit(path, 8 * 24);
        assert_eq!(Stored::read(&*file).expect("reads"), Stored::Unreadable);
    }
}
