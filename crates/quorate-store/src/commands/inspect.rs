//! What a key takes and how it is kept: pieces of `MEMORY USAGE` and `DEBUG OBJECT`.

use quorate_proto::resp::Command;

use super::{CommandError, Handlers, Outcome, object_family};
use crate::{arguments::integer, execution::Execution, table::Entry};

pub(super) const HANDLERS: Handlers =
    &[("quorate.memoryusage", memory_usage), ("quorate.debugobject", debug_object)];

/// What an element of a hash or a set takes beside its name and value: its stamp, two lengths, and
/// its places in the table and in the order.
const ELEMENT_BYTES: usize = 64;

/// Elements that an estimate looks at in any case.
const SAMPLED_MIN: i64 = 16;

/// `quorate.memoryusage key samples`: bytes of memory, from the size of at least so many elements
/// (0: of all).
fn memory_usage(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let key = command.arg(1);
    let samples = integer(command.arg(2))?;
    let state = keys.peek(key).state().filter(|state| state.is_live());
    let Some(state) = state else {
        reply.null();
        return Ok(());
    };
    let mut contents = 0;
    if (1..=SAMPLED_MIN).contains(&samples) {
        contents = state.estimated_bytes();
    } else {
        state.export(|part| contents += part.size());
    }
    let elements = state.named_elements() * ELEMENT_BYTES;
    let bytes = size_of::<Entry>() + key.len() + contents + elements;
    reply.integer(i64::try_from(bytes).unwrap_or(i64::MAX));
    Ok(())
}

/// `quorate.debugobject key`
fn debug_object(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let key = command.arg(1);
    let shown = keys.peek(key).state().and_then(|state| Some((state, state.kind()?)));
    let (shown, kind) = shown.ok_or(CommandError::Text("no such key"))?;
    let encoding = (object_family(kind).encoding)(shown);
    let mut length = key.len();
    shown.export(|part| length += part.size());
    reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{length} lru:0 lru_seconds_idle:0"
    ));
    Ok(())
}
