//! The encoding of effects: key deltas, which are also the encoding of whole states.
//!
//! ```text
//! effect := delta*
//! delta  := key_length:varint key:bytes parts_length:u32le part*
//! part   := see `part`
//! ```

pub use crate::part::{Body, Malformed, Owner, Part};

use crate::part::{read_array, read_bytes, take, write_bytes};

/// Appends one key delta to an effect.
pub struct DeltaWriter<'a> {
    effect: &'a mut Vec<u8>,
    /// Where the delta starts, and where its parts do.
    start: usize,
    parts: usize,
}

impl<'a> DeltaWriter<'a> {
    /// Bytes that a delta takes besides its key and parts, at most.
    pub(crate) const HEAD_MAX: usize = 5 + 4;

    /// Begins the delta of `key`.
    pub fn new(effect: &'a mut Vec<u8>, key: &[u8]) -> Self {
        let start = effect.len();
        write_bytes(effect, key);
        effect.extend_from_slice(&[0; 4]);
        let parts = effect.len();
        Self { effect, start, parts }
    }

    /// Appends a part.
    pub fn part(&mut self, part: Part<'_>) {
        part.write(self.effect);
    }

    /// Bytes of parts written so far.
    pub fn length(&self) -> usize {
        self.effect.len() - self.parts
    }

    /// Ends the delta here, hands it to `each`, and begins another one of the same key in its place.
    pub(crate) fn cut(&mut self, each: impl FnOnce(&[u8])) {
        self.write_length();
        each(&self.effect[self.start..]);
        self.effect.truncate(self.parts);
    }

    /// Ends the delta and returns its bytes; a delta without parts leaves no trace.
    pub fn finish(self) -> &'a [u8] {
        let start = self.start;
        &self.end()[start..]
    }

    /// Ends the delta of `key` like [`DeltaWriter::finish`], and hands it to `merge` if it has
    /// parts. Returns the effect.
    pub(crate) fn finish_into(self, key: &[u8], merge: impl FnOnce(Delta<'_>)) -> &'a mut Vec<u8> {
        let parts = self.parts;
        let effect = self.end();
        if let Some(parts) = effect.get(parts..) {
            merge(Delta { key, parts });
        }
        effect
    }

    fn end(mut self) -> &'a mut Vec<u8> {
        if self.length() == 0 {
            self.effect.truncate(self.start);
        } else {
            self.write_length();
        }
        self.effect
    }

    fn write_length(&mut self) {
        let length = u32::try_from(self.length()).expect("invariant: effects stay below 4 GiB");
        self.effect[self.parts - 4..self.parts].copy_from_slice(&length.to_le_bytes());
    }
}

/// One key's delta, borrowed from an effect.
#[derive(Clone, Copy, Debug)]
pub struct Delta<'a> {
    /// The key.
    pub key: &'a [u8],
    parts: &'a [u8],
}

impl<'a> Delta<'a> {
    /// Bytes of the parts.
    pub(crate) fn length(&self) -> usize {
        self.parts.len()
    }

    /// Whether the first part is the value of a string.
    #[inline]
    pub(crate) fn begins_with_string(&self) -> bool {
        self.parts.first() == Some(&Part::STRING_TAG)
    }

    /// The parts, in the order written.
    pub fn parts(&self) -> impl Iterator<Item = Result<Part<'a>, Malformed>> + use<'a> {
        let mut input = self.parts;
        std::iter::from_fn(move || (!input.is_empty()).then(|| read_part(&mut input)))
    }
}

/// The key deltas of an encoded effect, in order. Ends after the first error.
pub fn deltas(mut effect: &[u8]) -> impl Iterator<Item = Result<Delta<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if effect.is_empty() {
            return None;
        }
        let delta = read_delta(&mut effect);
        if delta.is_err() {
            effect = &[];
        }
        Some(delta)
    })
}

fn read_delta<'a>(input: &mut &'a [u8]) -> Result<Delta<'a>, Malformed> {
    let key = read_bytes(input)?;
    let length = u32::from_le_bytes(read_array(input)?) as usize;
    Ok(Delta { key, parts: take(input, length)? })
}

fn read_part<'a>(input: &mut &'a [u8]) -> Result<Part<'a>, Malformed> {
    let part = Part::read(input);
    if part.is_err() {
        *input = &[];
    }
    part
}
