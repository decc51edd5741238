//! One client connection, without its socket: replies in order, and the connection's settings.
//!
//! Replies leave in the order of the commands, whatever order they become known in. Where several
//! replicas are involved, a command that could overtake an earlier one on the same slot waits: a
//! read behind a write and a write behind a read. Writes on one slot follow each other to the same
//! executor in order, and reads do not disturb each other.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quorate_proto::{
    Level, Slot,
    resp::{Command, CommandReader},
};

/// The replies of one connection.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Encoded replies that may leave.
    pub(crate) ready: Vec<u8>,
    /// Replies behind one that is not known yet.
    waiting: VecDeque<Option<Bytes>>,
    /// Number of the first entry of `waiting`.
    first: u64,
}

/// Position of a reply in its connection's order.
pub(crate) type ReplyNumber = u64;

impl Replies {
    /// Replies not known yet, or waiting behind such a one.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next place in the order for a reply that comes later.
    pub(crate) fn expect(&mut self) -> ReplyNumber {
        self.waiting.push_back(None);
        self.first + self.waiting.len() as u64 - 1
    }

    /// Adds a reply that is known already, behind everything expected before.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.waiting.is_empty() {
            write(&mut self.ready);
        } else {
            let mut reply = Vec::new();
            write(&mut reply);
            self.waiting.push_back(Some(reply.into()));
        }
    }

    /// Fills in an expected reply.
    pub(crate) fn fill(&mut self, number: ReplyNumber, reply: &Bytes) {
        if number == self.first {
            self.ready.extend_from_slice(reply);
            self.waiting.pop_front();
            self.first += 1;
            self.release();
        } else {
            let index = (number - self.first) as usize;
            self.waiting[index] = Some(reply.clone());
        }
    }

    fn release(&mut self) {
        while let Some(Some(reply)) = self.waiting.front() {
            self.ready.extend_from_slice(reply);
            self.waiting.pop_front();
            self.first += 1;
        }
    }
}

/// How many commands of a connection are on their way on one slot.
#[derive(Clone, Copy, Debug, Default)]
struct InFlight {
    reads: u32,
    writes: u32,
}

/// One client connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Identity of the connection, unique on the node.
    pub(crate) id: u64,
    pub(crate) replies: Replies,
    /// Bytes read and not parsed yet.
    pub(crate) input: BytesMut,
    pub(crate) reader: CommandReader,
    /// A command that must wait for earlier ones; nothing behind it is parsed.
    pub(crate) held: Option<Command>,
    /// Commands that must be alone: they wait for all earlier ones and hold back all later ones.
    pub(crate) exclusive: bool,
    in_flight: HashMap<Slot, InFlight, FixedState>,
    pub(crate) resp3: bool,
    pub(crate) read_level: Level,
    pub(crate) write_level: Level,
    pub(crate) about: About,
    /// Close once everything ready has been sent.
    pub(crate) closing: bool,
}

/// What `CLIENT LIST` tells of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) address: String,
    pub(crate) local_address: String,
    pub(crate) name: String,
    pub(crate) library_name: String,
    pub(crate) library_version: String,
    pub(crate) connected_ms: u64,
    pub(crate) active_ms: u64,
    pub(crate) last_command: &'static str,
}

impl Session {
    pub(crate) fn new(id: u64, levels: (Level, Level), max_bulk: usize, about: About) -> Self {
        let (read_level, write_level) = levels;
        Self {
            id,
            replies: Replies::default(),
            input: BytesMut::new(),
            reader: CommandReader::new().with_max_bulk(max_bulk),
            held: None,
            exclusive: false,
            in_flight: HashMap::default(),
            resp3: false,
            read_level,
            write_level,
            about,
            closing: false,
        }
    }

    /// Whether a command on `slot` would overtake one that is on its way.
    pub(crate) fn conflicts(&self, slot: Slot, writes: bool) -> bool {
        if self.in_flight.is_empty() {
            return false;
        }
        match self.in_flight.get(&slot) {
            Some(ahead) => {
                if writes {
                    ahead.reads > 0
                } else {
                    ahead.writes > 0
                }
            }
            None => false,
        }
    }

    /// Notes that a command on `slot` is on its way.
    pub(crate) fn started(&mut self, slot: Slot, writes: bool) {
        let ahead = self.in_flight.entry(slot).or_default();
        if writes { ahead.writes += 1 } else { ahead.reads += 1 }
    }

    /// Notes that a command on `slot` is answered.
    pub(crate) fn finished(&mut self, slot: Slot, writes: bool) {
        let Some(ahead) = self.in_flight.get_mut(&slot) else { return };
        if writes {
            ahead.writes -= 1
        } else {
            ahead.reads -= 1
        }
        if ahead.reads == 0 && ahead.writes == 0 {
            self.in_flight.remove(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_the_order_of_the_commands() {
        let mut replies = Replies::default();
        replies.push(|out| out.extend_from_slice(b"a"));
        let second = replies.expect();
        let third = replies.expect();
        replies.push(|out| out.extend_from_slice(b"d"));
        replies.fill(third, &Bytes::from_static(b"c"));
        assert_eq!(replies.ready, b"a");
        replies.fill(second, &Bytes::from_static(b"b"));
        assert_eq!(replies.ready, b"abcd");
        assert_eq!(replies.waiting(), 0);
        let fifth = replies.expect();
        replies.fill(fifth, &Bytes::from_static(b"e"));
        assert_eq!(replies.ready, b"abcde");
    }

    #[test]
    fn reads_and_writes_of_one_slot_wait_for_each_other() {
        let levels = (Level::Quorum, Level::Quorum);
        let mut session = Session::new(1, levels, 1024, About::default());
        let (slot, other) = (Slot::of_key(b"a"), Slot::of_key(b"b"));
        session.started(slot, true);
        assert!(session.conflicts(slot, false) && !session.conflicts(slot, true));
        assert!(!session.conflicts(other, false));
        session.started(slot, false);
        assert!(session.conflicts(slot, true));
        session.finished(slot, true);
        session.finished(slot, false);
        assert!(!session.conflicts(slot, true) && !session.conflicts(slot, false));
    }
}
