//! Ring, placement, membership, coordination and hint delivery as sans-IO state machines.
//!
//! * [`ring`]: which members hold which slot, as pure functions; [`token_ring`]: where members have
//!   tokens of their own;
//! * [`topology`]: the member list of this moment with its placement, as an immutable value;
//! * [`movement`]: plans how slots go to other members, epoch by epoch;
//! * [`membership`]: forms the member list from seeds, seals it, keeps links dialled;
//! * [`register`]: decides by consensus, among a few voters, what a document is;
//! * [`coordinator`]: executes and replicates writes, reads at a level, serves peers;
//! * [`handoff`]: delivers hints; [`clocks`]: pulls writes that are lacking, by their dots;
//! * [`anti_entropy`]: finds and settles differences by digests;
//! * [`elements`]: compares large keys by their parts, so that only what is missing travels;
//! * [`gossip`]: spreads what members say of themselves, and finds out who is alive;
//! * [`liveness`]: who is up, who has caught up, and whether this node has;
//! * [`starting`]: from when a node that starts may judge what it can answer;
//! * [`wall_clock`]: the clock that stamps go by, which does not believe every jump;
//! * [`time`], [`random`], [`limits`]: what all of them share.
//!
//! Every machine is a plain value: it takes the time and an input, and yields outputs. It opens no
//! socket, reads no clock and spawns nothing, so it runs unchanged under a simulator.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod anti_entropy;
mod chunk;
pub mod clocks;
pub mod coordinator;
pub mod elements;
pub mod gossip;
pub mod handoff;
pub mod limits;
pub mod liveness;
pub mod membership;
pub mod movement;
pub mod peer_map;
pub mod positions;
pub mod random;
pub mod register;
pub mod ring;
pub mod starting;

pub mod time;
pub mod token_ring;
pub mod topology;
pub mod wall_clock;
