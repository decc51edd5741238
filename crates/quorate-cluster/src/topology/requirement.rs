//! How many replicas must answer.

use crate::positions::Positions;

/// How many replicas of a slot must answer, and which of them count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Answers needed. At least one, at most the number of replicas that count.
    pub answers: u8,
    /// Whose answers count.
    pub counted: Positions,
    /// Of a slot that moves, answers needed beside those of those that it goes to; else zero.
    pub new_answers: u8,
    /// Whose answers count for that.
    pub new_counted: Positions,
}

impl Requirement {
    /// These many of those.
    pub const fn of(answers: u8, counted: Positions) -> Self {
        Self { answers, counted, new_answers: 0, new_counted: Positions::NONE }
    }

    /// Whether the answers of these replicas are enough.
    pub fn is_met_by(self, answered: Positions) -> bool {
        (answered & self.counted).len() >= usize::from(self.answers)
            && (answered & self.new_counted).len() >= usize::from(self.new_answers)
    }

    /// Whether one answer is enough, whoever gives it.
    pub const fn is_single(self) -> bool {
        self.answers == 1 && self.new_answers == 0
    }

    /// All whose answers count for anything.
    pub fn all_counted(self) -> Positions {
        self.counted | self.new_counted
    }

    /// Whether the answer of one more replica would help, when these have answered.
    pub fn lacks(self, answered: Positions, position: usize) -> bool {
        let lacks = |answers: u8, counted: Positions| {
            counted.contains(position) && (answered & counted).len() < usize::from(answers)
        };
        lacks(self.answers, self.counted) || lacks(self.new_answers, self.new_counted)
    }

    /// What these answers are too few for: answers needed, and whose count.
    pub fn unmet_by(self, answered: Positions) -> (u8, Positions) {
        if (answered & self.counted).len() >= usize::from(self.answers) && self.new_answers > 0 {
            (self.new_answers, self.new_counted)
        } else {
            (self.answers, self.counted)
        }
    }
}
