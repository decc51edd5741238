//! What one element of a document holds: a scalar, or that an object or an array begins there.
//!
//! ```text
//! cell    := kind:u8 age:varint payload
//! age     := clock of the stamp - clock of when the member came into its object
//! payload := 0 null | 1 false | 2 true | 7 object | 8 array      nothing
//!          | 3 integer                                           zigzag:varint
//!          | 4 integer above 2^63 - 1                            varint
//!          | 5 double                                            bits, big-endian; always finite
//!          | 6 string                                            UTF-8
//! ```

use quorate_proto::Stamp;

use super::{
    name::{take_varint, write_varint},
    number::Number,
};
use crate::{
    cell::{Stored, Value},
    part::Body,
    record::Encoded,
    varint::{zigzag, zigzag_back},
};

/// What a cell stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Leaf<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a str),
    Object,
    Array,
}

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const UNSIGNED: u8 = 4;
const DOUBLE: u8 = 5;
const TEXT: u8 = 6;
const OBJECT: u8 = 7;
const ARRAY: u8 = 8;

/// An encoded cell of which only the age is missing.
#[derive(Debug)]
pub(crate) struct WithoutAge {
    kind: u8,
    payload: Vec<u8>,
}

impl WithoutAge {
    /// Bytes of the kind and the payload.
    pub(crate) fn len(&self) -> usize {
        1 + self.payload.len()
    }

    /// The encoded cell.
    pub(crate) fn encode(&self, age: u64) -> Vec<u8> {
        let mut cell = vec![self.kind];
        write_varint(&mut cell, age);
        cell.extend_from_slice(&self.payload);
        cell
    }
}

impl Leaf<'_> {
    /// The encoded cell.
    pub(crate) fn encode(self, age: u64) -> Vec<u8> {
        self.without_age().encode(age)
    }

    /// The same before its age is known.
    pub(crate) fn without_age(self) -> WithoutAge {
        let mut payload = Vec::new();
        let kind = match self {
            Self::Null => NULL,
            Self::Bool(false) => FALSE,
            Self::Bool(true) => TRUE,
            Self::Number(Number::Integer(value)) => {
                write_varint(&mut payload, zigzag(value));
                INTEGER
            }
            Self::Number(Number::Unsigned(value)) => {
                write_varint(&mut payload, value);
                UNSIGNED
            }
            Self::Number(Number::Double(value)) => {
                payload.extend(value.to_bits().to_be_bytes());
                DOUBLE
            }
            Self::Text(text) => {
                payload.extend_from_slice(text.as_bytes());
                TEXT
            }
            Self::Object => OBJECT,
            Self::Array => ARRAY,
        };
        WithoutAge { kind, payload }
    }
}

/// An encoded cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a>(&'a [u8]);

impl<'a> Held<'a> {
    /// The cell in the body of a part; `None` when it holds none.
    pub(crate) fn checked(bytes: &'a [u8]) -> Option<Self> {
        decode(bytes).map(|_| Self(bytes))
    }

    /// What it stands for.
    pub(crate) fn leaf(self) -> Leaf<'a> {
        decode(self.0).map_or(Leaf::Null, |(_, leaf)| leaf)
    }

    /// How long before its stamp the member had come into its object.
    pub(crate) fn age(self) -> u64 {
        decode(self.0).map_or(0, |(age, _)| age)
    }

    /// Bytes that it takes.
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }
}

fn decode(bytes: &[u8]) -> Option<(u64, Leaf<'_>)> {
    let (kind, mut rest) = bytes.split_first()?;
    let age = take_varint(&mut rest)?;
    let leaf = match *kind {
        NULL => Leaf::Null,
        FALSE => Leaf::Bool(false),
        TRUE => Leaf::Bool(true),
        INTEGER => Leaf::Number(Number::Integer(zigzag_back(take_varint(&mut rest)?))),
        UNSIGNED => Leaf::Number(Number::Unsigned(
            take_varint(&mut rest).filter(|value| *value > i64::MAX as u64)?,
        )),
        DOUBLE => {
            let (bits, behind) = rest.split_first_chunk()?;
            rest = behind;
            let value = f64::from_bits(u64::from_be_bytes(*bits));
            Leaf::Number(Number::Double(Some(value).filter(|value| value.is_finite())?))
        }
        TEXT => Leaf::Text(std::str::from_utf8(std::mem::take(&mut rest)).ok()?),
        OBJECT => Leaf::Object,
        ARRAY => Leaf::Array,
        _ => return None,
    };
    rest.is_empty().then_some((age, leaf))
}

impl<'a> Value<'a> for Held<'a> {
    fn body(self, stamp: Stamp) -> Body<'a> {
        Body::Bytes(stamp, self.0)
    }

    fn write(self, out: &mut Encoded) {
        out.extend_from_slice(self.0);
    }

    fn read(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

/// The bytes of a cell, or none.
#[derive(Clone, Debug, Default)]
pub struct HeldBytes(Option<Box<[u8]>>);

impl Stored for HeldBytes {
    type View<'a> = Held<'a>;

    fn view(&self) -> Option<Held<'_>> {
        self.0.as_deref().map(Held)
    }

    fn of<'a>(body: &Body<'a>) -> Option<Held<'a>> {
        if let Body::Bytes(_, bytes) = body { Some(Held(bytes)) } else { None }
    }

    fn is_below(old: Held<'_>, new: Held<'_>) -> bool {
        old.0 < new.0
    }

    fn put(&mut self, new: Option<Held<'_>>) {
        self.0 = new.map(|held| held.0.into());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_never_change() {
        for (leaf, golden) in [
            (Leaf::Null, "00 05"),
            (Leaf::Bool(true), "02 05"),
            (Leaf::Number(Number::Integer(-3)), "03 05 05"),
            (Leaf::Number(Number::Unsigned(1 << 63)), "04 05 80808080808080808001"),
            (Leaf::Number(Number::Double(1.5)), "05 05 3ff8000000000000"),
            (Leaf::Text("ab"), "06 05 6162"),
            (Leaf::Object, "07 05"),
            (Leaf::Array, "08 05"),
        ] {
            let cell = leaf.encode(5);
            let hexadecimal: String = cell.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hexadecimal, golden.replace(' ', ""));
            let held = Held::checked(&cell).expect("a cell");
            assert_eq!((held.leaf(), held.age()), (leaf, 5));
        }
    }

    #[test]
    fn what_stands_for_nothing_is_no_cell() {
        for bytes in
            [&b""[..], b"\x09\x00", b"\x00", b"\x00\x00\x00", b"\x06\x00\xff", b"\x04\x00\x01"]
        {
            assert_eq!(Held::checked(bytes), None, "{bytes:?}");
        }
        let infinite = [&b"\x05\x00"[..], &f64::INFINITY.to_bits().to_be_bytes()].concat();
        assert_eq!(Held::checked(&infinite), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let _ = Held::checked(&bytes);
        }
    }
}
