//! A simulated client: one connection, one operation at a time.

use std::{collections::VecDeque, ops::Range};

use bytes::BytesMut;
use quorate_node::simulation::Wire;
use quorate_proto::{Level, resp::reply::Value};

use crate::{
    action::{Action, Key},
    history::Time,
    network::{ConnectionId, Place},
    random::Stream,
};

/// How far a client is with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has none.
    Away,
    /// It is opening one.
    Connecting,
    /// It has asked for its levels.
    Introducing,
    /// It may ask.
    Ready,
    /// It waits for an answer.
    Waiting,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub number: usize,
    /// The node it talks to.
    pub node: usize,
    /// How far it is.
    pub stage: Stage,
    /// Its connection.
    pub connection: Option<ConnectionId>,
    /// Counts its connections and questions, so that timers for earlier ones are told apart.
    pub serial: u64,
    /// The strand of operations that it is on.
    pub process: u32,
    /// The level of reads.
    pub read_level: Level,
    /// The level of writes.
    pub write_level: Level,
    /// What it asks.
    pub agenda: Agenda,
    /// The operations that it waits for: one for each key of its command.
    pub pending: Option<Range<usize>>,
    /// How many times as long as for one command it waits for its request.
    pub waits: u64,
    /// Replies to its request that come before the last one.
    pub leading: usize,
    /// Those of them that have come.
    pub led: Vec<Value>,
    /// Bytes that are no whole reply yet.
    pub input: BytesMut,
    /// Its own choices.
    pub random: Stream,
}

/// What a client asks.
#[derive(Debug)]
pub enum Agenda {
    /// Whatever the workload says.
    Work,
    /// These reads, once everything has settled.
    Audit(VecDeque<(Key, Action)>),
    /// Nothing more.
    Nothing,
}

impl Client {
    /// A client of a node.
    pub fn new(number: usize, node: usize, levels: (Level, Level), seed: u64) -> Self {
        Self {
            number,
            node,
            stage: Stage::Away,
            connection: None,
            serial: 0,
            process: number as u32,
            read_level: levels.0,
            write_level: levels.1,
            agenda: Agenda::Work,
            pending: None,
            waits: 1,
            leading: 0,
            led: Vec::new(),
            input: BytesMut::new(),
            random: Stream::new(seed, "client", number as u64),
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place::Client { client: self.number, at: self.node }
    }

    /// The name of its present connection.
    pub fn wire(&self) -> Wire {
        Wire(self.serial)
    }

    /// Time until the next operation.
    pub fn think(&mut self, mean: Time) -> Time {
        self.random.exponential(mean).min(10 * mean)
    }
}
