//! Which arguments of a command are keys.

use super::{Group, Spec};
use crate::resp::{Command, parse_integer};

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

/// The keys of `command`, in the order in which they stand. Its arity must have been checked.
pub fn keys<'a>(
    spec: &Spec,
    command: &'a Command,
) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>, KeysError> {
    let (first, last, step) = match spec.name {
        // The key stands behind the subcommand.
        "object" if command.len() == 3 => (2, 2, 1),
        _ => {
            let (first, last, step) = spec.key_positions;
            let last = if last < 0 {
                command.len() - usize::from(last.unsigned_abs())
            } else {
                usize::from(last.unsigned_abs())
            };
            (usize::from(first.unsigned_abs()), last, usize::from(step.unsigned_abs()))
        }
    };
    let fixed = if first == 0 { 1..1 } else { first..last + 1 };
    let counted = match spec.counted_keys {
        0 => 1..1,
        at => {
            let first = usize::from(at) + 1;
            first..first + counted_keys(spec, command, usize::from(at))?
        }
    };
    Ok(fixed.step_by(step.max(1)).chain(counted).map(|index| command.arg(index)))
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
    use crate::command::lookup;

    fn keys_of(words: &[&'static str]) -> Result<Vec<Vec<u8>>, KeysError> {
        let command = Command::from_args(words);
        let spec = lookup(command.name()).expect("in the table");
        keys(spec, &command).map(|keys| keys.map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn keys_stand_where_the_table_says() {
        for (words, expected) in [
            (&["GET", "a"][..], &["a"][..]),
            (&["MSET", "a", "1", "b", "2"], &["a", "b"]),
            (&["DEL", "a", "b", "c"], &["a", "b", "c"]),
            (&["RENAME", "a", "b"], &["a", "b"]),
            (&["SINTERCARD", "2", "a", "b", "LIMIT", "3"], &["a", "b"]),
            (&["ZUNIONSTORE", "d", "2", "a", "b", "WEIGHTS", "1", "2"], &["d", "a", "b"]),
            (&["ZMPOP", "1", "a", "MIN"], &["a"]),
            (&["OBJECT", "ENCODING", "a"], &["a"]),
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
}
