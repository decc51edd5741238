//! Transactions: `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`.
//!
//! Commands are queued here. On a node that is the only member one of its shards executes them, as
//! a [bundle](super::bundle). Elsewhere they are on one slot and are executed there as one
//! [batch](quorate_proto::command::Batch): at once, with one effect. What is watched is compared
//! right before, by the version that it had when it was asked for.

use bytes::Bytes;
use quorate_proto::{
    command::{Batch, Call, CrossSlot, Entry, Join, Routing, Spec, Spread, WrongArity},
    resp::{Command, ReplyWriter},
};

use super::{
    Bundle, Errand, Now, Shard, Waiter,
    job::{bulk, elements},
    memory,
    split::Split,
    stats::Run,
};
use crate::limits;

/// What a connection has queued since `MULTI`.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    queued: Vec<Call>,
    bytes: usize,
    words: usize,
    /// Whether a command was refused, so that none will be executed.
    is_broken: bool,
}

impl Transaction {
    /// How many commands are queued, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.queued.len(), self.bytes)
    }

    /// Nothing of it is to be executed.
    pub(super) fn break_off(&mut self) {
        self.is_broken = true;
    }

    /// Whether it may change something.
    pub(super) fn writes(&self) -> bool {
        self.queued.iter().any(|call| call.class().writes())
    }
}

/// Whether a command executes a transaction: the slow log shows what it has executed.
pub(super) fn is_exec(spec: &Spec) -> bool {
    spec.name == "exec"
}

/// Whether a command is executed at once although a transaction is open.
pub(super) fn is_immediate(spec: &Spec) -> bool {
    matches!(spec.name, "multi" | "exec" | "discard" | "watch" | "quit" | "reset")
}

/// Whether a command may be queued: one on keys, or one whose answer is known at once and that
/// changes nothing but the connection.
fn is_allowed(call: &Call) -> bool {
    let (spec, command) = (call.spec(), call.command());
    match spec.routing {
        Routing::Key | Routing::Split(_) | Routing::Composite => true,
        Routing::Keyspace | Routing::Slots => false,
        Routing::Session => match spec.name {
            "ping" | "echo" | "time" | "select" | "readonly" | "readwrite" | "asking"
            | "unwatch" | "command" | "lolwut" | "lastsave" | "role" => true,
            "client" => ["ID", "GETNAME", "SETNAME", "SETINFO", "INFO", "NO-EVICT", "NO-TOUCH"]
                .iter()
                .any(|name| command.arg(1).eq_ignore_ascii_case(name.as_bytes())),
            "memory" => is_memory_usage(call),
            _ => false,
        },
    }
}

fn is_memory_usage(call: &Call) -> bool {
    call.spec().name == "memory" && call.command().arg(1).eq_ignore_ascii_case(b"USAGE")
}

/// The answer to an `EXEC` that ends a transaction because it is wrong itself.
pub(super) fn exec_abort(error: &WrongArity) -> String {
    let text = error.to_string();
    format!("EXECABORT Transaction discarded because of: {}", text.trim_start_matches("ERR "))
}

impl Shard {
    /// The commands about transactions.
    pub(super) fn transaction_command(&mut self, now: Now, key: usize, call: Call) {
        match call.spec().name {
            "multi" => self.multi(key, &call),
            "exec" => self.exec(now, key, call),
            "discard" => self.discard(key, &call),
            "watch" => self.watch(now, key, call),
            _ => {
                self.sessions[key].watched.clear();
                self.reply(key, &call, b"+OK\r\n");
            }
        }
    }

    fn multi(&mut self, key: usize, call: &Call) {
        let session = &mut self.sessions[key];
        if session.transaction.is_some() {
            return self.refuse(key, call, "ERR MULTI calls can not be nested");
        }
        session.transaction = Some(Transaction::default());
        self.reply(key, call, b"+OK\r\n");
    }

    fn discard(&mut self, key: usize, call: &Call) {
        let session = &mut self.sessions[key];
        if session.transaction.is_none() {
            return self.refuse(key, call, "ERR DISCARD without MULTI");
        }
        session.end_transaction();
        self.reply(key, call, b"+OK\r\n");
    }

    /// Queues a command of a connection with an open transaction.
    pub(super) fn queue(&mut self, key: usize, call: Call) {
        let is_alone = self.topology().len() == 1;
        let Some(transaction) = &mut self.sessions[key].transaction else { return };
        let bytes = transaction.bytes + call.command().frame().len();
        let words = transaction.words + call.command().len();
        let fits = bytes <= limits::TRANSACTION_BYTES_MAX && words <= limits::TRANSACTION_WORDS_MAX;
        let error = if !is_allowed(&call) {
            "ERR Command not allowed inside a transaction".to_owned()
        } else if call.spread() == Spread::Several && !is_alone {
            CrossSlot.to_string()
        } else if !fits {
            format!(
                "ERR a transaction has at most {} bytes and {} words",
                limits::TRANSACTION_BYTES_MAX,
                limits::TRANSACTION_WORDS_MAX
            )
        } else {
            transaction.queued.push(call);
            (transaction.bytes, transaction.words) = (bytes, words);
            // It is counted once it is executed.
            self.sessions[key].replies.push(|out| out.extend_from_slice(b"+QUEUED\r\n"));
            self.stats.read_stopwatch();
            return;
        };
        self.reject(key, Some(call.id()), error);
    }

    /// `EXEC`
    fn exec(&mut self, now: Now, key: usize, call: Call) {
        let session = &mut self.sessions[key];
        if session.replies.waiting() > 0 {
            session.held = Some(call);
            return;
        }
        let Some(transaction) = &session.transaction else {
            return self.refuse(key, &call, "ERR EXEC without MULTI");
        };
        if transaction.is_broken {
            session.end_transaction();
            let error = "EXECABORT Transaction discarded because of previous errors.";
            return self.refuse(key, &call, error);
        }
        let (queued, bytes) = (transaction.queued.clone(), transaction.bytes);
        let entries = self.entries(now, key, &queued);
        let watched = std::mem::take(&mut self.sessions[key].watched);
        self.sessions[key].end_transaction();
        let terms = self.terms_for(now, key, bytes, queued.iter().flat_map(Call::keys));
        let run = self.stats.run(call.command()).with_parts(queued.into_boxed_slice());
        if self.topology().len() == 1 {
            let bundle = Bundle::new(
                watched,
                entries,
                terms,
                (self.partitioner(), |slot| self.storage.owner(slot)),
            );
            let waiter = self.expect_run(key, run);
            return self.submit_bundle(now, waiter, bundle);
        }
        match Batch::of(&watched, &entries, self.partitioner()).map(Batch::finish) {
            Err(error) => self.refuse(key, &call, error),
            Ok(Err(replies)) => {
                let mut reply = Vec::new();
                ReplyWriter::new(&mut reply, false).array(replies.len());
                replies.iter().for_each(|one| reply.extend_from_slice(one));
                self.sessions[key].replies.push(|out| out.extend_from_slice(&reply));
                self.finish(key, &run, &reply);
            }
            Ok(Ok(batch)) => {
                let waiter = self.expect_run(key, run);
                self.submit(now, waiter, Errand { call: batch, terms });
            }
        }
    }

    /// What is to be executed of a transaction. What needs no keys is answered now.
    fn entries(&mut self, now: Now, key: usize, queued: &[Call]) -> Vec<Entry> {
        let entry = |call: &Call| {
            if call.spec().routing != Routing::Session {
                return Entry::Call(call.clone());
            }
            let mut reply = Vec::new();
            let subcommand = call.command().get(1).unwrap_or_default().to_ascii_lowercase();
            let outcome = if is_memory_usage(call) {
                match memory::usage(call.command(), self.partitioner()) {
                    Ok(piece) => return Entry::Call(piece),
                    Err(error) => Err(error.to_owned()),
                }
            } else {
                self.answer(now, key, &subcommand, call, &mut reply)
            };
            if let Err(error) = outcome {
                reply.clear();
                ReplyWriter::new(&mut reply, false).error(error);
            }
            Entry::Reply(reply.into())
        };
        queued.iter().map(entry).collect()
    }

    /// `WATCH key...`
    fn watch(&mut self, now: Now, key: usize, call: Call) {
        let session = &mut self.sessions[key];
        if session.transaction.is_some() {
            return self.refuse(key, &call, "ERR WATCH inside MULTI is not allowed");
        }
        if session.replies.waiting() > 0 {
            session.held = Some(call);
            return;
        }
        if session.watched.len() + call.command().len() > limits::WATCHED_MAX {
            return self.refuse(key, &call, "ERR too many keys are watched");
        }
        if call.spread() == Spread::Several && self.topology().len() > 1 {
            return self.refuse(key, &call, CrossSlot);
        }
        let keys: Vec<Bytes> = call.keys().map(Bytes::copy_from_slice).collect();
        let name = [Bytes::from_static(b"quorate.version")];
        let question = Command::from_args(name.iter().chain(&keys));
        let terms = self.terms(now, key, &call);
        let Waiter::Exclusive { key, id, number, run } = self.expect_alone(key, call.command())
        else {
            unreachable!("invariant: who is alone is exclusive")
        };
        let waiter = Waiter::Watch { key, id, number, run, keys };
        if call.spread() == Spread::Several {
            let versions = Split::new(&question, Join::Values, (1, 0), self.partitioner());
            return self.start_job(now, waiter, Box::new(versions), terms);
        }
        self.submit(now, waiter, Errand { call: Call::piece(call.slot(), question), terms });
    }

    /// The versions of keys that a connection watches have come.
    pub(super) fn watched(
        &mut self,
        (key, id, number): (usize, u64, u64),
        run: &Run,
        keys: Vec<Bytes>,
        versions: &Bytes,
    ) {
        let is_error = versions.first() == Some(&b'-');
        let reply = if is_error { versions.clone() } else { Bytes::from_static(b"+OK\r\n") };
        self.finish(key, run, &reply);
        let Some(session) = self.session(key, id) else { return };
        if !is_error {
            let versions = elements(versions).into_iter().filter_map(bulk);
            let versions = versions.map(Bytes::copy_from_slice);
            session.watched.extend(keys.into_iter().zip(versions));
        }
        session.replies.fill(number, &reply);
        session.exclusive = false;
        self.touch(key);
    }
}
