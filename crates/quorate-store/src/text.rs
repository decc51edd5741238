//! The bytes of a string or of a hash field, as a cell keeps them.
//!
//! A long value is kept as it is sent, an encoded bulk string in one piece of shared bytes. A reply
//! that shows it refers to the same bytes, however many clients ask for it and however slowly they
//! read.
//!
//! ```text
//!  short   value
//!  long    "$" length "\r\n" value "\r\n"      RESP2 and RESP3 alike
//! ```

use std::fmt;

use bytes::Bytes;
use quorate_proto::resp::ReplyWriter;

use crate::{cell::Stored, part::Body};

/// Values from this length on are shared. To copy a shorter one costs less than to send it apart.
pub const SHARED_LENGTH_MIN: usize = 32 << 10;

/// Behind the value in a bulk string.
const END: &[u8] = b"\r\n";

/// A value, or none.
#[derive(Clone)]
pub struct Text(Repr);

/// Two words, like a boxed slice: most values are short, and there are many.
#[derive(Clone)]
enum Repr {
    Short(Box<[u8]>),
    /// No value, or a long one.
    Other(Option<Box<Bulk>>),
}

const _: () = assert!(size_of::<Text>() == size_of::<Box<[u8]>>());

/// An encoded bulk string.
#[derive(Clone)]
struct Bulk {
    encoded: Bytes,
    /// Where the value begins.
    start: usize,
}

impl Bulk {
    fn new(value: &[u8]) -> Self {
        let mut encoded = Vec::new();
        encoded.reserve_exact(value.len() + 16);
        ReplyWriter::new(&mut encoded, false).bulk(value);
        let start = encoded.len() - END.len() - value.len();
        Self { encoded: encoded.into(), start }
    }

    fn value(&self) -> &[u8] {
        &self.encoded[self.start..self.encoded.len() - END.len()]
    }
}

impl Text {
    /// The reply that shows the value, shared with the cell; `None` where a copy costs less.
    pub(crate) fn shared_reply(&self) -> Option<Bytes> {
        match &self.0 {
            Repr::Other(bulk) => bulk.as_ref().map(|bulk| bulk.encoded.clone()),
            Repr::Short(_) => None,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(Repr::Other(None))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl Stored for Text {
    type View<'a> = &'a [u8];

    #[inline]
    fn view(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Short(value) => Some(value),
            Repr::Other(bulk) => bulk.as_ref().map(|bulk| bulk.value()),
        }
    }

    fn of<'a>(body: &Body<'a>) -> Option<&'a [u8]> {
        if let Body::Bytes(_, value) = body { Some(value) } else { None }
    }

    fn is_below(old: &[u8], new: &[u8]) -> bool {
        old < new
    }

    #[inline]
    fn put(&mut self, new: Option<&[u8]>) {
        self.0 = match (&mut self.0, new) {
            // Overwriting in place spares an allocation on the commonest write of all.
            (Repr::Short(old), Some(new)) if old.len() == new.len() => {
                return old.copy_from_slice(new);
            }
            (_, Some(new)) if new.len() < SHARED_LENGTH_MIN => Repr::Short(new.into()),
            (_, new) => Repr::Other(new.map(|new| Box::new(Bulk::new(new)))),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_length_are_what_was_put() {
        let mut text = Text::default();
        assert_eq!(text.view(), None);
        for length in [0, 1, SHARED_LENGTH_MIN - 1, SHARED_LENGTH_MIN, 1 << 20, 5] {
            let value: Vec<u8> = (0..=255).cycle().take(length).collect();
            text.put(Some(&value));
            assert_eq!(text.view(), Some(&value[..]));
            let mut reply = Vec::new();
            ReplyWriter::new(&mut reply, true).bulk(&value);
            let shared = text.shared_reply();
            assert_eq!(shared.is_some(), length >= SHARED_LENGTH_MIN);
            assert!(shared.is_none_or(|shared| shared == reply));
        }
        text.put(None);
        assert_eq!((text.view(), text.shared_reply()), (None, None));
    }

    #[test]
    fn a_reply_keeps_what_it_shows_when_the_value_changes() {
        let mut text = Text::default();
        text.put(Some(&[b'a'; SHARED_LENGTH_MIN]));
        let reply = text.shared_reply().expect("is long");
        text.put(Some(&[b'b'; SHARED_LENGTH_MIN]));
        assert!(reply[8..8 + SHARED_LENGTH_MIN].iter().all(|byte| *byte == b'a'));
    }
}
