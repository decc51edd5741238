//! Requests that wait until the node has started, or until the member list is final.

use bytes::Bytes;
use quorate_cluster::{anti_entropy::PeerRequest, time::Instant};
use quorate_proto::message::{Cause, Message};

use super::{Now, Shard, Waiter};
use crate::node::{Footing, WAITS_FOR_PROMISES, WAITS_FOR_SEEDS};

impl Shard {
    /// How the node stands with its cluster has changed.
    pub(super) fn handle_footing(&mut self, now: Now, founded: bool) {
        self.founded = founded;
        if self.founded {
            self.starting.handle_founded(now.monotonic);
        }
    }

    /// Whether the start is to end.
    pub(super) fn start_is_due(&self, now: Instant) -> bool {
        self.starting.is_due(now, self.peers.is_ready(), self.peers.met())
    }

    /// Ends the start when that is due: the clock was read since the peers were met.
    pub(super) fn end_start(&mut self, now: Now) {
        if self.start_is_due(now.monotonic) {
            self.starting.end();
            self.run_waiting(now);
            for request in std::mem::take(&mut self.forwarded).take(now.monotonic) {
                self.serve(now, request);
            }
            self.service(now);
        }
    }

    /// Keeps a call of a peer until the start ends: this node would take those that it has not met
    /// for dead.
    pub(super) fn hold_forwarded(&mut self, now: Now, request: PeerRequest) {
        if let Err(request) = self.forwarded.push(now.monotonic, request) {
            if let Message::Forward(forward) = &request.message {
                self.coordinator.note_refusal(now.monotonic, forward.slot, Cause::Overloaded);
            }
            let reason = "too many requests wait for the start of this node";
            self.refuse_request(now, *request, reason);
        }
    }

    /// Runs what has waited, unless it must wait on.
    pub(super) fn run_waiting(&mut self, now: Now) {
        for (waiter, errand) in std::mem::take(&mut self.waiting) {
            self.run(now, waiter, errand);
        }
        for (waiter, bundle) in self.bundles.take_waiting() {
            self.submit_bundle(now, waiter, bundle);
        }
    }

    /// When the first of what waits has waited for too long.
    pub(super) fn next_waiting(&self) -> Option<Instant> {
        let deadlines = self.waiting.iter().map(|(_, errand)| errand.terms.deadline);
        deadlines.chain(self.bundles.waiting_deadlines()).min()
    }

    /// Gives up on what has waited for too long, and says what for.
    pub(super) fn expire_waiting(&mut self, now: Now) {
        self.forwarded.expire(now.monotonic);
        let (late, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, errand)| errand.terms.deadline <= now.monotonic);
        self.waiting = waiting;
        let late = late.into_iter().map(|(waiter, _)| waiter);
        let late: Vec<Waiter> = late.chain(self.bundles.take_late(now.monotonic)).collect();
        if late.is_empty() {
            return;
        }
        let text = Bytes::from(format!("-UNAVAILABLE {}\r\n", self.awaited_text()));
        for waiter in late {
            self.deliver(now, waiter, text.clone());
        }
    }

    /// What a request has waited for in vain, and what is to be done about it.
    fn awaited_text(&self) -> String {
        let Footing { founded, rejoining, is_candidate, awaited } = self.node.footing();
        let awaited = awaited.join(", ");
        if self.has_started() && self.topology().sealed() {
            "a long command was not done in time; nothing was done".into()
        } else if founded && self.topology().sealed() {
            "this node has just started and has not met the others yet; nothing was done".into()
        } else if founded {
            format!("{WAITS_FOR_PROMISES}; nothing was done. It waits for: {awaited}")
        } else if rejoining {
            format!(
                "this node was a member, has lost everything, and needs all others to get its seat again; \
                 nothing was done. It waits for: {awaited}"
            )
        } else if is_candidate {
            let topology = self.topology();
            let name = &topology.member(topology.me()).name;
            format!(
                "this node waits to be taken in (quorate join {name}, on a member); nothing was done"
            )
        } else if awaited.is_empty() {
            "this node has just started and waits for the others to accept it; nothing was done"
                .into()
        } else {
            format!("{WAITS_FOR_SEEDS}; nothing was done. It waits for: {awaited}")
        }
    }
}
