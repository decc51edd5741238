//! Whole clusters of coordinators, handoffs and synchronisers over a toy store, under faults.
//!
//! Every schedule follows from its seed: delays, lost links, crashes, full disks, clients. Checked
//! in each: every request gets one reply by its deadline; a quorum read returns everything that was
//! acknowledged, or read at quorum, before it began; what was called failed did not happen, what
//! was acknowledged did; and once the faults are over all replicas become equal by themselves.
//!
//! `QUORATE_SEEDS=FIRST..LAST` runs other seeds than the usual ones.

mod store;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use quorate_cluster::{
    coordinator::{Request, Terms},
    time::Instant,
    topology::Topology,
};
use quorate_proto::{
    Level, NodeId, Numbers, Slot,
    command::Call,
    message::{Member, View},
    resp::Command,
};
use world::{Answer, EPOCH, World};

/// What a client asked for, and what it may expect.
struct Asked {
    key: Bytes,
    increments: bool,
    scope: usize,
    /// What the reply must at least be.
    floor: u64,
}

/// How the increments of a counter ended.
#[derive(Default)]
struct Increments {
    acknowledged: u64,
    unknown: u64,
}

struct Checker {
    asked: BTreeMap<u64, Asked>,
    /// By key and scope (the datacentre at `LOCAL_QUORUM`): the newest that some client knows of.
    floors: BTreeMap<(Bytes, usize), u64>,
    increments: BTreeMap<Bytes, Increments>,
    level: Level,
    succeeded: usize,
}

impl Checker {
    fn new(level: Level) -> Self {
        Self {
            asked: BTreeMap::new(),
            floors: BTreeMap::new(),
            increments: BTreeMap::new(),
            level,
            succeeded: 0,
        }
    }

    fn ask(&mut self, world: &World, id: u64, node: usize, words: &[&str]) -> Request {
        let command = Command::from_args(words);
        let key = Bytes::copy_from_slice(command.arg(1));
        let scope = if self.level == Level::LocalQuorum { datacentre(world, node) } else { 0 };
        let floor = self.floors.get(&(key.clone(), scope)).copied().unwrap_or_default();
        let increments = words[0] == "INCR";
        self.asked.insert(id, Asked { key: key.clone(), increments, scope, floor });
        let terms = Terms {
            read_level: self.level,
            write_level: self.level,
            resp3: false,
            deadline: Instant::from_micros(world.now) + Duration::from_millis(1_500),
        };
        Request { id, call: Call::piece(Slot::of_key(&key), command), terms }
    }

    fn take_answers(&mut self, world: &mut World) {
        for Answer { request, reply } in std::mem::take(&mut world.answers) {
            let asked = self.asked.remove(&request).expect("asked once");
            let text = std::str::from_utf8(&reply).expect("text");
            let increments = self.increments.entry(asked.key.clone()).or_default();
            if let Some(number) = text.strip_prefix(':') {
                let number: u64 = number.trim_end().parse().expect("a number");
                let (floor, key) = (asked.floor, &asked.key);
                assert!(number >= floor, "{key:?} went back from {floor} to {number}");
                let known = self.floors.entry((asked.key, asked.scope)).or_default();
                *known = (*known).max(number);
                increments.acknowledged += u64::from(asked.increments);
                self.succeeded += 1;
            } else if text.starts_with("-TIMEOUT") || text.starts_with("-UNKNOWN") {
                increments.unknown += u64::from(asked.increments);
            } else {
                let failed = ["-UNAVAILABLE", "-OVERLOADED", "-MISCONF"];
                assert!(failed.iter().any(|prefix| text.starts_with(prefix)), "{text}");
            }
        }
        for request in std::mem::take(&mut world.abandoned) {
            let asked = self.asked.remove(&request).expect("asked once");
            let increments = self.increments.entry(asked.key).or_default();
            increments.unknown += u64::from(asked.increments);
        }
    }

    /// All replicas of each key are equal, and hold what was acknowledged.
    fn check_end(&mut self, world: &World, keys: &[Bytes]) {
        for key in keys {
            let newest = self.floors.iter().filter(|((of, _), _)| of == key).map(|(_, at)| *at);
            let newest = newest.max().unwrap_or_default();
            let entry = holders(world, key).next().cloned().unwrap_or_default();
            if key.starts_with(b"count") {
                let done = self.increments.entry(key.clone()).or_default();
                let possible = done.acknowledged..=done.acknowledged + done.unknown;
                assert!(possible.contains(&entry.sum()), "{} not in {possible:?}", entry.sum());
            } else {
                assert!(entry.register >= newest, "{key:?} lost {newest}: {entry:?}");
            }
        }
    }
}

fn datacentre(world: &World, node: usize) -> usize {
    // Of the two-datacentre cluster the even ids are in the first; ids order the nodes.
    node % 2 * usize::from(world.nodes.len() == 6)
}

fn holders<'a>(world: &'a World, key: &'a Bytes) -> impl Iterator<Item = &'a store::Entry> {
    world.nodes.iter().filter_map(|node| node.store.entries.get(key))
}

fn converged(world: &World, keys: &[Bytes], replicas: usize) -> bool {
    let equal = |key: &Bytes| {
        let distinct: Vec<_> = holders(world, key).collect();
        let written = distinct.is_empty() || distinct.len() == replicas;
        written && distinct.windows(2).all(|pair| pair[0] == pair[1])
    };
    world.in_flight() == 0 && world.hints() == 0 && keys.iter().all(equal)
}

/// The ids of the first members are multiples of this.
const ID_STEP: u128 = 100;

fn member(id: u128, datacentre: usize) -> Member {
    Member {
        id: NodeId(id),
        name: format!("n{id}"),
        datacentre: format!("dc{datacentre}"),
        rack: "r".into(),
        tokens: Vec::new(),
        peer_address: String::new(),
        client_address: String::new(),
        cluster_address: String::new(),
        incarnation: Default::default(),
        duties: Default::default(),
    }
}

/// The topologies of `count` nodes, spread over `datacentres`, each seen from its own node.
fn topologies(count: usize, datacentres: usize, replication_factor: u16) -> Vec<Arc<Topology>> {
    let id = |index: usize| (index as u128 + 1) * ID_STEP;
    let members: Vec<Member> =
        (0..count).map(|index| member(id(index), index % datacentres)).collect();
    let numbers = Numbers::of_first(members.iter().map(|member| member.id)).expect("numbers");
    let view = View {
        epoch: EPOCH,
        sealed: true,
        partitioner: Default::default(),
        replication_factor: replication_factor.into(),
        members,
        numbers,
        ownership: None,
    };
    let seen_from = |index: usize| Topology::new(&view, NodeId(id(index)));
    (0..count).map(|index| Arc::new(seen_from(index).expect("valid"))).collect()
}

fn keys() -> Vec<Bytes> {
    ["register", "register2", "register3", "count", "count2"].map(Bytes::from).to_vec()
}

/// The seeds to run; `few` of them unless the code is optimised.
fn seeds(few: u64) -> Range<u64> {
    let given = std::env::var("QUORATE_SEEDS").ok();
    let given = given.as_deref().and_then(|range| range.split_once(".."));
    let bounds = given.map(|(first, last)| (first.parse(), last.parse()));
    match bounds {
        Some((Ok(first), Ok(last))) => first..last,
        _ if cfg!(debug_assertions) => 0..few,
        _ => 0..few * 20,
    }
}

/// Names the seed of a run that fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

const CHAOS: u64 = 3_000_000;

fn random_command(world: &mut World) -> [&'static str; 3] {
    let register = ["register", "register2", "register3"][world.random.below(3) as usize];
    let counter = ["count", "count2"][world.random.below(2) as usize];
    match world.random.below(10) {
        0..3 => ["SET", register, "v"],
        3 => ["SETNX", register, "v"],
        4..6 => ["INCR", counter, ""],
        6 => ["GET", counter, ""],
        _ => ["GET", register, ""],
    }
}

fn sow_faults(world: &mut World) {
    let nodes = world.nodes.len() as u32;
    for _ in 0..world.random.below(7) {
        let at = world.between(0, CHAOS);
        let node = world.random.below(nodes) as usize;
        match world.random.below(4) {
            0 => {
                let down_for = world.between(20_000, 2_500_000);
                world.crash_after(at, node, down_for);
            }
            1 => {
                let other = (node + 1 + world.random.below(nodes - 1) as usize) % nodes as usize;
                world.cut_after(at, node, other);
            }
            2 => {
                // The node is alone, in both directions.
                for other in (0..nodes as usize).filter(|other| *other != node) {
                    world.cut_after(at, node, other);
                    world.cut_after(at, other, node);
                }
            }
            _ => {
                let full_for = world.between(1_000, 800_000);
                world.full_after(at, node, full_for);
            }
        }
    }
}

/// After a pause, a client asks some node for something.
fn ask_anything(world: &mut World, checker: &mut Checker, id: u64) {
    let pause = match world.random.below(3) {
        0 => 1,
        _ => world.between(1, CHAOS / 90),
    };
    world.run_until(world.now + pause);
    checker.take_answers(world);
    let node = world.random.below(world.nodes.len() as u32) as usize;
    let [name, key, value] = random_command(world);
    let words: &[&str] = if value.is_empty() { &[name, key] } else { &[name, key, value] };
    let request = checker.ask(world, id, node, words);
    world.request_after(0, node, request);
}

/// The last faults end, the last deadlines pass, and the nodes are left alone.
fn settle(world: &mut World, checker: &mut Checker, keys: &[Bytes], replicas: usize) {
    world.run_until(world.now + 7_000_000);
    checker.take_answers(world);
    assert!(world.waiting.is_empty(), "requests without a reply: {:?}", world.waiting);
    let patience = world.now + 70_000_000;
    while !converged(world, keys, replicas) {
        let late = world.now > patience;
        assert!(!late, "{} hints, {} in flight", world.hints(), world.in_flight());
        world.run_until(world.now + 500_000);
    }
}

/// Three nodes, and what they become when two members join, one whose id is before all others and
/// one whose id is behind them. Every node holds everything, so a majority of those that come meets
/// each of those that were.
fn growing() -> Vec<Vec<Arc<Topology>>> {
    let mut all = vec![topologies(3, 1, 5)];
    for newcomer in [1, 1_000 * ID_STEP] {
        let before = &all[all.len() - 1];
        let view = before[0].with_member(member(newcomer, 0)).expect("there is room").view();
        let ids = before.iter().map(|seen| seen.member(seen.me()).id).chain([NodeId(newcomer)]);
        let seen = |id| Arc::new(Topology::new(&view, id).expect("is a member"));
        all.push(ids.map(seen).collect());
    }
    all
}

/// Members join while clients write and faults happen.
fn run_growing(topologies: &[Vec<Arc<Topology>>], seed: u64) -> usize {
    let keys = keys();
    let mut world = World::new(&topologies[0], &keys, seed);
    let mut checker = Checker::new(Level::Quorum);
    world.run_until(50_000);
    for (round, grown) in (0..).zip(&topologies[1..]) {
        sow_faults(&mut world);
        let joins_at = u64::from(world.random.below(120));
        for id in 0..120 {
            if id == joins_at {
                world.join(grown, &keys);
            }
            ask_anything(&mut world, &mut checker, 120 * round + id);
        }
        let replicas = world.nodes.len();
        settle(&mut world, &mut checker, &keys, replicas);
        checker.check_end(&world, &keys);
    }
    checker.succeeded
}

/// Runs one schedule; returns how many requests succeeded.
fn run(topologies: &[Arc<Topology>], datacentres: usize, level: Level, seed: u64) -> usize {
    let keys = keys();
    let mut world = World::new(topologies, &keys, seed);
    let mut checker = Checker::new(level);
    let slow_disk = world.random.below(3) == 0;
    for node in &mut world.nodes {
        node.store.slow_disk = slow_disk;
    }
    world.run_until(50_000);
    sow_faults(&mut world);
    for id in 0..250 {
        ask_anything(&mut world, &mut checker, id);
    }
    settle(&mut world, &mut checker, &keys, 3 * datacentres);
    checker.check_end(&world, &keys);
    checker.succeeded
}

fn run_all(count: usize, datacentres: usize, level: Level, seeds: Range<u64>) {
    let topologies = topologies(count, datacentres, 3);
    let (mut succeeded, mut runs) = (0, 0);
    for seed in seeds {
        let _named = Named(seed);
        succeeded += run(&topologies, datacentres, level, seed);
        runs += 1;
    }
    // A cluster that refuses everything would satisfy every check above.
    assert!(succeeded > runs * 150, "{succeeded} requests succeeded in {runs} runs");
}

#[test]
fn three_nodes_at_quorum() {
    run_all(3, 1, Level::Quorum, seeds(60));
}

#[test]
fn five_nodes_of_which_three_hold_a_key() {
    run_all(5, 1, Level::Quorum, seeds(40));
}

#[test]
fn members_join_while_clients_write() {
    let topologies = growing();
    let (mut succeeded, mut runs) = (0, 0);
    for seed in seeds(30) {
        let _named = Named(seed);
        succeeded += run_growing(&topologies, seed);
        runs += 1;
    }
    assert!(succeeded > runs * 140, "{succeeded} requests succeeded in {runs} runs");
}

#[test]
fn two_datacentres_at_local_quorum() {
    run_all(6, 2, Level::LocalQuorum, seeds(30));
}

#[test]
fn two_datacentres_at_quorum() {
    run_all(6, 2, Level::Quorum, seeds(20));
}

/// Without faults nothing fails, and increments through all nodes at once add up exactly.
#[test]
fn a_healthy_cluster_answers_everything() {
    let (topologies, keys) = (topologies(3, 1, 3), keys());
    let mut world = World::new(&topologies, &keys, 1);
    let mut checker = Checker::new(Level::Quorum);
    world.run_until(50_000);
    for id in 0..600 {
        let node = id as usize % 3;
        let request = checker.ask(&world, id, node, &["INCR", "count"]);
        world.request_after(id % 7, node, request);
        // Faster at times than one increment after the other can be done.
        let pause = if id % 50 == 0 { 500_000 } else { 100 };
        world.run_until(world.now + pause);
    }
    world.run_until(world.now + 2_000_000);
    let numbers: BTreeSet<Bytes> = world.answers.iter().map(|found| found.reply.clone()).collect();
    assert_eq!(numbers.len(), 600, "every increment has a number of its own");
    checker.take_answers(&mut world);
    assert_eq!(checker.succeeded, 600);
    assert!(converged(&world, &keys, 3));
    checker.check_end(&world, &keys);
}
