//! One operation in flight, and how responses find it.

use bytes::Bytes;
use quorate_proto::{Level, MemberNumber, Slot, command::Call};

use super::{
    Request, Requester, Terms,
    handover::HANDOVER_FLAG,
    stage::{Compared, Phase, Replication, Stage},
};
use crate::{
    limits::{OPERATIONS_MAX, REPEATED_AFTER, REPLICAS_MAX, on_its_way},
    positions::Positions,
    time::Instant,
    topology::{Requirement, Topology},
};

/// One request on its way. Replicas are positions in the slot's replica set, one bit each.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) serial: u32,
    /// No other operation of this node's start has the same.
    pub(super) number: u64,
    pub(super) requester: Requester,
    pub(super) call: Call,
    pub(super) terms: Terms,
    pub(super) stage: Stage,
    pub(super) requirement: Requirement,
    /// This node's position, when it is a replica.
    pub(super) own_position: usize,
    /// Asked and not answered.
    pub(super) asked: Positions,
    /// Ever asked in this phase, or not worth asking.
    pub(super) tried: Positions,
    /// Refused, or lost while they were asked: not asked again by this operation.
    pub(super) refused: Positions,
    /// Go by another epoch than this node, and are asked again.
    pub(super) stale: Positions,
    /// Answered as hoped.
    pub(super) answered: Positions,
    /// When it was forwarded last.
    pub(super) forwarded_at: Instant,
    /// When it began to ask what became of it.
    pub(super) since: Instant,
    /// When silent replicas are bypassed, while that can still help.
    pub(super) bypass_at: Option<Instant>,
    /// The reply, once it is known, until it is given. That of a read belongs to the state whose
    /// digest is compared: what the local state becomes meanwhile, too few may hold.
    pub(super) reply: Option<Bytes>,
    /// Whether writes on the same slot wait for this one.
    pub(super) holds_slot: bool,
    /// Whether another operation has read for it.
    pub(super) is_read_by_another: bool,
    /// Have refused to execute it before this node was asked to.
    pub(super) executors_refused: Positions,
}

impl Operation {
    /// When it may be given to another executor than that which it waits for, if it may be at all.
    pub(super) fn repeated_from(&self) -> Instant {
        self.forwarded_at + REPEATED_AFTER + on_its_way(self.call.command().frame().len())
    }

    pub(super) fn new(
        (number, serial): (u64, u32),
        requester: Requester,
        request: Request,
        phase: Phase,
        own_position: usize,
    ) -> Self {
        Self {
            serial,
            number,
            requester,
            call: request.call,
            terms: request.terms,
            stage: Stage::Settled.next(phase),
            requirement: Requirement::of(1, Positions::ALL),
            own_position,
            asked: Positions::NONE,
            tried: Positions::NONE,
            refused: Positions::NONE,
            stale: Positions::NONE,
            answered: Positions::NONE,
            forwarded_at: Instant::ZERO,
            since: Instant::ZERO,
            bypass_at: None,
            reply: None,
            holds_slot: false,
            is_read_by_another: false,
            executors_refused: Positions::NONE,
        }
    }

    /// What it waits for.
    pub(super) fn phase(&self) -> Phase {
        self.stage.phase()
    }

    /// Goes on to another phase; what only the one before needed is gone.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.stage = core::mem::replace(&mut self.stage, Stage::Settled).next(phase);
    }

    /// What is known of the replicas that are compared.
    ///
    /// # Panics
    /// When none are.
    pub(super) fn compared(&mut self) -> &mut Compared {
        match &mut self.stage {
            Stage::Comparing(_, compared) => compared,
            other => unreachable!("invariant: replicas are compared, and not in {other:?}"),
        }
    }

    /// Whether it compares elements of large keys, or repairs what has differed.
    pub(super) fn exchanges_elements(&self) -> bool {
        matches!(&self.stage, Stage::Comparing(_, compared) if compared.exchange.is_some())
    }

    /// The write that was executed here, if it was.
    pub(super) fn replication(&self) -> Option<&Replication> {
        match &self.stage {
            Stage::Replicating(replication) => Some(replication),
            _ => None,
        }
    }

    /// The slot that it is about.
    pub(super) fn slot(&self) -> Slot {
        self.call.slot()
    }

    /// Whether it may change something.
    pub(super) fn writes(&self) -> bool {
        self.call.class().writes()
    }

    /// The level that the operation answers at.
    pub(super) fn level(&self) -> Level {
        if self.writes() { self.terms.write_level } else { self.terms.read_level }
    }

    /// This node, when it is a replica.
    pub(super) fn own(&self) -> Positions {
        let is_replica = self.own_position < REPLICAS_MAX;
        if is_replica { Positions::of(self.own_position) } else { Positions::NONE }
    }

    /// Whether what this node holds counts in a read: it is a replica that has lost nothing.
    pub(super) fn counts_itself(&self) -> bool {
        !(self.answered & self.own()).is_empty()
    }

    /// Whether a response to the call of `position` is still wanted.
    pub(super) fn is_call(&self, serial: u32, position: usize) -> bool {
        self.serial == serial && self.asked.contains(position)
    }

    pub(super) fn waits_for(&self, topology: &Topology, peer: MemberNumber) -> bool {
        if let Phase::Forwarding(to) = self.phase() {
            return to == peer;
        }
        topology.position(self.slot(), peer).is_some_and(|position| self.asked.contains(position))
    }

    /// Whether the replica at `position` was sent the effect of this write and has not answered.
    pub(super) fn is_effect_asked(&self, position: usize) -> bool {
        self.phase() == Phase::Replicating && self.asked.contains(position)
    }

    /// When the operation wants attention although nothing happens.
    pub(super) fn due_at(&self) -> Instant {
        self.bypass_at.map_or(self.terms.deadline, |at| at.min(self.terms.deadline))
    }

    /// The request that the operation was made of.
    pub(super) fn into_request(self, id: u64) -> Request {
        Request { id, call: self.call, terms: self.terms }
    }
}

// A correlation id names the machine that sent the request (0 is this one), the operation, its
// serial (slab entries are reused) and the position of the replica asked:
//
//   63      60 59             32 31              6 5        0
//   | machine | operation index | serial          | position |
const POSITION_BITS: u32 = 6;
const SERIAL_BITS: u32 = 26;
pub(super) const SERIAL_MASK: u32 = (1 << SERIAL_BITS) - 1;
const _: () = assert!(REPLICAS_MAX <= 1 << POSITION_BITS);
const _: () = assert!(OPERATIONS_MAX < HANDOVER_FLAG && HANDOVER_FLAG < RELAY_FLAG);

/// In the place of an operation's index: what follows is that of an effect which is passed on.
pub(super) const RELAY_FLAG: usize = 1 << 27;

pub(super) fn join_correlation(index: usize, serial: u32, position: usize) -> u64 {
    (index as u64) << (SERIAL_BITS + POSITION_BITS)
        | u64::from(serial) << POSITION_BITS
        | position as u64
}

pub(super) fn split_correlation(correlation: u64) -> (usize, u32, usize) {
    let position = correlation as usize & ((1 << POSITION_BITS) - 1);
    let serial = (correlation >> POSITION_BITS) as u32 & SERIAL_MASK;
    let index = (correlation >> (SERIAL_BITS + POSITION_BITS)) as usize & ((1 << 28) - 1);
    (index, serial, position)
}
