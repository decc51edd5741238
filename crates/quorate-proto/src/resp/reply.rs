//! Reading replies back: for clients, and for joining the replies of split commands.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;

use super::ProtocolError;
use crate::limits::REPLY_DEPTH_MAX;

/// A decoded reply of either protocol version.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Nil,
    /// A simple string such as `OK`.
    Simple(String),
    /// An error: code word and text.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A bulk or verbatim string.
    Bulk(Bytes),
    /// A floating-point number.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// An integer of any size, in decimal.
    BigNumber(String),
    /// An array, or a push message.
    Array(Vec<Value>),
    /// A set.
    Set(Vec<Value>),
    /// A map, in the order sent.
    Map(Vec<(Value, Value)>),
}

/// The head of one reply: what follows is `Leaf` (complete), or that many nested replies.
struct Head<'a> {
    kind: u8,
    /// The line behind the kind, or the contents of a string.
    body: &'a [u8],
    children: usize,
    /// Bytes of the head, contents included.
    length: usize,
}

const USUAL: [&[u8]; 3] = [b"+OK\r\n", b":1\r\n", b":0\r\n"];

/// An encoded reply that most writes have, without memory of its own, if it is one.
pub fn usual(reply: &[u8]) -> Option<Bytes> {
    let found = USUAL.into_iter().find(|usual| *usual == reply);
    found.map(Bytes::from_static)
}

/// The same encoded reply. A usual one takes no memory, and does not keep what it was part of.
pub fn shared(reply: Bytes) -> Bytes {
    usual(&reply).unwrap_or(reply)
}

/// A copy of an encoded reply. That of a usual one takes no memory.
pub fn kept(reply: &[u8]) -> Bytes {
    usual(reply).unwrap_or_else(|| Bytes::copy_from_slice(reply))
}

/// The length of the first whole reply in `input`, or `None` when more bytes are needed.
pub fn skip(input: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let mut position = 0;
    let mut stack: Vec<usize> = Vec::new();
    loop {
        let Some(head) = head(&input[position..])? else {
            return Ok(None);
        };
        position += head.length;
        if head.children > 0 {
            if stack.len() == REPLY_DEPTH_MAX {
                return Err(ProtocolError::ReplyDepth);
            }
            stack.push(head.children);
            continue;
        }
        if head.kind == b'|' {
            continue; // Attributes stand before the reply that they describe.
        }
        loop {
            match stack.last_mut() {
                None => return Ok(Some(position)),
                Some(1) => {
                    stack.pop();
                }
                Some(left) => {
                    *left -= 1;
                    break;
                }
            }
        }
    }
}

impl Value {
    /// Decodes the first whole reply in `input` and returns it with its length, or `None` when
    /// more bytes are needed.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(length) = skip(input)? else {
            return Ok(None);
        };
        let mut position = 0;
        let value = decode_next(&input[..length], &mut position)?;
        Ok(Some((value, length)))
    }

    /// The text of a string, number or error, for people.
    pub fn to_text(&self) -> String {
        use alloc::string::ToString as _;
        match self {
            Self::Nil => String::new(),
            Self::Simple(text) | Self::Error(text) | Self::BigNumber(text) => text.clone(),
            Self::Integer(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Array(values) | Self::Set(values) => {
                let texts: Vec<String> = values.iter().map(Self::to_text).collect();
                texts.join(" ")
            }
            Self::Map(pairs) => {
                let texts: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| alloc::format!("{}={}", name.to_text(), value.to_text()))
                    .collect();
                texts.join(" ")
            }
        }
    }
}

/// Decodes a reply that `skip` has found whole. Its depth is bounded there.
fn decode_next(input: &[u8], position: &mut usize) -> Result<Value, ProtocolError> {
    let head = head(&input[*position..])?.ok_or(ProtocolError::Reply)?;
    *position += head.length;
    let mut children = |count: usize| -> Result<Vec<Value>, ProtocolError> {
        (0..count).map(|_| decode_next(input, position)).collect()
    };
    Ok(match head.kind {
        b'+' => Value::Simple(text(head.body)),
        b'-' | b'!' => Value::Error(text(head.body)),
        b':' => Value::Integer(super::parse_integer(head.body).ok_or(ProtocolError::Reply)?),
        b'$' => Value::Bulk(Bytes::copy_from_slice(head.body)),
        b'=' => Value::Bulk(Bytes::copy_from_slice(head.body.get(4..).unwrap_or_default())),
        b',' => Value::Double(text(head.body).parse().map_err(|_| ProtocolError::Reply)?),
        b'#' => Value::Boolean(head.body == b"t"),
        b'(' => Value::BigNumber(text(head.body)),
        b'*' | b'>' => Value::Array(children(head.children)?),
        b'~' => Value::Set(children(head.children)?),
        b'%' => {
            let mut values = children(head.children)?.into_iter();
            let mut pairs = Vec::new();
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                pairs.push((name, value));
            }
            Value::Map(pairs)
        }
        b'|' => {
            children(head.children)?;
            decode_next(input, position)?
        }
        _ => Value::Nil,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn head(input: &[u8]) -> Result<Option<Head<'_>>, ProtocolError> {
    let Some(&kind) = input.first() else {
        return Ok(None);
    };
    let Some(end) = memchr::memchr(b'\r', &input[1..]).map(|at| at + 1) else {
        return Ok(None);
    };
    if input.len() < end + 2 {
        return Ok(None);
    }
    let body = &input[1..end];
    let line_length = end + 2;
    let leaf = Head { kind, body, children: 0, length: line_length };
    let number = || match super::parse_integer(body) {
        Some(-1) => Ok(None),
        Some(count) => usize::try_from(count).map(Some).map_err(|_| ProtocolError::Reply),
        None => Err(ProtocolError::Reply),
    };
    match kind {
        b'+' | b'-' | b':' | b',' | b'#' | b'(' => Ok(Some(leaf)),
        b'_' => Ok(Some(Head { kind: b'_', ..leaf })),
        b'$' | b'!' | b'=' => {
            let Some(length) = number()? else {
                return Ok(Some(Head { kind: b'_', ..leaf }));
            };
            let whole = line_length.checked_add(length).and_then(|end| end.checked_add(2));
            match whole {
                Some(whole) if input.len() >= whole => {
                    let body = &input[line_length..line_length + length];
                    Ok(Some(Head { kind, body, children: 0, length: whole }))
                }
                Some(_) => Ok(None),
                None => Err(ProtocolError::Reply),
            }
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let Some(count) = number()? else {
                return Ok(Some(Head { kind: b'_', ..leaf }));
            };
            let pairs = matches!(kind, b'%' | b'|');
            let children = if pairs { count.checked_mul(2) } else { Some(count) };
            Ok(Some(Head { children: children.ok_or(ProtocolError::Reply)?, ..leaf }))
        }
        _ => Err(ProtocolError::Reply),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLES: [&[u8]; 12] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-12\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n",
        b"=6\r\ntxt:hi\r\n",
        b",3.25\r\n",
        b"#t\r\n",
        b"(123456789012345678901234567890\r\n",
    ];

    #[test]
    fn whole_replies_are_measured_and_cut_ones_wait() {
        for sample in SAMPLES {
            assert_eq!(skip(sample), Ok(Some(sample.len())));
            for cut in 0..sample.len() {
                assert_eq!(skip(&sample[..cut]), Ok(None), "{sample:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn values_decode() {
        let decode = |bytes: &[u8]| Value::decode(bytes).expect("valid").expect("whole").0;
        assert_eq!(decode(SAMPLES[3]), Value::Bulk(Bytes::from_static(b"a\r\nbc")));
        assert_eq!(decode(SAMPLES[4]), Value::Nil);
        assert_eq!(
            decode(SAMPLES[7]),
            Value::Array(alloc::vec![
                Value::Array(alloc::vec![Value::Integer(1)]),
                Value::Map(alloc::vec![(
                    Value::Simple("a".into()),
                    Value::Set(alloc::vec![Value::Integer(1), Value::Integer(2)])
                )]),
            ])
        );
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let bytes = b"*1\r\n".repeat(100_000);
        assert_eq!(skip(&bytes), Err(ProtocolError::ReplyDepth));
    }

    #[test]
    fn a_line_end_in_place_of_a_kind_is_no_reply() {
        assert_eq!(skip(b"\r\n\r\n"), Err(ProtocolError::Reply));
        assert_eq!(skip(b"\r"), Ok(None));
    }

    #[test]
    fn a_hostile_count_allocates_nothing() {
        assert_eq!(skip(b"*9223372036854775807\r\n"), Ok(None));
        assert_eq!(skip(b"%9223372036854775807\r\n"), Ok(None));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::decode(&bytes);
        }
    }
}
