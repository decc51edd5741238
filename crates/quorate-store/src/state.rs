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
    object::{KINDS, Objects},
    part::{Body, Owner, Part},
    tombstone::{Forgettable, Tombstone},
};

pub use crate::{object::Kind, view::State};

/// The state of one key. Most keys are plain strings, so everything else is behind one pointer.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyState {
    text: Cell,
    rest: Option<Box<Rest>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Rest {
    pub(crate) horizon: Tombstone,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) objects: Objects,
    /// Digest of what is alive of the above.
    pub(crate) digest: Digest,
    /// The epoch after the one in which the queue of tombstones last got the key.
    reminded: u32,
}

/// The digests that a state keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptDigests {
    /// Of what is alive, but for the string.
    pub(crate) alive: Digest,
    /// Of the tombstones of elements, by the kind of collection.
    pub(crate) tombstones: [Digest; KINDS],
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
        Self { text: Cell::written(value, stamp), rest: None }
    }

    /// The value and stamp of a string that was written, when there is nothing else.
    pub(crate) fn as_plain(&self) -> Option<(&[u8], Stamp)> {
        let text = self.text.element();
        let value = text.register().filter(|_| text.contributions().is_empty())?;
        self.rest.is_none().then_some((value, text.stamp()))
    }

    /// Whether a box is more than is needed: for nothing, or for a plain string.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.as_plain().is_some() || self.view().is_blank()
    }

    /// What readers see.
    #[inline]
    pub(crate) fn view(&self) -> State<'_> {
        State::boxed(&self.text, self.rest.as_deref())
    }

    /// Sets the digests that are kept to what they should be.
    pub(crate) fn correct_digests(&mut self, right: KeptDigests) {
        let Some(rest) = &mut self.rest else { return };
        rest.digest = right.alive;
        for object in rest.objects.as_mut_slice() {
            let tombstones = right.tombstones[object.kind() as usize];
            object.collection_mut().correct_tombstones_digest(tombstones);
        }
    }

    /// Merges one part and returns the change of the digest.
    #[inline]
    pub(crate) fn merge(&mut self, context: Context<'_>, part: &Part<'_>) -> Digest {
        let rest = self.rest.as_deref();
        let horizon = rest.map_or(Stamp::ZERO, |rest| rest.horizon.stamp);
        let expiry = rest.and_then(|rest| rest.expiry.as_ref());
        if part.since() <= horizon || expiry.is_some_and(|expiry| expiry.holds_back(part)) {
            return 0;
        }
        match (part.owner(), part.body()) {
            (Owner::Key, Body::Until(stamp, at)) => self.merge_expiry(context, stamp, at),
            (Owner::Key, _) => self.raise_horizon(context, part.stamp()),
            (Owner::Object(Kind::Text), body) => self.merge_text(context, &body),
            (Owner::Object(kind), _) => {
                let rest = self.rest.get_or_insert_default();
                let object = rest.objects.of_kind_or_new(kind, context.hasher);
                let change = object.collection_mut().merge(context, part);
                rest.digest = rest.digest.wrapping_add(change);
                change
            }
        }
    }

    fn merge_text(&mut self, context: Context<'_>, body: &Body<'_>) -> Digest {
        let before = text_digest(context, self.text.element());
        if !self.text.merge(body) {
            return 0;
        }
        let change = text_digest(context, self.text.element()).wrapping_sub(before);
        change.wrapping_add(self.drop_outlived_expiry(context))
    }

    fn drop_outlived_expiry(&mut self, context: Context<'_>) -> Digest {
        let Some(rest) = &mut self.rest else { return 0 };
        let Some(expiry) = rest.expiry.take_if(|expiry| expiry.stamp < self.text.element().stamp())
        else {
            return 0;
        };
        let change = expiry.alive_digest(context).wrapping_neg();
        rest.digest = rest.digest.wrapping_add(change);
        self.drop_blank_rest();
        change
    }

    fn merge_expiry(&mut self, context: Context<'_>, stamp: Stamp, at: Option<u64>) -> Digest {
        if stamp < self.text.element().stamp() {
            return 0;
        }
        let rest = self.rest.get_or_insert_default();
        let before = match rest.expiry {
            // Two moments never share a stamp; comparing them keeps the merge commutative even
            // then.
            Some(old) if (old.stamp, old.at) >= (stamp, at) => return 0,
            Some(old) => old.alive_digest(context),
            None => 0,
        };
        let expiry = Expiry { stamp, at, epoch: context.epoch, done: false };
        rest.expiry = Some(expiry);
        let change = expiry.alive_digest(context).wrapping_sub(before);
        rest.digest = rest.digest.wrapping_add(change);
        change
    }

    fn raise_horizon(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let mut change = self.cut(context, horizon);
        let rest = self.rest.get_or_insert_default();
        rest.horizon = Tombstone { stamp: horizon, epoch: context.epoch };
        if let Some(expiry) = rest.expiry.take_if(|expiry| expiry.stamp <= horizon) {
            let gone = expiry.alive_digest(context);
            rest.digest = rest.digest.wrapping_sub(gone);
            change = change.wrapping_sub(gone);
        }
        change
    }

    /// Drops all values and elements up to `horizon` and returns the change of the digest.
    fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let before = text_digest(context, self.text.element());
        self.text.cut(horizon);
        let text_change = text_digest(context, self.text.element()).wrapping_sub(before);
        let Some(rest) = &mut self.rest else { return text_change };
        let mut change: Digest = 0;
        for object in rest.objects.as_mut_slice() {
            change = change.wrapping_add(object.collection_mut().cut(context, horizon));
        }
        rest.objects.drop_blank();
        rest.digest = rest.digest.wrapping_add(change);
        change.wrapping_add(text_change)
    }

    /// Carries out the expiry: removes what it reaches and returns the change of the digest. The
    /// expiry stays as a tombstone that holds back what it would have reached, until a newer one
    /// arrives: this replica may not have heard of an expiry that others obey.
    pub(crate) fn expire(&mut self, context: Context<'_>) -> Digest {
        let Some(expiry) = self.rest.as_ref().and_then(|rest| rest.expiry) else { return 0 };
        let gone = expiry.alive_digest(context);
        let change = self.cut(context, expiry.reach()).wrapping_sub(gone);
        if let Some(rest) = &mut self.rest {
            rest.expiry = Some(Expiry { done: true, epoch: context.epoch, ..expiry });
            rest.digest = rest.digest.wrapping_sub(gone);
        }
        change
    }

    /// Whether the queue of tombstones must get the key for a tombstone made in `epoch`: once an
    /// epoch.
    pub(crate) fn wants_reminder(&mut self, epoch: u32) -> bool {
        let Some(rest) = &mut self.rest else { return false };
        std::mem::replace(&mut rest.reminded, epoch + 1) <= epoch
    }

    /// Drops the tombstones that have served their time. Returns whether others wait for
    /// theirs.
    pub(crate) fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool {
        let is_live = self.view().is_live();
        let Some(rest) = &mut self.rest else { return false };
        if forgettable.covers(rest.horizon) {
            rest.horizon = Tombstone::default();
        }
        let mut left = rest.horizon.is_temporary();
        // While the key lives, the tombstone holds back an older expiry, which could not be refuted
        // without reaching what is alive.
        if let Some(expiry) = rest.expiry.filter(|expiry| !expiry.is_ahead() && !is_live) {
            let tombstone = Tombstone { stamp: expiry.reach(), epoch: expiry.epoch };
            rest.expiry.take_if(|_| forgettable.covers(tombstone));
            left |= rest.expiry.is_some() && tombstone.is_temporary();
        }
        for object in rest.objects.as_mut_slice() {
            left |= object.collection_mut().forget(context, forgettable);
        }
        rest.objects.drop_blank();
        self.drop_blank_rest();
        left
    }

    fn drop_blank_rest(&mut self) {
        self.rest.take_if(|rest| rest.is_blank());
    }
}

impl Rest {
    pub(crate) fn is_blank(&self) -> bool {
        self.horizon.stamp.is_zero() && self.expiry.is_none() && self.objects.is_empty()
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
