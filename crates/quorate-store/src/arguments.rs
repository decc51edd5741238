//! Reading the arguments of commands.

use quorate_proto::{
    limits::COUNTED_REPLY_LENGTH_MAX,
    resp::{Command, parse_integer},
};

use crate::{commands::CommandError, number::Number};

/// An integer as Redis reads it.
pub(crate) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_integer(text).ok_or(CommandError::NotInteger)
}

/// A number as Redis reads one that may have a fraction.
pub(crate) fn number(text: &[u8]) -> Result<Number, CommandError> {
    Number::parse(text).ok_or(CommandError::NotFloat)
}

/// How many random elements are wanted: negative for repetitions.
pub(crate) fn random_count(text: &[u8]) -> Result<i64, CommandError> {
    match integer(text)? {
        i64::MIN => Err(CommandError::Text(
            "value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        )),
        count => Ok(count),
    }
}

/// What is left of the longest reply that a count may ask for.
#[derive(Debug)]
pub(crate) struct ReplyRoom(usize);

impl ReplyRoom {
    /// Bytes that the shortest element takes in a reply.
    const ELEMENT_MIN: usize = b"$0\r\n\r\n".len();

    /// Room for `elements` that were chosen for a count, refused at once when they cannot fit. Only
    /// repetitions, for which the count is negative, are not bounded by what the key holds.
    pub(crate) fn new(count: i64, elements: usize) -> Result<Self, CommandError> {
        if count >= 0 {
            return Ok(Self(usize::MAX));
        }
        let fits = elements <= COUNTED_REPLY_LENGTH_MAX / Self::ELEMENT_MIN;
        fits.then_some(Self(COUNTED_REPLY_LENGTH_MAX)).ok_or(CommandError::ReplyTooLong)
    }

    /// Takes the room of an element.
    pub(crate) fn take(&mut self, element: &[u8]) -> Result<(), CommandError> {
        let digits = element.len().checked_ilog10().unwrap_or(0) as usize;
        let length = Self::ELEMENT_MIN + digits + element.len();
        self.0 = self.0.checked_sub(length).ok_or(CommandError::ReplyTooLong)?;
        Ok(())
    }
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
