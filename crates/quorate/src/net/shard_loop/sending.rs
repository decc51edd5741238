//! What a turn sends, once it is written: replies to clients, and messages to other nodes.

use quorate_proto::resp::reply;

use super::ShardLoop;
use crate::{
    limits,
    shard::{Now, Shard},
};

impl ShardLoop {
    pub(super) fn flush_sessions(&mut self, now: Now) {
        let mut dirty = std::mem::take(&mut self.shard.dirty_sessions);
        dirty.sort_unstable();
        dirty.dedup();
        for &session in &dirty {
            if let Some(&key) = self.by_session.get(&session) {
                self.flush_session(now, session, key);
            } else if let Some(&client) = self.embedded_by_session.get(&session) {
                self.flush_embedded(session, client);
            }
        }
        dirty.clear();
        self.shard.dirty_sessions = dirty;
    }

    fn flush_session(&mut self, now: Now, session: usize, key: usize) {
        let Some(state) = self.shard.sessions.get_mut(session) else { return };
        let peer = &mut self.connections[key];
        if peer.paused && !state.is_sated() {
            peer.paused = false;
            self.unread.push(key);
        }
        let connection = &mut peer.connection;
        connection.push(&mut state.replies.ready);
        let closing = state.closing && state.replies.waiting() == 0;
        let before = connection.waiting();
        let failed = connection.flush().is_err();
        let counters = &mut self.shard.stats.counters;
        counters.writes += u64::from(before > 0);
        counters.output_bytes += (before - connection.waiting()) as u64;
        let clogged = connection.waiting() > limits::SESSION_OUTPUT_MAX;
        if clogged {
            tracing::warn!(client = %state.about.address, "a client does not read; disconnected");
        }
        let unsent = connection.waiting();
        if failed || clogged || state.is_killed || (closing && unsent == 0) {
            return self.close(now, key);
        }
        self.shard.session_drained(session, unsent);
    }

    /// Hands complete replies to those who wait for them.
    fn flush_embedded(&mut self, session: usize, client: u64) {
        let Some(state) = self.shard.sessions.get_mut(session) else { return };
        let Some(embedded) = self.embedded.get_mut(&client) else { return };
        let ready = &mut state.replies.ready;
        let mut start = 0;
        while let Ok(Some(length)) = reply::skip(&ready[start..]) {
            let reply = bytes::Bytes::copy_from_slice(&ready[start..start + length]);
            start += length;
            if let Some(waiter) = embedded.waiting.pop_front() {
                // A caller that has gone away does not want its reply.
                let _ = waiter.send(reply);
            }
        }
        ready.drain(..start);
        // A command that cannot be read, as one with a value that is too large, ends the session.
        if state.closing && state.replies.waiting() == 0 {
            return self.close_embedded(client);
        }
        self.shard.session_drained(session, 0);
    }

    pub(super) fn flush_links(&mut self, now: Now) {
        let mut broken = Vec::new();
        for link in self.shard.outgoing_output() {
            let Some(&key) = self.by_outgoing.get(&link.link.0) else { continue };
            let connection = &mut self.connections[key].connection;
            connection.push(&mut link.output);
            if connection.flush().is_err() || Shard::check_clogged(connection.waiting()).is_err() {
                broken.push(key);
            }
        }
        for link in self.shard.incoming_with_output() {
            let Some(&key) = self.by_incoming.get(&link.0) else { continue };
            let (mut output, closing) = self.shard.incoming_output(link);
            let connection = &mut self.connections[key].connection;
            connection.push(&mut output);
            let failed = connection.flush().is_err();
            if failed || closing || Shard::check_clogged(connection.waiting()).is_err() {
                broken.push(key);
            }
        }
        broken.into_iter().for_each(|key| self.close(now, key));
    }
}
