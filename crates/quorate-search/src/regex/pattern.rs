//! Patterns: regular expressions as they are commonly written.
//!
//! ```text
//! pattern  = [ "(?i)" ], either                         (?i): letters of ASCII in any case
//! either   = sequence, { "|", sequence }
//! sequence = { atom, [ "*" | "+" | "?" | "{" n [ "," [ m ] ] "}", [ "?" ] ] }
//! atom     = "(" [ "?:" ] either ")" | "[" [ "^" ] ranges "]" | "." | "^" | "$" | escape | letter
//! escape   = \d \D \w \W \s \S \n \t \r, or any sign for itself
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::iter::Peekable;
use core::str::CharIndices;

use crate::error::{Code, Error};
use crate::limits;

/// A pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    pub(super) node: Node,
    /// Whether letters of ASCII are found in any case.
    pub(super) any_case: bool,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Where the text begins, or ends.
    Start,
    End,
    One(Set),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat {
        node: Box<Node>,
        least: u32,
        most: Option<u32>,
    },
}

/// Letters.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Set {
    /// From, to.
    pub(super) ranges: Vec<(char, char)>,
    /// Whether it is all others.
    pub(super) negated: bool,
}

impl Set {
    fn one(letter: char) -> Set {
        Set { ranges: vec![(letter, letter)], negated: false }
    }

    /// The letter, if it is one alone.
    pub(super) fn letter(&self) -> Option<char> {
        match self.ranges[..] {
            [(from, to)] if from == to && !self.negated => Some(from),
            _ => None,
        }
    }

    pub(super) fn contains(&self, letter: char, any_case: bool) -> bool {
        let within =
            |letter: char| self.ranges.iter().any(|&(from, to)| (from..=to).contains(&letter));
        let found = within(letter)
            || any_case
                && (within(letter.to_ascii_lowercase()) || within(letter.to_ascii_uppercase()));
        found != self.negated
    }

    /// What `\d`, `\w` or `\s` stands for.
    fn class(letter: char) -> Option<Set> {
        let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
            'd' => &[('0', '9')],
            'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            's' => &[('\t', '\r'), (' ', ' ')],
            _ => return None,
        };
        Some(Set { ranges: ranges.to_vec(), negated: letter.is_ascii_uppercase() })
    }

    /// All letters that are not in a set of ranges in order.
    fn complement(ranges: &[(char, char)]) -> Vec<(char, char)> {
        let mut rest = Vec::new();
        let mut from = Some('\0');
        for &(start, end) in ranges {
            if let Some(from) = from
                && let Some(before) = before(start)
                && from <= before
            {
                rest.push((from, before));
            }
            from = after(end);
        }
        rest.extend(from.map(|from| (from, char::MAX)));
        rest
    }
}

fn before(letter: char) -> Option<char> {
    ('\0'..letter).next_back()
}

fn after(letter: char) -> Option<char> {
    (letter..=char::MAX).nth(1)
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, Error> {
        if text.len() > limits::REGEX_BYTES {
            let text = format!("Pattern has more than {} bytes", limits::REGEX_BYTES);
            return Err(Error::new(Code::Limit, text));
        }
        let rest = text.strip_prefix("(?i)");
        let any_case = rest.is_some();
        let skipped = if any_case { "(?i)".len() } else { 0 };
        let letters = text[skipped..].char_indices().peekable();
        let mut parser = Parser { letters, skipped, depth: 0, length: text.len() };
        let node = parser.either()?;
        match parser.letters.peek() {
            None => Ok(Pattern { node, any_case }),
            Some(_) => Err(parser.refused("unexpected `)`")),
        }
    }
}

struct Parser<'t> {
    letters: Peekable<CharIndices<'t>>,
    /// Bytes before the letters.
    skipped: usize,
    depth: usize,
    length: usize,
}

impl Parser<'_> {
    fn refused(&mut self, what: &str) -> Error {
        let at = self.letters.peek().map_or(self.length, |(at, _)| at + self.skipped);
        Error::new(Code::Syntax, format!("Invalid pattern at offset {at}: {what}"))
    }

    fn peek(&mut self) -> Option<char> {
        self.letters.peek().map(|&(_, letter)| letter)
    }

    fn next(&mut self) -> Option<char> {
        self.letters.next().map(|(_, letter)| letter)
    }

    fn skip(&mut self, letter: char) -> bool {
        self.letters.next_if(|&(_, next)| next == letter).is_some()
    }

    fn either(&mut self) -> Result<Node, Error> {
        let mut all = vec![self.sequence()?];
        while self.skip('|') {
            all.push(self.sequence()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Node::Either(all) })
    }

    fn sequence(&mut self) -> Result<Node, Error> {
        let mut all = Vec::new();
        while self.peek().is_some_and(|next| next != '|' && next != ')') {
            let atom = self.atom()?;
            all.push(self.repeated(atom)?);
        }
        Ok(Node::Sequence(all))
    }

    fn atom(&mut self) -> Result<Node, Error> {
        if matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
            return Err(self.refused("nothing to repeat"));
        }
        Ok(match self.next().unwrap_or_default() {
            '(' => {
                if self.skip('?') && !self.skip(':') {
                    return Err(self.refused("expected `?:`"));
                }
                self.depth += 1;
                if self.depth > limits::REGEX_DEPTH {
                    return Err(self.refused("nested too deeply"));
                }
                let inner = self.either()?;
                self.depth -= 1;
                if !self.skip(')') {
                    return Err(self.refused("expected `)`"));
                }
                inner
            }
            '[' => Node::One(self.set()?),
            '.' => Node::One(Set { ranges: Vec::new(), negated: true }),
            '^' => Node::Start,
            '$' => Node::End,
            '\\' => Node::One(self.escaped()?),
            letter => Node::One(Set::one(letter)),
        })
    }

    fn escaped(&mut self) -> Result<Set, Error> {
        let letter = self.peek();
        let set = match letter {
            Some('n') => Set::one('\n'),
            Some('t') => Set::one('\t'),
            Some('r') => Set::one('\r'),
            Some(letter) => match Set::class(letter) {
                Some(class) => class,
                None if letter.is_alphanumeric() => return Err(self.refused("unknown escape")),
                None => Set::one(letter),
            },
            None => return Err(self.refused("expected a letter behind `\\`")),
        };
        self.next();
        Ok(set)
    }

    fn set(&mut self) -> Result<Set, Error> {
        let negated = self.skip('^');
        let mut ranges = Vec::new();
        let mut is_first = true;
        loop {
            let Some(letter) = self.peek() else { return Err(self.refused("expected `]`")) };
            self.next();
            let from = match letter {
                ']' if !is_first => return Ok(Set { ranges, negated }),
                '\\' => {
                    let set = self.escaped()?;
                    match set.letter() {
                        Some(letter) => letter,
                        None => {
                            let own = set.ranges;
                            ranges.extend(if set.negated { Set::complement(&own) } else { own });
                            is_first = false;
                            continue;
                        }
                    }
                }
                letter => letter,
            };
            is_first = false;
            let mut ahead = self.letters.clone();
            let is_range = ahead.next().is_some_and(|(_, next)| next == '-')
                && ahead.next().is_some_and(|(_, next)| next != ']');
            if !is_range {
                ranges.push((from, from));
                continue;
            }
            self.next();
            let to = match self.next() {
                Some('\\') => self.escaped()?.letter(),
                to => to,
            };
            match to.filter(|to| from <= *to) {
                Some(to) => ranges.push((from, to)),
                None => return Err(self.refused("invalid range")),
            }
        }
    }

    fn repeated(&mut self, mut node: Node) -> Result<Node, Error> {
        loop {
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.next();
                    let bounds = self.bounds()?;
                    if self.peek() != Some('}') {
                        return Err(self.refused("expected `}`"));
                    }
                    bounds
                }
                _ => return Ok(node),
            };
            self.next();
            // What is preferred decides nothing here: only whether something is found.
            self.skip('?');
            self.depth += 1;
            if self.depth > limits::REGEX_DEPTH {
                return Err(self.refused("repeated too often"));
            }
            node = Node::Repeat { node: Box::new(node), least, most };
        }
    }

    fn bounds(&mut self) -> Result<(u32, Option<u32>), Error> {
        let Some(least) = self.count() else { return Err(self.refused("expected a number")) };
        if !self.skip(',') {
            return Ok((least, Some(least)));
        }
        let most = self.count();
        match most {
            None if self.peek() == Some('}') => Ok((least, None)),
            Some(most) if least <= most => Ok((least, Some(most))),
            _ => Err(self.refused("invalid number of repetitions")),
        }
    }

    fn count(&mut self) -> Option<u32> {
        let mut count = None;
        while let Some(digit) = self.peek().and_then(|letter| letter.to_digit(10)) {
            self.next();
            count = Some(count.unwrap_or(0u32).saturating_mul(10).saturating_add(digit));
        }
        count
    }
}
