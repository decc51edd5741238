//! What a node does with connections, time and the disk, without any of them.
//!
//! A [`Reactor`] is one shard with its clients and its links to other nodes; a [`Control`] is the
//! membership with its links. Both are machines: they take bytes, mail and the time, and leave
//! outputs. A shell moves bytes and time, and nothing else: `quorate::net` with sockets and
//! threads, [`crate::simulation`] with a schedule.
//!
//! ```text
//!  begin_turn -> handle_bytes, handle_mail, handle_timeout, ... -> end_turn -> poll_output, until empty
//! ```
//!
//! **The turn rule**: nothing that a turn has done leaves before its log is written. Replies,
//! messages to other nodes and mail to other shards become outputs in [`Machine::end_turn`], behind
//! that write, and nowhere else.
//!
//! A stage that changes bytes on their way, such as TLS, stands between the shell and a machine:
//! it hands on what it has decrypted, and takes what it encrypts from [`Machine::unsent`]. A
//! further protocol is a further [`Port`].

mod catalogs;
mod connections;
mod control;
mod events;
mod links;
mod output_limits;
mod progress;
mod shard_reactor;
mod spreading;
mod steering;
mod unsent;

use std::io;

use quorate_cluster::time::Instant;
use quorate_log::Sequence;

pub(crate) use catalogs::read_catalog;
pub use connections::ConnectionId;
pub(crate) use control::Fenced;
pub use shard_reactor::Reactor;
pub(crate) use steering::Wish;
pub use unsent::{PIECES_PER_WRITE, Ready, Unsent};
pub use {
    control::{CONTROL_SHARD, Control, ControlMail},
    steering::Steer,
};

use crate::{
    search::{Inquired, Inquiry},
    secure_link::SecureLink,
    shard::{Conclusion, Mail, Now, Thought},
    storage::{HintSync, ScrubEnded, ScrubOrder, SyncTask, Work, Worked},
};
use quorate_store::Discarded;

/// What a connection is accepted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Redis clients.
    Clients,
    /// Redis clients that ask every node for what is its own.
    ClusterClients,
    /// Clients in the same process.
    InProcess,
    /// Other nodes.
    Peers,
}

/// A connection that somebody has opened.
#[derive(Debug)]
pub struct Arrival {
    /// What it was accepted for.
    pub port: Port,
    /// Where it comes from, for people.
    pub address: String,
    /// Where it has come to, for people.
    pub local_address: String,
    /// Its file descriptor, if it has one.
    pub descriptor: Option<i32>,
    /// How far the link of a peer has come, when it was passed on.
    pub link: Option<Box<SecureLink>>,
}

/// Who looks after a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A shard, by its number.
    Shard(u16),
    /// The membership.
    Control,
}

/// What a machine wants done, in order.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are what the sentences above them name")]
pub enum Output {
    /// Open a connection to `address` (`host:port`), and tell whether it stands or is closed.
    Dial { connection: ConnectionId, address: String },
    /// There are bytes to send: [`Machine::unsent`] has them until [`Machine::handle_sent`].
    Send(ConnectionId),
    /// What arrives may be read again, after [`Machine::admits_bytes`] has said no.
    Read(ConnectionId),
    /// Close the connection. The machine has forgotten it.
    Close(ConnectionId),
    /// The connection belongs to somebody else, who accepts it and takes what `link` has read. The
    /// machine has forgotten it.
    PassOn { connection: ConnectionId, to: Owner, link: Box<SecureLink> },
    /// Run the job beside the machine, and bring what comes of it back.
    Run(Job),
    /// Mail to a shard of this node.
    Mail { shard: u16, mail: Mail },
    /// Mail to the control of this node.
    Control(ControlMail),
}

/// What takes a while.
#[derive(Debug)]
pub enum Job {
    /// Makes durable what was written: the log, or what is kept for other nodes.
    Sync {
        /// The work.
        task: SyncTask,
        /// Whose it is, unless it is that of the log.
        hints: Option<HintSync>,
    },
    /// Reads a part of the log again.
    Scrub(ScrubOrder),
    /// Executes a long call.
    Work(Box<Work>),
    /// Drops states that are no longer needed.
    Drop(Discarded),
    /// Answers a long question about an index, which is lent to it.
    Inquire(Box<Inquiry>),
    /// Joins large answers to such questions.
    Think(Box<Thought>),
}

/// What has come of a job.
#[derive(Debug)]
pub enum Done {
    /// Something was synced, or not.
    Synced {
        /// Whose it is, unless it is that of the log.
        hints: Option<HintSync>,
        /// Up to which record.
        result: io::Result<Sequence>,
    },
    /// A part of the log was read again.
    Scrubbed(ScrubEnded),
    /// A long call was executed, or a large effect merged.
    Worked(Box<Worked>),
    /// What was no longer needed is gone.
    Dropped,
    /// A long question is answered.
    Inquired(Box<Inquired>),
    /// Large answers are joined.
    Thought(Box<Conclusion>),
}

impl Job {
    /// Does the work, on the thread that calls.
    pub fn run(self) -> Done {
        match self {
            Self::Sync { task, hints } => Done::Synced { hints, result: task.run() },
            Self::Scrub(order) => Done::Scrubbed(order.run()),
            Self::Work(work) => Done::Worked(Box::new(work.run())),
            Self::Drop(discarded) => {
                drop(discarded);
                Done::Dropped
            }
            Self::Inquire(inquiry) => Done::Inquired(Box::new(inquiry.run())),
            Self::Think(thought) => Done::Thought(Box::new(thought.run())),
        }
    }
}

/// A machine that a shell drives. `now` is what the clocks show at the moment of the call.
pub trait Machine {
    /// A turn begins: what follows belongs to it, until [`Machine::end_turn`].
    fn begin_turn(&mut self, now: Now);

    /// Somebody has connected. Returns the connection, unless it is to be closed at once.
    fn handle_accepted(&mut self, now: Now, arrival: Arrival) -> Option<ConnectionId>;

    /// A connection that was dialled stands.
    fn handle_connected(&mut self, now: Now, connection: ConnectionId);

    /// Bytes have arrived on a connection.
    fn handle_bytes(&mut self, now: Now, connection: ConnectionId, bytes: &[u8]);

    /// A connection is closed by the other side, or could not be opened.
    fn handle_closed(&mut self, now: Now, connection: ConnectionId);

    /// So many of the unsent bytes are sent.
    fn handle_sent(&mut self, connection: ConnectionId, bytes: usize);

    /// Time has passed.
    fn handle_timeout(&mut self, now: Now);

    /// Everything of the turn has arrived. An error ends the node.
    fn end_turn(&mut self, now: Now) -> io::Result<()>;

    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;

    /// When [`Machine::handle_timeout`] wants to be called even if nothing arrives.
    fn poll_timeout(&self) -> Instant;

    /// What waits to be sent on a connection.
    fn unsent(&self, connection: ConnectionId) -> Option<&Unsent>;

    /// Whether what arrives on a connection should be read. If not, [`Output::Read`] says when.
    fn admits_bytes(&mut self, connection: ConnectionId) -> bool;
}
