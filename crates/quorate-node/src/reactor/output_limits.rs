//! What clients that do not read their replies may cost.
//!
//! Beyond a pause, which sessions observe, a connection executes nothing more. What it holds by
//! then, a single reply of any length, counts against the limits here: those of its class, as
//! Redis's `client-output-buffer-limit`, and one for all clients of the node, as
//! `maxmemory-clients`, beyond which whoever holds most is disconnected.

use std::{collections::HashSet, time::Duration};

use super::{ConnectionId, Reactor, Unsent, shard_reactor::Role};
use crate::{adjustable::OutputLimit, limits, shard::Now};

impl Reactor {
    /// Whether a client holds more than its class may, or has held much for too long.
    pub(super) fn is_over_limit(&mut self, connection: ConnectionId, limit: OutputLimit) -> bool {
        let now = self.turn.monotonic;
        let Some(found) = self.connections.get_mut(connection) else { return false };
        let Role::Client { much_since, .. } = &mut found.role else { return false };
        let bytes = found.unsent.len().saturating_sub(limits::OUTPUT_UNCOUNTED) as u64;
        let since = limit.is_soft_passed(bytes).then(|| much_since.unwrap_or(now));
        *much_since = since;
        let patience = Duration::from_secs(limit.soft_seconds);
        limit.is_hard_passed(bytes) || since.is_some_and(|since| now.since(since) >= patience)
    }

    /// Looks at clients that take nothing, of which no turn has anything to say.
    pub(super) fn look_at_readers(&mut self, now: Now) {
        if now.monotonic < self.readers_at {
            return;
        }
        self.readers_at = now.monotonic + limits::READERS_EVERY;
        let limit = self.node.adjustable.output_limit();
        for connection in self.connections.with_unsent() {
            if self.is_over_limit(connection, limit) {
                self.disconnect_reader(connection);
            }
        }
    }

    /// Disconnects the slowest readers while the clients of the node hold more than they may, and
    /// those of this shard more than its share.
    pub(super) fn bound_clients(&mut self) {
        let unsent = self.connections.unsent_bytes() as u64;
        if unsent.abs_diff(self.bounded_at) < limits::CLIENT_BYTES_STEP {
            return;
        }
        self.bounded_at = unsent;
        let most = match self.node.adjustable.clients_output_max() {
            0 => return,
            most => most,
        };
        let share = most / u64::from(self.node.settings.shards);
        // Long replies are shared, and cost once what they seem to cost each reader.
        let mut held = if unsent <= share { unsent } else { self.distinct_bytes() };
        loop {
            self.node.publish_client_bytes(self.id(), held);
            if held <= share || self.node.client_bytes() <= most {
                return;
            }
            let Some(slowest) = self.slowest_reader() else { return };
            self.disconnect_reader(slowest);
            held = self.distinct_bytes();
        }
    }

    /// Bytes of replies that clients have not taken, those that several share counted once.
    fn distinct_bytes(&self) -> u64 {
        let mut seen = HashSet::new();
        let mut bytes = 0;
        for connection in self.clients_with_unsent() {
            let Some(unsent) = self.connections.unsent(connection) else { continue };
            bytes += unsent.own_len() as u64;
            let shared = unsent.shared().filter(|shared| seen.insert(shared.as_ptr()));
            bytes += shared.map(|shared| shared.len() as u64).sum::<u64>();
        }
        bytes
    }

    fn clients_with_unsent(&self) -> impl Iterator<Item = ConnectionId> {
        let is_client = |connection: &ConnectionId| {
            let found = self.connections.get(*connection);
            found.is_some_and(|found| matches!(found.role, Role::Client { .. }))
        };
        self.connections.with_unsent().into_iter().filter(is_client)
    }

    fn slowest_reader(&self) -> Option<ConnectionId> {
        let held =
            |connection: &ConnectionId| self.connections.unsent(*connection).map_or(0, Unsent::len);
        self.clients_with_unsent().max_by_key(held)
    }

    /// Disconnects a client that does not read.
    pub(super) fn disconnect_reader(&mut self, connection: ConnectionId) {
        let Some(found) = self.connections.get(connection) else { return };
        if let Role::Client { session, .. } = found.role {
            self.shard.report_clogged(session, found.unsent.len());
        }
        self.close_connection(connection);
    }
}
