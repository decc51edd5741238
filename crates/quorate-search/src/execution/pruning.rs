//! The best documents of alternatives, by windows of documents.
//!
//! In each window the documents of every term are noted, so that they are counted exactly. What
//! scores are compared with is the worst of the best so far; the most that each term adds in the
//! window follows from its blocks (block-max: Ding and Suel, 2011). Terms that could not lift a
//! document over that all together are not added up (MaxScore: Turtle and Flood, 1995), the others
//! are, roughly; only documents that may be among the best are scored.
//!
//! Of a single term the blocks that may have the best are looked at first, and then those that
//! still may have better ones.

use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::matcher::{Kind, Matcher};
use super::score::{Rough, Scoring};
use super::top::Top;
use super::window::{WINDOW, Window, base_of};
use crate::error::Error;
use crate::index::{DocumentId, Reader, frequency, offset, said};
use crate::schema::Fields;

/// Terms that are put in order for a window, so that as many as possible are only noted. More than
/// that have few documents each.
const SORTED_MAX: usize = 16;

/// By how much rough sums may be too low, and more.
pub(super) const ROUGH: f64 = 1.0 + 1e-4;

/// A term among alternatives.
pub(super) struct Leaf<'a> {
    reader: Reader<'a>,
    /// One that goes through what is looked at more closely.
    behind: Reader<'a>,
    rough: Rough,
    /// The first document that was not looked at.
    next: Option<DocumentId>,
    /// The most that it adds in the window.
    most: f64,
}

/// Alternatives of terms, which any document must have one of.
pub(super) struct Alternatives<'a> {
    leaves: Vec<Leaf<'a>>,
    /// Those whose documents were only noted in the window.
    noted: Vec<usize>,
}

impl<'a> Alternatives<'a> {
    /// The terms of `matcher`, before it has gone anywhere; none if it is anything but alternatives
    /// of terms in any field.
    pub(super) fn of(matcher: &Matcher<'a>, scoring: &Scoring<'_>) -> Option<Alternatives<'a>> {
        let mut leaves = Vec::new();
        collect(matcher, 1.0, scoring, &mut leaves)?;
        Some(Alternatives { leaves, noted: Vec::new() })
    }

    /// Offers those that may be among the best, and refuses to hold more than a query may. Returns
    /// how many documents there are. `words` says how many words each document has.
    pub(super) fn best(
        mut self,
        words: &[u32],
        offered: &mut Offered<'_, '_, '_>,
    ) -> Result<u64, Error> {
        if let ([leaf], None) = (self.leaves.as_slice(), offered.allowed) {
            return leaf.best(words, offered);
        }
        let mut window = Window::new();
        let mut total = 0;
        while let Some(first) = self.leaves.iter().filter_map(|leaf| leaf.next).min() {
            if offered.top.is_stopped() {
                break;
            }
            let base = base_of(first);
            let last = base + (WINDOW - 1) as u32;
            if let Some(rest) = self.fill(&mut window, last, words, offered) {
                self.offer(&window, base, rest, words, offered);
            }
            total += match offered.allowed {
                None => window.count(),
                Some(_) => {
                    window.places().filter(|&at| offered.allows(base + at as u32)).count() as u64
                }
            };
            window.clear();
            offered.top.check()?;
        }
        Ok(total)
    }

    /// Notes the documents of a window, and adds up what may make them one of the best. Returns
    /// what the others add at most; none if nothing comes so far.
    fn fill(
        &mut self,
        window: &mut Window,
        last: DocumentId,
        words: &[u32],
        offered: &Offered<'_, '_, '_>,
    ) -> Option<f64> {
        self.noted.clear();
        let here = |leaf: &Leaf<'_>| leaf.next.is_some_and(|next| next <= last);
        let Some(least) = offered.top.least() else {
            for leaf in self.leaves.iter_mut().filter(|leaf| here(leaf)) {
                leaf.add(window, last, words);
            }
            return Some(0.0);
        };
        let mut sum = 0.0;
        for leaf in &mut self.leaves {
            leaf.most = 0.0;
            if here(leaf) {
                leaf.most = f64::from(leaf.rough.most(leaf.reader.bound(last))) * ROUGH;
                sum += leaf.most;
            }
        }
        if self.leaves.len() <= SORTED_MAX {
            self.leaves.sort_unstable_by(|one, other| one.most.total_cmp(&other.most));
        }
        let mut rest = 0.0;
        let leaves = self.leaves.iter_mut().enumerate();
        for (at, leaf) in leaves.filter(|(_, leaf)| here(leaf)) {
            if sum < least || rest + leaf.most < least {
                rest += leaf.most;
                self.noted.push(at);
                window.note(&mut leaf.reader, last);
                leaf.next = leaf.reader.document();
            } else {
                leaf.add(window, last, words);
            }
        }
        (sum >= least).then_some(rest)
    }
}

impl Alternatives<'_> {
    /// Offers those of a window that may be among the best, where terms that were only noted add at
    /// most `rest`.
    fn offer(
        &mut self,
        window: &Window,
        base: DocumentId,
        rest: f64,
        words: &[u32],
        offered: &mut Offered<'_, '_, '_>,
    ) {
        let here = least_here(window, base, offered);
        let needed = |offered: &Offered<'_, '_, '_>| {
            let least = offered.top.least().or(here);
            least.map_or(f64::NEG_INFINITY, |least| least / ROUGH)
        };
        let mut least = needed(offered);
        window.reaching((least - rest) as f32, |place| {
            let id = base + place as DocumentId;
            let sum = f64::from(window.sum(place));
            if self.reaches(least, sum, rest, id, words[id as usize]) {
                offered.offer(id);
                least = needed(offered);
            }
            (least - rest) as f32
        });
    }

    /// Whether a document may still come so far as `least`, to which `sum` is added and, by terms
    /// that were only noted, `rest` at most. Those that add the most are looked at first.
    fn reaches(
        &mut self,
        least: f64,
        mut sum: f64,
        mut rest: f64,
        id: DocumentId,
        words: u32,
    ) -> bool {
        if self.noted.len() > SORTED_MAX {
            return true;
        }
        for &noted in &self.noted {
            let leaf = &self.leaves[noted];
            if leaf.lacks(id) {
                rest -= leaf.most;
            }
        }
        for &noted in self.noted.iter().rev() {
            // What is taken off again and again leaves an error, far below what is allowed for.
            if sum + rest < least {
                return false;
            }
            let leaf = &mut self.leaves[noted];
            if leaf.lacks(id) {
                continue;
            }
            rest -= leaf.most;
            if leaf.behind.seek(id) == Some(id) {
                sum += f64::from(leaf.rough.score(frequency(leaf.behind.said()), words));
            }
        }
        sum + rest >= least
    }
}

/// While there are not enough: what the best of the window alone reach, if these are enough.
fn least_here(window: &Window, base: DocumentId, offered: &Offered<'_, '_, '_>) -> Option<f64> {
    if offered.top.least().is_some() || window.uncounted {
        return None;
    }
    let place = offered.top.wanted().checked_sub(1)?;
    // Some of the best are most often enough to tell.
    let mut sums: Vec<f32> = match offered.allowed {
        None => window.greatest_sums().collect(),
        Some(_) => Vec::new(),
    };
    if place >= sums.len() {
        let allowed = window.places().filter(|&at| offered.allows(base + at as DocumentId));
        sums = allowed.map(|place| window.sum(place)).collect();
    }
    if place >= sums.len() {
        return None;
    }
    let (_, least, _) = sums.select_nth_unstable_by(place, |one, other| other.total_cmp(one));
    Some(f64::from(*least) / ROUGH)
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
    /// Whether a bit says that a document does not have the term.
    fn lacks(&self, id: DocumentId) -> bool {
        let bits = self.behind.bits(id - id % u64::BITS);
        bits.is_some_and(|bits| bits.first().is_none_or(|bits| bits >> (id % u64::BITS) & 1 == 0))
    }

    /// The best of a term alone. Returns how many documents have it.
    fn best(&self, words: &[u32], offered: &mut Offered<'_, '_, '_>) -> Result<u64, Error> {
        let wanted = offered.top.wanted();
        if wanted > 0 {
            let mut bounds: Vec<f32> =
                self.reader.bounds().map(|bound| self.rough.most(bound)).collect();
            let mut promising = f32::INFINITY;
            if wanted < bounds.len() {
                let mut sorted = bounds.clone();
                let order = |one: &f32, other: &f32| other.total_cmp(one);
                promising = *sorted.select_nth_unstable_by(wanted, order).1;
            }
            for (block, bound) in bounds.iter_mut().enumerate() {
                if *bound > promising {
                    self.best_of(block, words, offered)?;
                    *bound = f32::NEG_INFINITY;
                }
            }
            for (block, bound) in bounds.into_iter().enumerate() {
                let least = offered.top.least().unwrap_or(0.0);
                if f64::from(bound) * ROUGH >= least {
                    self.best_of(block, words, offered)?;
                }
            }
        }
        Ok(self.reader.left())
    }

    /// The best of a block.
    fn best_of(
        &self,
        block: usize,
        words: &[u32],
        offered: &mut Offered<'_, '_, '_>,
    ) -> Result<(), Error> {
        if offered.top.is_stopped() {
            return Ok(());
        }
        let needed =
            |top: &Top<'_>| top.least().map_or(f32::NEG_INFINITY, |least| (least / ROUGH) as f32);
        let mut least = needed(offered.top);
        let mut exact = self.reader.of_block(block);
        exact.clone().take(DocumentId::MAX, |first, heads| {
            for &head in heads {
                let id = first + offset(head);
                let (often, length) = (frequency(said(head)), words[id as usize]);
                if self.rough.score(often, length) >= least {
                    let mut often = u32::from(often);
                    if often == u32::from(u8::MAX) {
                        exact.seek(id);
                        often = exact.frequency();
                    }
                    let added = offered.scoring.only(offered.matcher, often, length);
                    offered.top.offer_words(id, added);
                    least = needed(offered.top);
                }
            }
        });
        offered.top.check()
    }

    /// Adds up what it adds in a window.
    fn add(&mut self, window: &mut Window, last: DocumentId, words: &[u32]) {
        window.add(&mut self.reader, last, self.rough, words);
        self.next = self.reader.document();
    }
}

/// Collects the terms of alternatives.
fn collect<'a>(
    matcher: &Matcher<'a>,
    weight: f64,
    scoring: &Scoring<'_>,
    leaves: &mut Vec<Leaf<'a>>,
) -> Option<()> {
    let weight = weight * matcher.weight;
    match &matcher.kind {
        Kind::Term { reader, fields: Fields::ALL, term } => {
            let (reader, rough) = (reader.clone(), scoring.rough(weight, term.rarity)?);
            let (next, behind) = (reader.document(), reader.clone());
            leaves.push(Leaf { reader, behind, rough, next, most: 0.0 });
            Some(())
        }
        Kind::Any { children } if weight >= 0.0 => {
            children.iter().try_for_each(|child| collect(child, weight, scoring, leaves))
        }
        _ => None,
    }
}
