//! A collection of elements with names: what hashes and sets are.
//!
//! Live elements are in a [`Table`], which may keep an order among them; what was removed leaves a
//! tombstone with the newest stamp that the removal saw. An addition that a removal did not see
//! beats it. How elements of one kind converge is the business of their [`Payload`]; merging,
//! tombstones, digests, export, cutting and forgetting are written here, once for all kinds.
//!
//! The digest covers what is alive, the tombstones have one of their own. An element that lives
//! only by increments of a removed one carries the tombstone of that removal in itself.

use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use quorate_proto::{Stamp, mutant::Mutant};

use crate::{
    cell::{Element, Value},
    digest::{Digest, KeyDigester},
    object::{Collection, Kind},
    part::{Body, Part},
    state::Context,
    tombstone::{Forgettable, Tombstone},
};

/// The state of one element.
pub trait Payload: Clone + fmt::Debug + 'static {
    /// The kind of the collection.
    const KIND: Kind;

    /// What readers see of its value.
    type Value<'a>: Value<'a>;

    /// An element that is removed up to a stamp; zero for one of which nothing is known.
    fn removed(stamp: Stamp) -> Self;

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
}

/// What readers see of an element with a payload.
pub type ElementOf<'a, P> = Element<'a, <P as Payload>::Value<'a>>;

/// The live elements of a collection, by name.
pub trait Table<P: Payload>: Clone + fmt::Debug {
    /// A table without elements.
    fn new(hasher: &FixedState) -> Self;

    /// Number of elements.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element `name`.
    fn get(&self, name: &[u8]) -> Option<ElementOf<'_, P>>;

    /// The element at `index`, `0..len()`.
    fn at(&self, index: usize) -> Option<(&[u8], ElementOf<'_, P>)>;

    /// All elements.
    fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], ElementOf<'_, P>)>;

    /// Lets `change` work on the element `name`, or on what `absent` gives if there is none, and
    /// keeps it while it is live. Returns what `change` does, and whether there was an element.
    fn update<R>(
        &mut self,
        name: &[u8],
        absent: impl FnOnce() -> P,
        change: impl FnOnce(&mut P) -> R,
    ) -> (R, bool);

    /// Lets `change` work on every element and keeps those that are live.
    fn update_all(&mut self, change: impl FnMut(&[u8], &mut P));
}

/// A table whose elements have no order that means anything. Indexed, so that a random one is found
/// at once.
#[derive(Clone, Debug)]
pub struct Unordered<P>(IndexMap<Box<[u8]>, P, FixedState>);

impl<P: Payload> Table<P> for Unordered<P> {
    fn new(hasher: &FixedState) -> Self {
        Self(IndexMap::with_hasher(hasher.clone()))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, name: &[u8]) -> Option<ElementOf<'_, P>> {
        self.0.get(name).map(P::element)
    }

    fn at(&self, index: usize) -> Option<(&[u8], ElementOf<'_, P>)> {
        self.0.get_index(index).map(|(name, payload)| (&**name, payload.element()))
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], ElementOf<'_, P>)> {
        self.0.iter().map(|(name, payload)| (&**name, payload.element()))
    }

    #[inline]
    fn update<R>(
        &mut self,
        name: &[u8],
        absent: impl FnOnce() -> P,
        change: impl FnOnce(&mut P) -> R,
    ) -> (R, bool) {
        if let Some((index, _, payload)) = self.0.get_full_mut(name) {
            let result = change(payload);
            if !payload.is_live() {
                self.0.swap_remove_index(index);
            }
            return (result, true);
        }
        let mut payload = absent();
        let result = change(&mut payload);
        if payload.is_live() {
            self.0.insert(name.into(), payload);
        }
        (result, false)
    }

    fn update_all(&mut self, mut change: impl FnMut(&[u8], &mut P)) {
        self.0.retain(|name, payload| {
            change(name, payload);
            payload.is_live()
        });
    }
}

/// The state of a collection.
#[derive(Clone, Debug)]
pub struct Elements<P, T = Unordered<P>> {
    live: T,
    /// Removed elements: the newest stamp that the removal saw.
    removed: HashMap<Box<[u8]>, Tombstone, FixedState>,
    /// Digest of the tombstones, those below live increments included.
    tombstones: Digest,
    payload: std::marker::PhantomData<P>,
}

impl<P: Payload, T: Table<P>> Elements<P, T> {
    pub(crate) fn new(hasher: &FixedState) -> Self {
        let removed = HashMap::with_hasher(hasher.clone());
        Self { live: T::new(hasher), removed, tombstones: 0, payload: std::marker::PhantomData }
    }

    /// Number of live elements.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no element is live.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The live element `name`.
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

    /// Where the live elements are.
    pub fn table(&self) -> &T {
        &self.live
    }

    fn retain_tombstones(
        &mut self,
        context: Context<'_>,
        mut wanted: impl FnMut(Tombstone) -> bool,
    ) {
        if self.removed.is_empty() {
            return;
        }
        let digester = context.digester;
        self.removed.retain(|name, tombstone| {
            let wanted = wanted(*tombstone);
            if !wanted {
                let gone = digester.part(&removed::<P>(name, tombstone.stamp));
                self.tombstones = self.tombstones.wrapping_sub(gone);
            }
            wanted
        });
    }
}

impl<P: Payload, T: Table<P>> Collection for Elements<P, T> {
    fn len(&self) -> usize {
        self.live.len()
    }

    fn len_with_tombstones(&self) -> usize {
        self.live.len() + self.removed.len()
    }

    fn is_reached_by(&self, horizon: Stamp) -> bool {
        self.iter().any(|(_, element)| element.is_reached_by(horizon))
    }

    fn newest(&self) -> Stamp {
        let removed = self.removed.values().map(|tombstone| tombstone.stamp);
        removed.fold(self.newest_live(), Stamp::max)
    }

    fn newest_live(&self) -> Stamp {
        self.iter().map(|(_, element)| element.newest()).max().unwrap_or_default()
    }

    fn outline(&self, name: &[u8]) -> Option<Element<'_, ()>> {
        self.get(name).map(Element::outline)
    }

    fn tombstone(&self, name: &[u8]) -> Stamp {
        self.removed.get(name).map_or(Stamp::ZERO, |tombstone| tombstone.stamp)
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
        let digester = context.digester;
        let (name, body) = (part.name_bytes(), part.body());
        let Self { live, removed, tombstones, .. } = self;
        let absent = || {
            let tombstone = removed.get(name).map_or(Stamp::ZERO, |tombstone| tombstone.stamp);
            P::removed(tombstone)
        };
        let (merged, was_live) = live.update(name, absent, |payload| {
            let before = Sums::of::<P>(digester, name, payload.element());
            if !payload.merge(&body) {
                return None;
            }
            let element = payload.element();
            let after = Sums::of::<P>(digester, name, element);
            let dead = (!element.is_live()).then(|| element.stamp());
            Some((
                after.alive.wrapping_sub(before.alive),
                after.tombstones.wrapping_sub(before.tombstones),
                dead,
            ))
        });
        let Some((change, tombstones_change, dead)) = merged else { return 0 };
        *tombstones = tombstones.wrapping_add(tombstones_change);
        match dead {
            Some(stamp) => {
                removed.insert(name.into(), Tombstone { stamp, epoch: context.epoch });
                if Mutant::DigestBlind.is_planted() { 0 } else { change }
            }
            None => {
                if !was_live {
                    removed.remove(name);
                }
                change
            }
        }
    }

    fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let digester = context.digester;
        let mut change = Sums::default();
        self.live.update_all(|name, payload| {
            change.subtract(Sums::of::<P>(digester, name, payload.element()));
            // One whose removal outlives the cut is never live without increments that do too.
            payload.cut(horizon);
            if payload.is_live() {
                change.add(Sums::of::<P>(digester, name, payload.element()));
            }
        });
        self.tombstones = self.tombstones.wrapping_add(change.tombstones);
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
        self.removed.shrink_to_fit();
        left
    }

    fn tombstones_digest(&self) -> Digest {
        self.tombstones
    }

    fn correct_tombstones_digest(&mut self, tombstones: Digest) {
        self.tombstones = tombstones;
    }

    fn export<'a>(&'a self, emit: &mut dyn FnMut(Part<'a>)) {
        for (name, element) in self.live.iter() {
            element.export(|body| emit(Part::element(P::KIND, name, body)));
        }
        for (name, tombstone) in &self.removed {
            emit(removed::<P>(name, tombstone.stamp));
        }
    }

    fn show(&self, emit: &mut dyn FnMut(Part<'_>)) {
        for (name, element) in self.live.iter() {
            P::show(element, &mut |body| emit(Part::element(P::KIND, name, body)));
        }
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

fn removed<P: Payload>(name: &[u8], stamp: Stamp) -> Part<'_> {
    Part::element(P::KIND, name, Body::Removed(stamp))
}
