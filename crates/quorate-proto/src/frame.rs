//! The frame that carries one message between two nodes.
//!
//! ```text
//!  0        4  5  6     8               16              24       28       32
//!  +--------+--+--+-----+----------------+----------------+--------+--------+---------
//!  | "QRT1" |v |k |  0  | epoch          | correlation    | length | crc32c | payload
//!  +--------+--+--+-----+----------------+----------------+--------+--------+---------
//! ```
//! All integers are little-endian. `v` is [`VERSION`], `k` the kind of the message, `length` that
//! of the payload. The checksum covers the first 28 bytes of the header and the payload.

use alloc::vec::Vec;

use bytes::{Buf as _, BytesMut};

use crate::{
    checksum::{crc32c, crc32c_append},
    limits::FRAME_PAYLOAD_MAX,
    message::{Message, MessageError},
};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"QRT1";

/// Version of the frame and message formats.
pub const VERSION: u8 = 7;

/// Bytes before the payload.
pub const HEADER_LENGTH: usize = 32;

const CHECKED: usize = 28;

/// A message on its way, and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The sender's version of the topology.
    pub epoch: u64,
    /// Matches a response with its request.
    pub correlation: u64,
    /// The message.
    pub message: Message,
}

/// Why a link is out of step. It must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes do not begin a frame.
    #[error("frame magic {0:02x?} instead of {MAGIC:02x?}")]
    Magic([u8; 4]),
    /// The frame has another version.
    #[error("frame version {0} instead of {VERSION}")]
    Version(u8),
    /// Bytes that must be zero are not.
    #[error("reserved frame bytes {0:02x?} instead of zeros")]
    Reserved([u8; 2]),
    /// The payload is larger than allowed.
    #[error("frame payload of {0} bytes (allowed: {FRAME_PAYLOAD_MAX})")]
    Length(u32),
    /// The bytes were damaged on their way.
    #[error("frame checksum {found:08x} instead of {expected:08x}")]
    Checksum {
        /// Computed over the frame.
        expected: u32,
        /// Carried by the frame.
        found: u32,
    },
    /// The payload is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Whether a frame can hold a message.
pub fn fits(message: &Message) -> bool {
    message.body_length() <= FRAME_PAYLOAD_MAX
}

/// Appends a frame with `message`, which [fits](fits()), to `out`.
pub fn encode(out: &mut Vec<u8>, epoch: u64, correlation: u64, message: &Message) {
    let start = out.len();
    let mut header = [0; HEADER_LENGTH];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[5] = message.kind();
    header[8..16].copy_from_slice(&epoch.to_le_bytes());
    header[16..24].copy_from_slice(&correlation.to_le_bytes());
    out.extend_from_slice(&header);
    message.encode_body(out);
    let length = out.len() - start - HEADER_LENGTH;
    assert!(length <= FRAME_PAYLOAD_MAX, "invariant: what does not fit is not sent");
    out[start + 24..start + 28].copy_from_slice(&(length as u32).to_le_bytes());
    let checksum = checksum(&out[start..]);
    out[start + 28..start + 32].copy_from_slice(&checksum.to_le_bytes());
}

/// The length of the frame at the beginning of `input`, in bytes, or `None` while its header is not
/// whole.
///
/// # Errors
/// What begins there is no frame.
pub fn length(input: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(header) = input.first_chunk::<HEADER_LENGTH>() else {
        return Ok(None);
    };
    let [a, b, c, d, version, _, e, f, ..] = *header;
    if [a, b, c, d] != MAGIC {
        return Err(FrameError::Magic([a, b, c, d]));
    }
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    if [e, f] != [0, 0] {
        return Err(FrameError::Reserved([e, f]));
    }
    let length = u32::from_le_bytes(field(header, 24));
    if length as usize > FRAME_PAYLOAD_MAX {
        return Err(FrameError::Length(length));
    }
    Ok(Some(HEADER_LENGTH + length as usize))
}

/// Takes the next whole frame out of `input`, or `None` when more bytes are needed. The payload is
/// not copied.
///
/// # Errors
/// What comes next is no frame.
pub fn decode(input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(whole) = length(input)?.filter(|length| input.len() >= *length) else {
        return Ok(None);
    };
    let Some(header) = input.first_chunk::<HEADER_LENGTH>() else {
        return Ok(None);
    };
    let kind = header[5];
    let epoch = u64::from_le_bytes(field(header, 8));
    let correlation = u64::from_le_bytes(field(header, 16));
    let found = u32::from_le_bytes(field(header, CHECKED));
    let expected = checksum(&input[..whole]);
    if expected != found {
        return Err(FrameError::Checksum { expected, found });
    }
    let mut frame = input.split_to(whole);
    frame.advance(HEADER_LENGTH);
    let message = Message::decode(kind, frame.freeze())?;
    Ok(Some(Frame { epoch, correlation, message }))
}

fn field<const N: usize>(header: &[u8; HEADER_LENGTH], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("invariant: fields lie inside the header")
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c_append(crc32c(&frame[..CHECKED]), &frame[HEADER_LENGTH..])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Slot;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let slot = Slot::new(1).expect("a slot");
        let message = Message::Replicate {
            slot,
            dots: Vec::new(),
            outcome: None,
            effect: Bytes::from_static(b"abc"),
        };
        encode(&mut out, 7, 9, &message);
        out
    }

    #[test]
    fn golden_frame() {
        #[rustfmt::skip]
        let golden = [
            b'Q', b'R', b'T', b'1', 7, 18, 0, 0,
            7, 0, 0, 0, 0, 0, 0, 0,
            9, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 0, 0, 0xff, 0xc3, 0x6a, 0x26,
            1, 0, b'a', b'b', b'c',
        ];
        assert_eq!(sample(), golden, "{:02x?}", sample());
    }

    #[test]
    fn frames_may_be_split_at_every_byte() {
        let bytes = sample();
        for cut in 0..bytes.len() {
            let mut input = BytesMut::from(&bytes[..cut]);
            assert_eq!(decode(&mut input), Ok(None), "cut at {cut}");
            input.extend_from_slice(&bytes[cut..]);
            let frame = decode(&mut input).expect("valid").expect("whole");
            assert_eq!((frame.epoch, frame.correlation), (7, 9));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut input = BytesMut::from(&bytes[..]);
            input[bit / 8] ^= 1 << (bit % 8);
            // A flipped length may ask for more bytes than there are; it never yields a frame.
            assert!(!matches!(decode(&mut input), Ok(Some(_))), "bit {bit}");
        }
    }

    #[test]
    fn errors_name_field_and_value() {
        let spoil = |at: usize, value: u8| {
            let mut input = BytesMut::from(&sample()[..]);
            input[at] = value;
            decode(&mut input).expect_err("spoilt")
        };
        assert_eq!(spoil(0, b'X'), FrameError::Magic(*b"XRT1"));
        assert_eq!(spoil(4, 1), FrameError::Version(1));
        assert_eq!(spoil(6, 1), FrameError::Reserved([1, 0]));
        assert_eq!(spoil(27, 0x80), FrameError::Length(0x8000_0005));
        assert!(matches!(spoil(33, 1), FrameError::Checksum { .. }));
    }
}
