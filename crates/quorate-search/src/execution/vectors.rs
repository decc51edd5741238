//! The nearest vectors, and those within a distance.

use alloc::borrow::Cow;
use alloc::collections::BinaryHeap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::matcher::Matcher;
use super::score::Scoring;
use super::{Hit, Hits, Ranked};
use crate::error::{Code, Error};
use crate::index::{Compared, FieldIndex, Index};
use crate::query::{Kind, Node, Target};

impl Index {
    /// The documents with a vector within a distance of another.
    pub(super) fn within(&self, radius: f64, target: &Target) -> Result<RoaringBitmap, Error> {
        if radius < 0.0 {
            let text = format!(
                "Error parsing vector similarity query: negative radius ({radius}) given in a range \
                 query"
            );
            return Err(Error::new(Code::BadQuery, text));
        }
        let FieldIndex::Vectors(vectors) = self.field(target.field) else {
            return Ok(RoaringBitmap::new());
        };
        Ok(vectors.compared(&target.bytes).within(radius, &target.options))
    }

    /// Of what `filter` matches and `allowed` has, the `count` nearest. `scored` matches the same
    /// as `filter`.
    pub(super) fn nearest(
        &self,
        count: u64,
        target: &Target,
        filter: Matcher<'_>,
        mut scored: Matcher<'_>,
        scoring: &Scoring<'_>,
        allowed: Option<&RoaringBitmap>,
    ) -> Hits {
        let among = filter.documents(self.documents.every());
        let among = match (among, allowed) {
            (Some(among), Some(allowed)) => Some(Cow::Owned(&*among & allowed)),
            (None, Some(allowed)) => Some(Cow::Borrowed(allowed)),
            (among, None) => among,
        };
        if self.is_stopped() {
            // What matched since may be none of it.
            return Hits { total: 0, best: Vec::new(), nearest: Some(count) };
        }
        let compared = self.compared(target);
        let found =
            compared.map(|compared| compared.nearest(count, among.as_deref(), &target.options));
        let mut found = found.unwrap_or_default();
        // Matchers go from one document to a later one.
        found.sort_unstable_by_key(|&(_, id)| id);
        let mut best = BinaryHeap::new();
        for (distance, id) in found {
            // Also takes it there.
            if !scored.is_at(id) {
                assert!(self.is_stopped(), "invariant: what is found was matched");
                break;
            }
            let entry = self.documents.get(id);
            let (score, explanation) = scoring.score(&mut scored, id, entry);
            best.push(Ranked(Hit {
                key: entry.key.clone(),
                score,
                explanation,
                distance: Some(distance),
                distances: Vec::new(),
                sorted_by: None,
            }));
            if best.len() as u64 > count {
                best.pop();
            }
        }
        let best: Vec<Hit> = best.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect();
        Hits { total: best.len() as u64, best, nearest: Some(count) }
    }

    /// The distances that a query has given names.
    pub(crate) fn distances<'a>(&'a self, node: &'a Node) -> Distances<'a> {
        let mut distances = Distances { index: self, named: Vec::new() };
        distances.collect(node);
        distances
    }

    fn compared<'a>(&'a self, target: &Target) -> Option<Compared<'a>> {
        match self.field(target.field) {
            FieldIndex::Vectors(vectors) => Some(vectors.compared(&target.bytes)),
            FieldIndex::Terms
            | FieldIndex::Labels(_)
            | FieldIndex::Numbers(_)
            | FieldIndex::Places(_)
            | FieldIndex::Shapes(_) => None,
        }
    }
}

/// The distances that a query has given names, to be told of documents.
pub(crate) struct Distances<'a> {
    index: &'a Index,
    named: Vec<Named<'a>>,
}

struct Named<'a> {
    name: &'a str,
    compared: Compared<'a>,
    /// It is told up to here.
    radius: f64,
}

impl<'a> Distances<'a> {
    fn collect(&mut self, node: &'a Node) {
        match &node.kind {
            Kind::And(nodes) | Kind::Or(nodes) => nodes.iter().for_each(|node| self.collect(node)),
            Kind::Optional(inner) => self.collect(inner),
            Kind::Nearest { filter, vector, .. } => {
                self.add(vector, f64::INFINITY);
                self.collect(filter);
            }
            Kind::Within { radius, vector } => self.add(vector, *radius),
            _ => {}
        }
    }

    fn add(&mut self, target: &'a Target, radius: f64) {
        let Some(name) = &target.distance_name else { return };
        let compared = self.index.compared(target);
        self.named.extend(compared.map(|compared| Named { name, compared, radius }));
    }

    /// Those of the document of this key, with their names.
    pub(crate) fn of(&self, key: &[u8]) -> Vec<(String, f64)> {
        let mut distances = Vec::new();
        if self.named.is_empty() {
            return distances;
        }
        let Some(id) = self.index.documents.number(key) else { return distances };
        for Named { name, compared, radius } in &self.named {
            if let Some(distance) = compared.distance(id).filter(|distance| distance <= radius) {
                distances.push(((*name).into(), distance));
            }
        }
        distances
    }
}
