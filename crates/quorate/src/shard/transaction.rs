//! Transactions: `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`.
//!
//! Commands are queued here and executed as one [batch](quorate_proto::command::Batch) where their slot
//! is: at once, with one effect. What is watched is compared there, right before, by the version that it
//! had here.

use bytes::Bytes;
use quorate_proto::{
    Slot,
    command::{self, Batch, Class, CrossSlot, Routing, Spec, WrongArity},
    resp::{Command, ReplyWriter},
};

use super::{
    Now, Shard, Waiter,
    job::{bulk, elements},
    stats::{CommandId, Run},
};
use crate::limits;

/// What a connection has queued since `MULTI`.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    queued: Vec<(CommandId, Command)>,
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
        self.queued.iter().any(|(id, command)| id.spec().class_of(command).writes())
    }
}

/// Whether a command is executed at once although a transaction is open.
pub(super) fn is_immediate(spec: &Spec) -> bool {
    matches!(spec.name, "multi" | "exec" | "discard" | "watch" | "quit" | "reset")
}

/// Whether a command may be queued: one on keys, or one whose answer is known at once and that changes
/// nothing but the connection.
fn is_allowed(spec: &Spec, command: &Command) -> bool {
    match spec.routing {
        Routing::Key | Routing::Split(_) | Routing::Composite => true,
        Routing::Keyspace => false,
        Routing::Session => match spec.name {
            "ping" | "echo" | "time" | "select" | "readonly" | "readwrite" | "asking"
            | "unwatch" | "command" | "lolwut" | "lastsave" | "role" => true,
            "client" => ["ID", "GETNAME", "SETNAME", "SETINFO", "INFO", "NO-EVICT", "NO-TOUCH"]
                .iter()
                .any(|name| command.arg(1).eq_ignore_ascii_case(name.as_bytes())),
            _ => false,
        },
    }
}

/// The answer to an `EXEC` that ends a transaction because it is wrong itself.
pub(super) fn exec_abort(error: &WrongArity) -> String {
    let text = error.to_string();
    format!("EXECABORT Transaction discarded because of: {}", text.trim_start_matches("ERR "))
}

impl Shard {
    /// The commands about transactions.
    pub(super) fn transaction_command(
        &mut self,
        now: Now,
        key: usize,
        spec: &Spec,
        command: Command,
    ) {
        match spec.name {
            "multi" => self.multi(key),
            "exec" => self.exec(now, key, command),
            "discard" => self.discard(key),
            "watch" => self.watch(now, key, command),
            _ => {
                self.sessions[key].watched.clear();
                let _ = self.reply(key, b"+OK\r\n");
            }
        }
    }

    fn multi(&mut self, key: usize) {
        let session = &mut self.sessions[key];
        if session.transaction.is_some() {
            return self.refuse(key, "ERR MULTI calls can not be nested");
        }
        session.transaction = Some(Transaction::default());
        let _ = self.reply(key, b"+OK\r\n");
    }

    fn discard(&mut self, key: usize) {
        let session = &mut self.sessions[key];
        if session.transaction.is_none() {
            return self.refuse(key, "ERR DISCARD without MULTI");
        }
        session.end_transaction();
        let _ = self.reply(key, b"+OK\r\n");
    }

    /// Queues a command of a connection with an open transaction.
    pub(super) fn queue(&mut self, key: usize, id: CommandId, command: Command) {
        let spec = id.spec();
        let Some(transaction) = &mut self.sessions[key].transaction else { return };
        let bytes = transaction.bytes + command.frame().len();
        let words = transaction.words + command.len();
        let fits = bytes <= limits::TRANSACTION_BYTES_MAX && words <= limits::TRANSACTION_WORDS_MAX;
        let mut slots = command::keys(spec, &command).into_iter().flatten().map(Slot::of_key);
        let first = slots.next();
        let is_crossing = slots.any(|slot| Some(slot) != first);
        drop(slots);
        let error = if !is_allowed(spec, &command) {
            "ERR Command not allowed inside a transaction".to_owned()
        } else if is_crossing {
            CrossSlot.to_string()
        } else if !fits {
            format!(
                "ERR a transaction has at most {} bytes and {} words",
                limits::TRANSACTION_BYTES_MAX,
                limits::TRANSACTION_WORDS_MAX
            )
        } else {
            transaction.queued.push((id, command));
            (transaction.bytes, transaction.words) = (bytes, words);
            let _ = self.reply(key, b"+QUEUED\r\n");
            return;
        };
        transaction.break_off();
        self.refuse(key, error);
    }

    /// `EXEC`
    fn exec(&mut self, now: Now, key: usize, command: Command) {
        let session = &mut self.sessions[key];
        if session.replies.waiting() > 0 {
            session.held = Some(command);
            return;
        }
        let Some(transaction) = session.transaction.take() else {
            return self.refuse(key, "ERR EXEC without MULTI");
        };
        let watched = std::mem::take(&mut session.watched);
        if transaction.is_broken {
            let error = "EXECABORT Transaction discarded because of previous errors.";
            return self.refuse(key, error);
        }
        match self.batch(now, key, transaction, watched).map(Batch::finish) {
            Err(error) => self.refuse(key, error),
            Ok(Err(replies)) => {
                let mut reply = Vec::new();
                ReplyWriter::new(&mut reply, false).array(replies.len());
                replies.iter().for_each(|one| reply.extend_from_slice(one));
                let _ = self.reply(key, &reply);
            }
            Ok(Ok((slot, class, batch))) => {
                let errand = self.terms(now, key).errand(slot, class, batch);
                let waiter = self.expect_alone(key, &command);
                self.submit(now, waiter, errand);
            }
        }
    }

    /// Makes one command of a transaction. What needs no keys is answered now.
    fn batch(
        &mut self,
        now: Now,
        key: usize,
        transaction: Transaction,
        watched: Vec<(Bytes, Bytes)>,
    ) -> Result<Batch, CrossSlot> {
        let mut batch = Batch::watching(watched)?;
        for (id, command) in transaction.queued {
            let spec = id.spec();
            if spec.routing != Routing::Session {
                batch.call(spec, &command)?;
                continue;
            }
            let mut reply = Vec::new();
            let subcommand = command.get(1).unwrap_or_default().to_ascii_lowercase();
            if let Err(error) = self.answer(now, key, spec, &subcommand, &command, &mut reply) {
                reply.clear();
                ReplyWriter::new(&mut reply, false).error(error);
            }
            batch.reply(&reply);
        }
        Ok(batch)
    }

    /// `WATCH key...`
    fn watch(&mut self, now: Now, key: usize, command: Command) {
        let session = &mut self.sessions[key];
        if session.transaction.is_some() {
            return self.refuse(key, "ERR WATCH inside MULTI is not allowed");
        }
        if session.replies.waiting() > 0 {
            session.held = Some(command);
            return;
        }
        if session.watched.len() + command.len() > limits::WATCHED_MAX {
            return self.refuse(key, "ERR too many keys are watched");
        }
        let keys: Vec<Bytes> = command.args().skip(1).map(Bytes::copy_from_slice).collect();
        let slot = Slot::of_key(&keys[0]);
        if keys.iter().any(|key| Slot::of_key(key) != slot) {
            return self.refuse(key, CrossSlot);
        }
        let name = [Bytes::from_static(b"quorate.version")];
        let question = Command::from_args(name.iter().chain(&keys));
        let errand = self.terms(now, key).errand(slot, Class::Read, question);
        let Waiter::Exclusive { key, id, number, run } = self.expect_alone(key, &command) else {
            unreachable!("invariant: who is alone is exclusive")
        };
        self.submit(now, Waiter::Watch { key, id, number, run, keys }, errand);
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
