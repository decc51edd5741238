//! A whole node without sockets, threads, clocks or a real disk, for simulators.
//!
//! A [`Process`] is what runs inside a server process: the same machines, with their connections,
//! turns, storage and identity. What `quorate::Engine` does for them with sockets, threads and
//! clocks it does with numbers and with a time that is an argument: a turn takes what has arrived
//! and returns what leaves. Nothing in it draws a random number or depends on addresses in memory,
//! so the same inputs give the same outputs.

mod inspect;
mod process;
mod topologies;

use std::sync::Arc;

use quorate_cluster::{elements, time::Instant};
use quorate_log::disk::Disk;
use quorate_proto::{frame::PieceSizes, message::View};

pub use process::Process;

use crate::{config::Settings, shard::Now};

/// Names a connection of one process. Whoever opens it chooses: the process for those that it
/// dials, with [`DIALLED`] set, and the simulator for those that it accepts, without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wire(pub u64);

/// The bit that tells wires that the process has dialled.
pub const DIALLED: u64 = 1 << 63;

/// The two clocks of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Microseconds since some moment before the start of the process; never goes back.
    pub monotonic_us: u64,
    /// Milliseconds since the Unix epoch; goes where it likes.
    pub wall_ms: u64,
}

impl Moment {
    fn now(self) -> Now {
        let wall_us = self.wall_ms.saturating_mul(1_000);
        Now { monotonic: Instant::from_micros(self.monotonic_us), wall_us }
    }

    fn after(self, us: u64) -> Self {
        Self { monotonic_us: self.monotonic_us + us, wall_ms: self.wall_ms + us / 1_000 }
    }
}

/// Where somebody connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Redis clients.
    Client,
    /// Other nodes.
    Peer,
}

/// What happens to a process.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection arrived.
    Accepted {
        /// Its name from now on.
        wire: Wire,
        /// Where it arrived.
        port: Port,
    },
    /// A connection that was dialled stands.
    Connected(Wire),
    /// Bytes arrived.
    Bytes(Wire, Vec<u8>),
    /// A connection is closed, or could not be opened.
    Closed(Wire),
    /// What was asked for with [`Output::Sync`] happens now, and ends.
    Sync(u64),
    /// The node hears of a member list that was decided on.
    Decided(Box<View>),
    /// So many microseconds pass before the rest arrives: the turn is a long one.
    Passed(u64),
}

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Opens a connection.
    Dial {
        /// Its name from now on.
        wire: Wire,
        /// Where to.
        address: String,
    },
    /// Sends bytes.
    Send(Wire, Vec<u8>),
    /// Closes a connection; what was sent on it before still goes out.
    Close(Wire),
    /// Asks for something that takes a while, a sync, a read of a scrub, or a long call; it happens
    /// with [`Input::Sync`].
    Sync(u64),
}

/// What a process is started with.
#[derive(Debug)]
pub struct Options {
    /// Its configuration. The addresses in it are names for the simulator to resolve.
    pub settings: Settings,
    /// Its disk.
    pub disk: Arc<dyn Disk>,
    /// Everything random.
    pub seed: u64,
    /// How often the machine was booted.
    pub boot: u32,
    /// Bytes of a log segment. A real node has 64 MiB, which a simulated disk would have to zero.
    pub segment_bytes: u64,
    /// Bytes below which a log is never checkpointed.
    pub checkpoint_bytes_min: u64,
    /// Bytes of hints kept for one target.
    pub hint_bytes_max: u64,
    /// How states travel between replicas.
    pub element_limits: elements::Limits,
    /// What a store takes to answer, at most, in microseconds; nothing where it is zero.
    pub store_delay_us: u32,
    /// Words and elements from which on a call is executed beside its shard.
    pub long_call: usize,
    /// How large messages are cut on links.
    pub pieces: PieceSizes,
    /// What every command takes, in microseconds.
    pub command_us: u64,
    /// What the control tells the shards arrives up to this later, in microseconds.
    pub mail_delay_us: u32,
}
