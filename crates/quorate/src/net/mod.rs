//! The edges: sockets, clocks and threads around the state machines.

pub(crate) mod clock;
mod connection;
pub(crate) mod control;
pub(crate) mod listener;
pub(crate) mod mailbox;
pub(crate) mod resolver;
pub(crate) mod shard_loop;
pub(crate) mod syncer;
