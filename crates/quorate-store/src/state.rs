//! The convergent state of one key.
//!
//! A key is the product of independent lattices: a string cell, a collection of each kind, an
//! expiry register and a *horizon*, the stamp up to which everything was deleted. Merging merges
//! each of them, so it is commutative, associative and idempotent because they are. Commands keep a
//! key to one kind; only writes of different kinds that did not see each other leave two kinds side
//! by side, and then the one written last shows.
//!
//! Two rules tie the parts together, both functions of the merged stamps alone:
//! * an element with a stamp up to the horizon is gone (a contribution, when it *began* by then);
//! * an expiry older than the string's register is gone: writing a string ends its time to live.
//!
//! An expiry belongs to the object that it was set for. A write that empties a key, and one that
//! makes it anew, sets the register to *never* (see `execution`): an older expiry that
//! arrives later applies to nothing, and an addition that the emptying did not see stays.
//!
//! When its time has come, each replica carries an expiry out by itself: it drops what the expiry
//! reaches, but not for the others, who may know of a newer one. The expiry holds back what it
//! reached and arrives late, until a newer one lifts that; then what is not over comes back from
//! the others. The next write deletes for good what its executor knows to be over (see
//! `execution`).
//!
//! The digest of a key covers what is alive. Tombstones are left out, so that replicas which have
//! forgotten some agree with those that have not; the tombstones have a digest of their own. An
//! expiry of *never* is such a tombstone, and one that has been carried out: they go when they have
//! served their time and the key is dead.

use foldhash::fast::FixedState;
use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Element},
    digest::{Digest, KeyDigester},
    lifetime::Expiry,
    object::{KINDS, Object},
    part::{Body, Owner, Part},
    tombstone::{Forgettable, Tombstone},
};

pub use crate::{object::Kind, view::State};

/// The state of one key, in a box. Most keys hold one thing only.
#[derive(Clone, Debug, Default)]
pub(crate) enum KeyState {
    /// Nothing.
    #[default]
    Blank,
    /// A string.
    Text(Box<Cell>),
    /// A collection.
    Collection(Object),
    /// Anything.
    Whole(Box<Whole>),
}

const _: () = assert!(size_of::<KeyState>() <= 32, "there are many keys");

/// All that a key can hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    pub(crate) text: Cell,
    pub(crate) horizon: Tombstone,
    pub(crate) expiry: Option<Expiry>,
    /// At most one of each kind. Several stand side by side only after writes of different kinds
    /// that did not see each other.
    #[expect(clippy::box_collection, reason = "one word instead of three in the many without")]
    objects: Option<Box<Vec<Object>>>,
    /// The epoch after the one in which the queue of tombstones last got the key.
    reminded: u32,
}

/// The digests that a state keeps, by the kind of collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptDigests {
    /// Of what is alive, where it is kept.
    pub(crate) alive: [Option<Digest>; KINDS],
    /// Of the tombstones of elements.
    pub(crate) tombstones: [Digest; KINDS],
}

impl KeptDigests {
    /// Whether anything that is kept is not what it should be.
    pub(crate) fn differ_from(&self, right: &Self) -> bool {
        let mut alive = self.alive.iter().zip(&right.alive);
        self.tombstones != right.tombstones
            || alive.any(|(kept, right)| kept.is_some_and(|kept| kept != right.unwrap_or_default()))
    }
}

/// What a merge needs besides the state: the digester of the key, and the hasher of new maps.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) digester: &'a KeyDigester,
    pub(crate) hasher: &'a FixedState,
    /// The epoch that a tombstone made now belongs to.
    pub(crate) epoch: u32,
}

impl KeyState {
    /// A string and nothing else.
    pub(crate) fn plain(value: &[u8], stamp: Stamp) -> Self {
        Self::Text(Box::new(Cell::written(value, stamp)))
    }

    /// The value and stamp of a string that was written, when there is nothing else.
    #[inline]
    pub(crate) fn as_plain(&self) -> Option<(&[u8], Stamp)> {
        let Self::Text(text) = self else { return None };
        let text = text.element();
        let value = text.register().filter(|_| text.contributions().is_empty())?;
        Some((value, text.stamp()))
    }

    /// What readers see.
    #[inline]
    pub(crate) fn view(&self) -> State<'_> {
        State::boxed(self)
    }

    #[inline]
    pub(crate) fn text(&self) -> Option<&Cell> {
        match self {
            Self::Blank | Self::Collection(_) => None,
            Self::Text(text) => Some(text),
            Self::Whole(whole) => Some(&whole.text),
        }
    }

    fn text_mut(&mut self) -> Option<&mut Cell> {
        match self {
            Self::Blank | Self::Collection(_) => None,
            Self::Text(text) => Some(text),
            Self::Whole(whole) => Some(&mut whole.text),
        }
    }

    fn text_or_new(&mut self) -> &mut Cell {
        if matches!(self, Self::Blank) {
            *self = Self::Text(Box::default());
        }
        match self {
            Self::Text(text) => text,
            other => &mut other.whole_mut().text,
        }
    }

    /// The collections of the key, also those of which only tombstones are left.
    #[inline]
    pub(crate) fn objects(&self) -> &[Object] {
        match self {
            Self::Blank | Self::Text(_) => &[],
            Self::Collection(object) => std::slice::from_ref(object),
            Self::Whole(whole) => whole.objects.as_deref().map_or(&[], Vec::as_slice),
        }
    }

    fn objects_mut(&mut self) -> &mut [Object] {
        match self {
            Self::Blank | Self::Text(_) => &mut [],
            Self::Collection(object) => std::slice::from_mut(object),
            Self::Whole(whole) => whole.objects.as_deref_mut().map_or(&mut [], Vec::as_mut_slice),
        }
    }

    /// The object of a kind; a new one if there is none.
    fn object_or_new(&mut self, kind: Kind) -> &mut Object {
        if matches!(self, Self::Blank) {
            *self = Self::Collection(Object::new(kind));
        }
        if !matches!(self, Self::Collection(object) if object.kind() == kind) {
            return self.whole_mut().object_or_new(kind);
        }
        &mut self.objects_mut()[0]
    }

    #[inline]
    pub(crate) fn whole(&self) -> Option<&Whole> {
        if let Self::Whole(whole) = self { Some(whole) } else { None }
    }

    fn whole_mut(&mut self) -> &mut Whole {
        if !matches!(self, Self::Whole(_)) {
            let mut whole = Box::<Whole>::default();
            match std::mem::take(self) {
                Self::Text(text) => whole.text = *text,
                Self::Collection(object) => whole.objects = Some(Box::new(vec![object])),
                Self::Blank | Self::Whole(_) => {}
            }
            *self = Self::Whole(whole);
        }
        match self {
            Self::Whole(whole) => whole,
            _ => unreachable!("invariant: it was made whole"),
        }
    }

    /// Drops what is left blank, and keeps no more than is needed for the rest.
    fn settle(&mut self) {
        match self {
            Self::Blank | Self::Text(_) => {}
            Self::Collection(object) => {
                if object.collection().is_blank() {
                    *self = Self::Blank;
                }
            }
            Self::Whole(whole) => {
                if let Some(small) = whole.take_one() {
                    *self = small;
                }
            }
        }
    }

    /// Sets the digests that are kept to what they should be.
    pub(crate) fn correct_digests(&mut self, hasher: &FixedState, right: &KeptDigests) {
        for object in self.objects_mut() {
            let kind = object.kind() as usize;
            let alive = right.alive[kind].unwrap_or_default();
            object.collection_mut().correct_digests(hasher, alive, right.tombstones[kind]);
        }
    }

    /// Makes room in a key of which nothing is known for the parts of a delta, of about so many
    /// bytes, if they are elements of a collection.
    pub(crate) fn reserve(&mut self, owner: Owner, bytes: usize) {
        if let (Self::Blank, Owner::Object(kind)) = (&self, owner)
            && kind.is_collection()
        {
            self.object_or_new(kind).collection_mut().reserve(bytes);
        }
    }

    /// Gives back the room that is left of what was [reserved](KeyState::reserve).
    pub(crate) fn fit(&mut self) {
        if let Self::Collection(object) = self {
            object.collection_mut().fit();
        }
    }

    /// Merges one part and returns the change of the digest.
    #[inline]
    pub(crate) fn merge(&mut self, context: Context<'_>, part: &Part<'_>) -> Digest {
        let whole = self.whole();
        let horizon = whole.map_or(Stamp::ZERO, |whole| whole.horizon.stamp);
        let expiry = whole.and_then(|whole| whole.expiry.as_ref());
        if part.since() <= horizon || expiry.is_some_and(|expiry| expiry.holds_back(part)) {
            return 0;
        }
        match (part.owner(), part.body()) {
            (Owner::Key, Body::Until(stamp, at)) => self.merge_expiry(context, stamp, at),
            (Owner::Key, _) => self.raise_horizon(context, part.stamp()),
            (Owner::Object(Kind::Text), body) => self.merge_text(context, &body),
            (Owner::Object(kind), _) => {
                self.object_or_new(kind).collection_mut().merge(context, part)
            }
        }
    }

    fn merge_text(&mut self, context: Context<'_>, body: &Body<'_>) -> Digest {
        let text = self.text_or_new();
        let before = text_digest(context, text.element());
        if !text.merge(body) {
            return 0;
        }
        let (after, stamp) = (text_digest(context, text.element()), text.element().stamp());
        after.wrapping_sub(before).wrapping_sub(self.drop_outlived_expiry(context, stamp))
    }

    /// Drops an expiry older than the string and returns what it added to the digest.
    fn drop_outlived_expiry(&mut self, context: Context<'_>, stamp: Stamp) -> Digest {
        let Self::Whole(whole) = self else { return 0 };
        let outlived = whole.expiry.take_if(|expiry| expiry.stamp < stamp);
        self.settle();
        outlived.map_or(0, |expiry| expiry.alive_digest(context))
    }

    fn merge_expiry(&mut self, context: Context<'_>, stamp: Stamp, at: Option<u64>) -> Digest {
        if self.text().is_some_and(|text| stamp < text.element().stamp()) {
            return 0;
        }
        let whole = self.whole_mut();
        let before = match whole.expiry {
            // Two moments never share a stamp; comparing them keeps the merge commutative even
            // then.
            Some(old) if (old.stamp, old.at) >= (stamp, at) => return 0,
            Some(old) => old.alive_digest(context),
            None => 0,
        };
        let expiry = Expiry { stamp, at, epoch: context.epoch, done: false };
        whole.expiry = Some(expiry);
        expiry.alive_digest(context).wrapping_sub(before)
    }

    fn raise_horizon(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let change = self.cut(context, horizon);
        let whole = self.whole_mut();
        whole.drop_blank_objects();
        whole.horizon = Tombstone { stamp: horizon, epoch: context.epoch };
        let gone = whole.expiry.take_if(|expiry| expiry.stamp <= horizon);
        change.wrapping_sub(gone.map_or(0, |expiry| expiry.alive_digest(context)))
    }

    /// Drops all values and elements up to `horizon` and returns the change of the digest.
    fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let mut change: Digest = 0;
        if let Some(text) = self.text_mut() {
            let before = text_digest(context, text.element());
            text.cut(horizon);
            change = text_digest(context, text.element()).wrapping_sub(before);
        }
        for object in self.objects_mut() {
            change = change.wrapping_add(object.collection_mut().cut(context, horizon));
        }
        change
    }

    /// Carries out the expiry: removes what it reaches and returns the change of the digest. The
    /// expiry stays as a tombstone that holds back what it would have reached, until a newer one
    /// arrives: this replica may not have heard of an expiry that others obey.
    pub(crate) fn expire(&mut self, context: Context<'_>) -> Digest {
        let Some(expiry) = self.whole().and_then(|whole| whole.expiry) else { return 0 };
        let gone = expiry.alive_digest(context);
        let change = self.cut(context, expiry.reach()).wrapping_sub(gone);
        let whole = self.whole_mut();
        whole.expiry = Some(Expiry { done: true, epoch: context.epoch, ..expiry });
        whole.drop_blank_objects();
        change
    }

    /// Whether the queue of tombstones must get the key for a tombstone made in `epoch`: once an
    /// epoch.
    pub(crate) fn wants_reminder(&mut self, epoch: u32) -> bool {
        let has_tombstones = match self {
            Self::Blank | Self::Text(_) => false,
            Self::Collection(object) => object.collection().has_tombstones(),
            Self::Whole(_) => true,
        };
        if !has_tombstones {
            return false;
        }
        std::mem::replace(&mut self.whole_mut().reminded, epoch + 1) <= epoch
    }

    /// Lets what the epoch `from` or a later one has made belong to `to`: rounds of the epochs between
    /// have not seen it.
    pub(crate) fn raise_epochs(&mut self, from: u32, to: u32) {
        if let Self::Whole(whole) = self {
            whole.horizon.raise_epoch(from, to);
            if let Some(expiry) = &mut whole.expiry
                && expiry.epoch >= from
            {
                expiry.epoch = expiry.epoch.max(to);
            }
        }
        for object in self.objects_mut() {
            object.collection_mut().raise_epochs(from, to);
        }
    }

    /// Drops the tombstones that have served their time. Returns whether others wait for
    /// theirs.
    pub(crate) fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool {
        let is_live = self.view().is_live();
        let mut left = false;
        if let Self::Whole(whole) = self {
            left = whole.forget(forgettable, is_live);
        }
        for object in self.objects_mut() {
            left |= object.collection_mut().forget(context, forgettable);
        }
        self.settle();
        left
    }
}

impl Whole {
    fn object_or_new(&mut self, kind: Kind) -> &mut Object {
        let objects = self.objects.get_or_insert_default();
        let at = objects.iter().position(|object| object.kind() == kind).unwrap_or_else(|| {
            objects.push(Object::new(kind));
            objects.len() - 1
        });
        &mut objects[at]
    }

    fn drop_blank_objects(&mut self) {
        if let Some(objects) = &mut self.objects {
            objects.retain(|object| !object.collection().is_blank());
        }
        self.objects.take_if(|objects| objects.is_empty());
    }

    /// Drops the tombstones of the whole key that have served their time. Returns whether others
    /// wait for theirs.
    fn forget(&mut self, forgettable: Forgettable, is_live: bool) -> bool {
        if forgettable.covers(self.horizon) {
            self.horizon = Tombstone::default();
        }
        let mut left = self.horizon.is_temporary();
        // While the key lives, the tombstone holds back an older expiry, which could not be refuted
        // without reaching what is alive.
        if let Some(expiry) = self.expiry.filter(|expiry| !expiry.is_ahead() && !is_live) {
            let tombstone = Tombstone { stamp: expiry.reach(), epoch: expiry.epoch };
            self.expiry.take_if(|_| forgettable.covers(tombstone));
            left |= self.expiry.is_some() && tombstone.is_temporary();
        }
        left
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.horizon.stamp.is_zero() && self.expiry.is_none() && self.objects.is_none()
    }

    /// The smaller state that holds the same, if one does.
    fn take_one(&mut self) -> Option<KeyState> {
        self.drop_blank_objects();
        if !self.horizon.stamp.is_zero() || self.expiry.is_some() {
            return None;
        }
        let text = self.text.element();
        let has_text = text.is_live() || !text.stamp().is_zero();
        match self.objects.as_deref_mut().map(Vec::as_mut_slice) {
            None if !has_text => Some(KeyState::Blank),
            None => Some(KeyState::Text(Box::new(std::mem::take(&mut self.text)))),
            // The tombstones of a collection may need to be remembered of.
            Some([object]) if !has_text && !object.collection().has_tombstones() => {
                let kind = object.kind();
                Some(KeyState::Collection(std::mem::replace(object, Object::new(kind))))
            }
            Some(_) => None,
        }
    }
}

pub(crate) fn horizon_digest(context: Context<'_>, horizon: Stamp) -> Digest {
    if horizon.is_zero() {
        return 0;
    }
    context.digester.part(&Part::horizon(horizon))
}

/// What the string adds to the digest of what is alive.
pub(crate) fn text_digest(context: Context<'_>, text: Element<'_, &[u8]>) -> Digest {
    let mut sum: Digest = 0;
    text.export(|body| {
        let part = Part::new(Owner::Object(Kind::Text), &[], body);
        sum = sum.wrapping_add(context.digester.part(&part));
    });
    sum
}
