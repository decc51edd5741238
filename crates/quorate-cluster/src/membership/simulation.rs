//! A cluster of membership machines in one thread: links, a disk for each node, and faults.
//!
//! Messages travel in any order, get lost and doubled; nodes crash between any two outputs and
//! restart with what they persisted. After every step: no node is in two different sealed lists.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use core::time::Duration;

use proptest::prelude::*;
use quorate_proto::Incarnation;

use super::*;

/// A cluster under simulation. Node i listens at `node-i:1` unless moved.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    links: BTreeMap<u64, Link>,
    links_so_far: u64,
    in_flight: Vec<Packet>,
    pub(super) random: Random,
    pub(super) faults: Faults,
    /// Starts that others may have data of, with the process they are of.
    used: BTreeMap<(NodeId, Start), (usize, u64)>,
    /// Starts drawn so far, of all nodes.
    draws: u32,
}

/// What is in a node's data directory.
#[derive(Clone)]
pub(super) struct Directory {
    disk: Option<Persisted>,
    member: Member,
    lineage: Vec<Start>,
}

/// What may go wrong, each with a chance in a hundred for every message or step.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) lost: u32,
    pub(super) doubled: u32,
    pub(super) crash: u32,
    pub(super) cut: u32,
}

pub(super) struct Node {
    pub(super) config: Config,
    /// None while the node is down.
    pub(super) machine: Option<Membership>,
    pub(super) disk: Option<Persisted>,
    pub(super) events: Vec<Event>,
    /// Who has said to be at work.
    pub(super) at_work: Vec<NodeId>,
    /// What has come of orders, by their tickets.
    pub(super) carried: Vec<(u64, Result<Carried, OrderError>)>,
    pub(super) topology: View,
    starts: u64,
    /// How often it has lost everything.
    lives: u128,
}

struct Link {
    dialler: usize,
    acceptor: usize,
    /// The dialler's name for the link; the acceptor calls it by its key in the map.
    outgoing: LinkId,
}

/// A message on its way over a link, to its acceptor or back.
#[derive(Clone)]
struct Packet {
    link: u64,
    forth: bool,
    message: Message,
}

pub(super) fn config(index: usize, seeds: &[usize]) -> Config {
    Config {
        cluster: "test".into(),
        member: Member {
            id: NodeId(index as u128 + 1),
            name: format!("n{index}"),
            datacentre: "dc".into(),
            rack: format!("r{}", index % 3),
            tokens: Vec::new(),
            peer_address: format!("node-{index}:1"),
            client_address: format!("node-{index}:2"),
            cluster_address: format!("node-{index}:3"),
            incarnation: Default::default(),
            duties: Default::default(),
        },
        shard: 0,
        partitioner: Default::default(),
        replication_factor: 3.into(),
        seeds: seeds.iter().map(|seed| format!("node-{seed}:1")).collect(),
        sources: Vec::new(),
        seeds_min: 0,
        lineage: Vec::new(),
        joins: false,
    }
}

impl World {
    pub(super) fn new(configs: Vec<Config>, seed: u64) -> Self {
        let node = |config| Node {
            config,
            machine: None,
            disk: None,
            events: Vec::new(),
            at_work: Vec::new(),
            carried: Vec::new(),
            topology: View::default(),
            starts: 0,
            lives: 0,
        };
        Self {
            now: Instant::from_millis(1_000),
            nodes: configs.into_iter().map(node).collect(),
            links: BTreeMap::new(),
            links_so_far: 0,
            in_flight: Vec::new(),
            random: Random::new(seed),
            faults: Faults::default(),
            used: BTreeMap::new(),
            draws: 0,
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.machine.is_some() {
            return;
        }
        node.starts += 1;
        self.draws += 1;
        let Config { member, lineage, .. } = &mut node.config;
        let previous = member.incarnation.start;
        if previous != Start::NONE {
            lineage.push(previous);
        }
        let start = Start::from_random(self.draws);
        member.incarnation = Incarnation { start, previous, ..member.incarnation };
        let seed = (index as u64) << 32 | node.starts;
        let machine = Membership::new(node.config.clone(), node.disk.clone(), self.now, seed);
        node.machine = Some(machine.expect("starts"));
        self.drain(index);
    }

    pub(super) fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|index| self.start(index));
    }

    pub(super) fn crash(&mut self, index: usize) {
        self.nodes[index].machine = None;
        let touches = |link: &Link| link.dialler == index || link.acceptor == index;
        let cut: Vec<u64> =
            self.links.iter().filter(|(_, link)| touches(link)).map(|(&key, _)| key).collect();
        cut.into_iter().for_each(|key| self.cut(key));
    }

    /// Everything that the node had is gone, its identity too.
    pub(super) fn wipe(&mut self, index: usize) {
        self.crash(index);
        let lives = self.nodes.iter().map(|node| node.lives).sum::<u128>();
        let node = &mut self.nodes[index];
        node.lives += 1;
        node.disk = None;
        node.config.member.id = NodeId(1_000 + 100 * index as u128 + lives);
        node.config.member.incarnation = Incarnation::default();
        node.config.lineage.clear();
    }

    /// A copy of the data directory of a node.
    pub(super) fn copy(&self, index: usize) -> Directory {
        let Node { disk, config, .. } = &self.nodes[index];
        let Config { member, lineage, .. } = config;
        Directory { disk: disk.clone(), member: member.clone(), lineage: lineage.clone() }
    }

    /// The node is down, and its data directory is replaced by a copy.
    pub(super) fn put_back(&mut self, index: usize, copy: Directory) {
        self.crash(index);
        let Directory { disk, member, lineage } = copy;
        let Node { config, disk: own, .. } = &mut self.nodes[index];
        (*own, config.member, config.lineage) = (disk, member, lineage);
    }

    /// The machine of a node is gone, and its links stand.
    pub(super) fn vanish(&mut self, index: usize) {
        self.nodes[index].machine = None;
    }

    /// A node that vanished has lost everything.
    pub(super) fn wipe_vanished(&mut self, index: usize) {
        let links = core::mem::take(&mut self.links);
        self.wipe(index);
        self.links = links;
    }

    /// A node is a member again.
    fn seated(&mut self, index: usize, member: Member, persisted: Persisted) {
        let node = &mut self.nodes[index];
        node.config.member = member;
        node.config.lineage.clear();
        node.disk = Some(persisted);
    }

    /// Hands an input to a node and carries out what it says.
    pub(super) fn input(&mut self, index: usize, input: impl FnOnce(&mut Membership, Instant)) {
        let now = self.now;
        if let Some(machine) = &mut self.nodes[index].machine {
            input(machine, now);
            self.drain(index);
        }
    }

    /// Lets `duration` pass with everything in flight delivered.
    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step();
        }
    }

    /// Delivers one packet, or moves the clock to the next timeout when nothing is in flight.
    pub(super) fn step(&mut self) {
        if self.chance(self.faults.crash) {
            let index = self.random.below(self.nodes.len() as u32) as usize;
            if self.nodes[index].machine.is_some() { self.crash(index) } else { self.start(index) }
        }
        if self.chance(self.faults.cut) && !self.links.is_empty() {
            let nth = self.random.below(self.links.len() as u32) as usize;
            let key = *self.links.keys().nth(nth).expect("in range");
            self.cut(key);
        }
        if self.in_flight.is_empty() || self.random.below(8) == 0 {
            self.tick();
        } else {
            let nth = self.random.below(self.in_flight.len() as u32) as usize;
            let packet = self.in_flight.swap_remove(nth);
            if self.chance(self.faults.doubled) {
                self.in_flight.push(packet.clone());
            }
            if !self.chance(self.faults.lost) {
                self.deliver(packet);
            }
        }
        self.check();
        self.check_incarnations();
    }

    /// A little time passes while packets are in flight, else all of it until the next timeout.
    fn tick(&mut self) {
        self.now += Duration::from_millis(1);
        if self.in_flight.is_empty() {
            let machines = self.nodes.iter().filter_map(|node| node.machine.as_ref());
            let next = machines.filter_map(Membership::poll_timeout).min();
            self.now = self.now.max(next.unwrap_or(self.now + Duration::from_millis(500)));
        }
        for index in 0..self.nodes.len() {
            self.input(index, |machine, now| machine.handle_timeout(now));
        }
    }

    fn chance(&mut self, in_a_hundred: u32) -> bool {
        self.random.below(100) < in_a_hundred
    }

    fn deliver(&mut self, Packet { link, forth, message }: Packet) {
        let Some(&Link { dialler, acceptor, outgoing }) = self.links.get(&link) else {
            return;
        };
        if !forth {
            self.input(dialler, |m, now| m.handle_response(now, outgoing, message));
        } else if let Message::Hello(hello) = message {
            self.input(acceptor, |m, now| m.handle_hello(now, LinkId(link), 0, &hello));
        } else if let Message::Join(hello) = message {
            self.input(acceptor, |m, now| m.handle_join(now, LinkId(link), 0, &hello));
        } else {
            self.input(acceptor, |m, now| m.handle_request(now, LinkId(link), 0, message));
        }
    }

    fn cut(&mut self, key: u64) {
        let Some(link) = self.links.remove(&key) else {
            return;
        };
        self.input(link.dialler, |machine, now| machine.handle_closed(now, link.outgoing));
        self.input(link.acceptor, |machine, _| machine.handle_incoming_closed(LinkId(key)));
    }

    fn drain(&mut self, index: usize) {
        loop {
            let machine = self.nodes[index].machine.as_mut();
            let Some(output) = machine.and_then(Membership::poll_output) else {
                return;
            };
            // A crash may come between any two outputs.
            if self.faults.crash > 0 && self.random.below(500) < self.faults.crash {
                return self.crash(index);
            }
            self.carry_out(index, output);
        }
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        match output {
            Output::Dial { link, address } => self.dial(index, link, &address),
            Output::Hangup { link } => {
                if let Some(key) = self.key(index, link) {
                    let acceptor = self.links.remove(&key).expect("found").acceptor;
                    self.input(acceptor, |m, _| m.handle_incoming_closed(LinkId(key)));
                }
            }
            Output::Send { link, message } => {
                if let Some(link) = self.key(index, link) {
                    self.in_flight.push(Packet { link, forth: true, message });
                }
            }
            Output::Respond { link, message, .. } => {
                self.in_flight.push(Packet { link: link.0, forth: false, message });
            }
            Output::CloseIncoming { link } => {
                // What was said before the close arrives first.
                let (mut last, others): (Vec<Packet>, Vec<Packet>) =
                    core::mem::take(&mut self.in_flight)
                        .into_iter()
                        .partition(|packet| packet.link == link.0 && !packet.forth);
                self.in_flight = others;
                if let Some(packet) = last.pop() {
                    self.deliver(packet);
                }
                if let Some(link) = self.links.remove(&link.0) {
                    self.input(link.dialler, |m, now| m.handle_closed(now, link.outgoing));
                }
            }
            Output::Persist(persisted) | Output::Register(persisted) => {
                self.nodes[index].disk = Some(persisted);
            }
            Output::Seated { member, persisted } => self.seated(index, *member, persisted),
            Output::Topology(view) => self.nodes[index].topology = view,
            Output::Sealed => {
                let disk = self.nodes[index].disk.as_ref().expect("persisted first");
                assert!(disk.view.sealed);
            }
            Output::AskedProgress { .. } | Output::Progress { .. } => {}
            Output::AtWork { member } => self.nodes[index].at_work.push(member),
            Output::Gossip { .. } => unreachable!("nobody gossips here"),
            Output::Carried { ticket, result } => {
                self.nodes[index].carried.push((ticket, result));
            }
            Output::Event(event) => {
                let is_fenced = matches!(event, Event::Fenced { .. } | Event::Left { .. });
                self.nodes[index].events.push(event);
                if is_fenced {
                    self.crash(index);
                }
            }
        }
    }

    fn dial(&mut self, dialler: usize, outgoing: LinkId, address: &str) {
        let is_there =
            |node: &Node| node.machine.is_some() && node.config.member.peer_address == address;
        match self.nodes.iter().position(is_there) {
            Some(acceptor) => {
                self.links_so_far += 1;
                self.links.insert(self.links_so_far, Link { dialler, acceptor, outgoing });
                self.input(dialler, |machine, _| machine.handle_connected(outgoing));
            }
            None => self.input(dialler, |machine, now| machine.handle_closed(now, outgoing)),
        }
    }

    fn key(&self, dialler: usize, outgoing: LinkId) -> Option<u64> {
        let mut links = self.links.iter();
        links
            .find(|(_, link)| link.dialler == dialler && link.outgoing == outgoing)
            .map(|(&key, _)| key)
    }

    /// The sealed list of each node that has one, from its disk: a crash does not unseal.
    pub(super) fn sealed(&self) -> Vec<Option<BTreeSet<NodeId>>> {
        let sealed = |node: &Node| {
            let view = &node.disk.as_ref()?.view;
            // What is decided on afterwards is another list.
            let is_first = view.sealed && view.ownership.is_none();
            is_first.then(|| view.members.iter().map(|member| member.id).collect())
        };
        self.nodes.iter().map(sealed).collect()
    }

    fn check(&self) {
        let sealed: BTreeSet<BTreeSet<NodeId>> = self.sealed().into_iter().flatten().collect();
        for one in &sealed {
            for other in &sealed {
                assert!(one == other || one.is_disjoint(other), "{one:?} and {other:?}");
            }
        }
        for node in &self.nodes {
            if let Some(machine) = &node.machine {
                let ids: BTreeSet<NodeId> = machine.members.keys().copied().collect();
                assert!(ids.contains(&machine.me()));
                let on_disk = node.disk.as_ref().map(|disk| &disk.view.members);
                let in_memory: Vec<Member> = machine.members.values().cloned().collect();
                if machine.standing != Standing::Forming {
                    assert_eq!(on_disk, Some(&in_memory), "what is promised is persisted");
                }
            }
        }
    }

    /// Data is taken from a member once its start is noted: none may be of two processes.
    fn check_incarnations(&mut self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let sealed = |machine: &&Membership| machine.standing == Standing::Sealed;
            let Some(machine) = node.machine.as_ref().filter(sealed) else { continue };
            let me = &machine.config.member;
            let is_noted = |other: &Node| {
                let mut members = other.topology.members.iter();
                members.any(|member| member.id == me.id && member.incarnation == me.incarnation)
            };
            let mut others = self.nodes.iter().enumerate().filter(|(other, _)| *other != index);
            if others.any(|(_, other)| is_noted(other)) {
                let used = (me.id, me.incarnation.start);
                let process = (index, node.starts);
                let first = self.used.entry(used).or_insert(process);
                assert_eq!(*first, process, "{used:?} is of two processes");
            }
        }
    }

    /// Whether the node was told that it is left out.
    fn knows_that_it_is_left_out(&self, index: usize) -> bool {
        self.nodes[index].events.iter().any(|event| match event {
            Event::RefusedBy { transient, .. } => !transient,
            Event::Conflict(reason) => matches!(reason, Refusal::AlreadySealed { .. }),
            _ => false,
        })
    }
}

/// Seeds for `count` nodes: each but the first names at least one node before it.
fn chains(count: usize, random: &mut Random) -> Vec<Config> {
    (0..count)
        .map(|index| {
            let mut seeds: Vec<usize> = Vec::new();
            if index > 0 {
                seeds.push(random.below(index as u32) as usize);
            }
            if random.below(3) == 0 {
                seeds.push(random.below(count as u32) as usize);
            }
            config(index, &seeds)
        })
        .collect()
}

/// Runs with faults, then heals everything and has the seal requested everywhere.
fn run_with_faults(configs: Vec<Config>, seed: u64, faults: Faults) -> World {
    let count = configs.len();
    let mut world = World::new(configs, seed);
    world.faults = faults;
    for _ in 0..400 {
        match world.random.below(40) {
            0 => {
                let index = world.random.below(count as u32) as usize;
                world.input(index, Membership::request_seal);
            }
            1 => {
                let index = world.random.below(count as u32) as usize;
                world.start(index);
            }
            _ => world.step(),
        }
    }
    world.faults = Faults::default();
    world.start_all();
    world.nodes.iter_mut().for_each(|node| node.events.clear());
    (0..count).for_each(|index| world.input(index, Membership::request_seal));
    world.run_for(Duration::from_secs(40));
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn without_crashes_all_nodes_end_in_one_sealed_list(
        seed in any::<u64>(),
        count in 1..=6_usize,
        lost in 0..30_u32,
    ) {
        let mut random = Random::new(seed);
        let mut world = World::new(chains(count, &mut random), seed);
        world.start_all();
        // Nodes without seeds are a cluster of one to themselves until somebody finds them.
        world.run_for(Duration::from_secs(3));
        world.faults = Faults { lost, doubled: 20, crash: 0, cut: 1 };
        let index = world.random.below(count as u32) as usize;
        world.input(index, Membership::request_seal);
        for _ in 0..100 {
            world.step();
        }
        world.faults = Faults::default();
        world.run_for(Duration::from_secs(30));
        let all: BTreeSet<NodeId> = world.nodes.iter().map(|n| n.config.member.id).collect();
        for list in world.sealed() {
            prop_assert_eq!(list.as_ref(), Some(&all));
        }
        for node in &world.nodes {
            prop_assert!(node.topology.sealed);
            prop_assert_eq!(node.topology.epoch, count as u64);
        }
    }

    #[test]
    fn nodes_that_name_each_other_end_in_one_sealed_list_whatever_fails(
        seed in any::<u64>(),
        count in 1..=6_usize,
        crash in 0..5_u32,
        lost in 0..30_u32,
    ) {
        let everybody: Vec<usize> = (0..count).collect();
        let configs = everybody.iter().map(|index| config(*index, &everybody)).collect();
        let world = run_with_faults(configs, seed, Faults { lost, doubled: 20, crash, cut: 3 });
        let all: BTreeSet<NodeId> = world.nodes.iter().map(|n| n.config.member.id).collect();
        for list in world.sealed() {
            prop_assert_eq!(list.as_ref(), Some(&all));
        }
    }

    /// Where seeds are not those of everybody, nodes that start again while lists are promised may
    /// wait for each other. None does so silently.
    #[test]
    fn whatever_fails_nobody_is_shut_out_silently(
        seed in any::<u64>(),
        count in 2..=6_usize,
        crash in 0..5_u32,
        lost in 0..30_u32,
    ) {
        let configs = chains(count, &mut Random::new(seed));
        let world = run_with_faults(configs, seed, Faults { lost, doubled: 20, crash, cut: 3 });
        for (index, list) in world.sealed().iter().enumerate() {
            let machine = world.nodes[index].machine.as_ref().expect("up");
            let told = world.knows_that_it_is_left_out(index) || !machine.awaited().is_empty();
            prop_assert!(list.is_some() || told, "{:?}", world.nodes[index].events);
        }
    }
}

#[test]
fn requests_for_the_seal_on_all_nodes_at_once_agree() {
    for seed in 0..50 {
        let configs = (0..5).map(|index| config(index, &[0, 1, 2, 3, 4])).collect();
        let mut world = World::new(configs, seed);
        world.start_all();
        (0..5).for_each(|index| world.input(index, Membership::request_seal));
        world.run_for(Duration::from_secs(10));
        assert!(world.sealed().iter().all(|list| list.as_ref().is_some_and(|l| l.len() == 5)));
        assert!(world.nodes.iter().all(|node| node.topology == world.nodes[0].topology));
    }
}
