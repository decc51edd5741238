//! Words of clients in the texts of errors.
//!
//! Errors are put together as strings, but a word may be any bytes. A byte of it that is not UTF-8
//! stands in the string as a character of its own, from a private range, until the error is
//! written: then it is that byte again. A word with characters of this range is taken for bytes as
//! well, so nothing is mistaken.

use alloc::string::String;

/// The character that stands for a byte is this much above it. Bytes below 0x80 are always UTF-8,
/// so that no character stands for the end of a line.
const BASE: u32 = 0x10_ff00;

/// A word as it is shown in an error: as far as its first zero byte, where Redis ends it too.
pub fn quoted(word: &[u8]) -> String {
    let end = memchr::memchr(0, word).unwrap_or(word.len());
    let mut text = String::with_capacity(end);
    for chunk in word[..end].utf8_chunks() {
        for character in chunk.valid().chars() {
            match byte_of(character) {
                None => text.push(character),
                Some(_) => {
                    text.extend(character.encode_utf8(&mut [0; 4]).bytes().map(character_of))
                }
            }
        }
        text.extend(chunk.invalid().iter().copied().map(character_of));
    }
    text
}

/// The bytes of a text with quoted words.
pub(super) fn bytes(text: &str) -> impl Iterator<Item = u8> {
    text.chars().flat_map(|character| {
        let mut encoded = [0; 4];
        let length = match byte_of(character) {
            Some(byte) => {
                encoded[0] = byte;
                1
            }
            None => character.encode_utf8(&mut encoded).len(),
        };
        encoded.into_iter().take(length)
    })
}

fn character_of(byte: u8) -> char {
    char::from_u32(BASE + u32::from(byte)).expect("invariant: the range has a character for a byte")
}

fn byte_of(character: char) -> Option<u8> {
    let byte = u32::from(character).checked_sub(BASE)?;
    u8::try_from(byte).ok().filter(|byte| !byte.is_ascii())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_word_is_written_as_it_came(word in prop::collection::vec(1..=u8::MAX, 0..20)) {
            prop_assert_eq!(bytes(&quoted(&word)).collect::<Vec<u8>>(), word);
        }
    }

    #[test]
    fn characters_of_the_range_and_zeros() {
        for word in ["\u{10ff80}", "a\u{10ffff}", "\u{10ff0a}", "\u{10feff}é"] {
            assert_eq!(bytes(&quoted(word.as_bytes())).collect::<Vec<u8>>(), word.as_bytes());
        }
        assert_eq!(quoted(b"a\0b"), "a");
    }
}
