//! Members that come and go while requests are under way.
//!
//! An operation counts its replicas by their places in the slot's replica set. When that set
//! becomes another one, what has no effect yet begins again among the replicas of now. An effect
//! goes to the replicas that do not have it, new ones too, and is acknowledged when as many of the
//! new set have it as the level asks; those that have taken it already count.

use alloc::{sync::Arc, vec::Vec};

use quorate_proto::{Slot, message::Cause};

use super::{Attempt, Coordinator, Gate, OnDurable, Peer, Replica, Requester, stage::Phase};
use crate::{limits::STALE_EPOCH_PAUSE, positions::Positions, time::Instant, topology::Topology};

impl Coordinator {
    /// Another topology: sealed now, with members at other addresses, or with others. Those that
    /// have left must be down ([`Coordinator::handle_peer_down`]); those that have come are.
    pub fn adopt(&mut self, now: Instant, replica: &mut impl Replica, topology: Arc<Topology>) {
        let before = core::mem::replace(&mut self.topology, topology);
        self.following.executors_changed(None);
        self.adopt_peers(&before);
        self.end_relays(None);
        self.note_handovers(now, &before);
        // Whoever has refused is asked again: the places are others.
        let held = self.gates.values_mut().flat_map(Gate::attempts_mut);
        held.for_each(|attempt| attempt.refused = Positions::NONE);
        let is_moved = |slot| !self.topology.has_same_owners(&before, slot);
        let operations = self.operations.iter();
        let moved: Vec<usize> = operations
            .filter(|(_, operation)| is_moved(operation.slot()))
            .map(|(index, _)| index)
            .collect();
        let gates = self.gates.keys().copied();
        let gated: Vec<Slot> = gates.filter(|slot| is_moved(*slot)).collect();
        for index in moved {
            self.move_operation(now, replica, index, &before);
        }
        for slot in gated {
            for attempt in self.take_held(slot, false) {
                self.redirect(now, replica, attempt);
            }
        }
        self.answer_all_successors();
    }

    fn adopt_peers(&mut self, before: &Topology) {
        let changes = self.topology.changes_since(before);
        let own = self.peers.remove(before.me()).unwrap_or_default();
        for left in changes.left {
            self.peers.remove(left);
        }
        for joined in changes.joined {
            self.peers.insert(joined, Peer::default());
        }
        self.peers.insert(self.topology.me(), own);
    }

    /// Goes on with an operation whose slot has other replicas now.
    fn move_operation(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        before: &Topology,
    ) {
        let slot = self.operations[index].slot();
        let places: Vec<Option<usize>> =
            before.replicas(slot).iter().map(|node| self.topology.position(slot, *node)).collect();
        let moved = |of: Positions| of.iter().filter_map(|place| *places.get(place)?).collect();
        let own_position = self.topology.position(slot, self.topology.me()).unwrap_or(usize::MAX);
        let operation = &mut self.operations[index];
        operation.own_position = own_position;
        operation.refused = moved(operation.refused);
        operation.executors_refused = moved(operation.executors_refused);
        match operation.phase() {
            Phase::Forwarding(_) => operation.tried = moved(operation.tried),
            Phase::Asking(executor) => self.outcome_unknown(now, replica, index, executor),
            Phase::Settled => {}
            Phase::Executing => {
                let level = operation.terms.write_level;
                operation.requirement =
                    self.topology.required_to_write(slot, level, self.topology.me());
            }
            Phase::Replicating => {
                operation.answered = moved(operation.answered);
                self.replicate_again(now, replica, index);
            }
            Phase::Reading
            | Phase::Digests
            | Phase::States
            | Phase::Elements
            | Phase::Repairing => {
                self.begin_anew(now, replica, index);
            }
        }
    }

    /// Sends the effect of a write to those that have not acknowledged it.
    fn replicate_again(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &self.operations[index];
        let (answered, former) = (operation.answered, operation.serial);
        let me = self.topology.me();
        let requirement =
            self.topology.required_to_write(operation.slot(), operation.terms.write_level, me);
        self.enter(now, index, Phase::Replicating);
        let operation = &mut self.operations[index];
        (operation.requirement, operation.answered) = (requirement, answered);
        operation.forget_crossings();
        let present = operation.serial;
        for (_, action) in &mut self.on_durable {
            if let OnDurable::OwnVote { index: of, serial } = action
                && (*of, *serial) == (index, former)
            {
                *serial = present;
            }
        }
        self.replicate(now, replica, index);
        self.count_votes(index);
    }

    /// Begins a read, or a write that still reads, from its beginning.
    fn begin_anew(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = self.operations.remove(index);
        let (requester, slot) = (operation.requester, operation.slot());
        let (holds_slot, refused) = (operation.holds_slot, operation.executors_refused);
        let request = operation.into_request(0);
        if !holds_slot {
            return self.start(now, replica, requester, request);
        }
        let waiting = self.take_held(slot, true);
        for attempt in [Attempt { requester, request, refused }].into_iter().chain(waiting) {
            self.redirect(now, replica, attempt);
        }
    }

    /// The replica at `position` goes by another epoch, and has done nothing. One of the two nodes
    /// is behind, and will soon hear of a newer member list.
    pub(super) fn epoch_refused(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
    ) {
        let operation = &mut self.operations[index];
        let stale = Positions::of(position);
        if operation.phase() == Phase::Replicating {
            // It is waited for as if it had not answered.
            operation.asked |= stale;
            self.relay_lost(replica, index, position);
            return self.ask_later(now, index, stale);
        }
        let usable = self.alive(self.operations[index].slot()) - stale;
        let operation = &self.operations[index];
        if operation.requirement.is_met_by(usable - operation.refused) {
            return self.lost_replica(now, replica, index, position);
        }
        let phase = operation.phase();
        self.enter(now, index, phase);
        self.ask_later(now, index, stale);
    }

    /// What an operation has asked of these is asked once more, after a pause.
    pub(super) fn ask_later(&mut self, now: Instant, index: usize, stale: Positions) {
        let operation = &mut self.operations[index];
        operation.stale |= stale;
        let at = now + STALE_EPOCH_PAUSE;
        operation.bypass_at = Some(operation.bypass_at.map_or(at, |other| other.min(at)));
        self.wake_by(at);
    }

    /// Asks what was refused for its epoch once more. Nothing was done, so it may be others who are
    /// asked.
    pub(super) fn ask_stale(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &mut self.operations[index];
        let stale = core::mem::take(&mut operation.stale) & operation.asked;
        match operation.phase() {
            Phase::Replicating => {
                self.replicate_directly(replica, index, stale);
                self.bypass_relays(replica, index);
            }
            Phase::Forwarding(_) => {
                let operation = self.operations.remove(index);
                let requester = operation.requester;
                self.start(now, replica, requester, operation.into_request(0));
            }
            _ => self.begin_anew(now, replica, index),
        }
    }

    /// Brings a write to its executor, which may be another node now.
    fn redirect(&mut self, now: Instant, replica: &mut impl Replica, attempt: Attempt) {
        let is_here = self.is_executor(&attempt);
        match attempt.requester {
            Requester::Peer { .. } if is_here => self.coordinate_write(now, replica, attempt),
            Requester::Peer { link, correlation, .. } => {
                let text = alloc::format!(
                    "the writes on slot {} are executed elsewhere now",
                    attempt.request.call.slot().number()
                );
                self.reject(link, correlation, Cause::StaleEpoch, text);
            }
            Requester::Session { .. } => self.start_write(now, replica, attempt),
        }
    }
}
