//! From a client's bytes to the place where each command runs.

use std::time::Duration;

use bytes::Bytes;
use quorate_cluster::{
    coordinator::{Durability, Replica as _, Terms},
    time::Instant,
};
use quorate_proto::{
    Level, Slot,
    command::{self, Call, CommandId, Mistake, Routing, Spread, UnknownCommand},
    resp::{Command, ReplyWriter, parse_cursor, parse_integer},
};

use super::{
    Errand, Now, Shard, Waiter,
    cluster_commands::parse_slot,
    composite,
    job::Plan,
    session::Coverage,
    stats::{Run, Sender},
    transaction::{exec_abort, is_exec, is_immediate},
    walk,
};
use crate::{
    config::{LevelRule, SyncPolicy, levels_for, levels_for_all},
    limits,
    search::Change,
};

/// How long a first write waits for the member list to be sealed.
const SEAL_PATIENCE: Duration = Duration::from_secs(15);

impl Shard {
    /// Disconnects clients that have sent nothing for longer than `timeout`.
    pub(super) fn close_silent_clients(&mut self, now: Now) {
        let timeout_ms = self.node.adjustable.timeout_seconds().saturating_mul(1000);
        if timeout_ms == 0 {
            return;
        }
        for (key, session) in &mut self.sessions {
            let silent_ms = now.wall_ms().saturating_sub(session.about.active_ms);
            let is_idle = session.replies.waiting() == 0 && session.held.is_none();
            if silent_ms > timeout_ms && is_idle && !session.about.is_embedded {
                session.closing = true;
                self.dirty_sessions.push(key);
            }
        }
    }

    /// Answers a command of a client that cannot be called.
    pub(super) fn mistaken(&mut self, now: Now, key: usize, command: &Command, mistake: Mistake) {
        match mistake {
            Mistake::Arity { id, error } if is_exec(id.spec()) => {
                self.sessions[key].end_transaction();
                self.reject(key, Some(id), exec_abort(&error));
            }
            Mistake::Arity { id, error } => self.reject(key, Some(id), error),
            Mistake::UnknownSubcommand => {
                self.reject(key, None, command::unknown_subcommand(command));
            }
            Mistake::Unknown if is_http(command.name()) => self.close_stranger(now, key),
            Mistake::Unknown => self.reject(key, None, UnknownCommand(command)),
        }
    }

    /// Executes one call of a client, or sends it on its way.
    pub(super) fn call(&mut self, now: Now, key: usize, call: Call) {
        let about = &mut self.sessions[key].about;
        (about.last_command, about.active_ms) = (Some(call.id()), now.wall_ms());
        let session = &self.sessions[key];
        // A thousand long reads that a client has left behind would hold others up for nobody.
        if session.is_gone && session.transaction.is_none() && is_reading(&call) {
            return;
        }
        if self.is_paused(key, &call) {
            return self.hold_paused(key, call);
        }
        self.stats.begin(call.id());
        if self.sessions[key].transaction.is_some() && !is_immediate(call.spec()) {
            return self.queue(key, call);
        }
        let most = self.node.adjustable.command_bytes_max();
        match self.node.command_bytes.count(self.bytes_of(key, &call), most) {
            Ok(counted) => self.stats.count_bytes(counted),
            Err(error) => {
                if is_exec(call.spec()) {
                    self.sessions[key].end_transaction();
                }
                return self.reject(key, Some(call.id()), error);
            }
        }
        match call.spec().routing {
            Routing::Session => self.session_command(now, key, call),
            Routing::Keyspace => self.keyspace_command(now, key, call),
            Routing::Key | Routing::Split(_) | Routing::Composite | Routing::Slots => {
                self.keyed_command(now, key, call);
            }
        }
        self.stats.count_bytes(None);
    }

    /// Bytes of a call of a client; of one that executes a transaction, those of what is queued.
    fn bytes_of(&self, key: usize, call: &Call) -> usize {
        let transaction = self.sessions[key].transaction.as_ref().filter(|_| is_exec(call.spec()));
        transaction.map_or(call.command().frame().len(), |queued| queued.size().1)
    }

    /// Ends a connection that speaks HTTP: what follows is the body of a request, which whoever
    /// wrote a web page may have chosen.
    fn close_stranger(&mut self, now: Now, key: usize) {
        let session = &mut self.sessions[key];
        session.closing = true;
        session.inbox.clear();
        if let Some(times) = self.strangers.note(now.wall_ms()) {
            tracing::warn!(
                client = %session.about.address,
                times,
                "possible attack: a client sends HTTP (POST or Host:) to the port for commands, as \
                 a web page can make a browser do; its connection is closed"
            );
        }
    }

    /// Refuses a command before it has begun.
    pub(super) fn reject(
        &mut self,
        key: usize,
        id: Option<CommandId>,
        error: impl std::fmt::Display,
    ) {
        let mut reply = Vec::new();
        ReplyWriter::new(&mut reply, false).error(error);
        self.stats.rejected(id, &reply);
        if let Some(transaction) = &mut self.sessions[key].transaction {
            transaction.break_off();
        }
        self.sessions[key].replies.push(|out| out.extend_from_slice(&reply));
    }

    /// Answers the command that has just begun with an error.
    pub(super) fn refuse(&mut self, key: usize, call: &Call, error: impl std::fmt::Display) {
        let mut reply = Vec::new();
        ReplyWriter::new(&mut reply, false).error(error);
        self.reply(key, call, &reply);
    }

    /// Answers the command that has just begun.
    pub(super) fn reply(&mut self, key: usize, call: &Call, reply: &[u8]) {
        self.sessions[key].replies.push(|out| out.extend_from_slice(reply));
        if let Some(took) = self.stats.end(reply).filter(|_| !is_exec(call.spec())) {
            self.note_slow(key, took, call.command());
        }
    }

    /// A command that has waited for others has its reply.
    pub(super) fn finish(&mut self, key: usize, run: &Run, reply: &[u8]) {
        for (took, command) in self.stats.finish(run, reply) {
            self.note_slow(key, took, command);
        }
    }

    /// A command of a client, if it is still there, was slow.
    fn note_slow(&mut self, key: usize, took: Duration, command: &Command) {
        let about = self.sessions.get(key).map(|session| &session.about);
        let sender = about.map_or(Sender::default(), |about| Sender {
            address: &about.address,
            name: &about.name,
        });
        let when = (self.node.next_slow_id(), self.storage.wall_ms);
        let len_max = self.node.adjustable.slow_log_len();
        self.stats.slow_log.push(when, took, command, sender, len_max);
    }

    fn keyed_command(&mut self, now: Now, key: usize, call: Call) {
        if let Err(error) = call.check_keys() {
            return self.refuse(key, &call, error);
        }
        match call.spread() {
            // A keyless form such as OBJECT HELP can run anywhere.
            Spread::None => {
                let slot = self.first_owned_slot();
                self.single(now, key, call.moved_to(slot));
            }
            Spread::One => self.single(now, key, call),
            Spread::Several => self.several(now, key, call),
        }
    }

    /// A call whose keys are in several slots.
    fn several(&mut self, now: Now, key: usize, call: Call) {
        match composite::plan_of(&call, self.sessions[key].resp3, self.partitioner()) {
            Ok(Some(plan)) => self.exclusive(now, key, call, |_, _| plan),
            // Options that the store answers with the right error.
            Ok(None) => self.single(now, key, call),
            Err(error) => self.refuse(key, &call, error),
        }
    }

    /// A call whose keys are all in one slot.
    pub(super) fn single(&mut self, now: Now, key: usize, call: Call) {
        let terms = self.terms(now, key, &call);
        self.single_on(now, key, (call, terms), None);
    }

    /// The same on these terms, and for what a client `sent`, if that is something else.
    fn single_on(
        &mut self,
        now: Now,
        key: usize,
        (call, terms): (Call, Terms),
        sent: Option<Call>,
    ) {
        let (slot, writes) = (call.slot(), call.class().writes());
        let mut call = call;
        let session = &self.sessions[key];
        let conflicts = session.conflicts(slot, writes);
        if sent.is_none() && (conflicts || !session.series.is_empty()) {
            match self.join_series(now, key, call, terms) {
                Some(alone) => call = alone,
                None => return,
            }
        }
        if conflicts {
            self.sessions[key].held = Some(sent.unwrap_or(call));
            return;
        }
        let shown = sent.as_ref().unwrap_or(&call);
        if self.is_alone(slot, writes) && !self.storage.answers_late(&call) {
            return self.execute_alone(key, &call, shown);
        }
        let run = self.stats.run(shown.command());
        let session = &mut self.sessions[key];
        session.started(slot, writes);
        let number = match shown.spec().is_whole() && !writes {
            true => session.replies.expect_whole(),
            false => session.replies.expect(),
        };
        let waiter = Waiter::Session { key, id: session.id, number, slot, writes, run };
        self.submit(now, waiter, Errand { call, terms });
        self.stats.read_stopwatch();
    }

    /// A client's call that is answered by a piece on one slot.
    pub(super) fn by_piece(&mut self, now: Now, key: usize, call: Call, piece: (Call, Terms)) {
        self.single_on(now, key, piece, Some(call));
    }

    /// Whether a slot has this shard as its only replica, so that there is nobody to agree with, and
    /// nothing to wait for.
    fn is_alone(&self, slot: Slot, writes: bool) -> bool {
        let topology = self.topology();
        self.storage.owner(slot) == self.id
            && topology.len() == 1
            // What has come before may still wait for it.
            && self.may_begin(writes)
            && !(writes && self.node.settings.sync == SyncPolicy::Always)
            && !(writes && self.coordinator.is_gated(slot))
            && !self.storage.may_be_late()
            && self.storage.durability(slot) == Durability::Now
    }

    /// The shortest way: execute, and write the reply straight to the client's buffer. What the
    /// client `sent` is what it counts as.
    fn execute_alone(&mut self, key: usize, call: &Call, sent: &Call) {
        let session = &mut self.sessions[key];
        let resp3 = session.resp3;
        let (stats, storage) = (&mut self.stats, &mut self.storage);
        let (mut slow, mut shared_reply) = (None, None);
        session.replies.push(|out: &mut Vec<u8>| {
            let start = out.len();
            match storage.execute_into(call, resp3, out) {
                Ok((_, shared)) => shared_reply = shared,
                Err(rejection) => ReplyWriter::new(out, resp3)
                    .error(format_args!("MISCONF {}; nothing was done", rejection.text)),
            }
            slow = stats.end(&out[start..]);
        });
        if let Some(reply) = &shared_reply {
            session.replies.push_whole(reply);
        }
        if let Some(took) = slow {
            self.note_slow(key, took, sent.command());
        }
    }

    pub(super) fn terms(&self, now: Now, key: usize, call: &Call) -> Terms {
        let words = call.command().len() * limits::LONG_CALL_BYTES_PER_WORD;
        let bytes = call.command().frame().len() + words;
        if call.spec().routing == Routing::Keyspace {
            return self.terms_of(now, key, bytes, levels_for_all);
        }
        self.terms_for(now, key, bytes, call.keys())
    }

    /// The terms of a request of so many bytes about these keys.
    pub(super) fn terms_for<'k>(
        &self,
        now: Now,
        key: usize,
        bytes: usize,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Terms {
        self.terms_of(now, key, bytes, |rules, levels| levels_for(rules, levels, keys))
    }

    /// The levels are the connection's own, as far as it has set them, and those that the rules give
    /// else.
    fn terms_of(
        &self,
        now: Now,
        key: usize,
        bytes: usize,
        by_rules: impl FnOnce(&[LevelRule], (Level, Level)) -> (Level, Level),
    ) -> Terms {
        let session = &self.sessions[key];
        let (mut read_level, mut write_level) = (session.read_level, session.write_level);
        let rules = &self.node.settings.levels;
        if !rules.is_empty() {
            let (read, write) = by_rules(rules, (read_level, write_level));
            let own = session.own_levels;
            read_level = if own.read { read_level } else { read };
            write_level = if own.write { write_level } else { write };
        }
        let (resp3, deadline) = (session.resp3, self.deadline(now, bytes));
        Terms { read_level, write_level, resp3, deadline }
    }

    /// Runs a command in several steps, with no other command of the connection beside it.
    pub(super) fn exclusive(
        &mut self,
        now: Now,
        key: usize,
        call: Call,
        plan: impl FnOnce(&mut Self, &Command) -> Box<dyn Plan>,
    ) {
        if self.sessions[key].replies.waiting() > 0 {
            self.sessions[key].held = Some(call);
            return;
        }
        let plan = plan(self, call.command());
        let terms = self.terms(now, key, &call);
        let waiter = self.expect_alone(key, call.command());
        self.start_job(now, waiter, plan, terms);
    }

    /// Expects the reply to a command that must be alone.
    pub(super) fn expect_alone(&mut self, key: usize, command: &Command) -> Waiter {
        self.expect_run(key, self.stats.run(command))
    }

    /// Expects the end of a run that must be alone.
    pub(super) fn expect_run(&mut self, key: usize, run: Run) -> Waiter {
        let session = &mut self.sessions[key];
        session.exclusive = true;
        let number = session.replies.expect();
        Waiter::Exclusive { key, id: session.id, number, run }
    }

    fn first_owned_slot(&self) -> Slot {
        Slot::all().find(|slot| self.storage.owner(*slot) == self.id).unwrap_or_default()
    }

    /// A command over the whole keyspace.
    fn keyspace_command(&mut self, now: Now, key: usize, call: Call) {
        let coverage = self.sessions[key].coverage;
        match call.spec().name {
            "dbsize" => self.exclusive(now, key, call, |shard, _| {
                Box::new(walk::Count { runs: shard.runs(coverage) })
            }),
            "keys" => self.exclusive(now, key, call, |shard, command| {
                let pattern = Bytes::copy_from_slice(command.arg(1));
                Box::new(walk::Keys { runs: shard.runs(coverage), pattern, limit: usize::MAX })
            }),
            "randomkey" => self.exclusive(now, key, call, |shard, _| {
                let mut runs = shard.runs(coverage);
                // Any starting point will do that differs from call to call.
                let start = (shard.stats.counters.commands as usize).wrapping_mul(0x9e37_79b1)
                    % runs.len().max(1);
                runs.rotate_left(start);
                Box::new(walk::RandomKey { runs: runs.into_iter() })
            }),
            "scan" => match parse_scan(call.command()) {
                Ok(scan) => {
                    self.exclusive(now, key, call, |shard, _| shard.scan(scan, coverage));
                }
                Err(error) => self.refuse(key, &call, error),
            },
            _ => {
                let mode = call.command().get(1).unwrap_or(b"SYNC");
                let known =
                    mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC");
                if !known || call.command().len() > 2 {
                    return self.refuse(key, &call, "ERR syntax error");
                }
                self.flush(now, key, call);
            }
        }
    }

    /// `FLUSHALL`: indexes go with what was in them.
    fn flush(&mut self, now: Now, key: usize, call: Call) {
        if self.sessions[key].replies.waiting() > 0 {
            self.sessions[key].held = Some(call);
            return;
        }
        let terms = self.terms(now, key, &call);
        let mut waiter = self.expect_alone(key, call.command());
        if self.has_indexes() {
            let change = Box::new(Change::DropAll);
            waiter = Waiter::Change { change, then: Box::new(waiter) };
        }
        let plan = Box::new(walk::Flush::new(self.runs(Coverage::Cluster)));
        self.start_job(now, waiter, plan, terms);
    }

    /// `CLUSTER COUNTKEYSINSLOT slot`, `CLUSTER GETKEYSINSLOT slot count`
    pub(super) fn slot_command(&mut self, now: Now, key: usize, call: Call) {
        let slot = match parse_slot(call.command().arg(2)) {
            Ok(slot) => slot,
            Err(error) => return self.refuse(key, &call, error),
        };
        let runs = vec![(slot, slot)];
        let Some(count) = call.command().get(3) else {
            return self.exclusive(now, key, call, |_, _| Box::new(walk::Count { runs }));
        };
        let Some(limit) = parse_integer(count).and_then(|count| usize::try_from(count).ok()) else {
            return self.refuse(key, &call, "ERR Invalid number of keys");
        };
        let pattern = Bytes::from_static(b"*");
        self.exclusive(now, key, call, |_, _| Box::new(walk::Keys { runs, pattern, limit }));
    }

    /// The deadline of a request of so many bytes that arrives now; words count as some.
    pub(super) fn deadline(&self, now: Now, bytes: usize) -> Instant {
        let patience = self.node.settings.request_timeout;
        let first_write = !self.topology().sealed() && self.founded;
        let patience = if first_write { patience.max(SEAL_PATIENCE) } else { patience };
        let more = Duration::from_millis(bytes as u64 * 1_000 / limits::COMMAND_BYTES_PER_SECOND);
        now.monotonic + patience + more.min(patience * (limits::REQUEST_TIMES_MAX - 1))
    }

    /// The slots covered as runs: neighbours in one group with the same replicas.
    fn runs(&self, coverage: Coverage) -> Vec<walk::Run> {
        let topology = self.topology();
        let covered = topology.ranges().filter(|range| match coverage {
            Coverage::Cluster => true,
            Coverage::Primary => self.shown_for(range) == Some(topology.me()),
        });
        covered.flat_map(|range| walk::runs(range.first, range.last)).collect()
    }

    fn scan(&self, scan: ScanArguments, coverage: Coverage) -> Box<dyn Plan> {
        let start = scan.cursor.slot;
        let mut runs = self.runs(coverage);
        runs.retain(|(_, last)| last.number() >= start);
        let cursor = match runs.first() {
            // What stands between is not covered, or not any more.
            Some((first, _)) if first.number() > start => {
                walk::Cursor { slot: first.number(), position: 0 }
            }
            _ => scan.cursor,
        };
        Box::new(walk::Scan {
            runs: runs.into_iter(),
            cursor,
            count: scan.count,
            pattern: scan.pattern,
            kind: scan.kind,
            current: None,
            keys: Vec::new(),
        })
    }
}

/// Whether a command reads, and does nothing else.
fn is_reading(call: &Call) -> bool {
    match call.spec().routing {
        Routing::Session => matches!(
            call.spec().name,
            "ft.search"
                | "ft.aggregate"
                | "ft.hybrid"
                | "ft.regex"
                | "ft.profile"
                | "ft.sugget"
                | "ft.tagvals"
                | "ft.spellcheck"
        ),
        _ => !call.class().writes(),
    }
}

/// Whether this is no command, but a line of HTTP that every request with a body has.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}

struct ScanArguments {
    cursor: walk::Cursor,
    count: usize,
    pattern: Bytes,
    /// Of which kind; empty: of any.
    kind: Bytes,
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
fn parse_scan(command: &Command) -> Result<ScanArguments, &'static str> {
    let cursor = parse_cursor(command.arg(1));
    let cursor = walk::Cursor::from_number(cursor.ok_or("ERR invalid cursor")?);
    let pattern = Bytes::from_static(b"*");
    let mut scan = ScanArguments { cursor, count: 10, pattern, kind: Bytes::new() };
    let mut at = 2;
    while let Some(word) = command.get(at) {
        let value = command.get(at + 1).ok_or("ERR syntax error")?;
        if word.eq_ignore_ascii_case(b"COUNT") {
            let count =
                parse_integer(value).ok_or("ERR value is not an integer or out of range")?;
            scan.count =
                usize::try_from(count).ok().filter(|count| *count > 0).ok_or("ERR syntax error")?;
        } else if word.eq_ignore_ascii_case(b"MATCH") {
            scan.pattern = Bytes::copy_from_slice(value);
        } else if word.eq_ignore_ascii_case(b"TYPE") {
            // No key is of the kind without a name, nor of that of keys that do not exist.
            let kind = if value.is_empty() { b"none" } else { value };
            scan.kind = Bytes::copy_from_slice(kind);
        } else {
            return Err("ERR syntax error");
        }
        at += 2;
    }
    Ok(scan)
}
