//! A node as machines without sockets, threads and clocks.
//!
//! * [`reactor`] is what shells drive: a [`Reactor`](reactor::Reactor) for each shard, and
//!   [`Control`](reactor::Control) for the membership;
//! * [`shard`] serves clients and peers for a share of the slots, [`storage`] keeps its data;
//! * [`dns`] reads what name services say of seeds;
//! * [`secure_link`] is what links between nodes are protected by;
//! * [`startup`] brings data and [`identity`] back, [`config`] is what may be set;
//! * [`simulation`] is the shell that simulators drive. The one with sockets and threads is in the
//!   crate `quorate`, whose users this crate is for: what it shows may change at any time.

mod adjustable;
mod arriving_bytes;
mod command_bytes;
pub mod config;
mod denials;
pub mod descriptors;
pub mod dns;
pub mod identity;
pub mod limits;
pub mod node;
pub mod process;
pub mod reactor;
mod repeated;
pub mod search;
pub mod secure_link;
pub mod shard;
pub mod simulation;
mod start_error;
pub mod startup;
pub mod storage;
pub mod work;

pub use config::Settings;
pub use start_error::StartError;
