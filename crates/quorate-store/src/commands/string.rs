//! Strings.

use std::borrow::Cow;

use quorate_proto::{
    limits::{BULK_LENGTH_MAX, COUNTED_REPLY_LENGTH_MAX},
    resp::{Command, ReplyWriter, parse_integer},
};

use super::{CommandError, Family, ObjectFamily, Outcome, Recreate};
use crate::{
    arguments::{Time, expiry, integer, is_word},
    execution::{Execution, Keys},
    state::{Kind, State},
};

/// Longest string that Redis embeds in its object.
const EMBEDDED_STRING_MAX: usize = 44;

pub(super) const FAMILY: Family = Family {
    handlers: HANDLERS,
    object: Some(ObjectFamily { kind: Kind::Text, encoding, recreate: Recreate::Elements("SET") }),
};

const HANDLERS: super::Handlers = &[
    ("get", get),
    ("set", set),
    ("setnx", setnx),
    ("setex", setex),
    ("psetex", setex),
    ("getset", getset),
    ("getdel", getdel),
    ("getex", getex),
    ("mget", mget),
    ("mset", mset),
    ("msetnx", msetnx),
    ("append", append),
    ("strlen", strlen),
    ("getrange", getrange),
    ("substr", getrange),
    ("setrange", setrange),
];

const TOO_LONG: CommandError =
    CommandError::Text("string exceeds maximum allowed size (proto-max-bulk-len)");

/// `GET key`
fn get(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    answer(reply, keys.read(command.arg(1)).of_kind(Kind::Text)?);
    Ok(())
}

/// Answers with a string. A long one is shared, not copied.
fn answer(reply: &mut ReplyWriter<'_>, state: Option<State<'_>>) {
    match state.and_then(State::shared_reply) {
        Some(shared) => reply.whole(shared),
        None => reply.optional(state.and_then(|state| state.text().visible()).as_deref()),
    }
}

/// Options of `SET` and `GETEX`.
#[derive(Default)]
struct SetOptions<'a> {
    only_new: bool,
    only_existing: bool,
    answer_old: bool,
    keep_expiry: bool,
    persist: bool,
    /// The time given, as its unit and its text.
    time: Option<(Time, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    /// Options that are given again count as they stand last; those that contradict each other are
    /// refused.
    fn parse(command: &'a Command, first: usize) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let getex = first == 2;
        let mut at = first;
        while let Some(word) = command.get(at) {
            if let Some(time) = Time::of_option(word) {
                let fits = !options.keep_expiry
                    && !options.persist
                    && options.time.is_none_or(|(before, _)| before == time);
                let value = command.get(at + 1).filter(|_| fits).ok_or(CommandError::Syntax)?;
                options.time = Some((time, value));
                at += 1;
            } else if is_word(word, "NX") && !getex && !options.only_existing {
                options.only_new = true;
            } else if is_word(word, "XX") && !getex && !options.only_new {
                options.only_existing = true;
            } else if is_word(word, "GET") && !getex {
                options.answer_old = true;
            } else if is_word(word, "KEEPTTL") && !getex && options.time.is_none() {
                options.keep_expiry = true;
            } else if is_word(word, "PERSIST") && getex && options.time.is_none() {
                options.persist = true;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }

    /// When the key is to expire.
    fn expires_at(&self, wall_ms: u64, command: &Command) -> Result<Option<u64>, CommandError> {
        self.time.map(|(time, value)| expiry(time, value, wall_ms, command)).transpose()
    }
}

/// `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`
fn set(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (key, value) = (command.arg(1), command.arg(2));
    if command.len() == 3 {
        keys.apply(key, |change| change.replace_text(value));
        reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(command, 3)?;
    let expires_at = options.expires_at(keys.wall_ms, command)?;
    let mut key = if options.answer_old { keys.fetch(key) } else { keys.find(key) };
    let exists = key.read().kind().is_some();
    if options.answer_old {
        answer(reply, key.read().of_kind(Kind::Text)?);
    }
    if (options.only_new && exists) || (options.only_existing && !exists) {
        if !options.answer_old {
            reply.null();
        }
        return Ok(());
    }
    key.apply(|change| {
        if options.keep_expiry {
            change.edit_text(value);
        } else {
            change.replace_text(value);
        }
        if expires_at.is_some() {
            change.expiry(expires_at);
        }
    });
    if !options.answer_old {
        reply.ok();
    }
    Ok(())
}

/// `SETNX key value`
fn setnx(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let absent = key.read().kind().is_none();
    if absent {
        key.apply(|change| change.replace_text(command.arg(2)));
    }
    reply.integer(i64::from(absent));
    Ok(())
}

/// `SETEX key seconds value`, `PSETEX key milliseconds value`
fn setex(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let seconds = command.name()[0].eq_ignore_ascii_case(&b's');
    let time = if seconds { Time::Seconds } else { Time::Milliseconds };
    let at = expiry(time, command.arg(2), keys.wall_ms, command)?;
    keys.apply(command.arg(1), |change| {
        change.replace_text(command.arg(3));
        change.expiry(Some(at));
    });
    reply.ok();
    Ok(())
}

/// `GETSET key value`
fn getset(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.fetch(command.arg(1));
    answer(reply, key.read().of_kind(Kind::Text)?);
    key.apply(|change| change.replace_text(command.arg(2)));
    Ok(())
}

/// `GETDEL key`
fn getdel(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.fetch(command.arg(1));
    answer(reply, key.read().of_kind(Kind::Text)?);
    key.delete();
    Ok(())
}

/// `GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]`
fn getex(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let options = SetOptions::parse(command, 2)?;
    let wall_ms = keys.wall_ms;
    let mut key = keys.fetch(command.arg(1));
    let Some(state) = key.read().of_kind(Kind::Text)? else {
        reply.null();
        return Ok(());
    };
    // Redis looks at the time only once there is something to expire.
    let expires_at = options.expires_at(wall_ms, command)?;
    answer(reply, Some(state));
    if let Some(at) = expires_at {
        key.expire_at(at);
    } else if options.persist
        && key.read().state().is_some_and(|state| state.expires_at().is_some())
    {
        key.apply(|change| change.expiry(None));
    }
    Ok(())
}

/// `MGET key...`: keys of other kinds answer nil.
fn mget(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let start = reply.position();
    reply.array(command.len() - 1);
    for key in command.args().skip(1) {
        reply.optional(keys.read(key).text().unwrap_or_default().as_deref());
        // One key may be asked for many times.
        if reply.position() - start > COUNTED_REPLY_LENGTH_MAX {
            return Err(CommandError::ReplyTooLong);
        }
    }
    Ok(())
}

/// `MSET key value...`
fn mset(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    check_pairs(command)?;
    set_pairs(keys, command);
    reply.ok();
    Ok(())
}

/// `MSETNX key value...`
fn msetnx(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    check_pairs(command)?;
    let free = (1..command.len()).step_by(2).all(|at| keys.peek(command.arg(at)).kind().is_none());
    if free {
        set_pairs(keys, command);
    }
    reply.integer(i64::from(free));
    Ok(())
}

fn check_pairs(command: &Command) -> Outcome {
    if command.len().is_multiple_of(2) { Err(CommandError::arity(command)) } else { Ok(()) }
}

fn set_pairs(keys: &mut Keys<'_>, command: &Command) {
    for at in (1..command.len()).step_by(2) {
        keys.apply(command.arg(at), |change| change.replace_text(command.arg(at + 1)));
    }
}

/// `APPEND key value`
fn append(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let mut key = keys.find(command.arg(1));
    let mut value = key.read().text()?.map_or_else(Vec::new, Cow::into_owned);
    if value.len() + command.arg(2).len() > BULK_LENGTH_MAX {
        return Err(TOO_LONG);
    }
    value.extend_from_slice(command.arg(2));
    key.apply(|change| change.edit_text(&value));
    reply.integer(value.len() as i64);
    Ok(())
}

/// `STRLEN key`
fn strlen(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let length = execution.keys.read(command.arg(1)).text()?.map_or(0, |value| value.len());
    execution.reply.integer(length as i64);
    Ok(())
}

/// `GETRANGE key start end`: both ends included, negative from the end.
fn getrange(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (start, end) = (integer(command.arg(2))?, integer(command.arg(3))?);
    let value = keys.read(command.arg(1)).text()?.unwrap_or_default();
    let length = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        reply.bulk(b"");
        return Ok(());
    }
    let from_end = |at: i64| {
        if at < 0 { at.saturating_add(length).max(0) } else { at }
    };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end || length == 0 {
        reply.bulk(b"");
    } else {
        reply.bulk(&value[start as usize..=end as usize]);
    }
    Ok(())
}

/// `SETRANGE key offset value`
fn setrange(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let part = command.arg(3);
    let offset = integer(command.arg(2))?;
    let offset =
        usize::try_from(offset).map_err(|_| CommandError::Text("offset is out of range"))?;
    let mut key = keys.find(command.arg(1));
    let old = key.read().text()?;
    if part.is_empty() {
        let length = old.map_or(0, |value| value.len());
        reply.integer(length as i64);
        return Ok(());
    }
    if offset.saturating_add(part.len()) > BULK_LENGTH_MAX {
        return Err(TOO_LONG);
    }
    let mut value = old.map_or_else(Vec::new, Cow::into_owned);
    let end = offset + part.len();
    if value.len() < end {
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(part);
    key.apply(|change| change.edit_text(&value));
    reply.integer(value.len() as i64);
    Ok(())
}

/// The encoding that Redis 7.0 would choose with its default settings.
fn encoding(state: State<'_>) -> &'static str {
    let value = state.text().visible().unwrap_or_default();
    if parse_integer(&value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_STRING_MAX {
        "embstr"
    } else {
        "raw"
    }
}
