//! How the threads of a node reach each other.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_channel::oneshot;
use mio::net::TcpStream;
use quorate_node::{
    reactor::{ConnectionId, ControlMail, Done},
    secure_link::SecureLink,
    shard::Mail,
};
use quorate_proto::resp::Command;

use super::{mailbox::Mailbox, resolver::Resolver};

/// What the thread of a shard is told.
#[derive(Debug)]
pub(crate) enum ToShard {
    Mail(Mail),
    Done(Done),
    /// The command of a client in this process, and who waits for the reply.
    Call {
        client: u64,
        command: Command,
        waiter: oneshot::Sender<Bytes>,
    },
    /// A client in this process is gone.
    Gone {
        client: u64,
    },
    Socket(PassedOn),
    Resolved(Resolved),
    /// Finish what is under way and stop.
    Stop,
}

/// What the thread of the membership is told.
#[derive(Debug)]
pub(crate) enum ToControl {
    Mail(ControlMail),
    /// A source of seeds has answered.
    Seeds {
        source: String,
        addresses: Vec<String>,
    },
    Socket(PassedOn),
    Resolved(Resolved),
    Stop,
}

/// The socket of another node, with how far its link has come.
#[derive(Debug)]
pub(crate) struct PassedOn {
    pub(crate) socket: TcpStream,
    pub(crate) link: Box<SecureLink>,
}

/// Where the address of a connection that is dialled leads; `None`: nowhere for now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved {
    pub(crate) connection: ConnectionId,
    pub(crate) address: Option<SocketAddr>,
}

/// All threads of a node.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) shards: Arc<Vec<Arc<Mailbox<ToShard>>>>,
    pub(crate) control: Arc<Mailbox<ToControl>>,
    pub(crate) resolver: Resolver,
}
