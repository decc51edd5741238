//! What the local replica answers later, and what becomes of it then.

use alloc::vec::Vec;
use core::task::Poll;

use bytes::Bytes;
use quorate_proto::{Slot, message::Message, mutant::Mutant};

use super::{
    Coordinator, Executed, Output, Rejection, Replica, Snapshot, Stored, Ticket, gate::Merged,
    operation, stage::Phase,
};
use crate::{membership::LinkId, positions::Positions, time::Instant};

/// What an answer is for. An operation may be over by then, or have begun something else.
#[derive(Debug)]
pub(super) enum Awaited {
    Execution {
        slot: Slot,
        index: usize,
        serial: u32,
    },
    Reply {
        index: usize,
        serial: u32,
    },
    Snapshot {
        index: usize,
        serial: u32,
        purpose: Purpose,
    },
    /// The state that the replicas at these positions are sent as repair.
    Repair {
        slot: Slot,
        index: usize,
        serial: u32,
        to: Positions,
    },
    /// The state that a peer has asked for.
    State {
        slot: Slot,
        link: LinkId,
        correlation: u64,
    },
    Merge {
        slot: Slot,
        merged: Merged,
    },
}

/// What the state of this node is looked at for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// Others are asked whether theirs is the same.
    Compare,
    /// It has just been merged, and others may lack some of it.
    Repair,
}

impl Coordinator {
    /// The local replica answers what it was asked with this ticket.
    ///
    /// # Panics
    /// When it answers another question.
    pub fn handle_stored(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        ticket: Ticket,
        stored: Stored,
    ) {
        let awaited = self.awaited.remove(&ticket);
        let awaited = awaited.expect("invariant: a question is answered once");
        match (awaited, stored) {
            (Awaited::Execution { slot, index, serial }, Stored::Executed(executed)) => {
                self.end_change(slot);
                if self.is_current(index, serial) {
                    self.executed(now, replica, index, executed);
                } else {
                    self.hint_everybody(replica, slot, executed);
                }
                self.advance(now, replica, slot);
                self.answer_successors(slot);
            }
            (Awaited::Merge { slot, merged }, Stored::Merged(result)) => {
                self.end_change(slot);
                self.merged(now, replica, merged, result);
                self.advance(now, replica, slot);
            }
            (Awaited::Reply { index, serial }, Stored::Reply(reply)) => {
                if self.is_current(index, serial) {
                    self.operations[index].reply = reply;
                    self.read_settled(now, replica, index);
                }
            }
            (Awaited::Snapshot { index, serial, purpose }, Stored::Snapshot(mut snapshot)) => {
                if self.is_current(index, serial) {
                    if Mutant::DigestOfLater.is_planted() {
                        snapshot.digest = replica.digest(&self.operations[index].call);
                    }
                    self.snapshot_taken(now, replica, index, purpose, snapshot);
                }
            }
            (Awaited::Repair { slot, index, serial, to }, Stored::Exported(state)) => {
                for position in to.iter() {
                    self.send_late_state((slot, index, serial), position, &state);
                }
            }
            (Awaited::State { slot, link, correlation }, Stored::Exported(state)) => {
                let states = Message::States(state);
                self.respond_once_durable(replica, slot, link, correlation, states);
            }
            (asked, answered) => unreachable!("invariant: {answered:?} is no answer to {asked:?}"),
        }
        self.end_repairs(now, replica);
    }

    /// Names the next question to the replica. The ticket is used up if the answer comes later.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.next_ticket)
    }

    /// The answer to the last question comes later.
    pub(super) fn await_stored(&mut self, awaited: Awaited) {
        self.awaited.insert(self.ticket(), awaited);
        self.next_ticket += 1;
    }

    /// Whether an operation still does what it did when it had this serial.
    pub(super) fn is_current(&self, index: usize, serial: u32) -> bool {
        self.operations.get(index).is_some_and(|found| found.serial == serial)
    }

    /// Reads the local state for an operation, and goes on to answer.
    pub(super) fn read_local(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &mut self.operations[index];
        match replica.read(Ticket(self.next_ticket), &operation.call, operation.terms.resp3) {
            Poll::Ready(reply) => {
                operation.reply = reply;
                self.read_settled(now, replica, index);
            }
            Poll::Pending => {
                let serial = self.enter_reading(now, index);
                self.await_stored(Awaited::Reply { index, serial });
            }
        }
    }

    /// Looks at the local state for an operation: a read needs what it would answer, too.
    pub(super) fn take_snapshot(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        purpose: Purpose,
    ) {
        let operation = &self.operations[index];
        let snapshot = if operation.writes() {
            Poll::Ready(Snapshot { digest: replica.digest(&operation.call), reply: None })
        } else {
            replica.snapshot(self.ticket(), &operation.call, operation.terms.resp3)
        };
        match snapshot {
            Poll::Ready(snapshot) => self.snapshot_taken(now, replica, index, purpose, snapshot),
            Poll::Pending => {
                let serial = self.enter_reading(now, index);
                self.await_stored(Awaited::Snapshot { index, serial, purpose });
            }
        }
    }

    fn snapshot_taken(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        purpose: Purpose,
        Snapshot { digest, reply }: Snapshot,
    ) {
        self.operations[index].reply = reply;
        match purpose {
            Purpose::Compare => self.compare_digests(now, replica, index, digest),
            Purpose::Repair => self.repair(now, replica, index, digest),
        }
    }

    pub(super) fn enter_reading(&mut self, now: Instant, index: usize) -> u32 {
        self.enter(now, index, Phase::Reading);
        self.operations[index].serial
    }

    /// Nobody waits any more for a write that has been executed now: whoever else is to have its
    /// effect gets it as a hint.
    fn hint_everybody(
        &mut self,
        replica: &mut impl Replica,
        slot: Slot,
        executed: Result<Executed, Rejection>,
    ) {
        let Ok(Executed { effect, dot, .. }) = executed else { return };
        if effect.is_empty() || Mutant::LateEffectForgotten.is_planted() {
            return;
        }
        for node in self.topology.replicas(slot) {
            if !self.is_me(*node) {
                replica.hint(*node, slot, dot, &effect);
            }
        }
    }

    /// Sends a state to a replica that lacks some of it, also when nobody waits for that any more.
    fn send_late_state(
        &mut self,
        (slot, index, serial): (Slot, usize, u32),
        position: usize,
        state: &Bytes,
    ) {
        let effect = state.clone();
        let message = Message::Replicate { slot, dots: Vec::new(), outcome: None, effect };
        let operation = self.operations.get(index);
        if operation.is_some_and(|found| found.is_call(serial, position)) {
            return self.call(index, position, message);
        }
        if let Some(&to) = self.topology.replicas(slot).get(position)
            && self.peers[to].alive
            && !self.is_me(to)
        {
            let correlation = operation::join_correlation(index, serial, position);
            self.outputs.push_back(Output::Send { to, correlation, message });
        }
    }
}
