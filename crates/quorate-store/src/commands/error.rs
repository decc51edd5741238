//! Errors that commands answer with, in the words of Redis 7.

use quorate_proto::{limits::COUNTED_REPLY_LENGTH_MAX, resp::Command};

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    #[error("ERR value is not a valid float")]
    NotFloat,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error(
        "ERR the reply would be longer than {COUNTED_REPLY_LENGTH_MAX} bytes, which is the most that a \
         count may ask for; ask for fewer elements at a time"
    )]
    ReplyTooLong,
    #[error("ERR what comes of this command is larger than the 3 GiB that may be written at once")]
    EffectTooLong,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpiry(String),
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(String),
    #[error("{0}")]
    UnknownSubcommand(String),
    #[error("ERR at least 1 input key is needed for '{0}' command")]
    NoKeys(String),
    /// The router sent a command here that the store does not execute.
    #[error("ERR this command cannot be executed on a replica")]
    NotExecutable,
    /// Any other text that stands for itself.
    #[error("ERR {0}")]
    Text(&'static str),
    /// What RedisJSON says where Redis says `WRONGTYPE`.
    #[error("Existing key has wrong Redis type")]
    NoDocument,
    /// A text of RedisJSON.
    #[error("{0}")]
    Json(String),
}

impl CommandError {
    pub(crate) fn arity(command: &Command) -> Self {
        Self::Arity(lower_name(command))
    }

    pub(crate) fn no_keys(command: &Command) -> Self {
        Self::NoKeys(lower_name(command))
    }

    pub(crate) fn invalid_expiry(command: &Command) -> Self {
        Self::InvalidExpiry(lower_name(command))
    }
}

fn lower_name(command: &Command) -> String {
    String::from_utf8_lossy(command.name()).to_ascii_lowercase()
}
