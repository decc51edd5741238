//! The bytes of a connection that wait to be sent.
//!
//! Small replies are written one behind the other into buffers of their own. A long one stays where
//! it is, shared with the value that it shows, and is a piece for itself.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;
use quorate_store::text::SHARED_LENGTH_MIN;

use crate::limits::{BUFFER_KEPT_MAX, OUTPUT_KEPT_MAX};

/// Pieces that one call to the system sends.
pub const PIECES_PER_WRITE: usize = 16;

/// Bytes in a row.
#[derive(Debug)]
enum Piece {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Replies of a turn, in order.
#[derive(Debug, Default)]
pub struct Ready {
    /// None is empty.
    pieces: Vec<Piece>,
    pieces_length: usize,
    /// What comes behind them.
    tail: Vec<u8>,
}

impl Ready {
    /// Where replies are written to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Adds a reply, which is not copied if it is long.
    pub(crate) fn push(&mut self, reply: &Bytes) {
        if reply.len() < SHARED_LENGTH_MIN {
            return self.tail.extend_from_slice(reply);
        }
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.pieces_length += tail.len();
            self.pieces.push(Piece::Own(tail));
        }
        self.pieces_length += reply.len();
        self.pieces.push(Piece::Shared(reply.clone()));
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces_length + self.tail.len()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let pieces = self.pieces.iter().map(Piece::bytes);
        pieces.chain([&self.tail[..]]).flatten().copied().collect()
    }
}

/// Bytes that wait to be sent, in pieces.
#[derive(Debug, Default)]
pub struct Unsent {
    /// None is empty.
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are sent already.
    sent: usize,
    /// Bytes of all pieces that are not.
    length: usize,
    /// An empty buffer to hand out again.
    spare: Vec<u8>,
}

impl Unsent {
    /// Adds bytes, leaving `bytes` empty. Many bytes are taken over, not copied.
    pub(crate) fn push(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.length += bytes.len();
        match self.pieces.back_mut() {
            Some(Piece::Own(last)) if last.len() + bytes.len() <= OUTPUT_KEPT_MAX => {
                last.append(bytes);
            }
            _ => {
                let spare = std::mem::take(&mut self.spare);
                self.pieces.push_back(Piece::Own(std::mem::replace(bytes, spare)));
            }
        }
        if bytes.capacity() > BUFFER_KEPT_MAX {
            *bytes = Vec::new();
        }
    }

    /// Adds replies, leaving `ready` empty.
    pub(crate) fn push_ready(&mut self, ready: &mut Ready) {
        for piece in ready.pieces.drain(..) {
            match piece {
                Piece::Own(mut bytes) => self.push(&mut bytes),
                shared @ Piece::Shared(_) => {
                    self.length += shared.bytes().len();
                    self.pieces.push_back(shared);
                }
            }
        }
        ready.pieces_length = 0;
        self.push(&mut ready.tail);
    }

    /// Bytes that are held for this connection alone.
    pub(crate) fn own_len(&self) -> usize {
        let shared: usize = self.shared().map(Bytes::len).sum();
        self.length.saturating_sub(shared)
    }

    /// Long replies among the pieces, shared with others.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Own(_) => None,
            Piece::Shared(bytes) => Some(bytes),
        })
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first pieces, as they are written. Returns how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; PIECES_PER_WRITE]) -> usize {
        let Some(first) = self.pieces.front() else { return 0 };
        slices[0] = IoSlice::new(&first.bytes()[self.sent..]);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces).skip(1) {
            *slice = IoSlice::new(piece.bytes());
        }
        self.pieces.len().min(slices.len())
    }

    /// All pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let skipped = std::iter::once(self.sent).chain(std::iter::repeat(0));
        self.pieces.iter().zip(skipped).map(|(piece, skipped)| &piece.bytes()[skipped..])
    }

    /// The first `count` bytes are sent.
    pub(super) fn advance(&mut self, count: usize) {
        assert!(count <= self.length, "invariant: only what waits is sent");
        self.length -= count;
        self.sent += count;
        while let Some(first) = self.pieces.front()
            && self.sent >= first.bytes().len()
        {
            self.sent -= first.bytes().len();
            if let Some(Piece::Own(mut sent)) = self.pieces.pop_front()
                && sent.capacity() <= BUFFER_KEPT_MAX
            {
                sent.clear();
                self.spare = sent;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(unsent: &Unsent) -> Vec<u8> {
        unsent.pieces().flatten().copied().collect()
    }

    #[test]
    fn long_replies_are_not_copied() {
        let long = Bytes::from(vec![b'x'; SHARED_LENGTH_MIN]);
        let mut ready = Ready::default();
        ready.tail().extend_from_slice(b"a");
        ready.push(&long);
        ready.push(&Bytes::from_static(b"b"));
        let expected = [b"a", &long[..], b"b"].concat();
        assert_eq!((ready.len(), ready.bytes()), (expected.len(), expected.clone()));
        let mut unsent = Unsent::default();
        unsent.push_ready(&mut ready);
        assert_eq!((ready.len(), all(&unsent)), (0, expected.clone()));
        assert!(unsent.shared().all(|shared| shared.as_ptr() == long.as_ptr()));
        unsent.advance(SHARED_LENGTH_MIN);
        assert_eq!(all(&unsent), &expected[SHARED_LENGTH_MIN..]);
        unsent.advance(2);
        assert!(unsent.is_empty() && long.is_unique());
    }

    #[test]
    fn bytes_leave_in_order_whatever_is_taken_at_once() {
        let sent: Vec<u8> = (0..=255).cycle().take(3 * OUTPUT_KEPT_MAX).collect();
        let mut unsent = Unsent::default();
        for piece in sent.chunks(OUTPUT_KEPT_MAX / 3 + 7) {
            let mut piece = piece.to_vec();
            unsent.push(&mut piece);
            assert!(piece.is_empty());
        }
        assert_eq!(all(&unsent), sent);
        let mut left = &sent[..];
        for count in [1, 0, OUTPUT_KEPT_MAX - 1, 2 * OUTPUT_KEPT_MAX - 5, 5] {
            unsent.advance(count);
            left = &left[count..];
            assert_eq!((unsent.len(), all(&unsent)), (left.len(), left.to_vec()));
        }
        assert!(unsent.is_empty());
    }
}
