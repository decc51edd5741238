//! What the store promises of merging: any order, any number of times, on any replica, the same
//! state; and the replica that executed a command holds what those that merged its effect hold.
//!
//! That holds for effects that no node would write as well: one stamp for two things, contributions
//! that overlap, dates before all clocks. A peer that is at fault may make the data wrong, but not
//! different from replica to replica.

mod common;

use proptest::prelude::*;
use quorate_proto::{Origin, Stamp};
use quorate_store::{
    Merged, Store,
    cell::{Contribution, Sum},
    coalesce::coalesce,
    delta::{Body, DeltaWriter, Owner, Part, deltas},
    score::Score,
    state::Kind,
};

use common::{KEYS, command, execute, slot, store, visible};

/// So few that hardly two parts go together.
const PIECE_BYTES: usize = 24;

/// Cells of documents: an object, a number and a string.
const CELLS: [&[u8]; 3] = [b"\x07\x00", b"\x03\x00\x04", b"\x06\x00s"];

/// A part without what its kind has no room for.
#[derive(Clone, Debug)]
struct Fact {
    kind: u8,
    name: &'static str,
    stamp: Stamp,
    /// Of increments: how long the contribution had lasted.
    lasted_ms: u64,
    value: u8,
}

impl Fact {
    fn write(&self, delta: &mut DeltaWriter<'_>) {
        let (stamp, value) = (self.stamp, [self.value]);
        let last = Stamp::new(stamp.clock() + (self.lasted_ms << 16), stamp.origin());
        let sum = Sum::from_bytes([self.value; Sum::LENGTH]);
        let added = Body::Added(Contribution { since: stamp, last, sum });
        let score = Score::new(f64::from(self.value)).expect("a number");
        let text = |body| Part::new(Owner::Object(Kind::Text), &[], body);
        let of = |kind, body| Part::element(kind, self.name.as_bytes(), body);
        // A member of the root, and a member of that.
        let path: &[u8] = if self.name == "x" { b"\x01\x01x" } else { b"\x01\x01x\x01\x01y" };
        let json = |body| Part::element(Kind::Json, path, body);
        delta.part(match self.kind {
            0 => Part::horizon(stamp),
            1 => Part::expiry(stamp, None),
            2 => Part::expiry(stamp, Some(1 + 2 * u64::from(self.value))),
            3 => Part::string(stamp, &value),
            4 => text(added),
            5 => of(Kind::Hash, Body::Bytes(stamp, &value)),
            6 => of(Kind::Hash, added),
            7 => of(Kind::Hash, Body::Removed(stamp)),
            8 => of(Kind::Set, Body::Member(stamp)),
            9 => of(Kind::Set, Body::Removed(stamp)),
            10 => of(Kind::SortedSet, Body::Score(stamp, score)),
            11 => of(Kind::SortedSet, added),
            12 => of(Kind::SortedSet, Body::Removed(stamp)),
            13 => json(Body::Bytes(stamp, CELLS[usize::from(self.value)])),
            14 => json(added),
            _ => json(Body::Removed(stamp)),
        });
    }
}

/// Few of everything, so that much of it meets.
fn fact() -> impl Strategy<Value = Fact> {
    let stamp = (0..6_u64, 0..2_u32).prop_map(|(ms, origin)| Stamp::new(ms << 16, Origin(origin)));
    let name = prop::sample::select(&["x", "y"][..]);
    (0..16_u8, name, stamp, 0..4_u64, 0..3_u8).prop_map(|(kind, name, stamp, lasted_ms, value)| {
        Fact { kind, name, stamp, lasted_ms, value }
    })
}

fn effect() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(&KEYS[..2]), prop::collection::vec(fact(), 1..4)).prop_map(
        |(key, facts)| {
            let mut effect = Vec::new();
            let mut delta = DeltaWriter::new(&mut effect, key.as_bytes());
            facts.iter().for_each(|fact| fact.write(&mut delta));
            delta.finish();
            effect
        },
    )
}

fn exchange(from: &Store, to: &mut Store) {
    for key in KEYS {
        let mut state = Vec::new();
        from.export(slot(), key.as_bytes(), &mut state);
        assert_eq!(to.merge(slot(), &state, 1_000), Ok(Merged::Whole));
    }
}

/// What holds the same as a store whose state is read back in pieces.
fn read_back(store: &Store, wall_ms: u64) -> Store {
    let mut copy = self::store(3);
    store.export_slot(slot(), PIECE_BYTES, |piece| {
        assert_eq!(copy.merge(slot(), piece, wall_ms), Ok(Merged::Whole));
    });
    copy.sweep_expired(wall_ms, usize::MAX);
    copy
}

/// Everything that the store holds, values included, in one order.
fn held(store: &Store) -> Vec<String> {
    let mut held = Vec::new();
    store.export_slot(slot(), PIECE_BYTES, |exported| {
        for delta in deltas(exported).map(|delta| delta.expect("a delta")) {
            held.extend(delta.parts().map(|part| format!("{:?} {part:?}", delta.key)));
        }
    });
    held.sort();
    held
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn replicas_converge_whatever_the_order(
        program in prop::collection::vec((0..3_usize, command(), 0..40_u64, any::<bool>()), 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
    ) {
        let mut stores = [store(0), store(1), store(2)];
        let mut effects: Vec<Vec<u8>> = Vec::new();
        let mut wall_ms = 1_000_000;
        for (node, words, step, gossip) in program {
            wall_ms += step;
            // Clocks differ, within the bound.
            let skewed = wall_ms + 100 * node as u64;
            let (_, effect) = execute(&mut stores[node], &words, skewed);
            if !effect.is_empty() {
                if gossip {
                    let other = (node + 1) % 3;
                    prop_assert_eq!(stores[other].merge(slot(), &effect, wall_ms), Ok(Merged::Whole));
                }
                effects.push(effect);
            }
        }
        let end = wall_ms + 1_000;
        // Some arrive several times, in any order; then everybody gets the rest, in two orders.
        for (turn, index) in order.iter().enumerate().filter(|_| !effects.is_empty()) {
            let effect = index.get(&effects);
            prop_assert_eq!(stores[turn % 3].merge(slot(), effect, end), Ok(Merged::Whole));
        }
        for (node, store) in stores.iter_mut().enumerate() {
            let forward = effects.iter();
            let all: Vec<_> = if node == 1 { forward.rev().collect() } else { forward.collect() };
            for effect in all {
                prop_assert_eq!(store.merge(slot(), effect, end), Ok(Merged::Whole));
            }
            store.sweep_expired(end, usize::MAX);
        }
        let [first, second, third] = &mut stores;
        let copy = read_back(first, end);
        prop_assert_eq!(first.slot_digest(slot()), copy.slot_digest(slot()));
        prop_assert_eq!(held(first), held(&copy));
        prop_assert_eq!(first.slot_digest(slot()), second.slot_digest(slot()));
        prop_assert_eq!(first.slot_digest(slot()), third.slot_digest(slot()));
        prop_assert_eq!(first.slot_version(slot()), second.slot_version(slot()));
        prop_assert_eq!(first.slot_version(slot()), third.slot_version(slot()));
        prop_assert_eq!(visible(first, end), visible(second, end));
        prop_assert_eq!(visible(first, end), visible(third, end));

        // A copy made of exported states is the same, and its digest, made from nothing, too.
        let mut copy = store(7);
        for key in KEYS {
            let mut state = Vec::new();
            first.export(slot(), key.as_bytes(), &mut state);
            prop_assert_eq!(copy.merge(slot(), &state, end), Ok(Merged::Whole));
            prop_assert_eq!(copy.merge(slot(), &state, end), Ok(Merged::Whole));
        }
        copy.sweep_expired(end, usize::MAX);
        prop_assert_eq!(copy.slot_digest(slot()), first.slot_digest(slot()));
        prop_assert_eq!(copy.slot_version(slot()), first.slot_version(slot()));
        prop_assert_eq!(visible(&mut copy, end), visible(first, end));
    }

    #[test]
    fn whoever_executed_holds_what_others_merged(
        program in prop::collection::vec((command(), 0..5_u64), 1..40),
    ) {
        let (mut executor, mut replica) = (store(0), store(1));
        let mut wall_ms = 1_000_000;
        for (words, step) in program {
            wall_ms += step;
            let (_, effect) = execute(&mut executor, &words, wall_ms);
            prop_assert_eq!(replica.merge(slot(), &effect, wall_ms), Ok(Merged::Whole));
            prop_assert_eq!(executor.slot_digest(slot()), replica.slot_digest(slot()));
        }
        prop_assert_eq!(visible(&mut executor, wall_ms), visible(&mut replica, wall_ms));
    }

    #[test]
    fn concurrent_increments_add_up(amounts in prop::collection::vec((0..3_usize, -50..50_i64), 1..30)) {
        let mut stores = [store(0), store(1), store(2)];
        let mut effects = Vec::new();
        for (node, amount) in &amounts {
            let words = ["INCRBY".into(), KEYS[0].into(), amount.to_string()];
            effects.push(execute(&mut stores[*node], &words, 5_000).1);
        }
        let sum: i64 = amounts.iter().map(|(_, amount)| amount).sum();
        for store in &mut stores {
            effects.iter().rev().for_each(|effect| assert_eq!(store.merge(slot(), effect, 5_000), Ok(Merged::Whole)));
            let (reply, _) = execute(store, &["GET".into(), KEYS[0].into()], 5_000);
            let text = sum.to_string();
            prop_assert_eq!(reply, format!("${}\r\n{text}\r\n", text.len()).into_bytes());
        }
    }

    #[test]
    fn an_addition_beats_a_removal_that_did_not_see_it(first_ms in 0..500_u64, second_ms in 0..500_u64) {
        let (mut a, mut b) = (store(0), store(1));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let base = execute(&mut a, &words("SADD {k}a m"), 1_000).1;
        prop_assert_eq!(b.merge(slot(), &base, 1_000), Ok(Merged::Whole));
        // Neither knows of the other's; the wall clocks may say anything.
        let removal = execute(&mut a, &words("SREM {k}a m"), 1_000 + first_ms).1;
        let addition = execute(&mut b, &words("SADD {k}a m"), 1_000 + second_ms).1;
        prop_assert_eq!(a.merge(slot(), &addition, 1_500), Ok(Merged::Whole));
        prop_assert_eq!(b.merge(slot(), &removal, 1_500), Ok(Merged::Whole));
        for store in [&mut a, &mut b] {
            prop_assert_eq!(execute(store, &words("SISMEMBER {k}a m"), 1_500).0, b":1\r\n".to_vec());
        }
    }

    #[test]
    fn hostile_effects_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut store = store(0);
        if store.merge(slot(), &bytes, 1_000).is_err() {
            prop_assert_eq!(store.slot_digest(slot()), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_effects_give_the_same_in_any_order(
        effects in prop::collection::vec(effect(), 1..12),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let (mut forwards, mut backwards, mut at_once) = (store(1), store(2), store(3));
        for effect in &effects {
            prop_assert_eq!(forwards.merge(slot(), effect, 1_000), Ok(Merged::Whole));
            let before = (forwards.slot_version(slot()), held(&forwards));
            prop_assert_eq!(forwards.merge(slot(), effect, 1_000), Ok(Merged::Whole));
            prop_assert_eq!((forwards.slot_version(slot()), held(&forwards)), before);
        }
        let mut others: Vec<&[u8]> = effects.iter().map(Vec::as_slice).collect();
        others.reverse();
        others.rotate_left(shuffled.index(effects.len()));
        for effect in &others {
            prop_assert_eq!(backwards.merge(slot(), effect, 1_000), Ok(Merged::Whole));
        }
        let (first, second) = others.split_at(others.len() / 2);
        for effects in [first, second] {
            let coalesced = coalesce(effects).expect("effects");
            prop_assert_eq!(at_once.merge(slot(), &coalesced, 1_000), Ok(Merged::Whole));
        }
        for other in [&backwards, &at_once] {
            prop_assert_eq!(held(other), held(&forwards));
            prop_assert_eq!(other.slot_version(slot()), forwards.slot_version(slot()));
        }
        prop_assert_eq!(forwards.scrub_slot(slot()).mismatches(), 0);
    }

    #[test]
    fn whenever_expiries_are_carried_out_an_exchange_settles_the_rest(
        steps in prop::collection::vec((effect(), 0..8_u64, 0..8_u64), 1..12),
    ) {
        let (mut one, mut other) = (store(1), store(2));
        for (effect, wall_ms, _) in &steps {
            prop_assert_eq!(one.merge(slot(), effect, 1_000), Ok(Merged::Whole));
            one.sweep_expired(*wall_ms, usize::MAX);
        }
        for (effect, _, wall_ms) in steps.iter().rev() {
            prop_assert_eq!(other.merge(slot(), effect, 1_000), Ok(Merged::Whole));
            other.sweep_expired(*wall_ms, usize::MAX);
        }
        for _ in 0..2 {
            exchange(&one, &mut other);
            exchange(&other, &mut one);
        }
        for store in [&mut one, &mut other] {
            store.sweep_expired(1_000, usize::MAX);
            prop_assert_eq!(store.scrub_slot(slot()).mismatches(), 0);
        }
        prop_assert_eq!(held(&one), held(&other));
        prop_assert_eq!(one.slot_version(slot()), other.slot_version(slot()));
    }
}
