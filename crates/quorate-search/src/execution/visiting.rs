//! Everything that a query matches, one document after the other.

use alloc::string::String;
use alloc::vec::Vec;

use super::building::Builder;
use super::score::Scoring;
use super::{Request, Statistics};
use crate::error::{Code, Error};
use crate::index::{Entry, Index};

/// What is wanted of each document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) score: bool,
    /// The terms of the query that it has.
    pub(crate) terms: bool,
}

/// A document that a query matches.
pub(crate) struct Found<'a> {
    pub(crate) entry: &'a Entry,
    /// 0 if it is not wanted.
    pub(crate) score: f64,
    /// Empty if they are not wanted.
    pub(crate) terms: Vec<String>,
}

impl Index {
    /// Visits the documents that a query matches, in no order that means anything.
    pub(crate) fn each_match(
        &self,
        request: &Request<'_>,
        statistics: &Statistics,
        wanted: Wanted,
        mut visit: impl FnMut(Found<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !statistics.fit(request.node) {
            return Err(Error::new(Code::BadQuery, "Statistics are of another query"));
        }
        let mut matcher = Builder::new(self, request, statistics).matcher()?;
        let scoring = Scoring::new(request, statistics);
        let mut next = matcher.seek(0);
        while let Some(id) = next.filter(|_| !self.is_stopped()) {
            if self.documents.sees(id) {
                let entry = self.documents.get(id);
                let score =
                    if wanted.score { scoring.score(&mut matcher, id, entry).0 } else { 0.0 };
                let mut terms = Vec::new();
                if wanted.terms {
                    matcher.collect_terms(id, &mut terms);
                }
                visit(Found { entry, score, terms })?;
            }
            next = id.checked_add(1).and_then(|target| matcher.seek(target));
        }
        Ok(())
    }
}
