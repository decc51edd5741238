//! Member lists, and what nodes say of themselves when they meet.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    Duties, Incarnation, NodeId, Numbers, Partitioner, ReplicationFactor, Start,
    ownership::Ownership,
};

/// Introduces one end of a link to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Name of the cluster; links exist only between nodes of one cluster.
    pub cluster: String,
    /// The node that speaks.
    pub member: Member,
    /// The shard of the speaking node that owns this end of the link.
    pub shard: u16,
    /// Its view of the members.
    pub view: View,
    /// Its earlier starts in this life, the newest last: whoever has met another one than these
    /// has met a node with a copy of its data directory. Empty on links for data.
    pub lineage: Vec<Start>,
}

/// A member of the cluster as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Identity, for ever.
    pub id: NodeId,
    /// Name, unique in the cluster.
    pub name: String,
    /// Datacentre.
    pub datacentre: String,
    /// Rack inside the datacentre.
    pub rack: String,
    /// Its tokens on the ring of its rack, ascending; none in a cluster without a ring.
    pub tokens: Vec<u32>,
    /// `host:port` where peers reach it.
    pub peer_address: String,
    /// `host:port` where clients reach it.
    pub client_address: String,
    /// `host:port` that clients are told which go straight to the owner of a slot. That of other
    /// clients, if the node has no port for them.
    pub cluster_address: String,
    /// Its latest process, as far as the speaker knows.
    pub incarnation: Incarnation,
    /// What it is to take on: what it asks for, until a list is final; from then on the list says.
    pub duties: Duties,
}

/// What a node that has lost everything asks the members of its cluster for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The member whose seat it is.
    pub seat: NodeId,
    /// What the claimant wants to go by: above all that it has heard of.
    pub incarnation: Incarnation,
    /// Members that have lost everything as well.
    pub empty: Vec<EmptySeat>,
}

/// A member that has lost everything, as another one tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmptySeat {
    /// The member.
    pub seat: NodeId,
    /// Its life that is over.
    pub life: u16,
    /// The node that has come in its place, and knows nothing.
    pub newcomer: NodeId,
}

/// What a node knows of the member list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Version of the topology.
    pub epoch: u64,
    /// Whether the list is final: data may exist, and nobody joins.
    pub sealed: bool,
    /// How keys get their slots: the same for ever.
    pub partitioner: Partitioner,
    /// Replicas of every slot in each datacentre.
    pub replication_factor: ReplicationFactor,
    /// Members, ordered by identity.
    pub members: Vec<Member>,
    /// The number of each; none while the list is not final. They stand beside the members because
    /// no member says its own.
    pub numbers: Numbers,
    /// Who holds which slots. `None` as long as nothing has moved: then it follows from the members.
    pub ownership: Option<Box<Ownership>>,
}
