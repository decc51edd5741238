//! The clients of a shard, as its reactor sees them: what they have sent, and what leaves for them.

use quorate_cluster::coordinator::Terms;
use quorate_proto::command::Call;

use super::{About, Coverage, Errand, Session, Shard, Waiter};
use crate::reactor::{ConnectionId, Ready};

/// Whether a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    None,
    /// Once everything is sent.
    WhenSent,
    AtOnce,
}

impl Shard {
    /// Takes one of the places of clients. Returns whether there was one left.
    pub(crate) fn admit_client(&mut self) -> bool {
        let counters = &mut self.stats.counters;
        let is_admitted = self.node.admit_client();
        counters.connections += 1;
        counters.rejected_connections += u64::from(!is_admitted);
        is_admitted
    }

    /// A client has connected.
    pub(crate) fn open_session(
        &mut self,
        connection: ConnectionId,
        about: About,
        coverage: Coverage,
    ) -> usize {
        let (levels, bulk_max) = (self.node.adjustable.levels(), self.node.settings.max_value_size);
        let (id, partitioner) = (self.node.next_client_id(), self.partitioner().clone());
        let mut session = Session::new(id, connection, levels, (bulk_max, partitioner), about);
        session.coverage = coverage;
        self.sessions.insert(session)
    }

    /// A connection was closed from this side.
    pub(crate) fn drop_session(&mut self, key: usize) {
        self.cancel_queries(key);
        self.sessions.try_remove(key);
    }

    /// A client has closed its connection. What it had sent before is executed.
    pub(crate) fn end_session(&mut self, key: usize) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.end();
            self.enqueue(key);
            self.cancel_queries(key);
        }
    }

    /// A client is gone: whoever works for its query need not go on.
    fn cancel_queries(&mut self, key: usize) {
        let is_its =
            |waiter: &Waiter| matches!(waiter, Waiter::Exclusive { key: own, .. } if *own == key);
        let jobs = self.jobs.iter().filter(|(_, job)| is_its(&job.waiter));
        let calls: Vec<(Call, Terms)> = jobs
            .flat_map(|(_, job)| job.cancel().into_iter().map(|call| (call, job.terms)))
            .collect();
        for (call, terms) in calls {
            self.submit(self.machine, Waiter::Nobody, Errand { call, terms });
        }
    }

    /// The connection of a session, if there is one.
    pub(crate) fn connection_of(&self, key: usize) -> Option<ConnectionId> {
        self.sessions.get(key).map(|session| session.connection)
    }

    /// A client has sent something, which is executed when its turn comes.
    pub(crate) fn session_bytes(&mut self, key: usize, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.inbox.push(bytes);
        self.stats.counters.reads += 1;
        self.stats.counters.input_bytes += bytes.len() as u64;
        self.enqueue(key);
    }

    /// Whether more of what a client has sent would only wait.
    pub(crate) fn is_sated(&self, key: usize) -> bool {
        self.sessions.get(key).is_none_or(Session::is_sated)
    }

    /// The connections with something to send, or to be closed.
    pub(crate) fn take_dirty_sessions(&mut self) -> Vec<usize> {
        let mut dirty = std::mem::take(&mut self.dirty_sessions);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// What leaves for a client, and whether its connection ends.
    pub(crate) fn departing(&mut self, key: usize) -> Option<(ConnectionId, &mut Ready, Ending)> {
        let session = self.sessions.get_mut(key)?;
        if session.is_gone {
            session.replies.ready = Ready::default();
            return None;
        }
        let ending = match () {
            () if session.is_killed => Ending::AtOnce,
            () if session.closing && session.replies.waiting() == 0 => Ending::WhenSent,
            () => Ending::None,
        };
        Some((session.connection, &mut session.replies.ready, ending))
    }

    /// A client has taken `sent` bytes; `unsent` bytes of what has left its session have not left
    /// the node.
    pub(crate) fn session_sent(&mut self, key: usize, sent: usize, unsent: usize) {
        self.stats.counters.writes += 1;
        self.stats.counters.output_bytes += sent as u64;
        self.session_drained(key, unsent);
    }

    /// `unsent` bytes of what has left a session have not left the node.
    pub(crate) fn session_drained(&mut self, key: usize, unsent: usize) {
        if self.sessions.get_mut(key).is_some_and(|session| session.drained(unsent)) {
            self.enqueue(key);
        }
    }

    /// A client is disconnected because it does not read.
    pub(crate) fn report_clogged(&self, key: usize, unsent: usize) {
        if let Some(session) = self.sessions.get(key) {
            let client = &session.about.address;
            tracing::warn!(%client, unsent, "a client does not read its replies; disconnected");
        }
    }
}
