//! Conditions of paths.
//!
//! ```text
//! condition  := and ("||" and)*
//! and        := test ("&&" test)*
//! test       := "(" condition ")" | term (operator term)?
//! operator   := "==" | "!=" | "<" | "<=" | ">" | ">=" | "=~"
//! term       := number | string | true | false | null | ("@" | "$") step*
//! ```
//! A path as a term stands for the one value that it leads to; where it leads to none or to several,
//! no comparison holds but that it differs. A term alone holds unless it is such a path.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::{Step, TooMany, Visits, find};
use crate::json::{cell::Leaf, document::Node, number::Number};

/// Bytes that a compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Values that could be looked at while a regular expression is compiled.
const REGEX_VISITS: usize = 1_000;

#[derive(Debug)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Exists(Term),
    Compare(Term, Operator, Term),
    /// An expression that cannot be read matches nothing.
    Matches(Term, Option<Regex>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
}

#[derive(Debug)]
pub(super) enum Term {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// From the value that is tested, or from the root.
    Path {
        from_root: bool,
        steps: Vec<Step>,
    },
}

/// What a term stands for.
#[derive(Clone, Copy)]
enum Meaning<'a> {
    Scalar(Leaf<'a>),
    Container(Node<'a>),
}

/// Compiles a regular expression.
pub(super) fn regex(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().ok()
}

impl Condition {
    /// Whether a term of it begins at the root of the document.
    pub(super) fn looks_at_root(&self) -> bool {
        let is_one = |term: &Term| match term {
            Term::Path { from_root, steps } => *from_root || super::looks_at_root(steps),
            Term::Null | Term::Bool(_) | Term::Number(_) | Term::Text(_) => false,
        };
        match self {
            Self::Any(conditions) | Self::All(conditions) => {
                conditions.iter().any(Self::looks_at_root)
            }
            Self::Exists(term) | Self::Matches(term, _) => is_one(term),
            Self::Compare(left, _, right) => is_one(left) || is_one(right),
        }
    }

    /// Whether it holds for a value of the document.
    pub(super) fn holds(
        &self,
        root: Node<'_>,
        node: Node<'_>,
        visits: &Visits,
    ) -> Result<bool, TooMany> {
        match self {
            Self::Any(conditions) => {
                for condition in conditions {
                    if condition.holds(root, node, visits)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(conditions) => {
                for condition in conditions {
                    if !condition.holds(root, node, visits)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Exists(term) => Ok(term.meaning(root, node, visits)?.is_some()),
            Self::Compare(left, operator, right) => {
                let (left, right) =
                    (left.meaning(root, node, visits)?, right.meaning(root, node, visits)?);
                visits.count(operator.cost(left, right))?;
                Ok(operator.holds(left, right))
            }
            Self::Matches(term, regex) => {
                let text = term.meaning(root, node, visits)?.and_then(Meaning::text);
                Ok(regex.as_ref().zip(text).is_some_and(|(regex, text)| regex.is_match(text)))
            }
        }
    }
}

impl Term {
    fn meaning<'a>(
        &'a self,
        root: Node<'a>,
        node: Node<'a>,
        visits: &Visits,
    ) -> Result<Option<Meaning<'a>>, TooMany> {
        Ok(Some(Meaning::Scalar(match self {
            Self::Null => Leaf::Null,
            Self::Bool(value) => Leaf::Bool(*value),
            Self::Number(number) => Leaf::Number(*number),
            Self::Text(text) => Leaf::Text(text),
            Self::Path { from_root, steps } => {
                let found = find(steps, if *from_root { root } else { node }, visits)?;
                let [only] = found[..] else { return Ok(None) };
                return Ok(Some(Meaning::of(only)));
            }
        })))
    }
}

impl<'a> Meaning<'a> {
    fn of(node: Node<'a>) -> Self {
        match node.leaf() {
            Leaf::Object | Leaf::Array => Self::Container(node),
            scalar => Self::Scalar(scalar),
        }
    }

    fn text(self) -> Option<&'a str> {
        if let Self::Scalar(Leaf::Text(text)) = self { Some(text) } else { None }
    }
}

impl Operator {
    /// How many values are looked at to tell, or could be meanwhile.
    fn cost(self, left: Option<Meaning<'_>>, right: Option<Meaning<'_>>) -> usize {
        match (self, left.zip(right)) {
            (Self::Matches, Some(_)) => REGEX_VISITS,
            (_, Some((Meaning::Container(left), Meaning::Container(right)))) => {
                left.entries().len().min(right.entries().len())
            }
            _ => 0,
        }
    }

    fn holds(self, left: Option<Meaning<'_>>, right: Option<Meaning<'_>>) -> bool {
        let both = left.zip(right);
        let order = || both.and_then(|(left, right)| order(left, right));
        let is_equal = || both.is_some_and(|(left, right)| is_equal(left, right));
        match self {
            Self::Equal => is_equal(),
            Self::NotEqual => !is_equal(),
            Self::Less => order() == Some(Ordering::Less),
            Self::LessOrEqual => order().is_some_and(Ordering::is_le),
            Self::Greater => order() == Some(Ordering::Greater),
            Self::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
            Self::Matches => {
                let (text, expression) =
                    (left.and_then(Meaning::text), right.and_then(Meaning::text));
                let regex = expression.and_then(regex);
                regex.zip(text).is_some_and(|(regex, text)| regex.is_match(text))
            }
        }
    }
}

/// Numbers and strings have an order among their like.
fn order(left: Meaning<'_>, right: Meaning<'_>) -> Option<Ordering> {
    match (left, right) {
        (Meaning::Scalar(Leaf::Number(left)), Meaning::Scalar(Leaf::Number(right))) => {
            match (left, right) {
                (Number::Integer(left), Number::Integer(right)) => Some(left.cmp(&right)),
                _ => left.to_double().partial_cmp(&right.to_double()),
            }
        }
        (Meaning::Scalar(Leaf::Text(left)), Meaning::Scalar(Leaf::Text(right))) => {
            Some(left.cmp(right))
        }
        _ => None,
    }
}

fn is_equal(left: Meaning<'_>, right: Meaning<'_>) -> bool {
    match (left, right) {
        (Meaning::Container(left), Meaning::Container(right)) => are_alike(left, right),
        (Meaning::Scalar(one), Meaning::Scalar(other)) => {
            order(left, right).map_or(one == other, Ordering::is_eq)
        }
        _ => false,
    }
}

fn are_alike(left: Node<'_>, right: Node<'_>) -> bool {
    match (left.leaf(), right.leaf()) {
        (Leaf::Array, Leaf::Array) => {
            let (left, right) = (left.items(), right.items());
            left.len() == right.len()
                && left.into_iter().zip(right).all(|(left, right)| are_alike(left, right))
        }
        (Leaf::Object, Leaf::Object) => {
            let members = left.members();
            let is_there = |(key, left): &(&str, Node<'_>)| {
                right.member(key).is_some_and(|right| are_alike(*left, right))
            };
            members.len() == right.members().len() && members.iter().all(is_there)
        }
        (one, other) => one == other,
    }
}
