//! Checkpoints: the whole state is written into the log again, and what stands before it is dropped.

use quorate_proto::{Slot, slot::SLOTS};
use quorate_store::log::Checkpoint;

use super::{
    Storage,
    record::{SLOT_BYTES, write_effect},
};
use crate::limits;

/// A checkpoint in progress: the next slot to write.
#[derive(Debug)]
pub(super) struct Progress {
    checkpoint: Checkpoint,
    next: u16,
}

impl Storage {
    /// Goes on with a checkpoint, or begins one when the log has grown to twice its live size, or
    /// holds something that is damaged.
    pub(crate) fn advance_checkpoint(&mut self) {
        let going_on = self.checkpoint.take().or_else(|| self.begin_checkpoint());
        let (Some(mut progress), Some(log)) = (going_on, &mut self.log) else { return };
        let mut keys = 0;
        let mut failed = false;
        while keys < limits::CHECKPOINT_KEYS_PER_TURN && progress.next < SLOTS && !failed {
            let Some(slot) = Slot::new(progress.next) else { break };
            self.store.export_slot(slot, |effect| {
                keys += 1;
                failed |= log.reserve(effect.len() + SLOT_BYTES).is_err();
                if !failed {
                    log.append(|out| write_effect(out, slot, effect));
                }
            });
            progress.next += 1;
        }
        if failed {
            tracing::warn!("a checkpoint was given up because the log has no space");
            self.checkpoint_given_up_ms = self.wall_ms;
            return;
        }
        if progress.next < SLOTS {
            self.checkpoint = Some(progress);
            return;
        }
        if log.finish_checkpoint(progress.checkpoint).is_ok() {
            self.checkpointed_bytes = log.bytes_since_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) -> Option<Progress> {
        let log = self.log.as_mut()?;
        // What the last checkpoint wrote is live; as much again makes half of the log garbage.
        let growth = self.checkpointed_bytes.max(self.checkpoint_bytes_min);
        let has_grown = log.bytes_since_checkpoint() >= self.checkpointed_bytes + growth;
        let is_urgent = log.wants_checkpoint()
            && self.wall_ms.abs_diff(self.checkpoint_given_up_ms) >= limits::REWRITE_PAUSE_MS;
        if !has_grown && !is_urgent {
            return None;
        }
        log.reserve(limits::FLOORS_RECORD_BYTES).ok()?;
        let checkpoint = log.begin_checkpoint().ok()?;
        self.append_floors(&self.floors());
        Some(Progress { checkpoint, next: 0 })
    }
}
