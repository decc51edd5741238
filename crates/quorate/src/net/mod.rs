//! The edges: sockets, clocks and threads around the machines of [`quorate_node::reactor`].

mod accepting;
pub(crate) mod clock;
pub(crate) mod control_loop;
pub(crate) mod directory;
mod in_process;
mod listener;
pub(crate) mod loading;
pub(crate) mod mailbox;
pub(crate) mod resolver;
pub(crate) mod seeds;
pub(crate) mod shard_loop;
mod sockets;
pub(crate) mod syncer;

pub(crate) use accepting::Listeners;
pub(crate) use listener::{Bound, Sockets};
pub(crate) use sockets::WAKE;
