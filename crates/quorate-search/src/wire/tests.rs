//! What is written is read as the same; what was not written is refused, and never more than that.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::aggregate::{Distinctish, First, Partial, Quantile, Row, State, Sum};
use crate::execution::{Explanation, Hit, Hits, LeafTerms, SortedBy, Spelling, Spelt, Statistics};
use crate::expression::Value;
use crate::hybrid::{HybridPartial, HybridStatistics};
use crate::index::SortValue;
use crate::limits;

/// What is written is read as the same, and no beginning of it is.
fn round_trip<M: Message + PartialEq + Debug>(message: &M) {
    let bytes = encode(message);
    assert_eq!(decode::<M>(&bytes).as_ref(), Ok(message));
    for length in 0..bytes.len() {
        assert!(decode::<M>(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode::<M>(&longer), Err(Malformed::Excess));
}

fn terms() -> impl Strategy<Value = BTreeMap<String, u64>> {
    prop::collection::btree_map("\\PC{0,5}", any::<u64>(), 0..5)
}

fn statistics() -> impl Strategy<Value = Statistics> {
    let leaf = (terms(), any::<bool>(), any::<bool>())
        .prop_map(|(documents, open, cut)| LeafTerms { documents, open, cut });
    (any::<u64>(), any::<u64>(), prop::collection::vec(leaf, 0..4))
        .prop_map(|(documents, length, leaves)| Statistics { documents, length, leaves })
}

fn explanation() -> impl Strategy<Value = Explanation> {
    let leaf = "\\PC{0,9}".prop_map(|text| Explanation { text, children: Vec::new() });
    leaf.prop_recursive(4, 9, 3, |inner| {
        ("\\PC{0,9}", prop::collection::vec(inner, 0..3))
            .prop_map(|(text, children)| Explanation { text, children })
    })
}

fn hits() -> impl Strategy<Value = Hits> {
    let value = prop_oneof![
        Just(None),
        (-9.0..9.0).prop_map(|number| Some(SortValue::Number(number))),
        "\\PC{0,5}".prop_map(|text| Some(SortValue::Text(text.into()))),
    ];
    let sorted_by =
        (value, any::<bool>()).prop_map(|(value, descending)| SortedBy { value, descending });
    let hit = (
        prop::collection::vec(any::<u8>(), 0..9),
        -9.0..9.0,
        prop::option::of(explanation()),
        prop::option::of(0.0..9.0),
        prop::collection::vec(("\\PC{0,5}", 0.0..9.0), 0..3),
        prop::option::of(sorted_by),
    );
    let hit = hit.prop_map(|(key, score, explanation, distance, distances, sorted_by)| Hit {
        key: key.into(),
        score,
        explanation,
        distance,
        distances,
        sorted_by,
    });
    (any::<u64>(), prop::collection::vec(hit, 0..4), prop::option::of(any::<u64>()))
        .prop_map(|(total, best, nearest)| Hits { total, best, nearest })
}

proptest! {
    #[test]
    fn statistics_go_round(statistics in statistics()) {
        round_trip(&statistics);
    }

    #[test]
    fn hits_go_round(hits in hits(), words in hits()) {
        round_trip(&hits);
        round_trip(&HybridPartial { words, nearest: hits, rows: Vec::new() });
    }

    /// Whatever a peer says can be added up and put in order.
    #[test]
    fn what_peers_say_is_merged(all in prop::collection::vec((statistics(), hits()), 1..6), top in 0usize..4) {
        let mut statistics = all[0].0.clone();
        let mut merged = Hits::default();
        for (other, hits) in &all {
            statistics.add(other);
            merged.merge(hits.clone(), top);
        }
        statistics.complete();
    }

    #[test]
    fn no_bytes_make_it_panic(kind in 0u8..8, body in prop::collection::vec(any::<u8>(), 0..60)) {
        let bytes = [&[VERSION, kind], &body[..]].concat();
        let _ = decode::<Statistics>(&bytes);
        let _ = decode::<Hits>(&bytes);
        let _ = decode::<Spelling>(&bytes);
        let _ = decode::<Partial>(&bytes);
        let _ = decode::<HybridStatistics>(&bytes);
        let _ = decode::<HybridPartial>(&bytes);
    }
}

#[test]
fn golden() {
    let documents = [("a".to_string(), 1), ("bc".to_string(), 300)].into();
    let statistics = Statistics {
        documents: 300,
        length: 5,
        leaves: vec![LeafTerms { documents, open: true, cut: false }, LeafTerms::default()],
    };
    let expected = b"\x01\x01\xac\x02\x05\x02\x01\x02\x01a\x01\x02bc\xac\x02\x00\x00";
    assert_eq!(encode(&statistics), expected);
    let hit = Hit {
        key: b"k".as_slice().into(),
        score: 1.0,
        explanation: Some(Explanation { text: "e".to_string(), children: Vec::new() }),
        distance: None,
        distances: vec![("d".to_string(), 2.0)],
        sorted_by: Some(SortedBy { value: Some(SortValue::Text("s".into())), descending: true }),
    };
    let hits = Hits { total: 7, best: vec![hit], nearest: Some(3) };
    let expected = b"\x01\x02\x07\x01\x03\x01\x01k\0\0\0\0\0\0\xf0\x3f\x01\x01e\x00\x00\x01\x01d\
                     \0\0\0\0\0\0\0\x40\x01\x01\x02\x01s";
    assert_eq!(encode(&hits), expected);
}

#[test]
fn golden_spelling_and_hybrid() {
    let near = [("ac".to_string(), 2)].into();
    let words = vec![Spelt { word: "ab".to_string(), is_known: false, near }];
    let spelling = Spelling { documents: 9, distance: 1, words };
    assert_eq!(encode(&spelling), b"\x01\x03\x09\x01\x01\x02ab\x00\x01\x02ac\x02");
    round_trip(&spelling);
    let words = Statistics { documents: 1, length: 2, leaves: Vec::new() };
    let statistics = HybridStatistics { nearest: words.clone(), words };
    assert_eq!(encode(&statistics), b"\x01\x05\x01\x02\x00\x01\x02\x00");
    round_trip(&statistics);
    let words = Hits { total: 4, ..Hits::default() };
    let nearest = Hits { nearest: Some(5), ..Hits::default() };
    let rows = vec![Row::new(b"k".as_slice().into())];
    let partial = HybridPartial { words, nearest, rows };
    let expected = b"\x01\x06\x04\x00\x00\x00\x01\x05\x00\x00\x01\x01k\x00\x00\x00\x00";
    assert_eq!(encode(&partial), expected);
    round_trip(&partial);
}

#[test]
fn golden_partial_states() {
    let mut row = Row::new(b"k".as_slice().into());
    row.set("n".into(), Value::Number(1.0));
    row.load_later(2, vec![("m".into(), Value::Text("x".to_string()))]);
    row.terms.push("t".to_string());
    let rows = Partial { total: 3, rows: vec![row], ..Partial::default() };
    let expected = b"\x01\x04\x03\x02\x01m\x01n\x01\x01k\x00\x01\x01\x01\0\0\0\0\0\0\xf0\x3f\
                     \x01\x02\x00\x02\x01x\x01\x01t\x00";
    assert_eq!(encode(&rows), expected);
    round_trip(&rows);
    let mut sum = Sum::default();
    sum.add(2.0);
    let id: Arc<[u8]> = b"k".as_slice().into();
    let mut quantile = Quantile::new(5);
    quantile.exact.insert(1, 2);
    let list = Value::List(vec![Value::Null]);
    let states = vec![
        State::Count(5),
        State::Values([vec![255]].into()),
        State::Distinctish(Distinctish([(3, 4)].into())),
        State::Sum(2, sum.clone()),
        State::Min(0.0),
        State::Max(0.0),
        State::Deviation(1, Sum::default(), sum),
        State::Quantile(quantile),
        State::First(Some(First { key: Value::Null, id: id.clone(), value: list })),
        State::Sample([((7, id), Value::Null)].into()),
    ];
    let groups = Partial { groups: [(vec![255], states)].into(), ..Partial::default() };
    let expected = b"\x01\x04\x00\x00\x00\x01\x01\xff\x0a\
                     \x00\x05\
                     \x01\x01\x01\xff\
                     \x02\x01\x03\x04\
                     \x03\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x40\
                     \x04\0\0\0\0\0\0\0\0\
                     \x05\0\0\0\0\0\0\0\0\
                     \x06\x01\0\0\0\0\0\0\0\0\x00\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x40\
                     \x07\x05\x01\x01\x02\x00\
                     \x08\x01\x00\x01k\x03\x01\x00\
                     \x09\x01\x07\x01k\x00";
    assert_eq!(encode(&groups), expected);
    round_trip(&groups);
}

#[test]
fn what_is_wrong_is_named() {
    let statistics = |bytes: &[u8]| decode::<Statistics>(bytes).expect_err("refused");
    assert_eq!(statistics(b""), Malformed::Ended);
    assert_eq!(statistics(b"\x02\x01"), Malformed::Version(2));
    assert_eq!(statistics(b"\x01\x02"), Malformed::Kind(2));
    assert_eq!(statistics(b"\x01\x01\x00\x00\xff\xff\xff\xff\x0f"), Malformed::Ended);
    assert_eq!(statistics(b"\x01\x01\x00\x00\x01\x04\x00"), Malformed::Invalid("flags of terms"));
    let twice = Malformed::Invalid("term, which is there twice");
    assert_eq!(statistics(b"\x01\x01\x00\x00\x01\x00\x02\x01a\x01\x01a\x01"), twice);
    let utf8 = statistics(b"\x01\x01\x00\x00\x01\x00\x01\x01\xff\x01");
    assert_eq!(utf8, Malformed::Invalid("UTF-8"));
    assert_eq!(utf8.to_string(), "invalid UTF-8 in search message");
    let long = [&b"\x01\x01"[..], &[0xff; 9], b"\x02"].concat();
    assert_eq!(statistics(&long), Malformed::Invalid("number"));
    let mut explanation = Explanation { text: String::new(), children: Vec::new() };
    for _ in 0..limits::EXPLANATION_DEPTH {
        explanation = Explanation { text: String::new(), children: vec![explanation] };
    }
    let hit = Hit {
        key: b"k".as_slice().into(),
        score: 0.0,
        explanation: Some(explanation),
        distance: None,
        distances: Vec::new(),
        sorted_by: None,
    };
    let bytes = encode(&Hits { total: 1, best: vec![hit], nearest: None });
    assert_eq!(decode::<Hits>(&bytes), Err(Malformed::Deep));
}
