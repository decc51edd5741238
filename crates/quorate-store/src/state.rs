//! The convergent state of one key.
//!
//! A key is the product of independent lattices: a string cell, a hash, a set, an expiry register
//! and a *horizon*, the stamp up to which everything was deleted. Merging merges each of them, so
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

use foldhash::fast::FixedState;
use quorate_proto::Stamp;

use crate::{
    cell::Cell,
    delta::Part,
    digest::{Digest, Digester, Element},
    hash::Hash,
    mark::{Forgettable, Mark},
    set::Set,
};

/// The kinds of value a key can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string or counter.
    Text,
    /// A hash.
    Hash,
    /// A set.
    Set,
}

impl Kind {
    /// The name that `TYPE` reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Hash => "hash",
            Self::Set => "set",
        }
    }
}

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
    hash: Option<Box<Hash>>,
    set: Option<Box<Set>>,
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
        if self.at.is_some() { expiry_digest(context, self.stamp) } else { 0 }
    }

    /// What the expiry adds to the digest of marks.
    fn marks_digest(self, context: Context<'_>) -> Digest {
        if self.at.is_none() { expiry_digest(context, self.stamp) } else { 0 }
    }
}

/// The digests that a state keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptDigests {
    /// Of what is alive, but for the string.
    pub(crate) alive: Digest,
    /// Of the marks of removed fields.
    pub(crate) hash_marks: Digest,
    /// Of the marks of removed members.
    pub(crate) set_marks: Digest,
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
    /// The string cell.
    pub fn text(&self) -> &Cell {
        &self.text
    }

    /// The hash, when the key has live fields.
    pub fn hash(&self) -> Option<&Hash> {
        self.rest.as_ref()?.hash.as_deref().filter(|hash| !hash.is_empty())
    }

    /// The set, when the key has live members.
    pub fn set(&self) -> Option<&Set> {
        self.rest.as_ref()?.set.as_deref().filter(|set| !set.is_empty())
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
        match (self.text.is_live(), self.hash(), self.set()) {
            // Which of several was written last is seen by looking through all that they hold.
            (true, None, None) => Some(Kind::Text),
            (false, Some(_), None) => Some(Kind::Hash),
            (false, None, Some(_)) => Some(Kind::Set),
            (has_text, hash, set) => {
                let text = has_text.then(|| (self.text.newest(), Kind::Text));
                let hash = hash.map(|hash| (hash.newest_live(), Kind::Hash));
                let set = set.map(|set| (set.newest_live(), Kind::Set));
                let candidates = [text, hash, set].into_iter().flatten();
                candidates.max_by_key(|(stamp, _)| *stamp).map(|(_, kind)| kind)
            }
        }
    }

    /// Whether anything shows.
    pub fn is_live(&self) -> bool {
        self.text.is_live() || self.hash().is_some() || self.set().is_some()
    }

    /// Whether nothing is left, not even a mark.
    pub(crate) fn is_blank(&self) -> bool {
        !self.text.is_live() && self.rest.as_ref().is_none_or(|rest| rest.is_blank())
    }

    /// The newest stamp of anything in the state: what a deletion of the whole key has seen.
    pub fn newest(&self) -> Stamp {
        let Some(rest) = &self.rest else {
            return self.text.newest();
        };
        [
            self.text.newest(),
            rest.horizon.stamp,
            rest.expiry.map_or(Stamp::ZERO, |expiry| expiry.stamp),
            rest.hash.as_ref().map_or(Stamp::ZERO, |hash| hash.newest()),
            rest.set.as_ref().map_or(Stamp::ZERO, |set| set.newest()),
        ]
        .into_iter()
        .max()
        .unwrap_or_default()
    }

    /// Bytes of what is alive, those of fields and members from the size of a few of them.
    pub(crate) fn estimated_bytes(&self) -> usize {
        let text = self.text.register().map_or(0, <[u8]>::len);
        let hash = self.hash().map_or(0, |hash| {
            let field =
                |(name, cell): (&[u8], &Cell)| name.len() + cell.register().map_or(0, <[u8]>::len);
            estimate(hash.len(), hash.fields().map(field))
        });
        let set = self.set().map_or(0, |set| estimate(set.len(), set.members().map(<[u8]>::len)));
        text + hash + set
    }

    /// Digest of what is alive.
    pub(crate) fn digest(&self, context: Context<'_>) -> Digest {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.digest);
        text_digest(context, &self.text).wrapping_add(rest)
    }

    /// The digests that are kept up to date with every change, if the state is one that keeps any.
    pub(crate) fn kept_digests(&self) -> Option<KeptDigests> {
        let rest = self.rest.as_ref()?;
        Some(KeptDigests {
            alive: rest.digest,
            hash_marks: rest.hash.as_ref().map_or(0, |hash| hash.marks_digest()),
            set_marks: rest.set.as_ref().map_or(0, |set| set.marks_digest()),
        })
    }

    /// Sets the digests that are kept to what they should be.
    pub(crate) fn correct_digests(&mut self, right: KeptDigests) {
        let Some(rest) = &mut self.rest else { return };
        rest.digest = right.alive;
        if let Some(hash) = &mut rest.hash {
            hash.correct_marks_digest(right.hash_marks);
        }
        if let Some(set) = &mut rest.set {
            set.correct_marks_digest(right.set_marks);
        }
    }

    /// Digest of the marks of removals.
    pub(crate) fn marks_digest(&self, context: Context<'_>) -> Digest {
        let Some(rest) = &self.rest else { return 0 };
        let hash = rest.hash.as_ref().map_or(0, |hash| hash.marks_digest());
        let set = rest.set.as_ref().map_or(0, |set| set.marks_digest());
        let expiry = rest.expiry.map_or(0, |expiry| expiry.marks_digest(context));
        let horizon = horizon_digest(context, rest.horizon.stamp);
        horizon.wrapping_add(expiry).wrapping_add(hash).wrapping_add(set)
    }

    /// Merges one part and returns the change of the digest.
    pub(crate) fn merge(&mut self, context: Context<'_>, part: Part<'_>) -> Digest {
        let horizon = self.horizon();
        match part {
            Part::Horizon(stamp) if stamp > horizon => self.raise_horizon(context, stamp),
            Part::Expiry(stamp, at) if stamp > horizon => self.merge_expiry(context, stamp, at),
            Part::Text(stamp, value) if stamp > horizon => {
                self.merge_text(context, |text| text.merge_register(Some(value), stamp))
            }
            Part::TextAdd(contribution) if contribution.since > horizon => {
                self.merge_text(context, |text| text.merge_contribution(contribution))
            }
            Part::FieldAdd(_, contribution) if contribution.since > horizon => {
                self.merge_hash(context, part)
            }
            Part::Field(stamp, ..) | Part::FieldRemoved(stamp, _) if stamp > horizon => {
                self.merge_hash(context, part)
            }
            Part::Member(stamp, _) | Part::MemberRemoved(stamp, _) if stamp > horizon => {
                self.merge_set(context, part)
            }
            _ => 0,
        }
    }

    fn merge_text(
        &mut self,
        context: Context<'_>,
        merge: impl FnOnce(&mut Cell) -> bool,
    ) -> Digest {
        let before = text_digest(context, &self.text);
        if !merge(&mut self.text) {
            return 0;
        }
        let change = text_digest(context, &self.text).wrapping_sub(before);
        change.wrapping_add(self.drop_outlived_expiry(context))
    }

    fn drop_outlived_expiry(&mut self, context: Context<'_>) -> Digest {
        let Some(rest) = &mut self.rest else { return 0 };
        let Some(expiry) = rest.expiry.take_if(|expiry| expiry.stamp < self.text.stamp()) else {
            return 0;
        };
        let change = expiry.alive_digest(context).wrapping_neg();
        rest.digest = rest.digest.wrapping_add(change);
        self.drop_blank_rest();
        change
    }

    fn merge_expiry(&mut self, context: Context<'_>, stamp: Stamp, at: Option<u64>) -> Digest {
        if stamp < self.text.stamp() {
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

    fn merge_hash(&mut self, context: Context<'_>, part: Part<'_>) -> Digest {
        let rest = self.rest.get_or_insert_default();
        let hash = rest.hash.get_or_insert_with(|| Box::new(Hash::new(context.hasher.clone())));
        let change = hash.merge(context, part);
        rest.digest = rest.digest.wrapping_add(change);
        change
    }

    fn merge_set(&mut self, context: Context<'_>, part: Part<'_>) -> Digest {
        let rest = self.rest.get_or_insert_default();
        let set = rest.set.get_or_insert_with(|| Box::new(Set::new(context.hasher.clone())));
        let change = set.merge(context, part);
        rest.digest = rest.digest.wrapping_add(change);
        change
    }

    fn raise_horizon(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let epoch = context.epoch;
        let before = text_digest(context, &self.text);
        self.text.cut(horizon);
        let text_change = text_digest(context, &self.text).wrapping_sub(before);

        let rest = self.rest.get_or_insert_default();
        let mut change: Digest = 0;
        rest.horizon = Mark { stamp: horizon, epoch };
        if let Some(expiry) = rest.expiry.take_if(|expiry| expiry.stamp <= horizon) {
            change = change.wrapping_sub(expiry.alive_digest(context));
        }
        if let Some(hash) = &mut rest.hash {
            change = change.wrapping_add(hash.cut(context, horizon));
            rest.hash.take_if(|hash| hash.is_blank());
        }
        if let Some(set) = &mut rest.set {
            change = change.wrapping_add(set.cut(context, horizon));
            rest.set.take_if(|set| set.is_blank());
        }
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
        if let Some(hash) = &mut rest.hash {
            left |= hash.forget(context, forgettable);
            rest.hash.take_if(|hash| hash.is_blank());
        }
        if let Some(set) = &mut rest.set {
            left |= set.forget(context, forgettable);
            rest.set.take_if(|set| set.is_blank());
        }
        self.drop_blank_rest();
        left
    }

    /// Up to where a hash field is removed by a mark of its own.
    pub(crate) fn field_mark(&self, name: &[u8]) -> Stamp {
        let hash = self.rest.as_ref().and_then(|rest| rest.hash.as_ref());
        hash.map_or(Stamp::ZERO, |hash| hash.mark(name))
    }

    /// Up to where a set member is removed by a mark of its own.
    pub(crate) fn member_mark(&self, name: &[u8]) -> Stamp {
        let set = self.rest.as_ref().and_then(|rest| rest.set.as_ref());
        set.map_or(Stamp::ZERO, |set| set.mark(name))
    }

    /// When the expiry was set.
    pub(crate) fn expiry_stamp(&self) -> Option<Stamp> {
        self.rest.as_ref()?.expiry.map(|expiry| expiry.stamp)
    }

    /// Fields and members, with those that are removed.
    pub(crate) fn named_elements(&self) -> usize {
        let Some(rest) = &self.rest else { return 0 };
        let fields = rest.hash.as_ref().map_or(0, |hash| hash.elements());
        fields + rest.set.as_ref().map_or(0, |set| set.elements())
    }

    /// Whether a deletion up to `horizon` would remove anything.
    pub(crate) fn is_reached_by(&self, horizon: Stamp) -> bool {
        self.text.is_reached_by(horizon)
            || self.rest.as_ref().is_some_and(|rest| {
                rest.expiry.is_some_and(|expiry| expiry.at.is_some() && expiry.stamp <= horizon)
                    || rest.hash.as_ref().is_some_and(|hash| hash.is_reached_by(horizon))
                    || rest.set.as_ref().is_some_and(|set| set.is_reached_by(horizon))
            })
    }

    fn drop_blank_rest(&mut self) {
        self.rest.take_if(|rest| rest.is_blank());
    }

    /// Hands every part of the state to `emit`; merging them into nothing gives this state.
    pub(crate) fn export<'a>(&'a self, mut emit: impl FnMut(Part<'a>)) {
        if !self.horizon().is_zero() {
            emit(Part::Horizon(self.horizon()));
        }
        if let Some(value) = self.text.register() {
            emit(Part::Text(self.text.stamp(), value));
        }
        for contribution in self.text.contributions() {
            emit(Part::TextAdd(*contribution));
        }
        let Some(rest) = &self.rest else { return };
        if let Some(expiry) = rest.expiry {
            emit(Part::Expiry(expiry.stamp, expiry.at));
        }
        if let Some(hash) = &rest.hash {
            hash.export(&mut emit);
        }
        if let Some(set) = &rest.set {
            set.export(&mut emit);
        }
    }
}

impl Rest {
    fn is_blank(&self) -> bool {
        self.horizon.stamp.is_zero()
            && self.expiry.is_none()
            && self.hash.is_none()
            && self.set.is_none()
    }
}

/// The size of `count` elements, from that of the first ones.
fn estimate(count: usize, sizes: impl Iterator<Item = usize>) -> usize {
    const SAMPLED_ELEMENTS: usize = 16;
    let sampled = count.clamp(1, SAMPLED_ELEMENTS);
    sizes.take(sampled).sum::<usize>() * count / sampled
}

fn horizon_digest(context: Context<'_>, horizon: Stamp) -> Digest {
    if horizon.is_zero() {
        return 0;
    }
    context.digester.element(context.key, Element::Horizon, &[], horizon)
}

fn expiry_digest(context: Context<'_>, stamp: Stamp) -> Digest {
    context.digester.element(context.key, Element::Expiry, &[], stamp)
}

fn text_digest(context: Context<'_>, text: &Cell) -> Digest {
    let Context { key, digester, .. } = context;
    let register = match text.register() {
        Some(_) => digester.element(key, Element::Text, &[], text.stamp()),
        None => 0,
    };
    text.contributions().iter().fold(register, |sum, part| {
        sum.wrapping_add(digester.element(key, Element::TextContribution, &[], part.last))
    })
}
