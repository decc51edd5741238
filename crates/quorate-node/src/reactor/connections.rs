//! The connections of one machine: what each is for, what waits to be sent on it, and what the
//! shell is to do about it.

use std::collections::VecDeque;

use slab::Slab;

use super::{Output, Unsent};

/// Names a connection of one machine. No other one has or had the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// Positions in the table of connections take this many bits of a name; what is left counts.
const POSITION_BITS: u32 = 24;

/// Bytes that may wait to be sent on a connection that is given up: a member list, and what came before it.
const LAST_WORD_MAX: usize = 4 << 20;

impl ConnectionId {
    /// Names below this belong to no connection.
    pub(crate) const FIRST: u64 = 1 << POSITION_BITS;

    /// The same as a number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The one that gave `number`.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Where a table of connections has it: small, and taken again once the connection is gone.
    pub fn position(self) -> usize {
        (self.0 & (Self::FIRST - 1)) as usize
    }
}

/// One connection; `R` says what it is for.
#[derive(Debug)]
pub(super) struct Connection<R> {
    id: ConnectionId,
    pub(super) role: R,
    pub(super) unsent: Unsent,
    /// Whether the shell knows that there is something to send.
    announced: bool,
    /// Whether the connection is closed once everything is sent.
    closing: bool,
    /// Whether the shell was told not to read.
    paused: bool,
}

/// All connections of a machine, and its outputs.
#[derive(Debug)]
pub(super) struct Connections<R> {
    table: Slab<Connection<R>>,
    opened: u64,
    /// Bytes that wait to be sent on all.
    unsent_bytes: usize,
    pub(super) outputs: VecDeque<Output>,
}

impl<R> Default for Connections<R> {
    fn default() -> Self {
        Self { table: Slab::new(), opened: 0, unsent_bytes: 0, outputs: VecDeque::new() }
    }
}

impl<R> Connections<R> {
    pub(super) fn insert(&mut self, role: R) -> ConnectionId {
        let entry = self.table.vacant_entry();
        assert!((entry.key() as u64) < ConnectionId::FIRST, "the system has no such many sockets");
        self.opened += 1;
        let id = ConnectionId(self.opened << POSITION_BITS | entry.key() as u64);
        let unsent = Unsent::default();
        entry.insert(Connection {
            id,
            role,
            unsent,
            announced: false,
            closing: false,
            paused: false,
        });
        id
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection<R>> {
        self.table.get(id.position()).filter(|connection| connection.id == id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection<R>> {
        self.table.get_mut(id.position()).filter(|connection| connection.id == id)
    }

    /// Forgets a connection. Returns what it was for.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<R> {
        self.get(id)?;
        let Connection { role, unsent, .. } = self.table.remove(id.position());
        self.unsent_bytes -= unsent.len();
        Some(role)
    }

    /// Closes a connection at once. Returns what it was for.
    pub(super) fn close(&mut self, id: ConnectionId) -> Option<R> {
        let role = self.remove(id)?;
        self.outputs.push_back(Output::Close(id));
        Some(role)
    }

    /// Opens a connection.
    pub(super) fn dial(&mut self, role: R, address: String) -> ConnectionId {
        let connection = self.insert(role);
        self.outputs.push_back(Output::Dial { connection, address });
        connection
    }

    /// Adds bytes to send, leaving `bytes` empty.
    pub(super) fn send(&mut self, id: ConnectionId, bytes: &mut Vec<u8>) {
        self.send_with(id, |unsent| unsent.push(bytes));
    }

    /// Adds bytes to send.
    pub(super) fn send_with(&mut self, id: ConnectionId, push: impl FnOnce(&mut Unsent)) {
        let Some(connection) = self.get_mut(id) else { return };
        let before = connection.unsent.len();
        push(&mut connection.unsent);
        let added = connection.unsent.len() - before;
        let is_news = !connection.unsent.is_empty() && !connection.announced;
        connection.announced |= is_news;
        self.unsent_bytes += added;
        if is_news {
            self.outputs.push_back(Output::Send(id));
        }
    }

    /// So many bytes are sent. Returns whether the connection is to be closed now.
    pub(super) fn sent(&mut self, id: ConnectionId, bytes: usize) -> bool {
        let Some(connection) = self.get_mut(id) else { return false };
        connection.unsent.advance(bytes);
        connection.announced = false;
        let is_over = connection.closing && connection.unsent.is_empty();
        self.unsent_bytes -= bytes;
        is_over
    }

    /// The connection is to be closed once everything is sent. Returns whether that is now.
    pub(super) fn close_when_sent(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.get_mut(id) else { return false };
        connection.closing = true;
        connection.unsent.is_empty()
    }

    /// Closes a connection after the last word on it: who is no member any more is told so. Who reads
    /// nothing is not waited for.
    pub(super) fn close_after_last_word(&mut self, id: ConnectionId) {
        let is_read = self.unsent(id).is_some_and(|unsent| unsent.len() < LAST_WORD_MAX);
        if !is_read || self.close_when_sent(id) {
            self.close(id);
        }
    }

    /// The shell stops reading.
    pub(super) fn pause(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id) {
            connection.paused = true;
        }
    }

    /// The shell goes on reading, if it has stopped.
    pub(super) fn unpause(&mut self, id: ConnectionId) {
        let Some(connection) = self.get_mut(id) else { return };
        if std::mem::take(&mut connection.paused) {
            self.outputs.push_back(Output::Read(id));
        }
    }

    pub(super) fn unsent(&self, id: ConnectionId) -> Option<&Unsent> {
        self.get(id).map(|connection| &connection.unsent)
    }

    /// Bytes that wait to be sent, on all connections.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// The connections on which something waits to be sent.
    pub(super) fn with_unsent(&self) -> Vec<ConnectionId> {
        if self.unsent_bytes == 0 {
            return Vec::new();
        }
        let connections = self.table.iter().map(|(_, connection)| connection);
        let waiting = connections.filter(|connection| !connection.unsent.is_empty());
        waiting.map(|connection| connection.id).collect()
    }
}
