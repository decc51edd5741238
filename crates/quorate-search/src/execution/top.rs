//! The best documents so far.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::mem::size_of;

use super::matcher::Matcher;
use super::score::{Explanation, Scoring};
use super::{Hit, Ranked, Sort};
use crate::error::Error;
use crate::index::{DocumentId, Index};

/// As many of the best as are wanted.
pub(super) struct Top<'i> {
    index: &'i Index,
    wanted: usize,
    sort: Option<Sort>,
    best: BinaryHeap<Ranked>,
    /// Bytes of explanations, about.
    held: usize,
    /// The score of every document, if all have the same.
    common: Option<f64>,
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
        Some(worst.0.score / self.common.unwrap_or(1.0))
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
        let own = self.common.unwrap_or_else(|| self.index.documents.get(id).score);
        self.keep(id, own * words, None);
    }

    fn keep(&mut self, id: DocumentId, score: f64, explanation: Option<Explanation>) {
        // Most are worse than the worst of many, which is told without a copy.
        let is_full = self.best.len() == self.wanted;
        let hopeless = |worst: &Ranked| self.sort.is_none() && score < worst.0.score && is_full;
        if self.best.peek().is_some_and(hopeless) {
            return;
        }
        let entry = self.index.documents.get(id);
        self.held += explanation.as_ref().map_or(0, Explanation::size);
        self.best.push(Ranked(Hit {
            key: entry.key.clone(),
            score,
            explanation,
            distance: None,
            distances: Vec::new(),
            sorted_by: self.sort.map(|sort| sort.of(entry)),
        }));
        if self.best.len() > self.wanted
            && let Some(Ranked(worst)) = self.best.pop()
        {
            self.held -= worst.explanation.as_ref().map_or(0, Explanation::size);
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
        self.best.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect()
    }
}
