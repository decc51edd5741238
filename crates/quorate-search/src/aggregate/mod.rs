//! `FT.AGGREGATE`: rows of documents, transformed in stages.
//!
//! ```text
//! partition   documents -> rows -> stages that look at one row -> the first stage that needs all
//!                                                                 rows, as far as it goes
//! coordinator partial states of all partitions, merged -> the rest of the stages -> answer
//! ```
//!
//! As a search it has two phases: statistics of all partitions, then [`Index::aggregate`] in each,
//! whose [`Partial`] states are merged ([`Partial::merge`]) and finished ([`Partial::finish`]).
//! The answer does not depend on how documents are spread, to the last bit: sums are exact before
//! they are rounded once, sketches are those whose merge is that of their inputs, samples are
//! chosen by a keyed hash of what a row is, and what has no other order is ordered by key.
//!
//! Where `matched_terms()` is asked for the nearest vectors there are none: distances alone choose.
//!
//! What is held is accounted; past [`Bounds`] an aggregation is refused.
//!
//! [`Index::aggregate`]: crate::Index::aggregate

mod distinct;
mod load;
mod order;
mod parse;
mod partial;
mod partition;
mod quantile;
mod reducer;
mod resolve;
mod row;
mod rows;
mod stage;
mod state;
mod sum;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Language;
use crate::allowance::exceeded;
use crate::error::{Code, Error};
use crate::execution::{Request, Scorer};
use crate::limits;
use crate::query::{Dialect, Node};

pub use load::Documents;
pub use partial::{Answer, Partial};
pub use row::Row;

pub(crate) use distinct::Distinctish;
pub(crate) use parse::Reading;
pub(crate) use partial::run;
pub(crate) use quantile::Quantile;
pub(crate) use reducer::property;
pub(crate) use reducer::{Reducer, Reduction};
pub(crate) use resolve::resolve_rows;
pub(crate) use stage::{Column, Grouping, Origin, SortKey, Stage};
pub(crate) use state::{First, State};
pub(crate) use sum::Sum;

/// An aggregation, as its arguments say it.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregation {
    /// The query that chooses documents.
    pub node: Node,
    /// Of the query's words.
    pub language: Language,
    /// Whether words ask for nothing but themselves.
    pub verbatim: bool,
    /// How many other words may be between words; none: any.
    pub slop: Option<u32>,
    /// Whether words must be in their order.
    pub in_order: bool,
    /// How documents are scored.
    pub scorer: Scorer,
    /// Whether rows have their document's score, as `__score`.
    pub add_scores: bool,
    /// Whether the total must be that of all rows. It always is.
    pub with_count: bool,
    /// The form of the query.
    pub dialect: Dialect,
    /// How long it may take, in milliseconds; 0: as long as it does.
    pub timeout_ms: Option<u64>,
    /// Whether and how it is answered in parts.
    pub cursor: Option<CursorOptions>,
    /// What happens to rows.
    pub(crate) stages: Vec<Stage>,
    /// Whether an expression asks for the terms of the query that a document has.
    pub(crate) uses_terms: bool,
}

/// How an answer is read in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorOptions {
    /// Rows of a part.
    pub count: usize,
    /// How long it is kept when nobody reads, in milliseconds.
    pub max_idle_ms: u64,
}

/// What one aggregation may hold in a partition, and at its coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of rows and groups, about.
    pub bytes: usize,
    /// Groups of a stage.
    pub groups: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { bytes: limits::AGGREGATION_BYTES, groups: limits::GROUPS }
    }
}

impl Aggregation {
    /// The query as a search for everything that it matches.
    pub fn request(&self) -> Request<'_> {
        Request {
            language: self.language,
            verbatim: self.verbatim,
            slop: self.slop,
            in_order: self.in_order,
            scorer: self.scorer,
            top: usize::MAX,
            ..Request::new(&self.node)
        }
    }

    /// How many times as long as to find a document it takes to make a row of it, about.
    pub fn weight(&self) -> u64 {
        1 + self.stages.len() as u64
    }

    /// The position of the first stage that needs all rows.
    pub(crate) fn merged_at(&self) -> usize {
        let merges = |stage: &Stage| match stage {
            Stage::Nearest(_) | Stage::Group(_) | Stage::Arrange { .. } => true,
            Stage::Load(_) | Stage::LoadAll | Stage::Apply { .. } | Stage::Filter(_) => false,
        };
        self.stages.iter().position(merges).unwrap_or(self.stages.len())
    }
}

/// What is held, against what may be.
#[derive(Debug)]
pub(crate) struct Budget {
    bounds: Bounds,
    used: usize,
}

impl Budget {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Budget { bounds, used: 0 }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.used = self.used.saturating_add(bytes);
        self.check()
    }

    /// Bytes that are held.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn give(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    fn check(&self) -> Result<(), Error> {
        if self.used <= self.bounds.bytes {
            return Ok(());
        }
        Err(exceeded(self.bounds.bytes))
    }

    pub(crate) fn groups(&self, groups: usize) -> Result<(), Error> {
        if groups <= self.bounds.groups {
            return Ok(());
        }
        let text = format!("GROUPBY has more than {} groups", self.bounds.groups);
        Err(Error::new(Code::Limit, text))
    }
}

/// What a property that nothing gives is answered with.
pub(crate) fn unknown_property(name: &str) -> Error {
    let name = String::from(name);
    Error::new(Code::PropertyNotFound, format!("Property not loaded nor in pipeline: `{name}`"))
}
