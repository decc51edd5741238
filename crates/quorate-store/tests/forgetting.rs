//! What the store promises of forgetting: once every replica has everything and says so by its
//! floor, the tombstones go, and nothing that was removed comes back.

mod common;

use proptest::prelude::*;
use quorate_store::{
    Forgettable, Merged, Store,
    delta::{Body, Part, deltas},
};

use common::{KEYS, command, execute, slot, store, visible};

/// A command at one of three replicas, after some milliseconds.
fn program(length: usize) -> impl Strategy<Value = Vec<(usize, Vec<String>, u64)>> {
    prop::collection::vec((0..3_usize, command(), 0..40_u64), 1..length)
}

/// Runs a program on three replicas that hear of nothing, and returns the effects.
fn run(
    stores: &mut [Store; 3],
    program: Vec<(usize, Vec<String>, u64)>,
    wall_ms: &mut u64,
) -> Vec<Vec<u8>> {
    let mut effects = Vec::new();
    for (node, words, step) in program {
        *wall_ms += step;
        let (_, effect) = execute(&mut stores[node], &words, *wall_ms);
        effects.push(effect);
    }
    effects
}

fn deliver(stores: &mut [Store; 3], effects: &[Vec<u8>], wall_ms: u64) {
    for store in stores {
        for effect in effects {
            store.merge(slot(), effect, wall_ms).expect("is merged");
        }
        store.sweep_expired(wall_ms, usize::MAX);
    }
}

/// Everything is known up to `floor_ms`, here and by everybody else.
fn settle(store: &mut Store, floor_ms: u64) {
    let before_epoch = store.begin_epoch();
    store.raise_floor(slot().group(), floor_ms);
    store.forget(slot().group(), Forgettable { before_epoch, floor_ms }, usize::MAX);
}

fn state(store: &Store) -> Vec<u8> {
    let mut state = Vec::new();
    KEYS.iter().for_each(|key| store.export(slot(), key.as_bytes(), &mut state));
    state
}

/// Tombstones that a field below live increments keeps are not counted.
fn tombstones(store: &Store) -> usize {
    let state = state(store);
    let parts = deltas(&state).flat_map(|delta| delta.expect("a delta").parts());
    let parts: Vec<Part<'_>> = parts.map(|part| part.expect("a part")).collect();
    let is_added = |part: &Part<'_>| matches!(part.body(), Body::Added(_));
    let counted = |part: &&Part<'_>| {
        let same = |other: &&Part<'_>| {
            part.name().is_some() && (other.owner(), other.name()) == (part.owner(), part.name())
        };
        matches!(part.body(), Body::Removed(_)) && !parts.iter().filter(same).any(is_added)
    };
    parts.iter().filter(counted).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_removed_does_not_come_back(
        program in program(60),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let mut stores = [store(0), store(1), store(2)];
        let mut wall_ms = 1_000_000;
        let effects = run(&mut stores, program, &mut wall_ms);
        let now = wall_ms + 60_000;
        deliver(&mut stores, &effects, now);
        for store in &mut stores {
            let (seen, digest) = (visible(store, now), store.slot_digest(slot()));
            settle(store, wall_ms + 1_000);
            prop_assert_eq!((tombstones(store), store.tombstone_keys()), (0, 0));
            if state(store).is_empty() {
                prop_assert_eq!(store.slot_version(slot()), 0);
            }
            prop_assert_eq!(store.slot_digest(slot()), digest);
            prop_assert_eq!(&visible(store, now), &seen);

            // Whatever comes late is known or removed.
            let before = state(store);
            for effect in again.iter().map(|index| index.get(&effects)) {
                store.merge(slot(), effect, now).expect("is merged");
            }
            prop_assert_eq!(store.slot_digest(slot()), digest);
            prop_assert_eq!(visible(store, now), seen);
            prop_assert_eq!(state(store), before);
        }
    }

    #[test]
    fn who_has_forgotten_goes_on_like_who_has_not(
        first in program(40),
        second in program(40),
        forgets in any::<[bool; 3]>(),
    ) {
        let mut stores = [store(0), store(1), store(2)];
        let mut wall_ms = 1_000_000;
        let effects = run(&mut stores, first, &mut wall_ms);
        deliver(&mut stores, &effects, wall_ms + 1_000);
        let floor_ms = wall_ms + 1_000;
        for (store, _) in stores.iter_mut().zip(forgets).filter(|(_, forgets)| *forgets) {
            settle(store, floor_ms);
        }
        // From here on all stamps are above the floor.
        wall_ms += 20_000;
        let effects = run(&mut stores, second, &mut wall_ms);
        let now = wall_ms + 1_000;
        deliver(&mut stores, &effects, now);
        let [one, two, three] = &mut stores;
        prop_assert_eq!(one.slot_digest(slot()), two.slot_digest(slot()));
        prop_assert_eq!(one.slot_digest(slot()), three.slot_digest(slot()));
        prop_assert_eq!(visible(one, now), visible(two, now));
        prop_assert_eq!(visible(one, now), visible(three, now));
    }

    #[test]
    fn a_replica_that_was_away_is_put_right(
        program in program(60),
        heard in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut stores = [store(0), store(1), store(2)];
        let mut wall_ms = 1_000_000;
        let effects = run(&mut stores, program, &mut wall_ms);
        // It has heard of some writes, and of the removals among them or not.
        let mut away = store(3);
        for (effect, _) in effects.iter().zip(&heard).filter(|(_, heard)| **heard) {
            away.merge(slot(), effect, wall_ms).expect("is merged");
        }
        let now = wall_ms + 60_000;
        deliver(&mut stores, &effects, now);
        let [settled, ..] = &mut stores;
        settle(settled, wall_ms + 1_000);

        let seen = visible(settled, now);
        let merged = settled.merge(slot(), &state(&away), now).expect("is merged");
        prop_assert_eq!(&visible(settled, now), &seen, "nothing comes back");
        if let Merged::Part { refutation, .. } = merged {
            away.merge(slot(), &refutation, now).expect("is merged");
        }
        away.merge(slot(), &state(settled), now).expect("is merged");
        away.sweep_expired(now, usize::MAX);
        prop_assert_eq!(visible(&mut away, now), seen);
        prop_assert_eq!(away.slot_digest(slot()), settled.slot_digest(slot()));
    }
}

#[test]
fn tombstones_wait_for_their_epoch_and_for_the_floor() {
    let mut store = store(0);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    execute(&mut store, &words("SADD {k}a m n"), 1_000);
    execute(&mut store, &words("SREM {k}a m"), 2_000);
    let group = slot().group();
    store.forget(group, Forgettable { before_epoch: 0, floor_ms: 5_000 }, usize::MAX);
    assert_eq!(tombstones(&store), 1, "made in this epoch");

    let before_epoch = store.begin_epoch();
    execute(&mut store, &words("SREM {k}a n"), 3_000);
    store.forget(group, Forgettable { before_epoch, floor_ms: 999 }, usize::MAX);
    // The second removal has emptied the key, which ends its time to live.
    assert_eq!(tombstones(&store), 2, "others may still take them in");
    assert_eq!(store.tombstone_keys(), 1, "one reminder for the epoch");

    let before_epoch = store.begin_epoch();
    store.forget(group, Forgettable { before_epoch, floor_ms: 1_000 }, usize::MAX);
    assert_eq!(
        (tombstones(&store), store.tombstone_keys()),
        (0, 1),
        "the end of the time to live is newer"
    );

    let before_epoch = store.begin_epoch();
    store.forget(group, Forgettable { before_epoch, floor_ms: 3_000 }, usize::MAX);
    assert_eq!((tombstones(&store), store.tombstone_keys()), (0, 0));
}

#[test]
fn own_stamps_stay_above_the_floor() {
    let mut store = store(0);
    store.raise_floor(slot().group(), 9_000);
    let words = ["SET".to_owned(), KEYS[0].to_owned(), "v".to_owned()];
    let (_, effect) = execute(&mut store, &words, 1_000);
    let delta = deltas(&effect).next().expect("a delta").expect("well-formed");
    let part = delta.parts().next().expect("a part").expect("well-formed");
    assert!(part.stamp().milliseconds() > 9_000);
}
