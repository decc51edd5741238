//! A cluster of machines that gossip, in one thread: delays, losses, cuts, deaths and restarts.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use quorate_proto::message::Place;

use super::*;

/// The wall clock of a node at the beginning.
pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: BTreeMap<NodeId, Gossip>,
    /// By the time of their arrival and a number: from, to, what.
    in_flight: BTreeMap<(Instant, u64), (NodeId, NodeId, Message)>,
    sent: u64,
    pub(super) random: Random,
    /// Of a hundred messages, how many get lost.
    pub(super) lost: u32,
    /// Longest way of a message.
    pub(super) delay: Duration,
    /// Ways on which nothing arrives.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// Bytes of digests and of everything else that nodes have sent.
    pub(super) digest_bytes: usize,
    pub(super) other_bytes: usize,
    /// Who took whom for dead, and when.
    pub(super) verdicts: Vec<(Instant, NodeId, NodeId)>,
    pub(super) largest: usize,
}

pub(super) fn id(number: usize) -> NodeId {
    NodeId(number as u128 + 1)
}

pub(super) fn place(name: &str) -> Place {
    Place { name: name.into(), ..Place::default() }
}

impl World {
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let mut world = Self {
            now: Instant::from_millis(1_000),
            nodes: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            random: Random::new(seed),
            lost: 0,
            delay: Duration::from_millis(20),
            cut: BTreeSet::new(),
            digest_bytes: 0,
            other_bytes: 0,
            verdicts: Vec::new(),
            largest: 0,
        };
        for number in 0..count {
            world.start(id(number), count);
        }
        world
    }

    /// A node starts, or starts again, in a cluster of `count`.
    pub(super) fn start(&mut self, me: NodeId, count: usize) {
        let seed = self.random.next_u64();
        let mut node = Gossip::new(me, self.now, self.wall(), seed);
        node.set_members(self.now, (0..count).map(id));
        node.say(&place("old"), false);
        self.nodes.insert(me, node);
    }

    pub(super) fn wall(&self) -> Wall {
        Wall(EPOCH_MS + self.now.as_micros() / 1_000)
    }

    pub(super) fn node(&mut self, number: usize) -> &mut Gossip {
        self.nodes.get_mut(&id(number)).expect("a node that runs")
    }

    pub(super) fn plant(&mut self, bug: Bug) {
        self.nodes.values_mut().for_each(|node| node.planted = Some(bug));
    }

    /// Everybody has heard of everybody's start.
    pub(super) fn introduce(&mut self) {
        let wall = self.wall();
        let of = |node: &Gossip| {
            let own = &node.nodes[&node.me];
            own.delta(node.me, None, GOSSIP_PACKET_MAX).expect("it has said something").0
        };
        let deltas: Vec<_> = self.nodes.values().map(of).collect();
        for node in self.nodes.values_mut() {
            deltas.iter().for_each(|delta| node.take_delta(self.now, wall, delta));
        }
    }

    /// Lets `rounds` pass.
    pub(super) fn run(&mut self, rounds: u32) {
        let end = self.now + GOSSIP_INTERVAL * rounds;
        let timeouts = self.nodes.iter().map(|(&id, node)| (node.poll_timeout(), id));
        let mut timeouts: BTreeSet<(Instant, NodeId)> = timeouts.collect();
        loop {
            let timeout = timeouts.first().map(|(at, _)| *at);
            let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
            let next = timeout.into_iter().chain(arrival).min().unwrap_or(end);
            self.now = next.max(self.now).min(end);
            if next > end {
                return;
            }
            self.deliver();
            while let Some(&(at, id)) = timeouts.first().filter(|(at, _)| *at <= self.now) {
                timeouts.remove(&(at, id));
                let node = self.nodes.get_mut(&id).expect("it runs");
                node.handle_timeout(self.now);
                timeouts.insert((node.poll_timeout(), id));
                self.collect(id);
            }
        }
    }

    fn deliver(&mut self) {
        let (now, wall) = (self.now, self.wall());
        while let Some(first) = self.in_flight.first_entry().filter(|first| first.key().0 <= now) {
            let (from, to, message) = first.remove();
            if let Some(node) = self.nodes.get_mut(&to) {
                node.handle_message(now, wall, from, message);
                self.collect(to);
            }
        }
    }

    /// Takes what a node wants sent, and what it tells.
    pub(super) fn collect(&mut self, from: NodeId) {
        while let Some(output) = self.nodes.get_mut(&from).and_then(Gossip::poll_output) {
            let (to, message) = match output {
                Output::Send { to, message } => (to, message),
                Output::Down(of) => {
                    self.verdicts.push((self.now, from, of));
                    continue;
                }
                Output::Up(_) => continue,
            };
            let bytes = message.body_length();
            self.largest = self.largest.max(bytes);
            let digests = match &message {
                Message::Gossip(gossip) => gossip.digests.len() * record::DIGEST_BYTES,
                _ => 0,
            };
            self.digest_bytes += digests;
            self.other_bytes += bytes - digests;
            if self.random.below(100) < self.lost || self.cut.contains(&(from, to)) {
                continue;
            }
            let micros = u32::try_from(self.delay.as_micros()).unwrap_or(u32::MAX).max(1);
            let delay = Duration::from_micros(u64::from(self.random.below(micros)));
            self.sent += 1;
            self.in_flight.insert((self.now + delay, self.sent), (from, to, message));
        }
    }

    /// How many of the nodes that run do not know that `of` is called so.
    pub(super) fn ignorant(&self, of: NodeId, name: &str) -> usize {
        let knows = |node: &&Gossip| node.news::<Place>(of).is_some_and(|place| place.name == name);
        self.nodes.len() - self.nodes.values().filter(knows).count()
    }
}
