//! Calls that peers have forwarded to a node that starts, which wait until it has met the others.
//!
//! They are bounded, and each waits for as long as its caller does: what a client was told to have
//! failed must not be begun afterwards.

use std::{collections::VecDeque, time::Duration};

use quorate_cluster::{anti_entropy::PeerRequest, time::Instant};
use quorate_proto::message::Message;

use crate::limits::{FORWARDED_BYTES_MAX, FORWARDED_MAX};

/// The calls in the order in which they came, with the moments at which their callers give up.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    calls: VecDeque<(Instant, PeerRequest)>,
    bytes: usize,
}

impl Forwarded {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Keeps a call that has just arrived. Gives it back when too much is kept, and whatever is no
    /// call.
    pub(super) fn push(
        &mut self,
        now: Instant,
        request: PeerRequest,
    ) -> Result<(), Box<PeerRequest>> {
        let Message::Forward(forward) = &request.message else { return Err(request.into()) };
        let bytes = self.bytes + command_bytes(&request);
        if self.calls.len() >= FORWARDED_MAX || bytes > FORWARDED_BYTES_MAX {
            return Err(request.into());
        }
        self.bytes = bytes;
        let deadline = now + Duration::from_millis(u64::from(forward.budget_ms));
        self.calls.push_back((deadline, request));
        Ok(())
    }

    /// Takes all whose callers still wait, each with the time that is left.
    pub(super) fn take(self, now: Instant) -> impl Iterator<Item = PeerRequest> {
        self.calls.into_iter().filter_map(move |(deadline, mut request)| {
            let Message::Forward(forward) = &mut request.message else { return None };
            let left = deadline.since(now).as_millis();
            let budget = u128::from(forward.budget_ms);
            let waited = budget.saturating_sub(left);
            request.late += Duration::from_millis(u64::try_from(waited).unwrap_or(u64::MAX));
            forward.budget_ms = u32::try_from(left).unwrap_or(u32::MAX);
            (left > 0).then_some(request)
        })
    }

    /// Forgets those whose callers have given up.
    pub(super) fn expire(&mut self, now: Instant) {
        self.calls.retain(|(deadline, _)| *deadline > now);
        self.bytes = self.calls.iter().map(|(_, request)| command_bytes(request)).sum();
    }
}

/// Bytes of the command of a call.
fn command_bytes(request: &PeerRequest) -> usize {
    match &request.message {
        Message::Forward(forward) => forward.command.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_cluster::membership::LinkId;
    use quorate_proto::{CallId, Level, MemberNumber, Slot, message::Forward};

    use super::*;

    fn call(correlation: u64, bytes: usize, budget_ms: u32) -> PeerRequest {
        let message = Message::Forward(Forward {
            slot: Slot::default(),
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            resp3: false,
            budget_ms,
            id: CallId::from_bytes([0; CallId::LENGTH]),
            command: Bytes::from(vec![0; bytes]),
        });
        let from = MemberNumber(1);
        let late = Duration::ZERO;
        PeerRequest { link: LinkId(1), correlation, epoch: 1, from, late, message }
    }

    fn taken(forwarded: &mut Forwarded, now: u64) -> Vec<(u64, u32)> {
        let taken =
            std::mem::take(forwarded).take(Instant::from_millis(now)).map(|request| match request
                .message
            {
                Message::Forward(forward) => (request.correlation, forward.budget_ms),
                other => panic!("no call: {other:?}"),
            });
        taken.collect()
    }

    #[test]
    fn a_call_waits_for_as_long_as_its_caller() {
        let mut forwarded = Forwarded::default();
        let arrived = Instant::from_millis(100);
        for (correlation, budget_ms) in [(1, 500), (2, 300), (3, 200)] {
            forwarded.push(arrived, call(correlation, 10, budget_ms)).expect("there is room");
        }
        forwarded.expire(Instant::from_millis(300));
        assert_eq!(forwarded.calls.len(), 2);
        assert_eq!(taken(&mut forwarded, 400), [(1, 200)]);
        assert!(forwarded.is_empty());
    }

    #[test]
    fn what_is_too_much_is_given_back_until_there_is_room() {
        let mut forwarded = Forwarded::default();
        let half = FORWARDED_BYTES_MAX / 2;
        for budget_ms in [100, 900] {
            forwarded.push(Instant::ZERO, call(0, half, budget_ms)).expect("there is room");
        }
        forwarded.push(Instant::ZERO, call(7, 1, 900)).expect_err("too many bytes");
        forwarded.expire(Instant::from_millis(100));
        forwarded.push(Instant::ZERO, call(7, half, 900)).expect("the first has gone");
        let _ = taken(&mut forwarded, 0);
        for correlation in 0..FORWARDED_MAX as u64 {
            forwarded.push(Instant::ZERO, call(correlation, 1, 900)).expect("there is room");
        }
        let refused = forwarded.push(Instant::ZERO, call(7, 1, 900)).expect_err("too many calls");
        assert_eq!(refused.correlation, 7);
    }
}
