//! The classic framing, as published. All integers are unsigned 32-bit big-endian.
//!
//! ```text
//! negotiation header, 20 bytes          snapshot header, header_size bytes      chunks
//!   magic        0x64640001               total_len     plaintext bytes in all    chunk_len
//!   command      1 (SEND)                 encrypt_flag  0 or 1                    payload
//!   header_size  8..=1024                 zero padding
//!   buffer_size  most plaintext in a chunk
//!   cipher_size  most payload in a chunk
//! ```
//!
//! With `encrypt_flag` 1 a payload is AES-128-CBC of the chunk's plaintext with PKCS#7 padding, and
//! every chunk starts again from the pre-shared IV. The stream ends after the last chunk.

use super::{
    EntropyResult,
    error::{config, protocol},
};

/// First word of the classic protocol.
pub const ENTROPY_MAGIC: u32 = 0x6464_0001;
/// First word of version 2.
pub const ENTROPY_MAGIC_V2: u32 = 0x6464_0002;
/// The only command: the dialling side sends.
pub const ENTROPY_COMMAND_SEND: u32 = 1;
/// Plaintext bytes in a chunk of the classic protocol by default.
pub const DEFAULT_BUFFER_SIZE: usize = 16 << 10;
/// Payload bytes that go with [`DEFAULT_BUFFER_SIZE`].
pub const DEFAULT_CIPHER_SIZE: usize = 17 << 10;
/// Length of the snapshot header by default.
pub const DEFAULT_HEADER_SIZE: usize = 1024;
/// Shortest snapshot header: its two words.
pub const MIN_HEADER_SIZE: usize = 8;
/// Longest snapshot header.
pub const MAX_HEADER_SIZE: usize = 1024;
/// Most plaintext bytes in a chunk.
pub const MAX_BUFFER_SIZE: usize = 5 << 20;
/// Most payload bytes in a chunk.
pub const MAX_CIPHER_SIZE: usize = 5 << 20;
/// Largest snapshot of the classic protocol, in bytes; larger ones go in several.
pub const MAX_SNAPSHOT_SIZE: u32 = u32::MAX - 1;
/// Most bytes that a receiver reserves because a sender has announced them.
pub const SAFE_PREALLOC: usize = 16 << 20;
/// Length of the key in bytes.
pub const ENTROPY_KEY_LEN: usize = 16;
/// Length of the initialisation vector in bytes.
pub const ENTROPY_IV_LEN: usize = 16;
/// Port of the channel by default.
pub const DEFAULT_ENTROPY_PORT: u16 = 8105;

/// Length of a block of the cipher.
pub(super) const BLOCK: usize = 16;
/// Room beyond the plaintext that a sender reserves in a chunk.
const CIPHER_HEADROOM: usize = DEFAULT_CIPHER_SIZE - DEFAULT_BUFFER_SIZE;

const _: () = assert!(CIPHER_HEADROOM >= BLOCK && MAX_BUFFER_SIZE <= MAX_CIPHER_SIZE);

/// The first message of the classic protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiationHeader {
    /// Length of the snapshot header.
    pub header_size: u32,
    /// Most plaintext bytes in a chunk.
    pub buffer_size: u32,
    /// Most payload bytes in a chunk.
    pub cipher_size: u32,
}

impl NegotiationHeader {
    /// Encoded length in bytes.
    pub const LENGTH: usize = 20;

    /// The header for chunks of `buffer_size` plaintext bytes.
    pub fn new(buffer_size: usize, header_size: usize) -> EntropyResult<Self> {
        check_sizes(buffer_size, header_size)?;
        let cipher_size = (buffer_size + CIPHER_HEADROOM).min(MAX_CIPHER_SIZE);
        // The sizes are at most 5 MiB.
        Ok(Self {
            header_size: header_size as u32,
            buffer_size: buffer_size as u32,
            cipher_size: cipher_size as u32,
        })
    }

    /// The header's bytes.
    pub fn to_wire(&self) -> [u8; Self::LENGTH] {
        let words = [
            ENTROPY_MAGIC,
            ENTROPY_COMMAND_SEND,
            self.header_size,
            self.buffer_size,
            self.cipher_size,
        ];
        let mut bytes = [0; Self::LENGTH];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Reads and checks a header.
    ///
    /// # Errors
    /// `Protocol`, naming the first field with a value that is not allowed.
    pub fn from_wire(bytes: &[u8; Self::LENGTH]) -> EntropyResult<Self> {
        let word = |at: usize| word(bytes, at);
        let (magic, command) = (word(0), word(1));
        if magic != ENTROPY_MAGIC {
            return Err(wrong_magic(magic));
        }
        if command != ENTROPY_COMMAND_SEND {
            return Err(protocol(format!("command {command}; allowed: 1 (SEND)")));
        }
        let header = Self { header_size: word(2), buffer_size: word(3), cipher_size: word(4) };
        if !(MIN_HEADER_SIZE..=MAX_HEADER_SIZE).contains(&(header.header_size as usize)) {
            let found = header.header_size;
            return Err(protocol(format!("header_size {found}; allowed: 8 to 1024")));
        }
        for (field, value, most) in [
            ("buffer_size", header.buffer_size, MAX_BUFFER_SIZE),
            ("cipher_size", header.cipher_size, MAX_CIPHER_SIZE),
        ] {
            if value == 0 || value as usize > most {
                return Err(protocol(format!("{field} {value}; allowed: 1 to {most}")));
            }
        }
        Ok(header)
    }
}

pub(super) fn wrong_magic(magic: u32) -> super::EntropyError {
    protocol(format!("magic 0x{magic:08x}; known: 0x{ENTROPY_MAGIC:08x}, 0x{ENTROPY_MAGIC_V2:08x}"))
}

/// Checks what a sender chooses.
pub(super) fn check_sizes(buffer_size: usize, header_size: usize) -> EntropyResult<()> {
    if buffer_size == 0 || buffer_size > MAX_BUFFER_SIZE {
        let text = format!("buffer_size {buffer_size}; allowed: 1 to {MAX_BUFFER_SIZE}");
        return Err(config(text));
    }
    if !(MIN_HEADER_SIZE..=MAX_HEADER_SIZE).contains(&header_size) {
        return Err(config(format!("header_size {header_size}; allowed: 8 to 1024")));
    }
    Ok(())
}

/// The second message of the classic protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Plaintext bytes of the whole snapshot.
    pub total_len: u32,
    /// Whether chunks are encrypted.
    pub encrypt: bool,
}

impl SnapshotHeader {
    /// The header's bytes, padded with zeros to `header_size`, which is at least 8.
    pub fn to_wire(&self, header_size: usize) -> Vec<u8> {
        let mut bytes = vec![0; header_size.max(MIN_HEADER_SIZE)];
        bytes[..4].copy_from_slice(&self.total_len.to_be_bytes());
        bytes[4..8].copy_from_slice(&u32::from(self.encrypt).to_be_bytes());
        bytes
    }

    /// Reads and checks a header; what follows its two words is padding.
    ///
    /// # Errors
    /// `Protocol`, naming the first field with a value that is not allowed.
    pub fn from_wire(bytes: &[u8]) -> EntropyResult<Self> {
        if bytes.len() < MIN_HEADER_SIZE {
            let length = bytes.len();
            return Err(protocol(format!("snapshot header of {length} bytes; allowed: 8 to 1024")));
        }
        let (total_len, flag) = (word(bytes, 0), word(bytes, 1));
        if total_len > MAX_SNAPSHOT_SIZE {
            let text = format!("total_len {total_len}; allowed: 0 to {MAX_SNAPSHOT_SIZE}");
            return Err(protocol(text));
        }
        if flag > 1 {
            return Err(protocol(format!("encrypt_flag {flag}; allowed: 0, 1")));
        }
        Ok(Self { total_len, encrypt: flag == 1 })
    }
}

/// The word at position `at`; zero beyond the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    let place = bytes.get(at * 4..).and_then(|rest| rest.first_chunk());
    place.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiation(words: [u32; 5]) -> Result<NegotiationHeader, String> {
        let mut bytes = [0; 20];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        NegotiationHeader::from_wire(&bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn headers_are_laid_out_as_published() {
        let header = NegotiationHeader::new(DEFAULT_BUFFER_SIZE, DEFAULT_HEADER_SIZE);
        let header = header.expect("allowed");
        assert_eq!(
            header.to_wire(),
            [0x64, 0x64, 0, 1, 0, 0, 0, 1, 0, 0, 4, 0, 0, 0, 0x40, 0, 0, 0, 0x44, 0]
        );
        assert_eq!(NegotiationHeader::from_wire(&header.to_wire()).expect("valid"), header);
        let snapshot = SnapshotHeader { total_len: 0x0102_0304, encrypt: true };
        assert_eq!(snapshot.to_wire(10), [1, 2, 3, 4, 0, 0, 0, 1, 0, 0]);
        assert_eq!(SnapshotHeader::from_wire(&snapshot.to_wire(1024)).expect("valid"), snapshot);
    }

    #[test]
    fn each_field_is_refused_by_name_and_value() {
        let good = [ENTROPY_MAGIC, 1, 1024, 16384, 17408];
        assert!(negotiation(good).is_ok());
        let most = MAX_BUFFER_SIZE as u32;
        assert!(negotiation([good[0], 1, 8, most, most]).is_ok());
        for (field, value, text) in [
            (0, 0x6464_0003, "magic 0x64640003; known: 0x64640001, 0x64640002"),
            (1, 2, "command 2; allowed: 1 (SEND)"),
            (2, 7, "header_size 7; allowed: 8 to 1024"),
            (2, 1025, "header_size 1025; allowed: 8 to 1024"),
            (3, 0, "buffer_size 0; allowed: 1 to 5242880"),
            (3, most + 1, "buffer_size 5242881; allowed: 1 to 5242880"),
            (4, 0, "cipher_size 0; allowed: 1 to 5242880"),
            (4, u32::MAX, "cipher_size 4294967295; allowed: 1 to 5242880"),
        ] {
            let mut words = good;
            words[field] = value;
            assert_eq!(negotiation(words), Err(format!("protocol: {text}")));
        }
    }

    #[test]
    fn snapshot_headers_are_refused_by_name_and_value() {
        for (words, text) in [
            ([7, 2], "protocol: encrypt_flag 2; allowed: 0, 1"),
            ([u32::MAX, 1], "protocol: total_len 4294967295; allowed: 0 to 4294967294"),
        ] {
            let bytes = [words[0].to_be_bytes(), words[1].to_be_bytes()].concat();
            let error = SnapshotHeader::from_wire(&bytes).expect_err("refused");
            assert_eq!(error.to_string(), text);
        }
        assert!(SnapshotHeader::from_wire(&[0; 7]).is_err());
    }

    #[test]
    fn a_chunk_always_fits_what_is_announced() {
        for buffer_size in [1, 16, 16 << 10, MAX_BUFFER_SIZE - 16] {
            let header = NegotiationHeader::new(buffer_size, 8).expect("allowed");
            assert!(header.cipher_size as usize >= buffer_size + 16 - buffer_size % 16);
        }
    }
}
