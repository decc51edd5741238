//! From when a node that starts may judge what it can answer.
//!
//! A member that starts has met nobody yet. It would take those that are up for dead, its own state
//! for the newest there is, and its clock for unconfirmed. So what clients ask waits, and is
//! answered once one of these holds:
//!
//! * every peer is up and has told of itself;
//! * [`MEETING_PATIENCE`] is over, and some peer has, or this node is ready without them;
//! * [`READINESS_PATIENCE`] is over.
//!
//! The time runs from when the node knows what data there is. It starts once: what comes later is
//! an outage like any other.

use quorate_proto::mutant::Mutant;

use crate::{
    limits::{MEETING_PATIENCE, READINESS_PATIENCE},
    time::Instant,
};

/// Whether a node still starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Starting {
    founded_at: Option<Instant>,
    over: bool,
}

impl Starting {
    /// The node knows what data there is, perhaps since long.
    pub fn handle_founded(&mut self, now: Instant) {
        self.founded_at.get_or_insert(now);
    }

    /// Whether the node has started.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the start is to end, which it has not: `met` tells of each peer whether it is up and
    /// has told of itself.
    pub fn is_due(&self, now: Instant, is_ready: bool, met: impl Iterator<Item = bool>) -> bool {
        let Some(founded_at) = self.founded_at.filter(|_| !self.over) else { return false };
        let (mut all, mut some) = (true, false);
        for met in met {
            (all, some) = (all && met, some || met);
        }
        let passed = now.since(founded_at);
        all || passed >= MEETING_PATIENCE && (some || is_ready)
            || passed >= READINESS_PATIENCE
            || Mutant::StartsAtOnce.is_planted()
    }

    /// The node has started.
    pub fn end(&mut self) {
        self.over = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_due(starting: Starting, ms: u64, is_ready: bool, met: &[bool]) -> bool {
        starting.is_due(Instant::from_millis(ms), is_ready, met.iter().copied())
    }

    fn founded(ms: u64) -> Starting {
        let mut starting = Starting::default();
        starting.handle_founded(Instant::from_millis(ms));
        starting
    }

    #[test]
    fn a_start_ends_once_all_are_met() {
        assert!(!is_due(Starting::default(), 9_000, true, &[true]), "what data is there?");
        let mut starting = founded(500);
        assert!(!is_due(starting, 500, false, &[true, false]));
        assert!(is_due(starting, 500, false, &[true, true]));
        assert!(is_due(starting, 500, true, &[]), "there are no others");
        starting.end();
        assert!(starting.is_over() && !is_due(starting, 500, false, &[true, true]));
    }

    #[test]
    fn patience_with_those_that_are_away_ends() {
        let starting = founded(500);
        assert!(!is_due(starting, 1_399, true, &[true, false]));
        assert!(is_due(starting, 1_400, false, &[true, false]));
        assert!(!is_due(starting, 1_400, false, &[false, false]), "it may have missed anything");
        assert!(is_due(starting, 1_400, true, &[false, false]));
        assert!(is_due(starting, 5_500, false, &[false, false]));
    }
}
