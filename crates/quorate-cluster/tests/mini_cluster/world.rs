//! Some nodes, the links between them, and time: everything follows from a seed.
//!
//! A link behaves like a TCP connection. It delivers in order, each message after a delay, until
//! it breaks; from then on it loses everything, and its owner notices sooner or later, counts the
//! peer as down and dials again. A node that crashes loses its machines and keeps its store.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_cluster::{
    anti_entropy::{self, AntiEntropy, PeerRequest},
    clocks::{self, Clocks},
    coordinator::{self, Coordinator, Request},
    handoff::{Handoff, Hints},
    limits::{READINESS_PATIENCE, SCAN_INTERVAL, SILENCE_MAX},
    membership::LinkId,
    random::Random,
    time::Instant,
    topology::Topology,
};
use quorate_proto::{Fitness, Groups, MemberNumber, Unfit, message::Message};

use crate::store::Store;

pub(crate) struct Machines {
    pub(crate) coordinator: Coordinator,
    handoff: Handoff,
    clocks: Clocks,
    anti_entropy: AntiEntropy,
}

pub(crate) struct Node {
    topology: Arc<Topology>,
    /// `None` while the node is down.
    pub(crate) machines: Option<Machines>,
    pub(crate) store: Store,
    ready: bool,
    synced: BTreeSet<MemberNumber>,
    started: u64,
    /// Up to where the disk was asked to make the store durable.
    syncing: u64,
}

impl Node {
    /// A node that is down and holds nothing.
    fn new(topology: &Arc<Topology>, keys: &[Bytes]) -> Self {
        Self {
            topology: topology.clone(),
            machines: None,
            store: Store::new(topology, keys),
            ready: false,
            synced: BTreeSet::new(),
            started: 0,
            syncing: 0,
        }
    }

    fn fitness(&self) -> Fitness {
        let fitness = Fitness::FIT.with(Unfit::CatchingUp, !self.ready);
        fitness.with(Unfit::ReadOnly, self.store.full)
    }
}

#[derive(Clone, Debug, Default)]
struct Link {
    /// As its owner knows it.
    up: bool,
    /// Loses everything.
    broken: bool,
    /// Counts the connections, so that what was sent on an earlier one is not delivered.
    generation: u64,
    /// When the last message in each direction arrives: later ones do not overtake it.
    arrivals: [u64; 2],
}

enum Event {
    /// On the link of `from` to `to`: a request, or the response that comes back on it.
    Frame {
        from: usize,
        to: usize,
        generation: u64,
        back: bool,
        frame: (u64, Message),
    },
    Durable {
        node: usize,
        started: u64,
        sequence: u64,
    },
    LinkDown {
        from: usize,
        to: usize,
        generation: u64,
    },
    Dial {
        from: usize,
        to: usize,
    },
    Client {
        node: usize,
        request: Request,
    },
    Crash(usize),
    Start(usize),
    Cut {
        from: usize,
        to: usize,
    },
    Full {
        node: usize,
        full: bool,
    },
    Beat,
}

/// A reply, as it reached its client.
pub(crate) struct Answer {
    pub(crate) request: u64,
    pub(crate) reply: Bytes,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) random: Random,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(crate) nodes: Vec<Node>,
    links: Vec<Vec<Link>>,
    /// Requests without a reply, with the node that they went to and their deadline.
    pub(crate) waiting: BTreeMap<u64, (usize, u64)>,
    pub(crate) answers: Vec<Answer>,
    /// Requests whose node crashed.
    pub(crate) abandoned: Vec<u64>,
}

const BEAT: u64 = 100_000;

impl World {
    /// All nodes up, linked and ready.
    pub(crate) fn new(topologies: &[Arc<Topology>], keys: &[Bytes], seed: u64) -> Self {
        let count = topologies.len();
        let mut world = Self {
            now: 0,
            random: Random::new(seed),
            events: BTreeMap::new(),
            serial: 0,
            nodes: topologies.iter().map(|topology| Node::new(topology, keys)).collect(),
            links: vec![vec![Link::default(); count]; count],
            waiting: BTreeMap::new(),
            answers: Vec::new(),
            abandoned: Vec::new(),
        };
        for node in 0..count {
            world.start(node);
            world.nodes[node].ready = true;
            world.tell_fitness(node);
        }
        world.after(BEAT, Event::Beat);
        world
    }

    pub(crate) fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + u64::from(self.random.below((high - low) as u32 + 1))
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.serial += 1;
        self.events.insert((self.now + micros, self.serial), event);
    }

    pub(crate) fn request_after(&mut self, micros: u64, node: usize, request: Request) {
        self.after(micros, Event::Client { node, request });
    }

    pub(crate) fn crash_after(&mut self, micros: u64, node: usize, down_for: u64) {
        self.after(micros, Event::Crash(node));
        self.after(micros + down_for, Event::Start(node));
    }

    /// The link of `from` to `to` falls silent; its owner finds out and dials again.
    pub(crate) fn cut_after(&mut self, micros: u64, from: usize, to: usize) {
        self.after(micros, Event::Cut { from, to });
    }

    pub(crate) fn full_after(&mut self, micros: u64, node: usize, full_for: u64) {
        self.after(micros, Event::Full { node, full: true });
        self.after(micros + full_for, Event::Full { node, full: false });
    }

    fn machines(&mut self, node: usize) -> (&mut Machines, &mut Store) {
        let node = &mut self.nodes[node];
        (node.machines.as_mut().expect("the node is up"), &mut node.store)
    }

    /// Runs until this moment.
    pub(crate) fn run_until(&mut self, end: u64) {
        let mut timers_at_once = 0;
        loop {
            let event = self.events.first_key_value().map(|(at, _)| at.0);
            let timer = self.next_timer();
            let next = [event, timer.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            timers_at_once = if next > self.now { 0 } else { timers_at_once + 1 };
            assert!(timers_at_once < 10_000, "time stands still");
            self.now = self.now.max(next);
            match timer {
                Some((at, node)) if Some(at) <= event || event.is_none() => self.fire(node),
                _ => {
                    let (_, event) = self.events.pop_first().expect("seen above");
                    self.handle(event);
                }
            }
        }
        self.now = end;
    }

    fn next_timer(&self) -> Option<(u64, usize)> {
        let timers = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let machines = node.machines.as_ref()?;
            let timeouts = [
                machines.coordinator.poll_timeout(),
                machines.handoff.poll_timeout(),
                machines.clocks.poll_timeout(),
                machines.anti_entropy.poll_timeout(),
            ];
            Some((timeouts.into_iter().flatten().min()?.as_micros(), index))
        });
        timers.min()
    }

    fn fire(&mut self, node: usize) {
        let now = self.instant();
        let (machines, store) = self.machines(node);
        store.now = now.as_micros();
        machines.coordinator.handle_timeout(now, store);
        machines.clocks.handle_timeout(now, store);
        machines.anti_entropy.handle_timeout(now, store);
        self.pump(node);
    }

    fn handle(&mut self, event: Event) {
        let now = self.instant();
        match event {
            Event::Frame { from, to, generation, back, frame } => {
                let link = &self.links[from][to];
                if link.up && !link.broken && link.generation == generation {
                    self.deliver(from, to, back, frame);
                }
            }
            Event::Durable { node, started, sequence } => {
                let node_now = &mut self.nodes[node];
                if node_now.started == started
                    && let Some(machines) = &mut node_now.machines
                {
                    node_now.store.synced = sequence;
                    machines.coordinator.handle_durable(sequence);
                    self.pump(node);
                }
            }
            Event::LinkDown { from, to, generation } => {
                if self.links[from][to].up && self.links[from][to].generation == generation {
                    self.link_down(from, to);
                }
            }
            Event::Dial { from, to } => self.dial(from, to),
            Event::Client { node, request } => {
                let (id, deadline) = (request.id, request.terms.deadline.as_micros());
                if self.nodes[node].machines.is_none() {
                    return; // Connection refused.
                }
                self.waiting.insert(id, (node, deadline));
                let (machines, store) = self.machines(node);
                store.now = now.as_micros();
                machines.coordinator.handle_request(now, store, request);
                self.pump(node);
            }
            Event::Crash(node) => self.crash(node),
            Event::Start(node) => {
                if self.nodes[node].machines.is_none() {
                    self.start(node);
                }
            }
            Event::Cut { from, to } => {
                let noticed = self.between(1_000, SILENCE_MAX.as_micros() as u64);
                self.break_link(from, to, noticed);
            }
            Event::Full { node, full } => self.nodes[node].store.full = full,
            Event::Beat => self.beat(),
        }
    }

    /// A member joins, with nothing, and every other node hears of it at once. These are the
    /// topologies as the nodes see them then, in the order of their numbers, the newcomer's last.
    pub(crate) fn join(&mut self, topologies: &[Arc<Topology>], keys: &[Bytes]) {
        let (now, count) = (self.instant(), self.nodes.len());
        for (node, topology) in topologies[..count].iter().cloned().enumerate() {
            let found = &mut self.nodes[node];
            let joined = topology.changes_since(&found.topology).joined;
            found.topology = topology.clone();
            found.store.adopt(topology.clone());
            if let Some(machines) = &mut found.machines {
                machines.coordinator.adopt(now, &mut found.store, topology);
                for peer in joined {
                    machines.handoff.handle_joined(peer);
                    machines.anti_entropy.handle_joined(peer);
                }
                self.pump(node);
            }
            let delay = self.between(10, 2_000);
            self.after(delay, Event::Dial { from: node, to: count });
        }
        self.nodes.push(Node::new(&topologies[count], keys));
        self.links.iter_mut().for_each(|links| links.push(Link::default()));
        self.links.push(vec![Link::default(); count + 1]);
        self.start(count);
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].machines.take().is_none() {
            return;
        }
        let lost = self.waiting.extract_if(.., |_, (at, _)| *at == node);
        self.abandoned.extend(lost.map(|(request, _)| request));
        self.nodes[node].ready = false;
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let link = &mut self.links[node][other];
            link.up = false;
            link.generation += 1;
            // A process that dies closes its connections; a machine that dies just falls silent.
            let dead_machine = self.random.below(2) == 0;
            let noticed = if dead_machine { 1_000_000 } else { 500 };
            self.break_link(other, node, noticed);
        }
    }

    fn start(&mut self, node: usize) {
        let count = self.nodes.len();
        let seed = self.random.next_u64();
        let (now, random) = (self.now, node as u64);
        let found = &mut self.nodes[node];
        found.started = now + 1 + random; // Never the same twice.
        found.synced.clear();
        found.store.start();
        for target in 0..count {
            found.store.rewind(MemberNumber(target as u16));
        }
        found.machines = Some(Machines {
            coordinator: Coordinator::new(found.topology.clone())
                .with_shard(found.store.starts as u16),
            handoff: Handoff::new(found.topology.peers()),
            clocks: Clocks::new(seed),
            anti_entropy: AntiEntropy::new(found.topology.peers()).with_seed(seed),
        });
        for other in (0..count).filter(|other| *other != node) {
            let delay = self.between(10, 2_000);
            self.after(delay, Event::Dial { from: node, to: other });
        }
    }

    fn break_link(&mut self, from: usize, to: usize, noticed_after: u64) {
        let link = &mut self.links[from][to];
        if link.up {
            link.broken = true;
            let generation = link.generation;
            self.after(noticed_after, Event::LinkDown { from, to, generation });
        }
    }

    fn link_down(&mut self, from: usize, to: usize) {
        let now = self.instant();
        let link = &mut self.links[from][to];
        link.up = false;
        link.generation += 1;
        let peer = MemberNumber(to as u16);
        let (machines, store) = self.machines(from);
        machines.coordinator.handle_peer_down(now, store, peer);
        machines.handoff.handle_peer_down(store, peer);
        machines.clocks.handle_peer_down(peer);
        machines.anti_entropy.handle_peer_down(peer);
        self.pump(from);
        let pause = self.between(5_000, 300_000);
        self.after(pause, Event::Dial { from, to });
    }

    fn dial(&mut self, from: usize, to: usize) {
        if self.nodes[from].machines.is_none() || self.links[from][to].up {
            return;
        }
        if self.nodes[to].machines.is_none() {
            return self.after(50_000, Event::Dial { from, to });
        }
        let (now, fitness) = (self.instant(), self.nodes[to].fitness());
        let link = &mut self.links[from][to];
        *link = Link {
            up: true,
            broken: false,
            generation: link.generation + 1,
            arrivals: [self.now; 2],
        };
        let peer = MemberNumber(to as u16);
        let (machines, store) = self.machines(from);
        machines.coordinator.handle_peer_up(peer, fitness);
        machines.handoff.handle_peer_up(peer);
        machines.clocks.handle_peer_up(now, peer);
        if store.pending(peer) == 0 {
            machines.anti_entropy.request(now, peer);
        }
        self.pump(from);
    }

    /// A node knows of itself what it may do.
    fn tell_fitness(&mut self, node: usize) {
        let fitness = self.nodes[node].fitness();
        self.machines(node).0.coordinator.handle_fitness(MemberNumber(node as u16), fitness);
    }

    /// What heartbeats bring about: who is ready, and who knows it.
    fn beat(&mut self) {
        self.after(BEAT, Event::Beat);
        for node in 0..self.nodes.len() {
            let found = &self.nodes[node];
            if found.machines.is_none() || found.ready {
                continue;
            }
            let me = MemberNumber(node as u16);
            let patient = self.now < found.started + READINESS_PATIENCE.as_micros() as u64;
            let caught_up = (0..self.nodes.len()).filter(|peer| *peer != node).all(|peer| {
                let linked = self.links[node][peer].up;
                let delivered = self.nodes[peer].store.pending(me) == 0;
                let synced = found.synced.contains(&MemberNumber(peer as u16));
                if linked { delivered && synced } else { !patient }
            });
            if caught_up {
                self.nodes[node].ready = true;
                self.tell_fitness(node);
            }
        }
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                let link = &self.links[from][to];
                let is_heard = from == to || link.up && !link.broken;
                if self.nodes[from].machines.is_some() && is_heard {
                    let fitness = self.nodes[to].fitness();
                    let node = MemberNumber(to as u16);
                    self.machines(from).0.coordinator.handle_fitness(node, fitness);
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, back: bool, frame: (u64, Message)) {
        let delay = match self.random.below(20) {
            0 => self.between(1_000, 80_000),
            _ => self.between(50, 1_000),
        };
        let link = &mut self.links[from][to];
        let arrival = &mut link.arrivals[usize::from(back)];
        *arrival = (self.now + delay).max(*arrival);
        let (delay, generation) = (*arrival - self.now, link.generation);
        self.after(delay, Event::Frame { from, to, generation, back, frame });
    }

    fn deliver(&mut self, from: usize, to: usize, back: bool, (tagged, message): (u64, Message)) {
        let now = self.instant();
        let correlation = tagged & MACHINE_MASK;
        if back {
            let peer = MemberNumber(to as u16);
            let (machines, store) = self.machines(from);
            store.now = now.as_micros();
            match tagged >> MACHINE_SHIFT {
                0 => machines.coordinator.handle_response(now, store, correlation, message),
                1 => {
                    let handoff = &mut machines.handoff;
                    handoff.handle_response(now, store, peer, correlation, &message);
                    if store.pending(peer) == 0 {
                        machines.anti_entropy.request(now, peer);
                    }
                }
                2 => machines.anti_entropy.handle_response(now, store, peer, correlation, message),
                _ => machines.clocks.handle_response(now, store, peer, correlation, message),
            }
            return self.pump(from);
        }
        let link = LinkId(self.links[from][to].generation << 8 | from as u64);
        let from = MemberNumber(from as u16);
        let epoch = self.nodes[from.index()].topology.epoch();
        let late = Duration::ZERO;
        let request = PeerRequest { link, correlation: tagged, epoch, from, late, message };
        let (machines, store) = self.machines(to);
        store.now = now.as_micros();
        if tagged >> MACHINE_SHIFT == 2 {
            machines
                .anti_entropy
                .handle_question(now, store, request)
                .expect("no more than a round asks");
        } else {
            self.serve(to, request);
        }
        self.pump(to);
    }

    fn serve(&mut self, node: usize, request: PeerRequest) {
        let PeerRequest { link, correlation, epoch, from, message, .. } = request;
        let now = self.instant();
        let (machines, store) = self.machines(node);
        let answer = anti_entropy::answer(store, from, &message);
        if let Some(answer) = answer.or_else(|| clocks::answer(store, from, &message)) {
            return self.send(from.index(), node, true, (correlation, answer));
        }
        machines.coordinator.handle_message(now, store, link, epoch, correlation, message);
    }

    /// Does what the machines of a node ask for, until they ask for nothing more.
    fn pump(&mut self, node: usize) {
        // What it serves, the coordinator may answer.
        while let Some(output) = self.machines(node).0.anti_entropy.poll_output() {
            match output {
                anti_entropy::Output::Send { to, correlation, message } => {
                    self.send_tagged(node, to, 2, correlation, message);
                }
                anti_entropy::Output::Completed { groups, .. } if groups != Groups::ALL => {}
                anti_entropy::Output::Completed { peer, .. } => {
                    self.nodes[node].synced.insert(peer);
                    let (machines, store) = self.machines(node);
                    machines.clocks.handle_synced(peer, store);
                }
                anti_entropy::Output::Answer(request) => {
                    self.serve(node, request);
                    let now = self.instant();
                    let (machines, store) = self.machines(node);
                    machines.anti_entropy.handle_answered(now, store);
                }
                anti_entropy::Output::Begun { peer } => {
                    self.machines(node).0.clocks.handle_round_begun(peer);
                }
                // Nothing is ever removed here.
                anti_entropy::Output::Settled(_) => {}
            }
        }
        while let Some(output) = self.machines(node).0.coordinator.poll_output() {
            match output {
                coordinator::Output::Reply { request, reply } => self.answer(request, reply),
                coordinator::Output::Send { to, correlation, message } => {
                    self.send_tagged(node, to, 0, correlation, message);
                }
                coordinator::Output::Respond { link, correlation, message } => {
                    let from = (link.0 & 0xff) as usize;
                    if self.links[from][node].generation == link.0 >> 8 {
                        self.send(from, node, true, (correlation, message));
                    }
                }
            }
        }
        let now = self.instant();
        let (machines, store) = self.machines(node);
        for (to, correlation, message) in machines.handoff.poll(now, store) {
            self.send_tagged(node, to, 1, correlation, message);
        }
        while let Some(output) = self.machines(node).0.clocks.poll_output() {
            match output {
                clocks::Output::Send { to, correlation, message } => {
                    self.send_tagged(node, to, 3, correlation, message);
                }
                clocks::Output::Suspect(peer) => {
                    let (machines, store) = self.machines(node);
                    if store.pending(peer) == 0 {
                        machines.anti_entropy.request(now, peer);
                    }
                }
            }
        }
        let found = &mut self.nodes[node];
        let (started, sequence) = (found.started, found.store.sequence);
        if found.store.slow_disk && sequence > found.syncing {
            found.syncing = sequence;
            let delay = self.between(100, 5_000);
            self.after(delay, Event::Durable { node, started, sequence });
        }
    }

    fn send_tagged(
        &mut self,
        from: usize,
        to: MemberNumber,
        machine: u64,
        correlation: u64,
        message: Message,
    ) {
        assert_eq!(correlation & !MACHINE_MASK, 0, "the upper bits belong to the shell");
        if self.links[from][to.index()].up {
            let tagged = machine << MACHINE_SHIFT | correlation;
            self.send(from, to.index(), false, (tagged, message));
        }
    }

    fn answer(&mut self, request: u64, reply: Bytes) {
        let (_, deadline) = self.waiting.remove(&request).expect("one reply to each request");
        let slack = SCAN_INTERVAL + Duration::from_millis(1);
        assert!(self.now <= deadline + slack.as_micros() as u64, "request {request} is late");
        self.answers.push(Answer { request, reply });
    }

    /// Requests that some machine still knows.
    pub(crate) fn in_flight(&self) -> usize {
        let machines = self.nodes.iter().filter_map(|node| node.machines.as_ref());
        machines.map(|machines| machines.coordinator.in_flight()).sum()
    }

    /// Hints that some node still keeps.
    pub(crate) fn hints(&self) -> u64 {
        let targets = || (0..self.nodes.len()).map(|target| MemberNumber(target as u16));
        let of = |node: &Node| targets().map(|target| node.store.pending(target)).sum::<u64>();
        self.nodes.iter().map(of).sum()
    }
}

pub(crate) const EPOCH: u64 = 7;
const MACHINE_SHIFT: u32 = 60;
const MACHINE_MASK: u64 = (1 << MACHINE_SHIFT) - 1;
