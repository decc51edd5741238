//! An expiry belongs to the object that it was set for: it ends nothing that began later.

mod common;

use common::{command, execute, slot, store, visible};
use proptest::prelude::*;
use quorate_store::Store;

const MOMENT: u64 = 1_000_000;

/// Runs commands a millisecond apart; returns the effects.
fn run(store: &mut Store, now: &mut u64, commands: &[&str]) -> Vec<Vec<u8>> {
    let each = commands.iter().map(|command| {
        *now += 1;
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        execute(store, &words, *now).1.to_vec()
    });
    each.collect()
}

/// Ways to set a time to live, to empty the key, and to make it again.
const BEGINNINGS: [&str; 3] = ["SADD {k}a m", "HSET {k}a f v", "SET {k}a v"];
const ENDINGS: [&[&str]; 3] = [
    &["SPOP {k}a", "SREM {k}a m", "SMOVE {k}a {k}b m"],
    &["HDEL {k}a f"],
    &["DEL {k}a", "GETDEL {k}a"],
];
const ANEW: [&str; 6] = [
    "SADD {k}a new",
    "HSET {k}a new v",
    "HINCRBY {k}a n 1",
    "INCR {k}a",
    "APPEND {k}a x",
    "SETRANGE {k}a 0 x",
];

#[test]
fn what_was_added_after_the_end_by_somebody_who_had_not_heard_of_the_expiry_stays() {
    for (beginning, anew) in [
        ("SADD {k}a m", "SADD {k}a new"),
        ("HSET {k}a f v", "HSET {k}a new v"),
        ("HSET {k}a f v", "HINCRBY {k}a n 1"),
        ("SADD {k}a m", "INCR {k}a"),
        ("ZADD {k}a 1 m", "ZADD {k}a 2 new"),
    ] {
        for swept in [false, true] {
            let mut now = MOMENT;
            let mut stores = [store(0), store(1)];
            let old = run(&mut stores[0], &mut now, &[beginning, "PEXPIRE {k}a 100"]);
            now += 1_000;
            if swept {
                stores[0].sweep_expired(now, usize::MAX);
            }
            let new = run(&mut stores[1], &mut now, &[anew]);
            new.iter().for_each(|effect| drop(stores[0].merge(slot(), effect, now)));
            old.iter().for_each(|effect| drop(stores[1].merge(slot(), effect, now)));
            for store in &mut stores {
                store.sweep_expired(now, usize::MAX);
                let words = ["TTL".to_owned(), "{k}a".to_owned()];
                assert_eq!(execute(store, &words, now).0, b":-1\r\n", "{beginning}, {anew}");
            }
            assert_eq!(visible(&mut stores[0], now), visible(&mut stores[1], now), "{anew}");
        }
    }
}

#[test]
fn a_key_that_is_emptied_and_made_anew_keeps_no_old_expiry() {
    for (beginning, endings) in BEGINNINGS.into_iter().zip(ENDINGS) {
        for ending in endings {
            for anew in ANEW {
                let mut now = MOMENT;
                let mut stores = [store(0), store(1)];
                let commands = [beginning, "PEXPIRE {k}a 100", ending, anew];
                let effects = run(&mut stores[0], &mut now, &commands);
                // The other replica hears of them in reverse.
                for effect in effects.iter().rev() {
                    stores[1].merge(slot(), effect, now).expect("is merged");
                }
                now += 1_000;
                for store in &mut stores {
                    store.sweep_expired(now, usize::MAX);
                    let words = ["TTL".to_owned(), "{k}a".to_owned()];
                    let (reply, _) = execute(store, &words, now);
                    assert_eq!(reply, b":-1\r\n", "{beginning}, {ending}, {anew}");
                }
                assert_eq!(visible(&mut stores[0], now), visible(&mut stores[1], now));
                assert_eq!(stores[0].slot_digest(slot()), stores[1].slot_digest(slot()));
            }
        }
    }
}

#[test]
fn an_addition_that_the_emptying_did_not_see_stays_without_the_time_to_live() {
    let mut now = MOMENT;
    let mut stores = [store(0), store(1)];
    let [one, two] = &mut stores;
    for effect in run(one, &mut now, &["SADD {k}a m", "PEXPIRE {k}a 100"]) {
        two.merge(slot(), &effect, now).expect("is merged");
    }
    let added = run(two, &mut now, &["SADD {k}a unseen"]);
    let emptied = run(one, &mut now, &["SREM {k}a m"]);
    one.merge(slot(), &added[0], now).expect("is merged");
    two.merge(slot(), &emptied[0], now).expect("is merged");
    now += 1_000;
    for store in &mut stores {
        store.sweep_expired(now, usize::MAX);
        let words = ["SMEMBERS".to_owned(), "{k}a".to_owned()];
        let (reply, _) = execute(store, &words, now);
        assert_eq!(reply, b"*1\r\n$6\r\nunseen\r\n");
    }
}

#[test]
fn an_expiry_that_the_emptying_did_not_see_ends_nothing_that_it_did_not_see() {
    for emptying in ["DEL {k}a", "SPOP {k}a 100", "SREM {k}a m"] {
        let mut now = MOMENT;
        let mut stores = [store(0), store(1), store(2)];
        let began = run(&mut stores[0], &mut now, &["SADD {k}a m"]);
        for store in &mut stores[1..] {
            store.merge(slot(), &began[0], now).expect("is merged");
        }
        // Each of the three hears of the others only afterwards.
        let mut effects = run(&mut stores[1], &mut now, &["PEXPIRE {k}a 100"]);
        effects.extend(run(&mut stores[2], &mut now, &["SADD {k}a unseen"]));
        effects.extend(run(&mut stores[0], &mut now, &[emptying]));
        now += 1_000;
        for store in &mut stores {
            for effect in &effects {
                store.merge(slot(), effect, now).expect("is merged");
            }
            store.sweep_expired(now, usize::MAX);
            let words = ["SMEMBERS".to_owned(), "{k}a".to_owned()];
            let (reply, _) = execute(store, &words, now);
            assert_eq!(reply, b"*1\r\n$6\r\nunseen\r\n", "{emptying}");
        }
        assert_eq!(visible(&mut stores[0], now), visible(&mut stores[1], now));
    }
}

#[test]
fn what_ends_and_begins_leaves_nothing_behind_on_a_node_alone() {
    let mut now = MOMENT;
    let mut store = store(0);
    store.adopt(store.origin(), false);
    run(&mut store, &mut now, &["SADD {k}a m", "PEXPIRE {k}a 100", "SPOP {k}a"]);
    assert_eq!((store.marked(), store.len()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happened_before_what_begins_anew_stays(
        before in prop::collection::vec((command(), 0..40_u64), 1..40),
        ending in prop::sample::select(&["DEL {k}a", "SPOP {k}a 100", "GETDEL {k}a"][..]),
    ) {
        let mut store = store(0);
        let mut now = MOMENT;
        for (words, step) in before {
            now += step;
            execute(&mut store, &words, now);
        }
        run(&mut store, &mut now, &[ending]);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        if execute(&mut store, &words("EXISTS {k}a"), now).0 == b":0\r\n" {
            run(&mut store, &mut now, &["SADD {k}a new"]);
            now += 1_000_000;
            store.sweep_expired(now, usize::MAX);
            let (reply, _) = execute(&mut store, &words("SMEMBERS {k}a"), now);
            prop_assert_eq!(reply, b"*1\r\n$3\r\nnew\r\n");
        }
    }
}
