//! Which documents of a window have a term, and what terms add to their scores, roughly.

use alloc::boxed::Box;

use super::score::Rough;
use crate::index::{DocumentId, Reader, frequency, offset, said};

/// Documents of a window.
pub(super) const WINDOW: usize = 4096;

/// Documents of a group, which is cleared and looked through as one.
const GROUP: usize = 64;

const GROUPS: usize = WINDOW / GROUP;

/// The first document of the window of one.
pub(super) fn base_of(id: DocumentId) -> DocumentId {
    id - id % WINDOW as u32
}

/// Documents from a multiple of [`WINDOW`] on.
pub(super) struct Window {
    /// Documents that have a term.
    bits: Box<[u64; GROUPS]>,
    /// What terms add to scores.
    sums: Box<[f32; WINDOW]>,
    /// The groups in which something was added: a bit each.
    added: u64,
    /// Whether more may have been added than is right.
    pub(super) uncounted: bool,
}

impl Window {
    pub(super) fn new() -> Window {
        let (bits, sums) = (Box::new([0; GROUPS]), Box::new([0.0; WINDOW]));
        Window { bits, sums, added: 0, uncounted: false }
    }

    /// Notes the documents of a term up to `last`.
    pub(super) fn note(&mut self, reader: &mut Reader<'_>, last: DocumentId) {
        if self.note_dense(reader, last) {
            return reader.leave(last);
        }
        let (base, bits) = (base_of(last), &mut *self.bits);
        reader.take(last, |first, heads| {
            let first = first.wrapping_sub(base);
            for &head in heads {
                let place = first.wrapping_add(offset(head)) as usize;
                bits[place / GROUP % GROUPS] |= 1 << (place % GROUP);
            }
        });
    }

    /// Notes the documents of a term up to `last`, and adds up what it adds. `words` says how many
    /// words each document has.
    pub(super) fn add(
        &mut self,
        reader: &mut Reader<'_>,
        last: DocumentId,
        rough: Rough,
        words: &[u32],
    ) {
        let is_noted = self.note_dense(reader, last);
        let base = base_of(last);
        let words = words.get(base as usize..).unwrap_or_default();
        let (bits, sums) = (&mut *self.bits, &mut *self.sums);
        let (mut added, mut uncounted) = (0_u64, false);
        reader.take(last, |first, heads| {
            let first = first.wrapping_sub(base);
            for &head in heads {
                let place = first.wrapping_add(offset(head)) as usize % WINDOW;
                let frequency = frequency(said(head));
                if !is_noted {
                    bits[place / GROUP] |= 1 << (place % GROUP);
                }
                added |= 1 << (place / GROUP);
                sums[place] += rough.score(frequency, words[place]);
                uncounted |= frequency == u8::MAX;
            }
        });
        self.added |= added;
        self.uncounted |= uncounted;
    }

    /// Notes the documents of a term up to `last`, if they are known by a bit each.
    fn note_dense(&mut self, reader: &Reader<'_>, last: DocumentId) -> bool {
        let Some(bits) = reader.bits(base_of(last)) else { return false };
        self.bits.iter_mut().zip(bits).for_each(|(own, bits)| *own |= bits);
        true
    }

    /// How many documents have a term.
    pub(super) fn count(&self) -> u64 {
        self.bits.iter().map(|bits| u64::from(bits.count_ones())).sum()
    }

    /// The places of documents that have a term.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        ones_of(&*self.bits)
    }

    /// What terms add to the score of a document.
    pub(super) fn sum(&self, place: usize) -> f32 {
        self.sums[place]
    }

    /// What is added to the scores of some of the documents, at most one of a group: to the one to
    /// which most is added.
    pub(super) fn greatest_sums(&self) -> impl Iterator<Item = f32> {
        ones(self.added).map(|group| greatest(&self.sums[group * GROUP..][..GROUP]))
    }

    /// Visits documents that have a term and to whose scores at least so much is added. `visit`
    /// returns how much that has to be from then on.
    pub(super) fn reaching(&self, mut least: f32, mut visit: impl FnMut(usize) -> f32) {
        // Most often nothing but what was added can be enough.
        for group in ones(if least > 0.0 { self.added } else { u64::MAX }) {
            let sums = &self.sums[group * GROUP..][..GROUP];
            if greatest(sums) < least {
                continue;
            }
            for place in ones(self.bits[group]) {
                if sums[place] >= least {
                    least = visit(group * GROUP + place);
                }
            }
        }
    }

    /// Forgets all documents.
    pub(super) fn clear(&mut self) {
        self.bits.fill(0);
        for group in ones(self.added) {
            self.sums[group * GROUP..][..GROUP].fill(0.0);
        }
        (self.added, self.uncounted) = (0, false);
    }
}

/// The places of the bits that are set in groups of 64.
pub(super) fn ones_of(bits: &[u64]) -> impl Iterator<Item = usize> {
    let groups = bits.iter().enumerate();
    groups.flat_map(|(group, &bits)| ones(bits).map(move |place| group * GROUP + place))
}

/// The places of the bits that are set.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(place)
    })
}

/// The greatest of some numbers, or 0.
fn greatest(numbers: &[f32]) -> f32 {
    let greater = |one: f32, other: f32| if one > other { one } else { other };
    let mut lanes = [0.0; 8];
    for chunk in numbers.chunks_exact(lanes.len()) {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*number, *lane);
        }
    }
    lanes.into_iter().fold(0.0, greater)
}

const _: () = assert!(GROUP == u64::BITS as usize && GROUPS == u64::BITS as usize);
