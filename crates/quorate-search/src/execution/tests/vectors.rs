//! The nearest, and those within a distance, against a scan by the definitions.

use super::*;

const METRICS: [&str; 3] = ["L2", "IP", "COSINE"];
const ELEMENTS: [&str; 6] = ["FLOAT32", "FLOAT64", "FLOAT16", "BFLOAT16", "INT8", "UINT8"];

/// A document with a vector of small whole numbers, which all kinds of components have exactly.
#[derive(Debug, Clone)]
struct Pointed {
    key: u8,
    word: &'static str,
    vector: Option<[u8; 3]>,
}

fn pointed() -> impl Strategy<Value = Pointed> {
    let word = prop::sample::select(vec!["red", "blue"]);
    let vector = prop::option::weighted(0.8, prop::array::uniform3(0u8..5));
    (0u8..20, word, vector).prop_map(|(key, word, vector)| Pointed { key, word, vector })
}

fn bytes(vector: [u8; 3], element: &str) -> Vec<u8> {
    let each = |number: u8| -> Vec<u8> {
        let single = f32::from(number);
        match element {
            "FLOAT32" => single.to_le_bytes().to_vec(),
            "FLOAT64" => f64::from(number).to_le_bytes().to_vec(),
            // 0, 1, 2, 3 and 4 in half precision.
            "FLOAT16" => {
                [0u16, 0x3c00, 0x4000, 0x4200, 0x4400][usize::from(number)].to_le_bytes().to_vec()
            }
            "BFLOAT16" => ((single.to_bits() >> 16) as u16).to_le_bytes().to_vec(),
            _ => vec![number],
        }
    };
    vector.into_iter().flat_map(each).collect()
}

fn distance(one: [u8; 3], other: [u8; 3], metric: &str) -> f64 {
    let sum = |term: fn(f64, f64) -> f64| -> f64 {
        one.iter().zip(other).map(|(&a, b)| term(f64::from(a), f64::from(b))).sum()
    };
    let length = |vector: [u8; 3]| -> f64 {
        libm::sqrt(vector.iter().map(|&number| f64::from(number) * f64::from(number)).sum())
    };
    match metric {
        "L2" => sum(|a, b| (a - b) * (a - b)),
        "IP" => 1.0 - sum(|a, b| a * b),
        _ if length(one) * length(other) == 0.0 => 1.0,
        _ => 1.0 - sum(|a, b| a * b) / (length(one) * length(other)),
    }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn the_nearest_are_those_of_a_scan(
        changes in prop::collection::vec((pointed(), 0usize..3, prop::bool::weighted(0.8)), 0..40),
        asked in prop::array::uniform3(0u8..5),
        (metric, element) in (prop::sample::select(METRICS.to_vec()), prop::sample::select(ELEMENTS.to_vec())),
        filter in prop::sample::select(vec!["*", "red", "(-red)", "(red|blue)"]),
        count in 0usize..8,
        radius in 0u8..12,
    ) {
        let schema = schema(&format!(
            "SCHEMA t TEXT v VECTOR HNSW 6 TYPE {element} DIM 3 DISTANCE_METRIC {metric}"
        ));
        let mut parts: Vec<Index> =
            (0..3).map(|_| Index::new(schema.clone(), Synonyms::default())).collect();
        let mut there: BTreeMap<u8, Pointed> = BTreeMap::new();
        for (pointed, part, is_put) in changes {
            let key = format!("k{:02}", pointed.key);
            for part in &mut parts {
                part.remove(key.as_bytes());
            }
            there.remove(&pointed.key);
            if is_put {
                let vector = pointed.vector.map(|vector| bytes(vector, element));
                let mut fields = vec![(FieldId(0), Value::Bytes(pointed.word.as_bytes()))];
                fields.extend(vector.as_ref().map(|vector| (FieldId(1), Value::Bytes(vector))));
                let sample = Sample { key, score: None, values: Vec::new() };
                let document = Document { fields, ..sample.document() };
                parts[part].put(&document).expect("indexed");
                there.insert(pointed.key, pointed);
            }
        }
        let parameters: Parameters = [("p".to_string(), bytes(asked, element))].into();
        let context = Context {
            schema: &schema,
            dialect: Dialect::Two,
            parameters: &parameters,
            keep_stop_words: false,
        };
        let found = |query: &str| -> Vec<(String, f64)> {
            let node = parse(query, context).expect("valid");
            let request = Request { top: 100, ..Request::new(&node) };
            let hits = hits(&parts, &request);
            assert_eq!(hits.total as usize, hits.best.len());
            let named = |hit: &Hit| {
                assert_eq!(hit.distances[0].0, "d");
                (String::from_utf8_lossy(&hit.key).into_owned(), hit.distances[0].1)
            };
            hits.best.iter().map(named).collect()
        };
        let passes = |pointed: &Pointed| match filter {
            "red" => pointed.word == "red",
            "(-red)" => pointed.word != "red",
            _ => true,
        };
        let mut expected: Vec<(String, f64)> = there
            .values()
            .filter_map(|pointed| {
                let distance = distance(pointed.vector?, asked, metric);
                passes(pointed).then(|| (format!("k{:02}", pointed.key), distance))
            })
            .collect();
        let radius = f64::from(radius) / 2.0;
        let query = if filter == "*" { String::new() } else { filter.to_string() };
        let query = format!("@v:[VECTOR_RANGE {radius} $p]=>{{$yield_distance_as: d}} {query}");
        let mut within = found(&query);
        within.sort_by(|one, other| one.0.cmp(&other.0));
        let near: Vec<(String, f64)> =
            expected.iter().filter(|(_, distance)| *distance <= radius).cloned().collect();
        prop_assert_eq!(within, near);
        expected.sort_by(|one, other| one.1.total_cmp(&other.1).then_with(|| one.0.cmp(&other.0)));
        expected.truncate(count);
        prop_assert_eq!(found(&format!("{filter}=>[KNN {count} @v $p AS d]")), expected);
    }
}

#[test]
fn vectors_come_as_bytes_or_numbers() {
    let schema = schema("ON JSON SCHEMA v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2");
    let mut index = Index::new(schema.clone(), Synonyms::default());
    let mut put = |key: &str, value: Value<'_>| {
        let sample = Sample { key: key.to_string(), score: None, values: Vec::new() };
        index.put(&Document { fields: vec![(FieldId(0), value)], ..sample.document() })
    };
    let numbers =
        |numbers: &[f64]| Value::Many(numbers.iter().map(|&n| Value::Number(n)).collect());
    put("one", numbers(&[3.0, 4.0])).expect("indexed");
    // Of several vectors the nearest counts.
    put("two", Value::Many(vec![numbers(&[9.0, 9.0]), numbers(&[1.0, 0.0])])).expect("indexed");
    let refused = |result: Result<(), crate::index::Unindexed>| result.expect_err("refused").text;
    assert_eq!(
        refused(put("x", Value::Bytes(b"abc"))),
        "Could not add vector with blob size 3 (expected size 8)"
    );
    assert_eq!(refused(put("x", numbers(&[1.0]))), "Invalid vector length. Expected 2, got 1");
    let parameters: Parameters = [("p".to_string(), vec![0; 8])].into();
    let context = Context {
        schema: &schema,
        dialect: Dialect::Two,
        parameters: &parameters,
        keep_stop_words: false,
    };
    let node = parse("*=>[KNN 5 @v $p]", context).expect("valid");
    let request = Request::new(&node);
    let hits = index.search(&request, &index.statistics(&request)).expect("supported");
    let distances: Vec<_> = hits.best.iter().map(|hit| (&*hit.key, hit.distance)).collect();
    assert_eq!(distances, [(&b"two"[..], Some(1.0)), (b"one", Some(25.0))]);
    assert_eq!(hits.best[0].distances, [("__v_score".to_string(), 1.0)]);
    let negative = parse("@v:[VECTOR_RANGE -1 $p]", context).expect("valid");
    let request = Request::new(&negative);
    let error = index.search(&request, &index.statistics(&request)).expect_err("refused");
    assert!(error.text.contains("negative radius (-1)"), "{error}");
}
