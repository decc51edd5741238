//! The documents of a term that many have, in a bit each, besides its postings: then it costs little
//! to say which documents of a window have it.

use alloc::vec::Vec;
use core::mem::size_of;

use super::postings::DocumentId;

/// Kept from one document in so many on.
const KEPT_FROM: u64 = 16;

/// Forgotten below one in so many.
const KEPT_TO: u64 = 32;

/// Terms of fewer documents are looked through fast enough.
const DOCUMENTS_MIN: u32 = 1024;

#[derive(Debug, Clone, Default)]
pub(super) struct Dense(Vec<u64>);

impl Dense {
    /// Whether there is anything kept; if so, it is right for every document.
    pub(super) fn is_kept(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether it is to be kept of a term that so many documents have up to `last`, if it is not.
    pub(super) fn is_due(&self, documents: u32, last: DocumentId) -> bool {
        let share = u64::from(documents) * KEPT_FROM;
        !self.is_kept() && documents >= DOCUMENTS_MIN && share > u64::from(last)
    }

    /// Notes a document.
    pub(super) fn insert(&mut self, document: DocumentId) {
        let word = document as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (document % 64);
    }

    /// Takes a document out, if anything is kept.
    pub(super) fn remove(&mut self, document: DocumentId) {
        if let Some(word) = self.0.get_mut(document as usize / 64) {
            *word &= !(1 << (document % 64));
        }
    }

    /// Forgets all if so few documents have the term.
    pub(super) fn settle(&mut self, documents: u32) {
        if u64::from(documents) * KEPT_TO < self.0.len() as u64 * 64 {
            self.0 = Vec::new();
        }
    }

    /// Bytes.
    pub(super) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }

    /// The bits from a document on, whose number is a multiple of 64; none if nothing is kept.
    pub(super) fn from(&self, document: DocumentId) -> Option<&[u64]> {
        let word = document as usize / 64;
        self.is_kept().then(|| self.0.get(word..).unwrap_or_default())
    }
}
