//! Walking over keys and elements: the `SCAN` family, and the pieces of commands over the whole
//! keyspace. A piece works on a run of neighbouring slots, of which this store holds all. What
//! other replicas tell ([`Store::tell`]) follows its arguments.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_proto::{
    Slot,
    command::FLUSH,
    mutant::Mutant,
    resp::{Command, ReplyWriter, parse_cursor, parse_integer, reply::Value},
    slot::SLOTS,
};

use super::{CommandError, Handlers, Outcome};
use crate::{
    Store,
    arguments::{integer, is_word},
    delta::DeltaWriter,
    execution::{Execution, Keys, Request},
    glob,
    part::Part,
    walk::{next_chunk, position},
};

pub(super) const HANDLERS: Handlers = &[
    ("quorate.count", count),
    ("quorate.keys", matching_keys),
    ("quorate.scan", scan),
    ("quorate.randomkey", random_key),
    ("quorate.occupied", occupied),
    (FLUSH, flush),
];

/// Collections up to this size are given whole by one call, as Redis does for compact ones.
const WHOLE_SCAN_MAX: usize = 128;

/// A walk over a collection takes no more steps than this. Each looks through all of it, so that
/// one of a few elements at a time would take the square of its size.
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

/// The cursor of `HSCAN` and `SSCAN`. Redis looks at it before the key, and at the options after
/// it.
pub(super) fn cursor(command: &Command) -> Result<u64, CommandError> {
    parse_cursor(command.arg(2)).ok_or(CommandError::Text("invalid cursor"))
}

/// The reply to a walk over nothing.
pub(super) fn reply_empty(reply: &mut ReplyWriter<'_>) {
    reply.array(2);
    reply.text("0");
    reply.array(0);
}

/// The first and the last slot of a run, named by the first two arguments.
fn run(command: &Command) -> Result<(Slot, Slot), CommandError> {
    let slot = |at: usize| {
        let number = parse_integer(command.arg(at)).and_then(|number| u16::try_from(number).ok());
        number.and_then(Slot::new).ok_or(CommandError::Text("no such slot"))
    };
    Ok((slot(1)?, slot(2)?))
}

impl Store {
    /// What this replica tells another one that executes a command over slots for both: the reply
    /// to a question; of a flush, the effect that deletes all that is here.
    pub fn tell(&mut self, request: Request<'_>) -> Vec<u8> {
        let mut told = Vec::new();
        if request.call.spec().name == FLUSH {
            for (key, state) in
                self.entries(request.call.slot()).filter(|(_, state)| state.is_live())
            {
                let mut delta = DeltaWriter::new(&mut told, key);
                delta.part(Part::horizon(state.newest()));
                delta.finish();
            }
        } else {
            self.execute(request, &mut told, &mut Vec::new());
        }
        told
    }
}

/// What other replicas have told, behind the command's own `arguments`.
fn told(command: &Command, arguments: usize) -> impl Iterator<Item = Value> {
    let replies = command.args().skip(1 + arguments);
    replies.filter_map(|reply| Some(Value::decode(reply).ok()??.0))
}

/// The strings in what one of them has told.
fn strings(told: Value) -> impl Iterator<Item = Bytes> {
    let values = if let Value::Array(values) = told { values } else { Vec::new() };
    values.into_iter().filter_map(|value| match value {
        Value::Bulk(text) => Some(text),
        _ => None,
    })
}

/// `quorate.count first last`: of replicas that differ, the largest number.
fn count(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let store = &execution.keys.store;
    let sum: usize = store.occupied(run(command)?).map(|slot| store.keys_in_slot(slot)).sum();
    let others = told(command, 2).filter_map(|told| match told {
        Value::Integer(count) => Some(count),
        _ => None,
    });
    execution.reply.integer(others.fold(sum as i64, i64::max));
    Ok(())
}

/// `quorate.occupied first last`
fn occupied(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let here = keys.store.occupied(run(command)?);
    let mut slots: BTreeSet<i64> = here.map(|slot| slot.number().into()).collect();
    for told in told(command, 2) {
        let Value::Array(numbers) = told else { continue };
        slots.extend(numbers.iter().filter_map(|number| match number {
            Value::Integer(number) => Some(number),
            _ => None,
        }));
    }
    reply.array(slots.len());
    slots.iter().for_each(|slot| reply.integer(*slot));
    Ok(())
}

/// `quorate.keys first last pattern`
fn matching_keys(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let pattern = command.arg(3);
    let mut found: Vec<&[u8]> = keys
        .store
        .occupied(run(command)?)
        .flat_map(|slot| visible_keys(keys, slot))
        .filter(|key| glob::matches(pattern, key))
        .collect();
    let others: Vec<Bytes> = told(command, 3).flat_map(strings).collect();
    unite(&mut found, &others);
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// Adds the keys that others have told of to those that are here, each once.
fn unite<'a>(here: &mut Vec<&'a [u8]>, others: &'a [Bytes]) {
    if !others.is_empty() {
        here.extend(others.iter().map(|key| key.as_ref()));
        here.sort_unstable();
        here.dedup();
    }
}

/// `quorate.scan first last position count pattern kind`: goes on behind `position` in the first
/// slot. Answers the cursor behind what it gives (`position * 16384 + slot`, 0 at the end of the
/// run) and the keys. An empty kind admits all. Replicas that differ have not all come as far: what
/// is behind the first of their cursors is left for the next call.
fn scan(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let number = |at: usize| {
        let text = std::str::from_utf8(command.arg(at)).ok();
        text.and_then(|text| text.parse::<u64>().ok()).ok_or(CommandError::NotInteger)
    };
    let (after, limit) = (number(3)?, number(4)? as usize);
    let (pattern, kind) = (command.arg(5), command.arg(6));
    let mut found: Vec<&[u8]> = Vec::new();
    let mut looked_at = 0;
    let mut cursor = 0;
    let (first, last) = run(command)?;
    let mut slots = keys.store.occupied((first, last)).peekable();
    while let Some(slot) = slots.next() {
        let here = visible_keys(keys, slot).map(|key| (position(key), key));
        let after = if slot == first { after } else { 0 };
        let (chunk, next) = next_chunk(here, after, limit.saturating_sub(looked_at));
        looked_at += chunk.len();
        found.extend(chunk.into_iter().filter(|key| wanted(keys, slot, key, pattern, kind)));
        if next != 0 {
            cursor = next * u64::from(SLOTS) + u64::from(slot.number());
            break;
        }
        if looked_at >= limit {
            cursor = slots.peek().map_or(0, |slot| u64::from(slot.number()));
            break;
        }
    }
    let mut others = Vec::new();
    for told in told(command, 6) {
        let mut told = strings(told);
        let theirs = told.next().and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        cursor = nearer(cursor, theirs.unwrap_or(0));
        others.extend(told);
    }
    unite(&mut found, &others);
    if !others.is_empty() && cursor != 0 {
        found.retain(|key| {
            (keys.store.slot_of(key).number().into(), position(key)) <= place(cursor)
        });
    }
    reply.array(1 + found.len());
    reply.text(&cursor.to_string());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// The slot of a cursor, and the position in it.
fn place(cursor: u64) -> (u64, u64) {
    (cursor % u64::from(SLOTS), cursor / u64::from(SLOTS))
}

/// Of two cursors the one that comes first; 0 is behind all.
fn nearer(one: u64, other: u64) -> u64 {
    match (one, other) {
        (0, cursor) | (cursor, 0) => cursor,
        (one, other) if place(other) < place(one) => other,
        (one, _) => one,
    }
}

fn wanted(keys: &Keys<'_>, slot: Slot, key: &[u8], pattern: &[u8], kind: &[u8]) -> bool {
    let kind_fits = || {
        let found = keys.store.raw_state(slot, key).and_then(|state| state.kind());
        found.is_some_and(|found| kind.eq_ignore_ascii_case(found.name().as_bytes()))
    };
    glob::matches(pattern, key) && (kind.is_empty() || kind_fits())
}

/// `quorate.randomkey first last`
fn random_key(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let slots: Vec<Slot> = keys.store.occupied(run(command)?).collect();
    if slots.is_empty() {
        let of_others = told(command, 2).find_map(|told| match told {
            Value::Bulk(key) => Some(key),
            _ => None,
        });
        reply.optional(of_others.as_deref());
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

/// `quorate.flush slot slot`: deletes what is here, also what is past its expiry, and what other
/// replicas have told of.
fn flush(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let slot = keys.slot;
    let live = keys.store.entries(slot).filter(|(_, state)| state.is_live());
    let all: Vec<Vec<u8>> = live.map(|(key, _)| key.to_vec()).collect();
    let others: Vec<u8> = command.args().skip(3).flatten().copied().collect();
    if !Mutant::FlushAlone.is_planted() {
        keys.merge(&others)?;
    }
    for key in &all {
        keys.find(key).delete();
    }
    reply.integer(all.len() as i64);
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
    use quorate_proto::{Origin, Start, command::Call};

    use super::*;
    use crate::StoreOptions;

    const WALL_MS: u64 = 1_700_000_000_000;

    /// The replica of a member that holds these keys.
    fn replica(member: u16, keys: std::ops::Range<u32>) -> Store {
        let mut store = Store::new(StoreOptions {
            origin: Origin::new(member, Start::from_random(1)),
            digest_secret: [7; 16],
            seed: 1,
            keep_removed: true,
        });
        for number in keys {
            let key = format!("key:{number}");
            let words = ["SET", &key, "v"];
            execute(&mut store, Slot::of_key(key.as_bytes()), &Command::from_args(words));
        }
        store
    }

    fn execute(store: &mut Store, slot: Slot, command: &Command) -> (Value, Vec<u8>) {
        let (mut reply, mut effect) = (Vec::new(), Vec::new());
        let call = Call::piece(slot, command.clone());
        let request = Request { call: &call, wall_ms: WALL_MS, resp3: false };
        store.execute(request, &mut reply, &mut effect);
        (Value::decode(&reply).expect("valid").expect("whole").0, effect)
    }

    /// Executes a command over slots for two replicas.
    fn execute_for_both(
        here: &mut Store,
        other: &mut Store,
        slot: Slot,
        words: &[&str],
    ) -> (Value, Vec<u8>) {
        let call = Call::piece(slot, Command::from_args(words));
        let told = other.tell(Request { call: &call, wall_ms: WALL_MS, resp3: false });
        let all: Vec<&[u8]> = call.command().args().chain([told.as_slice()]).collect();
        execute(here, slot, &Command::from_args(all))
    }

    fn names(keys: std::ops::Range<u32>) -> BTreeSet<Bytes> {
        keys.map(|number| format!("key:{number}").into()).collect()
    }

    #[test]
    fn a_listing_unites_what_two_replicas_hold() {
        let (mut here, mut other) = (replica(0, 0..60), replica(1, 40..100));
        let mut run =
            |words: &[&str]| execute_for_both(&mut here, &mut other, Slot::default(), words).0;
        let Value::Array(keys) = run(&["quorate.keys", "0", "16383", "*"]) else {
            panic!("no keys")
        };
        let keys: Vec<Bytes> = strings(Value::Array(keys)).collect();
        assert_eq!((keys.len(), keys.into_iter().collect()), (100, names(0..100)));
        assert_eq!(run(&["quorate.count", "0", "16383"]), Value::Integer(60));
        let Value::Array(slots) = run(&["quorate.occupied", "0", "16383"]) else { panic!("none") };
        let of = |number: u32| Slot::of_key(format!("key:{number}").as_bytes()).number();
        assert_eq!(slots.len(), (0..100).map(of).collect::<BTreeSet<_>>().len());
        let mut nothing = replica(2, 0..0);
        let words = ["quorate.randomkey", "0", "16383"];
        let (random, _) = execute_for_both(&mut nothing, &mut other, Slot::default(), &words);
        assert!(matches!(random, Value::Bulk(key) if names(40..100).contains(&key)));
    }

    #[test]
    fn a_walk_over_replicas_that_differ_meets_each_key_once() {
        for count in ["1", "7", "1000"] {
            let (mut here, mut other) = (replica(0, 0..60), replica(1, 40..300));
            let (mut met, mut cursor) = (Vec::new(), 0_u64);
            loop {
                let (slot, position) = place(cursor);
                let (slot, position) = (slot.to_string(), position.to_string());
                let words = ["quorate.scan", &slot, "16383", &position, count, "*", ""];
                let (reply, _) = execute_for_both(&mut here, &mut other, Slot::default(), &words);
                let mut values = strings(reply);
                let next = values.next().expect("a cursor");
                cursor = std::str::from_utf8(&next).expect("text").parse().expect("a number");
                met.extend(values);
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(met.len(), 300, "{count} at a time");
            assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), names(0..300));
        }
    }

    #[test]
    fn a_walk_whose_slot_was_emptied_begins_at_the_start_of_the_next_one() {
        let mut store = replica(0, 0..60);
        let first = Slot::all().find(|slot| store.keys_in_slot(*slot) > 0).expect("a slot");
        let (number, end) = (first.number().to_string(), u64::MAX.to_string());
        let flush = Command::from_args(["quorate.flush", &number, &number]);
        execute(&mut store, first, &flush);
        let scan = Command::from_args(["quorate.scan", &number, "16383", &end, "100", "*", ""]);
        let Value::Array(found) = execute(&mut store, first, &scan).0 else { panic!("no keys") };
        assert_eq!(found.len(), 1 + store.len(), "a cursor, and all keys that are left");
    }

    #[test]
    fn a_flush_deletes_what_either_replica_holds_and_nothing_newer() {
        let slot = Slot::of_key(b"key:1");
        let (mut here, mut other) = (replica(0, 0..0), replica(1, 1..2));
        let mut later = replica(2, 1..2);
        let number = slot.number().to_string();
        let words = ["quorate.flush", &number, &number];
        let (_, effect) = execute_for_both(&mut here, &mut other, slot, &words);
        for store in [&mut other, &mut later] {
            store.merge(slot, &effect, WALL_MS).expect("merges");
        }
        assert_eq!((here.len(), other.len(), later.len()), (0, 0, 1));
        // What is set now is not reached by the flush anywhere.
        let (_, set) = execute(&mut here, slot, &Command::from_args(["SET", "key:1", "again"]));
        other.merge(slot, &set, WALL_MS).expect("merges");
        assert_eq!((here.len(), other.len()), (1, 1));
    }

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
