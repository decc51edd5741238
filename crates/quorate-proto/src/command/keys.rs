//! Which arguments of a command are keys.

use super::Spec;
use crate::resp::{Command, parse_integer};

/// The keys of a command cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The argument that counts the keys is no positive number.
    #[error("ERR numkeys should be greater than 0")]
    Count,
    /// It counts more keys than there are arguments.
    #[error("ERR Number of keys can't be greater than number of args")]
    TooMany,
}

/// The keys of `command`, in the order in which they stand. Its arity must have been checked.
pub fn keys<'a>(
    spec: &Spec,
    command: &'a Command,
) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>, KeysError> {
    let (first, last, step) = match spec.name {
        "sintercard" => {
            let count = parse_integer(command.arg(1))
                .and_then(|count| usize::try_from(count).ok())
                .filter(|count| *count > 0)
                .ok_or(KeysError::Count)?;
            if count > command.len() - 2 {
                return Err(KeysError::TooMany);
            }
            (2, 1 + count, 1)
        }
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
    let range = if first == 0 { 1..1 } else { first..last + 1 };
    Ok(range.step_by(step.max(1)).map(|index| command.arg(index)))
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
    }
}
