//! Several commands on one slot as one that is executed whole: what `EXEC` runs.
//!
//! ```text
//! quorate.batch class numkeys key... numwatched version... words entry...
//! ```
//!
//! The class is `r`, `w` or `m` for reads, writes and both, or `o` for [`Batch::in_order`].
//! The first keys are those that are watched: nothing is executed unless each has its version
//! still. An entry is `C` and a command, or `R` and a reply that is known already.

use alloc::{string::ToString as _, vec::Vec};

use bytes::Bytes;

use super::{Call, Class};
use crate::{
    Partitioner, Slot,
    resp::{Command, ReplyWriter, parse_integer},
};

/// The name of the command.
pub const BATCH: &str = "quorate.batch";

/// The keys of a batch are in several slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CROSSSLOT Keys in request don't hash to the same slot")]
pub struct CrossSlot;

/// A batch that is being put together.
#[derive(Debug)]
pub struct Batch {
    partitioner: Partitioner,
    slot: Option<Slot>,
    class: Class,
    is_in_order: bool,
    keys: Vec<Bytes>,
    versions: Vec<Bytes>,
    entries: Vec<Entry>,
    words: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            partitioner: Partitioner::default(),
            slot: None,
            class: Class::Read,
            is_in_order: false,
            keys: Vec::new(),
            versions: Vec::new(),
            entries: Vec::new(),
            words: 0,
        }
    }
}

impl Batch {
    /// A batch of these entries that is executed only if these keys have these versions.
    pub fn of(
        watched: &[(Bytes, Bytes)],
        entries: &[Entry],
        partitioner: &Partitioner,
    ) -> Result<Self, CrossSlot> {
        let mut batch = Self { partitioner: partitioner.clone(), ..Self::default() };
        for (key, version) in watched {
            batch.class = Class::ReadModifyWrite;
            batch.key(key.clone())?;
            batch.versions.push(version.clone());
        }
        for entry in entries {
            match entry {
                Entry::Call(call) => batch.call(call)?,
                Entry::Reply(reply) => batch.entries.push(Entry::Reply(reply.clone())),
            }
        }
        Ok(batch)
    }

    /// The same, executed only by whoever has executed what was sent before it, and read first even
    /// if it only reads or only writes.
    pub fn in_order(self) -> Self {
        Self { class: Class::ReadModifyWrite, is_in_order: true, ..self }
    }

    /// Adds a call. One whose keys cannot be told is answered with the error.
    fn call(&mut self, call: &Call) -> Result<(), CrossSlot> {
        if let Err(error) = call.check_keys() {
            let mut reply = Vec::new();
            ReplyWriter::new(&mut reply, false).error(error);
            self.entries.push(Entry::Reply(reply.into()));
            return Ok(());
        }
        for key in call.keys() {
            // The same few keys again and again need not be named each time.
            let mut named = self.keys.iter().take(KEYS_TOLD_APART_MAX);
            if named.all(|named| named[..] != *key) {
                self.key(call.command().frame().slice_ref(key))?;
            }
        }
        self.class = match (self.class, call.class()) {
            (one, other) if one == other || self.words == 0 && self.versions.is_empty() => other,
            _ => Class::ReadModifyWrite,
        };
        self.words += call.command().len();
        self.entries.push(Entry::Call(call.clone()));
        Ok(())
    }

    fn key(&mut self, key: Bytes) -> Result<(), CrossSlot> {
        let slot = self.partitioner.slot(&key);
        if *self.slot.get_or_insert(slot) != slot {
            return Err(CrossSlot);
        }
        self.keys.push(key);
        Ok(())
    }

    /// The batch as one call; the replies, when all are known. One without keys may be executed on
    /// any slot.
    pub fn finish(self) -> Result<Call, Vec<Bytes>> {
        if self.slot.is_none() && self.words == 0 {
            let replies = self.entries.into_iter().filter_map(Entry::into_reply);
            return Err(replies.collect());
        }
        let slot = self.slot.unwrap_or_default();
        let class: &[u8] = match self.class {
            _ if self.is_in_order => IN_ORDER,
            Class::Read => b"r",
            Class::Write => b"w",
            Class::ReadModifyWrite => b"m",
        };
        let number = |number: usize| number.to_string().into_bytes();
        let (keys, versions) = (number(self.keys.len()), number(self.versions.len()));
        let words = number(self.words);
        let nothing: &[u8] = b"";
        let mut arguments: Vec<(&[u8], &[u8])> = Vec::new();
        arguments.extend([(BATCH.as_bytes(), nothing), (class, nothing), (&keys, nothing)]);
        arguments.extend(self.keys.iter().map(|key| (&key[..], nothing)));
        arguments.push((&versions, nothing));
        arguments.extend(self.versions.iter().map(|version| (&version[..], nothing)));
        arguments.push((&words, nothing));
        arguments.extend(self.entries.iter().map(Entry::halves));
        Ok(Call::piece(slot, Command::from_halves(arguments.into_iter())))
    }
}

/// The class of a batch that is executed in order: it reads first.
const IN_ORDER: &[u8] = b"o";

/// Keys of a batch that are not named twice.
const KEYS_TOLD_APART_MAX: usize = 8;

/// Whether a batch is executed in order.
pub(super) fn is_in_order(command: &Command) -> bool {
    command.get(1) == Some(IN_ORDER)
}

/// The class of a batch.
pub(super) fn class_of(command: &Command) -> Class {
    match command.get(1) {
        Some(b"r") => Class::Read,
        Some(b"w") => Class::Write,
        _ => Class::ReadModifyWrite,
    }
}

/// One part of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A call to execute.
    Call(Call),
    /// A reply that is known already.
    Reply(Bytes),
}

impl Entry {
    /// The letter of its kind, and what follows.
    fn halves(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Call(call) => (b"C", call.command().frame()),
            Self::Reply(reply) => (b"R", reply),
        }
    }

    fn into_reply(self) -> Option<Bytes> {
        match self {
            Self::Call(_) => None,
            Self::Reply(reply) => Some(reply),
        }
    }
}

/// A batch as its executor reads it.
#[derive(Clone, Copy, Debug)]
pub struct Batched<'a> {
    command: &'a Command,
    /// Words of all its commands.
    pub words: usize,
    watched: usize,
    first_version: usize,
    first_entry: usize,
}

impl<'a> Batched<'a> {
    /// Reads the command of a batch.
    pub fn parse(command: &'a Command) -> Option<Self> {
        let number = |at: usize| usize::try_from(parse_integer(command.get(at)?)?).ok();
        let keys = number(2)?;
        let first_version = keys.checked_add(4)?;
        let watched = number(first_version - 1)?;
        let first_entry = first_version.checked_add(watched)?.checked_add(1)?;
        let words = number(first_entry - 1)?;
        (watched <= keys).then_some(Self { command, words, watched, first_version, first_entry })
    }

    /// The watched keys, and the version that each must have.
    pub fn watched(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let command = self.command;
        let first = self.first_version;
        (0..self.watched).map(move |at| (command.arg(3 + at), command.arg(first + at)))
    }

    /// How many parts it has.
    pub fn len(&self) -> usize {
        self.command.len() - self.first_entry
    }

    /// Whether it has no parts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its parts, whose keys are in `slot`; `None` for one that cannot be read, or that is a batch.
    pub fn entries(&self, slot: Slot) -> impl Iterator<Item = Option<Entry>> {
        let command = self.command;
        (self.first_entry..command.len()).map(move |at| {
            let (kind, rest) = command.arg(at).split_first()?;
            let rest = command.frame().slice_ref(rest);
            match kind {
                b'C' => Call::decode(slot, rest)
                    .filter(|call| call.spec().name != BATCH)
                    .map(Entry::Call),
                b'R' => Some(Entry::Reply(rest)),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandId;

    fn made(words: &[&str]) -> Call {
        let command = Command::from_args(words);
        let id = CommandId::of(&command).expect("in the table");
        Call::new(id, command, &Partitioner::Slots)
    }

    fn call(batch: &mut Batch, words: &[&str]) -> Result<(), CrossSlot> {
        batch.call(&made(words))
    }

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let watched = alloc::vec![(Bytes::from_static(b"a"), Bytes::from_static(b"version"))];
        let mut batch = Batch::of(&watched, &[], &Partitioner::Slots).expect("one slot");
        call(&mut batch, &["SET", "{a}b", "1"]).expect("one slot");
        batch.entries.push(Entry::Reply(Bytes::from_static(b"+PONG\r\n")));
        assert_eq!(call(&mut batch, &["GET", "b"]), Err(CrossSlot));
        let call = batch.finish().expect("has keys");
        assert_eq!((call.slot(), call.class()), (Slot::of_key(b"a"), Class::ReadModifyWrite));
        assert_eq!(call.keys().collect::<Vec<_>>(), [b"a".as_slice(), b"{a}b"]);
        let batch = Batched::parse(call.command()).expect("a batch");
        assert_eq!(batch.watched().collect::<Vec<_>>(), [(b"a".as_slice(), b"version".as_slice())]);
        assert_eq!((batch.words, batch.len()), (3, 2));
        let entries: Option<Vec<_>> = batch.entries(call.slot()).collect();
        let set = made(&["SET", "{a}b", "1"]);
        let pong = Bytes::from_static(b"+PONG\r\n");
        assert_eq!(entries, Some(alloc::vec![Entry::Call(set), Entry::Reply(pong)]));
    }

    #[test]
    fn commands_that_read_and_write_make_a_batch_that_reads_first() {
        use Class::{Read, ReadModifyWrite, Write};
        let (get, set, incr) = (["GET", "a"], ["SET", "a", "1"], ["INCR", "a"]);
        let (get, set, incr) = (&get[..], &set[..], &incr[..]);
        for (commands, class) in [
            (&[get, get][..], Read),
            (&[set, set], Write),
            (&[get, set], ReadModifyWrite),
            (&[set, get], ReadModifyWrite),
            (&[incr, set], ReadModifyWrite),
        ] {
            let mut batch = Batch::default();
            for words in commands {
                call(&mut batch, words).expect("one slot");
            }
            assert_eq!(batch.finish().expect("has keys").class(), class, "{commands:?}");
        }
    }

    #[test]
    fn what_is_executed_in_order_reads_first_and_names_a_key_once() {
        let mut batch = Batch::default();
        for _ in 0..3 {
            call(&mut batch, &["GET", "a"]).expect("one slot");
        }
        let call = batch.in_order().finish().expect("has keys");
        assert_eq!((call.class(), call.is_in_order()), (Class::ReadModifyWrite, true));
        assert_eq!(call.keys().collect::<Vec<_>>(), [b"a"]);
        assert!(!made(&["GET", "a"]).is_in_order());
    }

    #[test]
    fn a_batch_without_keys_is_answered_or_executed_anywhere() {
        let mut batch = Batch::default();
        call(&mut batch, &["SINTERCARD", "0", "a"]).expect("no slot");
        batch.entries.push(Entry::Reply(Bytes::from_static(b"+PONG\r\n")));
        let replies = [&b"-ERR numkeys should be greater than 0\r\n"[..], b"+PONG\r\n"];
        assert_eq!(batch.finish(), Err(replies.map(Bytes::from_static).to_vec()));
        let mut batch = Batch::default();
        call(&mut batch, &["OBJECT", "HELP"]).expect("no slot");
        assert_eq!(batch.finish().expect("to be executed").class(), Class::Read);
    }

    #[test]
    fn what_is_not_a_batch_is_not_read() {
        for words in [
            &["quorate.batch", "m", "x", "a", "0", "0"][..],
            &["quorate.batch", "m", "1", "a", "2", "v", "0"],
            &["quorate.batch", "m", "9223372036854775807", "a", "0", "0"],
            &["quorate.batch", "m", "1", "a", "5", "0"],
        ] {
            assert!(Batched::parse(&Command::from_args(words)).is_none(), "{words:?}");
        }
    }
}
