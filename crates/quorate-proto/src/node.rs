//! How nodes are named: an identity for ever, an index within one topology.

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

/// Which process of a node it is: how often the node has lost everything, and how often it was
/// started. Later ones compare greater. A node raises it before it does anything else, and peers
/// remember the greatest that they have met, so no two processes go by the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// Raised when the node takes its seat again after everything was lost.
    pub life: u16,
    /// Raised at every start, and never set back: it is what [`Origin`](crate::Origin)s are made of.
    pub number: u16,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.life, self.number)
    }
}

/// A node's place in the member list of one topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// Position in the member list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
