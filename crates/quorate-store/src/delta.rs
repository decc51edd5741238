//! The encoding of effects: key deltas, which are also the encoding of whole states.
//!
//! ```text
//! effect   := delta*
//! delta    := key_length:varint key:bytes parts_length:u32le part*
//! part     := tag:u8 body
//!   1 horizon         stamp
//!   2 expiry          stamp at_ms:u64le               (at_ms 2^64-1: no expiry)
//!   3 text            stamp value
//!   4 text add        contribution
//!   5 field           stamp name value
//!   6 field add       name contribution
//!   7 field removed   stamp name
//!   8 member          stamp name
//!   9 member removed  stamp name
//! contribution := since:stamp last:stamp sum:i128be
//! name, value  := length:varint bytes
//! stamp        := 12 bytes, big-endian, see `Stamp::to_bytes`
//! varint       := LEB128, at most 5 bytes
//! ```

use quorate_proto::Stamp;

use crate::{cell::Contribution, decimal::Decimal, digest::Element};

const NO_EXPIRY: u64 = u64::MAX;

/// One element of a key's state, borrowed from an encoded delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Everything with a stamp up to this one is deleted.
    Horizon(Stamp),
    /// When the key expires, in milliseconds since the Unix epoch; `None` for never.
    Expiry(Stamp, Option<u64>),
    /// The value of a string.
    Text(Stamp, &'a [u8]),
    /// An origin's increments of a string.
    TextAdd(Contribution),
    /// The value of a hash field.
    Field(Stamp, &'a [u8], &'a [u8]),
    /// An origin's increments of a hash field.
    FieldAdd(&'a [u8], Contribution),
    /// A hash field is removed, up to a stamp.
    FieldRemoved(Stamp, &'a [u8]),
    /// A set member.
    Member(Stamp, &'a [u8]),
    /// A set member is removed, up to a stamp.
    MemberRemoved(Stamp, &'a [u8]),
}

impl Part<'_> {
    /// The newest stamp in the part.
    pub fn stamp(&self) -> Stamp {
        match *self {
            Part::Horizon(stamp)
            | Part::Expiry(stamp, _)
            | Part::Text(stamp, _)
            | Part::Field(stamp, _, _)
            | Part::FieldRemoved(stamp, _)
            | Part::Member(stamp, _)
            | Part::MemberRemoved(stamp, _) => stamp,
            Part::TextAdd(part) | Part::FieldAdd(_, part) => part.last,
        }
    }
}

impl<'a> Part<'a> {
    /// What the part is, for digests, and the name of the field or member that it belongs to.
    pub(crate) fn place(&self) -> (Element, Option<&'a [u8]>) {
        match *self {
            Part::Horizon(_) => (Element::Horizon, None),
            Part::Expiry(..) => (Element::Expiry, None),
            Part::Text(..) => (Element::Text, None),
            Part::TextAdd(_) => (Element::TextContribution, None),
            Part::Field(_, name, _) => (Element::Field, Some(name)),
            Part::FieldAdd(name, _) => (Element::FieldContribution, Some(name)),
            Part::FieldRemoved(_, name) => (Element::FieldRemoved, Some(name)),
            Part::Member(_, name) => (Element::Member, Some(name)),
            Part::MemberRemoved(_, name) => (Element::MemberRemoved, Some(name)),
        }
    }

    /// Whether the part removes everything up to a stamp.
    pub(crate) fn is_horizon(&self) -> bool {
        matches!(self, Part::Horizon(_))
    }

    /// Whether the part only says what is removed.
    pub(crate) fn is_mark(&self) -> bool {
        matches!(
            self,
            Part::Horizon(_)
                | Part::Expiry(_, None)
                | Part::FieldRemoved(..)
                | Part::MemberRemoved(..)
        )
    }

    /// About how many bytes the encoded part takes, and not fewer.
    pub(crate) fn size(&self) -> usize {
        const HEAD: usize = 1 + Stamp::LENGTH;
        const LENGTH: usize = 5;
        const CONTRIBUTION: usize = 2 * Stamp::LENGTH + size_of::<i128>();
        match self {
            Part::Horizon(_) => HEAD,
            Part::Expiry(..) => HEAD + size_of::<u64>(),
            Part::Text(_, value) => HEAD + LENGTH + value.len(),
            Part::TextAdd(_) => 1 + CONTRIBUTION,
            Part::Field(_, name, value) => HEAD + 2 * LENGTH + name.len() + value.len(),
            Part::FieldAdd(name, _) => 1 + LENGTH + name.len() + CONTRIBUTION,
            Part::FieldRemoved(_, name) | Part::Member(_, name) | Part::MemberRemoved(_, name) => {
                HEAD + LENGTH + name.len()
            }
        }
    }
}

/// Bytes that are no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed effect: {what}")]
pub struct Malformed {
    what: &'static str,
}

const fn malformed(what: &'static str) -> Malformed {
    Malformed { what }
}

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
        let out = &mut *self.effect;
        match part {
            Part::Horizon(stamp) => write_head(out, 1, stamp),
            Part::Expiry(stamp, at) => {
                write_head(out, 2, stamp);
                out.extend_from_slice(&at.unwrap_or(NO_EXPIRY).to_le_bytes());
            }
            Part::Text(stamp, value) => {
                write_head(out, 3, stamp);
                write_bytes(out, value);
            }
            Part::TextAdd(contribution) => {
                out.push(4);
                write_contribution(out, contribution);
            }
            Part::Field(stamp, name, value) => {
                write_head(out, 5, stamp);
                write_bytes(out, name);
                write_bytes(out, value);
            }
            Part::FieldAdd(name, contribution) => {
                out.push(6);
                write_bytes(out, name);
                write_contribution(out, contribution);
            }
            Part::FieldRemoved(stamp, name) => {
                write_head(out, 7, stamp);
                write_bytes(out, name);
            }
            Part::Member(stamp, name) => {
                write_head(out, 8, stamp);
                write_bytes(out, name);
            }
            Part::MemberRemoved(stamp, name) => {
                write_head(out, 9, stamp);
                write_bytes(out, name);
            }
        }
    }

    /// Bytes of parts written so far.
    pub fn length(&self) -> usize {
        self.effect.len() - self.parts
    }

    /// Ends the delta and returns its bytes; a delta without parts leaves no trace.
    pub fn finish(self) -> &'a [u8] {
        let (effect, start) = self.finish_within();
        &effect[start..]
    }

    /// Ends the delta like [`DeltaWriter::finish`]; returns the effect and where the delta begins in it.
    pub(crate) fn finish_within(self) -> (&'a mut Vec<u8>, usize) {
        let length = self.length();
        if length == 0 {
            self.effect.truncate(self.start);
            return (self.effect, self.start);
        }
        let length = u32::try_from(length).expect("invariant: effects stay below 4 GiB");
        self.effect[self.parts - 4..self.parts].copy_from_slice(&length.to_le_bytes());
        (self.effect, self.start)
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
    let part = read_part_body(input);
    if part.is_err() {
        *input = &[];
    }
    part
}

fn read_part_body<'a>(input: &mut &'a [u8]) -> Result<Part<'a>, Malformed> {
    let [tag] = read_array(input)?;
    Ok(match tag {
        1 => Part::Horizon(read_stamp(input)?),
        2 => {
            let stamp = read_stamp(input)?;
            let at = u64::from_le_bytes(read_array(input)?);
            Part::Expiry(stamp, (at != NO_EXPIRY).then_some(at))
        }
        3 => Part::Text(read_stamp(input)?, read_bytes(input)?),
        4 => Part::TextAdd(read_contribution(input)?),
        5 => Part::Field(read_stamp(input)?, read_bytes(input)?, read_bytes(input)?),
        6 => Part::FieldAdd(read_bytes(input)?, read_contribution(input)?),
        7 => Part::FieldRemoved(read_stamp(input)?, read_bytes(input)?),
        8 => Part::Member(read_stamp(input)?, read_bytes(input)?),
        9 => Part::MemberRemoved(read_stamp(input)?, read_bytes(input)?),
        _ => return Err(malformed("unknown part")),
    })
}

fn write_head(out: &mut Vec<u8>, tag: u8, stamp: Stamp) {
    let mut head = [0; 1 + Stamp::LENGTH];
    head[0] = tag;
    head[1..].copy_from_slice(&stamp.to_bytes());
    out.extend_from_slice(&head);
}

fn write_contribution(out: &mut Vec<u8>, part: Contribution) {
    out.extend_from_slice(&part.since.to_bytes());
    out.extend_from_slice(&part.last.to_bytes());
    out.extend_from_slice(&part.sum.to_bytes());
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = u32::try_from(bytes.len()).expect("invariant: values stay below 4 GiB");
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

fn read_stamp(input: &mut &[u8]) -> Result<Stamp, Malformed> {
    Ok(Stamp::from_bytes(read_array(input)?))
}

fn read_contribution(input: &mut &[u8]) -> Result<Contribution, Malformed> {
    let since = read_stamp(input)?;
    let last = read_stamp(input)?;
    if since.origin() != last.origin() || since > last {
        return Err(malformed("contribution with crossed stamps"));
    }
    Ok(Contribution { since, last, sum: Decimal::from_bytes(read_array(input)?) })
}

fn read_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let mut length: u32 = 0;
    for shift in [0, 7, 14, 21, 28] {
        let [byte] = read_array(input)?;
        length |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return take(input, length as usize);
        }
    }
    Err(malformed("length of more than five bytes"))
}

fn read_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = input.split_first_chunk().ok_or(malformed("cut short"))?;
    *input = tail;
    Ok(*head)
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = input.split_at_checked(length).ok_or(malformed("cut short"))?;
    *input = tail;
    Ok(head)
}
