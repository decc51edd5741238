//! Inline commands: a line of words, as typed into a terminal.

use alloc::vec::Vec;

use bytes::BytesMut;

use super::{Command, ProtocolError};
use crate::limits::LINE_LENGTH_MAX;

pub(super) enum Taken {
    /// The line has not ended yet.
    Incomplete,
    /// The line had no words.
    Empty,
    Command(Command),
}

/// Takes one line out of `input` and splits it into words.
pub(super) fn take(input: &mut BytesMut) -> Result<Taken, ProtocolError> {
    let Some(newline) = memchr::memchr(b'\n', input) else {
        return if input.len() > LINE_LENGTH_MAX {
            Err(ProtocolError::InlineLine)
        } else {
            Ok(Taken::Incomplete)
        };
    };
    let line = input.split_to(newline + 1);
    let line = &line[..newline];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words = split_words(line)?;
    if words.is_empty() {
        return Ok(Taken::Empty);
    }
    Ok(Taken::Command(Command::from_args(words)))
}

/// Splits at spaces, honouring double quotes with escapes and single quotes.
fn split_words(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after;
    }
}

fn take_word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Ok((word, rest)),
            [space, after @ ..] if space.is_ascii_whitespace() || *space == 0 => {
                return Ok((word, after));
            }
            [b'"', after @ ..] => {
                rest = take_double_quoted(after, &mut word)?;
                return after_quote(rest, word);
            }
            [b'\'', after @ ..] => {
                rest = take_single_quoted(after, &mut word)?;
                return after_quote(rest, word);
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// A closing quote must be followed by a space or nothing.
fn after_quote(rest: &[u8], word: Vec<u8>) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    match rest.first() {
        Some(byte) if !byte.is_ascii_whitespace() => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok((word, rest)),
    }
}

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) * 16 + hex(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_quoted() {
        let words = split_words(br#"SET key "a \"b\"\n\x41\q" 'it\'s' x"y""#);
        assert_eq!(
            words,
            Ok(alloc::vec![
                b"SET".to_vec(),
                b"key".to_vec(),
                b"a \"b\"\nAq".to_vec(),
                b"it's".to_vec(),
                b"xy".to_vec(),
            ])
        );
    }

    #[test]
    fn quotes_must_be_balanced() {
        for line in [r#""a"#, "'a", r#""a"b"#, "'a'b"] {
            assert_eq!(
                split_words(line.as_bytes()),
                Err(ProtocolError::UnbalancedQuotes),
                "{line}"
            );
        }
    }
}
