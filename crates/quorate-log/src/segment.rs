//! The format of segments and records.

use quorate_proto::checksum;

use super::Sequence;

pub(super) const SEGMENT_MAGIC: [u8; 4] = *b"QRLG";
pub(super) const VERSION: u32 = 2;
pub(super) const SEGMENT_HEADER: usize = 32;
pub(super) const RECORD_HEADER: usize = 24;

/// No log gets so far. What says so on disk is no number of ours, and sums with it cannot overflow.
pub(super) const SEQUENCE_MAX: Sequence = 1 << 62;

/// A record that stands further than this after what was synced does not say how far that was.
const LAG_UNKNOWN: u32 = u32::MAX;

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log_id: u64,
    pub(super) first: Sequence,
    pub(super) salt: u32,
}

impl Header {
    pub(super) fn encode(self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.salt.to_le_bytes());
        seal(&mut bytes, SEGMENT_MAGIC);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Option<Self> {
        if !is_sealed(bytes, SEGMENT_MAGIC) {
            return None;
        }
        let (log_id, first, salt) = (u64_at(bytes, 8), u64_at(bytes, 16), salt_of(bytes));
        (1..=SEQUENCE_MAX).contains(&first).then_some(Self { log_id, first, salt })
    }
}

/// The salt in a header, which may be wrong when the header is not intact.
pub(super) fn salt_of(bytes: &[u8; SEGMENT_HEADER]) -> u32 {
    u32_at(bytes, 24)
}

/// Completes a header or slot with its magic bytes, version and checksum.
pub(super) fn seal<const N: usize>(bytes: &mut [u8; N], magic: [u8; 4]) {
    bytes[..4].copy_from_slice(&magic);
    bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = checksum::crc32c(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&checksum.to_le_bytes());
}

/// Whether a header or slot is intact and of this version.
pub(super) fn is_sealed<const N: usize>(bytes: &[u8; N], magic: [u8; 4]) -> bool {
    bytes[..4] == magic
        && u32_at(bytes, 4) == VERSION
        && u32_at(bytes, N - 4) == checksum::crc32c(&bytes[..N - 4])
}

/// Whether a header or slot was written by software with another format. Every format ends its
/// headers with a checksum of what is before it, at the same place; without a right one this may as
/// well be ours, torn or rotten.
pub(super) fn has_other_version<const N: usize>(bytes: &[u8; N], magic: [u8; 4]) -> bool {
    bytes[..4] == magic
        && u32_at(bytes, 4) != VERSION
        && u32_at(bytes, N - 4) == checksum::crc32c(&bytes[..N - 4])
}

pub(super) fn file_name(number: u64) -> String {
    format!("{number:016x}.log")
}

pub(super) fn number_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|number| *number <= SEQUENCE_MAX)
}

/// What the checksums of a segment's records begin with: they bind a record to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(log_id: u64, salt: u32) -> Self {
        Self(checksum::crc32c_append(checksum::crc32c(&log_id.to_le_bytes()), &salt.to_le_bytes()))
    }
}

/// Appends a record to `out`; `payload` appends the payload. Everything up to `synced` is durable.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    seed: Seed,
    sequence: Sequence,
    synced: Sequence,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER]);
    payload(out);
    let length = u32::try_from(out.len() - start - RECORD_HEADER)
        .expect("invariant: effects stay below 4 GiB");
    let (header, payload) = out[start..].split_at_mut(RECORD_HEADER);
    let of_payload = |of_header| checksum::crc32c_append(of_header, payload);
    header.copy_from_slice(&record_header(seed, sequence, synced, length, of_payload));
}

/// The header of a record; `append` goes on with a checksum over the payload.
fn record_header(
    seed: Seed,
    sequence: Sequence,
    synced: Sequence,
    length: u32,
    append: impl FnOnce(u32) -> u32,
) -> [u8; RECORD_HEADER] {
    let lag = u32::try_from(sequence.saturating_sub(synced)).unwrap_or(LAG_UNKNOWN);
    let mut header = [0; RECORD_HEADER];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&lag.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    let of_header = checksum::crc32c_append(seed.0, &header[..16]);
    header[16..20].copy_from_slice(&of_header.to_le_bytes());
    header[20..].copy_from_slice(&append(of_header).to_le_bytes());
    header
}

/// What stands before the payload in a segment whose first record has this payload: its length, and the
/// checksum of it alone.
pub(super) fn prepared_headers(
    segment: Header,
    seed: Seed,
    synced: Sequence,
    (length, sum): (u32, u32),
) -> [u8; SEGMENT_HEADER + RECORD_HEADER] {
    let append = |of_header| checksum::crc32c_combine(of_header, sum, length as usize);
    let record = record_header(seed, segment.first, synced, length, append);
    let mut headers = [0; SEGMENT_HEADER + RECORD_HEADER];
    headers[..SEGMENT_HEADER].copy_from_slice(&segment.encode());
    headers[SEGMENT_HEADER..].copy_from_slice(&record);
    headers
}

/// What the header of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) sequence: Sequence,
    /// Everything up to here was durable when the record was made.
    pub(super) synced: Sequence,
    /// Length of the whole record.
    pub(super) length: usize,
    pub(super) of_header: u32,
    pub(super) of_record: u32,
}

impl RecordHeader {
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER], seed: Seed) -> Option<Self> {
        let of_header = u32_at(bytes, 16);
        let (lag, sequence) = (u32_at(bytes, 4), u64_at(bytes, 8));
        if !(1..=SEQUENCE_MAX).contains(&sequence)
            || checksum::crc32c_append(seed.0, &bytes[..16]) != of_header
        {
            return None;
        }
        let synced = if lag == LAG_UNKNOWN { 0 } else { sequence.saturating_sub(lag.into()) };
        let length = RECORD_HEADER.saturating_add(u32_at(bytes, 0) as usize);
        Some(Self { sequence, synced, length, of_header, of_record: u32_at(bytes, 20) })
    }
}

/// What stands at the head of some bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole record.
    Record { header: RecordHeader, payload: &'a [u8] },
    /// A header of zeros, or nothing: the segment ends here.
    End,
    /// The start of what may be a record of this many bytes.
    Partial(usize),
    /// No record.
    Damaged,
}

pub(super) fn read_record(bytes: &[u8], seed: Seed) -> Found<'_> {
    let Some(first) = bytes.first_chunk::<RECORD_HEADER>() else {
        let blank = bytes.iter().all(|byte| *byte == 0);
        return if blank { Found::End } else { Found::Partial(RECORD_HEADER) };
    };
    // No record looks like this: its sequence is not zero.
    if *first == [0; RECORD_HEADER] {
        return Found::End;
    }
    let Some(header) = RecordHeader::decode(first, seed) else {
        return Found::Damaged;
    };
    let Some(record) = bytes.get(..header.length) else {
        return Found::Partial(header.length);
    };
    let payload = &record[RECORD_HEADER..];
    if checksum::crc32c_append(header.of_header, payload) != header.of_record {
        return Found::Damaged;
    }
    Found::Record { header, payload }
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

    const SEED: Seed = Seed(0x1234_5678);

    #[test]
    fn golden_bytes() {
        let header = Header { log_id: 1, first: 2, salt: 3 }.encode();
        assert_eq!(header[..28], *b"QRLG\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0");
        // The checksums of this test were computed bit by bit elsewhere.
        assert_eq!(u32_at(&header, 28), 0x7651_d182);
        let mut record = Vec::new();
        let seed = Seed::new(1, 3);
        encode_record(&mut record, seed, 7, 5, |out| out.extend_from_slice(b"123456789"));
        assert_eq!(record[..16], *b"\x09\0\0\0\x02\0\0\0\x07\0\0\0\0\0\0\0");
        assert_eq!(record[24..], *b"123456789");
        assert_eq!(u32_at(&record, 16), 0xef4b_db27);
        assert_eq!(u32_at(&record, 20), 0x0051_3d05);
    }

    #[test]
    fn cut_records_are_partial_and_flipped_ones_damaged() {
        let mut record = Vec::new();
        encode_record(&mut record, SEED, 3, 1, |out| out.extend_from_slice(b"payload"));
        for cut in 1..record.len() {
            assert!(matches!(read_record(&record[..cut], SEED), Found::Partial(_)), "cut at {cut}");
        }
        for bit in 0..record.len() * 8 {
            let mut spoilt = record.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let found = read_record(&spoilt, SEED);
            assert!(!matches!(found, Found::Record { .. } | Found::End), "bit {bit}");
        }
    }

    #[test]
    fn a_record_belongs_to_one_log() {
        let mut record = Vec::new();
        encode_record(&mut record, Seed::new(1, 3), 3, 1, |out| out.push(0));
        assert!(matches!(read_record(&record, Seed::new(1, 3)), Found::Record { .. }));
        assert_eq!(read_record(&record, Seed::new(1, 4)), Found::Damaged);
        assert_eq!(read_record(&record, Seed::new(2, 3)), Found::Damaged);
    }

    #[test]
    fn a_record_says_what_was_synced_before_it() {
        for (sequence, synced, expected) in
            [(7, 5, 5), (7, 0, 0), (1 << 40, (1 << 40) - 9, (1 << 40) - 9), (1 << 40, 1, 0)]
        {
            let mut record = Vec::new();
            encode_record(&mut record, SEED, sequence, synced, |_| {});
            let Found::Record { header, payload: b"" } = read_record(&record, SEED) else {
                panic!("must be whole")
            };
            assert_eq!((header.sequence, header.synced), (sequence, expected));
        }
    }

    #[test]
    fn other_versions_are_told_from_damaged_ones() {
        let header = Header { log_id: 1, first: 2, salt: 3 }.encode();
        assert!(!has_other_version(&header, SEGMENT_MAGIC));
        let mut flipped = header;
        flipped[5] ^= 1;
        assert!(!has_other_version(&flipped, SEGMENT_MAGIC));
        let mut torn = header;
        torn[5..].fill(0);
        assert!(!has_other_version(&torn, SEGMENT_MAGIC));
        let mut other = header;
        other[4] = 3;
        let checksum = checksum::crc32c(&other[..SEGMENT_HEADER - 4]);
        other[SEGMENT_HEADER - 4..].copy_from_slice(&checksum.to_le_bytes());
        assert!(has_other_version(&other, SEGMENT_MAGIC));
    }
}
