//! The errors that clients get, as encoded replies.

use alloc::{format, string::String, vec::Vec};

use bytes::Bytes;
use quorate_proto::{Level, Slot, Unfit, message::Cause, mutant::Mutant, resp::ReplyWriter};

use super::{Coordinator, Rejection, operation::Operation, stage::Phase};
use crate::{positions::Positions, topology::Requirement};

fn encoded(text: &str) -> Bytes {
    let mut reply = Vec::with_capacity(text.len() + 3);
    ReplyWriter::new(&mut reply, false).error(text);
    reply.into()
}

/// Why a node does not show what it may lose.
pub(super) const LOG_FAILED: &str =
    "the log of this node has failed, and what it holds may not be on disk; restart it";

/// Why a node answers no read by itself.
pub(super) const fn unfit_to_read(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::CatchingUp => {
            "this node is catching up with the others, and no other replica can be asked"
        }
        Unfit::Incomplete => {
            "this node has lost data and is being filled again, and no other replica can be asked"
        }
        Unfit::ClockInDoubt => {
            "the clock of this node is not confirmed by the other nodes, so it cannot tell what has \
             expired, and no other replica can be asked"
        }
        Unfit::ReadOnly => {
            "this node takes no writes, so it falls behind, and no other replica can be asked"
        }
        Unfit::Drained => "this node was drained, and no other replica can be asked",
    }
}

/// What is wrong with a node that executes no write, or does not count.
pub(super) const fn unfit(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::CatchingUp => "this node is catching up with the others",
        Unfit::Incomplete => "this node has lost data and is being filled again",
        Unfit::ClockInDoubt => {
            "the clock of this node is not confirmed by the other nodes, so it must not date a write"
        }
        Unfit::ReadOnly => {
            "this node takes no writes (see its log for the reason), and no other \
             replica can execute them"
        }
        Unfit::Drained => "this node was drained, and no other replica can execute writes",
    }
}

/// Too much is in flight. Nothing was done.
pub(super) fn overloaded() -> Bytes {
    encoded("OVERLOADED too many requests in flight; nothing was done, try again later")
}

/// A replica refused. Nothing was done.
pub(super) fn rejected(rejection: &Rejection) -> Bytes {
    match rejection.cause {
        Cause::StoreFull => encoded(&format!("MISCONF {}; nothing was done", rejection.text)),
        Cause::Overloaded => overloaded(),
        Cause::StaleEpoch
        | Cause::ClockSkew
        | Cause::NotReplica
        | Cause::Malformed
        | Cause::Incomplete
        | Cause::ClockInDoubt
        | Cause::OutcomeUnknown => unavailable(&rejection.text),
    }
}

/// Nobody knows whether the request took effect.
pub(super) fn unknown(text: &str) -> Bytes {
    encoded(&format!("UNKNOWN {text}; the request may or may not have taken effect"))
}

/// Nothing was done, for a reason that the text gives.
pub(super) fn unavailable(text: &str) -> Bytes {
    encoded(&format!("UNAVAILABLE {text}; nothing was done"))
}

impl Coordinator {
    /// The level cannot be met with the replicas that are up, without those that have refused or
    /// were lost meanwhile.
    pub(super) fn too_few(
        &self,
        slot: Slot,
        (level, requirement): (Level, &Requirement),
        refused: Positions,
    ) -> Bytes {
        let (needed, counted) = requirement.unmet_by(self.alive(slot) - refused);
        let alive = self.alive(slot) & counted;
        let usable = alive - refused;
        let mut text = format!(
            "level {level} of slot {} needs {needed} replica{}{}, {} {} alive (alive: {}; down: {}",
            slot.number(),
            if needed == 1 { "" } else { "s" },
            self.place(slot, counted),
            usable.len(),
            if usable.len() == 1 { "is" } else { "are" },
            self.names(slot, usable),
            self.names(slot, counted - alive),
        );
        if !(alive & refused).is_empty() {
            text.push_str("; left out: ");
            text.push_str(&self.names(slot, alive & refused));
        }
        text.push(')');
        unavailable(&text)
    }

    /// The level was not met by the deadline.
    pub(super) fn timed_out(&self, operation: &Operation) -> Bytes {
        let has_effect = operation.replication().is_some_and(|found| !found.effect.is_empty());
        let outcome = if has_effect || operation.phase() == Phase::Executing {
            "the write may still take effect"
        } else {
            "nothing was changed"
        };
        let (needed, counted) = operation.requirement.unmet_by(operation.answered);
        let missing = counted - operation.answered;
        encoded(&format!(
            "TIMEOUT level {} of slot {}: {} of {} replicas{} answered before the deadline \
             (answered: {}; silent: {}); {outcome}",
            operation.level(),
            operation.slot().number(),
            (operation.answered & counted).len(),
            needed,
            self.place(operation.slot(), counted),
            self.names(operation.slot(), operation.answered & counted),
            self.names(operation.slot(), missing),
        ))
    }

    /// Nobody is left who could still take a write, and too few have taken it.
    pub(super) fn missed(&self, operation: &Operation) -> Bytes {
        let (needed, counted) = operation.requirement.unmet_by(operation.answered);
        let say = if Mutant::FailedYetApplied.is_planted() { unavailable } else { unknown };
        say(&format!(
            "level {} of slot {}: {} of {} replicas{} took the write (took it: {}; lost: {})",
            operation.level(),
            operation.slot().number(),
            (operation.answered & counted).len(),
            needed,
            self.place(operation.slot(), counted),
            self.names(operation.slot(), operation.answered & counted),
            self.names(operation.slot(), counted - operation.answered),
        ))
    }

    /// The datacentre of these replicas, where they are in one of several.
    fn place(&self, slot: Slot, counted: Positions) -> String {
        let replicas = self.topology.replicas(slot);
        let of = |position: usize| self.topology.datacentre(replicas[position]);
        let mut others = counted.iter().filter(|position| *position < replicas.len()).map(of);
        match others.next() {
            Some(first)
                if self.topology.datacentres() > 1 && others.all(|other| other == first) =>
            {
                format!(" in datacentre {}", self.topology.datacentre_name(first))
            }
            _ => String::new(),
        }
    }

    fn names(&self, slot: Slot, positions: Positions) -> String {
        let replicas = self.topology.replicas(slot).iter().enumerate();
        let names: Vec<&str> = replicas
            .filter(|(position, _)| positions.contains(*position))
            .map(|(_, node)| self.topology.member(*node).name.as_str())
            .collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}
