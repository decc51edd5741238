//! The query language of `FT.SEARCH`, dialects 1 to 4.
//!
//! [`parse`] reads a query into a tree of [`Node`]s, by recursive descent with a bounded depth.
//! Parameters are put in while it is read, so the tree stands for itself. It prints as a query
//! of dialect 2 that is read as the same tree ([`Node::printed`]), and as RediSearch's
//! `FT.EXPLAIN` ([`explain`]).
//!
//! Dialect 2 and later:
//!
//! ```text
//! query    = [ "*" | alternatives ], [ "=>[" nearest "]", [ attributes ] ]
//! alternatives = sequence, { "|", sequence }
//! sequence = unary, { unary }                          all of them
//! unary    = "-" unary | "~" unary | unit
//! unit     = ( "@" field { "|" field } ":" unary-without-fields | leaf ), { attributes }
//! leaf     = word | phrase | affix | wildcard | fuzzy | tags | range | "(" alternatives ")" ...
//! ```
//!
//! In dialect 1 a field, `-` and `~` apply to the whole run that follows, and `|` binds closer
//! than a sequence, but for a run of words, which is closest.

mod attributes;
mod dialect_one;
mod explain;
mod fields;
mod leaf;
mod node;
mod parser;
mod print;
#[cfg(test)]
mod tests;
mod token;
mod vectors;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Schema;

pub use explain::explain;
pub use node::{
    Affix, Attributes, Bound, Circle, Kind, Label, Node, Place, Range, Relation, Target, Unit,
    VectorOptions,
};
pub use parser::parse;
pub use print::Printed;

/// Parameters of a query, `PARAMS`, by their names.
pub type Parameters = BTreeMap<String, Vec<u8>>;

/// The form of the query language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// The first, without parameters, vectors and wildcards.
    One,
    /// A field applies to one expression.
    Two,
    /// As 2; JSON is answered with all values of a path.
    Three,
    /// As 3; results may be cut once there are enough.
    Four,
}

impl Dialect {
    /// The dialect of this number, 1 to 4.
    pub fn numbered(number: u64) -> Option<Dialect> {
        [Dialect::One, Dialect::Two, Dialect::Three, Dialect::Four]
            .into_iter()
            .find(|&dialect| dialect as u64 + 1 == number)
    }
}

/// What a query is read with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The index that is asked.
    pub schema: &'a Schema,
    /// The form of the query.
    pub dialect: Dialect,
    /// Its parameters.
    pub parameters: &'a Parameters,
    /// Whether stop words are searched for like others.
    pub keep_stop_words: bool,
}
