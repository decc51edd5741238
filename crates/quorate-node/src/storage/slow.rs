//! Answers that come some time later, as those of a store do that fetches from elsewhere. Only
//! simulations ask for them.
//!
//! What changes the store is carried out when it is answered; what is read is of the moment in which
//! it was asked. So nothing shows before it is answered, and an answer may be out of date.

use std::time::Duration;

use bytes::Bytes;
use quorate_cluster::{
    coordinator::{Rejection, Replica as _, Stored, Ticket},
    random::Random,
    time::Instant,
};
use quorate_proto::{Dot, Slot, command::Call};

use super::Storage;

/// What was asked and is not answered.
#[derive(Debug)]
pub(super) struct Slow {
    /// An answer takes at most so many microseconds; none where it is zero.
    delay_max_us: u32,
    /// When this turn began.
    now: Instant,
    random: Random,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    due: Instant,
    ticket: Ticket,
    task: Task,
}

#[derive(Debug)]
pub(super) enum Task {
    Execute { call: Call, resp3: bool, by: Option<Instant> },
    Merge { slot: Slot, dots: Vec<Dot>, effect: Bytes },
    Tell(Stored),
}

impl Default for Slow {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Slow {
    fn new(delay_max_us: u32, seed: u64) -> Self {
        let random = Random::new(seed);
        Self { delay_max_us, now: Instant::ZERO, random, asked: Vec::new() }
    }
}

impl Storage {
    /// Answers up to `delay_max_us` microseconds later from now on.
    pub(crate) fn answer_late(&mut self, delay_max_us: u32, seed: u64) {
        self.slow = Slow::new(delay_max_us, seed);
    }

    /// A turn begins at this time, by which late answers go.
    pub(crate) fn note_time(&mut self, now: Instant) {
        self.slow.now = now;
    }

    /// When the next late answer is due.
    pub(crate) fn next_stored(&self) -> Option<Instant> {
        self.slow.asked.iter().map(|asked| asked.due).min()
    }

    /// Whether calls may be answered later, so that they have to go by the gates of their slots.
    pub(crate) fn may_be_late(&self) -> bool {
        self.slow.delay_max_us > 0
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
        let delay_us = self.slow.random.below(self.slow.delay_max_us + 1);
        if delay_us < self.slow.delay_max_us / 8 {
            return false;
        }
        let due = self.slow.now + Duration::from_micros(delay_us.into());
        let task = task(self);
        self.slow.asked.push(Asked { due, ticket, task });
        true
    }

    /// The next answer to a question that was not answered at once. What it changes is of this turn.
    pub(crate) fn poll_stored(&mut self) -> Option<(Ticket, Stored)> {
        if let Some(answer) = self.take_answer() {
            return Some(answer);
        }
        let due = self.slow.asked.iter().position(|asked| asked.due <= self.slow.now)?;
        let Asked { ticket, task, .. } = self.slow.asked.remove(due);
        let stored = match task {
            Task::Execute { by: Some(by), .. } if by < self.slow.now => {
                Stored::Executed(Err(Rejection::late()))
            }
            Task::Execute { call, resp3, .. } => Stored::Executed(self.execute_now(&call, resp3)),
            Task::Merge { slot, dots, effect } => {
                Stored::Merged(self.merge_now(slot, dots, &effect))
            }
            Task::Tell(stored) => stored,
        };
        Some((ticket, stored))
    }
}
