//! A command with what the table says of it.
//!
//! A call is made once, where a command enters the node: from a client, from a peer, or as a piece
//! of another call. It travels from there to the store, and nobody on its way looks into the table
//! by name again. Between nodes it travels as the command that it was made of.

use core::fmt;

use bytes::Bytes;

use super::{
    About, Access, BATCH, Batched, Class, Spec, Subcommand, WrongArity, batch,
    keys::{KeysError, Places},
    table::{all, lookup_row},
};
use crate::{Partitioner, Slot, resp::Command};

/// A kind of command: its row in the table, and the number of its subcommand there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId {
    row: u16,
    subcommand: Option<u8>,
}

impl CommandId {
    /// The kind without a subcommand whose row is at this position of the table.
    pub fn of_row(row: usize) -> Self {
        Self { row: row as u16, subcommand: None }
    }

    /// Finds the kind of a command by its name, and checks the number of its arguments.
    pub fn of(command: &Command) -> Result<Self, Mistake> {
        let id = Self::of_row(lookup_row(command.name()).ok_or(Mistake::Unknown)?);
        let spec = id.spec();
        let wrong = |id, subcommand| Mistake::Arity {
            id,
            error: WrongArity { command: spec.name, subcommand },
        };
        if !arity_fits(spec.arity, command.len()) {
            return Err(wrong(id, None));
        }
        let Some(name) = command.get(1).filter(|_| !spec.subcommands.is_empty()) else {
            return Ok(id);
        };
        let is_it = |row: &Subcommand| name.eq_ignore_ascii_case(row.name.as_bytes());
        let number = spec.subcommands.iter().position(is_it).ok_or(Mistake::UnknownSubcommand)?;
        let id = Self { subcommand: Some(number as u8), ..id };
        let row = &spec.subcommands[number];
        if arity_fits(row.arity, command.len()) { Ok(id) } else { Err(wrong(id, Some(row.name))) }
    }

    /// The position of the row in the table.
    pub fn row(self) -> usize {
        usize::from(self.row)
    }

    /// The row.
    pub fn spec(self) -> &'static Spec {
        &all()[self.row()]
    }

    /// The row of the subcommand, for a container.
    pub fn subcommand(self) -> Option<&'static Subcommand> {
        self.subcommand.map(|number| &self.spec().subcommands[usize::from(number)])
    }
}

/// The name, as in `get` and `config|get`.
impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec().name)?;
        self.subcommand().map_or(Ok(()), |row| write!(f, "|{}", row.name))
    }
}

fn arity_fits(arity: i8, length: usize) -> bool {
    let bound = usize::from(arity.unsigned_abs());
    if arity < 0 { length >= bound } else { length == bound }
}

/// Why a command cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// There is no such command.
    Unknown,
    /// A container has no such subcommand.
    UnknownSubcommand,
    /// It has the wrong number of arguments.
    Arity {
        /// What it would be.
        id: CommandId,
        /// What is answered.
        error: WrongArity,
    },
}

/// Over how many slots the keys of a call are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// It has no keys.
    None,
    /// All are in one slot.
    One,
    /// They are in different slots.
    Several,
}

/// A command, its row, its class, its keys, and the slot that it is executed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    command: Command,
    id: CommandId,
    class: Class,
    slot: Slot,
    spread: Spread,
    keys: Result<Places, KeysError>,
}

impl Call {
    /// A command of a client, whose kind is known. Its slot is that of its first key.
    pub fn new(id: CommandId, command: Command, partitioner: &Partitioner) -> Self {
        let mut call = Self::on(Slot::default(), id, command);
        let mut slots = call.keys().map(|key| partitioner.slot(key));
        let first = slots.next();
        let spread = match first {
            None => Spread::None,
            Some(first) if slots.all(|slot| slot == first) => Spread::One,
            Some(_) => Spread::Several,
        };
        drop(slots);
        (call.slot, call.spread) = (first.unwrap_or_default(), spread);
        call
    }

    /// A command on a slot, as peers send it.
    pub fn decode(slot: Slot, frame: Bytes) -> Option<Self> {
        let command = Command::decode(frame).ok()?;
        Some(Self::on(slot, CommandId::of(&command).ok()?, command))
    }

    /// A piece of another call: a command that this node has made itself, on a slot.
    ///
    /// # Panics
    /// When the table has no such command with so many arguments.
    pub fn piece(slot: Slot, command: Command) -> Self {
        let id = CommandId::of(&command).expect("invariant: pieces are in the table");
        Self::on(slot, id, command)
    }

    fn on(slot: Slot, id: CommandId, command: Command) -> Self {
        let keys = Places::find(id, &command);
        let class = id.spec().class_of(&command);
        Self { id, class, slot, spread: Spread::One, keys, command }
    }

    /// The same, executed on another slot: a call without keys, or one that can only fail.
    pub fn moved_to(self, slot: Slot) -> Self {
        Self { slot, spread: Spread::One, ..self }
    }

    /// The same on the slot where the partitioner has its first key, for one that was made without
    /// knowing of a ring.
    pub fn placed(self, partitioner: &Partitioner) -> Self {
        let first = self.keys().next().filter(|_| partitioner.as_ring().is_some());
        let slot = first.map_or(self.slot, |key| partitioner.slot(key));
        Self { slot, ..self }
    }

    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// What kind of command it is.
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// The row of the table.
    pub fn spec(&self) -> &'static Spec {
        self.id.spec()
    }

    /// Whether it writes, and what its effect depends on.
    pub fn class(&self) -> Class {
        self.class
    }

    /// How many words it has; of a batch, those of all its calls.
    pub fn words(&self) -> usize {
        let batch = (self.spec().name == BATCH).then(|| Batched::parse(&self.command)).flatten();
        batch.map_or(self.command.len(), |batch| batch.words)
    }

    /// Whether it is a batch that must not be executed without what was sent before it.
    pub fn is_in_order(&self) -> bool {
        self.spec().name == BATCH && batch::is_in_order(&self.command)
    }

    /// The slot that it is executed on.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Over how many slots its keys are spread, as far as it was made to find out.
    pub fn spread(&self) -> Spread {
        self.spread
    }

    /// Why its keys cannot be told, if they cannot. It seems to have none then.
    pub fn check_keys(&self) -> Result<(), KeysError> {
        self.keys.map(|_| ())
    }

    /// Its keys, in the order in which they stand.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys_with_access().map(|(key, _)| key)
    }

    /// The elements of its only key that it reads; `None` when it is about all that its keys hold.
    pub fn elements(&self) -> Option<impl Iterator<Item = &[u8]> + Clone> {
        let is_about_elements = self.spec().about == About::Elements;
        is_about_elements.then(|| (2..self.command.len()).map(|at| self.command.arg(at)))
    }

    /// Its keys, and what becomes of each.
    pub fn keys_with_access(&self) -> impl Iterator<Item = (&[u8], Access)> {
        let places = self.keys.unwrap_or_default();
        places.iter().map(|(at, access)| (self.command.arg(at), access))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn call(words: &[&str]) -> Call {
        let command = Command::from_args(words);
        let id = CommandId::of(&command).expect("in the table");
        Call::new(id, command, &Partitioner::Slots)
    }

    #[test]
    fn a_call_knows_where_its_keys_are() {
        assert_eq!(call(&["PING"]).spread(), Spread::None);
        assert_eq!(call(&["DEL", "{a}1", "{a}2"]).spread(), Spread::One);
        let spread = call(&["DEL", "a", "b"]);
        assert_eq!((spread.spread(), spread.slot()), (Spread::Several, Slot::of_key(b"a")));
        let wrong = call(&["ZMPOP", "0", "a", "MIN"]);
        assert_eq!((wrong.keys().count(), wrong.spread()), (0, Spread::None));
        assert_eq!(wrong.check_keys(), Err(KeysError::Count));
    }

    #[test]
    fn a_call_knows_which_elements_it_is_about() {
        let elements = |words: &[&str]| {
            let call = call(words);
            call.elements().map(|found| found.map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        assert_eq!(elements(&["HGET", "k", "f"]), Some(alloc::vec![b"f".to_vec()]));
        assert_eq!(
            elements(&["HMGET", "k", "f", "g"]),
            Some(alloc::vec![b"f".to_vec(), b"g".to_vec()])
        );
        assert_eq!(elements(&["HGETALL", "k"]), None);
        assert_eq!(elements(&["HDEL", "k", "f"]), None, "it may empty the key");
        assert_eq!(elements(&["HINCRBY", "k", "f", "1"]), None, "it reads for those behind it");
    }

    #[test]
    fn a_call_is_the_same_for_a_peer() {
        for words in [&["GET", "a"][..], &["SET", "a", "1", "NX"], &["MSET", "a", "1", "{a}", "2"]]
        {
            let call = call(words);
            let frame = call.command().frame().clone();
            assert_eq!(Call::decode(call.slot(), frame), Some(call));
        }
        let unknown = Command::from_args(["NOSUCH", "a"]).frame().clone();
        assert_eq!(Call::decode(Slot::default(), unknown), None);
    }

    #[test]
    fn a_mistake_says_what_is_wrong() {
        let of = |words: &[&str]| CommandId::of(&Command::from_args(words));
        assert_eq!(of(&["NOSUCH"]), Err(Mistake::Unknown));
        assert_eq!(of(&["CONFIG", "nosuch"]), Err(Mistake::UnknownSubcommand));
        for (words, named) in [
            (&["get"][..], "ERR wrong number of arguments for 'get' command"),
            (&["CONFIG"], "ERR wrong number of arguments for 'config' command"),
            (&["CONFIG", "get"], "ERR wrong number of arguments for 'config|get' command"),
        ] {
            let Err(Mistake::Arity { error, .. }) = of(words) else { panic!("{words:?}") };
            assert_eq!(alloc::format!("{error}"), named);
        }
    }
}
