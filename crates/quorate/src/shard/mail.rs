//! What shards and other threads tell each other.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_channel::oneshot;
use quorate_cluster::{membership::LinkId, topology::Topology};
use quorate_proto::{NodeIndex, message::Message, resp::Command};
use quorate_store::log::Sequence;

use super::Errand;
use crate::storage::{ScrubEnded, ScrubTally};

/// One message to a shard.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Run a command on a slot that you own, and send me the reply.
    Errand { from: u16, ticket: u64, errand: Errand },
    /// The reply to an errand or a question.
    Reply { ticket: u64, reply: Bytes },
    /// A peer's request about a slot that you own came on a link of mine.
    PeerRequest { link: LinkId, epoch: u64, from: NodeIndex, correlation: u64, message: Message },
    /// The response to a request that came on a link of yours.
    PeerResponse { link: LinkId, correlation: u64, message: Message },
    /// The topology has changed.
    Topology { topology: Arc<Topology> },
    /// The node knows by now what data there is.
    Founded,
    /// Tell me about yourself.
    Describe { from: u16, ticket: u64, question: Question },
    /// A sync of your log has ended, or one of your hints for another node.
    Synced { hints_for: Option<NodeIndex>, result: io::Result<Sequence> },
    /// A part of a scrub has been read.
    Scrubbed(ScrubEnded),
    /// An accepted socket that belongs to you, with what was read from it already.
    Socket { socket: mio::net::TcpStream, address: SocketAddr, input: Vec<u8> },
    /// A command of an in-process client.
    Embedded(EmbeddedCommand),
    /// Finish what is under way and stop.
    Stop,
}

/// A command of an in-process client.
#[derive(Debug)]
pub(crate) struct EmbeddedCommand {
    /// The client, unique on the node.
    pub(crate) client: u64,
    pub(crate) command: EmbeddedAction,
}

/// What an in-process client wants.
#[derive(Debug)]
pub(crate) enum EmbeddedAction {
    /// Run a command.
    Run(Command, oneshot::Sender<Bytes>),
    /// Forget the client.
    Close,
}

/// What a shard can be asked about.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// The lines of `CLIENT LIST`.
    Clients,
    /// The digest of all its data, in hexadecimal.
    Digest,
    /// How far digest rounds have come, after starting some.
    Repair(Option<RepairOrder>),
    /// How far the scrub has come, after starting or stopping it.
    Scrub(Option<ScrubCommand>),
}

/// What is to become of a scrub.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScrubCommand {
    /// A pass begins now; one that is under way begins anew.
    Start,
    /// The pass ends.
    Stop,
}

/// Digest rounds to start at once.
#[derive(Clone, Debug)]
pub(crate) struct RepairOrder {
    /// The peers to have one with.
    pub(crate) peers: Arc<[NodeIndex]>,
    /// They compare, and exchange nothing.
    pub(crate) dry: bool,
}

/// Figures that a shard publishes for the whole node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) keys: u64,
    pub(crate) expiring: u64,
    pub(crate) expired: u64,
    /// Keys with marks of removals that wait to be forgotten.
    pub(crate) marked: u64,
    pub(crate) clients: u64,
    pub(crate) commands: u64,
    pub(crate) in_flight: u64,
    pub(crate) log_bytes: u64,
    pub(crate) hint_bytes: u64,
    pub(crate) ready: bool,
    /// Whether acknowledged data is missing.
    pub(crate) incomplete: bool,
    /// Peers that data must still be compared with.
    pub(crate) awaited: u64,
    /// The incarnation as which nothing is missing, on disk neither.
    pub(crate) regained: Option<u16>,
    pub(crate) failed: bool,
    pub(crate) scrubbing: bool,
    /// When the last scrub ended, in milliseconds since the Unix epoch; zero before the first.
    pub(crate) scrubbed_ms: u64,
    /// What scrubs have come to since the start.
    pub(crate) scrub: ScrubTally,
    /// By node index: whether the peer is up, and the hints kept for it.
    pub(crate) peers: [(bool, u64); PEERS_SHOWN],
}

/// Members whose state is published.
pub(crate) const PEERS_SHOWN: usize = 32;
