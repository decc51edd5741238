//! Parts: what effects and the states of keys are made of.
//!
//! A part is one fact about a key: a value, what an origin has added to one, or that something is
//! removed. A [row](ROWS) says for each kind of part which object of the key it belongs to and what
//! it holds; merging, digests, export and forgetting know parts by their rows only.
//!
//! ```text
//! part         := tag:u8 body
//!   1 key      removed       stamp                     everything up to the stamp: the horizon
//!   2 key      until         stamp at_ms:u64le         the expiry (2^64-1: never)
//!   3 string   bytes         stamp value
//!   4 string   added         contribution
//!   5 hash     bytes         stamp name value
//!   6 hash     added         name contribution
//!   7 hash     removed       stamp name
//!   8 set      member        stamp name
//!   9 set      removed       stamp name
//!  10 zset     score         stamp name score
//!  11 zset     added         name contribution
//!  12 zset     removed       stamp name
//!  13 json     bytes         stamp name value     a name and a cell, see `json`
//!  14 json     added         name contribution
//!  15 json     removed       stamp name
//! contribution := since:stamp last:stamp sum:16 bytes
//! score        := bits of a double, big-endian; never NaN
//! name, value  := length:varint bytes
//! stamp        := 12 bytes, big-endian, see `Stamp::to_bytes`
//! varint       := LEB128, at most 5 bytes
//! ```

use quorate_proto::Stamp;

use crate::{
    cell::{Contribution, Sum},
    json,
    object::{KINDS, Kind},
    score::Score,
};

/// What a part belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The key as a whole.
    Key,
    /// The object of one kind that the key holds. Those of collections have a name.
    Object(Kind),
}

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The element, or all of the key, is removed up to this stamp.
    Removed(Stamp),
    /// The element is there.
    Member(Stamp),
    /// When the key expires, in milliseconds since the Unix epoch; `None` for never.
    Until(Stamp, Option<u64>),
    /// A value.
    Bytes(Stamp, &'a [u8]),
    /// The element is there, with this score.
    Score(Stamp, Score),
    /// What an origin has added to the value.
    Added(Contribution),
}

/// One fact about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    row: &'static Row,
    /// Empty when the part has no name.
    name: &'a [u8],
    body: Body<'a>,
}

/// What is known of all parts of one kind.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Stands for the kind of part in effects and in digests, so it never changes.
    tag: u8,
    owner: Owner,
    shape: Shape,
}

/// The variant of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Removed,
    Member,
    Until,
    Bytes,
    Score,
    Added,
}

const SHAPES: usize = 6;

const STRING: Owner = Owner::Object(Kind::Text);
const HASH: Owner = Owner::Object(Kind::Hash);
const SET: Owner = Owner::Object(Kind::Set);
const SORTED_SET: Owner = Owner::Object(Kind::SortedSet);
const JSON: Owner = Owner::Object(Kind::Json);

/// Every kind of part, in the order of its tag, from 1.
static ROWS: [Row; 15] = [
    Row { tag: 1, owner: Owner::Key, shape: Shape::Removed },
    Row { tag: 2, owner: Owner::Key, shape: Shape::Until },
    Row { tag: 3, owner: STRING, shape: Shape::Bytes },
    Row { tag: 4, owner: STRING, shape: Shape::Added },
    Row { tag: 5, owner: HASH, shape: Shape::Bytes },
    Row { tag: 6, owner: HASH, shape: Shape::Added },
    Row { tag: 7, owner: HASH, shape: Shape::Removed },
    Row { tag: 8, owner: SET, shape: Shape::Member },
    Row { tag: 9, owner: SET, shape: Shape::Removed },
    Row { tag: 10, owner: SORTED_SET, shape: Shape::Score },
    Row { tag: 11, owner: SORTED_SET, shape: Shape::Added },
    Row { tag: 12, owner: SORTED_SET, shape: Shape::Removed },
    Row { tag: 13, owner: JSON, shape: Shape::Bytes },
    Row { tag: 14, owner: JSON, shape: Shape::Added },
    Row { tag: 15, owner: JSON, shape: Shape::Removed },
];

/// The tag by owner and shape; zero where there is no such part.
static TAGS: [[u8; SHAPES]; 1 + KINDS] = {
    let mut tags = [[0; SHAPES]; 1 + KINDS];
    let mut at = 0;
    while at < ROWS.len() {
        let row = &ROWS[at];
        assert!(row.tag as usize == at + 1);
        tags[row.owner.index()][row.shape as usize] = row.tag;
        at += 1;
    }
    tags
};

impl Owner {
    const fn index(self) -> usize {
        match self {
            Self::Key => 0,
            Self::Object(kind) => 1 + kind as usize,
        }
    }

    /// Whether parts carry the name of an element.
    const fn is_collection(self) -> bool {
        matches!(self, Self::Object(kind) if kind.is_collection())
    }
}

impl Body<'_> {
    /// The newest stamp in the body.
    pub fn stamp(&self) -> Stamp {
        match *self {
            Self::Removed(stamp)
            | Self::Member(stamp)
            | Self::Until(stamp, _)
            | Self::Bytes(stamp, _)
            | Self::Score(stamp, _) => stamp,
            Self::Added(contribution) => contribution.last,
        }
    }

    const fn shape(&self) -> Shape {
        match self {
            Self::Removed(_) => Shape::Removed,
            Self::Member(_) => Shape::Member,
            Self::Until(..) => Shape::Until,
            Self::Bytes(..) => Shape::Bytes,
            Self::Score(..) => Shape::Score,
            Self::Added(_) => Shape::Added,
        }
    }
}

impl<'a> Part<'a> {
    /// Begins the encoded value of a string.
    pub(crate) const STRING_TAG: u8 = TAGS[STRING.index()][Shape::Bytes as usize];

    /// A part of `owner`; `name` is empty unless that is a collection.
    ///
    /// # Panics
    /// Its objects do not hold such a body.
    #[inline]
    pub fn new(owner: Owner, name: &'a [u8], body: Body<'a>) -> Self {
        let tag = usize::from(TAGS[owner.index()][body.shape() as usize]);
        Self { row: &ROWS[tag.checked_sub(1).expect("invariant: a part of the table")], name, body }
    }

    /// A part of an element of a collection.
    #[inline]
    pub fn element(kind: Kind, name: &'a [u8], body: Body<'a>) -> Self {
        Self::new(Owner::Object(kind), name, body)
    }

    /// Everything with a stamp up to this one is deleted.
    pub fn horizon(stamp: Stamp) -> Self {
        Self::new(Owner::Key, &[], Body::Removed(stamp))
    }

    /// When the key expires, in milliseconds since the Unix epoch; `None` for never.
    pub fn expiry(stamp: Stamp, at_ms: Option<u64>) -> Self {
        Self::new(Owner::Key, &[], Body::Until(stamp, at_ms))
    }

    /// The value of a string.
    pub fn string(stamp: Stamp, value: &'a [u8]) -> Self {
        Self::new(STRING, &[], Body::Bytes(stamp, value))
    }

    /// What the part belongs to.
    #[inline]
    pub fn owner(&self) -> Owner {
        self.row.owner
    }

    /// The name of the element that the part is of, in a collection.
    pub fn name(&self) -> Option<&'a [u8]> {
        self.row.owner.is_collection().then_some(self.name)
    }

    /// What the part holds.
    #[inline]
    pub fn body(&self) -> Body<'a> {
        self.body
    }

    /// The newest stamp in the part.
    #[inline]
    pub fn stamp(&self) -> Stamp {
        self.body.stamp()
    }

    /// The oldest stamp: increments count from the first one of their contribution.
    #[inline]
    pub fn since(&self) -> Stamp {
        match self.body {
            Body::Added(contribution) => contribution.since,
            other => other.stamp(),
        }
    }

    /// The part with every stamp replaced by what `map` gives for it.
    #[must_use]
    pub fn with_stamps(self, map: impl Fn(Stamp) -> Stamp) -> Self {
        let body = match self.body {
            Body::Removed(stamp) => Body::Removed(map(stamp)),
            Body::Member(stamp) => Body::Member(map(stamp)),
            Body::Until(stamp, at) => Body::Until(map(stamp), at),
            Body::Bytes(stamp, value) => Body::Bytes(map(stamp), value),
            Body::Score(stamp, score) => Body::Score(map(stamp), score),
            Body::Added(part) => Body::Added(Contribution {
                since: map(part.since),
                last: map(part.last),
                sum: part.sum,
            }),
        };
        Self { body, ..self }
    }

    /// Stands for the kind of part in digests.
    #[inline]
    pub(crate) fn tag(&self) -> u8 {
        self.row.tag
    }

    /// The bytes of the name, none when there is no name.
    #[inline]
    pub(crate) fn name_bytes(&self) -> &'a [u8] {
        self.name
    }

    /// Whether the part removes everything up to a stamp.
    pub(crate) fn is_horizon(&self) -> bool {
        self.row.owner == Owner::Key && self.row.shape == Shape::Removed
    }

    /// Whether the part only says what is removed, or that an expiry is.
    #[inline]
    pub(crate) fn is_tombstone(&self) -> bool {
        matches!(self.body, Body::Removed(_) | Body::Until(_, None))
    }

    /// About how many bytes the encoded part takes, and not fewer.
    pub(crate) fn size(&self) -> usize {
        const HEAD: usize = 1 + Stamp::LENGTH;
        const LENGTH: usize = 5;
        let name = if self.row.owner.is_collection() { LENGTH + self.name.len() } else { 0 };
        name + HEAD
            + match self.body {
                Body::Removed(_) | Body::Member(_) => 0,
                Body::Until(..) => size_of::<u64>(),
                Body::Bytes(_, value) => LENGTH + value.len(),
                Body::Score(..) => size_of::<Score>(),
                Body::Added(_) => Stamp::LENGTH + Sum::LENGTH,
            }
    }

    /// Appends the encoded part.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Body::Added(contribution) = self.body {
            out.push(self.row.tag);
            self.write_name(out);
            out.extend_from_slice(&contribution.since.to_bytes());
            out.extend_from_slice(&contribution.last.to_bytes());
            out.extend_from_slice(&contribution.sum.to_bytes());
            return;
        }
        let mut head = [0; 1 + Stamp::LENGTH];
        head[0] = self.row.tag;
        head[1..].copy_from_slice(&self.stamp().to_bytes());
        out.extend_from_slice(&head);
        self.write_name(out);
        match self.body {
            Body::Removed(_) | Body::Member(_) | Body::Added(_) => {}
            Body::Until(_, at) => out.extend_from_slice(&at.unwrap_or(NO_EXPIRY).to_le_bytes()),
            Body::Bytes(_, value) => write_bytes(out, value),
            Body::Score(_, score) => out.extend_from_slice(&score.to_bytes()),
        }
    }

    fn write_name(&self, out: &mut Vec<u8>) {
        if self.row.owner.is_collection() {
            write_bytes(out, self.name);
        }
    }

    /// Takes an encoded part off the front of `input`.
    pub(crate) fn read(input: &mut &'a [u8]) -> Result<Self, Malformed> {
        let [tag] = read_array(input)?;
        let row = ROWS.get(usize::from(tag).wrapping_sub(1)).ok_or(malformed("unknown part"))?;
        let stamp = match row.shape {
            Shape::Added => Stamp::ZERO,
            _ => read_stamp(input)?,
        };
        let name = if row.owner.is_collection() { read_bytes(input)? } else { &[] };
        let body = match row.shape {
            Shape::Removed => Body::Removed(stamp),
            Shape::Member => Body::Member(stamp),
            Shape::Until => {
                let at = u64::from_le_bytes(read_array(input)?);
                Body::Until(stamp, (at != NO_EXPIRY).then_some(at))
            }
            Shape::Bytes => Body::Bytes(stamp, read_bytes(input)?),
            Shape::Score => {
                let score = Score::from_bytes(read_array(input)?);
                Body::Score(stamp, score.ok_or(malformed("score that is not a number"))?)
            }
            Shape::Added => Body::Added(read_contribution(input)?),
        };
        if row.owner == JSON && !json::is_part(name, &body) {
            return Err(malformed("value that no document can have"));
        }
        Ok(Self { row, name, body })
    }
}

const NO_EXPIRY: u64 = u64::MAX;

/// Bytes that are not an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed effect: {what}")]
pub struct Malformed {
    what: &'static str,
}

const fn malformed(what: &'static str) -> Malformed {
    Malformed { what }
}

pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
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
    Ok(Contribution { since, last, sum: Sum::from_bytes(read_array(input)?) })
}

pub(crate) fn read_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
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

pub(crate) fn read_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = input.split_first_chunk().ok_or(malformed("cut short"))?;
    *input = tail;
    Ok(*head)
}

pub(crate) fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = input.split_at_checked(length).ok_or(malformed("cut short"))?;
    *input = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use quorate_proto::Origin;

    use super::*;

    #[test]
    fn parts_of_sorted_sets_never_change() {
        let stamp = |clock| Stamp::new(clock, Origin(0x0002_0003));
        let score = Score::new(1.5).expect("a number");
        let sum = Sum::from_bytes(*b"0123456789abcdef");
        let contribution = Contribution { since: stamp(4), last: stamp(5), sum };
        for (body, golden) in [
            (Body::Score(stamp(1), score), "0a 0000000000000001 00020003 01 6d 3ff8000000000000"),
            (
                Body::Added(contribution),
                "0b 01 6d 0000000000000004 00020003 0000000000000005 00020003 \
                 30313233343536373839616263646566",
            ),
            (Body::Removed(stamp(6)), "0c 0000000000000006 00020003 01 6d"),
        ] {
            let part = Part::element(Kind::SortedSet, b"m", body);
            let mut encoded = Vec::new();
            part.write(&mut encoded);
            let hexadecimal: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hexadecimal, golden.replace(' ', ""));
            assert!(part.size() >= encoded.len());
            let mut input = &encoded[..];
            assert_eq!(Part::read(&mut input), Ok(part));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn parts_of_documents_never_change() {
        let stamp = Stamp::new(1, Origin(2));
        for (body, golden) in [
            (Body::Bytes(stamp, b"\x02\x00"), "0d 0000000000000001 00000002 03 010161 02 0200"),
            (Body::Removed(stamp), "0f 0000000000000001 00000002 03 010161"),
        ] {
            let part = Part::element(Kind::Json, b"\x01\x01a", body);
            let mut encoded = Vec::new();
            part.write(&mut encoded);
            let hexadecimal: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hexadecimal, golden.replace(' ', ""));
            assert_eq!(Part::read(&mut &encoded[..]), Ok(part));
        }
    }

    #[test]
    fn what_no_document_can_have_is_refused() {
        for (name, cell) in [(&b"a"[..], &b"\x02\x00"[..]), (b"\x01\x01a", b"\x09\x00")] {
            let mut encoded = Vec::new();
            let body = Body::Bytes(Stamp::ZERO, cell);
            Part::element(Kind::Json, name, body).write(&mut encoded);
            assert!(Part::read(&mut &encoded[..]).is_err());
        }
    }

    #[test]
    fn a_score_that_is_not_a_number_is_refused() {
        let mut encoded = Vec::new();
        let score = Body::Score(Stamp::ZERO, Score::ZERO);
        Part::element(Kind::SortedSet, b"m", score).write(&mut encoded);
        let end = encoded.len() - 8;
        encoded[end..].copy_from_slice(&f64::NAN.to_bits().to_be_bytes());
        assert!(Part::read(&mut &encoded[..]).is_err());
    }
}
