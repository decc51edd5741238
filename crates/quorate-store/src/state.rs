//! The convergent state of one key.
//!
//! A key is the product of independent lattices: a string cell, a collection of each kind, an expiry
//! register and a *horizon*, the stamp up to which everything was deleted. Merging merges each of them, so
//! it is commutative, associative and idempotent because they are. Commands keep a key to one kind;
//! only writes of different kinds that did not see each other leave two kinds side by side, and
//! then the one written last shows.
//!
//! Two rules tie the parts together, both functions of the merged stamps alone:
//! * an element with a stamp up to the horizon is gone (a contribution, when it *began* by then);
//! * an expiry older than the string's register is gone: writing a string ends its time to live.
//!
//! An expiry belongs to the object that it was set for. A write that empties a key, and one that
//! makes it anew, sets the register to *never* (see `execution`): an older expiry that
//! arrives later applies to nothing, and an addition that the emptying did not see stays.
//!
//! The digest of a key covers what is alive. Marks of removals are left out, so that replicas which
//! have forgotten some agree with those that have not; the marks have a digest of their own. An
//! expiry of *never* is such a mark: it goes when it has served its time and the key is dead.

use bytes::Bytes;
use foldhash::fast::FixedState;
use quorate_proto::{Origin, Stamp};

use crate::{
    cell::{Cell, Element},
    digest::{Digest, Digester, KeyDigester},
    hash::Hash,
    mark::{Forgettable, Mark},
    object::{Collection, KINDS, Object, Objects},
    part::{Body, Owner, Part},
    set::Set,
    sorted_set::SortedSet,
};

/// The last moment that a stamp can name.
const MILLISECONDS_MAX: u64 = (1 << 48) - 1;

pub use crate::object::Kind;

/// The state of one key. Most keys are plain strings, so everything else is behind one pointer.
#[derive(Clone, Debug, Default)]
pub struct KeyState {
    text: Cell,
    rest: Option<Box<Rest>>,
}

#[derive(Clone, Debug, Default)]
struct Rest {
    horizon: Mark,
    expiry: Option<Expiry>,
    objects: Objects,
    /// Digest of what is alive of the above.
    digest: Digest,
    /// The epoch after the one in which the queue of marks last got the key.
    reminded: u32,
}

#[derive(Clone, Copy, Debug)]
struct Expiry {
    stamp: Stamp,
    /// When the key expires; `None` for never, which is a mark.
    at: Option<u64>,
    /// The epoch of this store in which the expiry arrived.
    epoch: u32,
}

impl Expiry {
    /// What the expiry adds to the digest of what is alive.
    fn alive_digest(self, context: Context<'_>) -> Digest {
        if self.at.is_some() { self.digest(context) } else { 0 }
    }

    /// What the expiry adds to the digest of marks.
    fn marks_digest(self, context: Context<'_>) -> Digest {
        if self.at.is_none() { self.digest(context) } else { 0 }
    }

    fn digest(self, context: Context<'_>) -> Digest {
        context.digester.of_key(context.key).part(&Part::expiry(self.stamp, self.at))
    }
}

/// The digests that a state keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptDigests {
    /// Of what is alive, but for the string.
    pub(crate) alive: Digest,
    /// Of the marks of removed elements, by the kind of collection.
    pub(crate) marks: [Digest; KINDS],
}

/// What a merge needs besides the state: the key, the digester, and the hasher of new maps.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) digester: &'a Digester,
    pub(crate) hasher: &'a FixedState,
    /// The epoch that a mark made now belongs to.
    pub(crate) epoch: u32,
}

impl KeyState {
    /// The string.
    pub fn text(&self) -> Element<'_, &[u8]> {
        self.text.element()
    }

    /// The reply that shows the string, shared with it; `None` where a copy costs less.
    pub(crate) fn shared_reply(&self) -> Option<Bytes> {
        self.text.shared_reply()
    }

    /// The hash, when the key has live fields.
    pub fn hash(&self) -> Option<&Hash> {
        match self.live_object(Kind::Hash)? {
            Object::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    /// The set, when the key has live members.
    pub fn set(&self) -> Option<&Set> {
        match self.live_object(Kind::Set)? {
            Object::Set(set) => Some(set),
            _ => None,
        }
    }

    /// The sorted set, when the key has live members.
    pub fn sorted_set(&self) -> Option<&SortedSet> {
        match self.live_object(Kind::SortedSet)? {
            Object::SortedSet(set) => Some(set),
            _ => None,
        }
    }

    /// The collections of the key, also those of which only marks are left.
    fn objects(&self) -> &[Object] {
        self.rest.as_ref().map_or(&[], |rest| rest.objects.as_slice())
    }

    fn collections(&self) -> impl Iterator<Item = &dyn Collection> {
        self.objects().iter().map(Object::collection)
    }

    fn live_object(&self, kind: Kind) -> Option<&Object> {
        self.rest.as_ref()?.objects.of_kind(kind).filter(|object| object.collection().len() > 0)
    }

    /// Whether the key has live elements of a collection.
    pub(crate) fn has_collection(&self) -> bool {
        self.collections().any(|collection| collection.len() > 0)
    }

    /// The stamp up to which everything is deleted.
    pub fn horizon(&self) -> Stamp {
        self.rest.as_ref().map_or(Stamp::ZERO, |rest| rest.horizon.stamp)
    }

    /// When the key expires, in milliseconds since the Unix epoch.
    pub fn expires_at(&self) -> Option<u64> {
        self.rest.as_ref()?.expiry?.at
    }

    /// Whether the key's time to live is over at `wall_ms`.
    pub fn is_expired(&self, wall_ms: u64) -> bool {
        self.expires_at().is_some_and(|at| at <= wall_ms)
    }

    /// The kind that shows: the only one, or the one written last. `None` when nothing is live.
    pub fn kind(&self) -> Option<Kind> {
        let has_text = self.text.is_live();
        let live = |object: &&Object| object.collection().len() > 0;
        match self.objects() {
            [] => return has_text.then_some(Kind::Text),
            [object] if !has_text => return live(&object).then(|| object.kind()),
            _ => {}
        }
        // Which of several was written last is seen by looking through all that they hold.
        let text = has_text.then(|| (self.text().newest(), Kind::Text));
        let objects = self.objects().iter().filter(live);
        let objects = objects.map(|object| (object.collection().newest_live(), object.kind()));
        let last = text.into_iter().chain(objects).max_by_key(|(newest, _)| *newest);
        last.map(|(_, kind)| kind)
    }

    /// Whether anything shows.
    pub fn is_live(&self) -> bool {
        self.text.is_live() || self.has_collection()
    }

    /// Whether nothing is left, not even a mark.
    pub(crate) fn is_blank(&self) -> bool {
        !self.text.is_live() && self.rest.as_ref().is_none_or(|rest| rest.is_blank())
    }

    /// The newest stamp of anything in the state: what a deletion of the whole key has seen.
    pub fn newest(&self) -> Stamp {
        let text = self.text().newest();
        let Some(rest) = &self.rest else {
            return text;
        };
        let expiry = rest.expiry.map_or(Stamp::ZERO, |expiry| expiry.stamp);
        let key = text.max(rest.horizon.stamp).max(expiry);
        self.collections().map(|collection| collection.newest()).fold(key, Stamp::max)
    }

    /// The newest stamp that the end of the time to live reaches: of what was written until then.
    /// What somebody added later who had not heard of the expiry began another object.
    pub(crate) fn expired_up_to(&self) -> Stamp {
        let newest = self.newest();
        let Some(Expiry { stamp, at: Some(at_ms), .. }) =
            self.rest.as_ref().and_then(|rest| rest.expiry)
        else {
            return newest;
        };
        // A moment in the past ends everything that it was set for.
        let over_ms = at_ms.max(stamp.milliseconds()).min(MILLISECONDS_MAX);
        newest.min(Stamp::new(over_ms << 16 | 0xffff, Origin(0)))
    }

    /// Bytes of what is alive, those of elements from the size of a few of them.
    pub(crate) fn estimated_bytes(&self) -> usize {
        let text = self.text().register().map_or(0, <[u8]>::len);
        text + self.collections().map(|collection| collection.estimated_bytes()).sum::<usize>()
    }

    /// Digest of what is alive.
    pub(crate) fn digest(&self, context: Context<'_>) -> Digest {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.digest);
        text_digest(&context.digester.of_key(context.key), &self.text).wrapping_add(rest)
    }

    /// The digests that are kept up to date with every change, if the state is one that keeps any.
    pub(crate) fn kept_digests(&self) -> Option<KeptDigests> {
        let rest = self.rest.as_ref()?;
        let mut kept = KeptDigests { alive: rest.digest, marks: [0; KINDS] };
        for object in rest.objects.as_slice() {
            kept.marks[object.kind() as usize] = object.collection().marks_digest();
        }
        Some(kept)
    }

    /// Sets the digests that are kept to what they should be.
    pub(crate) fn correct_digests(&mut self, right: KeptDigests) {
        let Some(rest) = &mut self.rest else { return };
        rest.digest = right.alive;
        for object in rest.objects.as_mut_slice() {
            let marks = right.marks[object.kind() as usize];
            object.collection_mut().correct_marks_digest(marks);
        }
    }

    /// Digest of the marks of removals.
    pub(crate) fn marks_digest(&self, context: Context<'_>) -> Digest {
        let Some(rest) = &self.rest else { return 0 };
        let expiry = rest.expiry.map_or(0, |expiry| expiry.marks_digest(context));
        let key = horizon_digest(context, rest.horizon.stamp).wrapping_add(expiry);
        let marks = self.collections().map(|collection| collection.marks_digest());
        marks.fold(key, Digest::wrapping_add)
    }

    /// Merges one part and returns the change of the digest.
    pub(crate) fn merge(&mut self, context: Context<'_>, part: &Part<'_>) -> Digest {
        if part.since() <= self.horizon() {
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
        let digester = context.digester.of_key(context.key);
        let before = text_digest(&digester, &self.text);
        if !self.text.merge(body) {
            return 0;
        }
        let change = text_digest(&digester, &self.text).wrapping_sub(before);
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
        if stamp < self.text().stamp() {
            return 0;
        }
        let rest = self.rest.get_or_insert_default();
        let before = match rest.expiry {
            Some(old) if old.stamp >= stamp => return 0,
            Some(old) => old.alive_digest(context),
            None => 0,
        };
        let expiry = Expiry { stamp, at, epoch: context.epoch };
        rest.expiry = Some(expiry);
        let change = expiry.alive_digest(context).wrapping_sub(before);
        rest.digest = rest.digest.wrapping_add(change);
        change
    }

    fn raise_horizon(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let digester = context.digester.of_key(context.key);
        let before = text_digest(&digester, &self.text);
        self.text.cut(horizon);
        let text_change = text_digest(&digester, &self.text).wrapping_sub(before);

        let rest = self.rest.get_or_insert_default();
        let mut change: Digest = 0;
        rest.horizon = Mark { stamp: horizon, epoch: context.epoch };
        if let Some(expiry) = rest.expiry.take_if(|expiry| expiry.stamp <= horizon) {
            change = change.wrapping_sub(expiry.alive_digest(context));
        }
        for object in rest.objects.as_mut_slice() {
            change = change.wrapping_add(object.collection_mut().cut(context, horizon));
        }
        rest.objects.drop_blank();
        rest.digest = rest.digest.wrapping_add(change);
        change.wrapping_add(text_change)
    }

    /// Whether the queue of marks must get the key for a mark made in `epoch`: once an epoch.
    pub(crate) fn wants_reminder(&mut self, epoch: u32) -> bool {
        let Some(rest) = &mut self.rest else { return false };
        std::mem::replace(&mut rest.reminded, epoch + 1) <= epoch
    }

    /// Drops the marks of removals that have served their time. Returns whether others wait for
    /// theirs.
    pub(crate) fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool {
        let is_live = self.is_live();
        let Some(rest) = &mut self.rest else { return false };
        if forgettable.covers(rest.horizon) {
            rest.horizon = Mark::default();
        }
        let mut left = rest.horizon.is_temporary();
        // While the key lives, the mark holds back an older expiry, which could not be refuted
        // without reaching what is alive.
        if let Some(Expiry { stamp, at: None, epoch }) = rest.expiry
            && !is_live
        {
            let mark = Mark { stamp, epoch };
            rest.expiry.take_if(|_| forgettable.covers(mark));
            left |= rest.expiry.is_some() && mark.is_temporary();
        }
        for object in rest.objects.as_mut_slice() {
            left |= object.collection_mut().forget(context, forgettable);
        }
        rest.objects.drop_blank();
        self.drop_blank_rest();
        left
    }

    /// What is known of the string, or of one element of a collection, and up to where it is removed
    /// by a mark of its own.
    pub(crate) fn outline(&self, kind: Kind, name: &[u8]) -> (Option<Element<'_, ()>>, Stamp) {
        if kind == Kind::Text {
            return (Some(self.text().outline()), Stamp::ZERO);
        }
        let object = self.rest.as_ref().and_then(|rest| rest.objects.of_kind(kind));
        object.map_or((None, Stamp::ZERO), |object| {
            let collection = object.collection();
            (collection.outline(name), collection.mark(name))
        })
    }

    /// When the expiry was set.
    pub(crate) fn expiry_stamp(&self) -> Option<Stamp> {
        self.rest.as_ref()?.expiry.map(|expiry| expiry.stamp)
    }

    /// Elements of collections, with those that are removed.
    pub(crate) fn named_elements(&self) -> usize {
        self.collections().map(|collection| collection.len_with_marks()).sum()
    }

    /// Whether a deletion up to `horizon` would remove anything.
    pub(crate) fn is_reached_by(&self, horizon: Stamp) -> bool {
        let expiry = self.rest.as_ref().and_then(|rest| rest.expiry);
        self.text().is_reached_by(horizon)
            || expiry.is_some_and(|expiry| expiry.at.is_some() && expiry.stamp <= horizon)
            || self.collections().any(|collection| collection.is_reached_by(horizon))
    }

    fn drop_blank_rest(&mut self) {
        self.rest.take_if(|rest| rest.is_blank());
    }

    /// Hands every part of the state to `emit`; merging them into nothing gives this state.
    pub(crate) fn export<'a>(&'a self, mut emit: impl FnMut(Part<'a>)) {
        if !self.horizon().is_zero() {
            emit(Part::horizon(self.horizon()));
        }
        self.text().export(|body| emit(Part::new(Owner::Object(Kind::Text), &[], body)));
        let Some(rest) = &self.rest else { return };
        if let Some(expiry) = rest.expiry {
            emit(Part::expiry(expiry.stamp, expiry.at));
        }
        for object in rest.objects.as_slice() {
            object.collection().export(&mut emit);
        }
    }

    /// Hands what the key shows to `emit`, as parts with stamps that mean nothing.
    pub(crate) fn show(&self, emit: &mut dyn FnMut(Part<'_>)) {
        match self.kind() {
            None => {}
            Some(Kind::Text) => {
                if let Some(value) = self.text().visible() {
                    emit(Part::string(Stamp::ZERO, &value));
                }
            }
            Some(kind) => {
                if let Some(object) = self.live_object(kind) {
                    object.collection().show(emit);
                }
            }
        }
    }
}

impl Rest {
    fn is_blank(&self) -> bool {
        self.horizon.stamp.is_zero() && self.expiry.is_none() && self.objects.is_empty()
    }
}

fn horizon_digest(context: Context<'_>, horizon: Stamp) -> Digest {
    if horizon.is_zero() {
        return 0;
    }
    context.digester.of_key(context.key).part(&Part::horizon(horizon))
}

fn text_digest(digester: &KeyDigester, text: &Cell) -> Digest {
    let mut sum: Digest = 0;
    text.element().export(|body| {
        let part = Part::new(Owner::Object(Kind::Text), &[], body);
        sum = sum.wrapping_add(digester.part(&part));
    });
    sum
}
