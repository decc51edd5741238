//! Messages on their way to a peer.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::{BUNDLE, CHECKED, HEAD_LENGTH, HEADER_LENGTH, begin, encode, end};
use crate::{
    checksum::{crc32c, crc32c_append},
    limits::{BUNDLE_BYTES, FRAME_PAYLOAD_MAX, PART_BYTES, SUMMED_PER_TAKE},
    message::Message,
};

/// Messages on their way to a peer, in order. Small ones that follow each other share a frame; a very
/// large one is summed up and copied piece by piece as it is taken, and until then shares its bytes with
/// whoever has sent it.
#[derive(Debug, Default)]
pub struct Bundles {
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
    /// Adds a message. Returns whether it [fits](super::fits); what does not is not added.
    pub fn push(&mut self, epoch: u64, correlation: u64, message: &Message) -> bool {
        let length = message.body_length();
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
        let frames = core::mem::take(&mut self.bytes);
        self.queued += frames.len() + large.left();
        if !frames.is_empty() {
            self.queue.push_back(Queued::Frames(frames));
        }
        self.queue.push_back(Queued::Large(large));
    }

    /// Takes what is to be sent next: about `most` bytes, and all that there is where no very large message
    /// is among it. May bring nothing while one is summed up. What is left in the buffer that is returned
    /// is returned again.
    pub fn take(&mut self, most: usize) -> &mut Vec<u8> {
        if self.queue.is_empty() && self.taken.is_empty() {
            return self.whole();
        }
        while self.taken.len() < most
            && let Some(first) = self.queue.front_mut()
        {
            match first {
                Queued::Frames(frames) => {
                    self.queued -= frames.len();
                    self.taken.append(frames);
                    self.queue.pop_front();
                }
                Queued::Large(large) => {
                    if !large.sum_up() {
                        break;
                    }
                    let left = large.left();
                    large.take(&mut self.taken);
                    self.queued -= left - large.left();
                    if large.left() == 0 {
                        self.queue.pop_front();
                    }
                }
            }
        }
        &mut self.taken
    }

    /// The frames behind the last very large message, all of them whole.
    pub fn whole(&mut self) -> &mut Vec<u8> {
        self.close();
        &mut self.bytes
    }

    /// Whether nothing was added since the frames were taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.queue.is_empty() && self.taken.is_empty()
    }

    /// Whether there is a very large message, so that taking stops before the end.
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// About how many bytes there are.
    pub fn len(&self) -> usize {
        self.queued + self.bytes.len() + self.taken.len()
    }

    fn close(&mut self) {
        if let Some((start, _)) = self.open.take() {
            end(&mut self.bytes, start);
        }
    }
}
