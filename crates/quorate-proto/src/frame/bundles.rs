//! Messages on their way to a peer.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::{
    BUNDLE, CHECKED, HEAD_LENGTH, HEADER_LENGTH, begin, encode, end,
    pieces::{Leaving, PieceSizes, Streams, encode_credits, meet},
};
use crate::{
    checksum::{crc32c, crc32c_append},
    limits::{BUNDLE_BYTES, FOLLOWERS_BYTES_MAX, FRAME_PAYLOAD_MAX, PART_BYTES, SUMMED_PER_TAKE},
    message::{Message, Reach},
};

/// Messages on their way to a peer, in order. Small ones that follow each other share a frame; a very
/// large one is summed up and copied piece by piece as it is taken, and until then shares its bytes with
/// whoever has sent it. Where the other end understands pieces, the messages behind it do not wait for it.
#[derive(Debug, Default)]
pub struct Bundles {
    sizes: PieceSizes,
    /// Whether the other end understands messages in pieces.
    in_pieces: bool,
    streams: Streams,
    /// Bytes that the other end will have to keep until a message in pieces is whole.
    followers: usize,
    /// What comes before `bytes`. Empty unless there is a very large message.
    queue: VecDeque<Queued>,
    /// Bytes of the bodies and frames in it.
    queued: usize,
    bytes: Vec<u8>,
    /// Where the last frame of `bytes` begins, if messages are still added to it, and its epoch.
    open: Option<(usize, u64)>,
    /// What was taken.
    taken: Vec<u8>,
}

#[derive(Debug)]
enum Queued {
    /// Whole frames.
    Frames(Vec<u8>),
    Large(Large),
    /// Leaves in pieces.
    Stream(Leaving),
}

/// A message of which not all is taken yet.
#[derive(Debug)]
struct Large {
    /// Without its checksum, until that is known.
    header: [u8; HEADER_LENGTH],
    sum: u32,
    /// Bytes of the body that are in the sum.
    summed: usize,
    /// Bytes of the frame that are taken.
    taken: usize,
    /// The two pieces of the body.
    head: Vec<u8>,
    rest: Bytes,
}

impl Large {
    fn new(epoch: u64, correlation: u64, message: &Message) -> Self {
        let (head, rest) = message.split_body();
        let mut header = Vec::new();
        begin(&mut header, message.kind(), epoch, correlation);
        let mut header: [u8; HEADER_LENGTH] =
            *header.first_chunk().expect("invariant: a header was begun");
        let length = head.len() + rest.len();
        header[24..CHECKED].copy_from_slice(&(length as u32).to_le_bytes());
        Self { header, sum: crc32c(&header[..CHECKED]), summed: 0, taken: 0, head, rest }
    }

    fn left(&self) -> usize {
        HEADER_LENGTH + self.head.len() + self.rest.len() - self.taken
    }

    /// The body from here on, as far as it lies together.
    fn body_from(&self, at: usize) -> &[u8] {
        match at.checked_sub(self.head.len()) {
            None => &self.head[at..],
            Some(at) => &self.rest[at..],
        }
    }

    /// Goes on with the checksum. Returns whether the header is complete.
    fn sum_up(&mut self) -> bool {
        let length = self.head.len() + self.rest.len();
        if self.summed == length {
            return true;
        }
        let mut room = SUMMED_PER_TAKE;
        while room > 0 && self.summed < length {
            let piece = self.body_from(self.summed);
            let piece = &piece[..piece.len().min(room)];
            let (sum, count) = (crc32c_append(self.sum, piece), piece.len());
            self.sum = sum;
            room -= count;
            self.summed += count;
        }
        self.header[CHECKED..].copy_from_slice(&self.sum.to_le_bytes());
        self.summed == length
    }

    /// Appends the next piece to `out`.
    fn take(&mut self, out: &mut Vec<u8>) {
        let piece = match self.taken.checked_sub(HEADER_LENGTH) {
            None => &self.header[self.taken..],
            Some(at) => self.body_from(at),
        };
        let piece = &piece[..piece.len().min(PART_BYTES)];
        out.extend_from_slice(piece);
        let count = piece.len();
        self.taken += count;
    }
}

impl Bundles {
    /// Of a link on which large messages are cut so.
    pub fn new(sizes: PieceSizes) -> Self {
        Self { sizes, ..Self::default() }
    }

    /// Whether the other end understands messages in pieces.
    pub fn set_in_pieces(&mut self, in_pieces: bool) {
        self.in_pieces = in_pieces;
    }

    /// Adds a message. Returns whether it [fits](super::fits); what does not is not added.
    pub fn push(&mut self, epoch: u64, correlation: u64, message: &Message) -> bool {
        let length = message.body_length();
        if !self.streams.is_empty() || !self.queue.is_empty() {
            self.follow(message.reach(), length);
        }
        if self.in_pieces && length > self.sizes.large && length <= FRAME_PAYLOAD_MAX {
            self.close();
            let leaving = Leaving::new(epoch, correlation, message);
            self.enqueue(leaving.left(), Queued::Stream(leaving));
            return true;
        }
        let is_large = length > BUNDLE_BYTES;
        let follows = self.open.is_some_and(|(start, of)| {
            of == epoch && self.bytes.len() - start <= BUNDLE_BYTES && !is_large
        });
        if !follows {
            self.close();
        }
        if is_large {
            if length <= PART_BYTES {
                encode(&mut self.bytes, epoch, correlation, message);
            } else if length <= FRAME_PAYLOAD_MAX {
                self.push_large(Large::new(epoch, correlation, message));
            }
            return length <= FRAME_PAYLOAD_MAX;
        }
        if self.open.is_none() {
            self.open = Some((begin(&mut self.bytes, BUNDLE, epoch, 0), epoch));
        }
        let mut head = [0; HEAD_LENGTH];
        head[..4].copy_from_slice(&(length as u32).to_le_bytes());
        head[4] = message.kind();
        head[5..].copy_from_slice(&correlation.to_le_bytes());
        self.bytes.extend_from_slice(&head);
        message.encode_body(&mut self.bytes);
        true
    }

    fn push_large(&mut self, large: Large) {
        self.enqueue(large.left(), Queued::Large(large));
    }

    fn enqueue(&mut self, bytes: usize, item: Queued) {
        let frames = core::mem::take(&mut self.bytes);
        self.queued += frames.len() + bytes;
        if !frames.is_empty() {
            self.queue.push_back(Queued::Frames(frames));
        }
        self.queue.push_back(item);
    }

    /// Counts a message if the other end will have to keep it.
    fn follow(&mut self, reach: Reach, bytes: usize) {
        let queued = self
            .queue
            .iter()
            .any(|found| matches!(found, Queued::Stream(leaving) if meet(leaving.reach, reach)));
        if queued || self.streams.meet(reach) {
            self.followers += HEADER_LENGTH + bytes;
        }
    }

    /// Whether nothing may leave but pieces: the other end keeps much already.
    fn is_stalled(&self) -> bool {
        self.followers > FOLLOWERS_BYTES_MAX && !self.streams.is_empty()
    }

    /// Takes what is to be sent next: about `most` bytes of very large messages, and all that
    /// does not wait behind one. May bring nothing while one is summed up, or until the other end
    /// has taken more. What is left in the buffer that is returned is returned again.
    pub fn take(&mut self, most: usize) -> &mut Vec<u8> {
        if self.queue.is_empty() && self.taken.is_empty() && self.streams.is_empty() {
            return self.whole();
        }
        let before = self.taken.len();
        self.take_in_order(most);
        let in_order = self.taken.len();
        // Also where there is always something else to say.
        let until = in_order + most.max(usize::from(in_order > before));
        while self.taken.len() < until && self.streams.take(self.sizes, &mut self.taken) {}
        if self.streams.is_empty() && !self.queue.iter().any(|it| matches!(it, Queued::Stream(_))) {
            self.followers = 0;
        }
        &mut self.taken
    }

    /// Takes what leaves in its place.
    fn take_in_order(&mut self, most: usize) {
        while !self.is_stalled()
            && let Some(first) = self.queue.pop_front()
        {
            match first {
                Queued::Frames(mut frames) => {
                    self.queued -= frames.len();
                    self.taken.append(&mut frames);
                }
                Queued::Large(mut large) => {
                    let is_ready = self.taken.len() < most && large.sum_up();
                    let left = large.left();
                    if is_ready {
                        large.take(&mut self.taken);
                        self.queued -= left - large.left();
                    }
                    if large.left() > 0 {
                        self.queue.push_front(Queued::Large(large));
                    }
                    if !is_ready {
                        return;
                    }
                }
                Queued::Stream(leaving) if self.streams.has_place(&leaving) => {
                    self.queued -= leaving.left();
                    self.streams.open(leaving, &mut self.taken);
                }
                Queued::Stream(leaving) => {
                    self.queue.push_front(Queued::Stream(leaving));
                    return;
                }
            }
        }
        if self.queue.is_empty() && !self.is_stalled() {
            self.close();
            self.taken.append(&mut self.bytes);
        }
    }

    /// The other end has taken so many bytes of a message in pieces.
    pub(super) fn credit(&mut self, stream: u32, bytes: u32) {
        self.streams.credit(stream, bytes);
    }

    /// Tells the other end what was taken.
    pub(super) fn push_credits(&mut self, credits: &[(u32, u32)]) {
        self.close();
        encode_credits(credits, &mut self.bytes);
    }

    /// The frames behind the last very large message, all of them whole.
    pub fn whole(&mut self) -> &mut Vec<u8> {
        self.close();
        &mut self.bytes
    }

    /// Whether all has been taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
            && self.queue.is_empty()
            && self.taken.is_empty()
            && self.streams.is_empty()
    }

    /// Whether there is a very large message, so that taking stops before the end.
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty() || !self.streams.is_empty()
    }

    /// Whether something waits that is not in pieces, and what is said now waits behind it.
    pub fn is_blocked(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a message leaves in pieces, or is about to.
    pub fn has_streams(&self) -> bool {
        !self.streams.is_empty() || matches!(self.queue.front(), Some(Queued::Stream(_)))
    }

    /// Whether there is something to be taken, and not only what the other end has yet to ask for.
    pub fn is_ready(&self) -> bool {
        let in_order = !self.bytes.is_empty() || !self.queue.is_empty();
        !self.taken.is_empty()
            || in_order && !self.is_stalled() && !self.waits_for_place()
            || self.streams.is_ready(self.sizes)
    }

    fn waits_for_place(&self) -> bool {
        matches!(self.queue.front(), Some(Queued::Stream(next)) if !self.streams.has_place(next))
    }

    /// About how many bytes there are.
    pub fn len(&self) -> usize {
        self.queued + self.bytes.len() + self.taken.len() + self.streams.left()
    }

    fn close(&mut self) {
        if let Some((start, _)) = self.open.take() {
            end(&mut self.bytes, start);
        }
    }
}
