use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::numbers::Numbers;
use super::places::{Place, Places};
use super::postings::{Occurrence, Postings};
use super::*;
use crate::query::{Bound, Circle, Range, Unit};
use crate::schema::Fields;

/// What a reader finds when it seeks these documents one after another.
fn sought(postings: &Postings, targets: impl IntoIterator<Item = u32>) -> Vec<(u32, Occurrence)> {
    let mut reader = postings.reader();
    let mut found = Vec::new();
    for target in targets {
        let Some(document) = reader.seek(target) else { break };
        let mut positions = Vec::new();
        reader.positions(Fields::ALL, &mut positions);
        let (frequency, fields) = (reader.frequency(), reader.fields().0);
        found.push((document, Occurrence { frequency, positions, fields }));
    }
    found
}

/// All documents of a term.
fn all(postings: &Postings) -> Vec<(u32, Occurrence)> {
    let mut reader = postings.reader();
    let mut documents = Vec::new();
    let mut next = reader.seek(0);
    while let Some(document) = next {
        documents.push(document);
        next = reader.seek(document + 1);
    }
    sought(postings, documents)
}

fn occurrence() -> impl Strategy<Value = Occurrence> {
    // Most often a term is once in a document.
    let once = (1u32..300, 0u32..300, prop::sample::select(vec![3u8, 127]));
    let once = once.prop_map(|(frequency, position, field)| Occurrence {
        frequency,
        positions: vec![(field, position)],
        fields: Fields::one(usize::from(field)).0,
    });
    prop_oneof![once, several()]
}

fn several() -> impl Strategy<Value = Occurrence> {
    let positions = prop::collection::btree_set(0u32..1000, 0..6);
    (1u32..500, positions, any::<u128>()).prop_map(|(frequency, positions, fields)| Occurrence {
        frequency,
        positions: positions.into_iter().map(|at| (if at < 500 { 3 } else { 127 }, at)).collect(),
        fields,
    })
}

proptest! {
    #[test]
    fn postings_are_a_map(
        changes in prop::collection::vec((0u32..300, prop::option::weighted(0.7, occurrence())), 0..400),
        // Also so far apart that blocks need long heads.
        apart in prop::sample::select(vec![1u32, 40, 2_000]),
        targets in prop::collection::btree_set(0u32..700, 0..40),
    ) {
        let mut postings = Postings::default();
        let mut map = BTreeMap::new();
        let words = vec![7; 300];
        for (document, occurrence) in changes {
            let document = document * apart;
            postings.remove(document, &words);
            map.remove(&document);
            if let Some(occurrence) = occurrence {
                postings.insert(document, &occurrence, &words);
                map.insert(document, occurrence);
            }
        }
        prop_assert_eq!(postings.documents() as usize, map.len());
        let expected: Vec<_> = map.iter().map(|(&id, occurrence)| (id, occurrence.clone())).collect();
        prop_assert_eq!(all(&postings), expected);
        let mut last = None;
        let targets: Vec<u32> = targets.into_iter().map(|target| target * apart).filter(|&target| {
            // A reader only goes on.
            let found = map.range(target..).next().map(|(&id, _)| id);
            let ahead = last.is_none_or(|last| found.is_none_or(|found| found > last));
            last = found.or(last);
            ahead
        }).collect();
        let expected: Vec<_> = targets
            .iter()
            .map_while(|&target| map.range(target..).next())
            .map(|(&id, occurrence)| (id, occurrence.clone()))
            .collect();
        prop_assert_eq!(sought(&postings, targets), expected);
    }

    #[test]
    fn numbers_are_found_in_their_ranges(
        numbers in prop::collection::vec(number(), 0..40),
        removed in any::<prop::sample::Index>(),
        (lower, upper, lower_exclusive, upper_exclusive) in (number(), number(), any::<bool>(), any::<bool>()),
    ) {
        let mut index = Numbers::default();
        for (document, &number) in (0..).zip(&numbers) {
            index.insert(number, document);
        }
        let removed = (!numbers.is_empty()).then(|| removed.index(numbers.len()));
        if let Some(removed) = removed {
            index.remove(numbers[removed], removed as u32);
        }
        let range = Range {
            lower: Bound { number: lower, exclusive: lower_exclusive },
            upper: Bound { number: upper, exclusive: upper_exclusive },
        };
        let found: Vec<u32> = index.within(range).into_iter().collect();
        let expected: Vec<u32> = (0..numbers.len() as u32)
            .filter(|&id| Some(id as usize) != removed && range.contains(numbers[id as usize]))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn places_are_found_in_their_circles(
        places in prop::collection::vec(place(), 0..60),
        middle in place(),
        radius in prop_oneof![0.1f64..100.0, 100.0f64..21_000.0],
        removed in 0u32..60,
    ) {
        let mut index = Places::default();
        for (document, &place) in (0..).zip(&places) {
            index.insert(place, document);
        }
        if let Some(&place) = places.get(removed as usize) {
            index.remove(place, removed);
        }
        let Place { longitude, latitude } = middle;
        let circle = Circle { longitude, latitude, radius, unit: Unit::Kilometres };
        let found: BTreeSet<u32> = index.within(circle).into_iter().collect();
        for (document, place) in (0..).zip(&places) {
            let distance = place.distance(middle);
            // Places are kept to a centimetre or so.
            if (distance - radius * 1000.0).abs() > 0.1 {
                let inside = distance < radius * 1000.0 && document != removed;
                prop_assert_eq!(found.contains(&document), inside, "{:?}", place);
            }
        }
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-5i8..5).prop_map(f64::from),
        -1e9f64..1e9,
        prop::sample::select(alloc::vec![f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, -5e-324]),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    let longitude = prop_oneof![-180.0f64..180.0, -2.0f64..2.0, Just(180.0), Just(-180.0)];
    let latitude =
        prop_oneof![-90.0f64..90.0, -2.0f64..2.0, Just(90.0), Just(-90.0), 89.0f64..90.0];
    (longitude, latitude).prop_map(|(longitude, latitude)| Place { longitude, latitude })
}

/// Vancouver and Seattle are 195 km apart.
#[test]
fn distances_are_those_of_the_globe() {
    let vancouver = Place::new(-123.1207, 49.2827).expect("on the globe");
    let seattle = Place::new(-122.3321, 47.6062).expect("on the globe");
    assert!((vancouver.distance(seattle) - 195_000.0).abs() < 1_000.0);
    assert_eq!(Place::new(181.0, 0.0), None);
}

fn schema(fields: &str) -> Schema {
    let fields: Vec<&[u8]> = fields.split(' ').map(str::as_bytes).collect();
    Schema::create(&fields).expect("valid")
}

fn document<'a>(key: &'a str, fields: &[(u16, &'a str)]) -> Document<'a> {
    let fields = fields.iter().map(|&(id, value)| (FieldId(id), Value::Bytes(value.as_bytes())));
    Document {
        key: key.as_bytes(),
        language: None,
        score: None,
        payload: None,
        fields: fields.collect(),
    }
}

#[test]
fn nothing_stays_of_what_is_removed() {
    let schema = schema("SCHEMA t TEXT g TAG n NUMERIC l GEO m TEXT INDEXMISSING");
    let mut index = Index::new(schema, Synonyms::default());
    let values = [(0, "running dogs"), (1, "a,b"), (2, "5"), (3, "1,2")];
    index.put(&document("one", &values)).expect("indexed");
    index.put(&document("two", &[(0, "dogs")])).expect("indexed");
    assert_eq!((index.len(), index.terms()), (2, 4), "running, +run, dogs, +dog");
    // The same key again takes the place of what was there.
    index.put(&document("one", &[(0, "cats")])).expect("indexed");
    assert_eq!((index.len(), index.terms()), (2, 4), "cats, +cat, dogs, +dog");
    assert!(index.remove(b"one") && index.remove(b"two"));
    assert!(!index.remove(b"two"));
    assert_eq!((index.len(), index.terms()), (0, 0));
    assert!(index.missing(FieldId(4)).is_empty());
    assert_eq!(index.documents.length(), 0);
    let FieldIndex::Labels(labels) = index.field(FieldId(1)) else { panic!("labels") };
    assert_eq!(labels.from("").count(), 0);
}

#[test]
fn what_cannot_be_indexed_takes_its_document_out() {
    let mut index = Index::new(schema("SCHEMA t TEXT n NUMERIC l GEO"), Synonyms::default());
    index.put(&document("one", &[(0, "fine")])).expect("indexed");
    let error = index.put(&document("one", &[(0, "fine"), (1, "abc")])).expect_err("no number");
    assert_eq!((error.field, error.text.as_str()), (FieldId(1), "Invalid numeric value: 'abc'"));
    assert!(index.is_empty() && index.terms() == 0);
    let error = index.put(&document("one", &[(2, "1,91")])).expect_err("off the globe");
    assert_eq!(error.text, "Invalid geo string: '1,91'");
    let number =
        Document { fields: alloc::vec![(FieldId(0), Value::Number(1.0))], ..document("k", &[]) };
    assert_eq!(index.put(&number).expect_err("no text").text, "Unexpected number: 1");
}

mod memory {
    use alloc::format;

    use super::*;

    #[test]
    fn what_goes_is_not_counted_any_more() {
        let words = [
            "PREFIX", "1", "", "SCHEMA", "t", "TEXT", "SORTABLE", "k", "TAG", "n", "NUMERIC", "g",
            "GEO", "s", "GEOSHAPE", "FLAT",
        ];
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let schema = crate::Schema::create(&words).expect("a schema");
        let mut index = Index::new(schema, crate::analysis::Synonyms::default());
        let empty = index.memory();
        assert_eq!(empty.total(), 0);
        let mut previous = 0;
        for number in 0..500_u32 {
            let text = format!("word{} common word{}", number % 17, number);
            let label = format!("red,blue{}", number % 5);
            let (key, number_text) = (format!("k{number}"), format!("{number}"));
            let values =
                [text.as_str(), &label, &number_text, "1.5,2.5", "POLYGON ((0 0, 0 1, 1 1, 0 0))"];
            let fields = values.iter().enumerate();
            let fields =
                fields.map(|(at, value)| (FieldId(at as u16), Value::Bytes(value.as_bytes())));
            let document = Document {
                key: key.as_bytes(),
                language: None,
                score: None,
                payload: None,
                fields: fields.collect(),
            };
            index.put_in((number % 3) as u8, &document).expect("is indexed");
            let memory = index.memory();
            assert!(memory.total() > previous, "{number}");
            previous = memory.total();
        }
        let full = index.memory();
        for part in [
            full.documents,
            full.keys,
            full.sortable,
            full.postings,
            full.terms,
            full.labels,
            full.numbers,
            full.shapes,
        ] {
            assert!(part > 0, "{full:?}");
        }
        // In 17 documents two words are one.
        assert_eq!(full.records, 500 * 3 - 17);
        assert!(full.blocks >= 500, "{full:?}");
        // In another order, and one of them twice.
        for number in (0..500_u32).rev() {
            let key = format!("k{}", (number * 7) % 500);
            assert!(index.remove(key.as_bytes()));
            assert!(!index.remove(key.as_bytes()));
        }
        assert_eq!(index.memory(), empty);
    }
}
