//! Large messages that leave in pieces, with other messages of the link between them.
//!
//! ```text
//!  kind 126, an opening: payload of 13 bytes; epoch and correlation of the header are the message's
//!  0        4  5        9        13
//!  +--------+--+--------+--------+
//!  | stream |k | reach  | length |
//!  +--------+--+--------+--------+
//!  kind 125, a piece: correlation is the stream, epoch zero
//!  0        4
//!  +--------+---------
//!  | at     | bytes of the message from there on
//!  +--------+---------
//!  kind 124, a credit: correlation and epoch zero; one or more of
//!  0        4        8
//!  +--------+--------+
//!  | stream | bytes  |
//!  +--------+--------+
//! ```
//! The opening leaves in its place among all other messages, and the pieces follow as the other end takes
//! them: of each stream no more than a window is on its way, which credits open again. So what else is said
//! on the link waits for a window or two, and not for the message. Streams have numbers, which grow; a reach
//! of all ones is the node, one with bit 16 a group, the others slots.
//!
//! **Order.** A message does not go past an earlier one that concerns the same slot, or a group with that
//! slot, if either is large: it leaves in its place, and waits at the other end. What concerns
//! other slots, or the node as a whole, as heartbeats and all answers do, goes past.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::{HEADER_LENGTH, begin, end};
use crate::{
    Slot,
    limits::{FRAME_PAYLOAD_MAX, PART_BYTES, PIECES_WINDOW, STREAMS_MAX},
    message::{Message, Reach},
};

pub(super) const OPENING: u8 = 126;
pub(super) const PIECE: u8 = 125;
pub(super) const CREDIT: u8 = 124;

/// How messages are cut. Only a simulation has a reason to change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceSizes {
    /// Messages of more bytes leave in pieces.
    pub large: usize,
    /// Bytes of a piece.
    pub piece: usize,
    /// Bytes of a message that are on their way at a time, at most [`PIECES_WINDOW`].
    pub window: usize,
}

impl PieceSizes {
    /// Those of a real node.
    pub const DEFAULT: Self = Self { large: PART_BYTES, piece: PART_BYTES, window: PIECES_WINDOW };
}

impl Default for PieceSizes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether one of two messages must not go past the other.
pub(super) fn meet(one: Reach, other: Reach) -> bool {
    match (one, other) {
        (Reach::Slot(one), Reach::Slot(other)) => one == other,
        (Reach::Slot(slot), Reach::Group(group)) | (Reach::Group(group), Reach::Slot(slot)) => {
            slot.group() == group
        }
        (Reach::Group(one), Reach::Group(other)) => one == other,
        (Reach::Node, _) | (_, Reach::Node) => false,
    }
}

const GROUPS_FROM: u32 = 1 << 16;

fn number_of(reach: Reach) -> u32 {
    match reach {
        Reach::Slot(slot) => slot.number().into(),
        Reach::Group(group) => GROUPS_FROM | u32::from(group),
        Reach::Node => u32::MAX,
    }
}

pub(super) fn reach_of(number: u32) -> Option<Reach> {
    match number {
        u32::MAX => Some(Reach::Node),
        GROUPS_FROM..0x2_0000 => Some(Reach::Group((number - GROUPS_FROM) as u16)),
        number => Slot::new(u16::try_from(number).ok()?).map(Reach::Slot),
    }
}

/// A message of which not all has left.
#[derive(Debug)]
pub(super) struct Leaving {
    stream: u32,
    kind: u8,
    epoch: u64,
    correlation: u64,
    pub(super) reach: Reach,
    /// The two pieces of the body.
    head: Vec<u8>,
    rest: Bytes,
    sent: usize,
    /// Bytes that the other end has taken.
    taken: usize,
}

impl Leaving {
    pub(super) fn new(epoch: u64, correlation: u64, message: &Message) -> Self {
        let (head, rest) = message.split_body();
        let (kind, reach) = (message.kind(), message.reach());
        Self { stream: 0, kind, epoch, correlation, reach, head, rest, sent: 0, taken: 0 }
    }

    fn length(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    pub(super) fn left(&self) -> usize {
        self.length() - self.sent
    }

    fn open(&self, out: &mut Vec<u8>) {
        let start = begin(out, OPENING, self.epoch, self.correlation);
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.push(self.kind);
        out.extend_from_slice(&number_of(self.reach).to_le_bytes());
        out.extend_from_slice(&(self.length() as u32).to_le_bytes());
        end(out, start);
    }

    /// Bytes that may leave.
    fn room(&self, sizes: PieceSizes) -> usize {
        let window = sizes.window.saturating_sub(self.sent - self.taken);
        window.min(sizes.piece).min(self.left())
    }

    fn take(&mut self, sizes: PieceSizes, out: &mut Vec<u8>) {
        let room = self.room(sizes);
        let start = begin(out, PIECE, 0, self.stream.into());
        out.extend_from_slice(&(self.sent as u32).to_le_bytes());
        let until = self.sent + room;
        let (from_head, head) = (self.sent.min(self.head.len()), self.head.len());
        out.extend_from_slice(&self.head[from_head..until.min(head)]);
        out.extend_from_slice(
            &self.rest[self.sent.saturating_sub(head)..until.saturating_sub(head)],
        );
        self.sent = until;
        end(out, start);
    }
}

/// The messages of a link that leave in pieces.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// In the order of their openings.
    leaving: VecDeque<Leaving>,
    opened: u32,
    /// Whether the last piece was one of the oldest.
    was_oldest: bool,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.leaving.is_empty()
    }

    /// Bytes that have not left.
    pub(super) fn left(&self) -> usize {
        self.leaving.iter().map(Leaving::left).sum()
    }

    /// Whether a message must not go past one of these.
    pub(super) fn meet(&self, reach: Reach) -> bool {
        self.leaving.iter().any(|found| meet(found.reach, reach))
    }

    /// Whether one more may be opened: the other end takes no more at a time.
    pub(super) fn has_place(&self, next: &Leaving) -> bool {
        let bytes: usize = self.leaving.iter().map(Leaving::length).sum();
        self.leaving.is_empty()
            || self.leaving.len() < STREAMS_MAX && bytes + next.length() <= FRAME_PAYLOAD_MAX
    }

    /// Opens one. All of it has yet to leave.
    pub(super) fn open(&mut self, mut message: Leaving, out: &mut Vec<u8>) {
        self.opened = self.opened.wrapping_add(1);
        message.stream = self.opened;
        message.open(out);
        self.leaving.push_back(message);
    }

    /// Appends the next piece, if one may leave: one of the oldest message, and one of that of which
    /// the least is left, in turns. So none waits for ever, and those that are less large do not
    /// wait for the largest.
    pub(super) fn take(&mut self, sizes: PieceSizes, out: &mut Vec<u8>) -> bool {
        let Some(at) = self.next(sizes) else { return false };
        self.was_oldest = at == 0;
        let message = &mut self.leaving[at];
        message.take(sizes, out);
        if message.left() == 0 {
            self.leaving.remove(at);
        }
        true
    }

    /// Whether a piece may leave.
    pub(super) fn is_ready(&self, sizes: PieceSizes) -> bool {
        self.next(sizes).is_some()
    }

    fn next(&self, sizes: PieceSizes) -> Option<usize> {
        let oldest = self.leaving.front()?.room(sizes) > 0;
        let others = self.leaving.iter().enumerate().skip(1);
        let able = others.filter(|(_, found)| found.room(sizes) > 0);
        let least = able.min_by_key(|(_, found)| found.left()).map(|(at, _)| at);
        match least {
            Some(least) if self.was_oldest || !oldest => Some(least),
            _ => oldest.then_some(0),
        }
    }

    /// The other end has taken so many bytes of a stream. One that has left altogether does not matter.
    pub(super) fn credit(&mut self, stream: u32, bytes: u32) {
        if let Some(found) = self.leaving.iter_mut().find(|found| found.stream == stream) {
            found.taken = found.sent.min(found.taken + bytes as usize);
        }
    }
}

/// Appends a frame that tells what was taken of some streams.
pub(super) fn encode_credits(credits: &[(u32, u32)], out: &mut Vec<u8>) {
    let start = begin(out, CREDIT, 0, 0);
    for (stream, bytes) in credits {
        out.extend_from_slice(&stream.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
    }
    end(out, start);
}

/// Whether a frame, from its beginning on, belongs to a message in pieces.
pub fn is_of_pieces(frame: &[u8]) -> bool {
    frame.len() >= HEADER_LENGTH && matches!(frame[5], OPENING | PIECE | CREDIT)
}
