//! What members say of themselves spreads to all of them, and who is alive shows in it.
//!
//! **News** travel by scuttlebutt (van Renesse, Dumitriu, Gough and Thomas, 2008). What a node says
//! of itself are entries, each with a version; a version is higher than all that the node gave
//! before. Nodes exchange three messages:
//!
//! ```text
//!   a                                          b
//!   │  Open:   how much a knows of each node   │
//!   │ ───────────────────────────────────────▶ │
//!   │  Answer: what a lacks; how much b knows  │
//!   │ ◀─────────────────────────────────────── │
//!   │  Close:  what b lacks                    │
//!   │ ───────────────────────────────────────▶ │
//! ```
//!
//! in every round with a few members drawn at random, and at once when a node has something new to
//! say of itself. A message takes at most [`GOSSIP_PACKET_MAX`]; what does not fit is left for later,
//! and of whom most is lacking is served first.
//!
//! **No gaps.** A delta names the version after which it is complete, and is taken only by who knows
//! everything up to there. Entries are sent in the order of their versions. So a node that knows a
//! version knows all that is below, whatever was lost or cut off on the way.
//!
//! **Generations.** A start of a node is named by the wall clock at that moment; a later one replaces
//! all that an earlier one said. Clocks go backwards, and what comes over a network may be made up. So a node
//! that hears more of itself than it has said begins a generation above that one and says everything
//! again. What lies more than `GOSSIP_AHEAD_MAX` in the future is believed by nobody.
//!
//! **Liveness.** A node counts up its beats, and digests spread how far. Who is overdue by the rhythm in
//! which its beats arrived (see `arrivals`) is suspected, asked, and asked about at a few others (SWIM:
//! Das, Gupta and Motivala, 2002); if nobody can tell that it is alive it is down, until it is
//! heard of again. After [`GOSSIP_FORGOTTEN_AFTER`] what a dead node has said is forgotten, and that others
//! may still tell it does not bring it back: only a further beat or a later generation does.
//!
//! **Bounds.** Only members are known, and only members are listened to. So nothing that a stranger sends
//! changes anything, and memory is bounded by their number.
//!
//! Left to others: links and their authenticity, who is a member, the meaning of what is said.

mod arrivals;
mod exchange;
mod probing;
mod record;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use bytes::Bytes;
use quorate_proto::{
    NodeId,
    message::{Entry, Message, News},
};

use crate::{
    limits::{
        GOSSIP_FANOUT, GOSSIP_FORGOTTEN_AFTER, GOSSIP_INTERVAL, GOSSIP_PACKET_MAX,
        GOSSIP_PAUSE_MIN, GOSSIP_VALUE_MAX,
    },
    random::Random,
    time::{Instant, Wall},
};
use probing::Probes;
pub use record::Health;
use record::Record;

/// What the shell is to do, or to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the message to a member, if there is a link to it. It may get lost.
    Send {
        /// The member.
        to: NodeId,
        /// The message.
        message: Message,
    },
    /// A member that was down is alive.
    Up(NodeId),
    /// A member does not seem to be alive.
    Down(NodeId),
}

/// What one node knows by gossip.
#[derive(Debug)]
pub struct Gossip {
    me: NodeId,
    /// All members, this node among them.
    nodes: BTreeMap<NodeId, Record>,
    probes: Probes,
    /// When the last round was.
    round_before: Instant,
    round_at: Instant,
    random: Random,
    outputs: VecDeque<Output>,
    #[cfg(test)]
    planted: Option<Bug>,
}

/// Mistakes that tests plant, to prove that they would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// What an earlier start of a node has said replaces what a later one says.
    OldGenerations,
    /// Deltas are taken although something before them is lacking.
    Gaps,
    /// A node that is overdue is down without a question to anybody.
    NoQuestions,
    /// A node that was forgotten comes back with what others still tell.
    Ghosts,
}

impl Gossip {
    /// What the node `me` knows that starts now, with a seed for what it draws.
    pub fn new(me: NodeId, now: Instant, wall: Wall, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut own = Record::new(now);
        own.generation = wall.as_millis().max(1);
        Self {
            me,
            nodes: BTreeMap::from([(me, own)]),
            probes: Probes::default(),
            round_before: now,
            // Nodes that start together do not speak together for ever.
            round_at: now + random.jittered(GOSSIP_INTERVAL),
            random,
            outputs: VecDeque::new(),
            #[cfg(test)]
            planted: None,
        }
    }

    /// The node whose knowledge this is.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// These are the members.
    pub fn set_members(&mut self, now: Instant, members: impl IntoIterator<Item = NodeId>) {
        let mut before = core::mem::take(&mut self.nodes);
        for id in members.into_iter().chain([self.me]) {
            let record = before.remove(&id);
            self.nodes.entry(id).or_insert_with(|| record.unwrap_or_else(|| Record::new(now)));
        }
    }

    /// This node says something of itself: to everybody at once, or with the next round if it is in no
    /// hurry.
    pub fn say<T: News>(&mut self, news: &T, at_once: bool) {
        let value = news.encode();
        assert!(value.len() <= GOSSIP_VALUE_MAX, "invariant: names and addresses are short");
        let topic = T::TOPIC as u16;
        let own = self.own();
        if own.value(topic).is_some_and(|known| known.value == value) {
            return;
        }
        let version = own.version + 1;
        own.put(Entry { topic, version, value });
        if at_once {
            self.round_at = self.round_at.min(self.round_before + GOSSIP_PAUSE_MIN);
        }
    }

    /// What a member has said last of itself, as far as this node has heard.
    pub fn news<T: News>(&self, id: NodeId) -> Option<T> {
        T::decode(&self.value(id, T::TOPIC as u16)?)
    }

    fn value(&self, id: NodeId, topic: u16) -> Option<Bytes> {
        Some(self.nodes.get(&id)?.value(topic)?.value.clone())
    }

    /// The members with whether they are alive and when that showed last.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, Health, Instant)> {
        self.nodes.iter().map(|(&id, record)| (id, record.health, record.arrivals.last()))
    }

    /// Takes a message of another node. One of a node that is no member changes nothing.
    pub fn handle_message(&mut self, now: Instant, wall: Wall, from: NodeId, message: Message) {
        if from == self.me || !self.nodes.contains_key(&from) {
            return;
        }
        match message {
            Message::Gossip(_) if message.body_length() > GOSSIP_PACKET_MAX => {}
            Message::Gossip(gossip) => self.take_gossip(now, wall, from, &gossip),
            Message::Probe { target, number } => self.take_probe(now, from, target, number),
            Message::ProbeAnswer { number } => self.take_answer(now, from, number),
            _ => {}
        }
    }

    /// When [`Gossip::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.round_at
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.round_at > now {
            return;
        }
        (self.round_before, self.round_at) = (now, now + GOSSIP_INTERVAL);
        let own = self.own();
        own.beat += 1;
        own.arrivals.handle_return(now);
        self.judge(now);
        for to in self.partners() {
            self.open(to);
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn own(&mut self) -> &mut Record {
        self.nodes.get_mut(&self.me).expect("invariant: this node is a member")
    }

    /// Whom to speak to in this round: a few who seem to be alive, and one who does not, so that two
    /// halves of a cluster that have taken each other for dead find together again.
    fn partners(&mut self) -> Vec<NodeId> {
        let is_down = |record: &Record| matches!(record.health, Health::Down { .. });
        let others = self.nodes.iter().filter(|(id, _)| **id != self.me);
        let (down, up): (Vec<_>, Vec<_>) = others.partition(|(_, record)| is_down(record));
        let ids = |nodes: Vec<(&NodeId, &Record)>| nodes.into_iter().map(|(id, _)| *id).collect();
        let mut partners = draw(&mut self.random, ids(up), GOSSIP_FANOUT);
        partners.extend(draw(&mut self.random, ids(down), 1));
        partners
    }

    /// A member has shown that it is alive.
    fn is_alive(&mut self, now: Instant, id: NodeId, by_beat: bool) {
        let Some(record) = self.nodes.get_mut(&id) else { return };
        let was = core::mem::replace(&mut record.health, Health::Up);
        let is_rhythm = by_beat && was == Health::Up;
        if is_rhythm {
            record.arrivals.handle_arrival(now);
        } else {
            record.arrivals.handle_return(now);
        }
        record.is_forgotten &= !by_beat;
        if matches!(was, Health::Down { .. }) {
            self.outputs.push_back(Output::Up(id));
        }
    }

    /// Looks for who is overdue, for those nobody has vouched for, and for who is dead for long.
    fn judge(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for (&id, record) in self.nodes.iter_mut().filter(|(id, _)| **id != self.me) {
            match record.health {
                Health::Up if record.arrivals.overdue_at() <= now => overdue.push(id),
                Health::Suspected { until } if until <= now => {
                    record.health = Health::Down { since: now };
                    self.outputs.push_back(Output::Down(id));
                }
                Health::Down { since }
                    if now.since(since) >= GOSSIP_FORGOTTEN_AFTER && !record.is_forgotten =>
                {
                    record.forget();
                }
                _ => {}
            }
        }
        overdue.into_iter().for_each(|id| self.suspect(now, id));
        self.probes.forget_late(now);
    }

    /// Whether this mistake is planted.
    #[cfg(test)]
    fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests plant mistakes in it")]
    const fn has(&self, _: Bug) -> bool {
        false
    }
}

/// Some of the nodes, drawn at random.
fn draw(random: &mut Random, mut nodes: Vec<NodeId>, count: usize) -> Vec<NodeId> {
    let count = count.min(nodes.len());
    for at in 0..count {
        let rest = u32::try_from(nodes.len() - at).unwrap_or(u32::MAX);
        nodes.swap(at, at + random.below(rest) as usize);
    }
    nodes.truncate(count);
    nodes
}
