//! Takes what arrives apart in the buffer that it was read into.

use std::io::{self, Read};

/// What is read at a time, when it is there.
const BUFFER_BYTES: usize = 512 << 10;

/// A reader that hands out pieces of its own buffer, to be decrypted in place.
pub(super) struct Frames<'a, R> {
    reader: &'a mut R,
    buffer: Vec<u8>,
    /// Where the bytes that were read and not taken yet begin and end.
    start: usize,
    end: usize,
}

impl<'a, R: Read> Frames<'a, R> {
    pub(super) fn new(reader: &'a mut R) -> Self {
        Self { reader, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// The next `count` bytes. Callers bound `count` before they believe a peer.
    pub(super) fn take(&mut self, count: usize) -> io::Result<&mut [u8]> {
        if self.buffer.len() - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() < count {
                self.buffer.resize(count.max(BUFFER_BYTES), 0);
            }
        }
        while self.end - self.start < count {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => self.end += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let taken = self.start..self.start + count;
        self.start += count;
        Ok(&mut self.buffer[taken])
    }

    /// Whether the stream ends here; waits for its end or for more.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.start == self.end && self.reader.read(&mut [0])? == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most `step` bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn pieces_come_in_order_whatever_is_read() {
        let bytes: Vec<u8> = (0..2_000_000).map(|at: u32| (at % 251) as u8).collect();
        for step in [1000, 65_537, 3_000_000] {
            let mut reader = Dripping(&bytes, step);
            let mut frames = Frames::new(&mut reader);
            let mut at = 0;
            for count in [1, 4, 300_000, 17, 700_000, 5, 999_973] {
                assert_eq!(frames.take(count).expect("there"), &bytes[at..at + count]);
                at += count;
            }
            assert_eq!(at, bytes.len());
            assert!(frames.is_at_end().expect("reads"));
            assert!(frames.take(1).is_err());
        }
        assert!(!Frames::new(&mut Dripping(b"x", 1)).is_at_end().expect("reads"));
    }
}
