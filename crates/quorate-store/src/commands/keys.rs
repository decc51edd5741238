//! Keys of any kind.

use quorate_proto::{
    command,
    resp::{Command, parse_integer},
};

use super::{CommandError, Handlers, Outcome, object_family};
use crate::{
    arguments::is_word,
    execution::Execution,
    state::{Kind, State},
};

pub(super) const HANDLERS: Handlers = &[
    ("del", delete),
    ("unlink", delete),
    ("exists", exists),
    ("touch", exists),
    ("type", kind),
    ("object", object),
];

const OBJECT_HELP: [&str; 11] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the encoding that Redis would use for the value of <key>.",
    "FREQ <key>",
    "    An error: accesses are not counted.",
    "IDLETIME <key>",
    "    Always 0: accesses are not timed.",
    "REFCOUNT <key>",
    "    The references that Redis would count: many for a small integer, which it shares.",
    "HELP",
    "    Print this help.",
];

/// `DEL key...`, `UNLINK key...`
fn delete(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let deleted = command.args().skip(1).filter(|key| keys.find(key).delete()).count();
    reply.integer(deleted as i64);
    Ok(())
}

/// `EXISTS key...`, `TOUCH key...`
fn exists(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let found = command.args().skip(1).filter(|key| keys.read(key).kind().is_some()).count();
    reply.integer(found as i64);
    Ok(())
}

/// `TYPE key`
fn kind(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let kind = execution.keys.read(command.arg(1)).kind();
    execution.reply.simple(kind.map_or("none", Kind::name));
    Ok(())
}

/// `OBJECT subcommand key`
fn object(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let subcommand = command.arg(1);
    if is_word(subcommand, "HELP") && command.len() == 2 {
        reply.array(OBJECT_HELP.len());
        OBJECT_HELP.iter().for_each(|line| reply.simple(line));
        return Ok(());
    }
    let Some(key) = command.get(2) else {
        return Err(CommandError::UnknownSubcommand(command::unknown_subcommand(command)));
    };
    let shown = keys.read(key).state().and_then(|state| Some((state, state.kind()?)));
    let Some((state, kind)) = shown else {
        reply.null();
        return Ok(());
    };
    if is_word(subcommand, "ENCODING") {
        reply.text((object_family(kind).encoding)(state));
    } else if is_word(subcommand, "REFCOUNT") {
        reply.integer(if is_shared(kind, state) { SHARED_REFERENCES } else { 1 });
    } else if is_word(subcommand, "IDLETIME") {
        reply.integer(0);
    } else if is_word(subcommand, "FREQ") {
        return Err(CommandError::Text(
            "An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
             that when switching between policies at runtime LRU and LFU data will take some time \
             to adjust.",
        ));
    } else {
        return Err(CommandError::UnknownSubcommand(command::unknown_subcommand(command)));
    }
    Ok(())
}

/// Integers below this are objects that Redis shares,
const SHARED_INTEGERS: i64 = 10_000;
/// with so many references.
const SHARED_REFERENCES: i64 = i32::MAX as i64;

/// Whether Redis would not make an object for the value.
fn is_shared(kind: Kind, state: State<'_>) -> bool {
    let value = if kind == Kind::Text { state.text().visible() } else { None };
    let integer = value.and_then(|text| parse_integer(&text));
    integer.is_some_and(|integer| (0..SHARED_INTEGERS).contains(&integer))
}
