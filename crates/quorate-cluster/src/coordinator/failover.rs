//! Executors and replicas that are up and silent: what waits for them goes elsewhere.
//!
//! A node that stands still, or that nothing gets through to, is down only after a second. Until then
//! it is *quiet*: it is asked last, and reads that wait for it are put to others at once. A write that
//! waits for it was perhaps executed, so it waits on, unless it may be repeated:
//!
//! ```text
//!   Forwarding --- executor quiet, REPEATED_AFTER over --> Asking --- all others deny --> next executor
//!   Forwarding --- link lost --> Asking --- all others deny, RETURN_PATIENCE over ------> next executor
//! ```
//! A write may be repeated when it only overwrites, whatever it finds (`SET`, `HSET`, `SADD`): executed
//! twice it leaves what it leaves when executed once, at the time of the second execution, as long as the
//! first one does not come later. Therefore an executor begins such a write within
//! [`BEGUN_WITHIN`](crate::limits::BEGUN_WITHIN) after it was sent, counting the time in which it stood
//! still itself, or refuses it; and it is repeated only by nodes of its datacentre, later than
//! that. Both are later for a large call, by the time for which it may be [on its
//! way](crate::limits::on_its_way).
//!
//! Any write is passed on when its executor says that it has not executed it and will not.

use alloc::{format, string::String, vec::Vec};

use bytes::Bytes;
use quorate_proto::{
    MemberNumber,
    command::{Call, Class},
    mutant::Mutant,
};

use super::{Attempt, Coordinator, Replica, Request, Requester, errors, stage::Phase};
use crate::{limits::RETURN_PATIENCE, positions::Positions, time::Instant};

/// Commands that leave the same when they are executed twice, as long as they are of [`Class::Write`].
const REPEATABLE: [&str; 6] = ["set", "mset", "hset", "hmset", "sadd", "zadd"];

/// Whether a call may be executed a second time after it.
pub(super) fn is_repeatable(call: &Call) -> bool {
    call.class() == Class::Write && REPEATABLE.contains(&call.spec().name)
}

/// By when a call is begun here or not at all, because others may execute it after that.
pub(super) fn begin_by(requester: Requester, call: &Call) -> Option<Instant> {
    match requester {
        Requester::Peer { .. } if Mutant::BegunLate.is_planted() => None,
        Requester::Peer { begin_by, .. } if is_repeatable(call) => Some(begin_by),
        Requester::Peer { .. } | Requester::Session { .. } => None,
    }
}

impl Coordinator {
    /// A peer that is up is silent, or is heard again.
    pub fn handle_quiet(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        peer: MemberNumber,
        is_quiet: bool,
    ) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.quiet = is_quiet;
        self.following.executors_changed(None);
        if !is_quiet {
            return;
        }
        let waits = self.operations.iter();
        let waits = waits.filter(|(_, found)| found.waits_for(&self.topology, peer));
        let waits: Vec<usize> = waits.map(|(index, _)| index).collect();
        for index in waits {
            self.go_past(now, replica, index, peer);
        }
        self.take_over_without(now, replica, peer);
        self.end_repairs(now, replica);
    }

    /// An operation waits for a peer that is quiet.
    fn go_past(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        peer: MemberNumber,
    ) {
        let operation = &mut self.operations[index];
        match operation.phase() {
            Phase::Forwarding(_) if operation.writes() => {
                if is_repeatable(&operation.call) && self.topology.is_local(peer) {
                    let at = now.max(operation.repeated_from());
                    operation.bypass_at =
                        Some(operation.bypass_at.map_or(at, |other| other.min(at)));
                    self.wake_by(at);
                }
            }
            Phase::Forwarding(_)
            | Phase::Digests
            | Phase::States
            | Phase::Elements
            | Phase::Repairing => self.bypass_silent(now, replica, index),
            Phase::Asking(_)
            | Phase::Reading
            | Phase::Executing
            | Phase::Replicating
            | Phase::Settled => {}
        }
    }

    /// The executor of a write that may be repeated has been silent for long enough.
    pub(super) fn write_bypassed(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        executor: MemberNumber,
    ) {
        if self.peers.get(executor).is_some_and(|peer| peer.quiet) {
            self.ask_outcome(now, replica, index, executor);
            self.repeat_if_lost(now, replica, index, executor);
        }
    }

    /// Brings a write to the next executor whose outcome is asked for, if it may be repeated and nobody
    /// who answers has heard of it.
    pub(super) fn repeat_if_lost(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        executor: MemberNumber,
    ) {
        let Some(operation) = self.operations.get(index) else { return };
        let is_asking = operation.phase() == Phase::Asking(executor);
        if !is_asking || !is_repeatable(&operation.call) || operation.reply.is_some() {
            return;
        }
        let at = self.topology.position(operation.slot(), executor);
        let executor_at: Positions = at.into_iter().collect();
        let has_returned = at.is_some_and(|at| operation.refused.contains(at));
        let is_away = self.peers.get(executor).is_none_or(|peer| peer.quiet || !peer.alive);
        let is_quiet = self.peers.get(executor).is_some_and(|peer| peer.quiet);
        let may_return = !is_quiet && now < operation.since + RETURN_PATIENCE;
        let may_begin = now < operation.repeated_from();
        // So many that whoever has read it at this level has asked one of them.
        let denied = operation.requirement.is_met_by(operation.refused | operation.own());
        let others_deny = denied && (operation.asked - executor_at).is_empty();
        let is_local = self.topology.get(executor).is_some() && self.topology.is_local(executor);
        let is_lost = is_away && !may_return && !may_begin && !has_returned;
        if others_deny && is_local && is_lost {
            self.repeat(now, replica, index, executor_at);
        }
    }

    /// Brings a write to the next executor, none of `refused`.
    fn repeat(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        refused: Positions,
    ) {
        let operation = self.operations.remove(index);
        let requester = operation.requester;
        if let Requester::Session { id, .. } = requester {
            self.repeated.insert(id);
        }
        let attempt = Attempt { requester, request: operation.into_request(0), refused };
        let error = errors::unknown("the executor is silent, and no other replica can execute it");
        self.execute_elsewhere(now, replica, attempt, error);
    }

    /// The executor has not executed a write, and never will.
    pub(super) fn executed_nowhere(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
    ) {
        let operation = self.operations.remove(index);
        let requester = operation.requester;
        let request: Request = operation.into_request(0);
        self.start(now, replica, requester, request);
    }

    /// What a session is told: that nothing was done cannot be said of a write that was repeated.
    pub(super) fn doubted(&mut self, request: u64, reply: Bytes) -> Bytes {
        if !self.repeated.remove(&request) {
            return reply;
        }
        let codes = [&b"-UNAVAILABLE "[..], b"-OVERLOADED ", b"-MISCONF ", b"-TIMEOUT "];
        let Some(code) = codes.into_iter().find(|code| reply.starts_with(code)) else {
            return reply;
        };
        let text = String::from_utf8_lossy(reply[code.len()..].trim_ascii_end());
        let text = text.strip_suffix("; nothing was done").unwrap_or(&text);
        errors::unknown(&format!("{text}; its first executor is silent"))
    }
}
