//! What coalescing promises: one effect stands for many, wherever and in whatever order.

mod common;

use proptest::prelude::*;
use quorate_store::{
    Merged,
    coalesce::{coalesce, count_keys},
};

use common::{KEYS, command, execute, slot, store, visible};

/// Effects of three nodes, from `first` on, that do not see each other's.
fn effects(first: u16, program: Vec<(usize, Vec<String>, u64)>) -> (Vec<Vec<u8>>, u64) {
    let mut stores = [store(first), store(first + 1), store(first + 2)];
    let mut wall_ms = 1_000_000;
    let mut effects = Vec::new();
    for (node, words, step) in program {
        wall_ms += step;
        let (_, effect) = execute(&mut stores[node], &words, wall_ms + 70 * node as u64);
        if !effect.is_empty() {
            effects.push(effect);
        }
    }
    (effects, wall_ms + 1_000)
}

fn program() -> impl Strategy<Value = Vec<(usize, Vec<String>, u64)>> {
    prop::collection::vec((0..3_usize, command(), 0..40_u64), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_coalesced_effect_is_equal_to_the_originals(
        before in program(),
        program in program(),
        parts in 1..5_usize,
        order in any::<prop::sample::Index>(),
        backwards in any::<bool>(),
    ) {
        let (before, _) = effects(3, before);
        let (originals, end) = effects(0, program);
        let (mut one_by_one, mut at_once) = (store(8), store(9));
        for effect in &before {
            for store in [&mut one_by_one, &mut at_once] {
                prop_assert_eq!(store.merge(slot(), effect, end), Ok(Merged::Whole));
            }
        }
        for effect in &originals {
            prop_assert_eq!(one_by_one.merge(slot(), effect, end), Ok(Merged::Whole));
        }
        // In several parts, of any of the effects, in any order; then coalesced once more.
        let mut shuffled: Vec<&[u8]> = originals.iter().map(Vec::as_slice).collect();
        if !shuffled.is_empty() {
            let at = order.index(shuffled.len());
            shuffled.rotate_left(at);
        }
        if backwards {
            shuffled.reverse();
        }
        let size = shuffled.len().div_ceil(parts).max(1);
        let parts: Vec<Vec<u8>> =
            shuffled.chunks(size).map(|part| coalesce(part).expect("effects")).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let coalesced = coalesce(&parts).expect("effects");
        prop_assert_eq!(at_once.merge(slot(), &coalesced, end), Ok(Merged::Whole));
        for store in [&mut one_by_one, &mut at_once] {
            store.sweep_expired(end, usize::MAX);
        }
        prop_assert_eq!(one_by_one.slot_version(slot()), at_once.slot_version(slot()));
        prop_assert_eq!(visible(&mut one_by_one, end), visible(&mut at_once, end));
        prop_assert!(coalesced.len() <= originals.iter().map(Vec::len).sum());
        prop_assert!(count_keys(&coalesced) <= KEYS.len());
    }
}

#[test]
fn a_hot_key_costs_little() {
    let mut node = store(0);
    let originals: Vec<Vec<u8>> = (0..1_000)
        .map(|number| {
            let words = ["SET".into(), KEYS[0].into(), format!("{number:0100}")];
            execute(&mut node, &words, 1_000 + number).1
        })
        .collect();
    let coalesced = coalesce(&originals.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(coalesced.expect("effects").len(), originals[0].len());
}

#[test]
fn what_is_no_effect_is_refused() {
    assert!(coalesce(&[b"nonsense"]).is_err());
    assert_eq!(coalesce(&[]), Ok(Vec::new()));
}
