//! Answers that come some turns later, as those of a store do that fetches from elsewhere. Only
//! simulations ask for them.
//!
//! What changes the store is carried out when it is answered; what is read is of the moment in which
//! it was asked. So nothing shows before it is answered, and an answer may be out of date.

use bytes::Bytes;
use quorate_cluster::{
    coordinator::{Replica as _, Stored, Ticket},
    random::Random,
};
use quorate_proto::{Dot, Slot, command::Call};

use super::Storage;

/// What was asked and is not answered.
#[derive(Debug)]
pub(super) struct Slow {
    /// An answer takes at most this many turns; none where it is zero.
    turns_max: u32,
    random: Random,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    turns: u32,
    ticket: Ticket,
    task: Task,
}

#[derive(Debug)]
pub(super) enum Task {
    Execute { call: Call, resp3: bool },
    Merge { slot: Slot, dots: Vec<Dot>, effect: Bytes },
    Tell(Stored),
}

impl Default for Slow {
    fn default() -> Self {
        Self { turns_max: 0, random: Random::new(0), asked: Vec::new() }
    }
}

impl Slow {
    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        for asked in &mut self.asked {
            asked.turns = asked.turns.saturating_sub(1);
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }
}

impl Storage {
    /// Answers up to `turns_max` turns later from now on.
    pub(crate) fn answer_late(&mut self, turns_max: u32, seed: u64) {
        self.slow = Slow { turns_max, random: Random::new(seed), asked: Vec::new() };
    }

    /// Whether calls may be answered later, so that they have to go by the gates of their slots.
    pub(crate) fn may_be_late(&self) -> bool {
        self.slow.turns_max > 0
    }

    /// Whether a question is answered later: then this is what is done.
    pub(super) fn is_postponed(
        &mut self,
        ticket: Ticket,
        task: impl FnOnce(&mut Self) -> Task,
    ) -> bool {
        if !self.may_be_late() {
            return false;
        }
        let turns = self.slow.random.below(self.slow.turns_max + 1);
        if turns == 0 {
            return false;
        }
        let task = task(self);
        self.slow.asked.push(Asked { turns, ticket, task });
        true
    }

    /// The next answer to a question that was not answered at once. What it changes is of this turn.
    pub(crate) fn poll_stored(&mut self) -> Option<(Ticket, Stored)> {
        if let Some(answer) = self.take_answer() {
            return Some(answer);
        }
        let due = self.slow.asked.iter().position(|asked| asked.turns == 0)?;
        let Asked { ticket, task, .. } = self.slow.asked.remove(due);
        let stored = match task {
            Task::Execute { call, resp3 } => Stored::Executed(self.execute_now(&call, resp3)),
            Task::Merge { slot, dots, effect } => {
                Stored::Merged(self.merge_now(slot, dots, &effect))
            }
            Task::Tell(stored) => stored,
        };
        Some((ticket, stored))
    }
}
