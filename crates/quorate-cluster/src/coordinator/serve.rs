//! What peers ask of this replica.

use core::{task::Poll, time::Duration};

use quorate_proto::{
    Unfit,
    command::Call,
    message::{Cause, Forward, Message},
    mutant::Mutant,
};

use super::{
    Attempt, Awaited, Coordinator, Durability, OnDurable, Rejection, Replica, Request, Requester,
    Terms, errors,
    failover::is_repeatable,
    gate::{Merge, Merged},
    handover::HANDOVER_CALL,
    relay::Relayed,
};
use crate::{
    elements, limits::BEGUN_WITHIN, membership::LinkId, positions::Positions, time::Instant,
};

impl Coordinator {
    /// A peer's request: a replicated effect, a question about keys, or a forwarded command.
    ///
    /// `epoch` is the version of the topology that the peer knows.
    pub fn handle_message(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        link: LinkId,
        epoch: u64,
        correlation: u64,
        message: Message,
    ) {
        let late = Duration::ZERO;
        self.handle_late_message(now, replica, (link, epoch, correlation), message, late);
    }

    /// The same with a message that is at most so old.
    pub fn handle_late_message(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        (link, epoch, correlation): (LinkId, u64, u64),
        message: Message,
        late: Duration,
    ) {
        if !self.topology.accepts(epoch) {
            return self.reject_epoch(link, correlation, epoch);
        }
        let (me, present) = (self.topology.me(), self.topology.epoch());
        match message {
            // Whoever is ahead counts on this node as a replica. It is none before it hears why.
            Message::Replicate { slot, .. } | Message::Relay { slot, .. }
                if epoch > present && !self.topology.is_replica(slot, me) =>
            {
                self.reject_epoch(link, correlation, epoch);
            }
            // Whoever is behind asks a replica of before: its question is for others, once it hears.
            Message::AskDigest { slot, .. }
            | Message::AskStates { slot, .. }
            | Message::CompareElements { slot, .. }
            | Message::AskElements { slot, .. }
                if epoch != present && !self.topology.is_replica(slot, me) =>
            {
                self.reject_epoch(link, correlation, epoch);
            }
            Message::Forward(Forward { slot, .. })
                if epoch != present && !self.topology.is_reader(slot, me) =>
            {
                self.reject_epoch(link, correlation, epoch);
            }
            // It has been one, and there is nothing that it could lack any more.
            Message::Replicate { slot, .. } if !self.topology.is_replica(slot, me) => {
                self.respond(link, correlation, Message::Ack);
            }
            Message::Replicate { slot, dots, outcome, effect } => {
                let merged = Merged::Acknowledge { link, correlation, outcome };
                self.merge(now, replica, Merge { slot, dots, effect, merged });
            }
            Message::Relay { slot, .. } if !self.topology.is_replica(slot, me) => {
                let text = alloc::format!("slot {} has no replica here", slot.number());
                self.reject(link, correlation, Cause::NotReplica, text);
            }
            Message::Relay { slot, to, at_once, dots, outcome, effect } => {
                let relayed = Relayed { slot, to, at_once, dots, outcome, effect };
                self.relay(now, replica, (link, correlation), relayed);
            }
            Message::AskOutcome { slot, id } if id.number == HANDOVER_CALL => {
                self.hand_over(now, (link, epoch, correlation), slot, id);
            }
            Message::AskOutcome { slot, id } => {
                self.tell_outcome(replica, (link, correlation), slot, id);
            }
            Message::AskDigest { slot, .. }
            | Message::AskStates { slot, .. }
            | Message::CompareElements { slot, .. }
            | Message::AskElements { slot, .. }
                if !self.topology.is_replica(slot, me) =>
            {
                let text = alloc::format!("slot {} has no replica here", slot.number());
                self.reject(link, correlation, Cause::NotReplica, text);
            }
            Message::AskDigest { .. } if self.fitness().may_count().is_err() => {
                let text = errors::unfit(Unfit::Incomplete).into();
                self.reject(link, correlation, Cause::Incomplete, text);
            }
            Message::AskDigest { slot, command } => match Call::decode(slot, command) {
                Some(call) => self.tell_digest(replica, (link, correlation), call),
                None => self.reject_malformed(link, correlation),
            },
            Message::AskStates { slot, command } => match Call::decode(slot, command) {
                Some(call) => self.tell_states(replica, (link, correlation), &call),
                None => self.reject_malformed(link, correlation),
            },
            Message::CompareElements { slot, .. } | Message::AskElements { slot, .. } => {
                if let Some(answer) = elements::answer(replica, &message) {
                    self.respond_once_durable(replica, slot, link, correlation, answer);
                }
            }
            Message::Forward(forward) => {
                self.take_forward(now, replica, (link, epoch, correlation), forward, late);
            }
            _ if epoch != present => self.reject_epoch(link, correlation, epoch),
            other => {
                let text = alloc::format!("message kind {} is not a request", other.kind());
                self.reject(link, correlation, Cause::Malformed, text);
            }
        }
    }

    /// Tells a peer the state of what a call names.
    fn tell_states(
        &mut self,
        replica: &mut impl Replica,
        (link, correlation): (LinkId, u64),
        call: &Call,
    ) {
        let slot = call.slot();
        match replica.export(self.ticket(), call) {
            Poll::Ready(state) => {
                let states = Message::States(state);
                self.respond_once_durable(replica, slot, link, correlation, states);
            }
            Poll::Pending => self.await_stored(Awaited::State { slot, link, correlation }),
        }
    }

    /// Tells who has sent an effect what became of it.
    pub(super) fn acknowledge(
        &mut self,
        link: LinkId,
        correlation: u64,
        merged: Result<Durability, Rejection>,
    ) {
        match merged {
            Ok(_) if Mutant::AckBeforeDurable.is_planted() => {
                self.respond(link, correlation, Message::Ack);
            }
            Ok(Durability::Now) => self.respond(link, correlation, Message::Ack),
            Ok(Durability::At(sequence)) => {
                let action = OnDurable::Respond { link, correlation, message: Message::Ack };
                self.once_durable(sequence, action);
            }
            Ok(Durability::Never) => {
                let text = errors::LOG_FAILED.into();
                self.reject(link, correlation, Cause::StoreFull, text);
            }
            Err(rejection) => self.reject(link, correlation, rejection.cause, rejection.text),
        }
    }

    /// Coordinates a command for another node. It is never forwarded once more.
    fn take_forward(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        (link, epoch, correlation): (LinkId, u64, u64),
        forward: Forward,
        late: Duration,
    ) {
        if !self.topology.is_reader(forward.slot, self.topology.me()) {
            let text = alloc::format!("slot {} has no replica here", forward.slot.number());
            return self.reject(link, correlation, Cause::NotReplica, text);
        }
        if self.is_full() {
            self.note_refusal(now, forward.slot, Cause::Overloaded);
            let text = "too many requests are in flight here".into();
            return self.reject(link, correlation, Cause::Overloaded, text);
        }
        let Some(call) = Call::decode(forward.slot, forward.command) else {
            return self.reject_malformed(link, correlation);
        };
        let terms = Terms {
            read_level: forward.read_level,
            write_level: forward.write_level,
            resp3: forward.resp3,
            deadline: now + Duration::from_millis(u64::from(forward.budget_ms)),
        };
        let request = Request { id: 0, call, terms };
        let is_write = request.call.class().writes();
        let begin_by = now + BEGUN_WITHIN.saturating_sub(late);
        let call = is_write.then_some(forward.id);
        let requester = Requester::Peer { link, correlation, call, begin_by };
        if is_write {
            let is_late = late > BEGUN_WITHIN && is_repeatable(&request.call);
            // Its sender was told that it would not be executed, or may have given it to another one.
            if self.outcomes.is_denied(forward.id) || is_late && !Mutant::BegunLate.is_planted() {
                self.note_refusal(now, forward.slot, Cause::Overloaded);
                let Rejection { cause, text } = Rejection::late();
                return self.reject(link, correlation, cause, text);
            }
            let attempt = Attempt { requester, request, refused: Positions::NONE };
            // By the list of one of the two somebody else executes it.
            let is_other = epoch != self.topology.epoch();
            let is_taken = Mutant::ForwardedByAnyList.is_planted();
            if is_other && !is_taken && !self.is_executor(&attempt) {
                return self.reject_epoch(link, correlation, epoch);
            }
            self.coordinate_write(now, replica, attempt);
        } else {
            self.start(now, replica, requester, request);
        }
    }

    fn reject_epoch(&mut self, link: LinkId, correlation: u64, epoch: u64) {
        let text =
            alloc::format!("epoch {epoch} is not this node's epoch {}", self.topology.epoch());
        self.reject(link, correlation, Cause::StaleEpoch, text);
    }

    fn reject_malformed(&mut self, link: LinkId, correlation: u64) {
        let text = "the command in the message is no command that this node knows".into();
        self.reject(link, correlation, Cause::Malformed, text);
    }

    pub(super) fn reject(
        &mut self,
        link: LinkId,
        correlation: u64,
        cause: Cause,
        text: alloc::string::String,
    ) {
        self.respond(link, correlation, Message::Rejected { cause, text });
    }
}
