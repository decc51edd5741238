//! What the store promises of documents: how writes that did not see each other come together, that a
//! change of one path travels as that path, and that large documents answer like small ones.

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

/// Executes words that are separated by spaces; values hold none.
fn execute(store: &mut Store, text: &str, wall_ms: u64) -> (String, Vec<u8>) {
    execute_as(store, text, wall_ms, false)
}

fn execute_as(store: &mut Store, text: &str, wall_ms: u64, resp3: bool) -> (String, Vec<u8>) {
    let call = Call::piece(slot(), Command::from_args(text.split(' ')));
    let (mut reply, mut effect) = (Vec::new(), Vec::new());
    let request = Request { call: &call, wall_ms, resp3 };
    let whole = store.execute(request, &mut reply, &mut effect);
    reply.extend(whole.into_iter().flatten());
    (String::from_utf8(reply).expect("text"), effect)
}

fn write(store: &mut Store, text: &str, wall_ms: u64) -> Vec<u8> {
    let (reply, effect) = execute(store, text, wall_ms);
    assert!(!reply.starts_with('-'), "{text}: {reply}");
    effect
}

fn shown(store: &mut Store) -> String {
    let reply = execute(store, "JSON.GET k", 2_000_000).0;
    reply.split("\r\n").nth(1).unwrap_or_default().to_owned()
}

fn merge(store: &mut Store, effect: &[u8]) {
    assert_eq!(store.merge(slot(), effect, 2_000_000), Ok(Merged::Whole));
}

/// What two replicas show after one has executed the first writes and the other one, at the same time
/// but a little later, the second ones; both begin with a document.
fn concurrently(document: &str, first: &[&str], second: &[&str]) -> String {
    let (mut one, mut other) = (store(1), store(2));
    let start = write(&mut one, &format!("JSON.SET k $ {document}"), 1_000);
    merge(&mut other, &start);
    let from_one: Vec<_> = first.iter().map(|text| write(&mut one, text, 2_000)).collect();
    let from_other: Vec<_> = second.iter().map(|text| write(&mut other, text, 3_000)).collect();
    from_one.iter().rev().for_each(|effect| merge(&mut other, effect));
    from_other.iter().for_each(|effect| merge(&mut one, effect));
    assert_eq!(one.slot_digest(slot()), other.slot_digest(slot()));
    assert_eq!(one.scrub_slot(slot()).mismatches(), 0);
    let document = shown(&mut one);
    assert_eq!(shown(&mut other), document);
    document
}

#[test]
fn writes_that_did_not_see_each_other_come_together() {
    for (document, first, second, expected) in [
        ("{\"a\":1}", "JSON.SET k $.b 2", "JSON.SET k $.c 3", "{\"a\":1,\"b\":2,\"c\":3}"),
        ("{\"a\":1}", "JSON.SET k $.a 2", "JSON.SET k $.a 3", "{\"a\":3}"),
        ("{\"a\":1}", "JSON.NUMINCRBY k $.a 2", "JSON.NUMINCRBY k $.a 0.5", "{\"a\":3.5}"),
        ("{\"a\":1}", "JSON.NUMINCRBY k $.a 2", "JSON.NUMINCRBY k $.a 3", "{\"a\":6}"),
        ("{\"a\":1}", "JSON.DEL k $.a", "JSON.NUMINCRBY k $.a 2", "{\"a\":2}"),
        ("{\"a\":{\"b\":1}}", "JSON.DEL k $.a", "JSON.SET k $.a.c 2", "{\"a\":{\"c\":2}}"),
        ("{\"a\":{\"b\":1}}", "JSON.DEL k", "JSON.SET k $.a.c 2", "{\"a\":{\"c\":2}}"),
        ("{\"a\":{\"b\":1}}", "JSON.SET k $.a 7", "JSON.SET k $.a.c 2", "{\"a\":{\"c\":2}}"),
        ("{\"a\":{\"b\":1}}", "JSON.SET k $.a.c 2", "JSON.SET k $.a 7", "{\"a\":7}"),
        ("{\"a\":{\"b\":1}}", "JSON.SET k $.a []", "JSON.SET k $.a.b 2", "{\"a\":{\"b\":2}}"),
        ("[1,2]", "JSON.ARRAPPEND k $ 3 4", "JSON.ARRAPPEND k $ 5 6", "[1,2,3,4,5,6]"),
        ("[1,2]", "JSON.ARRINSERT k $ 1 3 4", "JSON.ARRINSERT k $ 1 5 6", "[1,3,4,5,6,2]"),
        ("[1,2]", "JSON.ARRPOP k $ 0", "JSON.ARRPOP k $ 0", "[2]"),
        ("[1,2]", "JSON.ARRPOP k $ 0", "JSON.SET k $[0] 9", "[9,2]"),
        ("[1,2]", "JSON.ARRTRIM k $ 1 0", "JSON.ARRAPPEND k $ 3", "[3]"),
        ("[1,2]", "JSON.SET k $ [3,4]", "JSON.SET k $ [5,6]", "[5,6]"),
        (
            "[1,2]",
            "JSON.SET k $ {\"a\":[1]}",
            "JSON.SET k $ {\"a\":[2],\"b\":3}",
            "{\"a\":[2],\"b\":3}",
        ),
        ("[1,2]", "JSON.SET k $ {\"a\":1}", "JSON.SET k $ 5", "5"),
    ] {
        assert_eq!(concurrently(document, &[first], &[second]), expected, "{first} | {second}");
    }
}

#[test]
fn two_that_create_a_document_create_one() {
    let (mut one, mut other) = (store(1), store(2));
    let first = write(&mut one, "JSON.SET k $ {\"a\":[1,2],\"b\":1}", 1_000);
    let second = write(&mut other, "JSON.SET k $ {\"a\":[3,4],\"c\":2}", 2_000);
    merge(&mut one, &second);
    merge(&mut other, &first);
    for store in [&mut one, &mut other] {
        assert_eq!(shown(store), "{\"b\":1,\"a\":[3,4],\"c\":2}");
    }
}

#[test]
fn members_stand_in_the_order_in_which_they_came() {
    let mut store = store(1);
    write(&mut store, "JSON.SET k $ {\"b\":1,\"a\":2,\"c\":{\"z\":1,\"y\":2}}", 1_000);
    write(&mut store, "JSON.SET k $.b 5", 2_000);
    write(&mut store, "JSON.NUMINCRBY k $.a 1", 2_000);
    write(&mut store, "JSON.SET k $.c {\"y\":3,\"x\":4,\"z\":5}", 3_000);
    assert_eq!(shown(&mut store), "{\"b\":5,\"a\":3,\"c\":{\"y\":3,\"x\":4,\"z\":5}}");
    write(&mut store, "JSON.DEL k $.b", 4_000);
    write(&mut store, "JSON.SET k $.b 1", 4_000);
    write(&mut store, "COPY k {k}2", 5_000);
    write(&mut store, "RENAME {k}2 k", 5_000);
    assert_eq!(shown(&mut store), "{\"a\":3,\"c\":{\"y\":3,\"x\":4,\"z\":5},\"b\":1}");
}

/// What RedisJSON 2.8 leaves of arrays.
#[test]
fn trimming_keeps_the_first_item_where_it_stops_before_the_array() {
    let mut store = store(1);
    for (document, start, stop, left) in [
        ("[0,1,2]", 0, -5, "[0]"),
        ("[0,1,2]", -5, -5, "[0]"),
        ("[0,1,2]", -5, -4, "[0]"),
        ("[0,1,2]", -4, -4, "[0]"),
        ("[0,1,2]", 1, -5, "[]"),
        ("[0,1,2]", 0, -3, "[0]"),
        ("[0,1,2]", -2, -1, "[1,2]"),
        ("[0,1,2]", 1, i64::MAX, "[1,2]"),
        ("[0,1,2]", 3, 9, "[]"),
        ("[[]]", -1, -4, "[[]]"),
        ("[0]", -1, -5, "[0]"),
        ("[]", 0, -1, "[]"),
    ] {
        write(&mut store, &format!("JSON.SET k $ {document}"), 1_000);
        write(&mut store, &format!("JSON.ARRTRIM k $ {start} {stop}"), 2_000);
        assert_eq!(shown(&mut store), left, "{document} {start} {stop}");
    }
}

/// Positions that RedisJSON 2.8 finds.
#[test]
fn a_search_that_starts_behind_the_array_looks_at_the_last_item() {
    let mut store = store(1);
    for (document, search, position) in [
        ("[0]", "0 1", 0),
        ("[0]", "0 3", 0),
        ("[0]", "0 2 1", 0),
        ("[0]", "0 2 -1", -1),
        ("[0,1,0]", "0 3", 2),
        ("[0,1,0]", "0 9 3", 2),
        ("[0,1,0]", "0 9 2", -1),
        ("[0,1,0]", "1 9", -1),
        ("[0,1,0]", "0 -9 1", 0),
        ("[0,1,0]", "0 1 -1", -1),
        ("[]", "0 1", -1),
    ] {
        write(&mut store, &format!("JSON.SET k $ {document}"), 1_000);
        let reply = execute(&mut store, &format!("JSON.ARRINDEX k $ {search}"), 2_000).0;
        assert_eq!(reply, format!("*1\r\n:{position}\r\n"), "{document} {search}");
    }
}

#[test]
fn the_newer_protocol_has_all_results_of_a_legacy_path() {
    let mut store = store(1);
    for (text, older, newer) in [
        ("JSON.NUMINCRBY k * 2", "$1\r\n7\r\n", "*3\r\n_\r\n:7\r\n_\r\n"),
        ("JSON.NUMMULTBY k * 2", "$2\r\n10\r\n", "*3\r\n_\r\n:10\r\n_\r\n"),
        (
            "JSON.NUMINCRBY k .a 2",
            "-ERR Path '$.a' does not exist or does not contains a number\r\n",
            "*1\r\n_\r\n",
        ),
    ] {
        for (resp3, expected) in [(false, older), (true, newer)] {
            write(&mut store, "JSON.SET k $ {\"a\":null,\"b\":5,\"c\":[7]}", 1_000);
            assert_eq!(execute_as(&mut store, text, 2_000, resp3).0, expected, "{text}");
        }
    }
}

fn large_document() -> String {
    let members: Vec<String> = (0..2_000)
        .map(|number| {
            format!("\"m{number}\":{{\"n\":{number},\"s\":\"{number:0>500}\",\"l\":[{number},2]}}")
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn a_change_of_one_path_travels_as_that_path() {
    let mut store = store(1);
    write(&mut store, &format!("JSON.SET k $ {}", large_document()), 1_000);
    for text in [
        "JSON.SET k $.m77.n 5",
        "JSON.SET k $.m77.new true",
        "JSON.NUMINCRBY k $.m77.n 1",
        "JSON.ARRAPPEND k $.m77.l 3",
        "JSON.ARRINSERT k $.m77.l 0 3",
        "JSON.ARRPOP k $.m77.l",
        "JSON.MERGE k $.m77 {\"n\":3}",
        "JSON.DEL k $.m77.n",
    ] {
        let effect = write(&mut store, text, 2_000);
        assert!((1..200).contains(&effect.len()), "{text}: {}", effect.len());
    }
}

#[test]
fn an_array_that_is_set_again_and_again_leaves_nothing_behind() {
    let mut store = store(1);
    let mut lengths = Vec::new();
    for round in 0..20 {
        write(
            &mut store,
            &format!("JSON.SET k $ {{\"a\":[{round},2,3],\"b\":{{\"c\":[]}}}}"),
            1_000 + round,
        );
        let mut state = Vec::new();
        store.export(slot(), KEY.as_bytes(), &mut state);
        lengths.push(state.len());
    }
    assert!(lengths.iter().all(|length| length.abs_diff(lengths[1]) < 20), "{lengths:?}");
}

/// A document whose items have from one element to sixty, most of them few.
fn document_of_items() -> String {
    let items: Vec<String> = (0..120)
        .map(|number: usize| {
            let tags: Vec<String> = (0..number % 60).map(|tag| tag.to_string()).collect();
            match number % 3 {
                0 => format!(
                    "{{\"id\":{number},\"s\":\"{number:0>90}\",\"tags\":[{}]}}",
                    tags.join(",")
                ),
                1 => number.to_string(),
                _ => format!("[{}]", tags.join(",")),
            }
        })
        .collect();
    format!("{{\"n\":0,\"items\":[{}]}}", items.join(","))
}

/// An index is looked up, a slice goes over the whole document.
#[test]
fn an_index_leads_where_a_slice_leads() {
    let (mut by_index, mut by_slice) = (store(1), store(1));
    for store in [&mut by_index, &mut by_slice] {
        write(store, &format!("JSON.SET k $ {}", document_of_items()), 1_000);
    }
    let mut length = 120;
    for (wall_ms, (command, arguments, change)) in (2_000..).zip([
        ("JSON.GET", "", 0),
        ("JSON.NUMINCRBY", " 5", 0),
        ("JSON.ARRAPPEND", " 7 8", 0),
        ("JSON.ARRINSERT", " 0 {\"a\":[1,{}]}", 0),
        ("JSON.ARRLEN", "", 0),
        ("JSON.CLEAR", "", 0),
        ("JSON.DEL", "", -1),
        ("JSON.TYPE", "", 0),
        ("JSON.SET", " {\"id\":1,\"tags\":[[]]}", 0),
        ("JSON.GET", "", 0),
    ]) {
        for place in [0_i64, 2, 57, 59, 117, -1, -60, -length, 120, 10_000] {
            for rest in ["", ".id", ".tags[-1]", ".nosuch.x", "[-70]", ".*"] {
                // One before the first is the first.
                let start = if place < 0 { (length + place).max(0) } else { place };
                let texts = [format!("[{place}]"), format!("[{start}:{}]", start + 1)]
                    .map(|step| format!("{command} k $.items{step}{rest}{arguments}"));
                if command == "JSON.SET" && !(rest.is_empty() && start < length) {
                    // Where nothing is a slice is refused.
                    continue;
                }
                let found = execute(&mut by_index, &texts[0], wall_ms).0;
                let expected = execute(&mut by_slice, &texts[1], wall_ms).0;
                assert_eq!(found, expected, "{}", texts[0]);
                if rest.is_empty() && start < length {
                    length += change;
                }
            }
        }
        assert_eq!(shown(&mut by_index), shown(&mut by_slice), "{command}");
    }
    // What is not there is put where its parent is.
    for (path, reply) in [
        ("$.items[-1].new", "+OK\r\n"),
        ("$.items[2].new", "$-1\r\n"),
        ("$.items[9999].new", "$-1\r\n"),
        ("$.items[9999]", "-ERR array index out of range"),
        ("$.nosuch[0]", "-ERR array index out of range"),
    ] {
        write(&mut by_index, "JSON.SET k $.items[-1] {}", 3_000);
        write(&mut by_index, "JSON.SET k $.items[2] 5", 3_000);
        let found = execute(&mut by_index, &format!("JSON.SET k {path} 1"), 3_000).0;
        assert!(found.starts_with(reply), "{path}: {found}");
    }
    assert_eq!(execute(&mut by_index, "JSON.GET k $.items[-1]", 3_000).0, "$4\r\n[{}]\r\n");
}

/// Paths whose leading keys are looked up, beside the same with a filter, which are not.
#[test]
fn a_large_document_answers_alike_whatever_of_it_is_looked_at() {
    let mut store = store(1);
    write(&mut store, &format!("JSON.SET k $ {}", large_document()), 1_000);
    write(&mut store, "JSON.SET k $.empty {}", 1_000);
    for path in [
        "$.m5",
        "$.m5.l",
        "$.m5.l[1]",
        "$.m5.n",
        "$.m5.n.x",
        "$.m5..*",
        "$.nosuch",
        "$.m50",
        "$.empty",
        "$.empty.x",
    ] {
        let with_filter = format!("{}[?(1==1)]", path);
        let direct = execute(&mut store, &format!("JSON.GET k {path}"), 2_000).0;
        let whole = execute(&mut store, &format!("JSON.GET k {path} {path}[?(1==1)]"), 2_000).0;
        let text = direct.split("\r\n").nth(1).expect("a text");
        assert!(whole.contains(&format!("\"{path}\":{text},")), "{with_filter}: {whole}");
    }
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    let mut store = store(1);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    write(&mut store, &format!("JSON.SET k $ {}", nested(127)), 1_000);
    let (reply, effect) = execute(&mut store, &format!("JSON.SET k $ {}", nested(128)), 1_000);
    assert!(reply.starts_with("-recursion limit exceeded") && effect.is_empty(), "{reply}");
    write(&mut store, "JSON.SET k $ {\"a\":1}", 1_000);
    write(&mut store, &format!("JSON.SET k $.a {}", nested(126)), 1_000);
    let text = shown(&mut store);
    write(&mut store, &format!("JSON.SET k $ {text}"), 1_000);
    let (reply, effect) = execute(&mut store, &format!("JSON.SET k $.a {}", nested(127)), 1_000);
    assert!(reply.starts_with("-ERR a value would lie deeper") && effect.is_empty(), "{reply}");
    let long = "x".repeat(20_000);
    let (reply, effect) = execute(&mut store, &format!("JSON.SET k $.{long} 1"), 1_000);
    assert!(reply.starts_with("-ERR the path of a value") && effect.is_empty(), "{reply}");
    write(&mut store, &format!("JSON.SET k $ {}", nested(100)), 1_000);
    let reply = execute(&mut store, &format!("JSON.GET k ${}", "..*".repeat(8)), 1_000).0;
    assert!(reply.starts_with("-ERR the path leads to too many values"), "{reply}");
}

/// Writes of two replicas that hear of each other now and then.
fn step() -> impl Strategy<Value = (bool, String)> {
    let path = prop::sample::select(
        &["$", "$.a", "$.a.b", "$.l", "$.l[0]", "$.l[1].b", "$..b", "$.*"][..],
    );
    let value = prop::sample::select(
        &[
            "1",
            "2.5",
            "\"s\"",
            "true",
            "null",
            "{}",
            "[]",
            "{\"a\":{\"b\":1}}",
            "{\"b\":2}",
            "[1,{\"b\":3},4]",
        ][..],
    );
    let shape = prop::sample::select(
        &[
            "JSON.SET k P V",
            "JSON.SET k P V",
            "JSON.SET k P V",
            "JSON.MERGE k P V",
            "JSON.DEL k P",
            "JSON.NUMINCRBY k P 3",
            "JSON.NUMINCRBY k P 0.25",
            "JSON.NUMMULTBY k P 2",
            "JSON.TOGGLE k P",
            "JSON.STRAPPEND k P \"x\"",
            "JSON.ARRAPPEND k P V V",
            "JSON.ARRINSERT k P 0 V",
            "JSON.ARRPOP k P 0",
            "JSON.ARRTRIM k P 0 1",
            "JSON.CLEAR k P",
        ][..],
    );
    (any::<bool>(), shape, path, value).prop_map(|(at_one, shape, path, value)| {
        let fill = |word: &str| match word {
            "P" => path.to_owned(),
            "V" => value.to_owned(),
            other => other.to_owned(),
        };
        (at_one, shape.split(' ').map(fill).collect::<Vec<_>>().join(" "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn replicas_show_the_same_in_whatever_order_they_hear(
        steps in prop::collection::vec((step(), 0..5_u8), 1..40),
        order in any::<prop::sample::Index>(),
    ) {
        let mut stores = [store(1), store(2)];
        let mut effects: Vec<Vec<u8>> = Vec::new();
        let mut heard = [0, 0];
        for (clock, ((at_one, text), exchange)) in steps.iter().enumerate() {
            let at = usize::from(!*at_one);
            if *exchange == 0 {
                effects[heard[at]..].iter().for_each(|effect| merge(&mut stores[at], effect));
                heard[at] = effects.len();
            }
            let (_, effect) = execute(&mut stores[at], text, 1_000 + clock as u64);
            effects.push(effect);
        }
        let [mut one, mut other] = stores;
        let mut third = store(3);
        effects.iter().for_each(|effect| merge(&mut one, effect));
        effects.rotate_left(order.index(steps.len()));
        effects.iter().rev().for_each(|effect| merge(&mut other, effect));
        let mut state = Vec::new();
        one.export(slot(), KEY.as_bytes(), &mut state);
        merge(&mut third, &state);
        for store in [&mut other, &mut third] {
            prop_assert_eq!(store.slot_digest(slot()), one.slot_digest(slot()));
            prop_assert_eq!(shown(store), shown(&mut one));
            prop_assert_eq!(store.scrub_slot(slot()).mismatches(), 0);
        }
    }

    #[test]
    fn a_document_is_what_was_set(value in json(4)) {
        let mut store = store(1);
        write(&mut store, "JSON.SET k $ {\"a\":[1,2,{\"b\":[]}],\"c\":{}}", 1_000);
        write(&mut store, &format!("JSON.SET k $ {value}"), 2_000);
        prop_assert_eq!(shown(&mut store), value);
    }
}

/// JSON as RedisJSON prints it.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        prop::sample::select(
            &["0.5", "1e300", "-2.25", "true", "false", "null", "\"a\\n\"", "18446744073709551615"]
                [..]
        )
        .prop_map(str::to_owned),
        "[a-z]{0,6}".prop_map(|text| format!("\"{text}\"")),
    ];
    scalar.prop_recursive(depth, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..8).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().rev().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Nested arrays of eight, with one value at each end.
fn eights(depth: u32) -> String {
    (0..depth).fold("1".into(), |inner: String, _| format!("[{}]", [inner.as_str(); 8].join(",")))
}

#[test]
fn what_filters_look_at_is_bounded_as_well() {
    let mut store = store(1);
    write(&mut store, &format!("JSON.SET k $ {}", eights(4)), 1_000);
    for path in ["$..[?(@..*==$..*)]", "$..*[?($..*==$..*)]", "$..[?($..*==1)]"] {
        let (reply, _) = execute(&mut store, &format!("JSON.GET k {path}"), 1_000);
        assert!(reply.starts_with("-ERR the path leads to too many values"), "{path}: {reply:.80}");
    }
    // What looks at the whole document once for each of a few values is no harm.
    let (reply, _) = execute(&mut store, "JSON.GET k $[?(@..*!=$..*)][0][0][0]", 1_000);
    assert!(reply.ends_with("\r\n[1,1,1,1,1,1,1,1]\r\n"), "{reply}");
}

#[test]
fn a_reply_is_not_made_when_it_would_be_too_long() {
    let mut store = store(1);
    let items = vec!["1"; 100_000].join(",");
    write(&mut store, &format!("JSON.SET k $ [{items}]"), 1_000);
    let indent = "z".repeat(10_000);
    let (reply, _) = execute(&mut store, &format!("JSON.GET k INDENT {indent} $"), 1_000);
    assert!(
        reply.starts_with("-ERR the reply would be longer than 536870912 bytes"),
        "{reply:.80}"
    );
    let (reply, _) = execute(&mut store, "JSON.GET k INDENT z $[0]", 1_000);
    assert!(reply.ends_with("\r\n[z1]\r\n"), "{reply}");
}
