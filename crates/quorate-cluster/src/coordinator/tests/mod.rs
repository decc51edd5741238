//! One test for each rule: what goes in, what must come out. Schedules are for the mini cluster.

mod reads;
mod writes;

use alloc::string::ToString;
use core::time::Duration;
use std::string::String;

use quorate_proto::{
    NodeId,
    message::{Member, View},
};

use super::*;

/// A replica whose whole state is a number; the greater number is the newer state.
#[derive(Default)]
struct Fake {
    version: u32,
    executed: Vec<String>,
    hints: Vec<(u16, Bytes)>,
    /// Commands change nothing.
    idle: bool,
    /// Changes are durable only from here on.
    durable_at: Option<u64>,
    /// What is read is durable only from here on.
    read_durable_at: Option<u64>,
    full: bool,
}

impl Fake {
    fn written(&self) -> Durability {
        self.durable_at.map_or(Durability::Now, Durability::At)
    }

    fn state(&self) -> Bytes {
        self.version.to_string().into()
    }
}

impl Replica for Fake {
    fn execute(&mut self, _: Slot, command: &Command, _: bool) -> Result<Executed, Rejection> {
        if self.full {
            let (cause, text) = (Cause::StoreFull, "the disk is full".into());
            return Err(Rejection { cause, text });
        }
        let argument = command.args().next_back().unwrap_or_default();
        self.executed.push(String::from_utf8_lossy(argument).into());
        let mut effect = Bytes::new();
        if !self.idle {
            self.version += 1;
            effect = self.state();
        }
        let (reply, durability) = (self.state(), self.written());
        Ok(Executed { reply, effect, dot: None, durability })
    }

    fn read(&mut self, _: Slot, _: &Command, _: bool) -> Bytes {
        self.state()
    }

    fn digest(&mut self, _: Slot, _: &Command) -> u128 {
        self.version.into()
    }

    fn export(&mut self, _: Slot, _: &Command) -> Bytes {
        self.state()
    }

    fn merge(&mut self, _: Slot, _: Vec<Dot>, effect: &Bytes) -> Result<Durability, Rejection> {
        let text = core::str::from_utf8(effect).expect("text");
        self.version = self.version.max(text.parse().expect("a number"));
        Ok(self.written())
    }

    fn durability(&self, _: Slot) -> Durability {
        self.read_durable_at.map_or(Durability::Now, Durability::At)
    }

    fn hint(&mut self, target: NodeIndex, _: Slot, _: Option<Dot>, effect: &Bytes) {
        self.hints.push((target.0, effect.clone()));
    }
}

/// A coordinator with all peers up and ready, and its world.
struct Stage {
    coordinator: Coordinator,
    replica: Fake,
    now: Instant,
    slot: Slot,
    requests: u64,
}

const EPOCH: u64 = 4;
const LINK: LinkId = LinkId(9);

impl Stage {
    /// Node `me` of as many nodes as datacentres are given, named `a`, `b`, and so on, and a slot
    /// that prefers them in this order, if there is one.
    fn new(me: usize, datacentres: &[&str]) -> Self {
        let member = |index: usize| Member {
            id: NodeId(index as u128),
            name: char::from(b'a' + index as u8).to_string(),
            datacentre: datacentres[index].into(),
            rack: "r".into(),
            peer_address: String::new(),
            client_address: String::new(),
        };
        let view = View {
            epoch: EPOCH,
            sealed: true,
            replication_factor: 3,
            members: (0..datacentres.len()).map(member).collect(),
        };
        let seen_from = |node: usize| Topology::new(&view, NodeId(node as u128)).expect("valid");
        let topology = Arc::new(seen_from(me));
        let in_order = |slot: &Slot| topology.replicas(*slot).is_sorted();
        let slot = Slot::all().find(in_order).unwrap_or_default();
        let mut coordinator = Coordinator::new(Arc::clone(&topology));
        coordinator.handle_ready(true);
        for peer in topology.peers() {
            coordinator.handle_peer_up(peer, true);
        }
        Self {
            coordinator,
            replica: Fake { version: 5, ..Fake::default() },
            now: Instant::from_millis(1_000),
            slot,
            requests: 0,
        }
    }

    fn three(me: usize) -> Self {
        Self::new(me, &["x", "x", "x"])
    }

    fn request(&mut self, words: &[&str], class: Class, level: Level) -> u64 {
        self.requests += 1;
        let request = Request {
            id: self.requests,
            slot: self.slot,
            class,
            read_level: level,
            write_level: level,
            resp3: false,
            command: Command::from_args(words),
            deadline: self.now + Duration::from_millis(1_000),
        };
        self.coordinator.handle_request(self.now, &mut self.replica, request);
        self.requests
    }

    fn set(&mut self, level: Level) -> u64 {
        self.request(&["SET", "k", "v"], Class::Write, level)
    }

    fn increment(&mut self, name: &str) -> u64 {
        self.request(&["APPEND", "k", name], Class::ReadModifyWrite, Level::Quorum)
    }

    fn get(&mut self, level: Level) -> u64 {
        self.request(&["GET", "k"], Class::Read, level)
    }

    fn respond(&mut self, correlation: u64, message: Message) {
        let (now, replica) = (self.now, &mut self.replica);
        self.coordinator.handle_response(now, replica, correlation, message);
    }

    fn peer_asks(&mut self, epoch: u64, message: Message) {
        let (now, replica) = (self.now, &mut self.replica);
        self.coordinator.handle_message(now, replica, LINK, epoch, 77, message);
    }

    fn down(&mut self, peer: u16) {
        self.coordinator.handle_peer_down(self.now, &mut self.replica, NodeIndex(peer));
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.coordinator.handle_timeout(self.now, &mut self.replica);
    }

    /// What is sent to peers now: to whom, with which correlation id.
    fn sent(&mut self) -> Vec<(u16, u64, Message)> {
        let mut sent = Vec::new();
        while let Some(output) = self.coordinator.poll_output() {
            match output {
                Output::Send { to, correlation, message } => {
                    sent.push((to.0, correlation, message));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        sent
    }

    fn reply(&mut self) -> (u64, String) {
        match self.coordinator.poll_output() {
            Some(Output::Reply { request, reply }) => {
                (request, core::str::from_utf8(&reply).expect("text").trim_end().into())
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn response(&mut self) -> Message {
        match self.coordinator.poll_output() {
            Some(Output::Respond { link: LINK, correlation: 77, message }) => message,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn finished(&mut self) {
        assert_eq!(self.coordinator.poll_output(), None);
        assert_eq!(self.coordinator.in_flight(), 0);
    }
}

fn rejected(cause: Cause) -> Message {
    Message::Rejected { cause, text: "no".into() }
}

fn digest(version: u128) -> Message {
    Message::KeysDigest(version)
}

fn state(version: &'static str) -> Message {
    Message::States(version.into())
}

fn targets(sent: &[(u16, u64, Message)]) -> Vec<u16> {
    sent.iter().map(|(to, ..)| *to).collect()
}
