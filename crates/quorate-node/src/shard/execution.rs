//! In which order clients' commands are executed, and how many in a turn.
//!
//! Connections that have sent something stand in a queue. Each executes a batch of its commands and
//! goes to the end if it has more; when the turn has used up its commands, bytes or time, the
//! others go first in the next one. Commands that become many, one for each slot, stand in a queue
//! of their own, and take turns with the connections. So no client waits for another one's
//! pipeline or thousands of keys, and what other nodes send, which is handled when it arrives,
//! waits for no more than one turn.

use std::time::Duration;

use quorate_cluster::time::Instant;
use quorate_proto::{mutant::Mutant, resp::ReplyWriter};

use super::{Now, Shard, inbox::Received, session::Admission};
use crate::limits;

/// What is left of a turn for commands of clients.
#[derive(Debug)]
struct Budget {
    commands: u32,
    bytes: usize,
    ends: Instant,
}

impl Shard {
    /// A connection may go on with what it has sent.
    pub(super) fn enqueue(&mut self, key: usize) {
        if let Some(session) = self.sessions.get_mut(key)
            && !std::mem::replace(&mut session.is_queued, true)
        {
            self.ready.push_back(key);
        }
    }

    /// Executes what clients have sent, as much of it as fits into a turn.
    pub(crate) fn execute(&mut self, now: Now) {
        let nothing_waits = self.ready.is_empty() && self.ready_jobs.is_empty();
        if nothing_waits || self.is_lent() {
            return;
        }
        let mut left = Budget {
            commands: limits::COMMANDS_PER_TURN_MAX,
            bytes: limits::BYTES_PER_TURN_MAX,
            ends: self.stats.read_stopwatch() + Duration::from_micros(limits::TURN_MICROS_MAX),
        };
        while left.commands > 0 && left.bytes > 0 && self.stats.shown() < left.ends {
            let (job, key) = (self.ready_jobs.pop_front(), self.ready.pop_front());
            if job.is_none() && key.is_none() {
                return;
            }
            if let Some(job) = job {
                left.commands -= self.run_pieces(now, job, left.commands);
            }
            if let Some(key) = key {
                self.execute_batch(now, key, &mut left);
            }
        }
    }

    /// Executes a batch of a connection.
    fn execute_batch(&mut self, now: Now, key: usize, left: &mut Budget) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.is_queued = false;
        let before = session.bytes_moved();
        left.commands = left.commands.saturating_sub(self.resume(now, key, left.commands));
        self.send_series(now, key, None);
        self.dirty_sessions.push(key);
        self.service(now);
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.inbox.shrink();
        left.bytes = left.bytes.saturating_sub(session.bytes_moved().wrapping_sub(before));
        if session.is_over() {
            self.sessions.remove(key);
        }
    }

    /// Executes a batch of a connection, of at most `most` commands. Returns how many it has
    /// executed.
    fn resume(&mut self, now: Now, key: usize, most: u32) -> u32 {
        let ends = self.stats.shown() + Duration::from_micros(limits::BATCH_MICROS_MAX);
        if let Some(session) = self.sessions.get_mut(key)
            && let Some(call) = session.held.take()
        {
            session.is_blocked = false;
            self.call(now, key, call);
        }
        let is_bounded = !Mutant::TurnUnbounded.is_planted();
        let most = if is_bounded { most.min(limits::COMMANDS_PER_BATCH_MAX) } else { u32::MAX };
        for executed in 0..most {
            let Some(session) = self.sessions.get_mut(key) else { return executed };
            if session.admits() == Admission::Waits {
                return executed;
            }
            self.storage.prefetch(session.inbox.read_ahead());
            match session.next_command() {
                Ok(Some(Received::Call(call))) => self.call(now, key, call),
                Ok(Some(Received::Mistaken(command, mistake))) => {
                    self.mistaken(now, key, &command, mistake);
                }
                Ok(None) => return executed,
                Err(error) => {
                    session.replies.push(|out| {
                        ReplyWriter::new(out, false).error(format_args!("ERR {error}"));
                    });
                    session.closing = true;
                    session.inbox.clear();
                    return executed;
                }
            }
            if self.stats.shown() >= ends && is_bounded {
                self.enqueue(key);
                return executed + 1;
            }
        }
        self.enqueue(key);
        most
    }
}
