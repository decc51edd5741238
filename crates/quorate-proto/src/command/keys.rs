//! Which arguments of a command are keys, and what becomes of each.

use super::{CommandId, Group, Spec};
use crate::resp::{Command, parse_integer};

/// What a command does with a key.
///
/// | | `RO` | `RW` | `OW` | `RM` |
/// |---|---|---|---|---|
/// | nothing of the value is answered or copied | `Look` | `Update`, `Insert`, `Delete` | `Replace`, `Create` | `Drop` |
/// | something is | `Fetch` | `ReadUpdate`, `ReadDelete` | | |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table and the names describe them")]
pub enum Access {
    Look,
    Fetch,
    Update,
    ReadUpdate,
    Insert,
    Delete,
    ReadDelete,
    Replace,
    Create,
    Drop,
    /// `ReadUpdate` with the option `GET`, else `Replace`.
    Varies,
}

impl Access {
    /// The names that Redis gives it.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Look => &["RO"],
            Self::Fetch => &["RO", "access"],
            Self::Update => &["RW", "update"],
            Self::ReadUpdate => &["RW", "access", "update"],
            Self::Insert => &["RW", "insert"],
            Self::Delete => &["RW", "delete"],
            Self::ReadDelete => &["RW", "access", "delete"],
            Self::Replace => &["OW", "update"],
            Self::Create => &["OW", "insert"],
            Self::Drop => &["RM", "delete"],
            Self::Varies => &["RW", "access", "update", "variable_flags"],
        }
    }

    /// Whether the key may be changed.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Look | Self::Fetch)
    }

    /// What it is for one command.
    fn of(self, command: &Command) -> Self {
        if self != Self::Varies {
            return self;
        }
        let reads = command.args().skip(3).any(|word| word.eq_ignore_ascii_case(b"GET"));
        if reads { Self::ReadUpdate } else { Self::Replace }
    }
}

/// Where some keys of a command stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// From the first to the last one, each `step` behind the one before. A negative last one
    /// counts from the end.
    Range { last: i8, step: u8 },
    /// The first argument is their number, and they follow it.
    Counted,
}

/// Some keys of a command that are used in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The argument where they begin.
    pub(super) first: u8,
    pub(super) find: Find,
    /// What becomes of them.
    pub access: Access,
}

impl KeySpec {
    fn find_in(self, spec: &Spec, command: &Command) -> Result<Run, KeysError> {
        let first = usize::from(self.first);
        let (first, end, step) = match self.find {
            Find::Range { last, step } => {
                let distance = usize::from(last.unsigned_abs());
                let end = if last < 0 { command.len() + 1 - distance } else { distance + 1 };
                // A subcommand may have none.
                (first, end.min(command.len()), step)
            }
            Find::Counted => (first + 1, first + 1 + counted_keys(spec, command, first)?, 1),
        };
        let access = self.access.of(command);
        Ok(Run { first: first as u32, end: end as u32, step, access })
    }
}

/// All keys of a command: none, or one or two runs of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys([Option<KeySpec>; 2]);

/// The key at an argument.
pub(super) const fn at(first: u8, access: Access) -> Keys {
    let find = Find::Range { last: first as i8, step: 1 };
    Keys([Some(KeySpec { first, find, access }), None])
}

/// The first argument.
pub(super) const fn one(access: Access) -> Keys {
    at(1, access)
}

/// All arguments from one on.
pub(super) const fn from(first: u8, access: Access) -> Keys {
    Keys([Some(KeySpec { first, find: Find::Range { last: -1, step: 1 }, access }), None])
}

/// Every second argument from one on.
pub(super) const fn pairs(first: u8, access: Access) -> Keys {
    Keys([Some(KeySpec { first, find: Find::Range { last: -1, step: 2 }, access }), None])
}

/// Every third argument from one on.
pub(super) const fn triples(first: u8, access: Access) -> Keys {
    Keys([Some(KeySpec { first, find: Find::Range { last: -1, step: 3 }, access }), None])
}

/// All arguments from one on but the last.
pub(super) const fn but_last(first: u8, access: Access) -> Keys {
    Keys([Some(KeySpec { first, find: Find::Range { last: -2, step: 1 }, access }), None])
}

/// As many as an argument says, behind it.
pub(super) const fn counted(first: u8, access: Access) -> Keys {
    Keys([Some(KeySpec { first, find: Find::Counted, access }), None])
}

impl Keys {
    /// No keys.
    pub const NONE: Self = Self([None, None]);

    /// These, and then the others.
    pub(super) const fn and(self, others: Self) -> Self {
        Self([self.0[0], others.0[0]])
    }

    /// The runs.
    pub fn specs(&self) -> impl Iterator<Item = &KeySpec> {
        self.0.iter().flatten()
    }

    /// Of keys up to the end of a command: the distance from one to the next, and how many words
    /// stand behind the last one and what belongs to it.
    pub fn step_and_shared(self) -> (usize, usize) {
        match self.0[0].map(|keys| keys.find) {
            Some(Find::Range { last, step }) if last < 0 => {
                (usize::from(step), usize::from(last.unsigned_abs()) - 1)
            }
            _ => (1, 0),
        }
    }

    /// Whether an argument counts some of them.
    pub(super) const fn are_counted(self) -> bool {
        let [one, other] = self.0;
        matches!(one, Some(KeySpec { find: Find::Counted, .. }))
            || matches!(other, Some(KeySpec { find: Find::Counted, .. }))
    }

    /// The first and last one, as `COMMAND INFO` shows them, and their distance: those that an
    /// argument counts are left out. All zero: none.
    pub(super) fn positions(self) -> (i64, i64, i64) {
        let mut positions = (0, 0, 0);
        for spec in self.specs() {
            if let Find::Range { last, step } = spec.find {
                let first = if positions.0 == 0 { i64::from(spec.first) } else { positions.0 };
                positions = (first, i64::from(last), i64::from(step));
            }
        }
        positions
    }
}

/// The keys of a command cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The argument that counts the keys is not a positive number.
    #[error("ERR numkeys should be greater than 0")]
    Count,
    /// It is not an integer, and the command says so.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// It is not positive, and the command says what it needs.
    #[error("ERR at least 1 input key is needed for '{0}' command")]
    None(&'static str),
    /// It counts more keys than there are arguments.
    #[error("ERR Number of keys can't be greater than number of args")]
    TooMany,
    /// The same, of a command that gives no reason.
    #[error("ERR syntax error")]
    Syntax,
}

/// Where the keys of one command stand in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places([Option<Run>; 2]);

/// Keys at equal distances that are used in the same way: the first, one behind the last, their
/// distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    end: u32,
    step: u8,
    access: Access,
}

impl Places {
    /// Finds the keys of a command of this kind.
    pub(super) fn find(id: CommandId, command: &Command) -> Result<Self, KeysError> {
        let spec = id.spec();
        let Keys([one, other]) = id.subcommand().map_or(spec.keys, |row| row.keys);
        let find = |keys: Option<KeySpec>| keys.map(|keys| keys.find_in(spec, command)).transpose();
        Ok(Self([find(one)?, find(other)?]))
    }

    /// Their arguments, in the order in which they stand, and what becomes of each.
    pub(super) fn iter(self) -> impl Iterator<Item = (usize, Access)> {
        self.0.into_iter().flatten().flat_map(|Run { first, end, step, access }| {
            (first as usize..end as usize).step_by(step.into()).map(move |at| (at, access))
        })
    }
}

/// How many keys the argument at `at` counts. Errors are those of the command.
fn counted_keys(spec: &Spec, command: &Command, at: usize) -> Result<usize, KeysError> {
    let explains = spec.group == Group::SortedSet && spec.name != "zmpop";
    let count = match parse_integer(command.arg(at)) {
        None if explains => return Err(KeysError::NotInteger),
        count => count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0),
    };
    let count = match count {
        None if explains => return Err(KeysError::None(spec.name)),
        count => count.ok_or(KeysError::Count)?,
    };
    match count > command.len() - at - 1 {
        true if spec.group == Group::SortedSet => Err(KeysError::Syntax),
        true => Err(KeysError::TooMany),
        false => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::command::Call;

    fn call(words: &[&'static str]) -> Call {
        let command = Command::from_args(words);
        let id = CommandId::of(&command).expect("in the table");
        Call::new(id, command, &crate::Partitioner::Slots)
    }

    fn keys_of(words: &[&'static str]) -> Result<Vec<Vec<u8>>, KeysError> {
        let call = call(words);
        call.check_keys().map(|()| call.keys().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn keys_stand_where_the_table_says() {
        for (words, expected) in [
            (&["GET", "a"][..], &["a"][..]),
            (&["MSET", "a", "1", "b", "2"], &["a", "b"]),
            (&["DEL", "a", "b", "c"], &["a", "b", "c"]),
            (&["JSON.MGET", "a", "b", "$"], &["a", "b"]),
            (&["JSON.MSET", "a", "$", "1", "b", "$", "2"], &["a", "b"]),
            (&["RENAME", "a", "b"], &["a", "b"]),
            (&["SINTERCARD", "2", "a", "b", "LIMIT", "3"], &["a", "b"]),
            (&["ZUNIONSTORE", "d", "2", "a", "b", "WEIGHTS", "1", "2"], &["d", "a", "b"]),
            (&["ZMPOP", "1", "a", "MIN"], &["a"]),
            (&["OBJECT", "ENCODING", "a"], &["a"]),
            (&["OBJECT", "HELP"], &[]),
            (&["MEMORY", "USAGE", "a", "SAMPLES", "1"], &["a"]),
            (&["JSON.DEBUG", "MEMORY", "a"], &["a"]),
            (&["JSON.DEBUG", "HELP"], &[]),
            (&["PING"], &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|key| key.as_bytes().to_vec()).collect();
            assert_eq!(keys_of(words), Ok(expected), "{words:?}");
        }
    }

    #[test]
    fn counted_keys_are_checked() {
        assert_eq!(keys_of(&["SINTERCARD", "0", "a"]), Err(KeysError::Count));
        assert_eq!(keys_of(&["SINTERCARD", "x", "a"]), Err(KeysError::Count));
        assert_eq!(keys_of(&["SINTERCARD", "2", "a"]), Err(KeysError::TooMany));
        assert_eq!(keys_of(&["ZUNION", "x", "a"]), Err(KeysError::NotInteger));
        assert_eq!(keys_of(&["ZUNION", "0", "a"]), Err(KeysError::None("zunion")));
        assert_eq!(keys_of(&["ZUNIONSTORE", "d", "2", "a"]), Err(KeysError::Syntax));
        assert_eq!(keys_of(&["ZMPOP", "0", "a", "MIN"]), Err(KeysError::Count));
    }

    #[test]
    fn every_key_has_its_access() {
        use Access::{Create, Fetch, ReadDelete, ReadUpdate, Replace};
        for (words, expected) in [
            (&["SET", "a", "1"][..], &[Replace][..]),
            (&["SET", "a", "1", "EX", "5", "get"], &[ReadUpdate]),
            (&["RENAMENX", "a", "b"], &[ReadDelete, Create]),
            (&["ZINTERSTORE", "d", "2", "a", "b"], &[Replace, Fetch, Fetch]),
        ] {
            let call = call(words);
            let found = call.keys_with_access();
            assert_eq!(found.map(|(_, access)| access).collect::<Vec<_>>(), expected, "{words:?}");
        }
    }
}
