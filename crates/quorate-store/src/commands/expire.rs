//! Times to live.

use quorate_proto::resp::{Command, quoted};

use super::{CommandError, Handlers, Outcome};
use crate::{
    arguments::{Time, integer, is_word},
    execution::Execution,
};

pub(super) const HANDLERS: Handlers = &[
    ("expire", |execution, command| expire(execution, command, Time::Seconds)),
    ("pexpire", |execution, command| expire(execution, command, Time::Milliseconds)),
    ("expireat", |execution, command| expire(execution, command, Time::SecondsAt)),
    ("pexpireat", |execution, command| expire(execution, command, Time::MillisecondsAt)),
    ("ttl", |execution, command| remaining(execution, command, Time::Seconds)),
    ("pttl", |execution, command| remaining(execution, command, Time::Milliseconds)),
    ("expiretime", |execution, command| remaining(execution, command, Time::SecondsAt)),
    ("pexpiretime", |execution, command| remaining(execution, command, Time::MillisecondsAt)),
    ("persist", persist),
];

/// Conditions of the `EXPIRE` family.
#[derive(Clone, Copy, Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(command: &Command) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for word in command.args().skip(3) {
            let flag = if is_word(word, "NX") {
                &mut conditions.only_without
            } else if is_word(word, "XX") {
                &mut conditions.only_with
            } else if is_word(word, "GT") {
                &mut conditions.only_later
            } else if is_word(word, "LT") {
                &mut conditions.only_earlier
            } else {
                return Err(CommandError::UnsupportedOption(quoted(word)));
            };
            *flag = true;
        }
        let Self { only_without, only_with, only_later, only_earlier } = conditions;
        if only_without && (only_with || only_later || only_earlier) {
            return Err(CommandError::Text(
                "NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if only_later && only_earlier {
            return Err(CommandError::Text(
                "GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// Whether an expiry may be set. No expiry counts as never, later than any moment.
    fn allow(self, old: Option<u64>, new: i64) -> bool {
        let old = old.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
        !(self.only_without && old.is_some()
            || self.only_with && old.is_none()
            || self.only_later && old.is_none_or(|old| new <= old)
            || self.only_earlier && old.is_some_and(|old| new >= old))
    }
}

/// `EXPIRE key time [NX|XX|GT|LT]` and its siblings.
fn expire(execution: &mut Execution<'_>, command: &Command, time: Time) -> Outcome {
    let Execution { keys, reply } = execution;
    let conditions = Conditions::parse(command)?;
    let value = integer(command.arg(2))?;
    let at = time.moment(value, keys.wall_ms);
    let at = at.ok_or_else(|| CommandError::invalid_expiry(command))?;
    let mut key = keys.find(command.arg(1));
    let Some(state) = key.read().state().filter(|state| state.is_live()) else {
        reply.integer(0);
        return Ok(());
    };
    let allowed = conditions.allow(state.expires_at(), at);
    if allowed {
        key.expire_at(u64::try_from(at).unwrap_or(0));
    }
    reply.integer(i64::from(allowed));
    Ok(())
}

/// `TTL key` and its siblings: -2 without the key, -1 without an expiry.
fn remaining(execution: &mut Execution<'_>, command: &Command, time: Time) -> Outcome {
    let Execution { keys, reply } = execution;
    let Some(state) = keys.read(command.arg(1)).state().filter(|state| state.is_live()) else {
        reply.integer(-2);
        return Ok(());
    };
    let Some(at) = state.expires_at() else {
        reply.integer(-1);
        return Ok(());
    };
    let left = at.saturating_sub(keys.wall_ms);
    let value = match time {
        Time::Seconds => (left + 500) / 1000,
        Time::Milliseconds => left,
        Time::SecondsAt => at.saturating_add(500) / 1000,
        Time::MillisecondsAt => at,
    };
    reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
    Ok(())
}

/// `PERSIST key`
fn persist(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let expires =
        key.read().state().is_some_and(|state| state.is_live() && state.expires_at().is_some());
    if expires {
        key.apply(|change| change.expiry(None));
    }
    reply.integer(i64::from(expires));
    Ok(())
}
