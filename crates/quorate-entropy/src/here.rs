//! The node of this process, which is reached without a socket.

use std::{fmt, io, time::Duration};

use quorate_proto::resp::{Command, reply::Value};

/// A node in the same process.
pub trait Here: fmt::Debug + Send + Sync {
    /// A session of its own, as a connection has one.
    fn open(&self) -> Box<dyn Session>;
}

/// A session with a node. Commands are executed in the order in which they were sent, and their
/// replies come in that order.
pub trait Session: Send {
    /// Sends a command, whose reply is waited for later.
    fn send(&mut self, command: &Command);

    /// Waits for the next reply on this thread; `None` when `patience` has run out.
    ///
    /// # Errors
    /// When no reply is on its way, or the node has stopped.
    fn reply(&mut self, patience: Duration) -> io::Result<Option<Value>>;
}
