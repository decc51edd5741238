//! What the store promises of sorted sets: the order of scores is that of a sort, whatever was
//! merged in which order, and scores converge as clients expect.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_proto::{Origin, Slot, Start, command::Call, resp::Command};
use quorate_store::{Merged, Request, Store, StoreOptions};

const KEY: &str = "k";

fn slot() -> Slot {
    Slot::of_key(KEY.as_bytes())
}

fn store(node: u16) -> Store {
    Store::new(StoreOptions {
        origin: Origin::new(node, Start::from_random(1)),
        digest_secret: [9; 16],
        seed: u64::from(node) + 1,
        keep_removed: true,
    })
}

fn execute(store: &mut Store, words: &[String], wall_ms: u64) -> (Vec<u8>, Vec<u8>) {
    let call = Call::piece(slot(), Command::from_args(words));
    let (mut reply, mut effect) = (Vec::new(), Vec::new());
    let request = Request { call: &call, wall_ms, resp3: false };
    store.execute(request, &mut reply, &mut effect);
    (reply, effect)
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The bulk strings of a flat reply.
fn flat(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    assert!(lines.next().is_some_and(|head| head.starts_with('*')), "{text}");
    lines.filter(|line| !line.starts_with('$')).map(str::to_owned).collect()
}

fn ask(store: &mut Store, text: &str) -> Vec<String> {
    flat(&execute(store, &words(text), 2_000_000).0)
}

fn answer(store: &mut Store, text: &str) -> String {
    String::from_utf8_lossy(&execute(store, &words(text), 2_000_000).0).into_owned()
}

fn merge(store: &mut Store, effect: &[u8]) {
    assert_eq!(store.merge(slot(), effect, 2_000_000), Ok(Merged::Whole));
}

/// Writes on one sorted set of up to 300 members with few scores, so that many are equal.
fn write() -> impl Strategy<Value = String> {
    let member = 0..300_u32;
    prop_oneof![
        6 => (member.clone(), -5..5_i32).prop_map(|(m, score)| format!("ZADD {} {score} m{m}", KEY)),
        3 => (member.clone(), -2..3_i32).prop_map(|(m, by)| format!("ZINCRBY {} {by}.5 m{m}", KEY)),
        3 => member.clone().prop_map(|m| format!("ZREM {} m{m}", KEY)),
        1 => Just(format!("ZPOPMAX {} 3", KEY)),
        1 => (member, 0..40_u32).prop_map(|(m, count)| {
            let pairs: Vec<String> = (m..m + count.max(1)).map(|m| format!("{} m{m}", m % 7)).collect();
            format!("ZADD {} {}", KEY, pairs.join(" "))
        }),
    ]
}

/// Holds every way to ask for the order against a sort of what the set holds.
fn check_order(store: &mut Store) {
    let key = KEY;
    let scanned = answer(store, &format!("ZSCAN {key} 0 COUNT 100000"));
    let inner = scanned.splitn(4, "\r\n").nth(3).unwrap_or_default();
    let members = flat(inner.as_bytes());
    let mut sorted: Vec<(f64, String)> = members
        .chunks(2)
        .map(|pair| (pair[1].parse().expect("a score"), pair[0].clone()))
        .collect();
    sorted.sort_by(|one, other| one.partial_cmp(other).expect("numbers"));
    let names: Vec<String> = sorted.iter().map(|(_, name)| name.clone()).collect();
    assert_eq!(ask(store, &format!("ZRANGE {key} 0 -1")), names);
    assert_eq!(answer(store, &format!("ZCARD {key}")), format!(":{}\r\n", names.len()));
    for (rank, name) in names.iter().enumerate().step_by(7) {
        assert_eq!(answer(store, &format!("ZRANK {key} {name}")), format!(":{rank}\r\n"));
        let reverse = names.len() - 1 - rank;
        assert_eq!(answer(store, &format!("ZREVRANK {key} {name}")), format!(":{reverse}\r\n"));
    }
    for (min, max) in [(-2.0, 3.0), (0.5, 0.5), (4.0, 1.0)] {
        let inside = |score: f64| min <= score && score < max;
        let expected: Vec<&String> =
            sorted.iter().filter(|(score, _)| inside(*score)).map(|(_, name)| name).collect();
        let found = ask(store, &format!("ZRANGEBYSCORE {key} {min} ({max}"));
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        let count = answer(store, &format!("ZCOUNT {key} {min} ({max}"));
        assert_eq!(count, format!(":{}\r\n", expected.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn the_order_is_that_of_a_sort(
        program in prop::collection::vec((0..2_usize, write(), any::<bool>()), 1..120),
    ) {
        let mut stores = [store(0), store(1)];
        let mut missed: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
        for (number, (node, text, told)) in program.into_iter().enumerate() {
            let (_, effect) = execute(&mut stores[node], &words(&text), 1_000_000 + number as u64);
            match told {
                true => merge(&mut stores[1 - node], &effect),
                false => missed[1 - node].push(effect),
            }
        }
        for (store, effects) in stores.iter_mut().zip(missed) {
            check_order(store);
            effects.iter().rev().for_each(|effect| merge(store, effect));
            check_order(store);
        }
        let [one, other] = &mut stores;
        prop_assert_eq!(one.slot_version(slot()), other.slot_version(slot()));
        let all = format!("ZRANGE {} 0 -1 WITHSCORES", KEY);
        prop_assert_eq!(ask(one, &all), ask(other, &all));
    }

    #[test]
    fn one_node_adds_as_redis_does(amounts in prop::collection::vec(-1e3..1e3_f64, 1..40), base in -1e3..1e3_f64) {
        let mut store = store(0);
        execute(&mut store, &words(&format!("ZADD {} {base} m", KEY)), 1_000_000);
        let mut expected = base;
        for amount in amounts {
            expected += amount;
            let reply = answer(&mut store, &format!("ZINCRBY {} {amount} m", KEY));
            let shown: f64 = reply.split("\r\n").nth(1).and_then(|text| text.parse().ok()).expect("a score");
            prop_assert_eq!(shown.to_bits(), expected.to_bits());
        }
    }
}

fn scores(store: &mut Store) -> BTreeMap<String, String> {
    let pairs = ask(store, &format!("ZRANGE {} 0 -1 WITHSCORES", KEY));
    pairs.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// Two replicas that both hold m with score 10, run one command each without the other's, and
/// merge.
fn conflict(at_first: &str, at_second: &str) -> BTreeMap<String, String> {
    let (mut one, mut other) = (store(0), store(1));
    let key = KEY;
    let base = execute(&mut one, &words(&format!("ZADD {key} 10 m")), 1_000_000).1;
    merge(&mut other, &base);
    let first = execute(&mut one, &words(&at_first.replace('K', key)), 1_000_001).1;
    let second = execute(&mut other, &words(&at_second.replace('K', key)), 1_000_002).1;
    merge(&mut one, &second);
    merge(&mut other, &first);
    assert_eq!(one.slot_version(slot()), other.slot_version(slot()));
    let seen = scores(&mut one);
    assert_eq!(seen, scores(&mut other));
    seen
}

#[test]
fn conflicts_end_as_documented() {
    let only = |score: &str| BTreeMap::from([("m".to_owned(), score.to_owned())]);
    assert_eq!(conflict("ZADD K 1 m", "ZADD K 2 m"), only("2"), "the newest score");
    assert_eq!(conflict("ZINCRBY K 5 m", "ZINCRBY K 0.25 m"), only("15.25"), "increments add up");
    assert_eq!(conflict("ZINCRBY K 5 m", "ZADD K 1 m"), only("1"), "a new score is a new base");
    assert_eq!(conflict("ZADD K 1 m", "ZINCRBY K 5 m"), only("6"), "and is added to");
    assert_eq!(conflict("ZREM K m", "ZADD K 3 m"), only("3"), "an unseen addition survives");
    assert_eq!(conflict("ZREM K m", "ZINCRBY K 5 m"), only("5"), "also one to what is removed");
    assert_eq!(conflict("DEL K", "ZADD K 3 m"), only("3"));
    assert_eq!(conflict("ZREM K m", "ZREM K m"), BTreeMap::new());
    assert_eq!(conflict("ZPOPMIN K", "ZPOPMIN K"), BTreeMap::new());
    assert_eq!(conflict("ZINCRBY K inf m", "ZINCRBY K 1 m"), only("inf"), "nothing is beyond");
}
