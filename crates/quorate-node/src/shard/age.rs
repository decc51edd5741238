//! How old requests are when they are read.
//!
//! What a peer has sent lies with the operating system while this process stands still, and looks new
//! when it goes on. A heartbeat says when it was sent, by the clock of its sender, and what comes behind
//! it on a link was sent after it. So the time since the latest heartbeat was sent is at least the age of
//! what comes: and that is known up to a constant, which is the least of the differences between the two
//! clocks that were seen on the link.

use std::time::Duration;

use quorate_cluster::{
    limits::{HEARTBEAT_INTERVAL, on_its_way},
    time::Instant,
};
use quorate_proto::message::Message;

/// How long the least difference of the clocks is remembered at least, and twice as long at most: they do
/// not run equally fast.
const KEPT: Duration = Duration::from_secs(10);

/// What of the time since a heartbeat is a pause between two of them, and not age.
const PAUSE: Duration = HEARTBEAT_INTERVAL.saturating_add(Duration::from_millis(50));

/// The age of what comes on one link.
#[derive(Debug, Default)]
pub(super) struct Age {
    /// The clock of the sender in the latest heartbeat, in milliseconds.
    sent_ms: Option<u64>,
    /// How far the clock of this node was ahead of it when a heartbeat was read, in milliseconds: the
    /// least now, and of before.
    least_ms: i64,
    least_before_ms: i64,
    /// Since when the former is looked for.
    since: Instant,
}

impl Age {
    /// How old a message is at most, which is read now.
    pub(super) fn of(&mut self, now: Instant, message: &Message) -> Duration {
        if let Message::Heartbeat(beat) = message {
            self.note(now, beat.wall_ms);
        }
        self.passed(now)
    }

    /// How old what comes now is at most, other than a heartbeat.
    pub(super) fn passed(&self, now: Instant) -> Duration {
        let Some(sent_ms) = self.sent_ms else { return Duration::ZERO };
        let passed = ahead(now, sent_ms).saturating_sub(self.least_ms.min(self.least_before_ms));
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    }

    fn note(&mut self, now: Instant, wall_ms: u64) {
        let ahead = ahead(now, wall_ms);
        // A clock that was set forward makes the difference less, like a message that was quick.
        let is_set_back = self.sent_ms.is_none_or(|before| wall_ms < before);
        self.sent_ms = Some(wall_ms);
        if is_set_back {
            (self.least_ms, self.least_before_ms, self.since) = (ahead, ahead, now);
        } else if now.since(self.since) >= KEPT {
            (self.least_before_ms, self.least_ms, self.since) = (self.least_ms, ahead, now);
        } else {
            self.least_ms = self.least_ms.min(ahead);
        }
    }
}

fn ahead(now: Instant, wall_ms: u64) -> i64 {
    (now.as_micros() / 1_000) as i64 - wall_ms as i64
}

/// The message, whose sender has waited for so long: a call has less time left. Returns as well by how much
/// it is late: a large one that came in pieces may be on its way for longer.
pub(super) fn shorten(message: Message, late: Duration, in_pieces: bool) -> (Message, Duration) {
    let Message::Forward(mut forward) = message else { return (message, late) };
    let gone = u32::try_from(late.saturating_sub(PAUSE).as_millis()).unwrap_or(u32::MAX);
    forward.budget_ms = forward.budget_ms.saturating_sub(gone);
    let may_take = if in_pieces { on_its_way(forward.command.len()) } else { Duration::ZERO };
    (Message::Forward(forward), late.saturating_sub(may_take))
}

#[cfg(test)]
mod tests {
    use quorate_proto::{Fitness, message::Heartbeat};

    use super::*;

    fn beat(wall_ms: u64) -> Message {
        Message::Heartbeat(Heartbeat { epoch: 1, fitness: Fitness::FIT, hints_pending: 0, wall_ms })
    }

    fn read(age: &mut Age, at: u64, message: &Message) -> u64 {
        age.of(Instant::from_millis(at), message).as_millis() as u64
    }

    #[test]
    fn what_has_waited_while_this_process_stood_still_is_old() {
        let mut age = Age::default();
        assert_eq!(read(&mut age, 500, &Message::Ack), 0, "nothing is known");
        for beats in 0..5 {
            // A millisecond on the way, once more.
            let late = u64::from(beats == 2);
            assert_eq!(
                read(&mut age, 1_001 + late + 200 * beats, &beat(90_000 + 200 * beats)),
                late
            );
        }
        assert_eq!(read(&mut age, 1_901, &Message::Ack), 100);
        // It stands still for ten seconds, and reads all that has come meanwhile at once.
        let woken = 12_000;
        assert!(read(&mut age, woken, &Message::Ack) >= 10_000);
        for beats in 5..50 {
            let sent = 1_000 + 200 * beats;
            let found = read(&mut age, woken, &beat(90_000 + 200 * beats));
            assert_eq!(found, woken - sent - 1, "heartbeat {beats}");
            assert_eq!(read(&mut age, woken, &Message::Ack), found);
        }
        for beats in 55..60 {
            assert_eq!(read(&mut age, 1_001 + 200 * beats, &beat(90_000 + 200 * beats)), 0);
        }
    }

    #[test]
    fn what_was_sent_after_its_sender_stood_still_may_be_old() {
        let mut age = Age::default();
        for beats in 0..5 {
            read(&mut age, 1_000 + 200 * beats, &beat(90_000 + 200 * beats));
        }
        // The sender stands still for three seconds. What it sends then is on the way for as long.
        let (sent, read_at) = (5_000, 8_000);
        assert_eq!(read(&mut age, read_at, &beat(90_000 + sent - 1_000)), read_at - sent);
        assert_eq!(read(&mut age, read_at, &Message::Ack), read_at - sent);
        // Or it is not.
        assert_eq!(read(&mut age, 12_000, &beat(90_000 + 12_000 - 1_000)), 0);
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_old() {
        let mut age = Age::default();
        let mut wall = 90_000_000;
        for beats in 0..100_u64 {
            wall += 200;
            if beats % 7 == 3 {
                wall += 600_000;
            } else if beats % 7 == 5 {
                wall -= 600_000;
            }
            assert_eq!(read(&mut age, 1_000 + 200 * beats, &beat(wall)), 0, "heartbeat {beats}");
        }
        // Nor one that runs faster, or slower.
        for (beats, wall) in (100..1_000_u64).map(|beats| (beats, wall + beats * 199)) {
            let found = read(&mut age, 1_000 + 200 * beats, &beat(wall));
            assert!(found <= 101, "{found} after {beats}");
        }
    }
}
