//! The wall clock that stamps, expiry and the checks of other nodes' stamps go by.
//!
//! The clock of a machine may jump: somebody sets it, a virtual machine is moved, time is lost in a
//! sleep. A stamp from a clock that is hours ahead would beat every later write, so a jump is not
//! believed by itself. The clock shown here runs with the monotonic one and follows the machine's
//! at a bounded pace. A jump beyond the bound is followed only when the machines of more peers
//! confirm it than confirm the shown clock, or when there are no peers. What peers tell is what
//! their machines show, so that nodes that have doubted each other agree again once all machines
//! are set right.
//!
//! Guaranteed: between two calls the shown clock moves by the monotonic time between them, a
//! twentieth more or less, unless the peers confirm a jump. [`WallClock::is_in_doubt`] tells when
//! most of those whose clocks are known contradict it, or when none is known yet after a restart:
//! then no stamp may be issued and nothing may expire.

use core::time::Duration;

use quorate_proto::mutant::Mutant;

use crate::{limits::CLOCK_SKEW_MAX, time::Instant};

/// The shown clock gains or loses at most one part in this many.
const SLEW: i64 = 20;

/// What is known of the clock of a peer's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerClock {
    /// How far it is ahead of the shown clock, about, in milliseconds.
    pub ahead_ms: i64,
    /// How wrong that can be.
    pub error_ms: u64,
}

impl PeerClock {
    /// Whether the peer's clock can show what is `ahead_ms` ahead of the shown clock, within the
    /// bound.
    fn confirms(self, ahead_ms: i64) -> bool {
        let apart = self.ahead_ms.saturating_sub(ahead_ms).unsigned_abs();
        apart <= bound_ms().saturating_add(self.error_ms)
    }
}

/// A disciplined wall clock.
#[derive(Clone, Debug)]
pub struct WallClock {
    started: Instant,
    /// The last reading: the moment, and the time shown, in microseconds since the Unix epoch.
    at: Instant,
    shown_us: i64,
    in_doubt: bool,
    /// Whether most of the peers that were known last contradicted the clock.
    contradicted: bool,
    /// Whether a peer's clock was ever known, or need not be.
    compared: bool,
}

impl WallClock {
    /// A clock that shows what the machine's does at the start, in microseconds since the Unix
    /// epoch. With `doubted` it is in doubt until a peer's clock is known: a node that has data may
    /// have got another clock while it was away.
    pub fn new(now: Instant, wall_us: u64, doubted: bool) -> Self {
        let shown_us = signed(wall_us);
        Self {
            started: now,
            at: now,
            shown_us,
            in_doubt: doubted,
            contradicted: false,
            compared: !doubted,
        }
    }

    /// Reads the clock, given what the machine's shows and what is known of the peers'. `alone`
    /// tells that there are no peers at all. Returns the time in microseconds, and by how many
    /// milliseconds it has jumped, if it has. `awaits` tells whether some peer's clock may become
    /// known soon.
    pub fn read(
        &mut self,
        now: Instant,
        wall_us: u64,
        alone: bool,
        awaits: bool,
        peers: impl Iterator<Item = PeerClock> + Clone,
    ) -> (u64, Option<i64>) {
        let elapsed = i64::try_from(now.since(self.at).as_micros()).unwrap_or(i64::MAX);
        self.at = self.at.max(now);
        self.shown_us = self.shown_us.saturating_add(elapsed);
        let behind_us = signed(wall_us).saturating_sub(self.shown_us);
        let behind_ms = behind_us / 1_000;
        let count = |ahead_ms| peers.clone().filter(|peer| peer.confirms(ahead_ms)).count();
        let (confirming, known) = (count(0), peers.clone().count());
        let jump = behind_ms.unsigned_abs() > bound_ms();
        let confirming_jump = if jump { count(behind_ms) } else { 0 };
        let believed = alone || confirming_jump > confirming;
        let jumps = jump && (believed || Mutant::ClockTrusted.is_planted());
        // As many confirm the one as the other: both are within the bound of the peers' clocks.
        let close = jump && known > 0 && confirming_jump == confirming && confirming > 0;
        if jumps {
            self.shown_us = signed(wall_us);
        } else if !jump || close {
            self.shown_us += behind_us.clamp(-elapsed / SLEW, elapsed / SLEW);
        }
        let contradicting = known - confirming;
        if jumps {
            // What is known of the peers is about another clock.
            self.contradicted = false;
        } else if known > 0 {
            // A contradiction stands until somebody confirms the clock.
            self.contradicted = contradicting > confirming;
        }
        self.compared |= known > 0;
        self.in_doubt = !alone
            && !Mutant::ClockTrusted.is_planted()
            && (self.contradicted || !self.compared && awaits);
        (self.shown_us.max(0).unsigned_abs(), jumps.then_some(behind_ms))
    }

    /// Since when this clock asks to be compared.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether stamps must not be issued by this clock.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether it is in doubt because most of the peers that were known last contradict it, and not
    /// because none has been heard since the start.
    pub fn is_contradicted(&self) -> bool {
        self.in_doubt && self.contradicted
    }
}

fn signed(wall_us: u64) -> i64 {
    i64::try_from(wall_us).unwrap_or(i64::MAX)
}

fn bound_ms() -> u64 {
    const BOUND: Duration = CLOCK_SKEW_MAX;
    BOUND.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn wall(ms: u64) -> u64 {
        ms * 1_000
    }

    fn peers(ahead_ms: &[i64]) -> impl Iterator<Item = PeerClock> + Clone {
        ahead_ms.iter().map(|&ahead_ms| PeerClock { ahead_ms, error_ms: 10 })
    }

    #[test]
    fn a_jump_that_no_peer_confirms_is_not_followed() {
        let mut clock = WallClock::new(at(0), wall(HOUR), true);
        assert!(clock.is_in_doubt() && !clock.is_contradicted());
        clock.read(at(100), wall(HOUR + 100), false, true, peers(&[0, 3]));
        assert!(!clock.is_in_doubt());
        let read = clock.read(at(200), wall(3 * HOUR), false, true, peers(&[0, 3]));
        assert_eq!(read, (wall(HOUR + 200), None));
        assert!(!clock.is_in_doubt());
    }

    #[test]
    fn a_jump_that_peers_confirm_is_followed() {
        let mut clock = WallClock::new(at(0), wall(HOUR), true);
        let hour = HOUR as i64;
        clock.read(at(100), wall(HOUR + 100), false, true, peers(&[hour, hour + 2]));
        assert!(clock.is_in_doubt() && clock.is_contradicted(), "both peers contradict it");
        let read = clock.read(at(200), wall(2 * HOUR + 200), false, true, peers(&[hour, hour + 2]));
        assert_eq!(read, (wall(2 * HOUR + 200), Some(hour)));
        assert!(!clock.is_in_doubt());
    }

    #[test]
    fn alone_there_is_nobody_to_ask() {
        let mut clock = WallClock::new(at(0), wall(HOUR), true);
        let read = clock.read(at(1), wall(1), true, true, peers(&[]));
        assert_eq!(read, (wall(1), Some(-(HOUR as i64))));
        assert!(!clock.is_in_doubt());
    }

    #[test]
    fn a_small_difference_is_made_up_slowly() {
        let mut clock = WallClock::new(at(0), wall(HOUR), true);
        let (shown, _) = clock.read(at(1_000), wall(HOUR + 1_100), false, true, peers(&[0]));
        assert_eq!(shown, wall(HOUR + 1_050));
        let (shown, _) = clock.read(at(3_000), wall(HOUR + 3_100), false, true, peers(&[0]));
        assert_eq!(shown, wall(HOUR + 3_100));
    }

    #[test]
    fn the_clock_is_not_behind_within_a_millisecond() {
        let mut clock = WallClock::new(at(0), wall(HOUR) + 900, true);
        let (shown, _) = clock.read(at(10), wall(HOUR + 10) + 900, true, true, peers(&[]));
        assert_eq!(shown, wall(HOUR + 10) + 900);
    }

    #[test]
    fn a_start_is_believed_once_nobody_is_awaited() {
        let mut clock = WallClock::new(at(0), wall(HOUR), true);
        clock.read(at(4_000), wall(HOUR + 4_000), false, true, peers(&[]));
        assert!(clock.is_in_doubt());
        clock.read(at(5_000), wall(HOUR + 5_000), false, false, peers(&[]));
        assert!(!clock.is_in_doubt());
    }

    #[test]
    fn a_contradiction_stands_when_the_peer_is_gone() {
        let mut clock = WallClock::new(at(0), wall(HOUR), true);
        clock.read(at(100), wall(HOUR + 100), false, true, peers(&[-9_000]));
        clock.read(at(9_000), wall(HOUR + 9_000), false, true, peers(&[]));
        assert!(clock.is_in_doubt());
        clock.read(at(9_100), wall(HOUR + 9_100), false, true, peers(&[1]));
        assert!(!clock.is_in_doubt());
    }

    #[test]
    fn one_of_three_that_is_wrong_doubts_itself_and_the_others_do_not() {
        let mut wrong = WallClock::new(at(0), wall(HOUR), true);
        wrong.read(at(1), wall(HOUR), false, true, peers(&[-900, -900]));
        assert!(wrong.is_in_doubt());
        let mut right = WallClock::new(at(0), wall(HOUR), true);
        right.read(at(1), wall(HOUR), false, true, peers(&[900, 0]));
        assert!(!right.is_in_doubt());
    }
}
