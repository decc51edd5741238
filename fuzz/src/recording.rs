//! Real streams: three nodes on a network without delay are written to, lose one of them, lose
//! its disk, and repair each other. What they say and leave on disk are the seeds of the targets.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use quorate_cluster::elements::Limits;
use quorate_log::disk::SimulatedDisk;
use quorate_node::{
    Settings,
    simulation::{Input, Moment, Options, Output, Port, Process, Wire},
};
use quorate_proto::{
    CallId, Dot, DotRange, MemberNumber, NodeId, Origin, Slot, Start, frame,
    message::{Cause, DottedEffect, Hello, Message, Scope, SlotDots, Symbol, View},
    register::{Answer, Ballot, Document, Request, Voter},
    resp::Command,
};

/// Name of the cluster.
pub const CLUSTER: &str = "recorded";
/// Shards of each node.
pub const SHARDS: u16 = 2;
/// Nodes.
pub const NODES: usize = 3;

/// The moment at which the recording begins, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A frame that one node sent to another.
#[derive(Clone, Debug)]
pub struct Said {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// The shard of the node that opened the connection, `u16::MAX` for its control thread.
    pub shard: u16,
    /// Whether the receiver had opened the connection, so that this answers it.
    pub is_answer: bool,
    /// The frame as it was sent.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub message: Message,
}

/// What was recorded.
#[derive(Debug)]
pub struct Recording {
    /// What clients sent.
    pub requests: Vec<Vec<u8>>,
    /// What they got.
    pub replies: Vec<Vec<u8>>,
    /// What nodes said, in order.
    pub said: Vec<Said>,
    /// The disk of the first node at the end.
    pub disk: SimulatedDisk,
    /// The member list at the end.
    pub view: View,
    /// When it ended, in microseconds since its begin.
    pub ended_us: u64,
}

/// The clocks of all machines.
pub fn moment(now_us: u64) -> Moment {
    Moment { monotonic_us: now_us, wall_ms: EPOCH_MS + now_us / 1000 }
}

/// A process of a node on a disk.
///
/// # Errors
/// Why it does not start.
pub fn start(node: usize, disk: SimulatedDisk, now_us: u64) -> Result<Process, String> {
    let address = |port, node: usize| SocketAddr::from(([10, 0, 0, node as u8 + 1], port));
    let others = (0..NODES).filter(|other| *other != node);
    let mut settings = Settings::default();
    settings.listen = address(6379, node);
    settings.peer_listen = Some(address(16_379, node));
    settings.seeds = others.map(|other| address(16_379, other).to_string()).collect();
    settings.cluster = CLUSTER.into();
    settings.name = Some(format!("n{node}"));
    settings.replication_factor = 2.into();
    settings.data_dir = Some("/data".into());
    settings.shards = SHARDS;
    settings.gc_grace = Duration::ZERO;
    let options = Options {
        settings,
        disk: Arc::new(disk),
        seed: now_us ^ node as u64,
        boot: 1,
        segment_bytes: 1 << 14,
        checkpoint_bytes_min: 1 << 13,
        hint_bytes_max: 1 << 14,
        // So small that keys are compared by their elements.
        element_limits: Limits { whole_state: 64, fingerprints: 16, bytes: 400 },
        command_us: 0,
        mail_delay_us: 0,
        store_delay_us: 0,
        long_call: 8,
        pieces: quorate_proto::frame::PieceSizes::DEFAULT,
    };
    Process::start(options, moment(now_us)).map_err(|error| error.to_string())
}

/// The node that listens at an address.
pub fn node_at(address: &str) -> Option<usize> {
    let last: usize = address.rsplit_once(':')?.0.rsplit_once('.')?.1.parse().ok()?;
    last.checked_sub(1).filter(|node| *node < NODES)
}

/// The recording. It is made once, and is always the same.
pub fn recording() -> &'static Recording {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    RECORDING.get_or_init(|| {
        let mut world = World::new();
        world.play();
        let disk = world.nodes[0].disk.duplicate();
        let view = world.nodes[0].process.as_ref().map(|found| found.topology().view());
        let World { requests, replies, mut said, now_us, .. } = world;
        let hello = said.iter().find_map(|said| match &said.message {
            Message::Hello(hello) => Some(hello.clone()),
            _ => None,
        });
        said.extend(rare(hello.expect("invariant: nodes introduce themselves")));
        let view = view.expect("invariant: the first node is never killed");
        Recording { requests, replies, said, disk, view, ended_us: now_us }
    })
}

/// What this history has no need of: made by hand, as if the second node had sent it to the first.
fn rare(hello: Box<Hello>) -> Vec<Said> {
    let slot = Slot::of_key(b"a");
    let origin = Origin::new(1, Start::from_random(1));
    let dots = |counter| {
        vec![SlotDots { slot, ranges: vec![DotRange { origin, first: 1, last: counter }] }]
    };
    let effect = Bytes::new();
    let command = Command::from_args(["GET", "a"]).frame().clone();
    let wanted = dots(3);
    let ballot = Ballot { round: 1, origin };
    let voters = vec![Voter { member: NodeId(1), life: 0 }];
    let base = Document { version: 7, author: ballot, voters, value: Bytes::new() };
    let dot = Dot { origin, counter: 9 };
    let asked = [
        Message::Ballot(Box::new(Request::Prepare { base: base.clone(), ballot })),
        Message::Ballot(Box::new(Request::Accept {
            base: base.clone(),
            ballot,
            document: Document { version: 8, ..base.clone() },
        })),
        Message::Ballot(Box::new(Request::Learn(base.clone()))),
        Message::Join(hello),
        Message::AtWork,
        Message::AskProgress,
        Message::Probe { target: NodeId(3), number: 4 },
        Message::ProbeAnswer { number: 4 },
        Message::AskOutcome { slot, id: CallId { origin, number: 1 } },
        Message::AskStates { slot, command },
        Message::AskKeyDigests { slot },
        Message::AskKeyStates { slot, keys: vec![Bytes::from_static(b"a")] },
        Message::AskFingerprintStates { slot, fingerprints: vec![1, 2] },
        Message::AskDots { group: slot.group(), wanted },
        Message::CompareSlot { slot, digest: 1, scope: Scope::Everything, from: 0, symbols: 8 },
        Message::Relay {
            slot,
            to: vec![MemberNumber(2)],
            at_once: true,
            dots: vec![dot],
            outcome: None,
            effect: effect.clone(),
        },
    ];
    let answered = [
        Message::BallotAnswer(Box::new(Answer::Accepted { base: 7, ballot })),
        Message::BallotAnswer(Box::new(Answer::Decided(base))),
        Message::Progress { epoch: 3, level: vec![(MemberNumber(1), 5)] },
        Message::Rejected { cause: Cause::Overloaded, text: "too much".into() },
        Message::Relayed { took: vec![MemberNumber(2)], is_last: true },
        Message::States(effect.clone()),
        Message::KeyDigests(vec![(Bytes::from_static(b"a"), 1)]),
        Message::FingerprintStates { covered: 1, states: effect.clone() },
        Message::Sketch(vec![Symbol { sum: 3, check: 4, count: 1 }; 8]),
        Message::Clocks { shards: SHARDS, version: 5, next: None, slots: dots(9) },
        Message::Dots {
            effects: vec![DottedEffect { slot, dots: vec![dot], effect }],
            absent: dots(2),
        },
    ];
    let said = |is_answer| {
        move |message: Message| {
            let mut bytes = Vec::new();
            frame::encode(&mut bytes, 1, 1, &message);
            Said { from: 1, to: 0, shard: 0, is_answer, bytes, message }
        }
    };
    asked.into_iter().map(said(false)).chain(answered.into_iter().map(said(true))).collect()
}

struct Node {
    disk: SimulatedDisk,
    process: Option<Process>,
    inbox: Vec<Input>,
}

/// One side of a connection, seen from the other one.
struct Side {
    node: usize,
    wire: Wire,
    /// Whether the side that this belongs to has opened the connection.
    opened: bool,
    /// What was sent to `node` and is no whole frame yet.
    partial: BytesMut,
    /// Of the node that opened it, once it has introduced itself.
    shard: u16,
}

struct World {
    nodes: Vec<Node>,
    sides: BTreeMap<(usize, Wire), Side>,
    next_wire: u64,
    now_us: u64,
    requests: Vec<Vec<u8>>,
    replies: Vec<Vec<u8>>,
    said: Vec<Said>,
}

impl World {
    fn new() -> Self {
        let node = |_| Node { disk: SimulatedDisk::new(), process: None, inbox: Vec::new() };
        Self {
            nodes: (0..NODES).map(node).collect(),
            sides: BTreeMap::new(),
            next_wire: 1,
            now_us: 1_000_000,
            requests: Vec::new(),
            replies: Vec::new(),
            said: Vec::new(),
        }
    }

    fn play(&mut self) {
        (0..NODES).for_each(|node| self.start(node));
        self.run_for(3_000_000);
        self.client(0, &["SET first 1"]);
        self.run_for(3_000_000);
        for node in 0..NODES {
            self.client(node, WRITES);
            self.client(node, READS);
        }
        self.run_for(40_000_000);
        self.kill(2);
        for round in 0..3 {
            self.client_at_one(round % 2, WRITES);
            self.client_at_one(round % 2, REMOVALS);
            self.fill(round);
        }
        self.run_for(20_000_000);
        self.start(2);
        self.run_for(40_000_000);
        self.client(2, READS);
        self.kill(2);
        self.nodes[2].disk = SimulatedDisk::new();
        self.start(2);
        self.run_for(60_000_000);
        self.client(1, WRITES);
        self.client(0, READS);
        self.run_for(2_000_000);
    }

    fn start(&mut self, node: usize) {
        let process = start(node, self.nodes[node].disk.clone(), self.now_us);
        self.nodes[node].process = Some(process.expect("invariant: the disk is sound"));
    }

    fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
        self.nodes[node].inbox.clear();
        let gone: Vec<_> = self.sides.keys().filter(|(owner, _)| *owner == node).copied().collect();
        gone.into_iter().for_each(|side| self.hang_up(side));
    }

    fn hang_up(&mut self, side: (usize, Wire)) {
        let Some(other) = self.sides.remove(&side) else { return };
        self.sides.remove(&(other.node, other.wire));
        self.nodes[other.node].inbox.push(Input::Closed(other.wire));
    }

    /// Runs commands, one behind the other in one write, on a connection of their own.
    fn client(&mut self, node: usize, commands: &[&str]) {
        self.request(node, commands.iter().flat_map(encode).collect());
    }

    /// The same, with one replica of two.
    fn client_at_one(&mut self, node: usize, commands: &[&str]) {
        self.request(node, [ONE].iter().chain(commands).flat_map(encode).collect());
    }

    /// Large keys, and more effects than a queue of hints takes.
    fn fill(&mut self, round: usize) {
        let mut bytes = encode(&ONE);
        for number in 0..60 {
            let name = format!("large-{round}-{number}");
            let value = "v".repeat(40);
            for words in [
                ["SADD", "large", &name].as_slice(),
                &["HSET", "large-hash", &name, &value],
                &["SET", &name, &value],
            ] {
                bytes.extend_from_slice(Command::from_args(words).frame());
            }
        }
        self.request(round % 2, bytes);
    }

    fn request(&mut self, node: usize, bytes: Vec<u8>) {
        let wire = Wire(self.next_wire);
        self.next_wire += 1;
        self.replies.push(Vec::new());
        self.requests.push(bytes.clone());
        let inbox = &mut self.nodes[node].inbox;
        inbox.push(Input::Accepted { wire, port: Port::Client });
        inbox.push(Input::Bytes(wire, bytes));
        self.run_for(500_000);
        self.nodes[node].inbox.push(Input::Closed(wire));
    }

    fn run_for(&mut self, us: u64) {
        let end = self.now_us + us;
        loop {
            for node in 0..NODES {
                self.turn(node);
            }
            if self.nodes.iter().all(|node| node.inbox.is_empty()) {
                let due = self.nodes.iter().filter_map(|node| node.process.as_ref());
                let due = due.map(Process::poll_timeout).min().unwrap_or(end);
                if due > end {
                    break;
                }
                self.now_us = due.max(self.now_us + 50);
            }
        }
        self.now_us = end;
    }

    fn turn(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let inputs = std::mem::take(&mut node.inbox);
        let Some(process) = &mut node.process else { return };
        if inputs.is_empty() && process.poll_timeout() > self.now_us {
            return;
        }
        let outputs = process.turn(moment(self.now_us), inputs);
        assert_eq!(process.death(), None, "node {number}");
        outputs.into_iter().for_each(|output| self.output(number, output));
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Dial { wire, address } => {
                let target = node_at(&address).filter(|to| self.nodes[*to].process.is_some());
                let Some(to) = target else {
                    return self.nodes[node].inbox.push(Input::Closed(wire));
                };
                let accepted = Wire(self.next_wire);
                self.next_wire += 1;
                let side = |node, wire, opened| Side {
                    node,
                    wire,
                    opened,
                    partial: BytesMut::new(),
                    shard: 0,
                };
                self.sides.insert((node, wire), side(to, accepted, true));
                self.sides.insert((to, accepted), side(node, wire, false));
                self.nodes[to].inbox.push(Input::Accepted { wire: accepted, port: Port::Peer });
                self.nodes[node].inbox.push(Input::Connected(wire));
            }
            Output::Send(wire, bytes) => self.send(node, wire, &bytes),
            Output::Close(wire) => self.hang_up((node, wire)),
            Output::Sync(number) => self.nodes[node].inbox.push(Input::Sync(number)),
        }
    }

    fn send(&mut self, node: usize, wire: Wire, bytes: &[u8]) {
        let Some(side) = self.sides.get_mut(&(node, wire)) else {
            // Clients come one at a time.
            if let Some(replies) = self.replies.last_mut() {
                replies.extend_from_slice(bytes);
            }
            return;
        };
        self.nodes[side.node].inbox.push(Input::Bytes(side.wire, bytes.to_vec()));
        side.partial.extend_from_slice(bytes);
        let mut found = VecDeque::new();
        let mut decoder = frame::Decoder::default();
        while let Ok(Some(frame)) = decoder.decode(&mut side.partial) {
            // Each is recorded in a frame of its own.
            let mut whole = Vec::new();
            frame::encode(&mut whole, frame.epoch, frame.correlation, &frame.message);
            found.push_back((whole, frame.message));
        }
        let (to, other, opened) = (side.node, side.wire, side.opened);
        for (bytes, message) in found {
            if let Message::Hello(hello) = &message {
                for side in [(node, wire), (to, other)] {
                    if let Some(side) = self.sides.get_mut(&side) {
                        side.shard = hello.shard;
                    }
                }
            }
            let shard = self.sides.get(&(node, wire)).map_or(0, |side| side.shard);
            self.said.push(Said { from: node, to, shard, is_answer: !opened, bytes, message });
        }
    }
}

fn encode(line: &&str) -> Vec<u8> {
    Command::from_args(line.split(' ')).frame().to_vec()
}

const ONE: &str = "QUORATE LEVEL READ ONE WRITE ONE";

const WRITES: &[&str] = &[
    "SET a 1",
    "SET b 2 EX 100",
    "SETEX c 10 three",
    "MSET d 4 e 5 f 6",
    "GETSET a 7",
    "APPEND a tail",
    "SETRANGE a 3 xyz",
    "INCR counter",
    "INCRBY counter 41",
    "DECR counter",
    "INCRBYFLOAT float 1.5",
    "HSET hash one 1 two 2 three 3",
    "HINCRBY hash one 5",
    "HINCRBYFLOAT hash two 0.25",
    "HSETNX hash four 4",
    "SADD set x y z",
    "SADD other y z w",
    "SMOVE set other x",
    "PEXPIRE set 60000",
    "EXPIREAT hash 1800000000",
    "PERSIST set",
    "SUNIONSTORE union set other",
    "SINTERSTORE inter set other",
    "SDIFFSTORE diff set other",
    "COPY a copy REPLACE",
    "RENAME copy renamed",
    "SET short x PX 300",
    "FT._CREATEIFNX i ON HASH SCHEMA one NUMERIC two TEXT",
    "FT.DICTADD words one two",
];

const REMOVALS: &[&str] = &[
    "DEL b",
    "HDEL hash three",
    "SREM set y",
    "SPOP set",
    "GETDEL d",
    "UNLINK e f",
    "SADD set again",
    "EXPIRE renamed 1",
];

const READS: &[&str] = &[
    "PING",
    "GET a",
    "MGET a b c missing",
    "STRLEN a",
    "GETRANGE a 0 3",
    "EXISTS a b",
    "TYPE hash",
    "TTL b",
    "PTTL b",
    "FT.SEARCH i * WITHSCORES LIMIT 0 5",
    "FT.SEARCH i @one:[0,inf] SORTBY one",
    "FT.INFO i",
    "EXPIRETIME b",
    "HGETALL hash",
    "HMGET hash one two",
    "HLEN hash",
    "HSCAN hash 0",
    "HRANDFIELD hash 2 WITHVALUES",
    "SMEMBERS set",
    "SCARD set",
    "SISMEMBER set x",
    "SSCAN set 0 COUNT 10",
    "SRANDMEMBER set 2",
    "SINTERCARD 2 set other LIMIT 1",
    "SUNION set other",
    "SCAN 0 MATCH * COUNT 10",
    "KEYS *",
    "DBSIZE",
    "RANDOMKEY",
    "INFO",
    "CLIENT LIST",
    "COMMAND COUNT",
    "CLUSTER SLOTS",
    "CLUSTER NODES",
    "QUORATE STATUS",
    "QUORATE DIGEST",
    "QUORATE LEVEL READ ONE WRITE ALL",
    "HELLO 3",
    "HGETALL hash",
    "SMEMBERS set",
    "CONFIG GET *",
    "MULTI",
    "EXEC",
    "NOSUCH command",
];
