//! The best documents so far.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem::size_of;

use super::matcher::Matcher;
use super::score::{Explanation, Scoring};
use super::{Hit, Sort, SortedBy};
use crate::error::Error;
use crate::index::{DocumentId, Documents, Index};

/// As many of the best as are wanted.
pub(super) struct Top<'i> {
    index: &'i Index,
    wanted: usize,
    sort: Option<Sort>,
    best: BinaryHeap<Candidate<'i>>,
    /// Bytes of explanations, about.
    held: usize,
    /// The score of every document, if all have the same.
    common: Option<f64>,
}

/// A document by its rank, that of [`Hit`]: the worst is the greatest.
struct Candidate<'i> {
    score: f64,
    /// Of two keys the lesser never has the greater.
    beginning: u64,
    id: DocumentId,
    documents: &'i Documents,
    more: Option<Box<More>>,
}

/// What few queries ask for.
struct More {
    explanation: Option<Explanation>,
    sorted_by: Option<SortedBy>,
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate<'_> {}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = match (self.sorted_by(), other.sorted_by()) {
            (Some(own), Some(other)) => own.order(other),
            _ => other.score.total_cmp(&self.score),
        };
        let order = order.then_with(|| self.beginning.cmp(&other.beginning));
        order.then_with(|| self.key().cmp(other.key()))
    }
}

impl Candidate<'_> {
    fn key(&self) -> &Arc<[u8]> {
        &self.documents.get(self.id).key
    }

    fn sorted_by(&self) -> Option<&SortedBy> {
        self.more.as_ref()?.sorted_by.as_ref()
    }

    fn explained(&self) -> usize {
        let explanation = self.more.as_ref().and_then(|more| more.explanation.as_ref());
        explanation.map_or(0, Explanation::size)
    }
}

impl<'i> Top<'i> {
    pub(super) fn new(index: &'i Index, wanted: usize, sort: Option<Sort>) -> Top<'i> {
        let common = index.documents.common_score();
        Top { index, wanted, sort, best: BinaryHeap::new(), held: 0, common }
    }

    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether nothing but what words add decides what is best.
    pub(super) fn is_by_words(&self, scoring: &Scoring<'_>) -> bool {
        self.sort.is_none() && scoring.is_quick() && self.common.is_some_and(|score| score > 0.0)
    }

    /// What words must add, about, for a document to be among the best; none if anything will do.
    pub(super) fn least(&self) -> Option<f64> {
        if self.wanted == 0 {
            return Some(f64::INFINITY);
        }
        let worst = self.best.peek().filter(|_| self.best.len() == self.wanted)?;
        Some(worst.score / self.common.unwrap_or(1.0))
    }

    /// Scores a document at which `matcher` is, and keeps it if it is among the best.
    pub(super) fn offer(
        &mut self,
        matcher: &mut Matcher<'_>,
        scoring: &Scoring<'_>,
        id: DocumentId,
    ) {
        if self.wanted == 0 {
            return;
        }
        if !scoring.is_quick() {
            let entry = self.index.documents.get(id);
            let (score, explanation) = scoring.score(matcher, id, entry);
            return self.keep(id, score, explanation);
        }
        let words = scoring.quick(matcher, id, self.index.documents.words()[id as usize]);
        self.offer_words(id, words);
    }

    /// Keeps a document if it is among the best, to whose score words add that much.
    pub(super) fn offer_words(&mut self, id: DocumentId, words: f64) {
        let own = self.common.unwrap_or_else(|| self.index.documents.get(id).score);
        self.keep(id, own * words, None);
    }

    fn keep(&mut self, id: DocumentId, score: f64, explanation: Option<Explanation>) {
        let documents = &self.index.documents;
        let is_full = self.best.len() >= self.wanted;
        if let Some(worst) = self.best.peek().filter(|_| is_full && self.sort.is_none()) {
            // Most are worse than the worst of many, which is told without looking at them.
            let order = worst.score.total_cmp(&score);
            if order.then_with(|| documents.beginning(id).cmp(&worst.beginning)).is_gt() {
                return;
            }
        }
        let beginning = documents.beginning(id);
        let sorted_by = self.sort.map(|sort| sort.of(documents.get(id)));
        let more = (explanation.is_some() || sorted_by.is_some())
            .then(|| Box::new(More { explanation, sorted_by }));
        let candidate = Candidate { score, beginning, id, documents, more };
        self.held += candidate.explained();
        self.best.push(candidate);
        if self.best.len() > self.wanted
            && let Some(worst) = self.best.pop()
        {
            self.held -= worst.explained();
        }
    }

    /// Whether the query is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.index.is_stopped()
    }

    /// Refuses to hold more than the query may.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.index.allowance().check(self.best.len() * size_of::<Hit>() + self.held)
    }

    /// They, the best first.
    pub(super) fn into_hits(self) -> Vec<Hit> {
        let sorted = self.best.into_sorted_vec().into_iter();
        let hit = |candidate: Candidate<'_>| {
            let key = candidate.key().clone();
            let (explanation, sorted_by) =
                candidate.more.map_or((None, None), |more| (more.explanation, more.sorted_by));
            Hit {
                key,
                score: candidate.score,
                explanation,
                distance: None,
                distances: Vec::new(),
                sorted_by,
            }
        };
        sorted.map(hit).collect()
    }
}
