//! Sequences, alternatives and what binds how: see the grammar in [`super`].

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::mem;

use super::node::{Attributes, Kind, Node};
use super::token::{self, Kind as Sign, Token};
use super::{Context, Dialect};
use crate::error::{Code, Error};
use crate::limits;
use crate::schema::Fields;

/// Reads a query.
pub fn parse(query: &str, context: Context<'_>) -> Result<Node, Error> {
    if query.len() > limits::QUERY_BYTES {
        let text = format!("Query is longer than {} bytes", limits::QUERY_BYTES);
        return Err(Error::new(Code::Limit, text));
    }
    let tokens = token::tokens(query, context.dialect == Dialect::One);
    if let Some(token) = tokens.get(limits::QUERY_TOKENS) {
        let most = limits::QUERY_TOKENS;
        let text = format!("Query has more than {most} words and signs at offset {}", token.at);
        return Err(Error::new(Code::Limit, text));
    }
    let mut parser = Parser { tokens, position: 0, context, depth: 0, scope: None };
    let node = parser.query()?;
    match parser.peek().kind {
        Sign::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

pub(super) struct Parser<'q> {
    tokens: Vec<Token<'q>>,
    /// The tokens that were read.
    position: usize,
    pub(super) context: Context<'q>,
    /// How many expressions are around this one.
    depth: usize,
    /// The fields that the query names around this place.
    scope: Option<Fields>,
}

/// How nodes are joined.
#[derive(Clone, Copy)]
pub(super) enum Join {
    And,
    Or,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Node, Error> {
        if self.tokens.is_empty() {
            return Ok(self.node(Kind::Nothing));
        }
        if let Some(everything) = self.everything()? {
            return self.perhaps_nearest(everything);
        }
        let vectors =
            |pair: &[Token<'_>]| pair[0].kind == Sign::Arrow && pair[1].kind == Sign::BracketOpen;
        if self.tokens.windows(2).any(vectors) && !self.is_first_dialect() {
            if let Ok(filter) = self.unit()
                && self.peek().kind == Sign::Arrow
            {
                return self.perhaps_nearest(filter);
            }
            (self.position, self.depth, self.scope) = (0, 0, None);
        }
        self.alternatives()
    }

    /// `*`, perhaps in parentheses, which is nothing but a whole query or a whole filter.
    fn everything(&mut self) -> Result<Option<Node>, Error> {
        let opened = self.tokens.iter().take_while(|token| token.kind == Sign::Open).count();
        let kind = |at: usize| self.tokens.get(at).map_or(Sign::End, |token| token.kind);
        let suffix = self
            .tokens
            .get(opened + 1)
            .is_some_and(|token| token.glued && token.kind.is_part_of_word());
        let closed = (opened + 1..).take(opened).all(|at| kind(at) == Sign::Close);
        if kind(opened) != Sign::Star || !closed {
            return Ok(None);
        }
        let behind = 2 * opened + 1;
        match kind(behind) {
            Sign::End | Sign::Arrow => {
                self.position = behind;
                Ok(Some(self.node(Kind::All)))
            }
            _ if opened == 0 && !suffix => {
                self.position = behind;
                Err(self.unexpected())
            }
            _ => Ok(None),
        }
    }

    /// Alternatives, down to the tightest.
    pub(super) fn alternatives(&mut self) -> Result<Node, Error> {
        if self.is_first_dialect() {
            self.first_sequence(false)
        } else {
            self.joined(Parser::sequence)
        }
    }

    /// One or more parts, with `|` between them.
    pub(super) fn joined(
        &mut self,
        part: impl Fn(&mut Self) -> Result<Node, Error>,
    ) -> Result<Node, Error> {
        let mut nodes = Vec::new();
        loop {
            nodes.push(part(self)?);
            if !self.skip(Sign::Or) {
                return Ok(self.group(Join::Or, nodes));
            }
        }
    }

    fn sequence(&mut self) -> Result<Node, Error> {
        let mut nodes = Vec::new();
        loop {
            nodes.push(self.unary()?);
            if matches!(self.peek().kind, Sign::Or | Sign::Close | Sign::Arrow | Sign::End) {
                return Ok(self.group(Join::And, nodes));
            }
        }
    }

    pub(super) fn unary(&mut self) -> Result<Node, Error> {
        self.deeper(|parser| match parser.mark() {
            Some(kind) => {
                let inner = parser.unary()?;
                Ok(parser.marked(kind, inner))
            }
            None => parser.unit(),
        })
    }

    /// Goes past `-` or `~`, and says what it makes of what follows.
    pub(super) fn mark(&mut self) -> Option<fn(Box<Node>) -> Kind> {
        if self.skip(Sign::Minus) {
            Some(Kind::Not)
        } else if self.skip(Sign::Tilde) {
            Some(Kind::Optional)
        } else {
            None
        }
    }

    pub(super) fn marked(&self, kind: fn(Box<Node>) -> Kind, inner: Node) -> Node {
        if inner.is_nothing() { inner } else { self.node(kind(Box::new(inner))) }
    }

    pub(super) fn unit(&mut self) -> Result<Node, Error> {
        let mut node = match self.peek().kind {
            Sign::Modifier => self.in_fields()?,
            Sign::Word | Sign::Number if self.is_first_dialect() => self.run_of_words()?,
            _ => self.leaf()?,
        };
        while self.peek().kind == Sign::Arrow && self.peek_second().kind == Sign::BraceOpen {
            self.attributes(&mut node)?;
        }
        Ok(node)
    }

    /// `( ... )`
    pub(super) fn in_parentheses(&mut self) -> Result<Node, Error> {
        self.deeper(|parser| {
            parser.expect(Sign::Open)?;
            let inner = parser.alternatives()?;
            parser.expect(Sign::Close)?;
            Ok(inner)
        })
    }

    /// Words, in which the query has named the fields.
    pub(super) fn in_scope(&mut self, fields: Fields) -> Result<Node, Error> {
        self.scope = Some(fields);
        let node = if self.is_first_dialect() { self.first_scoped() } else { self.unary() };
        self.scope = None;
        node
    }

    pub(super) fn is_scoped(&self) -> bool {
        self.scope.is_some()
    }

    /// Nodes as one. Nothing adds nothing; and what stands first, in parentheses and of the same
    /// kind, becomes part of the group.
    pub(super) fn group(&self, join: Join, mut nodes: Vec<Node>) -> Node {
        nodes.retain(|node| !node.is_nothing());
        if nodes.len() < 2 {
            return nodes.pop().unwrap_or_else(|| self.node(Kind::Nothing));
        }
        let first = &mut nodes[0];
        let plain = first.fields == self.fields() && first.attributes == Attributes::default();
        let inner = match (join, &mut first.kind) {
            (Join::And, Kind::And(inner)) | (Join::Or, Kind::Or(inner)) if plain => {
                mem::take(inner)
            }
            _ => Vec::new(),
        };
        if !inner.is_empty() {
            nodes.splice(0..1, inner);
        }
        self.node(match join {
            Join::And => Kind::And(nodes),
            Join::Or => Kind::Or(nodes),
        })
    }

    pub(super) fn node(&self, kind: Kind) -> Node {
        Node::new(kind, self.fields())
    }

    pub(super) fn fields(&self) -> Fields {
        self.scope.unwrap_or(Fields::ALL)
    }

    pub(super) fn deeper(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Node, Error>,
    ) -> Result<Node, Error> {
        if self.depth == limits::QUERY_DEPTH {
            let (most, at) = (limits::QUERY_DEPTH, self.peek().at);
            let text = format!("Query is nested more than {most} deep at offset {at}");
            return Err(Error::new(Code::Limit, text));
        }
        self.depth += 1;
        let node = read(self);
        self.depth -= 1;
        node
    }

    pub(super) fn is_first_dialect(&self) -> bool {
        self.context.dialect == Dialect::One
    }
}

/// Tokens.
impl<'q> Parser<'q> {
    pub(super) fn peek(&self) -> Token<'q> {
        self.token(self.position)
    }

    pub(super) fn peek_second(&self) -> Token<'q> {
        self.token(self.position + 1)
    }

    fn token(&self, at: usize) -> Token<'q> {
        let end = || Token {
            kind: Sign::End,
            at: self.tokens.last().map_or(0, |last| last.at),
            text: "",
            glued: false,
        };
        self.tokens.get(at).copied().unwrap_or_else(end)
    }

    pub(super) fn advance(&mut self) -> Token<'q> {
        let token = self.peek();
        self.position += 1;
        token
    }

    pub(super) fn skip(&mut self, kind: Sign) -> bool {
        let found = self.peek().kind == kind;
        self.position += usize::from(found);
        found
    }

    /// Goes past a sign that belongs to the word before it.
    pub(super) fn skip_glued(&mut self, kind: Sign) -> bool {
        self.peek().glued && self.skip(kind)
    }

    pub(super) fn expect(&mut self, kind: Sign) -> Result<Token<'q>, Error> {
        if self.peek().kind == kind { Ok(self.advance()) } else { Err(self.unexpected()) }
    }

    /// There is something missing behind the last token.
    pub(super) fn unexpected_end(&mut self) -> Error {
        self.position = self.tokens.len();
        self.unexpected()
    }

    /// The next token cannot be here. As RediSearch says it: its place, and the last word up to it.
    pub(super) fn unexpected(&self) -> Error {
        let read = self.tokens.get(..=self.position).unwrap_or(&self.tokens);
        let near = read.iter().rev().find(|token| !token.text.is_empty());
        let near = near.map_or("", |token| token.text);
        let at = self.peek().at;
        Error::new(Code::Syntax, format!("Syntax error at offset {at} near {near}"))
    }
}
