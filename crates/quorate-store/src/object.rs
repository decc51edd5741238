//! The objects that a key can hold.
//!
//! A string is a cell of its own; every other kind is a collection of elements.

use foldhash::fast::FixedState;
use quorate_proto::Stamp;

use crate::{
    cell::Element, digest::Digest, hash::Hash, json::Json, part::Part, set::Set,
    sorted_set::SortedSet, state::Context, tombstone::Forgettable,
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
    /// A JSON document.
    Json,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 5;

impl Kind {
    /// The name that `TYPE` reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Json => "ReJSON-RL",
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

    /// Whether it has tombstones.
    fn has_tombstones(&self) -> bool {
        self.len_with_tombstones() > self.len()
    }

    /// Whether a deletion up to `horizon` would remove anything.
    fn is_reached_by(&self, horizon: Stamp) -> bool;

    /// The newest stamp of anything; of what is large, one that is as new at least, and that something
    /// had.
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

    /// Makes room for parts that are about to come, about so many bytes, so that what is small does
    /// not grow with each.
    fn reserve(&mut self, bytes: usize);

    /// Gives back the room that is left of what was [reserved](Collection::reserve).
    fn fit(&mut self);

    /// Drops everything up to `horizon` and returns the change of the digest.
    fn cut(&mut self, context: Context<'_>, horizon: Stamp) -> Digest;

    /// Drops the tombstones that have served their time. Returns whether others wait for
    /// theirs.
    fn forget(&mut self, context: Context<'_>, forgettable: Forgettable) -> bool;

    /// Lets the tombstones of an epoch, and of later ones, belong to `to` instead.
    fn raise_epochs(&mut self, from: u32, to: u32);

    /// Digest of what is alive.
    fn digest(&self, context: Context<'_>) -> Digest;

    /// The same where it is kept, and not computed when it is asked for.
    fn kept_digest(&self) -> Option<Digest>;

    /// Sets the digests that are kept to what they should be.
    fn correct_digests(&mut self, hasher: &FixedState, alive: Digest, tombstones: Digest);

    /// Hands every part to `emit`; merging them into nothing gives this collection.
    fn export<'a>(&'a self, emit: &mut dyn FnMut(Part<'a>));

    /// The same of one name.
    fn export_name<'a>(&'a self, name: &'a [u8], emit: &mut dyn FnMut(Part<'a>));

    /// Hands what shows to `emit`, as parts with stamps that mean nothing.
    fn show(&self, emit: &mut dyn FnMut(Part<'_>));
}

/// One collection.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Hash(Hash),
    Set(Set),
    SortedSet(SortedSet),
    Json(Json),
}

impl Object {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => unreachable!("invariant: a string is not a collection"),
            Kind::Hash => Self::Hash(Hash::default()),
            Kind::Set => Self::Set(Set::default()),
            Kind::SortedSet => Self::SortedSet(SortedSet::default()),
            Kind::Json => Self::Json(Json::default()),
        }
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Hash(_) => Kind::Hash,
            Self::Set(_) => Kind::Set,
            Self::SortedSet(_) => Kind::SortedSet,
            Self::Json(_) => Kind::Json,
        }
    }

    /// Number of live elements.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Hash(hash) => hash.len(),
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
            Self::Json(json) => json.len(),
        }
    }

    /// Digest of the tombstones.
    #[inline]
    pub(crate) fn tombstones_digest(&self) -> Digest {
        match self {
            Self::Hash(hash) => hash.tombstones_digest(),
            Self::Set(set) => set.tombstones_digest(),
            Self::SortedSet(set) => set.tombstones_digest(),
            Self::Json(json) => json.tombstones_digest(),
        }
    }

    #[inline]
    pub(crate) fn collection(&self) -> &dyn Collection {
        match self {
            Self::Hash(hash) => hash,
            Self::Set(set) => set,
            Self::SortedSet(set) => set,
            Self::Json(json) => json,
        }
    }

    pub(crate) fn collection_mut(&mut self) -> &mut dyn Collection {
        match self {
            Self::Hash(hash) => hash,
            Self::Set(set) => set,
            Self::SortedSet(set) => set,
            Self::Json(json) => json,
        }
    }
}
