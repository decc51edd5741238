//! The bytes of a connection that wait to be sent.

use std::{collections::VecDeque, io::IoSlice};

use crate::limits::OUTPUT_KEPT_MAX;

/// Pieces that one call to the system sends.
pub(crate) const PIECES_PER_WRITE: usize = 16;

/// Bytes that wait to be sent, in pieces.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// None is empty.
    pieces: VecDeque<Vec<u8>>,
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
            Some(last) if last.len() + bytes.len() <= OUTPUT_KEPT_MAX => last.append(bytes),
            _ => {
                let spare = std::mem::take(&mut self.spare);
                self.pieces.push_back(std::mem::replace(bytes, spare));
            }
        }
        if bytes.capacity() > OUTPUT_KEPT_MAX {
            *bytes = Vec::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first pieces, as they are written. Returns how many there are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; PIECES_PER_WRITE]) -> usize {
        let Some(first) = self.pieces.front() else { return 0 };
        slices[0] = IoSlice::new(&first[self.sent..]);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces).skip(1) {
            *slice = IoSlice::new(piece);
        }
        self.pieces.len().min(slices.len())
    }

    /// All pieces.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let skipped = std::iter::once(self.sent).chain(std::iter::repeat(0));
        self.pieces.iter().zip(skipped).map(|(piece, skipped)| &piece[skipped..])
    }

    /// The first `count` bytes are sent.
    pub(super) fn advance(&mut self, count: usize) {
        assert!(count <= self.length, "invariant: only what waits is sent");
        self.length -= count;
        self.sent += count;
        while let Some(first) = self.pieces.front()
            && self.sent >= first.len()
        {
            self.sent -= first.len();
            if let Some(mut sent) = self.pieces.pop_front()
                && sent.capacity() <= OUTPUT_KEPT_MAX
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
