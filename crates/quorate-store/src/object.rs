//! The objects that a key can hold.
//!
//! A string is a cell of its own; every other kind is a collection of elements. Commands keep a key
//! to one kind, so that most keys hold one object or none: several stand side by side only after
//! writes of different kinds that did not see each other.

use foldhash::fast::FixedState;
use quorate_proto::Stamp;

use crate::{
    cell::Element, digest::Digest, hash::Hash, part::Part, set::Set, sorted_set::SortedSet,
    state::Context, tombstone::Forgettable,
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
    /// A sorted set.
    SortedSet,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 4;

impl Kind {
    /// The name that `TYPE` reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "zset",
        }
    }

    /// Whether values of this kind have elements with names.
    pub(crate) const fn is_collection(self) -> bool {
        !matches!(self, Self::Text)
    }
}

/// A collection, whatever its elements are. See [`crate::elements`].
pub(crate) trait Collection {
    /// Number of live elements.
    fn len(&self) -> usize;

    /// Number of elements, with those that are removed.
    fn len_with_tombstones(&self) -> usize;

    /// Whether nothing is left, not even a tombstone.
    fn is_blank(&self) -> bool {
        self.len_with_tombstones() == 0
    }

    /// Whether a deletion up to `horizon` would remove anything.
    fn is_reached_by(&self, horizon: Stamp) -> bool;

    /// The newest stamp of anything.
    fn newest(&self) -> Stamp;

    /// The newest stamp of what is live.
    fn newest_live(&self) -> Stamp;

    /// The live element of a name.
    fn outline(&self, name: &[u8]) -> Option<Element<'_, ()>>;

    /// Up to where a name is removed; zero without a tombstone.
    fn tombstone(&self, name: &[u8]) -> Stamp;

    /// Bytes of what is alive, from the size of a few elements.
    fn estimated_bytes(&self) -> usize;

    /// Merges one part and returns the change of the digest.
    fn merge(&mut self, context: Context<'_>, part: &Part<'_>) -> Digest;

    /// Drops everything up to `horizon` and returns the change of the digest.
    fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest;

    /// Drops the tombstones that have served their time. Returns whether others wait for
    /// theirs.
    fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool;

    /// Digest of the tombstones, which is not part of the digest of the collection.
    fn tombstones_digest(&self) -> Digest;

    /// Sets the digest of the tombstones to what it should be.
    fn correct_tombstones_digest(&mut self, tombstones: Digest);

    /// Hands every part to `emit`; merging them into nothing gives this collection.
    fn export<'a>(&'a self, emit: &mut dyn FnMut(Part<'a>));

    /// Hands what shows to `emit`, as parts with stamps that mean nothing.
    fn show(&self, emit: &mut dyn FnMut(Part<'_>));
}

/// One collection.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Hash(Box<Hash>),
    Set(Box<Set>),
    SortedSet(Box<SortedSet>),
}

impl Object {
    fn new(kind: Kind, hasher: &FixedState) -> Self {
        match kind {
            Kind::Text => unreachable!("invariant: a string is not a collection"),
            Kind::Hash => Self::Hash(Box::new(Hash::new(hasher))),
            Kind::Set => Self::Set(Box::new(Set::new(hasher))),
            Kind::SortedSet => Self::SortedSet(Box::new(SortedSet::new(hasher))),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Hash(_) => Kind::Hash,
            Self::Set(_) => Kind::Set,
            Self::SortedSet(_) => Kind::SortedSet,
        }
    }

    pub(crate) fn collection(&self) -> &dyn Collection {
        match self {
            Self::Hash(hash) => &**hash,
            Self::Set(set) => &**set,
            Self::SortedSet(set) => &**set,
        }
    }

    pub(crate) fn collection_mut(&mut self) -> &mut dyn Collection {
        match self {
            Self::Hash(hash) => &mut **hash,
            Self::Set(set) => &mut **set,
            Self::SortedSet(set) => &mut **set,
        }
    }
}

/// The collections of one key, of different kinds.
#[derive(Clone, Debug, Default)]
pub(crate) enum Objects {
    #[default]
    None,
    One(Object),
    /// Two or more. Boxed, because a key pays for the largest variant.
    #[expect(clippy::box_collection, reason = "one word instead of three in the many without")]
    Several(Box<Vec<Object>>),
}

impl Objects {
    pub(crate) fn as_slice(&self) -> &[Object] {
        match self {
            Self::None => &[],
            Self::One(object) => std::slice::from_ref(object),
            Self::Several(objects) => objects,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Object] {
        match self {
            Self::None => &mut [],
            Self::One(object) => std::slice::from_mut(object),
            Self::Several(objects) => objects,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> Option<&Object> {
        self.as_slice().iter().find(|object| object.kind() == kind)
    }

    /// The object of a kind; a new one if there is none.
    pub(crate) fn of_kind_or_new(&mut self, kind: Kind, hasher: &FixedState) -> &mut Object {
        let at = self.as_slice().iter().position(|object| object.kind() == kind);
        let at = at.unwrap_or_else(|| self.push(Object::new(kind, hasher)));
        &mut self.as_mut_slice()[at]
    }

    /// Returns where the object stands.
    fn push(&mut self, new: Object) -> usize {
        *self = match std::mem::take(self) {
            Self::None => Self::One(new),
            Self::One(old) => Self::Several(Box::new(vec![old, new])),
            Self::Several(mut objects) => {
                objects.push(new);
                Self::Several(objects)
            }
        };
        self.as_slice().len() - 1
    }

    /// Drops the objects of which nothing is left, not even a tombstone.
    pub(crate) fn drop_blank(&mut self) {
        if !self.as_slice().iter().any(|object| object.collection().is_blank()) {
            return;
        }
        *self = match std::mem::take(self) {
            Self::None | Self::One(_) => Self::None,
            Self::Several(mut objects) => {
                objects.retain(|object| !object.collection().is_blank());
                match objects.len() {
                    0 => Self::None,
                    1 => Self::One(objects.remove(0)),
                    _ => Self::Several(objects),
                }
            }
        };
    }
}
