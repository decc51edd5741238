//! What binds how in dialect 1.

use alloc::vec::Vec;

use super::node::{Kind, Node};
use super::parser::{Join, Parser};
use super::token::Kind as Sign;
use crate::error::Error;

impl Parser<'_> {
    /// Parts that all must match; a part may be alternatives. What is behind `-` or `~` ends
    /// before the next of these and before a phrase.
    pub(super) fn first_sequence(&mut self, behind_mark: bool) -> Result<Node, Error> {
        let mut nodes = Vec::new();
        loop {
            nodes.push(self.joined(Parser::first_unary)?);
            let ends = match self.peek().kind {
                Sign::Or | Sign::Close | Sign::Arrow | Sign::End => true,
                Sign::Minus | Sign::Tilde | Sign::Quoted => behind_mark,
                _ => false,
            };
            if ends {
                return Ok(self.group(Join::And, nodes));
            }
        }
    }

    fn first_unary(&mut self) -> Result<Node, Error> {
        self.deeper(|parser| match parser.mark() {
            Some(kind) => {
                let inner = parser.first_sequence(true)?;
                Ok(parser.marked(kind, inner))
            }
            None => parser.unit(),
        })
    }

    /// What a field applies to: runs of words with `|` between them, or one of anything else.
    pub(super) fn first_scoped(&mut self) -> Result<Node, Error> {
        if !self.is_run_of_words() {
            return self.first_unary();
        }
        let mut nodes = Vec::new();
        loop {
            nodes.push(self.run_of_words()?);
            let more = self.peek().kind == Sign::Or
                && matches!(self.peek_second().kind, Sign::Word | Sign::Number);
            if !more {
                return Ok(self.group(Join::Or, nodes));
            }
            self.advance();
        }
    }

    /// Words that stand for themselves, or what is made of one that does not.
    pub(super) fn run_of_words(&mut self) -> Result<Node, Error> {
        let mut nodes = Vec::new();
        let first = self.leaf()?;
        let alone = !matches!(first.kind, Kind::Word(_) | Kind::Nothing);
        nodes.push(first);
        while !alone && self.is_run_of_words() {
            nodes.push(self.leaf()?);
        }
        Ok(self.group(Join::And, nodes))
    }

    /// Whether a word is next that stands for itself.
    fn is_run_of_words(&self) -> bool {
        let affix = self.peek_second().kind == Sign::Star && self.peek_second().glued;
        matches!(self.peek().kind, Sign::Word | Sign::Number) && !affix
    }
}
