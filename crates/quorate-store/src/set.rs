//! The state of a set: a stamp for each member, and a mark for each removed one.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use quorate_proto::{Stamp, mutant::Mutant};

use crate::{
    delta::Part,
    digest::{Digest, Element},
    mark::{Forgettable, Mark},
    state::Context,
};

/// Members of a set. Add beats a removal that did not see it.
///
/// A removal carries the newest add stamp that it saw, so one comparison decides: the member is
/// live exactly while its add stamp is greater than the removal's.
#[derive(Clone, Debug)]
pub struct Set {
    /// Live members with the stamp of their newest add. Indexed, so that a random one is found
    /// at once.
    live: IndexMap<Box<[u8]>, Stamp, FixedState>,
    /// Removed members: the newest add stamp that the removal saw.
    removed: HashMap<Box<[u8]>, Mark, FixedState>,
    /// Digest of the marks.
    marks: Digest,
}

impl Set {
    pub(crate) fn new(hasher: FixedState) -> Self {
        let live = IndexMap::with_hasher(hasher.clone());
        Self { live, removed: HashMap::with_hasher(hasher), marks: 0 }
    }

    /// Number of live members.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no member is live.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Whether `member` is live.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.live.contains_key(member)
    }

    /// The stamp of the newest add of a live member.
    pub fn stamp_of(&self, member: &[u8]) -> Option<Stamp> {
        self.live.get(member).copied()
    }

    /// The live member at `index`, `0..len()`. Indices change with every write.
    pub fn member_at(&self, index: usize) -> Option<&[u8]> {
        self.live.get_index(index).map(|(member, _)| &**member)
    }

    /// Live members.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.live.keys().map(|member| &**member)
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.live.is_empty() && self.removed.is_empty()
    }

    /// Whether a deletion up to `horizon` would remove anything.
    pub(crate) fn is_reached_by(&self, horizon: Stamp) -> bool {
        self.live.values().any(|stamp| *stamp <= horizon)
    }

    /// Up to where `member` is removed; zero without a mark.
    pub(crate) fn mark(&self, member: &[u8]) -> Stamp {
        self.removed.get(member).map_or(Stamp::ZERO, |mark| mark.stamp)
    }

    pub(crate) fn newest(&self) -> Stamp {
        let removed = self.removed.values().map(|mark| mark.stamp);
        self.live.values().copied().chain(removed).max().unwrap_or_default()
    }

    pub(crate) fn newest_live(&self) -> Stamp {
        self.live.values().copied().max().unwrap_or_default()
    }

    /// Merges one part of a member and returns the change of the digest.
    pub(crate) fn merge(&mut self, context: Context<'_>, part: Part<'_>) -> Digest {
        match part {
            Part::Member(stamp, name) => self.add(context, name, stamp),
            Part::MemberRemoved(stamp, name) => self.remove(context, name, stamp),
            _ => unreachable!("invariant: only member parts reach a set"),
        }
    }

    fn add(&mut self, context: Context<'_>, name: &[u8], stamp: Stamp) -> Digest {
        let Context { key, digester, .. } = context;
        let added = digester.element(key, Element::Member, name, stamp);
        if let Some(old) = self.live.get_mut(name) {
            if *old >= stamp {
                return 0;
            }
            let before = digester.element(key, Element::Member, name, *old);
            *old = stamp;
            return added.wrapping_sub(before);
        }
        if self.mark(name) >= stamp {
            return 0;
        }
        self.drop_mark(context, name);
        self.live.insert(name.into(), stamp);
        added
    }

    fn remove(&mut self, context: Context<'_>, name: &[u8], stamp: Stamp) -> Digest {
        let Context { key, digester, epoch, .. } = context;
        let mut change: Digest = 0;
        if let Some(&added) = self.live.get(name) {
            if added > stamp {
                return 0;
            }
            self.live.swap_remove(name);
            change = digester.element(key, Element::Member, name, added).wrapping_neg();
        } else if self.mark(name) >= stamp {
            return 0;
        }
        self.drop_mark(context, name);
        self.removed.insert(name.into(), Mark { stamp, epoch });
        self.marks = self.marks.wrapping_add(mark_digest(context, name, stamp));
        if Mutant::DigestBlind.is_planted() { 0 } else { change }
    }

    fn drop_mark(&mut self, context: Context<'_>, name: &[u8]) {
        if let Some(mark) = self.removed.remove(name) {
            self.marks = self.marks.wrapping_sub(mark_digest(context, name, mark.stamp));
        }
    }

    fn retain_marks(&mut self, context: Context<'_>, mut wanted: impl FnMut(Mark) -> bool) {
        self.removed.retain(|name, mark| {
            let wanted = wanted(*mark);
            if !wanted {
                self.marks = self.marks.wrapping_sub(mark_digest(context, name, mark.stamp));
            }
            wanted
        });
    }

    /// Drops everything up to `horizon` and returns the change of the digest.
    pub(crate) fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest {
        let Context { key, digester, .. } = context;
        let mut change: Digest = 0;
        self.live.retain(|name, stamp| {
            let kept = *stamp > horizon;
            if !kept {
                change = change.wrapping_sub(digester.element(key, Element::Member, name, *stamp));
            }
            kept
        });
        self.retain_marks(context, |mark| mark.stamp > horizon);
        change
    }

    /// Drops the marks of removed members that have served their time. Returns whether others wait
    /// for theirs.
    pub(crate) fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool {
        let mut left = false;
        self.retain_marks(context, |mark| {
            let kept = !forgettable.covers(mark);
            left |= kept && mark.is_temporary();
            kept
        });
        self.removed.shrink_to_fit();
        left
    }

    /// Digest of the marks, which is no part of the digest of the set.
    pub(crate) fn marks_digest(&self) -> Digest {
        self.marks
    }

    pub(crate) fn correct_marks_digest(&mut self, marks: Digest) {
        self.marks = marks;
    }

    pub(crate) fn export(&self, mut emit: impl FnMut(Part<'_>)) {
        for (name, stamp) in &self.live {
            emit(Part::Member(*stamp, name));
        }
        for (name, mark) in &self.removed {
            emit(Part::MemberRemoved(mark.stamp, name));
        }
    }
}

fn mark_digest(context: Context<'_>, name: &[u8], stamp: Stamp) -> Digest {
    context.digester.element(context.key, Element::MemberRemoved, name, stamp)
}
