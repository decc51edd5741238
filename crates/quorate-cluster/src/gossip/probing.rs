//! Whoever is overdue is asked, and asked about at others, before it is taken for dead.

use alloc::collections::BTreeMap;

use quorate_proto::{NodeId, message::Message};

use super::{Bug, Gossip, Health, Output, draw};
use crate::{
    limits::{GOSSIP_HELPERS, GOSSIP_PROBE_PATIENCE, GOSSIP_RELAYS_MAX},
    time::Instant,
};

/// Questions that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Those of this node, by their numbers: about whom, and how long an answer counts.
    own: BTreeMap<u64, (NodeId, Instant)>,
    /// Those that this node has passed on, by the numbers that it gave them.
    relayed: BTreeMap<u64, Relayed>,
}

/// A question of another node.
#[derive(Debug)]
struct Relayed {
    asker: NodeId,
    /// Its number at the asker.
    number: u64,
    target: NodeId,
    until: Instant,
}

impl Probes {
    pub(super) fn forget_late(&mut self, now: Instant) {
        self.own.retain(|_, (_, until)| *until > now);
        self.relayed.retain(|_, relayed| relayed.until > now);
    }
}

impl Gossip {
    /// A member is overdue.
    pub(super) fn suspect(&mut self, now: Instant, id: NodeId) {
        let asks = !self.has(Bug::NoQuestions);
        let until = if asks { now + GOSSIP_PROBE_PATIENCE } else { now };
        let Some(record) = self.nodes.get_mut(&id) else { return };
        record.health = Health::Suspected { until };
        if !asks {
            return;
        }
        let is_up = |other: NodeId| other != self.me && other != id;
        let up = self.nodes.iter().filter(|(_, record)| record.health == Health::Up);
        let up = up.map(|(&other, _)| other).filter(|&other| is_up(other)).collect();
        let helpers = draw(&mut self.random, up, GOSSIP_HELPERS);
        // Nobody else can guess it, so only who was asked can answer.
        let number = self.random.next_u64();
        self.probes.own.insert(number, (id, until));
        for to in helpers.into_iter().chain([id]) {
            self.say_to(to, Message::Probe { target: id, number });
        }
    }

    pub(super) fn take_probe(&mut self, now: Instant, from: NodeId, target: NodeId, number: u64) {
        if target == self.me {
            return self.say_to(from, Message::ProbeAnswer { number });
        }
        let is_full = self.probes.relayed.len() >= GOSSIP_RELAYS_MAX;
        if is_full || !self.nodes.contains_key(&target) {
            return;
        }
        let own_number = self.random.next_u64();
        let until = now + GOSSIP_PROBE_PATIENCE;
        let relayed = Relayed { asker: from, number, target, until };
        self.probes.relayed.insert(own_number, relayed);
        self.say_to(target, Message::Probe { target, number: own_number });
    }

    pub(super) fn take_answer(&mut self, now: Instant, from: NodeId, number: u64) {
        if let Some((id, _)) = self.probes.own.remove(&number) {
            return self.is_alive(now, id, false);
        }
        if let Some(relayed) = self.probes.relayed.get(&number)
            && relayed.target == from
        {
            let (to, number) = (relayed.asker, relayed.number);
            self.say_to(to, Message::ProbeAnswer { number });
        }
    }

    fn say_to(&mut self, to: NodeId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }
}
