//! The errors that clients get, as encoded replies.

use alloc::{format, string::String, vec::Vec};

use bytes::Bytes;
use quorate_proto::resp::ReplyWriter;

use super::{Coordinator, operation::Operation};

fn encoded(text: &str) -> Bytes {
    let mut reply = Vec::with_capacity(text.len() + 3);
    ReplyWriter::new(&mut reply, false).error(text);
    reply.into()
}

/// Too much is in flight. Nothing was done.
pub(super) fn busy() -> Bytes {
    encoded("BUSY too many requests in flight; nothing was done, try again later")
}

/// The local store refused. Nothing was done.
pub(super) fn refused(text: &str) -> Bytes {
    encoded(&format!("MISCONF {text}; nothing was done"))
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
    /// The level cannot be met with the replicas that are up.
    pub(super) fn too_few(&self, operation: &Operation) -> Bytes {
        let alive = self.alive(operation.slot);
        let needed = operation.requirement.answers;
        let counted = operation.requirement.counted;
        unavailable(&format!(
            "level {} of slot {} needs {needed} replicas, {} are up (up: {}; down: {})",
            operation.level(),
            operation.slot.number(),
            (alive & counted).count_ones(),
            self.names(operation, alive & counted),
            self.names(operation, !alive & counted),
        ))
    }

    /// The level was not met by the deadline.
    pub(super) fn timed_out(&self, operation: &Operation) -> Bytes {
        let answered = operation.answered & operation.requirement.counted;
        let silent = !operation.answered & operation.requirement.counted;
        let outcome = if operation.effect.is_empty() {
            "nothing was changed"
        } else {
            "the write may still take effect"
        };
        encoded(&format!(
            "TIMEOUT level {} of slot {}: {} of {} replicas answered before the deadline \
             (answered: {}; silent: {}); {outcome}",
            operation.level(),
            operation.slot.number(),
            answered.count_ones(),
            operation.requirement.answers,
            self.names(operation, answered),
            self.names(operation, silent),
        ))
    }

    fn names(&self, operation: &Operation, mask: u64) -> String {
        let replicas = self.topology.replicas(operation.slot).iter().enumerate();
        let names: Vec<&str> = replicas
            .filter(|(position, _)| mask & (1 << position) != 0)
            .map(|(_, node)| self.topology.member(*node).name.as_str())
            .collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}
