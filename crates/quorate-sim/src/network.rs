//! The simulated network: connections that carry bytes in order, as TCP does, over links that
//! delay, lose and cut.
//!
//! A connection has two sides; side 0 has opened it. What is sent waits in a pipe until it arrives,
//! or until the link lets it through again. A lost packet costs time, not bytes.

use std::collections::{BTreeMap, VecDeque};

use quorate_node::simulation::Wire;

use crate::{history::Time, random::Stream, scenario::Scenario};

/// How long TCP waits before it sends a lost packet again.
const RETRANSMISSION: Time = 200_000;

/// The longest of its waits, each twice the one before. Longer than any node's patience with a
/// link.
const RETRANSMISSION_MAX: Time = 1_600_000;

/// Who is at one side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A node.
    Node(usize),
    /// A client, at the machine of this node.
    Client {
        /// The client.
        client: usize,
        /// The node at whose machine it is.
        at: usize,
    },
}

impl Place {
    /// The machine.
    pub const fn machine(self) -> usize {
        match self {
            Self::Node(node) | Self::Client { at: node, .. } => node,
        }
    }
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The connection is wanted.
    Open,
    /// It stands.
    Accepted,
    /// Bytes.
    Bytes(Vec<u8>),
    /// It is closed, or refused.
    Close,
}

#[derive(Debug)]
struct Pipe {
    waiting: VecDeque<(Time, Packet)>,
    last_arrival: Time,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    places: [Place; 2],
    /// The name that each side has for it; `None` once that side is through with it.
    wires: [Option<Wire>; 2],
    /// By receiving side.
    pipes: [Pipe; 2],
}

/// How a link between two machines is at the moment.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    cuts: u32,
    extra_us: Time,
    lossy_percent: u32,
    duplicates: u32,
}

/// Names a connection.
pub type ConnectionId = u64;

/// All connections.
#[derive(Debug)]
pub struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    next: ConnectionId,
    /// By sender and receiver.
    links: Vec<Vec<Link>>,
    datacentres: Vec<usize>,
    delay: (Time, Time),
    far_delay: (Time, Time),
    random: Stream,
    /// Arrivals to be scheduled by the world: when, and at which side of what.
    pub arrivals: Vec<(Time, ConnectionId, usize)>,
}

impl Network {
    /// A network between the nodes of a scenario.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let nodes = scenario.nodes.len();
        Self {
            connections: BTreeMap::new(),
            next: 0,
            links: vec![vec![Link::default(); nodes]; nodes],
            datacentres: datacentres(scenario),
            delay: scenario.delay,
            far_delay: scenario.far_delay,
            random: Stream::new(seed, "network", 0),
            arrivals: Vec::new(),
        }
    }

    /// Begins to open a connection.
    pub fn open(&mut self, now: Time, from: Place, wire: Wire, to: Place) -> ConnectionId {
        let id = self.next;
        self.next += 1;
        let pipe = || Pipe { waiting: VecDeque::new(), last_arrival: 0 };
        let connection =
            Connection { places: [from, to], wires: [Some(wire), None], pipes: [pipe(), pipe()] };
        self.connections.insert(id, connection);
        self.send(now, id, 0, Packet::Open);
        id
    }

    /// The name that a side will know the connection by.
    pub fn accept(&mut self, now: Time, id: ConnectionId, wire: Wire) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.wires[1] = Some(wire);
            self.send(now, id, 1, Packet::Accepted);
        }
    }

    /// The connection, and the side of it, that a place knows by this name.
    pub fn find(&self, place: Place, wire: Wire) -> Option<(ConnectionId, usize)> {
        self.connections.iter().find_map(|(id, connection)| {
            (0..2)
                .find(|&side| {
                    connection.places[side] == place && connection.wires[side] == Some(wire)
                })
                .map(|side| (*id, side))
        })
    }

    /// Sends something from a side to the other one.
    pub fn send(&mut self, now: Time, id: ConnectionId, side: usize, packet: Packet) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (from, to) = (connection.places[side].machine(), connection.places[1 - side].machine());
        let delay = self.delay(from, to);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[1 - side];
        let at = pipe.last_arrival.max(now + delay);
        pipe.last_arrival = at;
        pipe.waiting.push_back((at, packet));
        self.arrivals.push((at, id, 1 - side));
    }

    /// A side is through with a connection: it hears nothing more, but what it sent still arrives.
    pub fn close(&mut self, now: Time, id: ConnectionId, side: usize) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.wires[side].take().is_some()
        {
            self.send(now, id, side, Packet::Close);
            self.forget(id);
        }
    }

    /// What arrives now at a side, with its place, and its name if it has one there.
    pub fn arrive(
        &mut self,
        now: Time,
        id: ConnectionId,
        side: usize,
    ) -> Option<(Place, Option<Wire>, Packet)> {
        let connection = self.connections.get_mut(&id)?;
        let (from, to) = (connection.places[1 - side].machine(), connection.places[side].machine());
        if self.links[from][to].cuts > 0 {
            return None; // It waits until the link lets it through.
        }
        let waiting = &mut connection.pipes[side].waiting;
        if waiting.front().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, packet) = waiting.pop_front()?;
        let found = (connection.places[side], connection.wires[side], packet);
        if found.2 == Packet::Close {
            connection.wires[side] = None;
            self.forget(id);
        }
        Some(found)
    }

    fn forget(&mut self, id: ConnectionId) {
        let done = self.connections.get(&id).is_some_and(|connection| {
            connection.wires == [None, None]
                && connection.pipes.iter().all(|pipe| pipe.waiting.is_empty())
        });
        if done {
            self.connections.remove(&id);
        }
    }

    /// The process of a node is gone. With `silent`, nobody is told: the machine is gone, too.
    /// Of what it had sent, everything arrives or, with `silent`, nothing.
    pub fn lose_process(&mut self, now: Time, node: usize, silent: bool) {
        let mut told = Vec::new();
        for (id, connection) in &mut self.connections {
            for side in 0..2 {
                if connection.places[side] != Place::Node(node) {
                    continue;
                }
                if connection.wires[side].take().is_some() && !silent {
                    told.push((*id, side));
                }
                if silent {
                    connection.pipes[1 - side].waiting.clear();
                    // A client runs on the same machine.
                    if matches!(connection.places[1 - side], Place::Client { .. }) {
                        told.push((*id, side));
                    }
                }
            }
        }
        for (id, side) in told {
            self.send(now, id, side, Packet::Close);
        }
    }

    /// The connections between two nodes break: what is on them is lost.
    pub fn reset(&mut self, now: Time, a: usize, b: usize) {
        let between = |connection: &Connection| {
            let places = connection.places;
            places == [Place::Node(a), Place::Node(b)] || places == [Place::Node(b), Place::Node(a)]
        };
        let broken = self.connections.iter_mut().filter(|(_, found)| between(found));
        let ids: Vec<ConnectionId> = broken
            .map(|(id, connection)| {
                for pipe in &mut connection.pipes {
                    let kept = self.random.below(pipe.waiting.len() as u64 + 1);
                    pipe.waiting.truncate(kept as usize);
                }
                *id
            })
            .collect();
        for id in ids {
            // Each side hears of it as if the other one had closed.
            self.send(now, id, 0, Packet::Close);
            self.send(now, id, 1, Packet::Close);
        }
    }

    /// Cuts or mends a direction. Cuts add up.
    pub fn cut(&mut self, now: Time, from: usize, to: usize, cut: bool) {
        let cuts = &mut self.links[from][to].cuts;
        *cuts = if cut { *cuts + 1 } else { cuts.saturating_sub(1) };
        if *cuts > 0 {
            return;
        }
        let delay = self.delay(from, to);
        for (id, connection) in &mut self.connections {
            for side in 0..2 {
                let (sender, receiver) = (connection.places[1 - side], connection.places[side]);
                if (sender.machine(), receiver.machine()) != (from, to) {
                    continue;
                }
                let pipe = &mut connection.pipes[side];
                for (at, _) in &mut pipe.waiting {
                    *at = (*at).max(now + delay);
                    self.arrivals.push((*at, *id, side));
                }
                pipe.last_arrival = pipe.last_arrival.max(now + delay);
            }
        }
    }

    /// Makes a direction slower, or as it was, by a negative number of microseconds.
    pub fn slow(&mut self, from: usize, to: usize, extra_us: i64) {
        let extra = &mut self.links[from][to].extra_us;
        *extra = extra.saturating_add_signed(extra_us);
    }

    /// Makes a direction lose packets.
    pub fn lose(&mut self, from: usize, to: usize, percent: u32) {
        self.links[from][to].lossy_percent = percent;
    }

    /// Makes a direction deliver effects twice, or no more.
    pub fn duplicate(&mut self, from: usize, to: usize, duplicate: bool) {
        let duplicates = &mut self.links[from][to].duplicates;
        *duplicates = if duplicate { *duplicates + 1 } else { duplicates.saturating_sub(1) };
    }

    /// Whether the connection's direction from this side delivers effects twice.
    pub fn duplicates(&self, id: ConnectionId, side: usize) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let (from, to) = (connection.places[side], connection.places[1 - side]);
            matches!((from, to), (Place::Node(from), Place::Node(to))
                if self.links[from][to].duplicates > 0)
        })
    }

    /// Bytes and packets under way.
    pub fn under_way(&self) -> usize {
        let pipes = self.connections.values().flat_map(|connection| &connection.pipes);
        pipes.map(|pipe| pipe.waiting.len()).sum()
    }

    fn delay(&mut self, from: usize, to: usize) -> Time {
        if from == to {
            return self.random.between(20, 80);
        }
        let near = self.datacentres[from] == self.datacentres[to];
        let (least, most) = if near { self.delay } else { self.far_delay };
        let link = self.links[from][to];
        // Mostly near the least, now and then near the most.
        let span = (most - least) / if self.random.percent(80) { 4 } else { 1 };
        let mut delay = link.extra_us + self.random.between(least, least + span);
        let mut wait = RETRANSMISSION;
        while wait <= RETRANSMISSION_MAX && self.random.percent(link.lossy_percent) {
            delay += wait;
            wait *= 2;
        }
        delay
    }
}

/// The number of the datacentre of each node.
pub fn datacentres(scenario: &Scenario) -> Vec<usize> {
    let mut names: Vec<&str> = scenario.nodes.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    let nodes = scenario.nodes.iter();
    nodes.map(|(name, _)| names.iter().position(|found| found == name).unwrap_or(0)).collect()
}
