//! Requests that another node coordinates.

use quorate_proto::{
    NodeIndex,
    message::{Cause, Forward, Message},
};

use super::{
    Coordinator, Output, Replica, Request, Requester, errors,
    operation::{self, Phase},
};
use crate::time::Instant;

/// Forwards are not calls to a position in the replica set; they have one of their own.
const FORWARD_POSITION: usize = 0;

impl Coordinator {
    /// Hands a request to `to`, which is a replica of its slot.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        requester: Requester,
        request: Request,
        to: NodeIndex,
    ) {
        let tried = self.topology.position(request.slot, to).map_or(0, |position| 1 << position);
        let index = self.insert(requester, request, Phase::Forwarding(to));
        self.operations[index].tried = tried;
        self.send_forward(now, index, to);
    }

    fn send_forward(&mut self, now: Instant, index: usize, to: NodeIndex) {
        let operation = &mut self.operations[index];
        operation.phase = Phase::Forwarding(to);
        operation.asked = 1 << FORWARD_POSITION;
        let message = Message::Forward(Forward {
            slot: operation.slot,
            read_level: operation.read_level,
            write_level: operation.write_level,
            resp3: operation.resp3,
            budget_ms: u32::try_from(operation.deadline.since(now).as_millis()).unwrap_or(u32::MAX),
            command: operation.command.frame().clone(),
        });
        let correlation = operation::join_correlation(index, operation.serial, FORWARD_POSITION);
        self.outputs.push_back(Output::Send { to, correlation, message });
    }

    /// The node that was to answer is down.
    pub(super) fn forward_lost(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        to: NodeIndex,
    ) {
        let operation = &self.operations[index];
        if operation.class.writes() {
            let name = &self.topology.member(to).name;
            let text = alloc::format!("the link to the executor {name} was lost");
            return self.finish(now, replica, index, errors::unknown(&text));
        }
        self.read_elsewhere(now, replica, index);
    }

    /// Asks another replica for a read that the last one did not answer.
    fn read_elsewhere(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        match self.reader(self.operations[index].slot, self.operations[index].tried) {
            Some(next) => {
                let slot = self.operations[index].slot;
                let bit = self.topology.position(slot, next).map_or(0, |position| 1 << position);
                self.operations[index].tried |= bit;
                self.send_forward(now, index, next);
            }
            None if self.operations[index].own_bit() != 0 => {
                let operation = &self.operations[index];
                let reply = replica.read(operation.slot, &operation.command, operation.resp3);
                self.finish(now, replica, index, reply);
            }
            None => {
                let text = "no replica of the key's slot answered";
                self.finish(now, replica, index, errors::unavailable(text));
            }
        }
    }

    /// The node that was to answer has refused: nothing was done.
    pub(super) fn forward_rejected(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        to: NodeIndex,
        cause: Cause,
        text: &str,
    ) {
        if !self.operations[index].class.writes() && cause != Cause::StaleEpoch {
            return self.read_elsewhere(now, replica, index);
        }
        let name = &self.topology.member(to).name;
        let text = alloc::format!("{name} refused: {text}");
        self.finish(now, replica, index, errors::unavailable(&text));
    }

    /// The node that was to answer did not do so in time.
    pub(super) fn forward_expired(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        to: NodeIndex,
    ) {
        let name = &self.topology.member(to).name;
        let text = alloc::format!("{name} did not answer before the deadline");
        let error = if self.operations[index].class.writes() {
            errors::unknown(&text)
        } else {
            errors::unavailable(&text)
        };
        self.finish(now, replica, index, error);
    }
}
