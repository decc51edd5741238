//! What the store promises of elements: replicas that send each other what the other one lacks, and
//! nothing else, come to the same state.

mod common;

use std::collections::BTreeSet;

use proptest::prelude::*;
use quorate_store::{
    Forgettable, Merged, Store,
    delta::{Part, deltas},
};

use common::{KEYS, command, execute, slot, store, visible};

/// The fingerprints of all keys.
fn fingerprints(store: &Store) -> BTreeSet<u64> {
    let scans = KEYS.map(|key| store.scan(slot(), key.as_bytes()));
    scans.iter().flat_map(|scan| scan.fingerprints(|_| true)).collect()
}

/// What `from` has and `to` lacks, in pieces of some bytes.
fn missing(from: &Store, to: &Store, bytes_max: usize) -> Vec<Vec<u8>> {
    let scans = KEYS.map(|key| from.scan(slot(), key.as_bytes()));
    let lacking: Vec<u64> = fingerprints(from).difference(&fingerprints(to)).copied().collect();
    let (mut rest, mut effects, mut parts) = (&lacking[..], Vec::new(), 0);
    while !rest.is_empty() {
        let (covered, effect) = from.export_elements(&scans, rest, bytes_max);
        rest = &rest[covered..];
        parts += parts_of(&effect).len();
        effects.push(effect);
    }
    assert_eq!(parts, lacking.len(), "what both have is not sent");
    effects
}

fn parts_of(effect: &[u8]) -> Vec<Part<'_>> {
    let parts = deltas(effect).flat_map(|delta| delta.expect("a delta").parts());
    parts.map(|part| part.expect("a part")).collect()
}

/// Brings two replicas level, the first one leading, as a node does.
fn exchange(ours: &mut Store, theirs: &mut Store, bytes_max: usize, now: u64) -> usize {
    let mut exchanged = 0;
    for effect in missing(theirs, ours, bytes_max) {
        exchanged += parts_of(&effect).len();
        if let Ok(Merged::Part { refutation, .. }) = ours.merge(slot(), &effect, now) {
            theirs.merge(slot(), &refutation, now).expect("is merged");
        }
    }
    for effect in missing(ours, theirs, bytes_max) {
        exchanged += parts_of(&effect).len();
        theirs.merge(slot(), &effect, now).expect("is merged");
    }
    // What one had carried out is due at the other now.
    for store in [ours, theirs] {
        store.sweep_expired(now, usize::MAX);
    }
    exchanged
}

/// Commands at some of three replicas; each effect reaches some of the others.
fn program() -> impl Strategy<Value = Vec<(usize, Vec<String>, u64, [bool; 3])>> {
    prop::collection::vec((0..3_usize, command(), 0..40_u64, any::<[bool; 3]>()), 1..60)
}

fn run(
    stores: &mut [Store; 3],
    program: Vec<(usize, Vec<String>, u64, [bool; 3])>,
    wall_ms: &mut u64,
) {
    for (node, words, step, reached) in program {
        *wall_ms += step;
        let (_, effect) = execute(&mut stores[node], &words, *wall_ms);
        for (store, _) in stores.iter_mut().zip(reached).filter(|(_, reached)| *reached) {
            store.merge(slot(), &effect, *wall_ms).expect("is merged");
        }
    }
}

fn sweep(stores: &mut [Store; 3], wall_ms: u64) {
    stores.iter_mut().for_each(|store| {
        store.sweep_expired(wall_ms, usize::MAX);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn two_replicas_become_equal(program in program(), bytes_max in 1..500_usize) {
        let mut stores = [store(0), store(1), store(2)];
        let mut now = 1_000_000;
        run(&mut stores, program, &mut now);
        now += 1_000;
        sweep(&mut stores, now);
        let [ours, theirs, _] = &mut stores;
        // A newer expiry lifts one that has been carried out, perhaps behind what that held back.
        for _ in 0..2 {
            exchange(ours, theirs, bytes_max, now);
        }
        prop_assert_eq!(ours.slot_version(slot()), theirs.slot_version(slot()));
        prop_assert_eq!(fingerprints(ours), fingerprints(theirs));
        prop_assert_eq!(exchange(ours, theirs, bytes_max, now), 0);
        prop_assert_eq!(visible(ours, now), visible(theirs, now));
    }

    #[test]
    fn three_replicas_become_equal(program in program()) {
        let mut stores = [store(0), store(1), store(2)];
        let mut now = 1_000_000;
        run(&mut stores, program, &mut now);
        now += 1_000;
        sweep(&mut stores, now);
        let [one, two, three] = &mut stores;
        for _ in 0..2 {
            exchange(one, two, 100, now);
            exchange(two, three, 100, now);
            exchange(three, one, 100, now);
        }
        prop_assert_eq!(one.slot_version(slot()), two.slot_version(slot()));
        prop_assert_eq!(one.slot_version(slot()), three.slot_version(slot()));
    }

    #[test]
    fn digests_of_elements_sum_up_to_that_of_the_key(program in program()) {
        let mut stores = [store(0), store(1), store(2)];
        run(&mut stores, program, &mut 1_000_000);
        let [store, ..] = &stores;
        for key in KEYS.map(str::as_bytes) {
            for tombstones in [false, true] {
                let scan = store.scan(slot(), key);
                let digests = scan.digests(tombstones).map(|(_, digest)| digest);
                let digest = if tombstones {
                    store.key_version(slot(), key)
                } else {
                    store.key_digest(slot(), key)
                };
                prop_assert_eq!(digests.fold(0, u64::wrapping_add), digest as u64);
            }
        }
    }

    #[test]
    fn what_was_removed_long_ago_is_removed_again(
        program in program(),
        heard in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut stores = [store(0), store(1), store(2)];
        let mut away = store(3);
        let mut now = 1_000_000;
        let effects: Vec<Vec<u8>> = program
            .into_iter()
            .map(|(node, words, step, _)| {
                now += step;
                execute(&mut stores[node], &words, now).1
            })
            .collect();
        for (effect, _) in effects.iter().zip(&heard).filter(|(_, heard)| **heard) {
            away.merge(slot(), effect, now).expect("is merged");
        }
        let floor_ms = now + 1_000;
        now += 60_000;
        let [settled, ..] = &mut stores;
        for effect in &effects {
            settled.merge(slot(), effect, now).expect("is merged");
        }
        settled.sweep_expired(now, usize::MAX);
        let before_epoch = settled.begin_epoch();
        settled.raise_floor(slot().group(), floor_ms);
        settled.forget(slot().group(), Forgettable { before_epoch, floor_ms }, usize::MAX);

        let seen = visible(settled, now);
        exchange(settled, &mut away, 100, now);
        prop_assert_eq!(&visible(settled, now), &seen, "nothing comes back");
        away.sweep_expired(now, usize::MAX);
        prop_assert_eq!(visible(&mut away, now), seen);
        prop_assert_eq!(away.slot_digest(slot()), settled.slot_digest(slot()));
    }
}
