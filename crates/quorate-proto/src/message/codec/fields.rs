//! The fields that the bodies of messages are made of.

use alloc::{boxed::Box, string::String, vec::Vec};

use bytes::{Buf as _, Bytes};

use super::{
    super::{Cause, RefusalCode, Scope},
    MessageError,
};
use crate::{CallId, Level, Slot, slot::GROUPS};

/// What encoded fields are written to.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// The last bytes of a body, which may be shared instead of copied.
    fn put_rest(&mut self, bytes: &Bytes) {
        self.put(bytes);
    }
}

/// A body in two pieces: fields that are copied, and its last bytes, which are shared if it ends with
/// some.
#[derive(Default)]
pub(super) struct Split {
    pub(super) head: Vec<u8>,
    pub(super) rest: Bytes,
}

impl Sink for Split {
    fn put(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
    }

    fn put_rest(&mut self, bytes: &Bytes) {
        self.rest = bytes.clone();
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the bytes and keeps none.
pub(super) struct Length(pub(super) usize);

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// What is left of a body.
pub(super) struct Input {
    pub(super) kind: u8,
    pub(super) rest: Bytes,
}

/// A type that has one encoding.
pub(super) trait Field: Sized {
    fn put(&self, out: &mut impl Sink);

    fn take(input: &mut Input) -> Result<Self, MessageError>;

    fn put_list(items: &[Self], out: &mut impl Sink) {
        put_count(out, items.len());
        items.iter().for_each(|item| item.put(out));
    }

    /// A list. Its count allocates nothing: every item is at least two bytes that must be there.
    fn take_list(input: &mut Input) -> Result<Vec<Self>, MessageError> {
        let count = u32::take(input)? as usize;
        if count > input.rest.len() / 2 {
            return Err(MessageError::CutShort(input.kind));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(Self::take(input)?);
        }
        Ok(items)
    }
}

/// One of several encodings of a type.
pub(super) trait Codec<T> {
    fn put(value: &T, out: &mut impl Sink);

    fn take(input: &mut Input) -> Result<T, MessageError>;
}

/// The encoding that the type has.
pub(super) struct Plain;

impl<T: Field> Codec<T> for Plain {
    fn put(value: &T, out: &mut impl Sink) {
        value.put(out);
    }

    fn take(input: &mut Input) -> Result<T, MessageError> {
        T::take(input)
    }
}

/// A group of slots.
pub(super) struct Group;

impl Codec<u16> for Group {
    fn put(group: &u16, out: &mut impl Sink) {
        group.put(out);
    }

    fn take(input: &mut Input) -> Result<u16, MessageError> {
        let group = u16::take(input)?;
        if group < GROUPS { Ok(group) } else { Err(input.field("group")) }
    }
}

/// What may be missing.
pub(super) struct Optional;

impl<T: Field> Codec<Option<T>> for Optional {
    fn put(value: &Option<T>, out: &mut impl Sink) {
        value.is_some().put(out);
        value.iter().for_each(|value| value.put(out));
    }

    fn take(input: &mut Input) -> Result<Option<T>, MessageError> {
        if bool::take(input)? { T::take(input).map(Some) } else { Ok(None) }
    }
}

/// Bytes up to the end of the body, without their length.
pub(super) struct Rest;

impl Codec<Bytes> for Rest {
    fn put(bytes: &Bytes, out: &mut impl Sink) {
        out.put_rest(bytes);
    }

    fn take(input: &mut Input) -> Result<Bytes, MessageError> {
        Ok(core::mem::take(&mut input.rest))
    }
}

pub(super) fn put_count(out: &mut impl Sink, count: usize) {
    u32::try_from(count).expect("invariant: messages stay below 4 GiB").put(out);
}

impl Input {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let head = self.rest.first_chunk().copied().ok_or(MessageError::CutShort(self.kind))?;
        self.rest.advance(N);
        Ok(head)
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, MessageError> {
        if self.rest.len() < length {
            return Err(MessageError::CutShort(self.kind));
        }
        Ok(self.rest.split_to(length))
    }

    /// Whether `mark` is next. Then it is passed.
    pub(super) fn passes(&mut self, mark: u16) -> bool {
        let is_next = self.rest.starts_with(&mark.to_le_bytes());
        self.rest.advance(if is_next { 2 } else { 0 });
        is_next
    }

    pub(super) fn field(&self, field: &'static str) -> MessageError {
        MessageError::Field { kind: self.kind, field }
    }
}

macro_rules! integers {
    ($($integer:ident),*) => {$(
        impl Field for $integer {
            fn put(&self, out: &mut impl Sink) {
                out.put(&self.to_le_bytes());
            }

            fn take(input: &mut Input) -> Result<Self, MessageError> {
                Ok(Self::from_le_bytes(input.array()?))
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, u128, i32);

impl Field for bool {
    fn put(&self, out: &mut impl Sink) {
        u8::from(*self).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        match u8::take(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(input.field("boolean")),
        }
    }
}

impl Field for String {
    fn put(&self, out: &mut impl Sink) {
        // Texts come from names bounded far below this and from our own errors.
        let mut length = self.len().min(usize::from(u16::MAX));
        while !self.is_char_boundary(length) {
            length -= 1;
        }
        (length as u16).put(out);
        out.put(&self.as_bytes()[..length]);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let length = u16::take(input)?;
        let bytes = input.bytes(usize::from(length))?;
        core::str::from_utf8(&bytes).map(Self::from).map_err(|_| input.field("string"))
    }
}

impl Field for Bytes {
    fn put(&self, out: &mut impl Sink) {
        put_count(out, self.len());
        out.put(self);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let length = u32::take(input)?;
        input.bytes(length as usize)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut impl Sink) {
        T::put_list(self, out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        T::take_list(input)
    }
}

impl<T: Field> Field for Box<T> {
    fn put(&self, out: &mut impl Sink) {
        (**self).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        T::take(input).map(Self::new)
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut impl Sink) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

impl Field for Slot {
    fn put(&self, out: &mut impl Sink) {
        self.number().put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Self::new(u16::take(input)?).ok_or(input.field("slot"))
    }
}

/// Stands where no slot is meant.
const NO_SLOT: u16 = u16::MAX;

impl Field for Option<Slot> {
    fn put(&self, out: &mut impl Sink) {
        self.map_or(NO_SLOT, Slot::number).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        match u16::take(input)? {
            NO_SLOT => Ok(None),
            number => Slot::new(number).map(Some).ok_or(input.field("slot")),
        }
    }
}

impl Field for CallId {
    fn put(&self, out: &mut impl Sink) {
        out.put(&self.to_bytes());
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Ok(Self::from_bytes(input.array()?))
    }
}

impl Field for Level {
    fn put(&self, out: &mut impl Sink) {
        (*self as u8).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Self::from_code(u8::take(input)?).ok_or(input.field("level"))
    }
}

impl Field for Scope {
    fn put(&self, out: &mut impl Sink) {
        (*self == Self::Everything).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Ok(if bool::take(input)? { Self::Everything } else { Self::Alive })
    }
}

impl Field for RefusalCode {
    fn put(&self, out: &mut impl Sink) {
        (*self as u8).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let code = u8::take(input)?;
        Self::ALL.into_iter().find(|one| *one as u8 == code).ok_or(input.field("code"))
    }
}

impl Field for Cause {
    fn put(&self, out: &mut impl Sink) {
        (*self as u8).put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let code = u8::take(input)?;
        Self::ALL.into_iter().find(|one| *one as u8 == code).ok_or(input.field("cause"))
    }
}
