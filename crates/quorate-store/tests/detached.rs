//! Work beside the store gives what it would give in the store.

mod common;

use common::{KEYS, command, execute, slot, store, visible};
use proptest::prelude::*;
use quorate_proto::{command::Call, resp::Command};
use quorate_store::{Forgettable, Merged, Request, Store};

/// Everything about a store that others can tell.
fn account(store: &mut Store, wall_ms: u64) -> impl PartialEq + std::fmt::Debug + use<> {
    let shown = visible(store, wall_ms);
    let mut states = Vec::new();
    store.export_slot(slot(), usize::MAX, |state| states.push(state.to_vec()));
    states.sort();
    let digests = KEYS.map(|key| store.key_digest(slot(), key.as_bytes()));
    let counts =
        [store.len(), store.keys_in_slot(slot()), store.expiring(), store.tombstone_keys()];
    let moments = (store.expiry_moments_ms(), store.expired());
    let sums = (store.slot_digest(slot()), store.slot_version(slot()));
    (shown, states, digests, counts, moments, sums, store.lookups())
}

fn call(words: &[String]) -> Call {
    Call::piece(slot(), Command::from_args(words))
}

/// Executes a call beside the store; `meanwhile` happens to the store until that has ended.
fn execute_beside(
    store: &mut Store,
    call: &Call,
    wall_ms: u64,
    meanwhile: impl FnOnce(&mut Store),
) -> (Vec<u8>, Vec<u8>) {
    let detached = store.detach(slot(), call.keys());
    meanwhile(store);
    let mut outcome = detached.execute(Request { call, wall_ms, resp3: false });
    drop(store.attach(&mut outcome, wall_ms));
    (outcome.reply, outcome.effect)
}

/// What happens between commands.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Sweep,
    NextEpoch,
    Forget,
}

fn between() -> impl Strategy<Value = Between> {
    use Between::{Forget, NextEpoch, Nothing, Sweep};
    prop_oneof![6 => Just(Nothing), 1 => Just(Sweep), 1 => Just(NextEpoch), 1 => Just(Forget)]
}

fn happens(store: &mut Store, what: Between, wall_ms: u64) {
    match what {
        Between::Nothing => {}
        Between::Sweep => {
            store.sweep_expired(wall_ms, usize::MAX);
        }
        Between::NextEpoch => {
            store.begin_epoch();
        }
        Between::Forget => {
            let forgettable =
                Forgettable { before_epoch: store.epoch(), floor_ms: wall_ms.saturating_sub(20) };
            store.forget(slot().group(), forgettable, 100);
        }
    }
}

/// Words that make a collection large, or add to one.
fn many() -> impl Strategy<Value = Vec<String>> {
    let shape = prop::sample::select(&["SADD", "HSET", "ZADD", "SREM", "ZREM", "HDEL"][..]);
    let keys = prop::sample::select(&KEYS[..]);
    (shape, keys, 0..300_u32, 1..400_u32).prop_map(|(name, key, first, count)| {
        let mut words = vec![name.to_owned(), key.to_owned()];
        for number in first..first + count {
            match name {
                "HSET" => words.extend([format!("m{number}"), number.to_string()]),
                "ZADD" => words.extend([number.to_string(), format!("m{number}")]),
                _ => words.push(format!("m{number}")),
            }
        }
        words
    })
}

fn commands() -> impl Strategy<Value = Vec<(Vec<String>, Between, u64)>> {
    let command = prop_oneof![3 => command(), 1 => many()];
    prop::collection::vec((command, between(), 0..40_u64), 1..40)
}

/// A removal of one member beside the store; `meanwhile` happens to the store until that has ended.
fn remove_beside(meanwhile: impl FnOnce(&mut Store)) -> Store {
    let mut one = store(1);
    let words = |words: [&str; 3]| words.map(str::to_owned).to_vec();
    execute(&mut one, &words(["SADD", KEYS[0], "member"]), 1_000);
    execute_beside(&mut one, &call(&words(["SREM", KEYS[0], "member"])), 2_000, meanwhile);
    one
}

fn tombstones_after(store: &mut Store, before_epoch: u32) -> usize {
    store.raise_floor(slot().group(), 10_000);
    store.forget(slot().group(), Forgettable { before_epoch, floor_ms: 10_000 }, usize::MAX);
    store.tombstone_keys()
}

/// A round of the epoch that began meanwhile has not seen what was removed.
#[test]
fn tombstones_belong_to_the_epoch_in_which_they_show() {
    let mut one = remove_beside(|store| {
        store.begin_epoch();
        store.begin_epoch();
    });
    let now = one.epoch();
    assert_eq!(tombstones_after(&mut one, now), 1);
    let next = one.begin_epoch();
    assert_eq!(tombstones_after(&mut one, next), 0);
}

/// Rounds begin all the time, and floors follow: that alone is no reason to merge again.
#[test]
fn a_merge_is_put_in_place_whatever_rounds_have_begun_meanwhile() {
    let set: Vec<String> = ["SADD", KEYS[0], "member"].map(str::to_owned).to_vec();
    for (floor_ms, is_put) in [(900, true), (1_000, false), (2_000, false)] {
        let (mut writer, mut one) = (store(1), store(2));
        let (_, effect) = execute(&mut writer, &set, 1_000);
        let detached = one.detach(slot(), KEYS.map(str::as_bytes).into_iter());
        one.begin_epoch();
        one.raise_floor(slot().group(), floor_ms);
        let (_, mut outcome) = detached.merge(&effect, 1_000, true).expect("a good effect");
        assert_eq!(one.attach_merged(&mut outcome).0, is_put, "floor {floor_ms}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_call_beside_the_store_does_what_it_does_in_it(commands in commands()) {
        let (mut one, mut other) = (store(1), store(1));
        let mut wall_ms = 1_000;
        for (words, what, passed) in commands {
            let call = call(&words);
            let beside = execute_beside(&mut one, &call, wall_ms, |_| {});
            prop_assert_eq!(beside, execute(&mut other, &words, wall_ms), "{:?}", words);
            prop_assert_eq!(account(&mut one, wall_ms), account(&mut other, wall_ms), "{:?}", words);
            prop_assert_eq!(one.scrub_slot(slot()).mismatches(), 0);
            wall_ms += passed;
            happens(&mut one, what, wall_ms);
            happens(&mut other, what, wall_ms);
            prop_assert_eq!(account(&mut one, wall_ms), account(&mut other, wall_ms), "{:?}", what);
        }
    }

    #[test]
    fn a_merge_beside_the_store_does_what_it_does_in_it(commands in commands()) {
        let (mut writer, mut one, mut other) = (store(1), store(2), store(2));
        let mut wall_ms = 1_000;
        for (words, what, passed) in commands {
            let (_, effect) = execute(&mut writer, &words, wall_ms);
            let keys = KEYS.map(str::as_bytes).into_iter();
            let (beside, mut outcome) = one
                .detach(slot(), keys)
                .merge(&effect, wall_ms, true)
                .expect("a good effect");
            prop_assert!(one.attach_merged(&mut outcome).0, "nothing has happened since");
            other.end_before(slot(), &effect, wall_ms);
            prop_assert_eq!(Ok(beside), other.merge(slot(), &effect, wall_ms));
            other.sweep_merged(slot(), &effect, wall_ms);
            prop_assert_eq!(account(&mut one, wall_ms), account(&mut other, wall_ms), "{:?}", words);
            prop_assert_eq!(one.scrub_slot(slot()).mismatches(), 0);
            wall_ms += passed;
            happens(&mut one, what, wall_ms);
            happens(&mut other, what, wall_ms);
            prop_assert_eq!(account(&mut one, wall_ms), account(&mut other, wall_ms), "{:?}", what);
        }
    }

    /// What has changed meanwhile is not overwritten: the merge is to be done anew.
    #[test]
    fn a_merge_is_not_put_in_the_place_of_what_is_new(
        late in many(),
        meanwhile in many(),
    ) {
        let (mut writer, mut neighbour, mut one) = (store(1), store(3), store(2));
        let (_, effect) = execute(&mut writer, &late, 1_000);
        let (_, new) = execute(&mut neighbour, &meanwhile, 1_000);
        let detached = one.detach(slot(), KEYS.map(str::as_bytes).into_iter());
        one.merge(slot(), &new, 1_000).expect("a good effect");
        let sums = |store: &Store| (store.slot_digest(slot()), store.slot_version(slot()));
        let before = sums(&one);
        let (_, mut outcome) = detached.merge(&effect, 1_000, true).expect("a good effect");
        prop_assert_eq!(one.attach_merged(&mut outcome).0, new.is_empty());
        prop_assert!(new.is_empty() || sums(&one) == before);
    }

    /// Nothing is lost of what happens to the slot while work is done beside the store.
    #[test]
    fn what_happens_meanwhile_stays(
        commands in commands(),
        late in prop_oneof![command(), many()],
        elsewhere in prop::collection::vec(command(), 0..3),
        what in between(),
    ) {
        let (mut one, mut other, mut neighbour) = (store(1), store(1), store(2));
        let mut wall_ms = 1_000;
        for (words, what, passed) in commands {
            let (_, effect) = execute(&mut one, &words, wall_ms);
            execute(&mut other, &words, wall_ms);
            neighbour.merge(slot(), &effect, wall_ms).expect("a good effect");
            wall_ms += passed;
            happens(&mut one, what, wall_ms);
            happens(&mut other, what, wall_ms);
        }
        let effects = elsewhere.iter().map(|words| execute(&mut neighbour, words, wall_ms).1);
        let effects: Vec<Vec<u8>> = effects.collect();
        let meanwhile = |store: &mut Store| {
            happens(store, what, wall_ms);
            for effect in &effects {
                store.merge(slot(), effect, wall_ms).expect("a good effect");
            }
        };
        let (_, effect) = execute_beside(&mut one, &call(&late), wall_ms, meanwhile);
        meanwhile(&mut other);
        other.end_before(slot(), &effect, wall_ms);
        prop_assert_eq!(other.merge(slot(), &effect, wall_ms), Ok(Merged::Whole));
        one.reset_counters();
        other.reset_counters();
        prop_assert_eq!(account(&mut one, wall_ms), account(&mut other, wall_ms));
        prop_assert_eq!(one.scrub_slot(slot()).mismatches(), 0);
    }

    /// A deletion reaches of many elements what it has seen, in whatever order that arrives.
    #[test]
    fn many_elements_converge_with_deletions(
        written in prop::collection::vec(many(), 1..6),
        seen in any::<prop::sample::Index>(),
        deleted in prop::sample::select(&KEYS[..]),
        order in any::<u64>(),
    ) {
        let (mut writer, mut deleter) = (store(1), store(2));
        let written: Vec<Vec<u8>> =
            written.iter().map(|words| execute(&mut writer, words, 1_000).1).collect();
        for effect in &written[..seen.index(written.len() + 1)] {
            deleter.merge(slot(), effect, 1_000).expect("a good effect");
        }
        let delete = ["DEL".to_owned(), deleted.to_owned()];
        let mut effects = written;
        effects.push(execute(&mut deleter, &delete, 1_000).1);
        let mut replica = store(3);
        for effect in &effects {
            replica.merge(slot(), effect, 1_000).expect("a good effect");
        }
        let mut other = store(3);
        effects.sort_by_key(|effect| (effect.len() as u64).wrapping_mul(order | 1).rotate_left(20));
        for effect in &effects {
            other.merge(slot(), effect, 1_000).expect("a good effect");
        }
        prop_assert_eq!(visible(&mut replica, 1_000), visible(&mut other, 1_000));
        prop_assert_eq!(replica.slot_digest(slot()), other.slot_digest(slot()));
        prop_assert_eq!(replica.scrub_slot(slot()).mismatches(), 0);
    }
}
