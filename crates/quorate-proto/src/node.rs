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

/// A node's place in the member list of one topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// Position in the member list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
