//! What the store promises of merging: any order, any number of times, on any replica, the same
//! state; and the replica that executed a command holds what those that merged its effect hold.

mod common;

use proptest::prelude::*;
use quorate_store::Merged;

use common::{KEYS, command, execute, slot, store, visible};

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
