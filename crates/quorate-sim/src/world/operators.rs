//! Operators: they give orders about the members to nodes at random, sometimes two at once, start
//! nodes anew that have left, and give up those that are lost.
//!
//! What they are told is checked against the lists that nodes go by: whoever is told that a change was
//! decided is told of an epoch of its own, later than all that anybody went by when it was asked
//! for. With one list for each epoch, that makes the history linearizable.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use quorate_cluster::register::version;
use quorate_node::simulation::Wire;
use quorate_proto::{
    NodeId,
    resp::{Command, reply::Value},
};

use super::{Event, Violation, World};
use crate::{
    history::Time,
    machine::{self, State},
    network::{ConnectionId, Packet, Place},
};

/// Clients from this number on are operators.
pub(super) const FIRST_OPERATOR: usize = 1 << 22;

/// Pause between two looks at what is left to do once the schedule is over.
const CLOSING_PAUSE: Time = 2_000_000;

/// How many members there are at least: as many as replicas.
const MEMBERS_MIN: usize = 3;

/// An order that was given.
#[derive(Debug)]
struct Given {
    words: Vec<String>,
    connection: ConnectionId,
    /// The newest epoch when it was given.
    since: u64,
    input: BytesMut,
    is_over: bool,
}

/// What operators have done, and what they still do.
#[derive(Debug, Default)]
pub(super) struct Operators {
    left: u32,
    orders: Vec<Given>,
    connections: BTreeMap<ConnectionId, usize>,
    /// Epochs that somebody was told to have decided.
    decided: BTreeSet<u64>,
    /// Nodes that are lost for good, and still members.
    dead: Vec<usize>,
}

impl Operators {
    pub(super) fn new(orders: u32) -> Self {
        Self { left: orders, ..Self::default() }
    }

    /// Whether a node is not to be started.
    pub(super) fn has_given_up(&self, node: usize) -> bool {
        self.dead.contains(&node)
    }

    /// Whether somebody waits to hear about this.
    pub(super) fn has_opened(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }
}

impl World<'_> {
    /// An operator does something, and comes back later.
    pub(super) fn operate(&mut self) {
        let is_closing = self.now >= self.scenario.period || self.operators.left == 0;
        let pause = match is_closing {
            true => CLOSING_PAUSE,
            false => self.random.exponential(self.scenario.order_gap).max(1_000),
        };
        self.schedule(self.now + pause, Event::Operate);
        self.take_back();
        let up: Vec<usize> = self.members().into_iter().filter(|node| self.serves(*node)).collect();
        if up.is_empty() {
            return;
        }
        if is_closing || self.random.below(4) == 0 {
            self.tidy_up(&up);
        }
        if is_closing {
            return;
        }
        let count = 1 + usize::from(self.random.percent(30));
        for _ in 0..count {
            let at = up[self.random.below(up.len() as u64) as usize];
            if let Some(words) = self.draw_order() {
                self.operators.left = self.operators.left.saturating_sub(1);
                self.give(at, words);
            }
        }
    }

    fn serves(&self, node: usize) -> bool {
        let machine = &self.machines[node];
        machine.state == State::Running
            && machine.process.as_ref().is_some_and(|process| process.is_sealed())
    }

    /// A node that was given up, and is no member any more, is started: with an empty directory, or
    /// with the old one, which nobody has deleted.
    fn take_back(&mut self) {
        let is_member = |node: &usize| self.lists.has(&machine::name(*node));
        let gone: Vec<usize> =
            self.operators.dead.extract_if(.., |node| !is_member(node)).collect();
        for node in gone {
            if self.random.percent(50) {
                self.machines[node].wipe_all();
            }
            self.schedule(self.now + 1, Event::Start { node });
        }
    }

    /// What must not stay as it is.
    fn tidy_up(&mut self, up: &[usize]) {
        let at = up[self.random.below(up.len() as u64) as usize];
        let dead = self.operators.dead.clone();
        if self.scenario.overrules && dead.len() > 1 {
            self.give(at, vec!["OVERRIDE".into()]);
            let other = up[self.random.below(up.len() as u64) as usize];
            if other != at && self.random.percent(50) {
                self.give(other, vec!["OVERRIDE".into()]);
            }
        }
        for dead in dead {
            self.give(at, vec!["REMOVE-DEAD".into(), machine::name(dead)]);
        }
        let process = self.machines[at].process.as_ref();
        if process.is_some_and(|process| process.is_paused()) {
            self.give(at, vec!["RESUME".into()]);
        }
    }

    /// An order; `None` while it is better to wait.
    fn draw_order(&mut self) -> Option<Vec<String>> {
        let order = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let members = self.members();
        let waits =
            |node: &usize| !members.contains(node) && self.machines[*node].state == State::Running;
        let waiting: Vec<usize> = (0..self.machines.len()).filter(waits).collect();
        let witnesses: Vec<usize> =
            members.iter().copied().filter(|node| self.scenario.witnesses.contains(node)).collect();
        let has_witnesses = !self.scenario.witnesses.is_empty();
        let spare = if has_witnesses { !witnesses.is_empty() } else { members.len() > MEMBERS_MIN };
        // Data must be left when voters are lost, and who comes and goes has none where there are witnesses.
        let keeps_shares = has_witnesses || self.scenario.overrules;
        let mut any = |nodes: &[usize]| {
            let place = self.random.below(nodes.len() as u64) as usize;
            nodes.get(place).map(|node| machine::name(*node))
        };
        let member = any(if witnesses.is_empty() { &members } else { &witnesses })?;
        let candidate = any(&waiting);
        let choices = if self.lists.is_moving() { 48 } else { 15 };
        let choice = self.random.below(choices);
        match (choice, candidate) {
            (0, _) => order(&["PAUSE"]),
            (1, _) => order(&["RESUME"]),
            (2, _) => order(&["CANCEL"]),
            (3, _) => order(&["REBALANCE"]),
            (4 | 12, _) if keeps_shares => None,
            (4, _) => order(&["SET-RF", if self.random.percent(30) { "2" } else { "3" }]),
            (5..=8, Some(candidate)) => order(&["JOIN", &candidate]),
            // A witness takes the place of another one only.
            (9, Some(candidate)) if !has_witnesses || spare => {
                order(&["REPLACE", &member, "BY", &candidate])
            }
            (5..=10, _) if spare => order(&["LEAVE", &member]),
            (11, _) if self.scenario.overrules => {
                self.lose_majority(None);
                None
            }
            (11, _) if spare && self.operators.dead.is_empty() => {
                self.lose_for_good(&members);
                None
            }
            (12, _) => {
                // A witness only where there are more members than replicas.
                let weights: &[&str] = if spare { &["0", "50", "200"] } else { &["50", "200"] };
                let place = self.random.below(weights.len() as u64) as usize;
                order(&["WEIGHT", &member, weights[place]])
            }
            (13, _) => order(&["DRAIN", &member]),
            (14, _) => order(&["UNDRAIN", &member]),
            (5..=8, None) => order(&["PAUSE"]),
            (9..=11, _) => order(&["RESUME", "DRY"]),
            _ => None,
        }
    }

    /// A member is lost for good, with whatever it was about to do.
    fn lose_for_good(&mut self, members: &[usize]) {
        let node = members[self.random.below(members.len() as u64) as usize];
        if self.machines[node].process.is_none() || !self.scenario.gives_up {
            return;
        }
        self.give_up_on(node);
    }

    fn give_up_on(&mut self, node: usize) {
        self.observer.note(|| format!("{} is lost for good", machine::name(node)));
        if self.machines[node].process.is_some() {
            self.take_down(node, State::Killed);
        }
        self.down_by[node] = None;
        self.operators.dead.push(node);
    }

    /// So many voters are lost for good that they have no majority any more, `first` of all. Of few
    /// members enough are left to have all data. Returns whether it is so.
    pub(super) fn lose_majority(&mut self, first: Option<usize>) -> bool {
        let members = self.members();
        let process = |node: usize| self.machines[node].process.as_ref();
        let known =
            members.iter().filter(|node| self.serves(**node)).find_map(|node| process(*node));
        let is_time = self.operators.dead.is_empty() && members.len() == MEMBERS_MIN + 1;
        let Some(voters) = known.map(|process| process.voters()).filter(|_| is_time) else {
            return false;
        };
        let is_voter = |node: &usize| process(*node).is_some_and(|it| voters.contains(&it.id()));
        let mut found: Vec<usize> = members.into_iter().filter(is_voter).collect();
        found.sort_by_key(|node| Some(*node) != first);
        let needed = voters.len() / 2 + 1;
        if found.len() < needed || needed > 2 {
            return false;
        }
        found.truncate(needed);
        // A slot has fewer owners than replicas while a change makes good for those that were lost before.
        let ids: Vec<NodeId> =
            found.iter().filter_map(|node| process(*node)).map(|process| process.id()).collect();
        if !self.lists.holds_all_without(&ids) {
            return false;
        }
        for node in found {
            self.give_up_on(node);
        }
        true
    }

    fn give(&mut self, at: usize, words: Vec<String>) {
        let number = self.operators.orders.len();
        let place = Place::Client { client: FIRST_OPERATOR + number, at };
        let connection = self.network.open(self.now, place, Wire(0), Place::Node(at));
        self.observer.note(|| format!("ORDER {words:?} at {}", machine::name(at)));
        let named = words.iter().map(String::as_str);
        let all: Vec<&str> = ["QUORATE", "TOPOLOGY"].into_iter().chain(named).collect();
        let command = Command::from_args(all);
        self.network.send(self.now, connection, 0, Packet::Bytes(command.frame().to_vec()));
        let since = self.lists.epoch();
        let input = BytesMut::new();
        self.operators.connections.insert(connection, number);
        self.operators.orders.push(Given { words, connection, since, input, is_over: false });
    }

    /// Something arrives at an operator.
    pub(super) fn operator_hears(&mut self, number: usize, packet: Packet) {
        let Some(given) = self.operators.orders.get_mut(number) else { return };
        let reply = match packet {
            Packet::Bytes(bytes) if !given.is_over => {
                given.input.extend_from_slice(&bytes);
                match Value::decode(&given.input) {
                    Ok(None) => return,
                    Ok(Some((reply, _))) => Some(reply),
                    Err(error) => Some(Value::Error(format!("unreadable: {error}"))),
                }
            }
            Packet::Close => None,
            Packet::Open | Packet::Accepted | Packet::Bytes(_) => return,
        };
        let was_over = std::mem::replace(&mut given.is_over, true);
        let (connection, since) = (given.connection, given.since);
        let words = given.words.clone();
        self.operators.connections.remove(&connection);
        if reply.is_some() {
            self.network.close(self.now, connection, 0);
        }
        if !was_over && let Some(reply) = reply {
            self.judge_order(&words, since, &reply);
        }
    }

    /// Whether what an operator is told fits what was decided.
    fn judge_order(&mut self, words: &[String], since: u64, reply: &Value) {
        let told = |name: &str| number(reply, name);
        self.observer.note(|| format!("ORDER {words:?}: {}", reply.to_text()));
        let complaint = match (reply, told("changes"), told("epoch")) {
            (Value::Error(text), ..) if text.starts_with("ERR ") => None,
            (_, Some(changes), Some(epoch)) => {
                let is_trial = words.last().is_some_and(|word| word == "DRY");
                // What voters decide who are overruled is void.
                let is_void = version::reign(epoch) < version::reign(since);
                let is_late = epoch < since && !is_void || changes == 1 && epoch == since;
                let is_twice = changes == 1 && !is_trial && !self.operators.decided.insert(epoch);
                match (is_late, is_twice) {
                    (true, _) => Some(format!("epoch {epoch}, and {since} was decided before")),
                    (_, true) => Some(format!("epoch {epoch}, as another change")),
                    _ => None,
                }
            }
            _ => Some(format!("no reply to an order: {reply:?}")),
        };
        if let Some(text) = complaint {
            let text = format!("{words:?} was told {text}");
            self.violations.push(Violation::new("register", text));
        }
    }
}

/// A number of a reply that names what it holds.
fn number(reply: &Value, name: &str) -> Option<u64> {
    let is_it = |found: &Value| found.to_text() == name;
    let pairs: BTreeMap<String, &Value> = match reply {
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (key.to_text(), value)).collect(),
        Value::Array(items) => {
            let pairs = items.chunks_exact(2).filter(|pair| is_it(&pair[0]));
            pairs.map(|pair| (pair[0].to_text(), &pair[1])).collect()
        }
        _ => return None,
    };
    match pairs.get(name) {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}
