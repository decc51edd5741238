//! What waits for the log: an answer must not show what a loss of power takes back.

use bytes::Bytes;
use quorate_proto::{
    Slot,
    message::{Cause, Message},
};

use super::{Coordinator, Durability, Replica, errors, stage::Phase};
use crate::{membership::LinkId, time::Instant};

/// What happens when the log is synced up to a sequence.
#[derive(Clone, Debug)]
pub(super) enum OnDurable {
    OwnVote { index: usize, serial: u32 },
    Answer { index: usize, serial: u32 },
    Respond { link: LinkId, correlation: u64, message: Message },
    Relayed { relay: usize, serial: u32 },
}

impl Coordinator {
    /// The log is synced up to `sequence`.
    pub fn handle_durable(&mut self, sequence: u64) {
        while let Some((_, action)) = self.on_durable.pop_front_if(|(at, _)| *at <= sequence) {
            let waits = |index: usize, serial: u32| {
                self.operations.get(index).is_some_and(|found| found.serial == serial)
            };
            match action {
                OnDurable::Respond { link, correlation, message } => {
                    self.respond(link, correlation, message);
                }
                OnDurable::Relayed { relay, serial } => {
                    self.settle_relay((relay, serial), self.topology.me(), true);
                }
                OnDurable::OwnVote { index, serial } if waits(index, serial) => {
                    self.vote_own(index);
                }
                OnDurable::Answer { index, serial } if waits(index, serial) => {
                    let operation = self.operations.remove(index);
                    if let Some(reply) = operation.reply {
                        self.reply(operation.requester, reply);
                    }
                }
                OnDurable::OwnVote { .. } | OnDurable::Answer { .. } => {}
            }
        }
    }

    /// Answers with what was read here, as soon as that is durable: an answer must not show what a
    /// loss of power takes back.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        reply: Bytes,
    ) {
        let slot = self.operations[index].slot();
        let sequence = match replica.durability(slot) {
            Durability::Now => return self.finish(now, replica, index, reply),
            Durability::Never => {
                let error = errors::unavailable(errors::LOG_FAILED);
                return self.finish(now, replica, index, error);
            }
            Durability::At(sequence) => sequence,
        };
        self.enter(now, index, Phase::Settled);
        let operation = &mut self.operations[index];
        operation.reply = Some(reply);
        let serial = operation.serial;
        let held = core::mem::take(&mut operation.holds_slot);
        self.once_durable(sequence, OnDurable::Answer { index, serial });
        if held {
            self.release(now, replica, slot, true);
        }
    }

    /// Responds with what was read of `slot`, as soon as that is durable.
    pub(super) fn respond_once_durable(
        &mut self,
        replica: &impl Replica,
        slot: Slot,
        link: LinkId,
        correlation: u64,
        message: Message,
    ) {
        match replica.durability(slot) {
            Durability::Now => self.respond(link, correlation, message),
            Durability::Never => {
                let text = errors::LOG_FAILED.into();
                self.respond(
                    link,
                    correlation,
                    Message::Rejected { cause: Cause::StoreFull, text },
                );
            }
            Durability::At(sequence) => {
                self.once_durable(sequence, OnDurable::Respond { link, correlation, message });
            }
        }
    }

    /// Does something when the log is synced up to `sequence`, which may be before what others wait
    /// for already.
    pub(super) fn once_durable(&mut self, sequence: u64, action: OnDurable) {
        let at = self.on_durable.partition_point(|(other, _)| *other <= sequence);
        self.on_durable.insert(at, (sequence, action));
    }
}
