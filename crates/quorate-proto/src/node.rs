//! How nodes are named: by an identity, and as members of a cluster by a number.

use core::fmt;

/// A node's identity: drawn at random when its data directory is made, never an address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u128);

impl NodeId {
    /// The 40 hexadecimal digits that Redis Cluster clients expect of a node id.
    pub fn to_cluster_id(self) -> alloc::string::String {
        alloc::format!("{:032x}00000000", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One start of a node, named by 20 bits drawn at random before the node does anything else. A
/// counter would not do: two copies of a data directory count on from the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start(u32);

impl Start {
    /// Bits of the name.
    pub const BITS: u32 = 20;

    /// No start at all: no node ever goes by it.
    pub const NONE: Self = Self(0);

    /// The start named by the lower bits of a random number.
    pub const fn from_random(random: u32) -> Self {
        Self(random & ((1 << Self::BITS) - 1))
    }

    /// Its name, below 2^20.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05x}", self.0)
    }
}

/// Which process of a node it is.
///
/// A greater life comes later. Within a life only the node itself knows the order of its starts:
/// it is its lineage, see [`Hello`](crate::message::Hello).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// Raised when the node takes its seat again after everything was lost.
    pub life: u16,
    /// This start: it is what [`Origin`](crate::Origin)s are made of.
    pub start: Start,
    /// The start before, [`Start::NONE`] if there was none.
    pub previous: Start,
}

impl Incarnation {
    /// Whether no process is known that lives this life: those who know it so have only been told
    /// that the ones before are over.
    pub fn is_nobodys(self) -> bool {
        self.start == Start::NONE
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.life, self.start)
    }
}

/// The number of a member: given once, when it becomes one, and never to another
/// ([`Numbers`](crate::Numbers)). Below [`Origin::NUMBERS`](crate::Origin::NUMBERS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberNumber(pub u16);

impl MemberNumber {
    /// The number as a place in a table that has one for each number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
