//! The numbers of a `NUMERIC` field, in order.

use alloc::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::postings::DocumentId;
use crate::query::Range;

/// Numbers and the documents that have them.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    numbers: BTreeSet<(Ordered, DocumentId)>,
}

/// A number by its place among all: integers in this order compare like the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered(u64);

impl Ordered {
    const SIGN: u64 = 1 << 63;

    fn new(number: f64) -> Ordered {
        // There is one zero.
        let bits = (number + 0.0).to_bits();
        Ordered(if bits & Self::SIGN == 0 { bits | Self::SIGN } else { !bits })
    }

    fn number(self) -> f64 {
        let bits = if self.0 & Self::SIGN == 0 { !self.0 } else { self.0 & !Self::SIGN };
        f64::from_bits(bits)
    }
}

impl Numbers {
    pub(super) fn insert(&mut self, number: f64, document: DocumentId) {
        self.numbers.insert((Ordered::new(number), document));
    }

    pub(super) fn remove(&mut self, number: f64, document: DocumentId) {
        self.numbers.remove(&(Ordered::new(number), document));
    }

    /// The documents that have a number in the range.
    pub(crate) fn within(&self, range: Range) -> RoaringBitmap {
        let mut documents = RoaringBitmap::new();
        if range.lower.number > range.upper.number {
            return documents;
        }
        let first = (Ordered::new(range.lower.number), DocumentId::MIN);
        let last = (Ordered::new(range.upper.number), DocumentId::MAX);
        for &(number, document) in self.numbers.range(first..=last) {
            if range.contains(number.number()) {
                documents.insert(document);
            }
        }
        documents
    }
}
