//! What nodes spread by gossip: what each says of itself, and how much of it others know.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;

use super::Member;
use crate::{Duties, Fitness, NodeId};

/// One of the three messages of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    /// Which one it is.
    pub step: GossipStep,
    /// How much the sender knows of each node, in ascending order of their ids. Empty at the end of
    /// an exchange.
    pub digests: Vec<Digest>,
    /// What the receiver lacks, as far as it fits. Empty at the beginning.
    pub deltas: Vec<Delta>,
}

/// Where in an exchange a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GossipStep {
    /// Asks for what the sender lacks.
    Open = 1,
    /// Brings it, and asks for what this sender lacks.
    Answer = 2,
    /// Brings that.
    Close = 3,
}

impl GossipStep {
    /// Every step.
    pub const ALL: [Self; 3] = [Self::Open, Self::Answer, Self::Close];
}

/// How much of a node's news is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The node.
    pub id: NodeId,
    /// Its latest start that is known.
    pub generation: u64,
    /// How often it has shown since that it is alive.
    pub beat: u64,
    /// The version of its news up to which all is known.
    pub version: u64,
}

/// News of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The node.
    pub id: NodeId,
    /// The start that said so.
    pub generation: u64,
    /// How often it has shown since that it is alive.
    pub beat: u64,
    /// The version after which these are all the news, up to the last of them.
    pub since: u64,
    /// In ascending order of their versions.
    pub entries: Vec<Entry>,
}

/// One thing that a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about: a [`Topic`], or one that only later versions of Quorate know.
    pub topic: u16,
    /// Raised with everything new that the node says.
    pub version: u64,
    /// What it says.
    pub value: Bytes,
}

/// What a node speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Topic {
    /// [`Place`].
    Place = 1,
    /// [`Abilities`].
    Abilities = 2,
    /// [`Load`].
    Load = 3,
    /// [`Waiting`].
    Waiting = 4,
    /// [`Volume`].
    Volume = 5,
}

/// Where a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its datacentre.
    pub datacentre: String,
    /// Its rack inside the datacentre.
    pub rack: String,
    /// `host:port` where peers reach it.
    pub peer_address: String,
    /// `host:port` where clients reach it.
    pub client_address: String,
}

/// What versions know beyond the frames of their time, a bit each. What those lack who are without a
/// bit must not appear on links or in member lists before every member has it.
pub mod features {
    /// Weights, drained members and witnesses, which member lists tell of.
    pub const DUTIES: u64 = 1;

    /// Large messages that leave in pieces (`quorate_proto::frame`).
    pub const PIECES: u64 = 2;

    /// All that this version knows.
    pub const ALL: u64 = DUTIES | PIECES;
}

/// What a node can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// The version of frames that it speaks.
    pub protocol: u16,
    /// What it knows beyond that: bits of [`features`].
    pub features: u64,
    /// Its shards.
    pub shards: u16,
    /// The version of the topology that it goes by.
    pub epoch: u64,
}

/// What a node has to do and to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Commands of clients a second.
    pub commands_per_second: u64,
    /// Bytes of hints that it keeps for others.
    pub hint_bytes: u64,
    /// Bytes of its logs.
    pub log_bytes: u64,
    /// Bytes of memory that the process takes.
    pub memory_bytes: u64,
    /// What it may do.
    pub fitness: Fitness,
}

/// Nodes that have asked the speaker whether they may become members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// As they describe themselves, and what they would take on.
    pub members: Vec<(Member, Duties)>,
}

/// How much a node holds, and how far it has come with what it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// The version of the topology that all of its shards go by.
    pub epoch: u64,
    /// Bytes that it holds, about.
    pub held_bytes: u64,
    /// Bytes that the anti-entropy rounds which it has run have moved, since it started.
    pub moved_bytes: u64,
    /// Groups in which a member that is up lacks something that no hint brings it, each for each
    /// member.
    pub dirty_groups: u64,
}

/// Something that a node says of itself, as the bytes of an [`Entry`].
pub trait News: Sized {
    /// What it is about.
    const TOPIC: Topic;

    /// Its bytes.
    fn encode(&self) -> Bytes;

    /// The news in these bytes; `None` if there are none. What later versions of Quorate add at the
    /// end is left aside.
    fn decode(bytes: &Bytes) -> Option<Self>;
}
