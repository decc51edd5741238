//! The words and signs of a query.

use alloc::string::String;
use alloc::vec::Vec;

use crate::analysis::{is_word, word_end};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word of a text, with its escapes.
    Word,
    /// A number in decimal, perhaps with a sign.
    Number,
    /// `@name`; the text is the name.
    Modifier,
    /// `$name`; the text is the name.
    Attribute,
    /// `"..."`; the text is what is inside.
    Quoted,
    /// `'...'`; the text is what is inside.
    Literal,
    /// `w'...'`; the text is what is inside.
    Wildcard,
    Or,
    Open,
    Close,
    BracketOpen,
    BracketClose,
    BraceOpen,
    BraceClose,
    Colon,
    Semicolon,
    Minus,
    Tilde,
    Star,
    Percent,
    /// A `"` that is never closed.
    Quote,
    Arrow,
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    /// Behind the last one.
    End,
}

impl Kind {
    /// Whether it says what a word is, or a part of one.
    pub(super) fn is_part_of_word(self) -> bool {
        matches!(self, Kind::Word | Kind::Number | Kind::Attribute | Kind::Quoted)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'q> {
    pub(super) kind: Kind,
    /// Bytes of the query before it.
    pub(super) at: usize,
    /// What the kind says; empty for signs.
    pub(super) text: &'q str,
    /// Whether nothing is between it and the one before.
    pub(super) glued: bool,
}

/// The tokens of a query, without an end. What is neither a word nor a sign separates.
///
/// `first_dialect` knows neither comparisons nor literals nor wildcards.
pub(super) fn tokens(query: &str, first_dialect: bool) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut previous_end = usize::MAX;
    while at < query.len() {
        let Some((kind, text, end)) = Scan { query, first_dialect }.token(at) else {
            at += 1;
            continue;
        };
        tokens.push(Token { kind, at, text, glued: at == previous_end });
        at = end;
        previous_end = end;
    }
    tokens
}

struct Scan<'q> {
    query: &'q str,
    first_dialect: bool,
}

impl<'q> Scan<'q> {
    /// The token that begins here: its kind, its text and where it ends.
    fn token(&self, at: usize) -> Option<(Kind, &'q str, usize)> {
        let bytes = self.query.as_bytes();
        let word = word_end(self.query, at);
        if let Some(number) = number_end(bytes, at).filter(|&end| end >= word) {
            return Some((Kind::Number, &self.query[at..number], number));
        }
        match bytes[at] {
            b'w' if !self.first_dialect && word == at + 1 => {
                if let Some((inside, end)) = self.enclosed(at + 1, b'\'')
                    && !inside.is_empty()
                {
                    return Some((Kind::Wildcard, inside, end));
                }
            }
            b'@' | b'$' => {
                let end = word_end(self.query, at + 1);
                let kind = if bytes[at] == b'@' { Kind::Modifier } else { Kind::Attribute };
                return (end > at + 1).then(|| (kind, &self.query[at + 1..end], end));
            }
            b'"' => {
                return Some(match self.enclosed(at, b'"') {
                    Some((inside, end)) => (Kind::Quoted, inside, end),
                    None => (Kind::Quote, "", at + 1),
                });
            }
            b'\'' if !self.first_dialect => {
                let (inside, end) = self.enclosed(at, b'\'')?;
                return Some((Kind::Literal, inside, end));
            }
            _ => {}
        }
        if word > at {
            return Some((Kind::Word, &self.query[at..word], word));
        }
        self.sign(at)
    }

    fn sign(&self, at: usize) -> Option<(Kind, &'q str, usize)> {
        let rest = &self.query.as_bytes()[at..];
        if rest.starts_with(b"=>") {
            // RediSearch's text of an arrow, as errors show it.
            let text = self.query.get(at + 1..at + 3).unwrap_or(&self.query[at + 1..at + 2]);
            return Some((Kind::Arrow, text, at + 2));
        }
        let (kind, length) = match rest {
            [b'=', b'=', ..] => (Kind::Equal, 2),
            [b'!', b'=', ..] => (Kind::NotEqual, 2),
            [b'>', b'=', ..] => (Kind::GreaterEqual, 2),
            [b'<', b'=', ..] => (Kind::LessEqual, 2),
            [b'>', ..] => (Kind::Greater, 1),
            [b'<', ..] => (Kind::Less, 1),
            [b'|', ..] => (Kind::Or, 1),
            [b'(', ..] => (Kind::Open, 1),
            [b')', ..] => (Kind::Close, 1),
            [b'[', ..] => (Kind::BracketOpen, 1),
            [b']', ..] => (Kind::BracketClose, 1),
            [b'{', ..] => (Kind::BraceOpen, 1),
            [b'}', ..] => (Kind::BraceClose, 1),
            [b':', ..] => (Kind::Colon, 1),
            [b';', ..] => (Kind::Semicolon, 1),
            [b'-', ..] => (Kind::Minus, 1),
            [b'~', ..] => (Kind::Tilde, 1),
            [b'*', ..] => (Kind::Star, 1),
            [b'%', ..] => (Kind::Percent, 1),
            _ => return None,
        };
        let compares = matches!(
            kind,
            Kind::Equal
                | Kind::NotEqual
                | Kind::Greater
                | Kind::GreaterEqual
                | Kind::Less
                | Kind::LessEqual
        );
        (!compares || !self.first_dialect).then_some((kind, "", at + length))
    }

    /// What is between the `quote` here and the next that is not escaped, and where that ends.
    fn enclosed(&self, at: usize, quote: u8) -> Option<(&'q str, usize)> {
        let bytes = self.query.as_bytes();
        if bytes.get(at) != Some(&quote) {
            return None;
        }
        let mut end = at + 1;
        while *bytes.get(end)? != quote {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        Some((&self.query[at + 1..end], end + 1))
    }
}

/// Where the number that begins here ends.
fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let begin = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > begin).then_some(at)
    };
    let sign = |at: usize| usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
    let mut end = digits(at + sign(at))?;
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1).unwrap_or(end);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        end = digits(end + 1 + sign(end + 1)).unwrap_or(end);
    }
    Some(end)
}

/// A text that is one word and means itself.
pub(super) fn escaped(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for character in text.chars() {
        if u8::try_from(character).is_ok_and(|byte| !is_word(byte) && byte.is_ascii()) {
            word.push('\\');
        }
        word.push(character);
    }
    word
}

/// A pattern in which whatever would end it is escaped.
pub(super) fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => pattern.extend(['\\', characters.next().unwrap_or('\\')]),
            '\'' => pattern.push_str("\\'"),
            '$' if pattern.is_empty() => pattern.push_str("\\$"),
            _ => pattern.push(character),
        }
    }
    pattern
}
