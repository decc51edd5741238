//! Reading the arguments of commands.

use quorate_proto::resp::{Command, parse_integer};

use crate::{commands::CommandError, decimal::Decimal};

/// An integer as Redis reads it.
pub(crate) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_integer(text).ok_or(CommandError::NotInteger)
}

/// A decimal number.
pub(crate) fn decimal(text: &[u8]) -> Result<Decimal, CommandError> {
    Decimal::parse(text).ok_or(CommandError::NotFloat)
}

/// Whether an argument is this word, in any case.
pub(crate) fn is_word(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// A unit of time in options and command names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds since the Unix epoch.
    SecondsAt,
    /// Milliseconds since the Unix epoch.
    MillisecondsAt,
}

impl Time {
    /// The unit that an option such as `EX` names.
    pub(crate) fn of_option(argument: &[u8]) -> Option<Self> {
        let options = [
            ("EX", Self::Seconds),
            ("PX", Self::Milliseconds),
            ("EXAT", Self::SecondsAt),
            ("PXAT", Self::MillisecondsAt),
        ];
        options.into_iter().find(|(word, _)| is_word(argument, word)).map(|(_, time)| time)
    }

    /// The moment in milliseconds since the Unix epoch, or `None` when it is out of range.
    pub(crate) fn moment(self, value: i64, wall_ms: u64) -> Option<i64> {
        let milliseconds = match self {
            Self::Seconds | Self::SecondsAt => value.checked_mul(1000)?,
            Self::Milliseconds | Self::MillisecondsAt => value,
        };
        match self {
            Self::Seconds | Self::Milliseconds => milliseconds.checked_add_unsigned(wall_ms),
            Self::SecondsAt | Self::MillisecondsAt => Some(milliseconds),
        }
    }
}

/// A positive expiry given by an option or argument of `command`.
pub(crate) fn expiry(
    time: Time,
    text: &[u8],
    wall_ms: u64,
    command: &Command,
) -> Result<u64, CommandError> {
    let value = integer(text)?;
    let moment = if value > 0 { time.moment(value, wall_ms) } else { None };
    moment
        .and_then(|moment| u64::try_from(moment).ok())
        .ok_or_else(|| CommandError::invalid_expiry(command))
}
