//! Finding and scoring the documents of a partition that a query asks for.
//!
//! In two phases, so that partitions answer as one: [`Index::statistics`], added up over all
//! partitions ([`Statistics`]), and [`Index::search`], whose answers [`Hits::merge`] into one. What
//! that returns does not depend on how documents are spread.
//!
//! Documents are visited one at a time, in the order of their numbers, by matchers that seek
//! ahead; each is scored when it is met, and the best are kept. Of alternatives of words by
//! `BM25STD` only those are scored that may be among the best (`pruning`), and so are those that
//! have several words or a phrase (`meeting`); both go through windows of documents (`window`).
//!
//! The nearest vectors are found first, and then the documents that have them are scored.

mod building;
mod dictionary;
mod matcher;
mod meeting;
mod near;
mod positions;
mod pruning;
mod score;
mod spelling;
mod statistics;
#[cfg(test)]
mod tests;
mod top;
mod vectors;
mod visiting;
mod window;
mod work;

use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use roaring::RoaringBitmap;

use crate::error::{Code, Error};
use crate::index::{Entry, Index, SortValue};
use crate::query::{Kind, Node};
use crate::schema::{FieldId, Fields};
use crate::{Language, limits};

use building::Builder;
use matcher::Matcher;
use meeting::Meeting;
use pruning::{Alternatives, Offered};
use score::Scoring;
use top::Top;

pub use dictionary::{follows_pattern, is_near};
pub use score::{Explanation, Scorer};
pub(crate) use spelling::Spelt;
pub use spelling::{Correction, Spelling, Suggested};
pub use statistics::{LeafTerms, Statistics};
pub(crate) use visiting::{Found, Wanted};

/// What is asked of an index.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The query.
    pub node: &'a Node,
    /// Of the query's words.
    pub language: Language,
    /// Whether words ask for nothing but themselves.
    pub verbatim: bool,
    /// The fields in which words count, if the query names none.
    pub fields: Fields,
    /// The documents that count, if not all.
    pub keys: Option<BTreeSet<&'a [u8]>>,
    /// How many other words may be between words, where the query says nothing; none: any.
    pub slop: Option<u32>,
    /// Whether words must be in their order, where the query says nothing.
    pub in_order: bool,
    /// By which `SORTABLE` field documents are ordered, if not by their scores. The nearest are
    /// always ordered by distance.
    pub sort: Option<Sort>,
    /// How documents are scored.
    pub scorer: Scorer,
    /// What `HAMMING` compares payloads with.
    pub payload: Option<&'a [u8]>,
    /// How many of the best are returned.
    pub top: usize,
    /// Whether each says how its score came about.
    pub explain: bool,
}

impl<'a> Request<'a> {
    /// The ten best for a query, as RediSearch orders them.
    pub fn new(node: &'a Node) -> Request<'a> {
        Request {
            node,
            language: Language::English,
            verbatim: false,
            fields: Fields::ALL,
            keys: None,
            slop: None,
            in_order: false,
            sort: None,
            scorer: Scorer::default(),
            payload: None,
            top: limits::TOP,
            explain: false,
        }
    }
}

/// An order of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The field.
    pub field: FieldId,
    /// Whether the greatest come first. Documents without the field always come last.
    pub descending: bool,
}

impl Sort {
    fn of(self, entry: &Entry) -> SortedBy {
        SortedBy { value: entry.sort_value(self.field).cloned(), descending: self.descending }
    }
}

/// Documents that were found in one or more partitions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hits {
    /// How many there are.
    pub total: u64,
    /// The best of them, the best first, or in the order that was asked for; those in one place of
    /// it by their keys. If the nearest were asked for, all of these, the nearest first.
    pub best: Vec<Hit>,
    /// How many there may be, if the nearest were asked for.
    pub nearest: Option<u64>,
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its key.
    pub key: Arc<[u8]>,
    /// Its score.
    pub score: f64,
    /// How that came about.
    pub explanation: Option<Explanation>,
    /// The distance by which the nearest were chosen.
    pub distance: Option<f64>,
    /// Distances that the query has given names.
    pub distances: Vec<(String, f64)>,
    /// The value of the field by which documents are ordered.
    pub sorted_by: Option<SortedBy>,
}

/// What places a hit in an order.
#[derive(Debug, Clone, PartialEq)]
pub struct SortedBy {
    /// The value, if the document has one.
    pub value: Option<SortValue>,
    /// Whether the greatest come first.
    pub descending: bool,
}

impl SortedBy {
    /// The first first.
    fn order(&self, other: &SortedBy) -> Ordering {
        // Of one query they are alike; what a peer sends may not be.
        let directions = self.descending.cmp(&other.descending);
        directions.then_with(|| match (&self.value, &other.value) {
            (Some(own), Some(other)) if self.descending => other.order(own),
            (Some(own), Some(other)) => own.order(other),
            (own, other) => other.is_some().cmp(&own.is_some()),
        })
    }
}

impl Hit {
    /// The better first: by the order that was asked for, else by distance, else by score. It is
    /// an order of any hits, since peers may send what does not belong together.
    fn rank(&self, other: &Hit) -> Ordering {
        let order = match (&self.sorted_by, &other.sorted_by) {
            (Some(own), Some(other)) => own.order(other),
            (None, None) => match (self.distance, other.distance) {
                (Some(own), Some(other)) => own.total_cmp(&other),
                (None, None) => other.score.total_cmp(&self.score),
                (own, other) => other.is_some().cmp(&own.is_some()),
            },
            (own, other) => other.is_some().cmp(&own.is_some()),
        };
        order.then_with(|| self.key.cmp(&other.key))
    }
}

/// A hit by its rank: the worst is the greatest.
struct Ranked(Hit);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank(&other.0)
    }
}

impl Hits {
    /// Adds what was found in another partition, and keeps as many as were asked for.
    pub fn merge(&mut self, other: Hits, top: usize) {
        self.nearest = self.nearest.or(other.nearest);
        self.total = self.total.saturating_add(other.total);
        self.best.extend(other.best);
        self.best.sort_by(Hit::rank);
        match self.nearest {
            Some(nearest) => {
                self.best.truncate(usize::try_from(nearest).unwrap_or(usize::MAX));
                self.total = self.best.len() as u64;
            }
            None => self.best.truncate(top),
        }
    }
}

impl Index {
    /// The second phase of a query: the best documents, by the statistics of all partitions.
    /// Refuses statistics of another query, which a peer may send.
    pub fn search(&self, request: &Request<'_>, statistics: &Statistics) -> Result<Hits, Error> {
        if !statistics.fit(request.node) {
            return Err(Error::new(Code::BadQuery, "Statistics are of another query"));
        }
        let matcher = Builder::new(self, request, statistics).matcher()?;
        let scoring = Scoring::new(request, statistics);
        let seen = self.documents.seen();
        let allowed = match &request.keys {
            Some(keys) => {
                let numbers = keys.iter().filter_map(|key| self.documents.number(key));
                let numbers = numbers.filter(|id| self.documents.sees(*id));
                Some(Cow::Owned(numbers.collect::<RoaringBitmap>()))
            }
            None => seen.map(Cow::Borrowed),
        };
        let mut hits = match &request.node.kind {
            Kind::Nearest { count, vector, .. } => {
                let scored = Builder::new(self, request, statistics).matcher()?;
                self.nearest(*count, vector, matcher, scored, &scoring, allowed.as_deref())
            }
            _ => self.best(matcher, &scoring, request, allowed.as_deref())?,
        };
        let distances = self.distances(request.node);
        for hit in &mut hits.best {
            hit.distances = distances.of(&hit.key);
        }
        Ok(hits)
    }

    fn best<'a>(
        &'a self,
        mut matcher: Matcher<'a>,
        scoring: &Scoring<'_>,
        request: &Request<'_>,
        allowed: Option<&RoaringBitmap>,
    ) -> Result<Hits, Error> {
        let mut top = Top::new(self, request.top, request.sort);
        let by_words = top.is_by_words(scoring);
        let words = self.documents.words();
        if let Some(mut meeting) = Meeting::of(&matcher, scoring).filter(|_| by_words) {
            let total = meeting.best(words, scoring, &mut top, allowed)?;
            return Ok(Hits { total, best: top.into_hits(), nearest: None });
        }
        if let Some(alternatives) = Alternatives::of(&matcher, scoring).filter(|_| by_words) {
            let mut offered = Offered { matcher: &mut matcher, scoring, top: &mut top, allowed };
            let total = alternatives.best(words, &mut offered)?;
            return Ok(Hits { total, best: top.into_hits(), nearest: None });
        }
        let mut total = 0;
        let mut next = matcher.seek(0);
        while let Some(id) = next.filter(|_| !self.is_stopped()) {
            if allowed.is_none_or(|allowed| allowed.contains(id)) {
                total += 1;
                top.offer(&mut matcher, scoring, id);
                top.check()?;
            }
            next = id.checked_add(1).and_then(|target| matcher.seek(target));
        }
        Ok(Hits { total, best: top.into_hits(), nearest: None })
    }
}
