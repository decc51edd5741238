//! What goes through the documents that a part of a query matches.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use roaring::RoaringBitmap;
use roaring::bitmap::{IntoIter, Iter};

use super::positions::{following, nearest, within};
use crate::allowance::Stop;
use crate::index::{DocumentId, Position, Reader};
use crate::schema::Fields;

/// Goes through the documents that a part of a query matches, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Matcher<'a> {
    /// The document at which it is.
    at: Option<DocumentId>,
    /// Whether there are no more.
    ended: bool,
    /// Multiplies the score.
    pub(super) weight: f64,
    /// About how many documents it matches.
    pub(super) estimate: u64,
    pub(super) kind: Kind<'a>,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// Documents that have a term in some fields.
    Term { reader: Reader<'a>, fields: Fields, term: Term },
    /// Documents that have a label.
    Label { documents: Set<'a>, term: Term },
    /// Every document.
    Everything(Set<'a>),
    /// Documents that say nothing about how well they match.
    Filter(Set<'a>),
    /// What all children match.
    All(All<'a>),
    /// What a child matches at least.
    Any { children: Vec<Matcher<'a>> },
    /// Documents that the child does not match.
    Not { documents: Set<'a>, child: Box<Matcher<'a>> },
    /// Every document, whether the child matches it or not.
    Optional { documents: Set<'a>, child: Box<Matcher<'a>> },
}

/// A term and how many documents have it.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) text: String,
    pub(super) documents: u64,
    /// How few documents have it, as BM25 counts.
    pub(super) rarity: f64,
}

impl Term {
    /// A term that some of all documents have.
    pub(super) fn new(text: String, documents: u64, all: u64) -> Term {
        // Others may have counted more documents of the term since the first phase.
        let all = all as f64;
        let with = (documents as f64).min(all);
        let rarity = libm::log(1.0 + (all - with + 0.5) / (with + 0.5));
        Term { text, documents, rarity }
    }
}

#[derive(Debug)]
pub(super) struct All<'a> {
    pub(super) children: Vec<Matcher<'a>>,
    /// The children, those that match the fewest documents first.
    pub(super) order: Vec<usize>,
    /// How many other words may be between the words.
    pub(super) slop: Option<u32>,
    /// Whether the words must be in their order.
    pub(super) in_order: bool,
    /// Where the words are, kept for its memory.
    pub(super) places: Vec<Vec<Position>>,
    /// Ends it early.
    pub(super) stop: &'a Stop,
}

/// Documents by their numbers, in order.
pub(super) enum Set<'a> {
    Kept(&'a RoaringBitmap, Iter<'a>),
    Made(IntoIter),
}

impl core::fmt::Debug for Set<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Set")
    }
}

impl<'a> Set<'a> {
    pub(super) fn kept(documents: &'a RoaringBitmap) -> Self {
        Set::Kept(documents, documents.iter())
    }

    /// The first from `target` on, which is behind the one before.
    fn seek(&mut self, target: DocumentId) -> Option<DocumentId> {
        match self {
            Set::Kept(_, documents) => {
                documents.advance_to(target);
                documents.next()
            }
            Set::Made(documents) => {
                documents.advance_to(target);
                documents.next()
            }
        }
    }
}

impl<'a> Matcher<'a> {
    pub(super) fn new(kind: Kind<'a>, weight: f64, estimate: u64) -> Self {
        Matcher { at: None, ended: false, weight, estimate, kind }
    }

    /// The first document from `target` on. It never goes back.
    pub(super) fn seek(&mut self, target: DocumentId) -> Option<DocumentId> {
        if let Some(at) = self.at.filter(|&at| at >= target) {
            return Some(at);
        }
        if self.ended {
            return None;
        }
        self.at = self.kind.seek(target);
        self.ended = self.at.is_none();
        self.at
    }

    /// Whether it matches this document, which is not before the one at which it is.
    pub(super) fn is_at(&mut self, id: DocumentId) -> bool {
        self.seek(id) == Some(id)
    }

    /// All documents that it matches, before it has gone anywhere; none: every one of `all`.
    pub(super) fn documents(mut self, all: &RoaringBitmap) -> Option<Cow<'a, RoaringBitmap>> {
        match &self.kind {
            Kind::Everything(_) | Kind::Optional { .. } => return None,
            Kind::Label { documents: Set::Kept(documents, _), .. }
            | Kind::Filter(Set::Kept(documents, _)) => return Some(Cow::Borrowed(documents)),
            _ => {}
        }
        let mut next = self.seek(0);
        let matched = core::iter::from_fn(|| {
            let id = next?;
            next = id.checked_add(1).and_then(|target| self.seek(target));
            Some(id)
        });
        let matched: RoaringBitmap = matched.collect();
        (matched.len() < all.len()).then_some(Cow::Owned(matched))
    }

    /// Where the words are in the document at which it is, in order.
    pub(super) fn places(&mut self, id: DocumentId) -> Vec<Position> {
        let mut places = Vec::new();
        self.collect_places(id, &mut places);
        places.sort_unstable_by_key(|&(_, place)| place);
        places.dedup();
        places
    }

    fn collect_places(&mut self, id: DocumentId, places: &mut Vec<Position>) {
        match &mut self.kind {
            Kind::Term { reader, fields, .. } => reader.positions(*fields, places),
            Kind::All(All { children, .. }) | Kind::Any { children } => {
                for child in children.iter_mut() {
                    if child.is_at(id) {
                        child.collect_places(id, places);
                    }
                }
            }
            Kind::Optional { child, .. } => {
                if child.is_at(id) {
                    child.collect_places(id, places);
                }
            }
            Kind::Label { .. } | Kind::Everything(_) | Kind::Filter(_) | Kind::Not { .. } => {}
        }
    }

    /// The terms that the document has at which it is, each once.
    pub(super) fn collect_terms(&mut self, id: DocumentId, terms: &mut Vec<String>) {
        match &mut self.kind {
            Kind::Term { term, .. } => {
                if !terms.contains(&term.text) {
                    terms.push(term.text.clone());
                }
            }
            Kind::All(All { children, .. }) | Kind::Any { children } => {
                for child in children.iter_mut() {
                    if child.is_at(id) {
                        child.collect_terms(id, terms);
                    }
                }
            }
            Kind::Optional { child, .. } => {
                if child.is_at(id) {
                    child.collect_terms(id, terms);
                }
            }
            Kind::Label { .. } | Kind::Everything(_) | Kind::Filter(_) | Kind::Not { .. } => {}
        }
    }

    /// How far the words are from each other in the document at which it is, as RediSearch says
    /// it: 1 or more, for a group the root of the sum of the squares of the least distances
    /// between neighbours.
    pub(super) fn distance(&mut self, id: DocumentId) -> u32 {
        let children = match &mut self.kind {
            Kind::All(All { children, .. }) | Kind::Any { children } => children,
            Kind::Optional { child, .. } => {
                return if child.is_at(id) { child.distance(id) } else { 1 };
            }
            _ => return 1,
        };
        let mut matched: u32 = 0;
        let mut squares: u64 = 0;
        let mut previous: Option<Vec<Position>> = None;
        for child in children.iter_mut() {
            if !child.counts_at(id) {
                continue;
            }
            matched += 1;
            let places = child.places(id);
            if places.is_empty() {
                continue;
            }
            if let Some(distance) = previous.and_then(|previous| nearest(&previous, &places)) {
                squares += u64::from(distance) * u64::from(distance);
            }
            previous = Some(places);
        }
        match squares {
            0 => matched.saturating_sub(1).max(1),
            _ => squares.isqrt() as u32,
        }
    }

    /// Whether it says something about this document, which it or its group matches.
    pub(super) fn counts_at(&mut self, id: DocumentId) -> bool {
        match &mut self.kind {
            Kind::Optional { child, .. } => child.is_at(id),
            _ => self.is_at(id),
        }
    }
}

impl Kind<'_> {
    fn seek(&mut self, target: DocumentId) -> Option<DocumentId> {
        match self {
            Kind::Term { reader, fields, .. } => {
                let mut target = target;
                if *fields == Fields::ALL {
                    return reader.seek(target);
                }
                loop {
                    let id = reader.seek(target)?;
                    if reader.fields().0 & fields.0 != 0 {
                        return Some(id);
                    }
                    target = id.checked_add(1)?;
                }
            }
            Kind::Label { documents, .. }
            | Kind::Everything(documents)
            | Kind::Filter(documents)
            | Kind::Optional { documents, .. } => documents.seek(target),
            Kind::All(all) => all.seek(target),
            Kind::Any { children } => {
                children.iter_mut().filter_map(|child| child.seek(target)).min()
            }
            Kind::Not { documents, child } => {
                let mut id = documents.seek(target)?;
                while child.is_at(id) {
                    id = documents.seek(id.checked_add(1)?)?;
                }
                Some(id)
            }
        }
    }
}

impl All<'_> {
    fn seek(&mut self, mut target: DocumentId) -> Option<DocumentId> {
        // Many may have all words, and none of them near each other.
        while !self.stop.is_set() {
            let id = self.meet(target)?;
            if self.is_near(id) {
                return Some(id);
            }
            target = id.checked_add(1)?;
        }
        None
    }

    /// The first document from `target` on that all children match.
    fn meet(&mut self, mut target: DocumentId) -> Option<DocumentId> {
        let mut agreed = 0;
        while agreed < self.order.len() {
            let id = self.children[self.order[agreed]].seek(target)?;
            if id == target {
                agreed += 1;
            } else {
                // The others have to be asked again.
                target = id;
                agreed = 0;
            }
        }
        (!self.order.is_empty()).then_some(target)
    }

    /// Whether the words of a document are as near as they must be. What has no place in it, and
    /// what is optional, does not matter.
    fn is_near(&mut self, id: DocumentId) -> bool {
        if self.slop.is_none() && !self.in_order {
            return true;
        }
        if self.slop == Some(0) && self.in_order && self.are_terms() {
            return self.is_phrase();
        }
        let required =
            self.children.iter_mut().filter(|child| !matches!(child.kind, Kind::Optional { .. }));
        let words: Vec<Vec<Position>> =
            required.map(|child| child.places(id)).filter(|places| !places.is_empty()).collect();
        within(&words, self.slop.unwrap_or(u32::MAX), self.in_order)
    }

    fn are_terms(&self) -> bool {
        self.children.iter().all(|child| matches!(child.kind, Kind::Term { .. }))
    }

    /// As it is asked most often, without memory of its own: all are at the document already.
    fn is_phrase(&mut self) -> bool {
        self.places.resize_with(self.children.len(), Vec::new);
        let mut there = 0;
        for child in &mut self.children {
            let Kind::Term { reader, fields, .. } = &mut child.kind else { continue };
            let places = &mut self.places[there];
            places.clear();
            reader.positions(*fields, places);
            there += usize::from(!places.is_empty());
        }
        following(&self.places[..there])
    }
}
