//! An expiry belongs to the object that it was set for: it ends nothing that began later.

mod common;

use common::{command, execute, slot, store, visible};
use proptest::prelude::*;
use quorate_proto::{command::Call, resp::Command};
use quorate_store::{Request, Store};

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
fn a_stale_replica_ends_nothing_of_an_object_that_began_anew() {
    for (beginning, emptying, anew, later) in [
        ("SADD {k}a m", "SPOP {k}a 100", "SADD {k}a new", "SADD {k}a later"),
        ("ZADD {k}a 1 m", "ZPOPMIN {k}a 100", "ZADD {k}a 2 new", "ZADD {k}a 3 later"),
        ("HSET {k}a f v", "HDEL {k}a f", "HSET {k}a new v", "HINCRBY {k}a later 1"),
        ("SADD {k}a m", "DEL {k}a", "HSET {k}a new v", "HSET {k}a later v"),
    ] {
        for (swept, heard) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut now = MOMENT;
            let mut stores = [store(0), store(1)];
            let mut effects = run(&mut stores[0], &mut now, &[beginning, "PEXPIRE {k}a 100"]);
            effects.iter().for_each(|effect| drop(stores[1].merge(slot(), effect, now)));
            effects.extend(run(&mut stores[0], &mut now, &[emptying, anew, later]));
            // The other one hears of nothing but the last addition, or of none.
            if heard {
                stores[1].merge(slot(), &effects[4], now).expect("is merged");
            }
            now += 1_000;
            if swept {
                stores[1].sweep_expired(now, usize::MAX);
            }
            // Whoever adds without having read deletes what is over of what it knows, and nothing
            // else.
            effects.extend(run(&mut stores[1], &mut now, &[&later.replace("later", "own")]));
            for store in &mut stores {
                for effect in &effects {
                    store.merge(slot(), effect, now).expect("is merged");
                }
                store.sweep_expired(now + 1_000, usize::MAX);
                let name = if later.starts_with('S') { "SCARD" } else { "HLEN" };
                let name = if later.starts_with('Z') { "ZCARD" } else { name };
                let (reply, _) = execute(store, &[name.to_owned(), "{k}a".to_owned()], now);
                assert_eq!(reply, b":3\r\n", "{emptying}, {later}, {swept}, {heard}");
            }
            assert_eq!(stores[0].slot_digest(slot()), stores[1].slot_digest(slot()));
        }
    }
}

#[test]
fn what_others_let_live_longer_comes_back_to_who_had_not_heard_of_it() {
    for beginning in ["SADD {k}a m", "HSET {k}a f v", "INCR {k}a", "SET {k}a v", "ZADD {k}a 1 m"] {
        for longer in ["PERSIST {k}a", "PEXPIRE {k}a 100000"] {
            let mut now = MOMENT;
            let mut stores = [store(0), store(1)];
            let effects = run(&mut stores[0], &mut now, &[beginning, "PEXPIRE {k}a 100"]);
            effects.iter().for_each(|effect| drop(stores[1].merge(slot(), effect, now)));
            run(&mut stores[0], &mut now, &[longer]);
            now += 1_000;
            stores[1].sweep_expired(now, usize::MAX);
            assert!(stores[1].is_empty());
            // An anti-entropy round brings them level, whoever tells first.
            let [ours, theirs] = &mut stores;
            for _ in 0..2 {
                let (mut one, mut other) = (Vec::new(), Vec::new());
                theirs.export(slot(), b"{k}a", &mut one);
                ours.merge(slot(), &one, now).expect("is merged");
                ours.export(slot(), b"{k}a", &mut other);
                theirs.merge(slot(), &other, now).expect("is merged");
            }
            for store in &mut stores {
                store.sweep_expired(now, usize::MAX);
                assert_eq!(store.len(), 1, "{beginning}, {longer}");
            }
            assert_eq!(visible(&mut stores[0], now), visible(&mut stores[1], now));
            assert_eq!(stores[0].slot_digest(slot()), stores[1].slot_digest(slot()));
        }
    }
}

#[test]
fn what_was_written_within_the_time_to_live_ends_with_it_on_every_replica() {
    for (beginning, within) in [
        ("SADD {k}a m", "SADD {k}a n"),
        ("ZADD {k}a 1 m", "ZINCRBY {k}a 2 m"),
        ("HSET {k}a f v", "HINCRBY {k}a n 2"),
        ("SET {k}a 1", "INCR {k}a"),
        ("INCR {k}a", "APPEND {k}a 1"),
    ] {
        let mut now = MOMENT;
        let mut stores = [store(0), store(1), store(2)];
        let [one, two, three] = &mut stores;
        let effects = run(one, &mut now, &[beginning, "PEXPIRE {k}a 100"]);
        effects.iter().for_each(|effect| drop(two.merge(slot(), effect, now)));
        let added = run(two, &mut now, &[within]);
        now += 1_000;
        one.sweep_expired(now, usize::MAX);
        // What makes the key anew tells the one that has slept what is over.
        let anew = run(two, &mut now, &["SADD {k}a anew"]);
        for effect in added.iter().chain(&effects).chain(&anew) {
            three.merge(slot(), effect, now).expect("is merged");
            one.merge(slot(), effect, now).expect("is merged");
        }
        for store in &mut stores {
            store.sweep_expired(now, usize::MAX);
            let (reply, _) = execute(store, &["SMEMBERS".to_owned(), "{k}a".to_owned()], now);
            assert_eq!(reply, b"*1\r\n$4\r\nanew\r\n", "{beginning}, {within}");
        }
        assert_eq!(stores[0].slot_digest(slot()), stores[2].slot_digest(slot()));
    }
}

#[test]
fn a_state_from_elsewhere_begins_an_object_of_its_own() {
    let mut now = MOMENT;
    let [mut here, mut other, mut elsewhere] = [store(0), store(1), store(2)];
    let began = run(&mut here, &mut now, &["SADD {k}a m"]);
    other.merge(slot(), &began[0], now).expect("is merged");
    run(&mut here, &mut now, &["SREM {k}a m"]);
    // Another replica has not heard of the end.
    let expiry = run(&mut other, &mut now, &["PEXPIRE {k}a 100"]);
    run(&mut elsewhere, &mut now, &["SADD {k}a restored"]);
    let mut state = Vec::new();
    elsewhere.export(slot(), b"{k}a", &mut state);
    let number = slot().number().to_string();
    let number = number.as_bytes();
    let words: [&[u8]; 4] = [b"quorate.mergeslot", number, number, &state];
    let (mut reply, mut effect) = (Vec::new(), Vec::new());
    let call = Call::piece(slot(), Command::from_args(&words));
    let request = Request { call: &call, wall_ms: now, resp3: false };
    here.execute(request, &mut reply, &mut effect);
    assert_eq!(reply, b":0\r\n");
    here.merge(slot(), &expiry[0], now).expect("is merged");
    now += 1_000;
    other.merge(slot(), &effect, now).expect("is merged");
    for store in [&mut here, &mut other] {
        store.sweep_expired(now, usize::MAX);
        let (reply, _) = execute(store, &["SMEMBERS".to_owned(), "{k}a".to_owned()], now);
        assert!(reply.ends_with(b"$8\r\nrestored\r\n"), "{}", String::from_utf8_lossy(&reply));
    }
}

#[test]
fn what_ends_and_begins_leaves_nothing_behind_on_a_node_alone() {
    let mut now = MOMENT;
    let mut store = store(0);
    store.adopt(store.origin(), false);
    run(&mut store, &mut now, &["SADD {k}a m", "PEXPIRE {k}a 100", "SPOP {k}a"]);
    assert_eq!((store.tombstone_keys(), store.len()), (0, 0));
}

/// What is added within a time to live, and what the key holds once it was made anew.
const WITHIN: [(&str, &str, &str); 3] = [
    ("HSET {k}a f v", "HSET {k}a within v", "HSET {k}a anew v"),
    ("SADD {k}a m", "SADD {k}a within", "SADD {k}a anew"),
    ("ZADD {k}a 1 m", "ZADD {k}a 2 within", "ZADD {k}a 3 anew"),
];

#[test]
fn what_is_over_does_not_come_back_out_of_the_log_of_a_node_or_from_one_that_was_away() {
    for (beginning, within, anew) in WITHIN {
        for then in [&["PEXPIRE {k}a 100000"][..], &["PERSIST {k}a"], &[]] {
            for keeps_removed in [false, true] {
                let mut now = MOMENT;
                let (mut live, mut away) = (store(0), store(1));
                live.adopt(live.origin(), keeps_removed);
                let before = [beginning, "PEXPIRE {k}a 100", within];
                let mut effects = run(&mut live, &mut now, &before);
                effects.iter().for_each(|effect| drop(away.merge(slot(), effect, now)));
                now += 1_000;
                live.sweep_expired(now, usize::MAX);
                let later = run(&mut live, &mut now, &[&[anew], then].concat());
                // It has not come to sweeping when it hears of the rest.
                for effect in &later {
                    away.end_before(slot(), effect, now);
                    away.merge(slot(), effect, now).expect("is merged");
                }
                effects.extend(later);
                let mut recovered = store(0);
                for effect in &effects {
                    recovered.recover(slot(), effect).expect("was written by a node");
                }
                for other in [&mut away, &mut recovered] {
                    other.sweep_expired(now, usize::MAX);
                    let case = format!("{anew}, {then:?}, {keeps_removed}");
                    assert_eq!(visible(&mut live, now), visible(other, now), "{case}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_log_of_a_node_gives_what_the_node_had(
        commands in prop::collection::vec((command(), 0..60_u64, any::<bool>()), 1..60),
        keeps_removed in any::<bool>(),
    ) {
        let mut live = store(0);
        live.adopt(live.origin(), keeps_removed);
        let mut recovered = store(0);
        let mut now = MOMENT;
        for (words, step, sweeps) in commands {
            now += step;
            if sweeps {
                live.sweep_expired(now, usize::MAX);
            }
            let (_, effect) = execute(&mut live, &words, now);
            recovered.recover(slot(), &effect).expect("was written by a node");
        }
        live.sweep_expired(now, usize::MAX);
        recovered.sweep_expired(now, usize::MAX);
        prop_assert_eq!(visible(&mut live, now), visible(&mut recovered, now));
    }

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

/// What removes something, and what finds it removed.
const REMOVALS: [(&str, &str); 7] = [
    ("SET {k}a v", "DEL {k}a"),
    ("SADD {k}a m", "DEL {k}a"),
    ("SADD {k}a m", "SREM {k}a m"),
    ("SADD {k}a m other", "SREM {k}a m"),
    ("HSET {k}a f v", "HDEL {k}a f"),
    ("HSET {k}a f v g v", "HDEL {k}a f"),
    ("ZADD {k}a 1 m 2 other", "ZREM {k}a m"),
];

#[test]
fn a_removal_of_what_is_removed_says_so_to_who_has_not_heard() {
    for (addition, removal) in REMOVALS {
        let mut now = MOMENT;
        let mut stores = [store(0), store(1)];
        let effects = run(&mut stores[0], &mut now, &[addition, removal, removal]);
        assert!(!effects[2].is_empty(), "{removal}");
        assert_eq!(run(&mut stores[0], &mut now, &[removal]), effects[2..], "{removal}");
        // The other replica hears of the last one only, and then of what was added.
        for effect in [&effects[2], &effects[0]] {
            stores[1].merge(slot(), effect, now).expect("is merged");
        }
        assert_eq!(visible(&mut stores[0], now), visible(&mut stores[1], now), "{removal}");
    }
}

#[test]
fn a_removal_of_what_was_never_there_writes_nothing() {
    let mut now = MOMENT;
    let mut store = store(0);
    for removal in ["DEL {k}a", "SREM {k}a m", "HDEL {k}a f", "ZREM {k}a m"] {
        assert!(run(&mut store, &mut now, &[removal])[0].is_empty(), "{removal}");
    }
    run(&mut store, &mut now, &["SADD {k}a m"]);
    assert!(run(&mut store, &mut now, &["SREM {k}a other"])[0].is_empty());
}
