//! Hinted handoff: bringing kept effects to their targets once they are up.
//!
//! Hints go out in order, as much at a time as the target can take, and leave the queue only when
//! it has acknowledged them. A refusal or a lost link winds the queue back; merging an effect twice
//! is harmless. Nothing is ever dropped here but what a target refuses because the slot is not its
//! own any more.

mod window;

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;
use quorate_proto::{
    Dot, MemberNumber, Slot,
    message::{Cause, Message},
};

use crate::{limits::HANDOFF_PAUSE, peer_map::PeerMap, time::Instant};
use window::Window;

/// One kept effect, or one that is equal to several of a slot.
#[derive(Clone, Debug)]
pub struct Hint {
    /// Its place in the target's queue; the first one of several.
    pub first: u64,
    /// The last one of several. Others may stand between them; each hint is part of one only.
    pub last: u64,
    /// The slot of its keys.
    pub slot: Slot,
    /// The writes that it holds all of, as [`Message::Replicate`] has them.
    pub dots: Vec<Dot>,
    /// The effect.
    pub effect: Bytes,
}

/// The queues of hints, one for each target.
pub trait Hints {
    /// Effects that the target has not acknowledged.
    fn pending(&self, target: MemberNumber) -> u64;
    /// The next ones that were not handed out yet, about this many bytes of them, in the order of
    /// their first places.
    fn read(&mut self, target: MemberNumber, bytes_max: usize) -> Vec<Hint>;
    /// How often the queue was opened. What was read from it before the last time may be handed out
    /// once more.
    fn openings(&self, target: MemberNumber) -> u32;
    /// Hands out again whatever is not acknowledged.
    fn rewind(&mut self, target: MemberNumber);
    /// The target has everything up to this one.
    fn acknowledge(&mut self, target: MemberNumber, up_to: u64);
    /// Whether the target holds the slot, as far as is known here. What it does not hold any more
    /// it need not have: others hold it.
    fn is_owed(&self, _target: MemberNumber, _slot: Slot) -> bool {
        true
    }
}

/// A hint to send: to whom, with which correlation id, and the request.
pub type Delivery = (MemberNumber, u64, Message);

/// Delivers the hints of one shard.
#[derive(Debug, Default)]
pub struct Handoff {
    targets: PeerMap<Target>,
}

#[derive(Debug, Default)]
struct Target {
    /// How often the queue was open when it was read last.
    openings: u32,
    alive: bool,
    /// Sent and not acknowledged, oldest first.
    in_flight: VecDeque<InFlight>,
    bytes: usize,
    /// The last place that was handed out, and up to where everything was delivered.
    handed_out: u64,
    delivered: u64,
    window: Window,
    /// Set after a refusal.
    not_before: Option<Instant>,
    /// Tells the answers to what was sent before a rewind from those after it.
    round: u8,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    first: u64,
    slot: Slot,
    bytes: usize,
    sent_at: Instant,
    acknowledged: bool,
}

const ROUND_SHIFT: u32 = 52;
const SEQUENCE_MASK: u64 = (1 << ROUND_SHIFT) - 1;

impl Handoff {
    /// Delivers to these peers, all of them down.
    pub fn new(peers: impl IntoIterator<Item = MemberNumber>) -> Self {
        Self { targets: peers.into_iter().map(|peer| (peer, Target::default())).collect() }
    }

    /// A node has become a peer. It is down.
    pub fn handle_joined(&mut self, peer: MemberNumber) {
        self.targets.insert(peer, Target::default());
    }

    /// A node is no peer any more: nothing is kept for it.
    pub fn handle_left(&mut self, peer: MemberNumber) {
        self.targets.remove(peer);
    }

    /// A target is up.
    pub fn handle_peer_up(&mut self, peer: MemberNumber) {
        self.targets[peer].alive = true;
    }

    /// A target is down; what is under way will be sent again.
    pub fn handle_peer_down(&mut self, hints: &mut impl Hints, peer: MemberNumber) {
        let target = &mut self.targets[peer];
        target.alive = false;
        target.rewind(hints, peer);
    }

    /// Sends what may be sent now.
    pub fn poll(&mut self, now: Instant, hints: &mut impl Hints) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (node, target) in self.targets.iter_mut() {
            if !target.alive || target.not_before.is_some_and(|at| at > now) {
                continue;
            }
            // The pause is over; leaving it set would ask for a poll in the past for ever.
            target.not_before = None;
            let openings = hints.openings(node);
            if openings != target.openings {
                // What is under way was read from a queue that is not open any more.
                target.openings = openings;
                target.rewind(hints, node);
            }
            // Half a window at least, so that what is read together can be coalesced.
            let room = target.window.bytes().saturating_sub(target.bytes);
            if room < target.window.bytes() / 2 || hints.pending(node) == 0 {
                continue;
            }
            for hint in hints.read(node, room) {
                let Hint { first, last, .. } = hint;
                if target.in_flight.is_empty() {
                    target.delivered = first.saturating_sub(1);
                }
                let bytes = hint.effect.len();
                let (slot, sent_at) = (hint.slot, now);
                let sent = InFlight { first, slot, bytes, sent_at, acknowledged: false };
                target.in_flight.push_back(sent);
                target.bytes += bytes;
                target.handed_out = target.handed_out.max(last);
                target.window.handle_sent(now);
                let correlation = u64::from(target.round) << ROUND_SHIFT | first & SEQUENCE_MASK;
                let Hint { slot, dots, effect, .. } = hint;
                let message = Message::Replicate { slot, dots, outcome: None, effect };
                deliveries.push((node, correlation, message));
            }
        }
        deliveries
    }

    /// When to poll again although nothing happens: after a pause that a refusal asked for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.targets
            .values()
            .filter(|target| target.alive)
            .filter_map(|target| target.not_before)
            .min()
    }

    /// The answer to a hint.
    pub fn handle_response(
        &mut self,
        now: Instant,
        hints: &mut impl Hints,
        from: MemberNumber,
        correlation: u64,
        message: &Message,
    ) {
        let target = &mut self.targets[from];
        if (correlation >> ROUND_SHIFT) as u8 & 0x0f != target.round {
            return;
        }
        let first = correlation & SEQUENCE_MASK;
        let found = target.in_flight.binary_search_by_key(&first, |hint| hint.first);
        let is_moot = matches!(message, Message::Rejected { cause: Cause::NotReplica, .. })
            && found.is_ok_and(|at| !hints.is_owed(from, target.in_flight[at].slot));
        if *message != Message::Ack && !is_moot {
            target.window.handle_refused(now);
            target.rewind(hints, from);
            target.not_before = Some(now + HANDOFF_PAUSE);
            return;
        }
        let Ok(at) = found else { return };
        let hint = &mut target.in_flight[at];
        if !core::mem::replace(&mut hint.acknowledged, true) {
            target.window.handle_acknowledged(now, hint.sent_at, hint.bytes);
        }
        let before = target.in_flight.len();
        while let Some(hint) = target.in_flight.pop_front_if(|hint| hint.acknowledged) {
            target.bytes -= hint.bytes;
        }
        if target.in_flight.len() < before {
            // Whatever stands before the first place of those under way is part of none of them.
            let next = target.in_flight.front();
            let up_to = next.map_or(target.handed_out, |hint| hint.first - 1);
            let delivered = up_to.saturating_sub(target.delivered);
            target.delivered = up_to;
            target.window.handle_delivered(now, delivered, target.in_flight.is_empty());
            hints.acknowledge(from, up_to);
        }
    }

    /// Goes on with a target that is up, although it has refused something a moment ago.
    pub fn drain(&mut self, peer: MemberNumber) {
        self.targets[peer].not_before = None;
    }

    /// Whether deliveries to a target that is up are paused, because it has refused something.
    pub fn is_paused(&self, now: Instant, peer: MemberNumber) -> bool {
        let target = &self.targets[peer];
        target.alive && target.not_before.is_some_and(|at| at > now)
    }

    /// Hints that the target has taken a second, when it was measured last.
    pub fn hints_per_second(&self, peer: MemberNumber) -> Option<u64> {
        self.targets[peer].window.hints_per_second()
    }

    /// Bytes that may be on their way to the target.
    pub fn window_bytes(&self, peer: MemberNumber) -> usize {
        self.targets[peer].window.bytes()
    }
}

impl Target {
    fn rewind(&mut self, hints: &mut impl Hints, peer: MemberNumber) {
        self.in_flight.clear();
        (self.bytes, self.handed_out) = (0, 0);
        self.window.handle_lost();
        self.not_before = None;
        self.round = (self.round + 1) & 0x0f;
        hints.rewind(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Queue {
        hints: Vec<u64>,
        read: usize,
        acknowledged: u64,
        openings: u32,
        /// The slots are of others.
        has_moved: bool,
        /// What the next reading gives.
        coalesced: Vec<Hint>,
    }

    impl Hints for Queue {
        fn pending(&self, _: MemberNumber) -> u64 {
            self.hints.len() as u64 - self.acknowledged
        }
        fn read(&mut self, _: MemberNumber, _: usize) -> Vec<Hint> {
            if !self.coalesced.is_empty() {
                return core::mem::take(&mut self.coalesced);
            }
            let new = self.hints[self.read..].iter().take(2);
            let hints: Vec<Hint> = new
                .map(|sequence| Hint {
                    first: *sequence,
                    last: *sequence,
                    slot: Slot::default(),
                    dots: Vec::new(),
                    effect: Bytes::from_static(b"e"),
                })
                .collect();
            self.read += hints.len();
            hints
        }
        fn openings(&self, _: MemberNumber) -> u32 {
            self.openings
        }
        fn rewind(&mut self, _: MemberNumber) {
            self.read = self.acknowledged as usize;
        }
        fn acknowledge(&mut self, _: MemberNumber, up_to: u64) {
            self.acknowledged = up_to;
        }
        fn is_owed(&self, _: MemberNumber, _: Slot) -> bool {
            !self.has_moved
        }
    }

    const PEER: MemberNumber = MemberNumber(1);

    fn start() -> (Handoff, Queue) {
        let mut handoff = Handoff::new([PEER]);
        handoff.handle_peer_up(PEER);
        (handoff, Queue { hints: (1..=4).collect(), ..Queue::default() })
    }

    #[test]
    fn hints_leave_only_when_acknowledged_in_order() {
        let (mut handoff, mut queue) = start();
        let now = Instant::ZERO;
        let sent = handoff.poll(now, &mut queue);
        assert_eq!(sent.len(), 2);
        handoff.handle_response(now, &mut queue, PEER, sent[1].1, &Message::Ack);
        assert_eq!(queue.acknowledged, 0);
        handoff.handle_response(now, &mut queue, PEER, sent[0].1, &Message::Ack);
        assert_eq!(queue.acknowledged, 2);
        assert_eq!(handoff.poll(now, &mut queue).len(), 2);
    }

    #[test]
    fn a_refusal_winds_back_and_waits() {
        let (mut handoff, mut queue) = start();
        let now = Instant::ZERO;
        let sent = handoff.poll(now, &mut queue);
        let refusal = Message::Rejected { cause: Cause::StoreFull, text: "full".into() };
        handoff.handle_response(now, &mut queue, PEER, sent[0].1, &refusal);
        assert!(handoff.poll(now, &mut queue).is_empty());
        let later = handoff.poll_timeout().expect("waits");
        let again = handoff.poll(later, &mut queue);
        assert_eq!(again.len(), 2);
        // Nothing to wait for any more: a shell that sleeps until the timeout must not spin.
        assert_eq!(handoff.poll_timeout(), None);
        // An answer from before the refusal settles nothing.
        handoff.handle_response(later, &mut queue, PEER, sent[1].1, &Message::Ack);
        assert_eq!(queue.acknowledged, 0);
        for (_, correlation, _) in again {
            handoff.handle_response(later, &mut queue, PEER, correlation, &Message::Ack);
        }
        assert_eq!(queue.acknowledged, 2);
    }

    #[test]
    fn what_a_target_does_not_hold_any_more_is_not_kept_for_it() {
        let (mut handoff, mut queue) = start();
        let now = Instant::ZERO;
        let refusal = Message::Rejected { cause: Cause::NotReplica, text: "moved".into() };
        let sent = handoff.poll(now, &mut queue);
        // It may be ahead of this node, which still takes the slot for its own.
        handoff.handle_response(now, &mut queue, PEER, sent[0].1, &refusal);
        assert_eq!(queue.acknowledged, 0);
        queue.has_moved = true;
        let later = handoff.poll_timeout().expect("waits");
        for (_, correlation, _) in handoff.poll(later, &mut queue) {
            handoff.handle_response(later, &mut queue, PEER, correlation, &refusal);
        }
        assert_eq!(queue.acknowledged, 2);
    }

    #[test]
    fn a_queue_that_was_opened_again_starts_over() {
        let (mut handoff, mut queue) = start();
        let now = Instant::ZERO;
        let sent = handoff.poll(now, &mut queue);
        // It failed, and is read from its beginning again.
        (queue.read, queue.openings) = (0, 1);
        let again = handoff.poll(now, &mut queue);
        assert_eq!(again.len(), 2);
        handoff.handle_response(now, &mut queue, PEER, sent[0].1, &Message::Ack);
        assert_eq!(queue.acknowledged, 0);
        for (_, correlation, _) in again {
            handoff.handle_response(now, &mut queue, PEER, correlation, &Message::Ack);
        }
        assert_eq!(queue.acknowledged, 2);
    }

    #[test]
    fn a_lost_link_sends_everything_again() {
        let (mut handoff, mut queue) = start();
        let now = Instant::ZERO;
        assert_eq!(handoff.poll(now, &mut queue).len(), 2);
        handoff.handle_peer_down(&mut queue, PEER);
        assert!(handoff.poll(now, &mut queue).is_empty());
        handoff.handle_peer_up(PEER);
        assert_eq!(handoff.poll(now, &mut queue).len(), 2);
    }

    #[test]
    fn hints_leave_with_the_coalesced_one_that_they_are_part_of() {
        let (mut handoff, mut queue) = start();
        let hint = |first, last| Hint {
            first,
            last,
            slot: Slot::default(),
            dots: Vec::new(),
            effect: Bytes::from_static(b"e"),
        };
        queue.coalesced = alloc::vec![hint(1, 4), hint(2, 3)];
        queue.read = 4;
        let now = Instant::ZERO;
        let sent = handoff.poll(now, &mut queue);
        assert_eq!(sent.len(), 2);
        handoff.handle_response(now, &mut queue, PEER, sent[1].1, &Message::Ack);
        assert_eq!(queue.acknowledged, 0, "the first one may be lost yet");
        handoff.handle_response(now, &mut queue, PEER, sent[0].1, &Message::Ack);
        assert_eq!(queue.acknowledged, 4);
    }

    #[test]
    fn draining_ends_a_pause() {
        let (mut handoff, mut queue) = start();
        let now = Instant::ZERO;
        let sent = handoff.poll(now, &mut queue);
        let refusal = Message::Rejected { cause: Cause::StoreFull, text: "full".into() };
        handoff.handle_response(now, &mut queue, PEER, sent[0].1, &refusal);
        assert!(handoff.is_paused(now, PEER));
        handoff.drain(PEER);
        assert!(!handoff.is_paused(now, PEER));
        assert_eq!(handoff.poll(now, &mut queue).len(), 2);
    }
}
