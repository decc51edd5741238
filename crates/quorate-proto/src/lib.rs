//! Wire formats of Quorate: everything two machines must agree on, and nothing else.
//!
//! * [`resp`]: the Redis protocol, versions 2 and 3: commands in, replies out;
//! * [`frame`] and [`message`]: what nodes say to each other; [`checksum`] guards it;
//! * [`stamp`], [`slot`], [`groups`], [`dot`], [`level`], [`node`]: the small values those
//!   messages are made of; [`ownership`]: which members hold which slots, of which each
//!   datacentre has a number of replicas ([`replication_factor`]), and each member its share
//!   ([`duties`]);
//! * [`partitioner`]: how a key gets its token and its slot; [`hashkit`]: the hash functions of
//!   Dynomite's rings;
//! * [`register`]: what those say who decide by consensus;
//! * [`mutant`]: known bugs, to be planted under the simulator;
//! * [`command`]: one row for every command: arity, keys, flags and how it is routed.
//!
//! The crate is `no_std`: it cannot open a socket, read a clock or draw a random number.
#![no_std]
extern crate alloc;

pub mod call_id;
pub mod checksum;
pub mod command;
pub mod dot;
pub mod duties;
pub mod fitness;
pub mod frame;
pub mod groups;
pub mod hashkit;
pub mod level;
pub mod limits;
pub mod message;
pub mod mutant;
pub mod node;
pub mod numbers;
pub mod ownership;
pub mod partitioner;
pub mod register;
pub mod replication_factor;
pub mod resp;
pub mod slot;
pub mod stamp;

pub use call_id::{CallId, Outcome};
pub use dot::{Dot, DotRange};
pub use duties::Duties;
pub use fitness::{Fitness, Unfit};
pub use groups::Groups;
pub use level::Level;
pub use node::{Incarnation, MemberNumber, NodeId, Start};
pub use numbers::Numbers;
pub use partitioner::Partitioner;
pub use replication_factor::ReplicationFactor;
pub use slot::Slot;
pub use stamp::{Origin, Stamp};
