//! Bounds on what may arrive over a wire, with their reasons.

use crate::slot::SLOTS;

/// Longest bulk string by default: what Redis allows.
pub const BULK_LENGTH_MAX: usize = 512 << 20;

/// Longest reply that a command makes of a count that it is given: as long as the longest value. A
/// reply to other commands is bounded by what the keys hold.
pub const COUNTED_REPLY_LENGTH_MAX: usize = BULK_LENGTH_MAX;

/// Most arguments of one command: what Redis allows.
pub const ARGUMENTS_MAX: usize = 1 << 20;

/// Longest command: what comes of it for the other replicas, which is little longer, fits into a
/// frame.
pub const COMMAND_LENGTH_MAX: usize = FRAME_PAYLOAD_MAX - (32 << 20);

/// Longest inline command, and longest line that announces a length: what Redis allows.
pub const LINE_LENGTH_MAX: usize = 64 << 10;

/// Deepest nesting of a reply. Real replies nest four or five deep.
pub const REPLY_DEPTH_MAX: usize = 128;

/// Largest payload of a peer frame: the largest value, its key, and room for stamps.
pub const FRAME_PAYLOAD_MAX: usize = 1 << 30;

/// Bytes of a bundle of messages after which the next one begins. The header and the checksum are
/// shared by some hundred messages, and the first ones do not wait for many others.
pub const BUNDLE_BYTES: usize = 64 << 10;

/// Messages beyond this are very large: they leave, and are summed up where they arrive, in pieces of so
/// many bytes.
pub const PART_BYTES: usize = 256 << 10;

/// Bytes of a very large message that are summed up at a time before it leaves: a millisecond's.
pub const SUMMED_PER_TAKE: usize = 4 << 20;

/// Bytes of a message in pieces that are on their way to the other end of a link at a time: what
/// else is said on the link waits for them, and no more than they go over it within the time of
/// its round trip.
pub const PIECES_WINDOW: usize = 2 << 20;

/// Messages in pieces on a link at a time. What is beyond waits, and all that is said after it.
pub const STREAMS_MAX: usize = 1_024;

/// Bytes of messages that the other end of a link keeps until a large one before them is whole.
/// Nothing more is sent then but pieces.
pub const FOLLOWERS_BYTES_MAX: usize = 8 << 20;

/// Bytes of such messages that are taken on a link: a turn's come in addition.
pub const HELD_BYTES_MAX: usize = 256 << 20;

/// Dots of one effect. A write has one; a kept effect that several were merged into has theirs.
/// What is beyond goes without: its receiver does not know that it has it, and asks for it once
/// more.
pub const DOTS_PER_EFFECT_MAX: usize = 1_024;

/// Slots of one message about dots.
pub const DOT_SLOTS_MAX: usize = 1_024;

/// Earlier starts that a node tells of. A peer that was away for more of them takes the node for a
/// copy, and has it filled anew.
pub const LINEAGE_MAX: usize = 1_024;

/// Ranges of dots of one slot in one message: some for each start of each replica.
pub const DOT_RANGES_MAX: usize = 4_096;

/// Owners of a slot over all datacentres, also while it moves.
pub const OWNERS_MAX: usize = 64;

/// Tokens of a member of a ring.
pub const TOKENS_MAX: usize = 512;

/// Tokens between which a ring is cut into slots: one for each of many members that were given theirs.
/// At least half of the slots are left for parts of equal size.
pub const CUTS_MAX: usize = SLOTS as usize / 2;

const _: () = assert!(DOT_SLOTS_MAX <= u16::MAX as usize);
const _: () = assert!(DOT_RANGES_MAX <= u16::MAX as usize);
const _: () = assert!(COUNTED_REPLY_LENGTH_MAX < FRAME_PAYLOAD_MAX);
const _: () = assert!(BULK_LENGTH_MAX * 2 <= FRAME_PAYLOAD_MAX);
const _: () = assert!(FRAME_PAYLOAD_MAX <= u32::MAX as usize);
const _: () = assert!(PART_BYTES <= PIECES_WINDOW && FOLLOWERS_BYTES_MAX < HELD_BYTES_MAX);
const _: () = assert!(BUNDLE_BYTES < PART_BYTES && PART_BYTES < FRAME_PAYLOAD_MAX);
const _: () = assert!(BULK_LENGTH_MAX < COMMAND_LENGTH_MAX);
