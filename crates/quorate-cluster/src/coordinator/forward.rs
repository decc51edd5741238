//! Requests that another node coordinates.
//!
//! A read may go to one replica after the other until somebody answers. A write goes to one
//! executor: once it is on a link, nobody but that executor, and those whom it has told, knows
//! whether it took effect.

use alloc::vec::Vec;

use quorate_proto::{
    MemberNumber, Unfit,
    message::{Cause, Forward, Message},
    mutant::Mutant,
};

use super::{Attempt, Coordinator, Output, Rejection, Replica, errors, operation, stage::Phase};
use crate::{
    limits::{HEDGE_FACTOR, HEDGED_WITHIN, RETRY_AFTER},
    positions::Positions,
    time::Instant,
};

/// Forwards are not calls to a position in the replica set; they have one of their own.
const FORWARD_POSITION: usize = 0;

impl Coordinator {
    /// Hands a request to `to`, which is a replica of its slot.
    pub(super) fn forward(&mut self, now: Instant, attempt: Attempt, to: MemberNumber) {
        let Attempt { requester, request, refused } = attempt;
        let index = self.insert(requester, request, Phase::Forwarding(to));
        self.operations[index].tried = refused;
        self.send_forward(now, index, to);
    }

    fn send_forward(&mut self, now: Instant, index: usize, to: MemberNumber) {
        let position = self.topology.position(self.operations[index].slot(), to);
        let id = self.call_id(&self.operations[index]);
        let operation = &mut self.operations[index];
        operation.enter(Phase::Forwarding(to));
        operation.forwarded_at = now;
        operation.bypass_at = None;
        operation.asked = Positions::of(FORWARD_POSITION);
        operation.tried |= position.into_iter().collect();
        let left = operation.terms.deadline.since(now);
        let message = Message::Forward(Forward {
            slot: operation.slot(),
            read_level: operation.terms.read_level,
            write_level: operation.terms.write_level,
            resp3: operation.terms.resp3,
            budget_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            id,
            command: operation.call.command().frame().clone(),
        });
        let correlation = operation::join_correlation(index, operation.serial, FORWARD_POSITION);
        if !operation.writes() {
            let usual = self.peers[to].usual.limit() * HEDGE_FACTOR;
            let bypass_at = now + usual.max(RETRY_AFTER).min(HEDGED_WITHIN);
            operation.bypass_at = Some(bypass_at);
            self.wake_by(bypass_at);
        }
        self.outputs.push_back(Output::Send { to, correlation, message });
    }

    /// `to` has answered what was forwarded to it.
    pub(super) fn note_took(&mut self, now: Instant, index: usize, to: MemberNumber) {
        let operation = &self.operations[index];
        if !operation.writes()
            && let Some(peer) = self.peers.get_mut(to)
        {
            peer.usual.note(now.since(operation.forwarded_at));
        }
    }

    /// Forgets what is to be sent to a peer that is down. What was forwarded to it and is still
    /// here cannot have taken effect, so it starts over with the next executor.
    pub(super) fn recall_unsent(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        peer: MemberNumber,
    ) {
        let mut unsent = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Send { to, correlation, message } if *to == peer => {
                if let Message::Forward(_) = message {
                    unsent.push(*correlation);
                }
                false
            }
            _ => true,
        });
        for correlation in unsent {
            let (index, serial, position) = operation::split_correlation(correlation);
            let waits = self.operations.get(index).is_some_and(|found| {
                found.phase() == Phase::Forwarding(peer) && found.is_call(serial, position)
            });
            if waits {
                let operation = self.operations.remove(index);
                let requester = operation.requester;
                self.start(now, replica, requester, operation.into_request(0));
            }
        }
    }

    /// The node that was to answer is down.
    pub(super) fn forward_lost(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        to: MemberNumber,
    ) {
        let operation = &self.operations[index];
        if !operation.stale.is_empty() {
            return self.ask_stale(now, replica, index);
        }
        if operation.writes() && Mutant::CallRepeated.is_planted() {
            let operation = self.operations.remove(index);
            let requester = operation.requester;
            return self.start(now, replica, requester, operation.into_request(0));
        }
        if operation.writes() {
            return self.ask_outcome(now, replica, index, to);
        }
        self.read_elsewhere(now, replica, index, None);
    }

    /// Asks another replica for a read that the last one did not answer, or refused.
    fn read_elsewhere(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        cause: Option<Cause>,
    ) {
        let operation = &self.operations[index];
        let next = self.reader(operation.slot(), operation.terms.read_level, operation.tried);
        match next {
            Some(next) => self.send_forward(now, index, next),
            // A replica has passed the read on because it is behind, or does not know the time: it
            // is all there is.
            None if !operation.own().is_empty() => {
                let operation = self.operations.remove(index);
                let requester = operation.requester;
                self.read_here(now, replica, requester, operation.into_request(0));
            }
            None if cause == Some(Cause::ClockInDoubt) => {
                let error = errors::unavailable(errors::unfit_to_read(Unfit::ClockInDoubt));
                self.finish(now, replica, index, error);
            }
            None => {
                let text = "no replica of the key's slot answered";
                self.finish(now, replica, index, errors::unavailable(text));
            }
        }
    }

    /// The node that was to answer a read is slow: another one is asked, and the first answer
    /// counts.
    pub(super) fn forward_bypassed(&mut self, now: Instant, index: usize) {
        let operation = &self.operations[index];
        let next = self.reader(operation.slot(), operation.terms.read_level, operation.tried);
        if let (Phase::Forwarding(slow), Some(next)) = (operation.phase(), next) {
            // It has taken at least so long.
            self.note_took(now, index, slow);
            self.send_forward(now, index, next);
        }
    }

    /// The node that was to answer has refused: nothing was done.
    pub(super) fn forward_rejected(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        to: MemberNumber,
        cause: Cause,
        text: &str,
    ) {
        if cause == Cause::StaleEpoch {
            return self.ask_later(now, index, Positions::of(FORWARD_POSITION));
        }
        if !self.operations[index].writes() {
            return self.read_elsewhere(now, replica, index, Some(cause));
        }
        if matches!(cause, Cause::StoreFull | Cause::ClockInDoubt | Cause::Overloaded) {
            let operation = self.operations.remove(index);
            let (requester, refused) = (operation.requester, operation.tried);
            let attempt = Attempt { requester, request: operation.into_request(0), refused };
            let name = self.topology.get(to).map_or("a former member", |member| &member.name);
            let text = alloc::format!("{name} refused: {text}");
            let error = errors::rejected(&Rejection { cause, text });
            return self.execute_elsewhere(now, replica, attempt, error);
        }
        let name = self.topology.get(to).map_or("a former member", |member| &member.name);
        let error = errors::unavailable(&alloc::format!("{name} refused: {text}"));
        self.finish(now, replica, index, error);
    }

    /// The node that was to answer did not do so in time.
    pub(super) fn forward_expired(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        to: MemberNumber,
    ) {
        let name = self.topology.get(to).map_or("a former member", |member| &member.name);
        let text = alloc::format!("{name} did not answer before the deadline");
        let operation = &self.operations[index];
        let error = if operation.writes() && operation.stale.is_empty() {
            errors::unknown(&text)
        } else {
            errors::unavailable(&text)
        };
        self.finish(now, replica, index, error);
    }
}
