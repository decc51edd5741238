//! Names of the elements of a document: the way from its root, so that everything below a value is
//! a range of names.
//!
//! ```text
//! name  := step*                        none for the root; at most 127
//! step  := 1 length:varint key          a member of an object
//!        | 2 place                      an item of an array, see `place`
//! ```
//! No step begins another one.

use super::place;

/// Steps of a name, at most: values lie no deeper, so that a document can be read back as a text.
pub(crate) const DEPTH_MAX: usize = 127;

/// Bytes of a name, at most. Every element has its own.
pub(crate) const LENGTH_MAX: usize = 16 << 10;

pub(super) const KEY: u8 = 1;
pub(super) const ITEM: u8 = 2;

/// One step down from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// To a member of an object.
    Key(&'a str),
    /// To an item of an array.
    Item(&'a [u8]),
}

/// Appends the step to a member.
pub(crate) fn push_key(name: &mut Vec<u8>, key: &str) {
    name.push(KEY);
    write_varint(name, key.len() as u64);
    name.extend_from_slice(key.as_bytes());
}

/// Appends the step to an item.
pub(crate) fn push_item(name: &mut Vec<u8>, place: &[u8]) {
    name.push(ITEM);
    name.extend_from_slice(place);
}

/// Takes a step off the front of a name; `None` at its end, and where none begins.
pub(crate) fn take_step<'a>(name: &mut &'a [u8]) -> Option<Step<'a>> {
    let (tag, mut rest) = name.split_first()?;
    let step = match *tag {
        KEY => {
            let length = usize::try_from(take_varint(&mut rest)?).ok()?;
            let (key, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Step::Key(std::str::from_utf8(key).ok()?)
        }
        ITEM => Step::Item(place::take(&mut rest)?),
        _ => return None,
    };
    *name = rest;
    Some(step)
}

/// Whether the step that begins here is one to an item.
pub(crate) fn is_item(rest: &[u8]) -> bool {
    rest.first() == Some(&ITEM)
}

/// How many steps a name has; `None` when it is none.
pub(crate) fn depth(mut name: &[u8]) -> Option<usize> {
    let mut steps = 0;
    while !name.is_empty() {
        take_step(&mut name)?;
        steps += 1;
    }
    Some(steps)
}

/// Whether a document may have an element of this name.
pub(crate) fn is_valid(name: &[u8]) -> bool {
    depth(name).is_some_and(|steps| steps <= DEPTH_MAX)
}

/// Appends a number (LEB128).
pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the front of `input`, in its only encoding.
pub(super) fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for at in 0..10 {
        let byte = *input.get(at)?;
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 || byte == 0 && at > 0 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            *input = &input[at + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_never_change() {
        let mut name = Vec::new();
        push_key(&mut name, "ab");
        push_item(&mut name, &place::encode(&place::fresh(2).nth(1).expect("two places")));
        assert_eq!(name, b"\x01\x02ab\x02\x00\x00\x02\x00\x00\x00");
        assert!(is_valid(&name) && is_valid(b""));
        let mut rest = &name[..];
        assert_eq!(take_step(&mut rest), Some(Step::Key("ab")));
        assert!(matches!(take_step(&mut rest), Some(Step::Item(_))) && rest.is_empty());
    }

    #[test]
    fn what_is_too_deep_or_no_text_is_no_name() {
        let mut name = Vec::new();
        (0..DEPTH_MAX).for_each(|_| push_key(&mut name, ""));
        assert!(is_valid(&name));
        push_key(&mut name, "");
        assert!(!is_valid(&name));
        assert!(!is_valid(b"\x01\x01\xff") && !is_valid(b"\x01\x81\x00a") && !is_valid(b"\x03"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn numbers_are_read_as_they_were_written(value: u64) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            prop_assert_eq!(take_varint(&mut &bytes[..]), Some(value));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            is_valid(&bytes);
        }
    }
}
