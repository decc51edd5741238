//! The best documents that have several terms, also next to each other, by windows of documents.
//!
//! The rarest term says which documents of a window come into question. Bits of terms that many
//! documents have sort out most. Of each other term either these are sought, or, if it has not many
//! more documents there, all of it are laid out by their places in the window, so that nothing is
//! decided for one at a time. What is left is counted; only documents that may be among the best, by
//! a sum in single precision, are scored.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::matcher::{All, Kind, Matcher};
use super::positions::following;
use super::pruning::ROUGH;
use super::score::{Rough, Scoring};
use super::top::Top;
use super::window::{WINDOW, base_of, ones_of};
use crate::error::Error;
use crate::index::{DocumentId, Position, Reader, frequency, offset, position, said};
use crate::schema::Fields;

/// As many times more documents may be laid out as would be sought.
const LAID_OUT: usize = 8;

/// Terms at most; each takes 8 kB.
const TERMS_MAX: usize = 16;

/// A term that documents must have.
struct Term<'a> {
    reader: Reader<'a>,
    /// One that goes through what is looked at more closely.
    behind: Reader<'a>,
    weight: f64,
    rarity: f64,
    rough: Rough,
    /// What heads say of the documents of the window, by their places.
    said: Box<[u16; WINDOW]>,
    /// Whether they do of those that have all terms: else it has to be sought.
    is_known: bool,
    /// The most that it adds in the window.
    most: f32,
}

/// Terms, all of which any document must have.
pub(super) struct Meeting<'a> {
    terms: Vec<Term<'a>>,
    /// The terms, the rarest first.
    order: Vec<usize>,
    /// Multiplies scores.
    weight: f64,
    /// Whether each must be right behind the one before it.
    is_phrase: bool,
    /// The places in the window of those that have the terms so far.
    places: Vec<u16>,
    /// Where the terms are in a document, kept for its memory.
    positions: Vec<Vec<Position>>,
}

impl<'a> Meeting<'a> {
    /// The terms of `matcher`, before it has gone anywhere; none if it is anything but terms in any
    /// field, which are anywhere or a phrase.
    pub(super) fn of(matcher: &Matcher<'a>, scoring: &Scoring<'_>) -> Option<Meeting<'a>> {
        let Kind::All(All { children, order, slop, in_order, .. }) = &matcher.kind else {
            return None;
        };
        let is_phrase = match (slop, in_order) {
            (None, false) => false,
            (Some(0), true) => true,
            _ => return None,
        };
        if !(1..=TERMS_MAX).contains(&children.len()) {
            return None;
        }
        let term = |child: &Matcher<'a>| {
            let Kind::Term { reader, fields: Fields::ALL, term } = &child.kind else {
                return None;
            };
            let rough = scoring.rough(child.weight * matcher.weight, term.rarity)?;
            Some(Term {
                reader: reader.clone(),
                behind: reader.clone(),
                weight: child.weight,
                rarity: term.rarity,
                rough,
                said: Box::new([0; WINDOW]),
                is_known: true,
                most: 0.0,
            })
        };
        let terms: Option<Vec<Term<'a>>> = children.iter().map(term).collect();
        Some(Meeting {
            terms: terms?,
            order: order.clone(),
            weight: matcher.weight,
            is_phrase,
            places: Vec::new(),
            positions: vec![Vec::new(); children.len()],
        })
    }

    /// Offers those that may be among the best, and refuses to hold more than a query may. Returns
    /// how many documents there are. `words` says how many words each document has.
    pub(super) fn best(
        &mut self,
        words: &[u32],
        scoring: &Scoring<'_>,
        top: &mut Top<'a>,
        allowed: Option<&RoaringBitmap>,
    ) -> Result<u64, Error> {
        let mut total = 0;
        while let Some(base) = self.next().filter(|_| !top.is_stopped()) {
            let may_be_best = self.meet(base, top.least());
            if let Some(allowed) = allowed {
                self.places.retain(|&place| allowed.contains(base + u32::from(place)));
            }
            if self.is_phrase {
                self.keep_phrases(base);
            }
            total += self.places.len() as u64;
            if may_be_best && top.wanted() > 0 {
                self.offer(base, words, scoring, top);
            }
            top.check()?;
        }
        Ok(total)
    }

    /// The next window in which every term has a document.
    fn next(&mut self) -> Option<DocumentId> {
        let mut first = 0;
        let mut agreed = 0;
        while agreed < self.order.len() {
            let id = self.terms[self.order[agreed]].reader.seek(first)?;
            if base_of(id) > base_of(first) {
                (first, agreed) = (base_of(id), 0);
            } else {
                agreed += 1;
            }
        }
        Some(base_of(first))
    }

    /// Finds the documents of a window that have all terms. Returns whether they may come so far as
    /// `least`.
    fn meet(&mut self, base: DocumentId, least: Option<f64>) -> bool {
        let last = base + (WINDOW - 1) as u32;
        let Meeting { terms, places, .. } = self;
        places.clear();
        let mut most = 0.0;
        for term in terms.iter_mut() {
            term.most = term.rough.most(term.reader.bound(last));
            most += f64::from(term.most);
        }
        let may_be_best = least.is_none_or(|least| most * ROUGH >= least);
        let Some((&rarest, others)) = self.order.split_first() else { return false };
        let is_dense = |term: &Term<'_>| term.reader.bits(base).is_some();
        if !may_be_best && !self.is_phrase && terms.iter().all(is_dense) {
            let mut bits = [u64::MAX; WINDOW / 64];
            for own in terms.iter().map(|term| term.bits(base)) {
                bits.iter_mut().zip(own).for_each(|(bits, own)| *bits &= own);
            }
            places.extend(ones_of(&bits).map(|place| place as u16));
            terms[rarest].reader.leave(last);
            return false;
        }
        terms[rarest].take(last, places);
        for &other in others {
            if is_dense(&terms[other]) {
                let bits = terms[other].bits(base);
                keep(places, |place| bits[place / 64] >> (place % 64) & 1 != 0);
            }
        }
        for &other in others {
            let term = &mut terms[other];
            term.is_known = self.is_phrase || !is_dense(term);
            if !term.is_known {
                continue;
            }
            if places.len() * LAID_OUT >= term.reader.entries(last) {
                term.lay_out(last, places);
            } else {
                term.seek(base, places);
            }
        }
        may_be_best
    }

    /// Keeps documents in which the terms follow each other.
    fn keep_phrases(&mut self, base: DocumentId) {
        let Meeting { terms, positions, places, .. } = self;
        let at = |term: &Term<'_>, place: usize| position(term.said[place % WINDOW]);
        // Most often each is there once, which its head says. The others are looked at below.
        keep(places, |place| {
            let begin = terms.first().and_then(|term| at(term, place));
            let (mut is_known, mut follows) = (true, true);
            for (term, expected) in terms.iter().zip(begin.unwrap_or(0)..) {
                let at = at(term, place);
                is_known &= at.is_some();
                follows &= at == Some(expected);
            }
            !is_known | follows
        });
        places.retain(|&place| {
            if terms.iter().all(|term| at(term, place.into()).is_some()) {
                return true;
            }
            let mut there = 0;
            for term in terms.iter_mut() {
                let positions = &mut positions[there];
                positions.clear();
                match at(term, place.into()) {
                    Some(position) => positions.push((0, position)),
                    None => {
                        term.behind.seek(base + u32::from(place));
                        term.behind.positions(Fields::ALL, positions);
                    }
                }
                // What has no place does not matter.
                there += usize::from(!positions.is_empty());
            }
            following(&positions[..there])
        });
    }

    /// Offers those that may be among the best.
    fn offer(&mut self, base: DocumentId, words: &[u32], scoring: &Scoring<'_>, top: &mut Top<'_>) {
        let needed =
            |top: &Top<'_>| top.least().map_or(f32::NEG_INFINITY, |least| (least / ROUGH) as f32);
        let mut least = needed(top);
        for &place in &self.places {
            let id = base + u32::from(place);
            let (place, length) = (usize::from(place), words[id as usize]);
            let each = self.terms.iter();
            let most: f32 = each.map(|term| term.most_of(place, length)).sum();
            if most < least {
                continue;
            }
            self.terms.iter_mut().for_each(|term| term.know(place, id));
            let each = self.terms.iter();
            let sum: f32 = each.map(|term| term.rough_of(place, length)).sum();
            if sum < least {
                continue;
            }
            let mut added = 0.0;
            for term in &mut self.terms {
                let f = term.frequency(place, id);
                added += scoring.bm25(term.weight, term.rarity, f.into(), length);
            }
            top.offer_words(id, self.weight * added);
            least = needed(top);
        }
    }
}

impl Term<'_> {
    /// The documents of a window that have the term, of which there are bits.
    fn bits(&self, base: DocumentId) -> [u64; WINDOW / 64] {
        let mut bits = [0; WINDOW / 64];
        let own = self.reader.bits(base).unwrap_or_default();
        bits.iter_mut().zip(own).for_each(|(bits, own)| *bits = *own);
        bits
    }

    /// All places up to `last` that have the term.
    fn take(&mut self, last: DocumentId, places: &mut Vec<u16>) {
        let (laid, base) = (&mut *self.said, base_of(last));
        self.reader.take(last, |first, heads| {
            let first = first.wrapping_sub(base);
            places.extend(heads.iter().map(|&head| {
                let place = first.wrapping_add(offset(head)) as usize % WINDOW;
                laid[place] = said(head);
                place as u16
            }));
        });
    }

    /// The most that it adds to the score of a document, as far as that is known.
    fn most_of(&self, place: usize, length: u32) -> f32 {
        if self.is_known { self.rough_of(place, length) } else { self.most }
    }

    /// What it adds, roughly.
    fn rough_of(&self, place: usize, length: u32) -> f32 {
        self.rough.score(frequency(self.said[place]), length)
    }

    /// Finds out what the head says of a document which has the term.
    fn know(&mut self, place: usize, id: DocumentId) {
        if !self.is_known {
            self.reader.seek(id);
            self.said[place] = self.reader.said();
        }
    }

    /// Leaves the places that have the term, of which all up to `last` are laid out.
    fn lay_out(&mut self, last: DocumentId, places: &mut Vec<u16>) {
        let (laid, base) = (&mut *self.said, base_of(last));
        laid.fill(0);
        self.reader.take(last, |first, heads| {
            let first = first.wrapping_sub(base);
            for &head in heads {
                laid[first.wrapping_add(offset(head)) as usize % WINDOW] = said(head);
            }
        });
        keep(places, |place| laid[place % WINDOW] != 0);
    }

    /// Leaves the places that have the term, each of which is sought.
    fn seek(&mut self, base: DocumentId, places: &mut Vec<u16>) {
        places.retain(|&place| {
            let id = base + u32::from(place);
            let is_there = self.reader.seek(id) == Some(id);
            if is_there {
                self.said[usize::from(place)] = self.reader.said();
            }
            is_there
        });
    }

    /// How often the term is in a document of the window.
    fn frequency(&mut self, place: usize, id: DocumentId) -> u32 {
        match frequency(self.said[place]) {
            u8::MAX => {
                self.behind.seek(id);
                self.behind.frequency()
            }
            frequency => frequency.into(),
        }
    }
}

/// Keeps some places, without deciding anything for one at a time.
fn keep(places: &mut Vec<u16>, is_kept: impl Fn(usize) -> bool) {
    let mut kept = 0;
    for at in 0..places.len() {
        let place = places[at];
        places[kept] = place;
        kept += usize::from(is_kept(place.into()));
    }
    places.truncate(kept);
}
