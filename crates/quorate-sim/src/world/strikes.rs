//! The moment that hurts most: a list was decided, and one node knows so. All others are killed before they
//! hear of it, and come back while that one is cut off; or it is lost for good with most of the voters.

use super::{Event, World};
use crate::{
    history::Time,
    machine::{self, State},
};

/// How long the node that knows is cut off, at most.
const CUT_MAX: Time = 6_000_000;

/// When the others start again, at most.
const DOWN_MAX: Time = 800_000;

impl World<'_> {
    /// A node is the first to go by a list. What it is about to tell others has not left it yet.
    pub(super) fn strike(&mut self, node: usize) {
        let is_time = self.now + 2 * CUT_MAX < self.scenario.period && self.now > CUT_MAX / 2;
        let percent = self.scenario.strikes_percent;
        if percent == 0 || !is_time || !self.random.percent(percent) {
            return;
        }
        if self.scenario.overrules && self.lose_majority(Some(node)) {
            return;
        }
        self.observer.note(|| format!("only {} knows of a list", machine::name(node)));
        for other in (0..self.machines.len()).filter(|other| *other != node) {
            if self.machines[other].process.is_some() && !self.operators.has_given_up(other) {
                self.take_down(other, State::Killed);
                self.down_by[other] = None;
                let at = self.now + self.random.between(1, DOWN_MAX);
                self.schedule(at, Event::Start { node: other });
            }
        }
        self.cut_off(node, true);
        let at = self.now + self.random.between(DOWN_MAX, CUT_MAX);
        self.schedule(at, Event::StrikeEnds { node });
    }

    /// A node that was cut off is linked again, or is not any more.
    pub(super) fn cut_off(&mut self, node: usize, cut: bool) {
        for other in (0..self.machines.len()).filter(|other| *other != node) {
            self.network.cut(self.now, node, other, cut);
            self.network.cut(self.now, other, node, cut);
        }
    }
}
