//! Effects that another datacentre's executor sends through this replica to others beside it.
//!
//! What is kept of one is who has not answered yet, for a moment: the executor goes on by itself
//! whatever becomes of it here.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use quorate_proto::{
    Dot, MemberNumber, Outcome, Slot,
    message::{Cause, Message},
};

use super::{
    Coordinator, Durability, OnDurable, Output, Rejection, Replica,
    gate::{Merge, Merged},
    operation::{self, RELAY_FLAG},
};
use crate::{limits::RELAY_PATIENCE, membership::LinkId, time::Instant};

/// An effect that was passed on.
#[derive(Debug)]
pub(super) struct Relaying {
    serial: u32,
    slot: Slot,
    /// Where it came from, and by what it is known there.
    link: LinkId,
    correlation: u64,
    /// Who has not answered, this node too.
    waiting: Vec<MemberNumber>,
    /// Who has taken it, and was not named yet.
    took: Vec<MemberNumber>,
    /// Whether each is to be named at once.
    at_once: bool,
    /// When the rest is left to whoever has sent it.
    until: Instant,
}

/// An effect to pass on, as it came.
pub(super) struct Relayed {
    pub(super) slot: Slot,
    pub(super) to: Vec<MemberNumber>,
    pub(super) at_once: bool,
    pub(super) dots: Vec<Dot>,
    pub(super) outcome: Option<Box<Outcome>>,
    pub(super) effect: Bytes,
}

impl Coordinator {
    /// Sends an effect on to the replicas beside this one, and merges it.
    pub(super) fn relay(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        (link, correlation): (LinkId, u64),
        relayed: Relayed,
    ) {
        if self.is_full() {
            let text = "too many requests are in flight here".into();
            return self.reject(link, correlation, Cause::Overloaded, text);
        }
        let Relayed { slot, to, at_once, dots, outcome, effect } = relayed;
        let me = self.topology.me();
        let is_reached = |node: &MemberNumber| {
            *node != me && self.topology.is_replica(slot, *node) && self.peers[*node].alive
        };
        let mut to: Vec<MemberNumber> = to.into_iter().filter(is_reached).collect();
        to.sort_unstable();
        to.dedup();
        let serial = self.new_serial();
        let until = now + RELAY_PATIENCE;
        let waiting = to.iter().copied().chain([me]).collect();
        let took = Vec::new();
        let key = self.relays.insert(Relaying {
            serial,
            slot,
            link,
            correlation,
            waiting,
            took,
            at_once,
            until,
        });
        self.wake_by(until);
        for node in to {
            let position = self.topology.position(slot, node).expect("invariant: it is a replica");
            let (dots, outcome, effect) = (dots.clone(), outcome.clone(), effect.clone());
            let message = Message::Replicate { slot, dots, outcome, effect };
            let correlation = operation::join_correlation(key | RELAY_FLAG, serial, position);
            self.outputs.push_back(Output::Send { to: node, correlation, message });
        }
        let merged = Merged::Relayed { relay: key, serial, outcome };
        self.merge(now, replica, Merge { slot, dots, effect, merged });
    }

    /// The replica at `position`, beside this one, has answered.
    pub(super) fn relay_answered(
        &mut self,
        (relay, serial): (usize, u32),
        position: usize,
        message: &Message,
    ) {
        let Some(found) = self.relays.get(relay) else { return };
        let Some(&node) = self.topology.replicas(found.slot).get(position) else { return };
        self.settle_relay((relay, serial), node, matches!(message, Message::Ack));
    }

    /// This node has merged an effect that it passes on, or refused to.
    pub(super) fn relay_merged(
        &mut self,
        (relay, serial): (usize, u32),
        merged: Result<Durability, Rejection>,
    ) {
        let me = self.topology.me();
        match merged {
            Ok(Durability::Now) => self.settle_relay((relay, serial), me, true),
            Ok(Durability::At(sequence)) => {
                self.once_durable(sequence, OnDurable::Relayed { relay, serial });
            }
            Ok(Durability::Never) | Err(_) => self.settle_relay((relay, serial), me, false),
        }
    }

    /// What was merged here is durable, or `node` has answered, or will not.
    pub(super) fn settle_relay(
        &mut self,
        (relay, serial): (usize, u32),
        node: MemberNumber,
        has_taken: bool,
    ) {
        let found = self.relays.get_mut(relay).filter(|found| found.serial == serial);
        let Some(found) = found.filter(|found| found.waiting.contains(&node)) else { return };
        found.waiting.retain(|waiting| *waiting != node);
        if has_taken {
            found.took.push(node);
        }
        let is_last = found.waiting.is_empty();
        if is_last || (found.at_once && has_taken) {
            self.tell_relayed(relay, is_last);
        }
    }

    /// Names those that have taken an effect; with `is_last` the rest is left to its sender.
    fn tell_relayed(&mut self, relay: usize, is_last: bool) {
        let found = &mut self.relays[relay];
        let (link, correlation) = (found.link, found.correlation);
        let took = core::mem::take(&mut found.took);
        if is_last {
            self.relays.remove(relay);
        }
        self.respond(link, correlation, Message::Relayed { took, is_last });
    }

    /// A replica beside this one is down.
    pub(super) fn relays_without(&mut self, peer: MemberNumber) {
        let waiting = self.relays.iter().filter(|(_, found)| found.waiting.contains(&peer));
        let keys: Vec<(usize, u32)> = waiting.map(|(key, found)| (key, found.serial)).collect();
        for key in keys {
            self.settle_relay(key, peer, false);
        }
    }

    /// Leaves to their senders what has waited until `now`, or all of it.
    pub(super) fn end_relays(&mut self, now: Option<Instant>) {
        let is_over = |found: &Relaying| now.is_none_or(|now| found.until <= now);
        let over = self.relays.iter().filter(|(_, found)| is_over(found));
        let keys: Vec<usize> = over.map(|(key, _)| key).collect();
        for key in keys {
            self.tell_relayed(key, true);
        }
    }

    /// When the next of them is over.
    pub(super) fn next_relay_end(&self) -> Option<Instant> {
        self.relays.iter().map(|(_, found)| found.until).min()
    }
}
