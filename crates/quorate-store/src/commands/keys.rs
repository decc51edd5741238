//! Keys of any kind.

use quorate_proto::{
    command,
    resp::{Command, parse_integer},
};

use super::{CommandError, Family, Outcome};
use crate::{
    arguments::is_word,
    execution::{Execution, Keys},
    state::Kind,
};

pub(super) const HANDLERS: Family = &[
    ("del", delete),
    ("unlink", delete),
    ("exists", exists),
    ("touch", exists),
    ("type", kind),
    ("object", object),
];

/// Redis's limits for its compact encodings, in elements and in bytes of the largest one.
const LISTPACK_ENTRIES_MAX: usize = 512;
const LISTPACK_VALUE_MAX: usize = 64;
const INTSET_ENTRIES_MAX: usize = 512;
const EMBEDDED_STRING_MAX: usize = 44;

const OBJECT_HELP: [&str; 11] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the encoding that Redis would use for the value of <key>.",
    "FREQ <key>",
    "    An error: accesses are not counted.",
    "IDLETIME <key>",
    "    Always 0: accesses are not timed.",
    "REFCOUNT <key>",
    "    Always 1.",
    "HELP",
    "    Print this help.",
];

/// `DEL key...`, `UNLINK key...`
fn delete(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let deleted = command.args().skip(1).filter(|key| keys.delete(key)).count();
    reply.integer(deleted as i64);
    Ok(())
}

/// `EXISTS key...`, `TOUCH key...`
fn exists(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let found = command.args().skip(1).filter(|key| keys.kind(key).is_some()).count();
    reply.integer(found as i64);
    Ok(())
}

/// `TYPE key`
fn kind(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let kind = execution.keys.kind(command.arg(1));
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
    let Some(kind) = keys.kind(key) else {
        reply.null();
        return Ok(());
    };
    if is_word(subcommand, "ENCODING") {
        reply.text(encoding(keys, key, kind)?);
    } else if is_word(subcommand, "REFCOUNT") {
        reply.integer(1);
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

/// The encoding that Redis 7.0 would choose with its default settings.
fn encoding(keys: &Keys<'_>, key: &[u8], kind: Kind) -> Result<&'static str, CommandError> {
    Ok(match kind {
        Kind::Text => {
            let value = keys.text(key)?.unwrap_or_default();
            if parse_integer(&value).is_some() {
                "int"
            } else if value.len() <= EMBEDDED_STRING_MAX {
                "embstr"
            } else {
                "raw"
            }
        }
        Kind::Hash => {
            let small = keys.hash(key)?.is_none_or(|hash| {
                hash.len() <= LISTPACK_ENTRIES_MAX
                    && hash.fields().all(|(name, cell)| {
                        let length = cell.visible().map_or(0, |value| value.len());
                        name.len().max(length) <= LISTPACK_VALUE_MAX
                    })
            });
            if small { "listpack" } else { "hashtable" }
        }
        Kind::Set => {
            let integers = keys.set(key)?.is_none_or(|set| {
                set.len() <= INTSET_ENTRIES_MAX
                    && set.members().all(|member| parse_integer(member).is_some())
            });
            if integers { "intset" } else { "hashtable" }
        }
    })
}
