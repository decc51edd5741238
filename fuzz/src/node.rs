//! A node whose peers say anything, in any order, and whose clients ask anything.
//!
//! One real process of the recorded cluster runs; its two peers are played. An input is a row of
//! steps: a question on one of the links that peers open, an answer on one of those that the node
//! opens, to something that it asked or to nothing, a client's bytes, time that passes, a
//! connection that breaks. The frames around messages are always sound: damage to those is for the
//! targets of the codecs. Heartbeats are answered honestly, so that the peers count as up.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use quorate_log::disk::SimulatedDisk;
use quorate_node::simulation::{Input, Output, Port, Process, Wire};
use quorate_proto::{
    Fitness, frame,
    message::{Hello, Message},
    resp::{Command, reply::Value},
};

use crate::{
    pieces::{Pieces, put_bytes},
    recording::{CLUSTER, NODES, SHARDS, Said, moment, node_at, recording, start},
};

/// The shard number of links between control threads.
const CONTROL: u16 = u16::MAX;

/// Steps of one input.
const STEPS_MAX: usize = 256;

/// Questions of the node that can still be answered, on each link.
const OUTSTANDING_MAX: usize = 64;

/// Turns without anything from outside, when much time passes.
const IDLE_TURNS_MAX: usize = 150;

/// A link between the node and a peer: the peer, and the shard at its end or [`CONTROL`].
type Link = (usize, u16);

/// A connection that the node has opened.
struct Dialled {
    peer: usize,
    shard: u16,
    partial: BytesMut,
    /// Questions without an answer, the oldest first.
    outstanding: Vec<u64>,
}

/// The node with its played peers.
pub(crate) struct Harness {
    process: Process,
    now_us: u64,
    next_wire: u64,
    correlation: u64,
    inbox: Vec<Input>,
    /// Connections that peers have opened, introduced already.
    accepted: BTreeMap<Link, Wire>,
    dialled: BTreeMap<Wire, Dialled>,
    client: Option<Wire>,
    replies: Vec<u8>,
}

impl Harness {
    /// The node starts from this disk, and its peers are there.
    pub(crate) fn start(disk: SimulatedDisk) -> Result<Self, String> {
        let now_us = recording().ended_us + 1_000_000;
        Ok(Self {
            process: start(0, disk, now_us)?,
            now_us,
            next_wire: 1,
            correlation: 1,
            inbox: Vec::new(),
            accepted: BTreeMap::new(),
            dialled: BTreeMap::new(),
            client: None,
            replies: Vec::new(),
        })
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, us: u64) {
        let end = self.now_us + us;
        for _ in 0..IDLE_TURNS_MAX {
            self.turn();
            if !self.inbox.is_empty() {
                continue;
            }
            let due = self.process.poll_timeout();
            if due >= end {
                break;
            }
            self.now_us = due.max(self.now_us + 1_000);
        }
        self.now_us = end;
        self.turn();
    }

    fn turn(&mut self) {
        let inputs = std::mem::take(&mut self.inbox);
        for output in self.process.turn(moment(self.now_us), inputs) {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Dial { wire, address } => match node_at(&address).filter(|peer| *peer != 0) {
                Some(peer) => {
                    let (shard, partial, outstanding) = (0, BytesMut::new(), Vec::new());
                    self.dialled.insert(wire, Dialled { peer, shard, partial, outstanding });
                    self.inbox.push(Input::Connected(wire));
                }
                None => self.inbox.push(Input::Closed(wire)),
            },
            Output::Send(wire, bytes) if self.client == Some(wire) => {
                self.replies.extend_from_slice(&bytes);
                let mut read = 0;
                while let Some((_, length)) =
                    Value::decode(&self.replies[read..]).expect("replies can be decoded")
                {
                    read += length;
                }
                self.replies.drain(..read);
            }
            Output::Send(wire, bytes) => self.hear(wire, &bytes),
            Output::Close(wire) => {
                self.dialled.remove(&wire);
                self.accepted.retain(|_, accepted| *accepted != wire);
                if self.client == Some(wire) {
                    (self.client, self.replies) = (None, Vec::new());
                }
            }
            Output::Sync(number) => self.inbox.push(Input::Sync(number)),
        }
    }

    /// What the node sends on a connection that it has opened is asked; the rest are answers, of
    /// which only the codec matters.
    fn hear(&mut self, wire: Wire, bytes: &[u8]) {
        let Some(link) = self.dialled.get_mut(&wire) else {
            let (mut input, mut decoder) = (BytesMut::from(bytes), frame::Decoder::default());
            while decoder.decode(&mut input).expect("what the node sends is sound").is_some() {}
            return;
        };
        link.partial.extend_from_slice(bytes);
        let (mut answers, mut decoder) = (Vec::new(), frame::Decoder::default());
        while let Some(found) = decoder.decode(&mut link.partial).expect("it can be decoded") {
            match found.message {
                Message::Hello(hello) => {
                    link.shard = hello.shard;
                    let welcome = Message::Welcome(Box::new(introduction(link.peer, hello.shard)));
                    answers.push((found.correlation, welcome));
                }
                Message::Heartbeat(mut beat) => {
                    (beat.fitness, beat.hints_pending) = (Fitness::FIT, 0);
                    answers.push((found.correlation, Message::HeartbeatReply(beat)));
                }
                _ if link.outstanding.len() < OUTSTANDING_MAX => {
                    link.outstanding.push(found.correlation);
                }
                _ => {}
            }
        }
        for (correlation, message) in answers {
            let bytes = encoded(correlation, &message);
            self.inbox.push(Input::Bytes(wire, bytes));
        }
    }

    fn ask(&mut self, link: Link, message: &Message) {
        let wire = match self.accepted.get(&link) {
            Some(wire) => *wire,
            None => {
                let wire = self.accept(Port::Peer);
                let hello = Message::Hello(Box::new(introduction(link.0, link.1)));
                self.inbox.push(Input::Bytes(wire, encoded(0, &hello)));
                self.accepted.insert(link, wire);
                wire
            }
        };
        self.correlation += 1;
        self.inbox.push(Input::Bytes(wire, encoded(self.correlation, message)));
    }

    fn accept(&mut self, port: Port) -> Wire {
        let wire = Wire(self.next_wire);
        self.next_wire += 1;
        self.inbox.push(Input::Accepted { wire, port });
        wire
    }

    /// Answers one of the questions on a link, or one that was not asked.
    fn answer(&mut self, link: Link, which: u8, message: &Message) {
        let found = self.dialled.iter_mut().find(|(_, at)| (at.peer, at.shard) == link);
        let Some((wire, dialled)) = found else { return };
        let correlation = match usize::from(which) {
            255 => 1 << 61 | u64::from(which),
            which if dialled.outstanding.is_empty() => which as u64,
            which => dialled.outstanding.remove(which % dialled.outstanding.len()),
        };
        self.inbox.push(Input::Bytes(*wire, encoded(correlation, message)));
    }

    fn client(&mut self, bytes: &[u8]) {
        let wire = match self.client {
            Some(wire) => wire,
            None => self.accept(Port::Client),
        };
        self.client = Some(wire);
        self.inbox.push(Input::Bytes(wire, bytes.to_vec()));
    }

    /// A connection breaks.
    fn cut(&mut self, link: Link, which: u8) {
        let wire = match which % 3 {
            0 => self.accepted.remove(&link),
            1 => {
                let found = self.dialled.iter().find(|(_, at)| (at.peer, at.shard) == link);
                let wire = found.map(|(wire, _)| *wire);
                wire.inspect(|wire| drop(self.dialled.remove(wire)))
            }
            _ => self.client.take(),
        };
        self.inbox.extend(wire.map(Input::Closed));
    }

    fn play(&mut self, family: &Family, bytes: &[u8]) {
        let mut pieces = Pieces(bytes);
        for _ in 0..STEPS_MAX {
            if pieces.is_empty() || self.process.death().is_some() {
                break;
            }
            let (step, link) = (pieces.byte(), family.link(pieces.byte()));
            match step % 8 {
                0..=2 => {
                    if let Some(message) = family.message(&mut pieces) {
                        self.ask(link, &message);
                    }
                }
                3..=5 => {
                    let which = pieces.byte();
                    if let Some(message) = family.message(&mut pieces) {
                        self.answer(link, which, &message);
                    }
                }
                6 => self.client(pieces.bytes()),
                _ => match pieces.byte() {
                    which @ 0..16 => self.cut(link, which),
                    tens => self.run_for(u64::from(tens) * 10_000),
                },
            }
            self.turn();
        }
        if self.process.death().is_none() {
            self.run_for(2_000_000);
        }
    }
}

/// How a peer introduces itself.
fn introduction(peer: usize, shard: u16) -> Hello {
    let view = recording().view.clone();
    let name = format!("n{peer}");
    let member = view.members.iter().find(|member| member.name == name);
    let member = member.expect("invariant: three members").clone();
    Hello { cluster: CLUSTER.into(), member, shard, view, lineage: Vec::new() }
}

fn encoded(correlation: u64, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, recording().view.epoch, correlation, message);
    bytes
}

/// The kinds of messages of one machine, and where they are said.
struct Family {
    kinds: &'static [u8],
    control: bool,
}

impl Family {
    fn link(&self, byte: u8) -> Link {
        let peer = 1 + usize::from(byte) % (NODES - 1);
        let shard = u16::from(byte / 2) % SHARDS;
        (peer, if self.control { CONTROL } else { shard })
    }

    fn message(&self, pieces: &mut Pieces) -> Option<Message> {
        let kind = self.kinds[usize::from(pieces.byte()) % self.kinds.len()];
        Message::decode(kind, Bytes::copy_from_slice(pieces.bytes())).ok()
    }

    fn run(&self, bytes: &[u8]) {
        let Some((first, rest)) = bytes.split_first() else { return };
        let mut harness = Harness::start(recording().disk.duplicate())
            .expect("invariant: the recorded disk is sound");
        // With an even first byte the node has not caught up yet.
        harness.run_for(if first % 2 == 0 { 50_000 } else { 6_000_000 });
        harness.play(self, rest);
    }

    /// What the recorded node heard of these kinds, in pieces of a few steps.
    fn seeds(&self) -> Vec<Vec<u8>> {
        let concerns = |said: &&Said| {
            said.to == 0
                && (said.shard == CONTROL) == self.control
                && self.kinds.contains(&said.message.kind())
        };
        let said: Vec<&Said> = recording().said.iter().filter(concerns).collect();
        let mut kinds = BTreeMap::<u8, usize>::new();
        // Many messages are alike: those of a rare kind say more.
        let few = said.chunks(6).filter(|chunk| {
            chunk.iter().any(|said| {
                let seen = kinds.entry(said.message.kind()).or_default();
                *seen += 1;
                *seen <= 12
            })
        });
        few.map(|chunk| {
            let mut seed = vec![1];
            chunk.iter().for_each(|said| self.put(&mut seed, said));
            seed
        })
        .collect()
    }

    fn put(&self, out: &mut Vec<u8>, said: &Said) {
        let kind = said.message.kind();
        let place = self.kinds.iter().position(|found| *found == kind).unwrap_or_default() as u8;
        let shard = if self.control { 0 } else { said.shard as u8 };
        let link = (said.from as u8 - 1) + 2 * shard;
        // What the node asked, so that there is something to answer.
        if said.is_answer {
            out.extend([7, link, 40]);
            out.extend([3, link, 0, place]);
        } else {
            out.extend([0, link, place]);
        }
        let mut body = Vec::new();
        said.message.encode_body(&mut body);
        put_bytes(out, &body);
    }
}

macro_rules! families {
    ($($run:ident $seeds:ident $family:ident = $control:literal $kinds:expr;)*) => {$(
        const $family: Family = Family { kinds: $kinds, control: $control };

        pub(crate) fn $run(bytes: &[u8]) {
            $family.run(bytes);
        }

        pub(crate) fn $seeds() -> Vec<Vec<u8>> {
            $family.seeds()
        }
    )*};
}

families! {
    membership membership_seeds MEMBERSHIP = true &[1, 2, 3, 4, 5, 6, 9, 10];
    coordinator coordinator_seeds COORDINATOR =
        false &[16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 42, 48, 49, 50];
    sync sync_seeds SYNC =
        false &[32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 48, 49, 50, 24, 18, 19, 20];
    clocks clocks_seeds CLOCKS = false &[56, 57, 58, 59, 19, 20];
    handoff handoff_seeds HANDOFF = false &[18, 25, 19, 20, 7, 8];
    everything everything_seeds EVERYTHING = false &[
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 32, 33, 34, 35, 36, 37,
        38, 39, 40, 41, 42, 43, 48, 49, 50, 56, 57, 58, 59,
    ];
}

/// A client's bytes at a node of a cluster: every reply can be decoded, and nothing panics.
pub(crate) fn commands(bytes: &[u8]) {
    let Ok(mut harness) = Harness::start(SimulatedDisk::new()) else { return };
    harness.run_for(50_000);
    let mut pieces = Pieces(bytes);
    for _ in 0..64 {
        if pieces.is_empty() {
            break;
        }
        harness.client(pieces.bytes());
        harness.turn();
    }
    harness.run_for(100_000);
}

pub(crate) fn command_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for request in &recording().requests {
        let mut rest = BytesMut::from(&request[..]);
        let mut reader = quorate_proto::resp::CommandReader::new();
        let mut commands: Vec<Command> = Vec::new();
        while let Ok(Some(command)) = reader.next(&mut rest) {
            commands.push(command);
        }
        for few in commands.chunks(8) {
            let mut seed = Vec::new();
            few.iter().for_each(|command| put_bytes(&mut seed, command.frame()));
            seeds.push(seed);
        }
    }
    seeds.dedup();
    seeds.truncate(60);
    seeds
}
