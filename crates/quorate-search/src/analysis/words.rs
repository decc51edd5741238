//! How a text falls into words.

use alloc::string::String;

use crate::limits;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// In lower case and without escapes; the beginning of it, if it is longer than
    /// [`limits::TERM_BYTES`].
    pub text: String,
    /// Bytes of the text before it.
    pub start: usize,
    /// Bytes of the text up to its end.
    pub end: usize,
}

/// The words of a text, stop words too. Whatever is neither a letter, a digit nor `_` separates
/// words, unless it is behind a backslash; so does a backslash before anything else.
pub fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut at = 0;
    core::iter::from_fn(move || {
        while at < text.len() {
            let start = at;
            let end = word_end(text, start);
            at = end.max(start + 1);
            if end > start {
                let text = unescaped(&text[start..end]).to_lowercase();
                return Some(Word { text: bounded(text), start, end });
            }
        }
        None
    })
}

fn bounded(mut text: String) -> String {
    if text.len() > limits::TERM_BYTES {
        let end = (0..=limits::TERM_BYTES).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or_default());
    }
    text
}

/// Whether this byte of a text is a part of words without an escape.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Where the word that begins here ends.
pub(crate) fn word_end(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut end = at;
    loop {
        match bytes.get(end) {
            Some(&byte) if is_word(byte) => end += 1,
            Some(b'\\') if bytes.get(end + 1).is_some_and(|&next| !is_word(next)) => end += 2,
            _ => return end,
        }
    }
}

/// A text without its escapes.
pub(crate) fn unescaped(text: &str) -> String {
    if !text.contains('\\') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    plain
}
