//! The format of segments and records.

use super::Sequence;

pub(super) const SEGMENT_MAGIC: [u8; 4] = *b"QRLG";
pub(super) const VERSION: u32 = 1;
pub(super) const SEGMENT_HEADER: usize = 28;
pub(super) const RECORD_HEADER: usize = 16;

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log_id: u64,
    pub(super) first: Sequence,
}

impl Header {
    pub(super) fn encode(self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..4].copy_from_slice(&SEGMENT_MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEADER] = bytes.first_chunk()?;
        let intact = u32_at(bytes, 24) == crc32c::crc32c(&bytes[..24])
            && bytes[..4] == SEGMENT_MAGIC
            && u32_at(bytes, 4) == VERSION;
        intact.then(|| Self { log_id: u64_at(bytes, 8), first: u64_at(bytes, 16) })
    }
}

/// The version in an intact header of any version.
pub(super) fn segment_version(bytes: &[u8]) -> Option<u32> {
    let bytes: &[u8; SEGMENT_HEADER] = bytes.first_chunk()?;
    let intact = bytes[..4] == SEGMENT_MAGIC && u32_at(bytes, 24) == crc32c::crc32c(&bytes[..24]);
    intact.then(|| u32_at(bytes, 4))
}

pub(super) fn file_name(number: u64) -> String {
    format!("{number:016x}.log")
}

pub(super) fn number_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Appends a record to `out`; `payload` appends the payload.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    sequence: Sequence,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&sequence.to_le_bytes());
    payload(out);
    let length = u32::try_from(out.len() - start - RECORD_HEADER)
        .expect("invariant: effects stay below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let checksum = record_checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// What stands at the head of some bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole record.
    Record { sequence: Sequence, payload: &'a [u8], length: usize },
    /// A length of zero, or nothing: the segment ends here.
    End,
    /// The start of what may be a record of this many bytes.
    Partial(usize),
    /// No record.
    Damaged,
}

pub(super) fn read_record(bytes: &[u8]) -> Found<'_> {
    let Some(header) = bytes.first_chunk::<RECORD_HEADER>() else {
        let blank = bytes.iter().all(|byte| *byte == 0);
        return if blank { Found::End } else { Found::Partial(RECORD_HEADER) };
    };
    let length = u32_at(header, 0) as usize;
    if length == 0 {
        return if *header == [0; RECORD_HEADER] { Found::End } else { Found::Damaged };
    }
    let whole = RECORD_HEADER + length;
    let Some(record) = bytes.get(..whole) else {
        return Found::Partial(whole);
    };
    if record_checksum(record) != u32_at(header, 4) {
        return Found::Damaged;
    }
    Found::Record { sequence: u64_at(header, 8), payload: &record[RECORD_HEADER..], length: whole }
}

fn record_checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("invariant: fields lie inside"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("invariant: fields lie inside"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let header = Header { log_id: 1, first: 2 }.encode();
        assert_eq!(header[..24], *b"QRLG\x01\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
        let mut record = Vec::new();
        encode_record(&mut record, 3, |out| out.extend_from_slice(b"123456789"));
        assert_eq!(record[..4], [9, 0, 0, 0]);
        assert_eq!(record[8..], *b"\x03\0\0\0\0\0\0\x00123456789");
        // CRC-32C of 09000000 0300000000000000 "123456789", computed bit by bit elsewhere.
        assert_eq!(u32_at(&record, 4), 0x13cd_6cd5);
    }

    #[test]
    fn cut_records_are_partial_and_flipped_ones_damaged() {
        let mut record = Vec::new();
        encode_record(&mut record, 3, |out| out.extend_from_slice(b"payload"));
        for cut in 1..record.len() {
            assert!(matches!(read_record(&record[..cut]), Found::Partial(_)), "cut at {cut}");
        }
        for bit in 0..record.len() * 8 {
            let mut spoilt = record.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let found = read_record(&spoilt);
            assert!(!matches!(found, Found::Record { .. } | Found::End), "bit {bit}");
        }
    }
}
