//! A collection of elements with names: what hashes, sets and sorted sets are.
//!
//! Its live elements (`live`) lie in memory one way while they are few, and another way when they
//! are many, which nothing here depends on. What was removed leaves a tombstone with the newest
//! stamp that the removal saw. An addition that a removal did not see beats it. How elements of one
//! kind converge is the business of their [`Payload`]; merging, tombstones, digests, export, cutting
//! and forgetting are written here, once for all kinds.
//!
//! The digest covers what is alive, the tombstones have one of their own. An element that lives
//! only by increments of a removed one carries the tombstone of that removal in itself.

use std::{fmt, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quorate_proto::{Stamp, mutant::Mutant};

use crate::{
    cell::{Element, Value},
    digest::{Digest, KeyDigester},
    live::{Live, Order},
    object::{Collection, Kind},
    part::{Body, Part},
    record::{Encoded, encode},
    state::Context,
    tombstone::{Forgettable, Tombstone},
};

/// The state of one element.
pub trait Payload: Clone + fmt::Debug + 'static {
    /// The kind of the collection.
    const KIND: Kind;

    /// What readers see of its value.
    type Value<'a>: Value<'a>;

    /// How the elements of a large collection are ordered.
    type Order: Order<Self>;

    /// Whether elements have an order that means anything.
    const IS_ORDERED: bool = false;

    /// Whether `new` stands before `old` among the elements of a small one.
    fn is_before(_new: (&[u8], ElementOf<'_, Self>), _old: (&[u8], ElementOf<'_, Self>)) -> bool {
        false
    }

    /// Whether an element stays where it stands when it changes so.
    fn keeps_place(_old: ElementOf<'_, Self>, _new: ElementOf<'_, Self>) -> bool {
        true
    }

    /// The state of an element that readers see so.
    fn of(element: ElementOf<'_, Self>) -> Self;

    /// What becomes of an element when the body takes its place: another one, or `None` when it
    /// stays as it is. No answer where that takes a [merge](Payload::merge).
    fn overwritten<'b>(
        _old: ElementOf<'_, Self>,
        _body: &Body<'b>,
    ) -> Option<Option<ElementOf<'b, Self>>> {
        None
    }

    /// Whether the element shows.
    fn is_live(&self) -> bool {
        self.element().is_live()
    }

    /// What the element holds.
    fn element(&self) -> Element<'_, Self::Value<'_>>;

    /// Merges the body of a part. Returns whether the element changed.
    fn merge(&mut self, body: &Body<'_>) -> bool;

    /// Drops everything up to `horizon`.
    fn cut(&mut self, horizon: Stamp);

    /// About how many bytes a value takes.
    fn size(value: Self::Value<'_>) -> usize;

    /// Hands the body of what shows to `emit`, with a stamp that means nothing.
    fn show(element: Element<'_, Self::Value<'_>>, emit: &mut dyn FnMut(Body<'_>)) {
        if let Some(value) = element.register() {
            emit(value.body(Stamp::ZERO));
        }
    }

    /// The same for all elements, as parts.
    fn show_all(elements: &Elements<Self>, emit: &mut dyn FnMut(Part<'_>)) {
        for (name, element) in elements.iter() {
            Self::show(element, &mut |body| emit(Part::element(Self::KIND, name, body)));
        }
    }
}

/// What readers see of an element with a payload.
pub type ElementOf<'a, P> = Element<'a, <P as Payload>::Value<'a>>;

/// The state of a collection.
#[derive(Clone, Debug)]
pub struct Elements<P: Payload> {
    live: Live<P>,
    /// Nothing, as long as nothing is removed.
    /// Shared with copies until one of them changes.
    removed: Option<Arc<Removed>>,
}

/// What is removed of a collection.
#[derive(Clone, Debug)]
struct Removed {
    /// Removed elements: the newest stamp that the removal saw.
    names: HashMap<Box<[u8]>, Tombstone, FixedState>,
    /// Digest of the tombstones, those below live increments included.
    digest: Digest,
}

impl Removed {
    fn tombstone(&self, name: &[u8]) -> Stamp {
        self.names.get(name).map_or(Stamp::ZERO, |tombstone| tombstone.stamp)
    }

    fn is_blank(&self) -> bool {
        self.names.is_empty() && self.digest == 0
    }
}

impl<P: Payload> Default for Elements<P> {
    fn default() -> Self {
        Self { live: Live::default(), removed: None }
    }
}

impl<P: Payload> Elements<P> {
    /// Number of live elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no element is live.
    pub fn is_empty(&self) -> bool {
        self.live.len() == 0
    }

    /// The live element `name`.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<ElementOf<'_, P>> {
        self.live.get(name)
    }

    /// The live element at `index`, `0..len()`. Indices change with every write.
    pub fn at(&self, index: usize) -> Option<(&[u8], ElementOf<'_, P>)> {
        self.live.at(index)
    }

    /// Live elements.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], ElementOf<'_, P>)> {
        self.live.iter()
    }

    /// Digest of the tombstones.
    #[inline]
    pub(crate) fn tombstones_digest(&self) -> Digest {
        self.removed.as_ref().map_or(0, |removed| removed.digest)
    }

    /// Where the live elements are.
    pub(crate) fn live(&self) -> &Live<P> {
        &self.live
    }

    /// What is removed, to be changed.
    fn removed_mut(&mut self, hasher: &FixedState) -> &mut Removed {
        Arc::make_mut(self.removed.get_or_insert_with(|| {
            Arc::new(Removed { names: HashMap::with_hasher(hasher.clone()), digest: 0 })
        }))
    }

    fn change_tombstones_digest(&mut self, hasher: &FixedState, change: Digest) {
        if change != 0 {
            let removed = self.removed_mut(hasher);
            removed.digest = removed.digest.wrapping_add(change);
        }
    }

    fn retain_tombstones(
        &mut self,
        context: Context<'_>,
        mut wanted: impl FnMut(Tombstone) -> bool,
    ) {
        let Some(removed) = self.removed.as_mut().map(Arc::make_mut) else { return };
        let digester = context.digester;
        let digest = &mut removed.digest;
        removed.names.retain(|name, tombstone| {
            let wanted = wanted(*tombstone);
            if !wanted {
                let gone = digester.part(&removed_part::<P>(name, tombstone.stamp));
                *digest = digest.wrapping_sub(gone);
            }
            wanted
        });
        self.removed.take_if(|removed| removed.is_blank());
    }

    fn computed_digest(&self, digester: &KeyDigester) -> Digest {
        let sums = self.iter().map(|(name, element)| Sums::of::<P>(digester, name, element).alive);
        sums.fold(0, Digest::wrapping_add)
    }

    /// Keeps the digest of what is alive up to date where one is kept, after a part of this stamp.
    fn keep_digest(&mut self, context: Context<'_>, change: Digest, stamp: Stamp) {
        if let Some(kept) = self.live.kept_digest() {
            let digest = kept.map(|digest| digest.wrapping_add(change));
            let digest = digest.unwrap_or_else(|| self.computed_digest(context.digester));
            self.live.keep(digest, stamp);
        }
    }
}

impl<P: Payload> Collection for Elements<P> {
    fn len(&self) -> usize {
        self.live.len()
    }

    fn len_with_tombstones(&self) -> usize {
        self.live.len() + self.removed.as_ref().map_or(0, |removed| removed.names.len())
    }

    fn is_reached_by(&self, horizon: Stamp) -> bool {
        self.iter().any(|(_, element)| element.is_reached_by(horizon))
    }

    fn newest(&self) -> Stamp {
        let removed = self.removed.iter().flat_map(|removed| removed.names.values());
        removed.map(|tombstone| tombstone.stamp).fold(self.live.newest(), Stamp::max)
    }

    fn newest_live(&self) -> Stamp {
        self.iter().map(|(_, element)| element.newest()).max().unwrap_or_default()
    }

    fn outline(&self, name: &[u8]) -> Option<Element<'_, ()>> {
        self.get(name).map(Element::outline)
    }

    fn tombstone(&self, name: &[u8]) -> Stamp {
        self.removed.as_ref().map_or(Stamp::ZERO, |removed| removed.tombstone(name))
    }

    fn estimated_bytes(&self) -> usize {
        const SAMPLED_ELEMENTS: usize = 16;
        let size = |(name, element): (&[u8], ElementOf<'_, P>)| {
            name.len() + element.register().map_or(0, P::size)
        };
        let sampled = self.len().clamp(1, SAMPLED_ELEMENTS);
        self.iter().take(sampled).map(size).sum::<usize>() * self.len() / sampled
    }

    fn merge(&mut self, context: Context<'_>, part: &Part<'_>) -> Digest {
        let Context { digester, hasher, epoch } = context;
        let (name, body) = (part.name_bytes(), part.body());
        let Self { live, removed, .. } = self;
        let tombstone = || removed.as_ref().map_or(Stamp::ZERO, |removed| removed.tombstone(name));
        let (merged, was_live) = live.update(hasher, name, part.stamp(), |record, base, old| {
            let old = old.unwrap_or_else(|| Element::removed(tombstone()));
            if let Some(new) = P::overwritten(old, &body) {
                return new.map(|new| Merged::new::<P>(digester, name, old, new, record, base));
            }
            let mut payload = P::of(old);
            let changed = payload.merge(&body);
            changed.then(|| Merged::new::<P>(digester, name, old, payload.element(), record, base))
        });
        let Some(Merged { change, dead }) = merged else { return 0 };
        self.change_tombstones_digest(hasher, change.tombstones);
        self.keep_digest(context, change.alive, part.stamp());
        match dead {
            Some(stamp) => {
                let tombstone = Tombstone { stamp, epoch };
                self.removed_mut(hasher).names.insert(name.into(), tombstone);
                if Mutant::DigestBlind.is_planted() { 0 } else { change.alive }
            }
            None => {
                if let Some(removed) = self.removed.as_mut().filter(|_| !was_live) {
                    Arc::make_mut(removed).names.remove(name);
                    self.removed.take_if(|removed| removed.is_blank());
                }
                change.alive
            }
        }
    }

    fn reserve(&mut self, bytes: usize) {
        self.live.reserve(bytes);
    }

    fn fit(&mut self) {
        self.live.fit();
    }

    fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        if self.newest() <= horizon {
            // Nothing is left, and nothing has to be looked at.
            let gone = self.digest(context);
            *self = Self::default();
            return gone.wrapping_neg();
        }
        let Context { digester, hasher, .. } = context;
        let mut change = Sums::default();
        self.live.update_all(hasher, |name, payload| {
            change.subtract(Sums::of::<P>(digester, name, payload.element()));
            // One whose removal outlives the cut is never live without increments that do too.
            payload.cut(horizon);
            if payload.is_live() {
                change.add(Sums::of::<P>(digester, name, payload.element()));
            }
        });
        self.change_tombstones_digest(hasher, change.tombstones);
        self.keep_digest(context, change.alive, Stamp::ZERO);
        self.retain_tombstones(context, |tombstone| tombstone.stamp > horizon);
        change.alive
    }

    fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool {
        let mut left = false;
        // A tombstone below live increments stays: it takes no space of its own.
        self.retain_tombstones(context, |tombstone| {
            let kept = !forgettable.covers(tombstone);
            left |= kept && tombstone.is_temporary();
            kept
        });
        if let Some(removed) = &mut self.removed {
            Arc::make_mut(removed).names.shrink_to_fit();
        }
        left
    }

    fn raise_epochs(&mut self, from: u32, to: u32) {
        let Some(removed) = &mut self.removed else { return };
        for tombstone in Arc::make_mut(removed).names.values_mut() {
            tombstone.raise_epoch(from, to);
        }
    }

    fn digest(&self, context: Context<'_>) -> Digest {
        let kept = self.live.kept_digest().flatten();
        kept.unwrap_or_else(|| self.computed_digest(context.digester))
    }

    fn kept_digest(&self) -> Option<Digest> {
        self.live.kept_digest().flatten()
    }

    fn correct_digests(&mut self, hasher: &FixedState, alive: Digest, tombstones: Digest) {
        self.live.keep(alive, Stamp::ZERO);
        self.removed_mut(hasher).digest = tombstones;
        self.removed.take_if(|removed| removed.is_blank());
    }

    fn export<'a>(&'a self, emit: &mut dyn FnMut(Part<'a>)) {
        for (name, element) in self.live.iter() {
            element.export(|body| emit(Part::element(P::KIND, name, body)));
        }
        for (name, tombstone) in self.removed.iter().flat_map(|removed| &removed.names) {
            emit(removed_part::<P>(name, tombstone.stamp));
        }
    }

    fn export_name<'a>(&'a self, name: &'a [u8], emit: &mut dyn FnMut(Part<'a>)) {
        match self.get(name) {
            Some(element) => element.export(|body| emit(Part::element(P::KIND, name, body))),
            None => {
                let removed = self.tombstone(name);
                if !removed.is_zero() {
                    emit(removed_part::<P>(name, removed));
                }
            }
        }
    }

    fn show(&self, emit: &mut dyn FnMut(Part<'_>)) {
        P::show_all(self, emit);
    }
}

/// What a merge has made of an element.
struct Merged {
    change: Sums,
    /// Up to where it is removed, when it is dead.
    dead: Option<Stamp>,
}

impl Merged {
    /// Also writes the record of the new element, if that is live.
    #[inline]
    fn new<P: Payload>(
        digester: &KeyDigester,
        name: &[u8],
        old: ElementOf<'_, P>,
        new: ElementOf<'_, P>,
        record: &mut Encoded,
        base: Stamp,
    ) -> Self {
        let mut change = Sums::of::<P>(digester, name, new);
        change.subtract(Sums::of::<P>(digester, name, old));
        if !new.is_live() {
            return Self { change, dead: Some(new.stamp()) };
        }
        encode(record, base, name, new);
        Self { change, dead: None }
    }
}

/// What the parts of one element add to the digests.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    alive: Digest,
    tombstones: Digest,
}

impl Sums {
    #[inline]
    fn of<P: Payload>(digester: &KeyDigester, name: &[u8], element: ElementOf<'_, P>) -> Self {
        let mut sums = Self::default();
        // Most elements are a value and nothing else.
        if let Some(value) = element.register()
            && element.contributions().is_empty()
        {
            let part = Part::element(P::KIND, name, value.body(element.stamp()));
            return Self { alive: digester.part(&part), ..sums };
        }
        element.export(|body| {
            let part = Part::element(P::KIND, name, body);
            let sum = if part.is_tombstone() { &mut sums.tombstones } else { &mut sums.alive };
            *sum = sum.wrapping_add(digester.part(&part));
        });
        sums
    }

    fn add(&mut self, other: Self) {
        self.alive = self.alive.wrapping_add(other.alive);
        self.tombstones = self.tombstones.wrapping_add(other.tombstones);
    }

    fn subtract(&mut self, other: Self) {
        self.alive = self.alive.wrapping_sub(other.alive);
        self.tombstones = self.tombstones.wrapping_sub(other.tombstones);
    }
}

fn removed_part<P: Payload>(name: &[u8], stamp: Stamp) -> Part<'_> {
    Part::element(P::KIND, name, Body::Removed(stamp))
}
