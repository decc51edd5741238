//! What a client has sent and is not executed yet.
//!
//! Commands are cut out of it some at a time, ahead of their turns, so that their keys can be
//! fetched from memory together.

use std::collections::VecDeque;

use bytes::BytesMut;
use quorate_proto::{
    Partitioner,
    command::{Call, CommandId, Mistake},
    resp::{Command, CommandReader, ProtocolError},
};
use quorate_store::Store;

use crate::limits;

/// What a client has sent.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Bytes read and not parsed yet.
    bytes: BytesMut,
    reader: CommandReader,
    /// Commands parsed and not begun yet.
    ahead: VecDeque<Entry>,
    /// Tells the slots of keys.
    partitioner: Partitioner,
}

/// A command in its place.
#[derive(Debug)]
struct Entry {
    received: Result<Received, ProtocolError>,
    /// Bytes that it came in.
    length: usize,
    /// Whether commands without words came before it.
    has_skipped: bool,
}

/// A whole command of a client.
#[derive(Debug)]
pub(super) enum Received {
    /// One of the table.
    Call(Call),
    /// One that cannot be called.
    Mistaken(Command, Mistake),
}

impl Received {
    fn new(command: Command, partitioner: &Partitioner) -> Self {
        match CommandId::of(&command) {
            Ok(id) | Err(Mistake::Arity { id, .. }) if id.spec().is_internal() => {
                Self::Mistaken(command, Mistake::Unknown)
            }
            Ok(id) => Self::Call(Call::new(id, command, partitioner)),
            Err(mistake) => Self::Mistaken(command, mistake),
        }
    }
}

impl Inbox {
    /// An empty one, which takes arguments of up to `bulk_max` bytes, and places calls.
    pub(super) fn new(bulk_max: usize, partitioner: Partitioner) -> Self {
        Self {
            partitioner,
            bytes: BytesMut::new(),
            reader: CommandReader::new().with_max_bulk(bulk_max),
            ahead: VecDeque::new(),
        }
    }

    /// More has come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let length = self.bytes.len();
        // A long argument whose beginning has come is not copied again and again. What it has yet to
        // bring are addresses: a page is taken when it is written to.
        if length >= limits::ANNOUNCED_RESERVED_MIN && length + bytes.len() > self.bytes.capacity()
        {
            self.bytes.reserve(self.reader.announced().saturating_sub(length));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of what is not begun yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.ahead.iter().map(|entry| entry.length).sum::<usize>()
    }

    /// Whether all that has come is begun.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.ahead.is_empty()
    }

    /// Bytes of memory that are taken.
    pub(super) fn capacity(&self) -> usize {
        self.len() - self.bytes.len() + self.bytes.capacity()
    }

    /// Forgets all that has come.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ahead.clear();
    }

    /// Gives back what a burst of commands has taken.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.capacity() > limits::BUFFER_KEPT_MAX {
            self.bytes = BytesMut::new();
        }
    }

    /// When all that was parsed has begun: parses as many commands as are worth fetching together.
    /// Returns the calls, if there are several.
    pub(super) fn read_ahead(&mut self) -> impl Iterator<Item = &Call> {
        let goes_on = self.ahead.is_empty();
        while goes_on && self.ahead.len() < Store::PREFETCHED_KEYS_MAX && self.parse() {}
        let is_worth = goes_on && self.ahead.len() > 1;
        let calls = self.ahead.iter().filter_map(|entry| match &entry.received {
            Ok(Received::Call(call)) => Some(call),
            _ => None,
        });
        calls.take(if is_worth { Store::PREFETCHED_KEYS_MAX } else { 0 })
    }

    /// Parses a command. Returns whether there may be more.
    fn parse(&mut self) -> bool {
        let before = self.bytes.len();
        let received = self.reader.next(&mut self.bytes).transpose();
        let Some(received) = received else { return false };
        let goes_on = received.is_ok();
        let length = before - self.bytes.len();
        let received = received.map(|command| Received::new(command, &self.partitioner));
        let has_skipped = self.reader.take_skipped();
        self.ahead.push_back(Entry { received, length, has_skipped });
        goes_on
    }

    /// The next command, if a whole one has come, and whether commands without words came before
    /// it.
    pub(super) fn next(&mut self) -> (Result<Option<Received>, ProtocolError>, bool) {
        if self.ahead.is_empty() {
            self.parse();
        }
        match self.ahead.pop_front() {
            Some(entry) => (entry.received.map(Some), entry.has_skipped),
            None => (Ok(None), self.reader.take_skipped()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::new(1024, Partitioner::Slots);
        inbox.push(bytes);
        inbox
    }

    fn names(inbox: &mut Inbox) -> Vec<String> {
        inbox.read_ahead().map(|call| call.id().to_string()).collect()
    }

    fn next(inbox: &mut Inbox) -> String {
        match inbox.next() {
            (Ok(Some(Received::Call(call))), skipped) => format!("{} {skipped}", call.id()),
            (Ok(Some(Received::Mistaken(_, mistake))), skipped) => format!("{mistake:?} {skipped}"),
            (Ok(None), skipped) => format!("nothing {skipped}"),
            (Err(_), skipped) => format!("broken {skipped}"),
        }
    }

    #[test]
    fn what_is_read_ahead_comes_in_order_and_once() {
        let mut inbox = inbox(b"GET a\r\nNOSUCH\r\n\r\nSTRLEN a\r\nGET");
        let length = inbox.len();
        assert_eq!(names(&mut inbox), ["get", "strlen"]);
        assert_eq!(inbox.len(), length, "none of it has begun");
        assert_eq!(next(&mut inbox), "get false");
        inbox.push(b" b\r\n");
        assert_eq!(names(&mut inbox), [""; 0], "the rest has been read ahead");
        assert_eq!(next(&mut inbox), "Unknown false");
        assert_eq!(next(&mut inbox), "strlen true");
        assert_eq!(names(&mut inbox), [""; 0], "one alone has nothing to overlap with");
        assert_eq!(next(&mut inbox), "get false");
        assert!(inbox.is_empty());
        assert_eq!(next(&mut inbox), "nothing false");
    }

    #[test]
    fn what_is_broken_is_met_behind_what_came_before() {
        let mut inbox = inbox(b"GET a\r\nGET b\r\n*1\r\n!");
        assert_eq!(names(&mut inbox), ["get", "get"]);
        assert_eq!(next(&mut inbox), "get false");
        assert_eq!(next(&mut inbox), "get false");
        assert_eq!(next(&mut inbox), "broken false");
        inbox.clear();
        assert!(inbox.is_empty());
    }

    #[test]
    fn no_more_is_read_ahead_than_is_fetched_together() {
        let mut inbox = inbox(&b"GET a\r\n".repeat(Store::PREFETCHED_KEYS_MAX + 1));
        assert_eq!(names(&mut inbox).len(), Store::PREFETCHED_KEYS_MAX);
        assert!(!inbox.bytes.is_empty());
    }
}
