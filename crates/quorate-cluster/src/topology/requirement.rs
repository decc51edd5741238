//! How many replicas must answer.

use smallvec::{SmallVec, smallvec};

use crate::positions::Positions;

/// How many replicas of a slot must answer, and which of them count: all of these votes must be
/// won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement(SmallVec<[Votes; 2]>);

/// So many answers of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Votes {
    /// At least one, at most as many as count.
    pub(super) answers: u8,
    pub(super) counted: Positions,
}

impl Votes {
    fn lack(self, answered: Positions) -> bool {
        (answered & self.counted).len() < usize::from(self.answers)
    }
}

impl Requirement {
    /// These many of those.
    pub fn of(answers: u8, counted: Positions) -> Self {
        Self(smallvec![Votes { answers, counted }])
    }

    pub(super) fn all_of(votes: impl Iterator<Item = Votes>) -> Self {
        Self(votes.collect())
    }

    #[cfg(test)]
    pub(super) fn votes(&self) -> &[Votes] {
        &self.0
    }

    /// Whether the answers of these replicas are enough.
    pub fn is_met_by(&self, answered: Positions) -> bool {
        self.0.iter().all(|votes| !votes.lack(answered))
    }

    /// Whether one answer is enough, whoever gives it.
    pub fn is_single(&self) -> bool {
        matches!(*self.0, [Votes { answers: 1, .. }])
    }

    /// Answers without which it is not met.
    pub fn fewest(&self) -> u8 {
        self.0.iter().map(|votes| votes.answers).max().unwrap_or(0)
    }

    /// All whose answers count for anything.
    pub fn all_counted(&self) -> Positions {
        self.0.iter().fold(Positions::NONE, |all, votes| all | votes.counted)
    }

    /// Whether the answer of one more replica would help, when these have answered.
    pub fn lacks(&self, answered: Positions, position: usize) -> bool {
        self.0.iter().any(|votes| votes.counted.contains(position) && votes.lack(answered))
    }

    /// What these answers are too few for: answers needed, and whose count.
    pub fn unmet_by(&self, answered: Positions) -> (u8, Positions) {
        let unmet = self.0.iter().find(|votes| votes.lack(answered)).or(self.0.first());
        unmet.map_or((0, Positions::NONE), |votes| (votes.answers, votes.counted))
    }
}
