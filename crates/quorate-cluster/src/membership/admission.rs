//! Who may link to this node and who may not, and what they are told.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use core::cmp::Ordering;

use quorate_proto::{
    Incarnation, NodeId, Partitioner, ReplicationFactor,
    message::{Hello, Member, RefusalCode, Refused, View},
};

use super::{Config, Standing, rejoining::has_seat, succession::Decided};
use crate::{
    limits::NAME_LENGTH_MAX,
    topology::{self, Topology, TopologyError},
};

/// Why a link is refused. The text is sent to the peer and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer belongs to a cluster with another name.
    #[error("this node belongs to the cluster {ours:?}, not to {theirs:?}; check the cluster name")]
    ClusterName {
        /// This node's cluster.
        ours: String,
        /// The peer's cluster.
        theirs: String,
    },
    /// A node reached itself.
    #[error("node {0} dialled itself")]
    Itself(NodeId),
    /// Two processes claim the same identity.
    #[error(
        "node {id} is already here at {address}; two nodes run with the same identity: \
         a data directory must not be copied"
    )]
    DuplicateId {
        /// The identity.
        id: NodeId,
        /// Where the first one is.
        address: String,
    },
    /// Two members have the same name.
    #[error("the name {name:?} is taken by node {id}; give each node a name of its own")]
    DuplicateName {
        /// The name.
        name: String,
        /// Who has it.
        id: NodeId,
    },
    /// The nodes are configured with different replication factors.
    #[error(
        "the replication factor is {ours} here and {theirs} there; it must be the same on all nodes"
    )]
    ReplicationFactor {
        /// This node's setting.
        ours: ReplicationFactor,
        /// The peer's setting.
        theirs: ReplicationFactor,
    },
    /// The nodes are configured with different partitioners.
    #[error(
        "the partitioner is {ours} here and {theirs} there; partitioner, hash, hash_tag and ring_tokens must be \
         the same on all nodes"
    )]
    Partitioner {
        /// This node's setting.
        ours: Partitioner,
        /// The peer's setting.
        theirs: Partitioner,
    },
    /// The member list is final and the peer is not in it.
    #[error(
        "the cluster already holds data with {members} nodes; a node that is to join it is started with join: \
         true, and taken in on a member: quorate join"
    )]
    AlreadySealed {
        /// Number of members.
        members: usize,
    },
    /// The member list is about to become final and the peer is not in it.
    #[error("try again: the member list is being sealed with {members} nodes")]
    BeingSealed {
        /// Number of members.
        members: usize,
    },
    /// Both member lists are final, and they differ.
    #[error("this node belongs to another cluster (sealed with nodes {names})")]
    OtherCluster {
        /// Names of this node's fellow members.
        names: String,
    },
    /// The peer has the name of a member, and is not where that one was.
    #[error(
        "the name {name:?} belongs to a member at {address} (datacentre {datacentre:?}, rack \
         {rack:?}); started with exactly these settings, it takes its seat again once that member \
         is gone for good"
    )]
    SeatElsewhere {
        /// The name.
        name: String,
        /// Where the member's peers reach it.
        address: String,
        /// Its datacentre.
        datacentre: String,
        /// Its rack.
        rack: String,
    },
    /// The member whose seat the peer claims is alive.
    #[error(
        "the member {name:?} at {address} is alive; two nodes run with the same name: a node that \
         has lost everything can take its seat again only when the other one has stopped"
    )]
    SeatTaken {
        /// The member's name.
        name: String,
        /// Its address.
        address: String,
    },
    /// This node has met another process of the peer than its data directory knows of.
    #[error(
        "this node must not go on: the node {name:?} runs, or has run, as {met}, of which this process, {refused}, knows \
         nothing: its data directory is older than that, or a copy; move it away and start with an \
         empty one, and the others fill the node again"
    )]
    Fenced {
        /// The member's name.
        name: String,
        /// What this node has met.
        met: Incarnation,
        /// What was refused.
        refused: Incarnation,
    },
    /// The peer's data directory is a copy of that of a member that is alive.
    #[error(
        "this node must not go on: the node {name:?} is alive at {address}, and this is a copy of its data directory; \
         give each node a directory of its own"
    )]
    Copy {
        /// The member's name.
        name: String,
        /// Where the member is.
        address: String,
    },
    /// The peer says that it is a member that this node has a link to elsewhere.
    #[error("try again: it is asked who is who: the node {name:?} may still be alive at {address}")]
    MayBeAlive {
        /// The member's name.
        name: String,
        /// Where the member was.
        address: String,
    },
    /// The peer was started again, and this node has not noted that yet.
    #[error("try again: the new start of this node is being noted")]
    NotNoted,
    /// This node has lost everything and is about to take its seat again.
    #[error("try again: this node has lost everything and is taking its seat again")]
    Rejoining,
    /// The seat has been replaced as often as can be counted.
    #[error("this member has used up its 65,535 lives; restore a backup into a new cluster")]
    UsedUp,
    /// A member of a sealed list changed its place.
    #[error(
        "node {name:?} belongs to datacentre {datacentre:?}, rack {rack:?}, with the tokens it had; \
         that cannot change once the cluster holds data"
    )]
    Relocated {
        /// The member.
        name: String,
        /// The datacentre it belongs to.
        datacentre: String,
        /// The rack it belongs to.
        rack: String,
    },
    /// The peer goes by a member list that this node, or the peer, has left behind.
    #[error(
        "try again: the member list here is that of epoch {ours}, and the one of epoch {theirs} there; the older one \
         is replaced by the newer"
    )]
    OtherEpoch {
        /// This node's epoch.
        ours: u64,
        /// The peer's epoch.
        theirs: u64,
    },
    /// One end wants to become a member, and nobody has said yet that it may.
    #[error(
        "try again: the node {name:?} waits to be taken in; say so on a member: quorate join {name}"
    )]
    Waits {
        /// Its name.
        name: String,
    },
    /// The peer wants to become a member of a list that is not final.
    #[error(
        "try again: the member list of this cluster is not final; write something first, or start the node \
         without join"
    )]
    TooEarly,
    /// The peer is no member any more.
    #[error(
        "the node {0:?} has left the cluster; start it with an empty data directory to let it join again"
    )]
    Left(String),
    /// A name or address is empty or too long.
    #[error("a name or address is empty or longer than {NAME_LENGTH_MAX} bytes")]
    Malformed,
    /// The lists together are not a possible topology.
    #[error("conflicting member lists: {0}")]
    Impossible(#[from] TopologyError),
}

impl Refusal {
    /// What it means for whoever is refused.
    pub const fn code(&self) -> RefusalCode {
        match self {
            Self::BeingSealed { .. }
            | Self::NotNoted
            | Self::Rejoining
            | Self::Waits { .. }
            | Self::TooEarly
            | Self::OtherEpoch { .. } => RefusalCode::Transient,
            Self::MayBeAlive { .. } => RefusalCode::Unsure,
            Self::Fenced { .. } | Self::Copy { .. } | Self::Left(_) => RefusalCode::Fenced,
            Self::Itself(_) => RefusalCode::Itself,
            Self::ClusterName { .. }
            | Self::DuplicateId { .. }
            | Self::DuplicateName { .. }
            | Self::ReplicationFactor { .. }
            | Self::Partitioner { .. }
            | Self::AlreadySealed { .. }
            | Self::OtherCluster { .. }
            | Self::SeatElsewhere { .. }
            | Self::SeatTaken { .. }
            | Self::UsedUp
            | Self::Relocated { .. }
            | Self::Malformed
            | Self::Impossible(_) => RefusalCode::Final,
        }
    }

    /// For a process of `member` that does not know of the process `met`.
    pub(super) fn fenced(member: &Member, met: Incarnation) -> Self {
        Self::Fenced { name: member.name.clone(), met, refused: member.incarnation }
    }

    /// For a peer that describes itself as `member`, which is alive.
    pub(super) fn copy(member: &Member) -> Self {
        Self::Copy { name: member.name.clone(), address: member.peer_address.clone() }
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code(), text: refusal.to_string() }
    }
}

/// What stays the same for every peer of one cluster. Once its list was decided on anew, how many
/// replicas there are is for nobody's configuration to say.
pub(super) fn check_settings(
    config: &Config,
    is_decided: bool,
    hello: &Hello,
) -> Result<(), Refusal> {
    if hello.cluster != config.cluster {
        return Err(Refusal::ClusterName {
            ours: config.cluster.clone(),
            theirs: hello.cluster.clone(),
        });
    }
    if hello.member.id == config.member.id {
        return Err(if hello.member.incarnation == config.member.incarnation {
            Refusal::Itself(hello.member.id)
        } else if hello.lineage.contains(&config.member.incarnation.start) {
            Refusal::copy(&config.member)
        } else {
            Refusal::DuplicateId {
                id: hello.member.id,
                address: config.member.peer_address.clone(),
            }
        });
    }
    check_partitioner(config, &hello.view)?;
    // Nor is it once the list is final.
    let is_said = !is_decided && !hello.view.sealed;
    if is_said && hello.view.replication_factor != config.replication_factor {
        return Err(Refusal::ReplicationFactor {
            ours: config.replication_factor.clone(),
            theirs: hello.view.replication_factor.clone(),
        });
    }
    topology::check(&hello.view)?;
    if hello.view.members.iter().chain([&hello.member]).all(is_well_formed) {
        Ok(())
    } else {
        Err(Refusal::Malformed)
    }
}

/// Whether keys get the same slots: whatever the standing, nothing of the one fits the other else.
pub(super) fn check_partitioner(config: &Config, theirs: &View) -> Result<(), Refusal> {
    let ours = &config.partitioner;
    if *ours == theirs.partitioner {
        return Ok(());
    }
    Err(Refusal::Partitioner { ours: ours.clone(), theirs: theirs.partitioner.clone() })
}

/// Whether a peer fits what this node knows of the member list.
pub(super) fn check_standing(
    standing: Standing,
    me: NodeId,
    ours: u64,
    members: &BTreeMap<NodeId, Member>,
    hello: &Hello,
) -> Result<(), Refusal> {
    let theirs = &hello.view;
    let known = members.get(&hello.member.id);
    match standing {
        Standing::Sealed if theirs.sealed => check_epochs(me, ours, members, hello)?,
        Standing::Sealed if known.is_none() => return check_claimant(me, members, hello),
        // Their seal settles this node's promise, provided that it is the list promised.
        Standing::Promised if theirs.sealed => {
            if !same_ids(members, theirs) && !succeeds_promise(me, theirs) {
                return Err(Refusal::OtherCluster { names: names(members) });
            }
        }
        Standing::Promised if known.is_none() => {
            return Err(Refusal::BeingSealed { members: members.len() });
        }
        Standing::Forming if theirs.sealed && !theirs.members.iter().any(|m| m.id == me) => {
            return Err(Refusal::AlreadySealed { members: theirs.members.len() });
        }
        Standing::Forming | Standing::Promised | Standing::Sealed => {}
    }
    if let (Standing::Sealed, Some(known)) = (standing, known)
        && !same_place(known, &hello.member)
    {
        return Err(Refusal::Relocated {
            name: known.name.clone(),
            datacentre: known.datacentre.clone(),
            rack: known.rack.clone(),
        });
    }
    if let Some(known) = known
        && !succeeds(hello, known.incarnation)
    {
        return Err(Refusal::fenced(&hello.member, known.incarnation));
    }
    check_names(members, core::slice::from_ref(&hello.member))
}

/// Whether a list was decided on after the one that the node `me` has promised was sealed: it is in
/// it, and nobody comes into such a list who has promised another one.
pub(super) fn succeeds_promise(me: NodeId, theirs: &View) -> bool {
    Decided::of(theirs).is_some() && theirs.members.iter().any(|member| member.id == me)
}

/// Whether both final lists are of one cluster: the same, or one has come out of the other.
fn check_epochs(
    me: NodeId,
    ours: u64,
    members: &BTreeMap<NodeId, Member>,
    hello: &Hello,
) -> Result<(), Refusal> {
    let theirs = &hello.view;
    let is_there = theirs.members.iter().any(|member| member.id == me);
    let is_here = members.contains_key(&hello.member.id);
    match theirs.epoch.cmp(&ours) {
        Ordering::Equal if same_ids(members, theirs) => Ok(()),
        Ordering::Greater if is_there => Ok(()),
        Ordering::Less if is_here && is_there => Ok(()),
        Ordering::Less if is_there => Err(Refusal::Left(hello.member.name.clone())),
        _ => Err(Refusal::OtherCluster { names: names(members) }),
    }
}

/// Whether a peer that is not in a sealed list may have been one of its members.
fn check_claimant(
    me: NodeId,
    members: &BTreeMap<NodeId, Member>,
    hello: &Hello,
) -> Result<(), Refusal> {
    let peer = &hello.member;
    let Some(known) = members.values().find(|member| member.name == peer.name) else {
        return Err(Refusal::AlreadySealed { members: members.len() });
    };
    let (name, address) = (known.name.clone(), known.peer_address.clone());
    if !has_seat(known, peer) {
        let (datacentre, rack) = (known.datacentre.clone(), known.rack.clone());
        return Err(Refusal::SeatElsewhere { name, address, datacentre, rack });
    }
    if known.id == me {
        return Err(Refusal::SeatTaken { name, address });
    }
    Ok(())
}

/// Whether `newcomers` can be members next to `members`: no name is taken twice.
pub(super) fn check_names(
    members: &BTreeMap<NodeId, Member>,
    newcomers: &[Member],
) -> Result<(), Refusal> {
    let others: BTreeMap<&str, NodeId> =
        members.values().map(|member| (member.name.as_str(), member.id)).collect();
    for newcomer in newcomers {
        if let Some(&id) = others.get(newcomer.name.as_str())
            && id != newcomer.id
        {
            return Err(Refusal::DuplicateName { name: newcomer.name.clone(), id });
        }
    }
    Ok(())
}

/// Whether a shard may accept a link for data, which needs no say in the membership: both nodes
/// are members of the same list.
pub fn check_data_link(cluster: &str, topology: &Topology, hello: &Hello) -> Result<(), Refusal> {
    if hello.cluster != cluster {
        return Err(Refusal::ClusterName { ours: cluster.into(), theirs: hello.cluster.clone() });
    }
    let theirs = &hello.view;
    let same = topology.len() == theirs.members.len()
        && theirs.members.iter().all(|member| topology.number_of(member.id).is_some())
        && (!theirs.sealed || theirs.numbers == *topology.numbers());
    if same && let Some(index) = topology.number_of(hello.member.id) {
        return check_incarnation(topology.member(index), &hello.member);
    }
    let (ours, theirs_epoch) = (topology.epoch(), theirs.epoch);
    if topology.sealed() && theirs.sealed && ours != theirs_epoch {
        // The membership's links bring both to the newer one.
        return Err(Refusal::OtherEpoch { ours, theirs: theirs_epoch });
    }
    if topology.sealed() && theirs.sealed {
        let names: Vec<&str> = topology.members().map(|member| member.name.as_str()).collect();
        return Err(Refusal::OtherCluster { names: names.join(", ") });
    }
    // While the list forms, the membership's links bring both to the same one.
    Err(Refusal::BeingSealed { members: topology.len() })
}

/// Whether the process that introduces itself is the one that was met, or one that knows of it: it
/// was started on what that one has left, or has had its seat granted since.
fn succeeds(hello: &Hello, met: Incarnation) -> bool {
    let Incarnation { life, start, .. } = hello.member.incarnation;
    let knows_met = met.is_nobodys() || start == met.start || hello.lineage.contains(&met.start);
    life > met.life || life == met.life && knows_met
}

/// Whether a peer that introduces itself on a link for data is the process that this node knows of:
/// nothing is taken from one that is not noted.
pub fn check_incarnation(known: &Member, peer: &Member) -> Result<(), Refusal> {
    if peer.incarnation == known.incarnation {
        Ok(())
    } else if peer.incarnation.life < known.incarnation.life {
        Err(Refusal::fenced(peer, known.incarnation))
    } else {
        // Whether it succeeds the one that was met is for the membership's links.
        Err(Refusal::NotNoted)
    }
}

/// Whether two lists are the same to placement: the same nodes in the same places, with the same
/// duties.
pub(super) fn same_list(members: &BTreeMap<NodeId, Member>, view: &View) -> bool {
    let is_same = |a: &Member, b: &Member| same_place(a, b) && a.duties == b.duties;
    members.len() == view.members.len()
        && view
            .members
            .iter()
            .all(|theirs| members.get(&theirs.id).is_some_and(|ours| is_same(ours, theirs)))
}

pub(super) fn same_ids(members: &BTreeMap<NodeId, Member>, view: &View) -> bool {
    members.len() == view.members.len()
        && view.members.iter().all(|theirs| members.contains_key(&theirs.id))
}

pub(super) fn same_place(a: &Member, b: &Member) -> bool {
    a.datacentre == b.datacentre && a.rack == b.rack && a.tokens == b.tokens
}

pub(super) fn is_well_formed(member: &Member) -> bool {
    let Member { name, datacentre, rack, peer_address, client_address, cluster_address, .. } =
        member;
    [name, datacentre, rack, peer_address, client_address, cluster_address]
        .iter()
        .all(|text| (1..=NAME_LENGTH_MAX).contains(&text.len()))
}

fn names(members: &BTreeMap<NodeId, Member>) -> String {
    let names: BTreeSet<&str> = members.values().map(|member| member.name.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
