//! Words, phrases, affixes, patterns and the like.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::node::{Affix, Kind, Node, Place};
use super::parser::Parser;
use super::token::{self, Kind as Sign, Token};
use crate::analysis::{unescaped, words};
use crate::arguments::shown;
use crate::error::{Code, Error};

/// How many letters a fuzzy word may differ by.
const DISTANCE_MAX: u8 = 3;

impl Parser<'_> {
    pub(super) fn leaf(&mut self) -> Result<Node, Error> {
        let token = self.peek();
        match token.kind {
            Sign::Word if self.is_missing() => self.missing(),
            Sign::Word | Sign::Number | Sign::Attribute => {
                let text = self.value(token)?.to_lowercase();
                self.advance();
                Ok(match self.skip_glued(Sign::Star) {
                    true => self.affix(text, Place::Prefix),
                    false => self.word(text),
                })
            }
            Sign::Quoted => {
                self.advance();
                match self.skip_glued(Sign::Star) {
                    true => {
                        let text = unescaped(token.text).to_lowercase();
                        Ok(self.affix(text, Place::Prefix))
                    }
                    false => self.phrase(token.text),
                }
            }
            Sign::Literal if token.text.is_empty() => {
                self.advance();
                self.phrase("")
            }
            Sign::Star => {
                self.starred_ahead()?;
                self.advance();
                let text = self.part_of_word()?.to_lowercase();
                let infix = self.skip_glued(Sign::Star);
                Ok(self.affix(text, if infix { Place::Infix } else { Place::Suffix }))
            }
            Sign::Percent => self.fuzzy(),
            Sign::Wildcard => {
                self.advance();
                let pattern = self.pattern(token)?.to_lowercase();
                Ok(self.node(Kind::Wildcard(pattern)))
            }
            Sign::Open => self.in_parentheses(),
            // Never closed, which shows at the end.
            Sign::Quote => Err(self.unexpected_end()),
            _ => Err(self.unexpected()),
        }
    }

    /// That what is next is `*` with a word behind it.
    pub(super) fn starred_ahead(&self) -> Result<(), Error> {
        let next = self.peek_second();
        let starred = next.glued && next.kind.is_part_of_word();
        if starred { Ok(()) } else { Err(self.unexpected()) }
    }

    /// A word, a parameter or what is quoted, without escapes.
    pub(super) fn part_of_word(&mut self) -> Result<String, Error> {
        let token = self.peek();
        let text = match token.kind {
            Sign::Word | Sign::Number | Sign::Attribute => self.value(token)?,
            Sign::Quoted => unescaped(token.text),
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(text)
    }

    /// What a word or number says without escapes, or what a parameter has.
    pub(super) fn value(&self, token: Token<'_>) -> Result<String, Error> {
        match token.kind {
            Sign::Attribute => self.parameter(token).map(shown),
            _ => Ok(unescaped(token.text)),
        }
    }

    /// What a parameter has.
    pub(super) fn parameter(&self, token: Token<'_>) -> Result<&[u8], Error> {
        if self.is_first_dialect() {
            return Err(self.unexpected());
        }
        let value = self.context.parameters.get(token.text).map(Vec::as_slice);
        value.ok_or_else(|| {
            Error::new(Code::NoParameter, format!("Parameter not found `{}`", token.text))
        })
    }

    /// The pattern of a wildcard, which may be a parameter.
    pub(super) fn pattern(&self, token: Token<'_>) -> Result<String, Error> {
        match token.text.strip_prefix('$') {
            Some(name) => {
                let value = shown(self.parameter(Token { text: name, ..token })?);
                if value.is_empty() {
                    return Err(self.unexpected());
                }
                Ok(token::pattern(&value))
            }
            None => Ok(token.text.to_string()),
        }
    }

    fn affix(&self, text: String, place: Place) -> Node {
        self.node(Kind::Affix(Affix { text, place }))
    }

    fn word(&self, text: String) -> Node {
        if !self.context.keep_stop_words && self.context.schema.is_stop_word(&text) {
            return self.node(Kind::Nothing);
        }
        self.node(if text.is_empty() { Kind::Empty } else { Kind::Word(text) })
    }

    fn phrase(&self, text: &str) -> Result<Node, Error> {
        if text.is_empty() {
            if !self.scope_indexes_empty() {
                return Err(not_indexed_if_empty());
            }
            return Ok(self.node(Kind::Empty));
        }
        let words: Vec<String> = words(text).map(|word| word.text).collect();
        Ok(self.node(if words.is_empty() { Kind::Nothing } else { Kind::Phrase(words) }))
    }

    /// `%word%`, with as many `%` as letters that may differ.
    fn fuzzy(&mut self) -> Result<Node, Error> {
        let mut distance = 0;
        while distance < DISTANCE_MAX && self.skip(Sign::Percent) {
            distance += 1;
        }
        let token = self.peek();
        if !matches!(token.kind, Sign::Word | Sign::Number | Sign::Attribute) {
            return Err(self.unexpected());
        }
        let word = self.value(token)?.to_lowercase();
        self.advance();
        for _ in 0..distance {
            self.expect(Sign::Percent)?;
        }
        Ok(self.node(Kind::Fuzzy { word, distance }))
    }
}

pub(super) fn not_indexed_if_empty() -> Error {
    let text = "Use `INDEXEMPTY` in field creation in order to index and query for empty strings";
    Error::new(Code::Syntax, text)
}
