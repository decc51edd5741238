//! Slots on which this node has refused a write lately.
//!
//! What was sent behind such a write and must not be executed without it is refused as well, for the
//! same reason, so that both are executed elsewhere, in the order in which they were sent. Whoever has
//! sent them has heard of the refusal long before it is forgotten.

use alloc::collections::BTreeMap;

use quorate_proto::{Slot, message::Cause};

use super::{Coordinator, Rejection};
use crate::{limits::REFUSAL_MEMORY, time::Instant};

/// Why, and until when that is remembered: at most one for each slot.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<Slot, (Cause, Instant)>);

impl Coordinator {
    /// A write on `slot` is refused. One that is told to come again is not: it does.
    pub fn note_refusal(&mut self, now: Instant, slot: Slot, cause: Cause) {
        if matches!(cause, Cause::Overloaded | Cause::StoreFull | Cause::ClockInDoubt) {
            self.refusals.0.insert(slot, (cause, now + REFUSAL_MEMORY));
        }
    }

    /// Why something that follows others on `slot` is to be refused, if it is.
    pub(super) fn earlier_refusal(&self, now: Instant, slot: Slot) -> Option<Rejection> {
        let (cause, _) = self.refusals.0.get(&slot).filter(|(_, until)| *until > now)?;
        let text = "this node has refused a write before it".into();
        Some(Rejection { cause: *cause, text })
    }
}
