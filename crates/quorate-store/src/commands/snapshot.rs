//! Whole slots out of and into the store, for the reconciliation channel.

use std::collections::BTreeSet;

use quorate_proto::resp::{Command, format_double};

use super::{CommandError, Handlers, Outcome, Recreate, object_family};
use crate::{
    MergeError, Merged,
    delta::{Delta, DeltaWriter, deltas},
    execution::{Execution, Keys},
    part::{Body, Part},
    state::{Kind, State},
    walk::{next_chunk, position},
};

pub(super) const HANDLERS: Handlers = &[
    ("quorate.slotdigest", slot_digest),
    ("quorate.exportslot", export_slot),
    ("quorate.mergeslot", merge_slot),
];

/// Keys that one call looks at, and bytes of effects after which it stops: a call must not hold up
/// a shard, nor make a reply that nobody can hold.
const KEYS_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;

/// Elements and bytes of one recreating command.
const ELEMENTS_PER_COMMAND: usize = 512;
const BYTES_PER_COMMAND: usize = 1 << 20;

/// `quorate.slotdigest slot slot`: in hexadecimal.
fn slot_digest(execution: &mut Execution<'_>, _command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    reply.text(&format!("{:032x}", keys.store.slot_digest(keys.slot)));
    Ok(())
}

/// `quorate.exportslot slot slot position [STATES]`: goes on behind `position`. Answers the next
/// position (0 at the end), then for each key the effect that is its whole state, tombstones
/// included, and the Redis commands that make an empty or older key what it shows: none when it
/// shows nothing, or when only states are asked for.
fn export_slot(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let after = std::str::from_utf8(command.arg(3)).ok().and_then(|text| text.parse().ok());
    let after = after.ok_or(CommandError::Text("invalid position"))?;
    let plain = command.get(4).is_none();
    let entries = keys.store.entries(keys.slot);
    let placed = entries.map(|entry| (position(entry.0), entry));
    let (mut chunk, mut next) = next_chunk(placed, after, KEYS_MAX);
    chunk.sort_unstable_by_key(|(key, _)| position(key));

    let mut states = Vec::new();
    let mut bytes = 0;
    let mut last = 0;
    for (key, state) in chunk {
        let here = position(key);
        // Keys that share a position are never parted: the next call begins behind it.
        if bytes >= BYTES_MAX && here != last {
            next = last;
            break;
        }
        last = here;
        let mut effect = Vec::new();
        let mut delta = DeltaWriter::new(&mut effect, key);
        state.export(|part| delta.part(part));
        delta.finish();
        if effect.is_empty() {
            continue;
        }
        let shows = plain && !state.is_expired(keys.wall_ms);
        let commands = match shows {
            true => recreating_commands(key, state),
            false => Vec::new(),
        };
        bytes += effect.len() + commands.len();
        states.push((effect, commands));
    }
    reply.array(1 + 2 * states.len());
    reply.text(&next.to_string());
    for (effect, commands) in states {
        reply.bulk(&effect);
        reply.bulk(&commands);
    }
    Ok(())
}

/// `quorate.mergeslot slot slot effect`: number of keys of which something is left out.
fn merge_slot(execution: &mut Execution<'_>, command: &Command) -> Outcome {
    let Execution { keys, reply } = execution;
    let left_out = keys.merge(command.arg(3))?;
    reply.integer(left_out as i64);
    Ok(())
}

fn refused(error: MergeError) -> CommandError {
    CommandError::Text(match error {
        MergeError::Malformed(_) => "malformed effect; nothing was merged",
        MergeError::WrongSlot { .. } => "effect with a key of another slot; nothing was merged",
        MergeError::ClockSkew { .. } => {
            "effect with a stamp ahead of this node's clock; nothing was merged: check the clocks"
        }
    })
}

/// Encoded commands. A collection is deleted first, so that it becomes what it is here and nothing
/// else, whatever stood there.
fn recreating_commands(key: &[u8], state: State<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut emit = |words: &[&[u8]]| out.extend_from_slice(Command::from_args(words).frame());
    let Some(kind) = state.kind() else { return out };
    if kind != Kind::Text {
        emit(&[b"DEL", key]);
    }
    match object_family(kind).recreate {
        Recreate::Elements(name) => {
            let mut batch = Batch::new(name, key);
            state.show(&mut |part| with_words(&part, |words| batch.add(words, &mut emit)));
            batch.finish(&mut emit);
        }
        Recreate::Whole(name, words) => {
            let words = words(state);
            let head = [name.as_bytes(), key].into_iter();
            emit(&head.chain(words.iter().map(Vec::as_slice)).collect::<Vec<_>>());
        }
    }
    if let Some(at) = state.expires_at() {
        emit(&[b"PEXPIREAT", key, at.to_string().as_bytes()]);
    }
    out
}

/// Calls `add` with the arguments that create an element anew.
fn with_words(part: &Part<'_>, add: impl FnOnce(&[&[u8]])) {
    match (part.name(), part.body()) {
        (Some(name), Body::Bytes(_, value)) => add(&[name, value]),
        (None, Body::Bytes(_, value)) => add(&[value]),
        (Some(name), Body::Score(_, score)) => {
            add(&[format_double(score.value()).as_bytes(), name]);
        }
        (_, Body::Member(_)) => add(&[part.name_bytes()]),
        (_, Body::Removed(_) | Body::Until(..) | Body::Score(..) | Body::Added(_)) => {}
    }
}

/// Elements that are added by one command.
struct Batch<'a> {
    head: [&'a [u8]; 2],
    words: Vec<Vec<u8>>,
    elements: usize,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new(name: &'a str, key: &'a [u8]) -> Self {
        Self { head: [name.as_bytes(), key], words: Vec::new(), elements: 0, bytes: 0 }
    }

    fn add(&mut self, element: &[&[u8]], emit: &mut impl FnMut(&[&[u8]])) {
        self.words.extend(element.iter().map(|word| word.to_vec()));
        self.bytes += element.iter().map(|word| word.len()).sum::<usize>();
        self.elements += 1;
        if self.elements == ELEMENTS_PER_COMMAND || self.bytes >= BYTES_PER_COMMAND {
            self.finish(emit);
        }
    }

    fn finish(&mut self, emit: &mut impl FnMut(&[&[u8]])) {
        if self.words.is_empty() {
            return;
        }
        let words: Vec<&[u8]> =
            self.head.iter().copied().chain(self.words.iter().map(Vec::as_slice)).collect();
        emit(&words);
        self.words.clear();
        (self.elements, self.bytes) = (0, 0);
    }
}

impl Keys<'_> {
    /// Merges an effect whose keys are all in this slot. It becomes part of the effect of the
    /// command, so that it is logged and replicated as any other, and is a change like any other:
    /// it may end the object that a key holds, and begin one. Returns how many of its keys do not
    /// show, or not all of them, because they have been deleted here or have expired.
    pub(super) fn merge(&mut self, effect: &[u8]) -> Result<usize, CommandError> {
        let admitted = self.store.admit(self.slot, effect, self.wall_ms).map_err(refused)?;
        let (kept, refutation): (&[u8], &[u8]) = match &admitted {
            Merged::Whole => (effect, &[]),
            Merged::Part { kept, refutation } => (kept, refutation),
        };
        for delta in deltas(kept).map_while(Result::ok) {
            self.apply(delta.key, |change| {
                delta.parts().map_while(Result::ok).for_each(|part| change.adopt(part));
            });
        }
        let refuted: BTreeSet<&[u8]> =
            deltas(refutation).map_while(Result::ok).map(|delta| delta.key).collect();
        let is_left_out = |delta: &Delta<'_>| {
            delta.parts().map_while(Result::ok).any(|part| !part.is_tombstone())
                && (refuted.contains(delta.key) || self.peek(delta.key).kind().is_none())
        };
        Ok(deltas(effect).map_while(Result::ok).filter(is_left_out).count())
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::{
        Origin, Slot, Start,
        command::Call,
        resp::reply::{Value, skip},
    };

    use crate::{Request, Store, StoreOptions};

    use super::*;

    const WALL_MS: u64 = 1_700_000_000_000;

    fn store(node: u16) -> Store {
        Store::new(StoreOptions {
            origin: Origin::new(node, Start::from_random(1)),
            digest_secret: [7; 16],
            seed: 1,
            keep_removed: true,
        })
    }

    fn run(store: &mut Store, slot: Slot, words: &[&[u8]]) -> Value {
        let call = Call::piece(slot, Command::from_args(words));
        let (mut reply, mut effect) = (Vec::new(), Vec::new());
        let request = Request { call: &call, wall_ms: WALL_MS, resp3: false };
        store.execute(request, &mut reply, &mut effect);
        assert_eq!(skip(&reply), Ok(Some(reply.len())));
        Value::decode(&reply).expect("valid").expect("whole").0
    }

    fn text(value: &Value) -> Vec<u8> {
        match value {
            Value::Bulk(bytes) => bytes.to_vec(),
            other => panic!("{other:?} is no bulk string"),
        }
    }

    #[test]
    fn a_slot_moves_whole_and_its_commands_recreate_what_it_shows() {
        let slot = Slot::of_key(b"{t}");
        let mut from = store(0);
        for number in 0..1000 {
            let key = format!("{{t}}{number}");
            let key = key.as_bytes();
            match number % 7 {
                0 => run(&mut from, slot, &[b"SET", key, b"value", b"PX", b"100000"]),
                1 => run(&mut from, slot, &[b"HSET", key, b"f", b"1", b"g", b"2"]),
                2 => run(&mut from, slot, &[b"SADD", key, b"a", b"b"]),
                3 => run(&mut from, slot, &[b"INCR", key]),
                5 => {
                    run(&mut from, slot, &[b"JSON.SET", key, b"$", b"{\"b\":[1,{}],\"a\":1.5}"]);
                    run(&mut from, slot, &[b"JSON.NUMINCRBY", key, b"$.a", b"2"])
                }
                4 => {
                    run(&mut from, slot, &[b"ZADD", key, b"0.1", b"a", b"-inf", b"b"]);
                    run(&mut from, slot, &[b"ZINCRBY", key, b"0.2", b"a"])
                }
                _ => {
                    run(&mut from, slot, &[b"SET", key, b"gone"]);
                    run(&mut from, slot, &[b"DEL", key])
                }
            };
        }
        let number = slot.number().to_string();
        let (mut merged, mut replayed) = (store(1), store(2));
        let mut after = "0".to_owned();
        let mut keys = 0;
        loop {
            let name = b"quorate.exportslot";
            let number = number.as_bytes();
            let reply = run(&mut from, slot, &[name, number, number, after.as_bytes()]);
            let Value::Array(values) = reply else { panic!("no array") };
            for pair in values[1..].chunks(2) {
                keys += 1;
                let (effect, commands) = (text(&pair[0]), text(&pair[1]));
                let words: [&[u8]; 4] = [b"quorate.mergeslot", number, number, &effect];
                assert_eq!(run(&mut merged, slot, &words), Value::Integer(0));
                let mut input = bytes::BytesMut::from(&commands[..]);
                let mut reader = quorate_proto::resp::CommandReader::new();
                while let Some(command) = reader.next(&mut input).expect("valid") {
                    let words: Vec<&[u8]> = command.args().collect();
                    assert!(!matches!(run(&mut replayed, slot, &words), Value::Error(_)));
                }
            }
            after = String::from_utf8(text(&values[0])).expect("text");
            if after == "0" {
                break;
            }
        }
        assert_eq!(keys, 1000);
        assert_eq!(merged.slot_digest(slot), from.slot_digest(slot));
        assert_eq!((merged.len(), replayed.len()), (858, 858));
        for number in 0..1000 {
            let key = format!("{{t}}{number}");
            for command in
                ["GET", "HGETALL", "SMEMBERS", "PEXPIRETIME", "TYPE", "ZRANGE", "JSON.GET"]
            {
                let all: [&[u8]; 5] =
                    [command.as_bytes(), key.as_bytes(), b"0", b"-1", b"WITHSCORES"];
                let words = if command == "ZRANGE" { &all[..] } else { &all[..2] };
                let sorted = |store: &mut Store| match run(store, slot, words) {
                    Value::Array(mut values) => {
                        values.sort_by_key(|value| format!("{value:?}"));
                        Value::Array(values)
                    }
                    other => other,
                };
                assert_eq!(sorted(&mut replayed), sorted(&mut from), "{command} {key}");
            }
        }
    }

    #[test]
    fn large_collections_are_recreated_in_several_commands() {
        let slot = Slot::of_key(b"h");
        let mut store = store(0);
        for number in 0..1300 {
            run(&mut store, slot, &[b"HSET", b"h", number.to_string().as_bytes(), b"v"]);
        }
        let state = store.raw_state(slot, b"h").expect("there");
        let commands = recreating_commands(b"h", state);
        let mut input = bytes::BytesMut::from(&commands[..]);
        let mut reader = quorate_proto::resp::CommandReader::new();
        let mut lengths = Vec::new();
        while let Some(command) = reader.next(&mut input).expect("valid") {
            lengths.push(command.len());
        }
        assert_eq!(lengths, [2, 2 + 1024, 2 + 1024, 2 + 552]);
    }

    #[test]
    fn what_is_no_effect_of_the_slot_is_refused() {
        let slot = Slot::of_key(b"k");
        let mut from = store(0);
        run(&mut from, slot, &[b"SET", b"k", b"v"]);
        let mut effect = Vec::new();
        from.export(slot, b"k", &mut effect);
        let other = Slot::of_key(b"other");
        let mut into = store(1);
        let merge = |into: &mut Store, slot: Slot, effect: &[u8]| {
            let number = slot.number().to_string();
            let number = number.as_bytes();
            run(into, slot, &[b"quorate.mergeslot", number, number, effect])
        };
        for (slot, effect) in [(slot, &b"junk"[..]), (other, &effect[..])] {
            assert!(matches!(merge(&mut into, slot, effect), Value::Error(_)));
        }
        assert!(into.is_empty());
        assert_eq!(merge(&mut into, slot, &effect), Value::Integer(0));
    }

    #[test]
    fn what_has_been_deleted_is_counted_as_left_out() {
        let slot = Slot::of_key(b"{t}");
        let mut from = store(0);
        run(&mut from, slot, &[b"SET", b"{t}k", b"v"]);
        run(&mut from, slot, &[b"SADD", b"{t}s", b"a", b"b"]);
        run(&mut from, slot, &[b"SET", b"{t}gone", b"v"]);
        run(&mut from, slot, &[b"DEL", b"{t}gone"]);
        let mut effect = Vec::new();
        for key in [&b"{t}k"[..], b"{t}s", b"{t}gone"] {
            from.export(slot, key, &mut effect);
        }
        let number = slot.number().to_string();
        let number = number.as_bytes();
        let merge: [&[u8]; 4] = [b"quorate.mergeslot", number, number, &effect];
        let mut into = store(1);
        assert_eq!(run(&mut into, slot, &merge), Value::Integer(0));
        run(&mut into, slot, &[b"DEL", b"{t}k"]);
        assert_eq!(run(&mut into, slot, &merge), Value::Integer(1), "the deletion is remembered");
        let mut into = store(1);
        into.raise_floor(slot.group(), WALL_MS);
        assert_eq!(run(&mut into, slot, &merge), Value::Integer(2), "deletions are forgotten");
        assert!(into.is_empty());
    }
}
