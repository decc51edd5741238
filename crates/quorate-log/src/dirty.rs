//! Ranges in which targets lack something that nobody keeps for them, on disk.
//!
//! ```text
//!  "dirty", replaced as a whole
//!  +--------+---------+-------+------------------------------+--------+
//!  | "QRDR" | version | count | node id 16, groups 8, ...    | crc32c |
//!  | 4      | 4       | 4     | 24 for each target           | 4      |
//!  +--------+---------+-------+------------------------------+--------+
//! ```
//! Integers are little-endian; the version is 1. The groups of slots are one bit each, group 0
//! lowest; a target without any is left out. The checksum covers everything before it.

use std::{collections::BTreeMap, io, path::Path};

use quorate_proto::{Groups, NodeId, checksum};

use crate::disk::Disk;

const MAGIC: [u8; 4] = *b"QRDR";
const VERSION: u32 = 1;
const HEAD: usize = 12;
const ENTRY: usize = 24;

/// Groups of slots that are dirty, by target.
pub type DirtyRanges = BTreeMap<NodeId, Groups>;

/// The name of the file in its directory.
pub const DIRTY_FILE: &str = "dirty";

/// Reads the file at `path`: nothing is dirty without one. `None` when it is damaged, so that
/// anything may be.
///
/// # Errors
/// It cannot be read, or has another version.
pub fn read_dirty(disk: &dyn Disk, path: &Path) -> io::Result<Option<DirtyRanges>> {
    let Some(bytes) = disk.read(path)? else { return Ok(Some(DirtyRanges::new())) };
    let Some((content, checksum)) = bytes.split_last_chunk() else { return Ok(None) };
    if u32::from_le_bytes(*checksum) != checksum::crc32c(content) {
        return Ok(None);
    }
    match content.split_at_checked(HEAD) {
        Some((head, entries)) if head[..4] == MAGIC => {
            if head[4..8] != VERSION.to_le_bytes() {
                return Err(io::Error::other(format!("{} has another format", path.display())));
            }
            let (entries, rest) = entries.as_chunks::<ENTRY>();
            let is_whole = rest.is_empty() && head[8..] == (entries.len() as u32).to_le_bytes();
            Ok(is_whole.then(|| entries.iter().map(decode).collect()))
        }
        _ => Ok(None),
    }
}

/// The contents of the file.
pub fn encode_dirty(ranges: &DirtyRanges) -> Vec<u8> {
    let targets = || ranges.iter().filter(|(_, groups)| !groups.is_empty());
    let mut bytes = Vec::with_capacity(HEAD + ranges.len() * ENTRY + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(targets().count() as u32).to_le_bytes());
    for (id, groups) in targets() {
        bytes.extend_from_slice(&id.0.to_le_bytes());
        bytes.extend_from_slice(&groups.bits().to_le_bytes());
    }
    let checksum = checksum::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(entry: &[u8; ENTRY]) -> (NodeId, Groups) {
    let (id, groups) = entry.split_at(16);
    let id = u128::from_le_bytes(*id.first_chunk().expect("invariant: 16 bytes"));
    let bits = u64::from_le_bytes(*groups.first_chunk().expect("invariant: 8 bytes"));
    (NodeId(id), Groups::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    const PATH: &str = "/hints/dirty";

    fn read(bytes: &[u8]) -> io::Result<Option<DirtyRanges>> {
        let disk = SimulatedDisk::new();
        disk.replace(Path::new(PATH), bytes).expect("is written");
        read_dirty(&disk, Path::new(PATH))
    }

    fn ranges() -> DirtyRanges {
        [(NodeId(0x0102), Groups::from_bits(0x8000_0000_0000_0005)), (NodeId(7), Groups::NONE)]
            .into()
    }

    #[test]
    fn golden_bytes() {
        let bytes = encode_dirty(&ranges());
        let mut expected = b"QRDR\x01\0\0\0\x01\0\0\0\x02\x01".to_vec();
        expected.resize(expected.len() + 14, 0);
        expected.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(bytes[..bytes.len() - 4], expected);
        assert_eq!(bytes[bytes.len() - 4..], checksum::crc32c(&expected).to_le_bytes());
        let found = read(&bytes).expect("is read").expect("is whole");
        assert_eq!(found, [(NodeId(0x0102), Groups::from_bits(0x8000_0000_0000_0005))].into());
    }

    #[test]
    fn nothing_is_dirty_without_a_file_and_anything_may_be_after_damage() {
        let none = read_dirty(&SimulatedDisk::new(), Path::new(PATH)).expect("is read");
        assert_eq!(none, Some(DirtyRanges::new()));
        let bytes = encode_dirty(&ranges());
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]).expect("is read"), None, "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut spoilt = bytes.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&spoilt).expect("is read"), None, "bit {bit}");
        }
        let mut other = bytes.clone();
        other[4] = 2;
        let end = other.len() - 4;
        let checksum = checksum::crc32c(&other[..end]).to_le_bytes();
        other[end..].copy_from_slice(&checksum);
        assert!(read(&other).is_err());
    }
}
