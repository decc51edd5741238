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
//! When its time has come, each replica carries an expiry out by itself: it drops what the expiry
//! reaches, but not for the others, who may know of a newer one. The expiry holds back what it reached
//! and arrives late, until a newer one lifts that; then what is not over comes back from the others. The
//! next write deletes for good what its executor knows to be over (see `execution`).
//!
//! The digest of a key covers what is alive. Marks of removals are left out, so that replicas which
//! have forgotten some agree with those that have not; the marks have a digest of their own. An
//! expiry of *never* is such a mark, and one that has been carried out: they go when they have served their time
//! and the key is dead.

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
    /// The epoch of this store in which the expiry arrived, or was carried out.
    epoch: u32,
    /// Whether what the expiry ends has been removed here.
    done: bool,
}

impl Expiry {
    /// Whether the key still expires.
    fn is_ahead(self) -> bool {
        self.at.is_some() && !self.done
    }

    /// The newest stamp that the expiry reaches: of what was written before its moment, and of
    /// everything that it was set for.
    fn reach(self) -> Stamp {
        let over_ms = self.at.unwrap_or(0).clamp(1, MILLISECONDS_MAX);
        self.stamp.max(Stamp::new((over_ms << 16) - 1, Origin(0)))
    }

    /// Whether the expiry, carried out, holds back a part that arrives late.
    fn holds_back(self, part: &Part<'_>) -> bool {
        self.done
            && match (part.owner(), part.body()) {
                (Owner::Key, _) => false,
                // A newer one ends the expiry.
                (Owner::Object(Kind::Text), Body::Bytes(stamp, _)) => stamp <= self.stamp,
                _ => part.since() <= self.reach(),
            }
    }

    /// What the expiry adds to the digest of what is alive.
    fn alive_digest(self, context: Context<'_>) -> Digest {
        if self.is_ahead() { self.digest(context) } else { 0 }
    }

    /// What the expiry adds to the digest of marks.
    fn marks_digest(self, context: Context<'_>) -> Digest {
        if self.is_ahead() { 0 } else { self.digest(context) }
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
        self.rest.as_ref()?.expiry.filter(|expiry| expiry.is_ahead())?.at
    }

    /// Whether an expiry has been carried out here that no newer one has replaced.
    pub(crate) fn has_ended(&self) -> bool {
        self.rest.as_ref().and_then(|rest| rest.expiry).is_some_and(|expiry| expiry.done)
    }

    /// Whether a part of the state only says what is removed.
    pub(crate) fn is_mark(&self, part: &Part<'_>) -> bool {
        part.is_mark() || self.has_ended() && matches!(part.body(), Body::Until(..))
    }

    /// The stamp of an expiry of *never*: when the object ended those of the one before it.
    pub(crate) fn began(&self) -> Option<Stamp> {
        self.rest.as_ref()?.expiry.filter(|expiry| expiry.at.is_none()).map(|expiry| expiry.stamp)
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

    /// Hands what deletes for good what the end of the time to live has reached to `emit`, if it is over
    /// at `wall_ms`: everything up to the stamp of the expiry, and of what was written from then until
    /// its moment, what is known here. What is not may belong to an object that began anew. What was
    /// added after the moment began another object.
    pub(crate) fn ended<'a>(&'a self, wall_ms: u64, mut emit: impl FnMut(Part<'a>)) {
        let expiry = self.rest.as_ref().and_then(|rest| rest.expiry);
        let Some(expiry) = expiry.filter(|expiry| expiry.at.is_some_and(|at| at <= wall_ms)) else {
            return;
        };
        let (mut horizon, reach) = (expiry.stamp, expiry.reach());
        self.export(|part| {
            let since = part.since();
            if since <= expiry.stamp || since > reach || part.is_mark() {
                return;
            }
            match (part.owner(), part.name()) {
                (Owner::Object(kind), Some(name)) => {
                    emit(Part::element(kind, name, Body::Removed(since)));
                }
                // Increments of a string have no marks of their own.
                (Owner::Object(_), None) => horizon = horizon.max(since),
                (Owner::Key, _) => {}
            }
        });
        emit(Part::horizon(horizon));
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
        let expiry = self.rest.as_ref().and_then(|rest| rest.expiry);
        if part.since() <= self.horizon() || expiry.is_some_and(|expiry| expiry.holds_back(part)) {
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
        let expiry = Expiry { stamp, at, epoch: context.epoch, done: false };
        rest.expiry = Some(expiry);
        let change = expiry.alive_digest(context).wrapping_sub(before);
        rest.digest = rest.digest.wrapping_add(change);
        change
    }

    fn raise_horizon(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let mut change = self.cut(context, horizon);
        let rest = self.rest.get_or_insert_default();
        rest.horizon = Mark { stamp: horizon, epoch: context.epoch };
        if let Some(expiry) = rest.expiry.take_if(|expiry| expiry.stamp <= horizon) {
            let gone = expiry.alive_digest(context);
            rest.digest = rest.digest.wrapping_sub(gone);
            change = change.wrapping_sub(gone);
        }
        change
    }

    /// Drops all values and elements up to `horizon` and returns the change of the digest.
    fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let digester = context.digester.of_key(context.key);
        let before = text_digest(&digester, &self.text);
        self.text.cut(horizon);
        let text_change = text_digest(&digester, &self.text).wrapping_sub(before);
        let Some(rest) = &mut self.rest else { return text_change };
        let mut change: Digest = 0;
        for object in rest.objects.as_mut_slice() {
            change = change.wrapping_add(object.collection_mut().cut(context, horizon));
        }
        rest.objects.drop_blank();
        rest.digest = rest.digest.wrapping_add(change);
        change.wrapping_add(text_change)
    }

    /// Carries out the expiry: removes what it reaches and returns the change of the digest. The expiry
    /// stays as a mark that holds back what it would have reached, until a newer one arrives: this
    /// replica may not have heard of an expiry that others obey.
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
        if let Some(expiry) = rest.expiry.filter(|expiry| !expiry.is_ahead() && !is_live) {
            let mark = Mark { stamp: expiry.reach(), epoch: expiry.epoch };
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
            || expiry.is_some_and(|expiry| expiry.is_ahead() && expiry.stamp <= horizon)
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
