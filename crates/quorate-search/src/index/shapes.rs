//! The shapes of a `GEOSHAPE` field. A query looks at all of them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::postings::DocumentId;
use super::shape::Shape;
use crate::query::Relation;

/// Shapes of documents.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    shapes: BTreeMap<DocumentId, Vec<Shape>>,
    memory: usize,
}

impl Shapes {
    pub(super) fn insert(&mut self, shape: Shape, document: DocumentId) {
        self.memory += shape.memory();
        self.shapes.entry(document).or_default().push(shape);
    }

    pub(super) fn remove(&mut self, document: DocumentId) {
        let removed = self.shapes.remove(&document).unwrap_or_default();
        self.memory -= removed.iter().map(Shape::memory).sum::<usize>();
    }

    /// Bytes of the shapes, about.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// The documents with a shape that lies like this to another.
    pub(crate) fn lying(&self, relation: Relation, other: &Shape) -> RoaringBitmap {
        let lying = self.shapes.iter().filter(|(_, shapes)| {
            let each = |shape: &Shape| shape.lies(relation, other);
            match relation {
                // Of several none may have a point in common with it.
                Relation::Disjoint => shapes.iter().all(each),
                Relation::Within | Relation::Contains | Relation::Intersects => {
                    shapes.iter().any(each)
                }
            }
        });
        lying.map(|(document, _)| *document).collect()
    }
}
