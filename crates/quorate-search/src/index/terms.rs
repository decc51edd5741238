//! The terms of an index, in order, and where they occur.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher as _;
use core::mem::{self, size_of};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::memory::{NODE_BYTES, SHARED_BYTES};
use super::postings::{DocumentId, Occurrence, Postings, Size};

/// The number of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TermId(u32);

/// Terms and where they occur.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    numbers: BTreeMap<Arc<str>, TermId>,
    /// The same numbers by the hashes of their terms: every word of a document is looked for.
    table: HashTable<TermId>,
    hasher: FixedState,
    terms: Vec<Term>,
    /// Numbers of terms that no document has any more.
    free: Vec<TermId>,
    /// The letters of all terms, and how often each is in them.
    letters: BTreeMap<char, usize>,
    /// Bytes of the texts of terms.
    texts: usize,
    /// Bytes and blocks of postings.
    postings: Size,
}

#[derive(Debug)]
struct Term {
    text: Arc<str>,
    postings: Postings,
}

impl Terms {
    pub(super) fn insert(
        &mut self,
        text: &str,
        document: DocumentId,
        occurrence: &Occurrence,
        words: &[u32],
    ) -> TermId {
        let number = self.find(text).unwrap_or_else(|| self.make(text));
        let postings = &mut self.terms[number.0 as usize].postings;
        self.postings += postings.insert(document, occurrence, words);
        number
    }

    fn find(&self, text: &str) -> Option<TermId> {
        let is_it = |number: &TermId| *self.terms[number.0 as usize].text == *text;
        self.table.find(self.hasher.hash_one(text), is_it).copied()
    }

    fn make(&mut self, text: &str) -> TermId {
        self.texts += text.len();
        for letter in text.chars() {
            *self.letters.entry(letter).or_default() += 1;
        }
        let text: Arc<str> = text.into();
        let term = Term { text: text.clone(), postings: Postings::default() };
        let number = match self.free.pop() {
            Some(number) => {
                self.terms[number.0 as usize] = term;
                number
            }
            None => {
                self.terms.push(term);
                TermId((self.terms.len() - 1) as u32)
            }
        };
        let hash = self.hasher.hash_one(&*text);
        let (terms, hasher) = (&self.terms, &self.hasher);
        let hash_of = |number: &TermId| hasher.hash_one(&*terms[number.0 as usize].text);
        self.table.insert_unique(hash, number, hash_of);
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn remove(&mut self, number: TermId, document: DocumentId, words: &[u32]) {
        let term = &mut self.terms[number.0 as usize];
        self.postings += term.postings.remove(document, words);
        if term.postings.documents() == 0 {
            let text = mem::replace(&mut term.text, "".into());
            self.texts -= text.len();
            self.numbers.remove(&text);
            for letter in text.chars() {
                if let Entry::Occupied(mut count) = self.letters.entry(letter) {
                    *count.get_mut() -= 1;
                    if *count.get() == 0 {
                        count.remove();
                    }
                }
            }
            let hash = self.hasher.hash_one(&*text);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == number) {
                entry.remove();
            }
            self.free.push(number);
        }
    }

    /// Where a term occurs.
    pub(crate) fn get(&self, text: &str) -> Option<&Postings> {
        self.find(text).map(|number| &self.terms[number.0 as usize].postings)
    }

    /// The letters of all terms, in order.
    pub(crate) fn letters(&self) -> impl ExactSizeIterator<Item = char> {
        self.letters.keys().copied()
    }

    /// A term by its number: its text, and where it occurs.
    pub(super) fn term(&self, number: TermId) -> (&str, &Postings) {
        let term = &self.terms[number.0 as usize];
        (&term.text, &term.postings)
    }

    /// Bytes of postings, and their blocks.
    pub(super) fn postings_memory(&self) -> (usize, usize) {
        (self.postings.bytes as usize, self.postings.blocks as usize)
    }

    /// Bytes of the terms, about.
    pub(super) fn memory(&self) -> usize {
        let each = size_of::<Term>()
            + SHARED_BYTES
            + size_of::<(Arc<str>, TermId)>()
            + NODE_BYTES
            + size_of::<TermId>();
        self.texts + self.numbers.len() * each
    }

    /// How many terms there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The terms from `start` on, in order, and how many documents have them.
    pub(crate) fn from<'a>(
        &'a self,
        start: &str,
    ) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let bounds = (core::ops::Bound::Included(start), core::ops::Bound::Unbounded);
        self.numbers.range::<str, _>(bounds).map(|(text, number)| {
            (&**text, u64::from(self.terms[number.0 as usize].postings.documents()))
        })
    }
}
