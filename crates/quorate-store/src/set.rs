//! The state of a set: a stamp for each member, and a mark for each removed one.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use quorate_proto::{Stamp, mutant::Mutant};

use crate::{
    delta::Part,
    digest::{Digest, Digester, Element},
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
    removed: HashMap<Box<[u8]>, Stamp, FixedState>,
}

impl Set {
    pub(crate) fn new(hasher: FixedState) -> Self {
        Self { live: IndexMap::with_hasher(hasher.clone()), removed: HashMap::with_hasher(hasher) }
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

    pub(crate) fn newest(&self) -> Stamp {
        self.live.values().chain(self.removed.values()).copied().max().unwrap_or_default()
    }

    pub(crate) fn newest_live(&self) -> Stamp {
        self.live.values().copied().max().unwrap_or_default()
    }

    /// Merges one part of a member and returns the change of the digest.
    pub(crate) fn merge(&mut self, digester: &Digester, key: &[u8], part: Part<'_>) -> Digest {
        match part {
            Part::Member(stamp, name) => self.add(digester, key, name, stamp),
            Part::MemberRemoved(stamp, name) => self.remove(digester, key, name, stamp),
            _ => unreachable!("invariant: only member parts reach a set"),
        }
    }

    fn add(&mut self, digester: &Digester, key: &[u8], name: &[u8], stamp: Stamp) -> Digest {
        let added = digester.element(key, Element::Member, name, stamp);
        if let Some(old) = self.live.get_mut(name) {
            if *old >= stamp {
                return 0;
            }
            let before = digester.element(key, Element::Member, name, *old);
            *old = stamp;
            return added.wrapping_sub(before);
        }
        let mut change = added;
        if let Some(&mark) = self.removed.get(name) {
            if mark >= stamp {
                return 0;
            }
            self.removed.remove(name);
            change = change.wrapping_sub(digester.element(key, Element::MemberRemoved, name, mark));
        }
        self.live.insert(name.into(), stamp);
        change
    }

    fn remove(&mut self, digester: &Digester, key: &[u8], name: &[u8], stamp: Stamp) -> Digest {
        let mut change = digester.element(key, Element::MemberRemoved, name, stamp);
        if let Some(&added) = self.live.get(name) {
            if added > stamp {
                return 0;
            }
            self.live.swap_remove(name);
            change = change.wrapping_sub(digester.element(key, Element::Member, name, added));
        } else if let Some(&mark) = self.removed.get(name) {
            if mark >= stamp {
                return 0;
            }
            change = change.wrapping_sub(digester.element(key, Element::MemberRemoved, name, mark));
        }
        self.removed.insert(name.into(), stamp);
        if Mutant::DigestBlind.is_planted() { 0 } else { change }
    }

    /// Drops everything up to `horizon` and returns the change of the digest.
    pub(crate) fn cut(&mut self, digester: &Digester, key: &[u8], horizon: Stamp) -> Digest {
        let mut change: Digest = 0;
        let mut keep = |element: Element, name: &[u8], stamp: Stamp| {
            let kept = stamp > horizon;
            if !kept {
                change = change.wrapping_sub(digester.element(key, element, name, stamp));
            }
            kept
        };
        self.live.retain(|name, stamp| keep(Element::Member, name, *stamp));
        self.removed.retain(|name, stamp| keep(Element::MemberRemoved, name, *stamp));
        change
    }

    /// Drops the marks of removed members and returns the change of the digest.
    pub(crate) fn forget_removed(&mut self, digester: &Digester, key: &[u8]) -> Digest {
        self.removed.drain().fold(0, |change: Digest, (name, stamp)| {
            change.wrapping_sub(digester.element(key, Element::MemberRemoved, &name, stamp))
        })
    }

    pub(crate) fn export(&self, mut emit: impl FnMut(Part<'_>)) {
        for (name, stamp) in &self.live {
            emit(Part::Member(*stamp, name));
        }
        for (name, stamp) in &self.removed {
            emit(Part::MemberRemoved(*stamp, name));
        }
    }
}
