//! Error texts about commands as such, in the words of Redis 7.

use alloc::{format, string::String};
use core::fmt;

use crate::resp::{Command, parse_integer, quoted};

/// Longest part of a client's words that an error repeats.
const ECHO_LENGTH_MAX: usize = 128;

/// The command has the wrong number of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongArity {
    pub(super) command: &'static str,
    pub(super) subcommand: Option<&'static str>,
}

impl fmt::Display for WrongArity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ERR wrong number of arguments for '")?;
        // Redis shows commands of modules as these have named them.
        match self.command.strip_prefix("ft.") {
            Some(rest) => write!(f, "FT.{}", rest.to_ascii_uppercase())?,
            None => f.write_str(self.command)?,
        }
        if let Some(subcommand) = self.subcommand {
            write!(f, "|{subcommand}")?;
        }
        f.write_str("' command")
    }
}

/// Whether a text is the number of the only database. Errors are those of `SELECT` and `COPY`,
/// without their code word.
pub fn check_database(text: &[u8]) -> Result<(), &'static str> {
    match parse_integer(text).map(i32::try_from) {
        None => Err("value is not an integer or out of range"),
        Some(Err(_)) => Err("value is out of range, value must between -2147483648 and 2147483647"),
        Some(Ok(0)) => Ok(()),
        Some(Ok(_)) => Err("DB index is out of range"),
    }
}

/// There is no such command.
pub struct UnknownCommand<'a>(pub &'a Command);

impl fmt::Display for UnknownCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(command) = self;
        let name = quoted(beginning(command.name(), ECHO_LENGTH_MAX));
        write!(f, "ERR unknown command '{name}', with args beginning with: ")?;
        let mut length = 0;
        for argument in command.args().skip(1) {
            if length >= ECHO_LENGTH_MAX {
                break;
            }
            let shown = beginning(argument, ECHO_LENGTH_MAX - length);
            length += shown.len() + "'' ".len();
            write!(f, "'{}' ", quoted(shown))?;
        }
        Ok(())
    }
}

/// The text for a container command without such a subcommand.
pub fn unknown_subcommand(command: &Command) -> String {
    let name = quoted(beginning(command.get(1).unwrap_or_default(), ECHO_LENGTH_MAX));
    let container = quoted(command.name()).to_ascii_uppercase();
    format!("ERR unknown subcommand '{name}'. Try {container} HELP.")
}

/// What of a word is shown: as far as its first zero byte.
fn beginning(word: &[u8], length_max: usize) -> &[u8] {
    let end = memchr::memchr(0, word).unwrap_or(word.len());
    &word[..end.min(length_max)]
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn texts_are_those_of_redis() {
        let command = Command::from_args(["FOO", "a", "b"]);
        assert_eq!(
            UnknownCommand(&command).to_string(),
            "ERR unknown command 'FOO', with args beginning with: 'a' 'b' "
        );
        assert_eq!(
            unknown_subcommand(&Command::from_args(["client", "nope"])),
            "ERR unknown subcommand 'nope'. Try CLIENT HELP."
        );
        let arity = WrongArity { command: "client", subcommand: Some("setname") };
        assert_eq!(arity.to_string(), "ERR wrong number of arguments for 'client|setname' command");
        let arity = WrongArity { command: "ft.search", subcommand: None };
        assert_eq!(arity.to_string(), "ERR wrong number of arguments for 'FT.SEARCH' command");
    }
}
