//! The best documents of alternatives, by windows of documents.
//!
//! In each window the documents of every term are noted, so that they are counted exactly. What
//! scores are compared with is the worst of the best so far; the most that each term adds in the
//! window follows from its blocks (block-max: Ding and Suel, 2011). Terms that could not lift a
//! document over that all together are not added up (MaxScore: Turtle and Flood, 1995), the others
//! are, roughly; only documents that may be among the best are scored.

use alloc::vec;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::matcher::{Kind, Matcher};
use super::score::Scoring;
use super::top::Top;
use crate::error::Error;
use crate::index::{Bound, DocumentId, Reader};
use crate::schema::Fields;

/// Documents of a window.
const WINDOW: usize = 4096;

/// Documents of a word of bits.
const BITS: usize = 64;

/// Terms that are put in order for a window, so that as many as possible are only noted. More than
/// that have few documents each.
const SORTED_MAX: usize = 16;

/// By how much rough sums may be too low, and more.
const ROUGH: f64 = 1.0 + 1e-4;

/// A term among alternatives.
pub(super) struct Leaf<'a> {
    reader: Reader<'a>,
    weight: f64,
    rarity: f64,
    /// The first document that was not looked at.
    next: Option<DocumentId>,
    /// The most that it adds in the window.
    most: f64,
}

/// Alternatives of terms, which any document must have one of.
pub(super) struct Alternatives<'a> {
    leaves: Vec<Leaf<'a>>,
    /// Documents of the window that have a term.
    bits: Vec<u64>,
    /// What terms add to scores, roughly.
    sums: Vec<f32>,
    /// Whether more may have been added than is right.
    uncounted: bool,
}

impl<'a> Alternatives<'a> {
    /// The terms of `matcher`, before it has gone anywhere; none if it is anything but alternatives
    /// of terms in any field.
    pub(super) fn of(matcher: &Matcher<'a>) -> Option<Alternatives<'a>> {
        let mut leaves = Vec::new();
        collect(matcher, 1.0, &mut leaves)?;
        let (bits, sums) = (vec![0; WINDOW / BITS], vec![0.0; WINDOW]);
        Some(Alternatives { leaves, bits, sums, uncounted: false })
    }

    /// Offers those that may be among the best, and refuses to hold more than a query may. Returns
    /// how many documents there are. `words` says how many words each document has.
    pub(super) fn best(
        mut self,
        words: &[u32],
        offered: &mut Offered<'_, '_, '_>,
    ) -> Result<u64, Error> {
        if let ([leaf], None) = (self.leaves.as_mut_slice(), offered.allowed) {
            return leaf.best(words, offered);
        }
        let mut total = 0;
        while let Some(first) = self.leaves.iter().filter_map(|leaf| leaf.next).min() {
            if offered.top.is_stopped() {
                break;
            }
            let base = first - first % WINDOW as u32;
            let last = base + (WINDOW - 1) as u32;
            if let Some(rest) = self.fill(base, last, words, offered) {
                self.offer(base, rest, offered);
            }
            total += match offered.allowed {
                None => self.bits.iter().map(|bits| u64::from(bits.count_ones())).sum(),
                Some(_) => {
                    self.bits().filter(|&at| offered.allows(base + at as u32)).count() as u64
                }
            };
            offered.top.check()?;
        }
        Ok(total)
    }

    /// Notes the documents of a window, and adds up what may make them one of the best. Returns
    /// what the others add at most; none if nothing comes so far.
    fn fill(
        &mut self,
        base: DocumentId,
        last: DocumentId,
        words: &[u32],
        offered: &Offered<'_, '_, '_>,
    ) -> Option<f64> {
        self.bits.fill(0);
        let least = offered.top.least();
        if let Some(least) = least {
            for leaf in &mut self.leaves {
                let is_there = leaf.next.is_some_and(|next| next <= last);
                leaf.most =
                    if is_there { leaf.most(leaf.reader.bound(last), offered) } else { 0.0 };
            }
            if self.leaves.len() <= SORTED_MAX {
                self.leaves.sort_by(|one, other| one.most.total_cmp(&other.most));
            }
            if self.leaves.iter().map(|leaf| leaf.most).sum::<f64>() < least {
                let bits = &mut self.bits;
                self.leaves.iter_mut().for_each(|leaf| leaf.note(base, last, bits));
                return None;
            }
        }
        self.sums.fill(0.0);
        self.uncounted = false;
        let mut rest = 0.0;
        for leaf in &mut self.leaves {
            if least.is_some_and(|least| rest + leaf.most < least) {
                rest += leaf.most;
                leaf.note(base, last, &mut self.bits);
                continue;
            }
            let rough = offered.scoring.rough(leaf.weight, leaf.rarity);
            let (bits, sums) = (&mut self.bits, &mut self.sums);
            let uncounted = &mut self.uncounted;
            leaf.take(last, |id, frequency| {
                let place = (id - base) as usize;
                bits[place / BITS] |= 1 << (place % BITS);
                sums[place] += rough.score(frequency, words[id as usize]);
                *uncounted |= frequency == u8::MAX;
            });
        }
        Some(rest)
    }

    /// Offers those of the window that may be among the best.
    fn offer(&self, base: DocumentId, rest: f64, offered: &mut Offered<'_, '_, '_>) {
        let here = self.least_here(base, offered);
        let reaches = |sum: f32, offered: &Offered<'_, '_, '_>| {
            let sum = (f64::from(sum) + rest) * ROUGH;
            here.is_none_or(|least| sum >= least)
                && offered.top.least().is_none_or(|least| sum >= least)
        };
        for (word, bits) in self.bits.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            let sums = &self.sums[word * BITS..][..BITS];
            let greatest = sums.iter().fold(0.0_f32, |greatest, sum| greatest.max(*sum));
            if !reaches(greatest, offered) {
                continue;
            }
            for place in places(*bits).filter(|&place| sums[place] <= greatest) {
                if reaches(sums[place], offered) {
                    offered.offer(base + (word * BITS + place) as DocumentId);
                }
            }
        }
    }

    /// While there are not enough: what the best of the window alone reach, if these are enough.
    fn least_here(&self, base: DocumentId, offered: &Offered<'_, '_, '_>) -> Option<f64> {
        if offered.top.least().is_some() || self.uncounted {
            return None;
        }
        let allowed = self.bits().filter(|&at| offered.allows(base + at as DocumentId));
        let mut sums: Vec<f32> = allowed.map(|place| self.sums[place]).collect();
        let place = offered.top.wanted().checked_sub(1).filter(|place| *place < sums.len())?;
        let (_, least, _) = sums.select_nth_unstable_by(place, |one, other| other.total_cmp(one));
        Some(f64::from(*least) / ROUGH)
    }

    /// The places of documents in the window.
    fn bits(&self) -> impl Iterator<Item = usize> {
        let words = self.bits.iter().enumerate();
        words.flat_map(|(word, &bits)| places(bits).map(move |place| word * BITS + place))
    }
}

/// Where documents go that may be among the best.
pub(super) struct Offered<'o, 'a, 'r> {
    /// What the alternatives were made of.
    pub(super) matcher: &'o mut Matcher<'a>,
    pub(super) scoring: &'o Scoring<'r>,
    pub(super) top: &'o mut Top<'a>,
    /// The documents that count, if not all.
    pub(super) allowed: Option<&'o RoaringBitmap>,
}

impl Offered<'_, '_, '_> {
    fn allows(&self, id: DocumentId) -> bool {
        self.allowed.is_none_or(|allowed| allowed.contains(id))
    }

    fn offer(&mut self, id: DocumentId) {
        if self.allows(id) {
            assert!(self.matcher.is_at(id), "invariant: who has a term is matched");
            self.top.offer(self.matcher, self.scoring, id);
        }
    }
}

impl Leaf<'_> {
    /// The best of a term alone. Returns how many documents have it.
    fn best(&mut self, words: &[u32], offered: &mut Offered<'_, '_, '_>) -> Result<u64, Error> {
        let rough = offered.scoring.rough(self.weight, self.rarity);
        let total = self.reader.left();
        while let Some((last, bound)) = self.reader.block().filter(|_| !offered.top.is_stopped()) {
            let most = self.most(bound, offered);
            if offered.top.least().is_some_and(|least| most < least) {
                self.reader.pass_block();
                continue;
            }
            self.reader.take(last, |id, frequency| {
                let most = f64::from(rough.score(frequency, words[id as usize])) * ROUGH;
                if offered.top.least().is_none_or(|least| most >= least) {
                    offered.offer(id);
                }
            });
            offered.top.check()?;
        }
        Ok(total)
    }

    fn most(&self, bound: Bound, offered: &Offered<'_, '_, '_>) -> f64 {
        offered.scoring.bm25_most(self.weight, self.rarity, bound) * ROUGH
    }

    fn note(&mut self, base: DocumentId, last: DocumentId, bits: &mut [u64]) {
        self.take(last, |id, _| {
            let place = (id - base) as usize;
            bits[place / BITS] |= 1 << (place % BITS);
        });
    }

    fn take(&mut self, last: DocumentId, take: impl FnMut(DocumentId, u8)) {
        if self.next.is_some_and(|next| next <= last) {
            self.reader.take(last, take);
            self.next = self.reader.document();
        }
    }
}

/// Collects the terms of alternatives.
fn collect<'a>(matcher: &Matcher<'a>, weight: f64, leaves: &mut Vec<Leaf<'a>>) -> Option<()> {
    let weight = weight * matcher.weight;
    match &matcher.kind {
        Kind::Term { reader, fields: Fields::ALL, term } if weight >= 0.0 => {
            let (reader, rarity) = (reader.clone(), term.rarity);
            let next = reader.document();
            leaves.push(Leaf { reader, weight, rarity, next, most: 0.0 });
            Some(())
        }
        Kind::Any { children } if weight >= 0.0 => {
            children.iter().try_for_each(|child| collect(child, weight, leaves))
        }
        _ => None,
    }
}

/// The places of the bits that are set.
fn places(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(place)
    })
}
