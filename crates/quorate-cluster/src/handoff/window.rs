//! How much may be on its way to one target: the window follows what the target can take.
//!
//! It grows by a step whenever a whole window was acknowledged, and is halved when the target
//! refuses something, or takes much longer to acknowledge than it did at its best of late. Longer
//! than that means that the hints wait there behind each other, or behind the target's own clients.

use core::time::Duration;

use crate::{
    limits::{
        HANDOFF_BEST_KEPT, HANDOFF_DELAY_FACTOR, HANDOFF_DELAY_SLACK, HANDOFF_RATE_INTERVAL,
        HANDOFF_WINDOW_MAX, HANDOFF_WINDOW_MIN, HANDOFF_WINDOW_START, HANDOFF_WINDOW_STEP,
    },
    time::Instant,
};

/// The window of one target.
#[derive(Debug)]
pub(super) struct Window {
    bytes: usize,
    /// Acknowledged since the window has grown last.
    acknowledged: usize,
    /// When it was halved last: what was sent before says nothing about what it is now.
    halved_at: Instant,
    best: Best,
    rate: Rate,
}

/// The shortest time to an acknowledgement, of this interval and of the one before.
#[derive(Debug, Default)]
struct Best {
    since: Instant,
    now: Option<Duration>,
    before: Option<Duration>,
}

/// How many hints the target takes.
#[derive(Debug, Default)]
struct Rate {
    /// Since when these were acknowledged; `None` while nothing is on its way.
    since: Option<Instant>,
    acknowledged: u64,
    per_second: Option<u64>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            bytes: HANDOFF_WINDOW_START,
            acknowledged: 0,
            halved_at: Instant::ZERO,
            best: Best::default(),
            rate: Rate::default(),
        }
    }
}

impl Window {
    /// Bytes that may be on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hints that the target has taken a second, when it was measured last.
    pub(super) fn hints_per_second(&self) -> Option<u64> {
        self.rate.per_second
    }

    /// Something is on its way.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.rate.since.get_or_insert(now);
    }

    /// `bytes` that were sent at `sent_at` have been acknowledged.
    pub(super) fn handle_acknowledged(&mut self, now: Instant, sent_at: Instant, bytes: usize) {
        let took = now.since(sent_at);
        let best = self.best.note(now, took);
        if took > best * HANDOFF_DELAY_FACTOR + HANDOFF_DELAY_SLACK {
            if sent_at >= self.halved_at {
                self.halve(now);
            }
            return;
        }
        self.acknowledged += bytes;
        if self.acknowledged >= self.bytes {
            self.acknowledged = 0;
            self.bytes = (self.bytes + HANDOFF_WINDOW_STEP).min(HANDOFF_WINDOW_MAX);
        }
    }

    /// The target has refused something.
    pub(super) fn handle_refused(&mut self, now: Instant) {
        self.halve(now);
    }

    /// So many hints left the queue; `idle` when nothing is on its way any more.
    pub(super) fn handle_delivered(&mut self, now: Instant, hints: u64, idle: bool) {
        let Rate { since, acknowledged, per_second } = &mut self.rate;
        let Some(began) = *since else { return };
        *acknowledged += hints;
        let took = now.since(began);
        if !idle && took < HANDOFF_RATE_INTERVAL {
            return;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        *per_second = Some((acknowledged.saturating_mul(1_000_000) / micros).max(1));
        (*since, *acknowledged) = ((!idle).then_some(now), 0);
    }

    /// What is on its way is lost.
    pub(super) fn handle_lost(&mut self) {
        (self.rate.since, self.rate.acknowledged) = (None, 0);
    }

    fn halve(&mut self, now: Instant) {
        self.bytes = (self.bytes / 2).max(HANDOFF_WINDOW_MIN);
        (self.acknowledged, self.halved_at) = (0, now);
    }
}

impl Best {
    /// Notes a time and returns the shortest of late.
    fn note(&mut self, now: Instant, took: Duration) -> Duration {
        if now.since(self.since) >= HANDOFF_BEST_KEPT {
            (self.since, self.before) = (now, self.now.take());
        }
        let best = self.now.map_or(took, |best| best.min(took));
        self.now = Some(best);
        self.before.map_or(best, |before| before.min(best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Acknowledges `windows` whole windows, each after `took` milliseconds.
    fn acknowledge(window: &mut Window, now: &mut u64, windows: u32, took: u64) {
        for _ in 0..windows {
            let (sent_at, bytes) = (at(*now), window.bytes());
            *now += took;
            window.handle_acknowledged(at(*now), sent_at, bytes);
        }
    }

    #[test]
    fn it_grows_in_steps_up_to_its_bound() {
        let (mut window, mut now) = (Window::default(), 0);
        acknowledge(&mut window, &mut now, 1, 5);
        assert_eq!(window.bytes(), HANDOFF_WINDOW_START + HANDOFF_WINDOW_STEP);
        acknowledge(&mut window, &mut now, 1_000, 5);
        assert_eq!(window.bytes(), HANDOFF_WINDOW_MAX);
    }

    #[test]
    fn a_slow_target_halves_it_once_for_what_was_sent_together() {
        let (mut window, mut now) = (Window::default(), 0);
        acknowledge(&mut window, &mut now, 10, 5);
        let grown = window.bytes();
        let sent_at = at(now);
        for late in [500, 510, 520] {
            window.handle_acknowledged(at(now + late), sent_at, 1_000);
        }
        assert_eq!(window.bytes(), grown / 2);
        now += 600;
        acknowledge(&mut window, &mut now, 10, 500);
        assert_eq!(window.bytes(), HANDOFF_WINDOW_MIN);
        // What is slow for long is how it is now.
        now += 3 * HANDOFF_BEST_KEPT.as_millis() as u64;
        acknowledge(&mut window, &mut now, 30, 500);
        now += 3 * HANDOFF_BEST_KEPT.as_millis() as u64;
        acknowledge(&mut window, &mut now, 30, 500);
        assert!(window.bytes() > HANDOFF_WINDOW_MIN);
    }

    #[test]
    fn refusals_halve_it_down_to_its_bound() {
        let mut window = Window::default();
        window.handle_refused(at(1));
        assert_eq!(window.bytes(), HANDOFF_WINDOW_START / 2);
        (2..50).for_each(|millis| window.handle_refused(at(millis)));
        assert_eq!(window.bytes(), HANDOFF_WINDOW_MIN);
    }

    #[test]
    fn the_rate_is_measured_while_something_is_on_its_way() {
        let mut window = Window::default();
        assert_eq!(window.hints_per_second(), None);
        window.handle_sent(at(1_000));
        window.handle_delivered(at(1_500), 50, false);
        assert_eq!(window.hints_per_second(), None, "too early to tell");
        window.handle_delivered(at(2_000), 50, false);
        assert_eq!(window.hints_per_second(), Some(100));
        window.handle_delivered(at(2_100), 40, true);
        assert_eq!(window.hints_per_second(), Some(400));
        // An hour without any hint does not count.
        window.handle_sent(at(4_000_000));
        window.handle_delivered(at(4_000_100), 10, true);
        assert_eq!(window.hints_per_second(), Some(100));
    }
}
