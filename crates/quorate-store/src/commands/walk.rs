//! Walking over keys and elements: the `SCAN` family, and the pieces of commands over the whole
//! keyspace. A piece works on a run of neighbouring slots, of which this store holds all.

use quorate_proto::{
    Slot,
    resp::{Command, ReplyWriter, parse_cursor, parse_integer},
    slot::SLOTS,
};

use super::{CommandError, Handlers, Outcome};
use crate::{
    arguments::{integer, is_word},
    execution::{Execution, Keys},
    glob,
    walk::{next_chunk, position},
};

pub(super) const HANDLERS: Handlers = &[
    ("quorate.count", count),
    ("quorate.keys", matching_keys),
    ("quorate.scan", scan),
    ("quorate.randomkey", random_key),
    ("quorate.occupied", occupied),
    ("quorate.flush", flush),
];

/// Collections up to this size are given whole by one call, as Redis does for compact ones.
const WHOLE_SCAN_MAX: usize = 128;

/// A walk over a collection takes no more steps than this. Each looks through all of it, so that one
/// of a few elements at a time would take the square of its size.
const STEPS_MAX: usize = 128;

/// Cursor and options of `HSCAN` and `SSCAN`.
pub(super) struct MemberScan<'a> {
    after: u64,
    count: usize,
    pattern: Option<&'a [u8]>,
}

impl<'a> MemberScan<'a> {
    /// The options behind the cursor.
    pub(super) fn parse(after: u64, command: &'a Command) -> Result<Self, CommandError> {
        let mut scan = Self { after, count: 10, pattern: None };
        let mut at = 3;
        while let Some(word) = command.get(at) {
            let value = command.get(at + 1).ok_or(CommandError::Syntax)?;
            if is_word(word, "COUNT") {
                let count = usize::try_from(integer(value)?).ok().filter(|count| *count > 0);
                scan.count = count.ok_or(CommandError::Syntax)?;
            } else if is_word(word, "MATCH") {
                scan.pattern = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(scan)
    }

    /// The next items of a collection of `length`, and the cursor behind them.
    pub(super) fn chunk<T>(
        &self,
        length: usize,
        items: impl Iterator<Item = T>,
        name: impl for<'t> Fn(&'t T) -> &'t [u8],
    ) -> (Vec<T>, u64) {
        let limit =
            if length <= WHOLE_SCAN_MAX { length } else { self.count.max(length / STEPS_MAX) };
        let placed = items.map(|item| (position(name(&item)), item));
        let (mut chunk, next) = next_chunk(placed, self.after, limit);
        if let Some(pattern) = self.pattern {
            chunk.retain(|item| glob::matches(pattern, name(item)));
        }
        (chunk, next)
    }
}

/// The cursor of `HSCAN` and `SSCAN`. Redis looks at it before the key, and at the options after it.
pub(super) fn cursor(command: &Command) -> Result<u64, CommandError> {
    parse_cursor(command.arg(2)).ok_or(CommandError::Text("invalid cursor"))
}

/// The reply to a walk over nothing.
pub(super) fn reply_empty(reply: &mut ReplyWriter<'_>) {
    reply.array(2);
    reply.text("0");
    reply.array(0);
}

/// The slots of a run, named by the first two arguments.
fn run(command: &Command) -> Result<impl Iterator<Item = Slot> + use<>, CommandError> {
    let slot = |at: usize| {
        let number = parse_integer(command.arg(at)).and_then(|number| u16::try_from(number).ok());
        number.filter(|number| *number < SLOTS).ok_or(CommandError::Text("no such slot"))
    };
    Ok((slot(1)?..=slot(2)?).filter_map(Slot::new))
}

/// `quorate.count first last`
fn count(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let store = &execution.keys.store;
    let sum: usize = run(command)?.map(|slot| store.keys_in_slot(slot)).sum();
    execution.reply.integer(sum as i64);
    Ok(())
}

/// `quorate.occupied first last`
fn occupied(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let slots: Vec<Slot> =
        run(command)?.filter(|slot| keys.store.keys_in_slot(*slot) > 0).collect();
    reply.array(slots.len());
    slots.iter().for_each(|slot| reply.integer(slot.number().into()));
    Ok(())
}

/// `quorate.keys first last pattern`
fn matching_keys(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let pattern = command.arg(3);
    let found: Vec<&[u8]> = run(command)?
        .flat_map(|slot| visible_keys(keys, slot))
        .filter(|key| glob::matches(pattern, key))
        .collect();
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// `quorate.scan first last position count pattern kind`: goes on behind `position` in the first
/// slot. Answers the cursor behind what it gives (`position * 16384 + slot`, 0 at the end of the
/// run) and the keys. An empty pattern or kind admits all.
fn scan(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let number = |at: usize| {
        let text = std::str::from_utf8(command.arg(at)).ok();
        text.and_then(|text| text.parse::<u64>().ok()).ok_or(CommandError::NotInteger)
    };
    let (mut after, limit) = (number(3)?, number(4)? as usize);
    let (pattern, kind) = (command.arg(5), command.arg(6));
    let mut found: Vec<&[u8]> = Vec::new();
    let mut looked_at = 0;
    let mut cursor = 0;
    let mut slots = run(command)?.peekable();
    while let Some(slot) = slots.next() {
        let here = visible_keys(keys, slot).map(|key| (position(key), key));
        let (chunk, next) = next_chunk(here, after, limit.saturating_sub(looked_at));
        looked_at += chunk.len();
        found.extend(chunk.into_iter().filter(|key| wanted(keys, slot, key, pattern, kind)));
        after = 0;
        if next != 0 {
            cursor = next * u64::from(SLOTS) + u64::from(slot.number());
            break;
        }
        if looked_at >= limit {
            cursor = slots.peek().map_or(0, |slot| u64::from(slot.number()));
            break;
        }
    }
    reply.array(1 + found.len());
    reply.text(&cursor.to_string());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

fn wanted(keys: &Keys<'_>, slot: Slot, key: &[u8], pattern: &[u8], kind: &[u8]) -> bool {
    let kind_fits = || {
        let found = keys.store.raw_state(slot, key).and_then(|state| state.kind());
        found.is_some_and(|found| kind.eq_ignore_ascii_case(found.name().as_bytes()))
    };
    (pattern.is_empty() || glob::matches(pattern, key)) && (kind.is_empty() || kind_fits())
}

/// `quorate.randomkey first last`
fn random_key(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let slots: Vec<Slot> =
        run(command)?.filter(|slot| keys.store.keys_in_slot(*slot) > 0).collect();
    if slots.is_empty() {
        reply.null();
        return Ok(());
    }
    // A random slot first; the next ones only where all of its keys are past their expiry.
    let start = keys.store.random.below(slots.len());
    let pick = keys.store.random.next() as usize;
    let key = slots.iter().cycle().skip(start).take(slots.len()).find_map(|slot| {
        let visible: Vec<&[u8]> = visible_keys(keys, *slot).collect();
        (!visible.is_empty()).then(|| visible[pick % visible.len()])
    });
    reply.optional(key);
    Ok(())
}

/// `quorate.flush slot`
fn flush(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let slot = keys.slot;
    let _ = command;
    let all: Vec<Vec<u8>> = visible_keys(keys, slot).map(<[u8]>::to_vec).collect();
    let deleted = all.iter().filter(|key| keys.find(key).delete()).count();
    reply.integer(deleted as i64);
    Ok(())
}

fn visible_keys<'a>(keys: &'a Keys<'_>, slot: Slot) -> impl Iterator<Item = &'a [u8]> {
    let entries = keys.store.entries(slot);
    entries
        .filter(|(_, state)| state.is_live() && !state.is_expired(keys.wall_ms))
        .map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_collection_is_walked_in_a_bounded_number_of_steps() {
        let members: Vec<Vec<u8>> =
            (0..20_000).map(|number| format!("member-{number}").into()).collect();
        let (mut met, mut after, mut steps) = (Vec::new(), 0, 0);
        loop {
            let scan = MemberScan { after, count: 10, pattern: None };
            let (chunk, next) = scan.chunk(members.len(), members.iter(), |member| member);
            met.extend(chunk);
            steps += 1;
            if next == 0 {
                break;
            }
            after = next;
        }
        assert!(steps <= STEPS_MAX + 1, "{steps} steps");
        met.sort_unstable();
        let mut expected: Vec<_> = members.iter().collect();
        expected.sort_unstable();
        assert!(met == expected);
    }
}
