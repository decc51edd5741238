//! The frame that carries messages between two nodes.
//!
//! ```text
//!  0        4  5  6     8               16              24       28       32
//!  +--------+--+--+-----+----------------+----------------+--------+--------+---------
//!  | "QRT1" |v |k |  0  | epoch          | correlation    | length | crc32c | payload
//!  +--------+--+--+-----+----------------+----------------+--------+--------+---------
//! ```
//! All integers are little-endian. `v` is [`VERSION`], `k` the kind of the message, `length` that
//! of the payload. The checksum covers the first 28 bytes of the header and the payload.
//!
//! A frame of kind 127, whose correlation is zero, is a *bundle*: its payload is one message or more,
//! each with a head of its own. What a shard has to say on a link in one turn shares a header, and
//! with it the checksum.
//!
//! ```text
//!  0        4  5              13
//!  +--------+--+--------------+---------
//!  | length |k | correlation  | body
//!  +--------+--+--------------+---------
//! ```
//!
//! A very large message is summed up and copied piece by piece on either side ([`Bundles`], [`Decoder`]), so
//! that no turn has to do all of it. On the wire it is a frame like any other, unless the other
//! end understands [pieces](crate::message::features::PIECES): then others go between its pieces.

mod arriving;
mod bundles;
mod decoder;
#[cfg(test)]
mod piece_tests;
mod pieces;

use alloc::vec::Vec;

use bytes::{Buf as _, Bytes, BytesMut};

pub use arriving::Received;
pub use bundles::Bundles;
pub use decoder::{Decoder, settle};
pub use pieces::{PieceSizes, is_of_pieces};

use crate::{
    checksum::{crc32c, crc32c_append},
    limits::{FRAME_PAYLOAD_MAX, PART_BYTES},
    message::{Message, MessageError},
};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"QRT1";

/// Version of the frame and message formats.
pub const VERSION: u8 = 7;

/// Bytes before the payload.
pub const HEADER_LENGTH: usize = 32;

const CHECKED: usize = 28;

/// The kind of frames that are bundles. No message has it.
const BUNDLE: u8 = 127;

/// Bytes before each body in a bundle.
const HEAD_LENGTH: usize = 13;

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
    /// A message in pieces is not put together as it was cut.
    #[error("a message in pieces: {0}")]
    Pieces(&'static str),
    /// A bundle ends inside a message, or holds none.
    #[error("a bundle of messages that is cut short or empty")]
    Bundle,
}

/// Whether a frame can hold a message.
pub fn fits(message: &Message) -> bool {
    message.body_length() <= FRAME_PAYLOAD_MAX
}

/// Appends a frame with `message`, which [fits](fits()), to `out`.
pub fn encode(out: &mut Vec<u8>, epoch: u64, correlation: u64, message: &Message) {
    let start = begin(out, message.kind(), epoch, correlation);
    message.encode_body(out);
    end(out, start);
}

/// Appends the header of a frame, which [`end`] completes. Returns where it stands.
fn begin(out: &mut Vec<u8>, kind: u8, epoch: u64, correlation: u64) -> usize {
    let start = out.len();
    let mut header = [0; HEADER_LENGTH];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[5] = kind;
    header[8..16].copy_from_slice(&epoch.to_le_bytes());
    header[16..24].copy_from_slice(&correlation.to_le_bytes());
    out.extend_from_slice(&header);
    start
}

fn end(out: &mut [u8], start: usize) {
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

/// Takes the next whole frame out of `input`, or `None` when more bytes are needed. It holds one
/// message, whose payload is not copied.
///
/// # Errors
/// What comes next is no frame, or a bundle.
pub fn decode(input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let whole = take_whole(input, &mut Summed::default())?;
    whole.map(|(head, payload)| one(head, payload)).transpose()
}

/// What a header says of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    epoch: u64,
    correlation: u64,
}

fn one(Head { kind, epoch, correlation }: Head, body: Bytes) -> Result<Frame, FrameError> {
    let message = Message::decode(kind, body)?;
    Ok(Frame { epoch, correlation, message })
}

/// The checksum of the beginning of a frame.
#[derive(Debug, Default)]
struct Summed {
    /// Bytes of the frame that are in it; none where the header has not come.
    length: usize,
    sum: u32,
}

impl Summed {
    /// Goes on with what has come of a frame.
    fn go_on(&mut self, frame: &[u8]) {
        if self.length == 0 {
            (self.length, self.sum) = (HEADER_LENGTH, crc32c(&frame[..CHECKED]));
        }
        self.sum = crc32c_append(self.sum, &frame[self.length..]);
        self.length = frame.len();
    }
}

/// The next frame, if it is whole, and its payload. `summed` is of what has come of it before.
fn take_whole(
    input: &mut BytesMut,
    summed: &mut Summed,
) -> Result<Option<(Head, Bytes)>, FrameError> {
    let Some(whole) = length(input)? else { return Ok(None) };
    let Some(header) = input.first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
    let kind = header[5];
    let epoch = u64::from_le_bytes(field(header, 8));
    let correlation = u64::from_le_bytes(field(header, 16));
    let found = u32::from_le_bytes(field(header, CHECKED));
    if input.len() < whole {
        if input.len() >= PART_BYTES {
            summed.go_on(input);
            // Addresses, of which a page is taken when it is written to: nothing is copied again.
            input.reserve(whole - input.len());
        }
        return Ok(None);
    }
    summed.go_on(&input[..whole]);
    let expected = core::mem::take(summed).sum;
    if expected != found {
        return Err(FrameError::Checksum { expected, found });
    }
    let mut frame = input.split_to(whole);
    frame.advance(HEADER_LENGTH);
    Ok(Some((Head { kind, epoch, correlation }, frame.freeze())))
}

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("invariant: fields lie inside the header")
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c_append(crc32c(&frame[..CHECKED]), &frame[HEADER_LENGTH..])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        Slot,
        limits::{BUNDLE_BYTES, PART_BYTES, SUMMED_PER_TAKE},
    };

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

    fn bundled(messages: &[(u64, Message)]) -> Vec<u8> {
        let mut bundles = Bundles::default();
        for (correlation, message) in messages {
            assert!(bundles.push(7, *correlation, message));
        }
        core::mem::take(bundles.whole())
    }

    fn all(bytes: &[u8]) -> Vec<(u64, Message)> {
        let (mut input, mut decoder) = (BytesMut::from(bytes), Decoder::default());
        let mut found = Vec::new();
        while let Some(frame) = decoder.decode(&mut input).expect("sound") {
            assert_eq!(frame.epoch, 7);
            found.push((frame.correlation, frame.message));
        }
        assert!(input.is_empty());
        found
    }

    #[test]
    fn golden_bundle() {
        let messages = [(9, Message::Ack), (10, Message::Reply(Bytes::from_static(b"+OK")))];
        let bytes = bundled(&messages);
        #[rustfmt::skip]
        let golden = [
            b'Q', b'R', b'T', b'1', 7, 127, 0, 0,
            7, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            29, 0, 0, 0, bytes[28], bytes[29], bytes[30], bytes[31],
            0, 0, 0, 0, 19, 9, 0, 0, 0, 0, 0, 0, 0,
            3, 0, 0, 0, 17, 10, 0, 0, 0, 0, 0, 0, 0, b'+', b'O', b'K',
        ];
        assert_eq!(bytes, golden, "{bytes:02x?}");
        assert_eq!(all(&bytes), messages);
    }

    #[test]
    fn messages_of_one_turn_share_frames_of_bounded_size() {
        let reply = |byte: u8| Message::Reply(Bytes::from(alloc::vec![byte; 5_000]));
        let messages: Vec<_> = (0..100).map(|number| (number, reply(number as u8))).collect();
        let bytes = bundled(&messages);
        assert_eq!(all(&bytes), messages);
        let (mut rest, mut frames) = (&bytes[..], 0);
        while let Some(length) = length(rest).expect("sound") {
            assert!(length <= BUNDLE_BYTES + 6_000);
            (rest, frames) = (&rest[length..], frames + 1);
        }
        assert!((2..20).contains(&frames), "{frames} frames");
        let mut bundles = Bundles::default();
        assert!(bundles.push(1, 2, &Message::Ack) && bundles.push(2, 3, &Message::Ack));
        let (mut input, mut decoder) = (BytesMut::from(&bundles.whole()[..]), Decoder::default());
        let mut epochs = || decoder.decode(&mut input).map(|found| found.map(|found| found.epoch));
        assert_eq!([epochs(), epochs(), epochs()], [Ok(Some(1)), Ok(Some(2)), Ok(None)]);
    }

    #[test]
    fn a_large_message_has_a_frame_of_its_own() {
        let large = Message::Reply(Bytes::from(alloc::vec![b'x'; BUNDLE_BYTES + 1]));
        let messages = [(1, Message::Ack), (2, large), (3, Message::Ack)];
        let bytes = bundled(&messages);
        assert_eq!(all(&bytes), messages);
        let first = length(&bytes).expect("sound").expect("whole");
        let mut second = BytesMut::from(&bytes[first..]);
        assert_eq!(
            decode(&mut second).map(|found| found.map(|found| found.correlation)),
            Ok(Some(2))
        );
    }

    #[test]
    fn a_very_large_message_leaves_and_arrives_piece_by_piece() {
        let slot = Slot::new(1).expect("a slot");
        let effect: Vec<u8> = (0..=255).cycle().take(3 * PART_BYTES + 5).collect();
        let effect = Bytes::from(effect);
        let large = Message::Replicate { slot, dots: Vec::new(), outcome: None, effect };
        let rejected = Message::Rejected {
            cause: crate::message::Cause::Overloaded,
            text: "x".repeat(40_000),
        };
        let larger = Message::Reply(Bytes::from(alloc::vec![b'y'; 2 * SUMMED_PER_TAKE + 9]));
        let messages = [
            (1, Message::Ack),
            (2, large),
            (3, Message::Ack),
            (4, larger),
            (5, rejected),
            (6, Message::Ack),
        ];
        let mut bundles = Bundles::default();
        for (correlation, message) in &messages {
            assert!(bundles.push(7, *correlation, message));
        }
        assert!(bundles.len() > 2 * SUMMED_PER_TAKE && bundles.has_queued());
        let (mut bytes, mut empty) = (Vec::new(), 0);
        while !bundles.is_empty() {
            let taken = bundles.take(100);
            assert!(taken.len() <= 100 + PART_BYTES);
            // Where it is summed up only.
            empty += usize::from(taken.is_empty());
            bytes.append(taken);
        }
        assert_eq!((bundles.len(), bundles.has_queued()), (0, false));
        assert!(empty > 0);
        // On the wire it is what it always was.
        let mut plain = Vec::new();
        encode(&mut plain, 7, 2, &messages[1].1);
        assert!(
            bytes
                .windows(64)
                .position(|found| *found == plain[..64])
                .is_some_and(|at| { bytes[at..at + plain.len()] == plain })
        );
        assert_eq!(all(&bytes), messages);
        for piece in [10_007, PART_BYTES, 1 << 20] {
            let (mut input, mut decoder) = (BytesMut::new(), Decoder::default());
            let mut found = Vec::new();
            for bytes in bytes.chunks(piece) {
                input.extend_from_slice(bytes);
                while let Some(frame) = decoder.decode(&mut input).expect("sound") {
                    found.push((frame.correlation, frame.message));
                }
            }
            assert!(found == messages, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_large_frame_that_is_damaged_is_refused_however_it_comes() {
        let large = Message::Reply(Bytes::from(alloc::vec![b'x'; 3 * PART_BYTES]));
        let mut bytes = Vec::new();
        encode(&mut bytes, 1, 2, &large);
        for at in [6 + CHECKED, HEADER_LENGTH, PART_BYTES + 9, 3 * PART_BYTES] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let (mut input, mut decoder) = (BytesMut::new(), Decoder::default());
            let mut outcome = Ok(None);
            for piece in bytes.chunks(100_000) {
                input.extend_from_slice(piece);
                outcome = decoder.decode(&mut input);
            }
            assert!(matches!(outcome, Err(FrameError::Checksum { .. })), "byte {at}");
        }
    }

    #[test]
    fn bundles_that_are_cut_short_or_empty_are_refused() {
        let whole = bundled(&[(9, Message::Reply(Bytes::from_static(b"+OK")))]);
        let error = |payload: &[u8]| {
            let mut bytes = whole[..HEADER_LENGTH].to_vec();
            bytes.extend_from_slice(payload);
            end(&mut bytes, 0);
            let mut input = BytesMut::from(&bytes[..]);
            Decoder::default().decode(&mut input).expect_err("refused")
        };
        let payload = &whole[HEADER_LENGTH..];
        for length in 0..payload.len() {
            assert_eq!(error(&payload[..length]), FrameError::Bundle, "{length} bytes");
        }
        let mut other = payload.to_vec();
        other[4] = BUNDLE;
        let unknown = MessageError::UnknownKind(BUNDLE);
        assert_eq!(error(&other), FrameError::Message(unknown), "a bundle in a bundle");
        assert_eq!(decode(&mut BytesMut::from(&whole[..])), Err(unknown.into()), "not here");
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
