//! The order of documents by a field, as RediSearch has it, but that ties are in the order of keys.

use super::*;
use crate::execution::Sort;

const DOCUMENTS: [(&str, &[(u16, &str)]); 4] = [
    ("a", &[(0, "Banana"), (1, "2"), (2, "Banana"), (3, "x")]),
    ("b", &[(0, "apple"), (1, "10"), (2, "apple"), (3, "Y")]),
    ("c", &[(0, "cherry")]),
    ("d", &[(1, "2"), (2, "Cherry"), (3, "z")]),
];

/// The keys in this order, the first `top` of them, from partitions.
fn sorted(field: u16, descending: bool, top: usize, count: usize) -> String {
    let schema = schema(
        "SCHEMA t TEXT SORTABLE n NUMERIC SORTABLE u TEXT NOINDEX SORTABLE UNF g TAG SORTABLE",
    );
    let mut parts: Vec<Index> =
        (0..count).map(|_| Index::new(schema.clone(), Synonyms::default())).collect();
    for (number, (key, values)) in DOCUMENTS.into_iter().enumerate() {
        let values = values.iter().map(|&(id, value)| (id, value.to_string())).collect();
        let sample = Sample { key: key.to_string(), score: None, values };
        parts[number % count].put(&sample.document()).expect("indexed");
    }
    let node = tree(&schema, "*").expect("valid");
    let sort = Some(Sort { field: FieldId(field), descending });
    let request = Request { sort, top, ..Request::new(&node) };
    let hits = hits(&parts, &request);
    assert_eq!(hits.total, 4);
    hits.best.iter().map(|hit| String::from_utf8_lossy(&hit.key).into_owned()).collect()
}

#[test]
fn documents_are_sorted_as_in_redisearch() {
    for (field, ascending, descending) in [
        (1, "adbc", "badc"),
        (0, "bacd", "cabd"),
        // Not folded: upper case comes first.
        (2, "adbc", "bdac"),
        (3, "abdc", "dbac"),
    ] {
        for count in 1..=3 {
            assert_eq!(sorted(field, false, 10, count), ascending);
            assert_eq!(sorted(field, true, 10, count), descending);
            assert_eq!(sorted(field, true, 2, count), descending[..2]);
        }
    }
}
