//! One client connection, without its socket: replies in order, and the connection's settings.
//!
//! Replies leave in the order of the commands, whatever order they become known in. Where several
//! replicas are involved, a command that could overtake an earlier one on the same slot waits: a
//! read behind a write, but for [series](super::series), and a write behind a read. Writes on one
//! slot follow each other to the same executor in order, and reads do not disturb each other.

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quorate_proto::{
    Level, Partitioner, Slot,
    command::{Call, CommandId},
    mutant::Mutant,
    resp::ProtocolError,
};

use super::{
    inbox::{Inbox, Received},
    replies::Replies,
    series::Series,
    transaction::Transaction,
};
use crate::{
    limits,
    reactor::{ConnectionId, Ready},
};

/// How many commands of a connection are on their way on one slot.
#[derive(Clone, Copy, Debug, Default)]
struct InFlight {
    reads: u32,
    /// Those of series included.
    writes: u32,
    /// Those of series.
    in_series: u32,
}

/// Which levels the connection has set, so that it does not go by those of keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnLevels {
    pub(super) read: bool,
    pub(super) write: bool,
}

/// One client connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Identity of the connection, unique on the node.
    pub(crate) id: u64,
    pub(super) connection: ConnectionId,
    pub(crate) replies: Replies,
    pub(super) inbox: Inbox,
    /// A command that must wait for earlier ones; nothing behind it is parsed.
    pub(crate) held: Option<Call>,
    /// Commands that must be alone: they wait for all earlier ones and hold back all later ones.
    pub(crate) exclusive: bool,
    in_flight: HashMap<Slot, InFlight, FixedState>,
    /// What is to be sent on its way together, at most one on a slot.
    pub(super) series: Vec<Series>,
    /// What is queued since `MULTI`.
    pub(super) transaction: Option<Transaction>,
    /// Watched keys, each with its version when the watch began.
    pub(super) watched: Vec<(Bytes, Bytes)>,
    pub(crate) resp3: bool,
    pub(crate) read_level: Level,
    pub(crate) write_level: Level,
    pub(crate) coverage: Coverage,
    pub(crate) about: About,
    /// The weakest level that writes of the connection have had.
    pub(super) weakest_write_level: Level,
    pub(super) own_levels: OwnLevels,
    pub(super) mute: Mute,
    /// Close once everything ready has been sent.
    pub(crate) closing: bool,
    /// Close at once.
    pub(crate) is_killed: bool,
    /// The client has closed its connection: what it has sent is executed, and nothing is sent.
    pub(super) is_gone: bool,
    /// Whether it stands in the queue of those that may go on.
    pub(super) is_queued: bool,
    /// Whether it waits for a time to pass: for the end of a pause, or of its own `WAIT`.
    pub(super) is_blocked: bool,
    /// Bytes that have left the session and not the node.
    unsent: usize,
    /// Nothing is executed until the client has taken more of its replies.
    stalled: bool,
    /// Whether what was read holds no further whole command.
    needs_input: bool,
}

/// Whether a command of a connection may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Now,
    /// Something else must happen before.
    Waits,
}

/// Which keys `DBSIZE`, `KEYS`, `RANDOMKEY` and `SCAN` of a connection cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Those of the whole cluster.
    #[default]
    Cluster,
    /// Those whose slots are shown as this node's: cluster clients ask every node.
    Primary,
}

/// Which replies are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mute {
    Off,
    /// That of the next command.
    Next,
    All,
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
    pub(crate) last_command: Option<CommandId>,
    pub(crate) descriptor: Option<i32>,
    /// What it has asked for. There is no eviction, and accesses are not noted.
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
    /// Whether it is in this process.
    pub(crate) is_embedded: bool,
}

impl Session {
    pub(crate) fn new(
        id: u64,
        connection: ConnectionId,
        levels: (Level, Level),
        (max_bulk, partitioner): (usize, Partitioner),
        about: About,
    ) -> Self {
        let (read_level, write_level) = levels;
        Self {
            id,
            connection,
            replies: Replies::default(),
            inbox: Inbox::new(max_bulk, partitioner),
            held: None,
            exclusive: false,
            in_flight: HashMap::default(),
            series: Vec::new(),
            transaction: None,
            watched: Vec::new(),
            resp3: false,
            read_level,
            write_level,
            coverage: Coverage::default(),
            about,
            weakest_write_level: write_level,
            own_levels: OwnLevels::default(),
            mute: Mute::Off,
            closing: false,
            is_killed: false,
            is_gone: false,
            is_queued: false,
            is_blocked: false,
            unsent: 0,
            stalled: false,
            needs_input: true,
        }
    }

    /// Whether a further command may be executed.
    pub(super) fn admits(&mut self) -> Admission {
        if self.held.is_some()
            || self.exclusive
            || self.closing
            || self.replies.waiting() >= limits::IN_FLIGHT_PER_SESSION_MAX
        {
            return Admission::Waits;
        }
        if self.is_clogged() {
            self.stalled = true;
            return Admission::Waits;
        }
        Admission::Now
    }

    /// A command has been read: its reply is sent or not. One that waits begins once all the same.
    fn begin_command(&mut self) {
        self.replies.muted = self.mute != Mute::Off || self.is_gone;
        if self.mute == Mute::Next {
            self.mute = Mute::Off;
        }
    }

    /// Forgets what is queued and what is watched.
    pub(super) fn end_transaction(&mut self) {
        self.transaction = None;
        self.watched.clear();
    }

    /// Reads and writes have these levels from now on.
    pub(super) fn set_levels(&mut self, read: Level, write: Level, own: OwnLevels) {
        (self.read_level, self.write_level, self.own_levels) = (read, write, own);
        self.weakest_write_level = self.weakest_write_level.weaker(write);
    }

    /// The next whole command of what was read.
    pub(super) fn next_command(&mut self) -> Result<Option<Received>, ProtocolError> {
        let (next, has_skipped) = self.inbox.next();
        // One without words is a command too, whose reply is not missed.
        if has_skipped && self.mute == Mute::Next {
            self.mute = Mute::Off;
        }
        self.needs_input = matches!(next, Ok(None));
        if !self.needs_input {
            self.begin_command();
        }
        next
    }

    /// Whether something may be left to do.
    pub(super) fn has_more(&self) -> bool {
        self.held.is_some() || !self.inbox.is_empty() || self.is_gone
    }

    /// Whether more input would only wait.
    pub(crate) fn is_sated(&self) -> bool {
        let is_full = self.inbox.len() >= limits::READ_PER_TURN_MAX;
        // What has come since its last turn may hold whole commands, and is not known to.
        is_full && (self.is_queued || !self.needs_input) || self.stalled && !self.needs_input
    }

    /// Bytes of replies that the client has not taken.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.replies.ready.len() + self.replies.held_bytes + self.unsent
    }

    /// The client is gone: nothing is sent to it any more.
    pub(super) fn end(&mut self) {
        self.is_gone = true;
        self.stalled = false;
        self.unsent = 0;
        self.replies.ready = Ready::default();
    }

    /// Whether nothing is left to do for a client that is gone.
    pub(super) fn is_over(&self) -> bool {
        let is_through = self.needs_input && self.held.is_none() && !self.exclusive;
        self.is_gone && (is_through || self.closing)
    }

    /// Grows with every byte that is executed and every byte of replies to it.
    pub(super) fn bytes_moved(&self) -> usize {
        self.unsent_bytes().wrapping_sub(self.inbox.len())
    }

    fn is_clogged(&self) -> bool {
        !self.is_gone && self.replies.bytes() + self.unsent >= limits::SESSION_OUTPUT_PAUSE
    }

    /// The client has taken replies, all but `unsent` bytes of what has left the session. Returns
    /// whether the session was stalled and may go on.
    pub(super) fn drained(&mut self, unsent: usize) -> bool {
        self.unsent = unsent;
        let goes_on = self.stalled && !self.is_clogged();
        self.stalled &= !goes_on;
        goes_on
    }

    /// Whether a command on `slot` would overtake one that is on its way.
    pub(crate) fn conflicts(&self, slot: Slot, writes: bool) -> bool {
        if self.in_flight.is_empty() || Mutant::PipelineUnordered.is_planted() {
            return false;
        }
        match self.in_flight.get(&slot) {
            Some(ahead) => {
                if writes {
                    // A series that is refused goes elsewhere, together with what it follows.
                    ahead.reads > 0 || ahead.in_series > 0
                } else {
                    ahead.writes > 0
                }
            }
            None => false,
        }
    }

    /// Whether a command on `slot` may follow the writes before it: as a read, or behind a series.
    pub(super) fn may_begin_series(&self, slot: Slot, writes: bool) -> bool {
        let ahead = self.in_flight.get(&slot).copied().unwrap_or_default();
        ahead.reads == 0 && ahead.writes > 0 && (!writes || ahead.in_series > 0)
    }

    /// Notes that a command of a series on `slot` is on its way.
    pub(super) fn started_in_series(&mut self, slot: Slot) {
        self.started(slot, true);
        self.in_flight.entry(slot).or_default().in_series += 1;
    }

    /// Notes that a command of a series on `slot` is answered.
    pub(super) fn finished_in_series(&mut self, slot: Slot) {
        if let Some(ahead) = self.in_flight.get_mut(&slot) {
            ahead.in_series -= 1;
        }
        self.finished(slot, true);
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
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn replies_that_are_not_wanted_leave_no_trace() {
        let mut session = session();
        session.mute = Mute::Next;
        session.begin_command();
        let skipped = session.replies.expect();
        session.begin_command();
        let wanted = session.replies.expect();
        session.mute = Mute::All;
        session.begin_command();
        session.replies.push(|out| out.extend_from_slice(b"never"));
        session.mute = Mute::Off;
        session.begin_command();
        session.replies.push(|out| out.extend_from_slice(b"b"));
        session.replies.fill(wanted, &Bytes::from_static(b"a"));
        session.replies.fill(skipped, &Bytes::from_static(b"never"));
        assert_eq!(session.replies.ready.bytes(), b"ab");
        assert_eq!(session.replies.waiting(), 0);
    }

    #[test]
    fn what_waits_for_its_turn_is_read_to_a_bound() {
        let mut session = session();
        session.inbox.push(&vec![b'x'; limits::READ_PER_TURN_MAX]);
        assert!(!session.is_sated(), "one long command needs all of it");
        session.is_queued = true;
        assert!(session.is_sated());
        session.inbox.clear();
        assert!(!session.is_sated());
    }

    #[test]
    fn reads_and_writes_of_one_slot_wait_for_each_other() {
        let mut session = session();
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

    #[test]
    fn a_series_begins_behind_writes_and_is_followed_by_more_of_it() {
        let mut session = session();
        let slot = Slot::of_key(b"a");
        assert!(!session.may_begin_series(slot, false), "nothing is before it");
        session.started(slot, true);
        assert!(session.may_begin_series(slot, false) && !session.may_begin_series(slot, true));
        session.started_in_series(slot);
        assert!(session.may_begin_series(slot, true));
        assert!(session.conflicts(slot, true), "it may not go without what is before it");
        session.finished(slot, true);
        session.finished_in_series(slot);
        assert!(!session.conflicts(slot, true) && !session.conflicts(slot, false));
        session.started(slot, false);
        session.started(slot, true);
        assert!(!session.may_begin_series(slot, false), "a read is before it");
    }

    fn session() -> Session {
        let levels = (Level::Quorum, Level::Quorum);
        let bounds = (1024, Partitioner::Slots);
        Session::new(1, ConnectionId::from_number(1), levels, bounds, About::default())
    }

    #[test]
    fn who_does_not_take_replies_gets_no_more_of_them() {
        let mut session = session();
        assert_eq!(session.admits(), Admission::Now);
        session.replies.push(|out| out.resize(limits::SESSION_OUTPUT_PAUSE, b'x'));
        assert_eq!(session.admits(), Admission::Waits);
        let sent = std::mem::take(&mut session.replies.ready).len();
        assert!(!session.drained(sent), "all of it waits in the node");
        assert_eq!(session.admits(), Admission::Waits);
        assert!(session.drained(sent / 2), "the client reads again");
        assert!(!session.drained(0), "it goes on once");
        assert_eq!(session.admits(), Admission::Now);
    }

    #[test]
    fn long_replies_on_their_way_count_before_they_come() {
        let mut session = session();
        let mut expected = VecDeque::new();
        let mut admitted = |session: &mut Session| {
            let mut count = 0;
            while session.admits() == Admission::Now {
                expected.push_back(session.replies.expect());
                count += 1;
            }
            let length = expected.len();
            for number in expected.drain(..) {
                session.replies.fill(number, &Bytes::from(vec![b'x'; 300 << 10]));
            }
            let bytes = std::mem::take(&mut session.replies.ready).len();
            assert_eq!(bytes, length * (300 << 10));
            count
        };
        assert_eq!(admitted(&mut session), 4, "as many as nothing is known of them");
        assert_eq!(admitted(&mut session), 4, "as many as fit when they are long");
        for _ in 0..64 {
            let number = session.replies.expect();
            session.replies.fill(number, &Bytes::from_static(b"+OK"));
        }
        session.replies.ready = Ready::default();
        assert!(session.replies.likely_bytes() < 1 << 10, "long ones are forgotten");
    }

    #[test]
    fn the_first_whole_value_is_waited_for() {
        let mut session = session();
        let first = session.replies.expect_whole();
        assert_eq!(session.admits(), Admission::Waits, "it may be of any length");
        session.replies.fill(first, &Bytes::from_static(b"*0\r\n"));
        session.replies.expect_whole();
        assert_eq!(session.admits(), Admission::Now, "the first was short");
    }
}
