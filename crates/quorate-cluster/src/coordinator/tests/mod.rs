//! One test for each rule: what goes in, what must come out. Schedules are for the mini cluster.
//!
//! All of them run over stores that answer at once, and over such as answer some turns later.

mod delayed;
mod late;

use alloc::{collections::BTreeSet, string::ToString};
use core::time::Duration;
use std::string::String;

use quorate_proto::{
    Dot, Level, NodeId, Numbers, Unfit,
    command::Call,
    message::{Cause, Member, Scope, View},
    resp::Command,
};

use delayed::Delayed;

use super::*;
use crate::elements::{Elements, Limits};

/// The tests over a store that answers after as many turns.
macro_rules! over_a_store {
    ($name:ident, $turns:literal) => {
        #[path = "."]
        #[expect(clippy::duplicate_mod, reason = "the same tests over another store")]
        mod $name {
            use super::*;

            type Stage = super::Stage<$turns>;

            #[path = "crossing.rs"]
            mod crossing;
            #[path = "elements.rs"]
            mod elements;
            #[path = "failover.rs"]
            mod failover;
            #[path = "handover.rs"]
            mod handover;
            #[path = "members.rs"]
            mod members;
            #[path = "outcomes.rs"]
            mod outcomes;
            #[path = "reads.rs"]
            mod reads;
            #[path = "writes.rs"]
            mod writes;
        }
    };
}

over_a_store!(at_once, 0);
over_a_store!(a_turn_later, 1);
over_a_store!(three_turns_later, 3);

/// A replica whose whole state is a number; the greater number is the newer state. It may have
/// members besides; each is its own fingerprint.
#[derive(Default)]
struct Fake {
    version: u32,
    members: BTreeSet<u64>,
    limits: Option<Limits>,
    /// Members look like this to others.
    blurred: u64,
    executed: Vec<String>,
    hints: Vec<(u16, Bytes)>,
    /// Commands change nothing.
    idle: bool,
    /// Effects have names.
    named: bool,
    /// Changes are durable only from here on.
    durable_at: Option<u64>,
    /// What is read is durable only from here on.
    read_durable_at: Option<u64>,
    full: bool,
    /// What is read depends on the time, which is not known.
    timeless: bool,
}

impl Fake {
    fn written(&self) -> Durability {
        self.durable_at.map_or(Durability::Now, Durability::At)
    }

    fn state(&self) -> Bytes {
        encode(self.version, self.members.iter().copied())
    }
}

fn encode(version: u32, members: impl Iterator<Item = u64>) -> Bytes {
    members.fold(version.to_string(), |text, one| text + "," + &one.to_string()).into()
}

impl Elements for Fake {
    fn depends_on_all(&self, _slot: Slot, _key: &[u8]) -> bool {
        false
    }

    fn element_limits(&self) -> Limits {
        self.limits.unwrap_or(Limits::DEFAULT)
    }

    fn is_large(&self, _: Slot, _: &[u8]) -> bool {
        self.members.len() > 3
    }

    fn element_count(&self, _: Slot, _: &[u8]) -> usize {
        self.members.len()
    }

    fn key_digest(&self, _: Slot, _: &[u8], _: Scope) -> u128 {
        self.members.iter().fold(self.version.into(), |sum, one| sum + u128::from(*one))
    }

    fn for_each_digest(&self, _: Slot, _: &[u8], _: Scope, mut each: impl FnMut(u16, u64)) {
        self.members.iter().for_each(|one| each((one >> 48) as u16, *one));
    }

    fn for_each_fingerprint(
        &self,
        _: Slot,
        _: &[u8],
        wanted: impl Fn(u16) -> bool,
        each: impl FnMut(u64),
    ) {
        let all = self.members.iter().map(|one| one & !self.blurred);
        all.filter(|one| wanted((one >> 48) as u16)).for_each(each);
    }

    fn export_elements(
        &self,
        _: Slot,
        _: &[Bytes],
        fingerprints: &[u64],
        bytes_max: usize,
    ) -> (usize, Bytes) {
        let covered = fingerprints.len().min(bytes_max / 8);
        let wanted = &fingerprints[..covered];
        let found = self.members.iter().filter(|one| wanted.contains(&(**one & !self.blurred)));
        if wanted.is_empty() { (0, Bytes::new()) } else { (covered, encode(0, found.copied())) }
    }
}

impl Fake {
    fn with(members: &[u64]) -> Self {
        let members = common().chain(members.iter().copied()).collect();
        Self { version: 5, members, ..Self::default() }
    }

    /// What this replica responds to another one.
    fn respond(&mut self, slot: Slot, message: &Message) -> Message {
        match message {
            Message::AskDigest { .. } => {
                let digest = self.key_digest(slot, b"k", Scope::Alive);
                Message::KeysDigest { digest, large: self.is_large(slot, b"k") }
            }
            Message::AskStates { .. } => Message::States(self.state()),
            Message::Replicate { effect, .. } => {
                self.merge(effect).expect("is merged");
                Message::Ack
            }
            other => crate::elements::answer(self, other).expect("a question"),
        }
    }

    fn execute(&mut self, call: &Call) -> Result<Executed, Rejection> {
        if self.full {
            let (cause, text) = (Cause::StoreFull, "the disk is full".into());
            return Err(Rejection { cause, text });
        }
        let argument = call.command().args().next_back().unwrap_or_default();
        self.executed.push(String::from_utf8_lossy(argument).into());
        let mut effect = Bytes::new();
        if !self.idle {
            self.version += 1;
            effect = self.state();
        }
        let (reply, durability) = (self.state(), self.written());
        let dot = Dot { origin: Origin(1), counter: self.version.into() };
        let dot = Some(dot).filter(|_| self.named);
        Ok(Executed { reply, effect, dot, durability })
    }

    fn read(&self) -> Option<Bytes> {
        (!self.timeless).then(|| self.state())
    }

    fn digest(&self, call: &Call) -> u128 {
        self.key_digest(call.slot(), b"k", Scope::Alive)
    }

    fn snapshot(&self, call: &Call) -> Snapshot {
        Snapshot { digest: self.digest(call), reply: self.read() }
    }

    fn merge(&mut self, effect: &Bytes) -> Result<Durability, Rejection> {
        let mut numbers = core::str::from_utf8(effect).expect("text").split(',');
        let version = numbers.next().expect("a version").parse().expect("a number");
        self.version = self.version.max(version);
        self.members.extend(numbers.map(|one| one.parse::<u64>().expect("a number")));
        Ok(self.written())
    }
}

/// A member, by the first bits of its fingerprint and the rest.
fn member(name: u64, rest: u64) -> u64 {
    name << 48 | rest
}

/// Members that both sides have.
fn common() -> impl Iterator<Item = u64> {
    (1..=16).map(|number| member(number * 4_000, number))
}

/// A coordinator with all peers up and ready, and its world.
struct Stage<const TURNS: u32> {
    coordinator: Coordinator,
    replica: Delayed,
    now: Instant,
    slot: Slot,
    requests: u64,
}

const EPOCH: u64 = 4;
const LINK: LinkId = LinkId(9);
const ID: CallId = CallId { origin: Origin(6), number: 9 };

impl<const TURNS: u32> Stage<TURNS> {
    /// Node `me` of as many nodes as datacentres are given, named `a`, `b`, and so on, and a slot
    /// that prefers them in this order, if there is one.
    fn new(me: usize, datacentres: &[&str]) -> Self {
        let member = |index: usize| Member {
            id: NodeId(index as u128 + 10),
            name: char::from(b'a' + index as u8).to_string(),
            datacentre: datacentres[index].into(),
            rack: "r".into(),
            tokens: Vec::new(),
            peer_address: String::new(),
            client_address: String::new(),
            cluster_address: String::new(),
            incarnation: Default::default(),
            duties: Default::default(),
        };
        let members: Vec<Member> = (0..datacentres.len()).map(member).collect();
        let numbers = Numbers::of_first(members.iter().map(|member| member.id)).expect("numbers");
        let view = View {
            epoch: EPOCH,
            sealed: true,
            partitioner: Default::default(),
            replication_factor: 3.into(),
            members,
            numbers,
            ownership: None,
        };
        let seen_from =
            |node: usize| Topology::new(&view, NodeId(node as u128 + 10)).expect("valid");
        let topology = Arc::new(seen_from(me));
        let in_order = |slot: &Slot| topology.replicas(*slot).is_sorted();
        let slot = Slot::all().find(in_order).unwrap_or_default();
        let mut coordinator = Coordinator::new(Arc::clone(&topology));
        coordinator.handle_fitness(topology.me(), Fitness::FIT);
        for peer in topology.peers() {
            coordinator.handle_peer_up(peer, Fitness::FIT);
        }
        Self {
            coordinator,
            replica: Delayed::new(Fake { version: 5, ..Fake::default() }, TURNS),
            now: Instant::from_millis(1_000),
            slot,
            requests: 0,
        }
    }

    /// A node holds nothing from now on.
    fn make_witness(&mut self, node: usize) {
        let before = Arc::clone(&self.coordinator.topology);
        let mut view = before.view();
        view.members[node].duties.weight = 0;
        view.epoch += 1;
        let topology = Topology::new(&view, before.member(before.me()).id).expect("valid");
        self.coordinator.adopt(self.now, &mut self.replica, Arc::new(topology));
    }

    fn three(me: usize) -> Self {
        Self::new(me, &["x", "x", "x"])
    }

    fn request(&mut self, words: &[&str], level: Level) -> u64 {
        let request = self.make_request(words, level);
        self.coordinator.handle_request(self.now, &mut self.replica, request);
        self.settle();
        self.requests
    }

    fn make_request(&mut self, words: &[&str], level: Level) -> Request {
        self.requests += 1;
        let terms = Terms {
            read_level: level,
            write_level: level,
            resp3: false,
            deadline: self.now + Duration::from_millis(1_000),
        };
        let call = Call::piece(self.slot, Command::from_args(words));
        Request { id: self.requests, call, terms }
    }

    fn set(&mut self, level: Level) -> u64 {
        self.request(&["SET", "k", "v"], level)
    }

    fn increment(&mut self, name: &str) -> u64 {
        self.request(&["APPEND", "k", name], Level::Quorum)
    }

    fn get(&mut self, level: Level) -> u64 {
        self.request(&["GET", "k"], level)
    }

    fn respond(&mut self, correlation: u64, message: Message) {
        let (now, replica) = (self.now, &mut self.replica);
        self.coordinator.handle_response(now, replica, correlation, message);
        self.settle();
    }

    fn peer_asks(&mut self, epoch: u64, message: Message) {
        let (now, replica) = (self.now, &mut self.replica);
        self.coordinator.handle_message(now, replica, LINK, epoch, 77, message);
        self.settle();
    }

    /// This node, or a peer, is fit but for this, or is without it again.
    fn unfit(&mut self, node: u16, unfit: Unfit, is_so: bool) {
        let node = MemberNumber(node);
        let fitness = self.coordinator.peers[node].fitness.with(unfit, is_so);
        self.coordinator.handle_fitness(node, fitness);
    }

    fn down(&mut self, peer: u16) {
        self.coordinator.handle_peer_down(self.now, &mut self.replica, MemberNumber(peer));
        self.settle();
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.coordinator.handle_timeout(self.now, &mut self.replica);
        self.settle();
    }

    /// Gives the store the turns that it takes to answer all that it was asked.
    fn settle(&mut self) {
        while self.replica.is_asked() {
            self.turn();
        }
    }

    fn turn(&mut self) {
        for (ticket, stored) in self.replica.turn() {
            self.coordinator.handle_stored(self.now, &mut self.replica, ticket, stored);
        }
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
    Message::KeysDigest { digest: version, large: false }
}

fn state(version: &'static str) -> Message {
    Message::States(version.into())
}

fn targets(sent: &[(u16, u64, Message)]) -> Vec<u16> {
    sent.iter().map(|(to, ..)| *to).collect()
}
