//! The nearest vectors, and those within a distance.

use alloc::collections::BinaryHeap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::matcher::Matcher;
use super::score::Scoring;
use super::{Hit, Hits, Ranked};
use crate::error::{Code, Error};
use crate::index::{Compared, DocumentId, FieldIndex, Index};
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
        let compared = vectors.compared(&target.bytes);
        let near = |document: &DocumentId| {
            compared.distance(*document).is_some_and(|distance| distance <= radius)
        };
        Ok(vectors.documents().filter(near).collect())
    }

    /// Of what `filter` matches and `allowed` lets through, the `count` nearest.
    pub(super) fn nearest(
        &self,
        count: u64,
        target: &Target,
        mut filter: Matcher<'_>,
        scoring: &Scoring<'_>,
        allowed: impl Fn(DocumentId) -> bool,
    ) -> Hits {
        let compared = self.compared(target);
        let mut best = BinaryHeap::new();
        let mut next = filter.seek(0);
        while let Some(id) = next {
            let distance = compared.as_ref().and_then(|compared| compared.distance(id));
            if let Some(distance) = distance.filter(|_| count > 0 && allowed(id)) {
                let entry = self.documents.get(id);
                let (score, explanation) = scoring.score(&mut filter, id, entry);
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
            next = id.checked_add(1).and_then(|target| filter.seek(target));
        }
        let best: Vec<Hit> = best.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect();
        Hits { total: best.len() as u64, best, nearest: Some(count) }
    }

    /// The distances that a query has given names, of the document of this key.
    pub(crate) fn distances(&self, node: &Node, key: &[u8]) -> Vec<(String, f64)> {
        let mut distances = Vec::new();
        if let Some(id) = self.documents.number(key) {
            self.collect_distances(node, id, &mut distances);
        }
        distances
    }

    fn collect_distances(&self, node: &Node, id: DocumentId, distances: &mut Vec<(String, f64)>) {
        match &node.kind {
            Kind::And(nodes) | Kind::Or(nodes) => {
                nodes.iter().for_each(|node| self.collect_distances(node, id, distances));
            }
            Kind::Optional(inner) => self.collect_distances(inner, id, distances),
            Kind::Nearest { filter, vector, .. } => {
                self.add_distance(vector, id, f64::INFINITY, distances);
                self.collect_distances(filter, id, distances);
            }
            Kind::Within { radius, vector } => self.add_distance(vector, id, *radius, distances),
            _ => {}
        }
    }

    fn add_distance(
        &self,
        target: &Target,
        id: DocumentId,
        radius: f64,
        distances: &mut Vec<(String, f64)>,
    ) {
        let Some(name) = &target.distance_name else { return };
        let distance = self.compared(target).and_then(|compared| compared.distance(id));
        if let Some(distance) = distance.filter(|distance| *distance <= radius) {
            distances.push((name.clone(), distance));
        }
    }

    fn compared<'a>(&'a self, target: &Target) -> Option<Compared<'a>> {
        match self.field(target.field) {
            FieldIndex::Vectors(vectors) => Some(vectors.compared(&target.bytes)),
            FieldIndex::Terms
            | FieldIndex::Labels(_)
            | FieldIndex::Numbers(_)
            | FieldIndex::Places(_) => None,
        }
    }
}
