//! SipHash-1-3 with a result of 128 bits.
//!
//! It takes in whole words, so that what is hashed again and again with another end is taken in
//! once, and whoever knows the end puts it together.

use super::Digest;

/// Bytes that are taken in at a time.
pub(super) const WORD: usize = 8;

/// Less than a word, with zeros behind it.
#[inline]
pub(super) fn padded(bytes: &[u8]) -> [u8; WORD] {
    let mut word = [0; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    word
}

/// A hash under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sip([u64; 4]);

impl Sip {
    /// A hash with a secret key.
    pub(super) fn new(key: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(key);
        let (low, high) = (key as u64, (key >> 64) as u64);
        Self([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ])
    }

    /// Takes in the whole words of `bytes`. Returns what is left of them.
    #[inline]
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        rest
    }

    /// The hash of `length` bytes: of what was taken in, and of less than a word, zeros behind it.
    #[inline]
    pub(super) fn finish(mut self, last: [u8; WORD], length: usize) -> Digest {
        self.word(u64::from_le_bytes(last) | (length as u64) << 56);
        self.0[2] ^= 0xee;
        let low = self.sum();
        self.0[1] ^= 0xdd;
        let high = self.sum();
        u128::from(low) | u128::from(high) << 64
    }

    #[inline]
    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline]
    fn sum(&mut self) -> u64 {
        (0..3).for_each(|_| self.round());
        self.0.iter().fold(0, |sum, word| sum ^ word)
    }

    #[inline]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}
