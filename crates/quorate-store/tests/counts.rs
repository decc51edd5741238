//! What a store says of its keys is what one finds by asking for each of them.

mod common;

use common::{KEYS, command, execute, slot, store, visible};
use proptest::prelude::*;
use quorate_store::Store;

const MOMENT: u64 = 1_000_000;

/// The moments at which keys expire, by asking for each.
fn moments(store: &mut Store, now: u64) -> Vec<u128> {
    let seen = visible(store, now);
    let of_keys = seen.chunks(seen.len() / KEYS.len()).filter_map(|of_key| of_key.last());
    let moments = of_keys.map(|reply| reply.trim_start_matches(':').trim_end().parse::<i64>());
    let found = moments.map(|moment| moment.expect("a number")).filter(|moment| *moment > 0);
    found.map(|moment| moment.unsigned_abs().into()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn keys_with_a_time_to_live_are_counted_as_they_are(
        steps in prop::collection::vec((any::<bool>(), command(), 0..40_u64, any::<bool>()), 1..60),
    ) {
        let mut stores = [store(0), store(1)];
        let mut now = MOMENT;
        let mut unseen: [Vec<Vec<u8>>; 2] = Default::default();
        for (who, words, step, merges) in steps {
            now += step;
            let (here, there) = (usize::from(who), usize::from(!who));
            let (_, effect) = execute(&mut stores[here], &words, now);
            unseen[there].push(effect);
            if merges {
                for effect in std::mem::take(&mut unseen[there]) {
                    stores[there].merge(slot(), &effect, now).expect("is merged");
                }
            }
            for store in &mut stores {
                store.sweep_expired(now, usize::MAX);
                let moments = moments(store, now);
                prop_assert_eq!(store.expiring(), moments.len());
                prop_assert_eq!(store.expiry_moments_ms(), moments.iter().sum::<u128>());
            }
        }
    }
}

#[test]
fn lookups_of_commands_that_only_read_are_counted() {
    let mut store = store(0);
    let mut run = |text: &str| {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        execute(&mut store, &words, MOMENT);
        let lookups = store.lookups();
        (lookups.hits, lookups.misses)
    };
    assert_eq!(run("SET {k}a 1"), (0, 0), "it does not read");
    assert_eq!(run("GET {k}a"), (1, 0));
    assert_eq!(run("GET {k}b"), (1, 1));
    assert_eq!(run("MGET {k}a {k}b {k}a"), (3, 2));
    assert_eq!(run("HGETALL {k}a"), (4, 2), "it is there, and of another kind");
    assert_eq!(run("EXISTS {k}a {k}c"), (5, 3));
    assert_eq!(run("DEL {k}a"), (5, 3));
}
