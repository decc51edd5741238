//! Moving and copying whole values between keys.
//!
//! A value travels as a delta of what is visible, with stamps that mean nothing; installing it
//! gives every element a new stamp under its new key. The same two steps serve keys in one slot
//! (here) and in different ones (the router).

use quorate_proto::{Stamp, command::check_database, resp::Command};

use super::{
    CommandError, Handlers, Outcome,
    bounds::{EFFECT_BYTES_MAX, check_effect},
};
use crate::{
    arguments::is_word,
    delta::{DeltaWriter, deltas},
    execution::{Execution, Keys},
    key::Shown,
    part::{Body, Owner, Part},
    state::Kind,
};

pub(super) const HANDLERS: Handlers = &[
    ("rename", rename),
    ("renamenx", renamenx),
    ("copy", copy),
    ("quorate.export", export),
    ("quorate.install", install),
];

const NO_SUCH_KEY: CommandError = CommandError::Text("no such key");

/// `RENAME key newkey`
fn rename(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (source, destination) = (command.arg(1), command.arg(2));
    let value = visible_value(keys.peek(source))?.ok_or(NO_SUCH_KEY)?;
    if source != destination {
        install_value(keys, destination, &value)?;
        keys.find(source).delete();
    }
    reply.ok();
    Ok(())
}

/// `RENAMENX key newkey`
fn renamenx(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (source, destination) = (command.arg(1), command.arg(2));
    let value = visible_value(keys.peek(source))?.ok_or(NO_SUCH_KEY)?;
    let free = keys.peek(destination).kind().is_none();
    if free {
        install_value(keys, destination, &value)?;
        keys.find(source).delete();
    }
    reply.integer(i64::from(free));
    Ok(())
}

/// `COPY source destination [DB 0] [REPLACE]`
fn copy(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let (source, destination) = (command.arg(1), command.arg(2));
    let replace = copy_replaces(command)?;
    if source == destination {
        return Err(CommandError::Text("source and destination objects are the same"));
    }
    let Some(value) = visible_value(keys.read(source))? else {
        reply.integer(0);
        return Ok(());
    };
    let free = replace || keys.peek(destination).kind().is_none();
    if free {
        install_value(keys, destination, &value)?;
    }
    reply.integer(i64::from(free));
    Ok(())
}

fn copy_replaces(command: &Command) -> Result<bool, CommandError> {
    let mut replace = false;
    let mut at = 3;
    while let Some(word) = command.get(at) {
        if is_word(word, "REPLACE") {
            replace = true;
        } else if is_word(word, "DB") && at + 1 < command.len() {
            at += 1;
            check_database(command.arg(at)).map_err(CommandError::Text)?;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    Ok(replace)
}

/// `quorate.export key`
fn export(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let value = visible_value(execution.keys.peek(command.arg(1)))?;
    execution.reply.optional(value.as_deref());
    Ok(())
}

/// `quorate.install key value REPLACE|NX`
fn install(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let key = command.arg(1);
    let free = is_word(command.arg(3), "REPLACE") || keys.peek(key).kind().is_none();
    if free {
        install_value(keys, key, command.arg(2))?;
    }
    reply.integer(i64::from(free));
    Ok(())
}

/// What shows of a key as a delta without meaningful stamps; `None` when it does not exist.
fn visible_value(shown: Shown<'_>) -> Result<Option<Vec<u8>>, CommandError> {
    let Some(state) = shown.state().filter(|state| state.kind().is_some()) else {
        return Ok(None);
    };
    let mut value = Vec::new();
    let mut delta = DeltaWriter::new(&mut value, b"");
    state.show(&mut |part| {
        if delta.length() <= EFFECT_BYTES_MAX {
            delta.part(part);
        }
    });
    check_effect(delta.length())?;
    if let Some(at) = state.expires_at() {
        delta.part(Part::expiry(Stamp::ZERO, Some(at)));
    }
    delta.finish();
    Ok(Some(value))
}

/// Makes `key` hold an exported value and nothing else.
fn install_value(keys: &mut Keys<'_>, key: &[u8], value: &[u8]) -> Outcome {
    let malformed = |_| CommandError::Text("malformed value to install");
    let mut parts = Vec::new();
    for delta in deltas(value) {
        for part in delta.map_err(malformed)?.parts() {
            parts.push(part.map_err(malformed)?);
        }
    }
    keys.apply(key, |change| {
        change.clear();
        for part in parts {
            match (part.owner(), part.body()) {
                (_, Body::Removed(_) | Body::Added(_)) => {}
                (Owner::Object(Kind::Text), Body::Bytes(_, text)) => change.replace_text(text),
                (_, Body::Until(_, at)) => change.expiry(at),
                _ => change.put_again(part),
            }
        }
    });
    Ok(())
}
