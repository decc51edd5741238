//! Against RediSearch's scores, and against a scan of all documents; whole, in partitions, and
//! after changes.

mod naive;
mod pruning;
mod scores;
mod sorting;
mod spelling;
mod vectors;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::analysis::Synonyms;
use crate::index::{Document, Value};
use crate::query::{Context, Dialect, Parameters, parse};
use crate::schema::{FieldId, Schema};

const SCHEMA: &str = "SCORE 0.5 SCHEMA t TEXT WEIGHT 2 u TEXT NOSTEM INDEXEMPTY g TAG INDEXEMPTY c TAG \
                      SEPARATOR ; CASESENSITIVE n NUMERIC l GEO m TEXT INDEXMISSING PHONETIC dm:en";

fn schema(arguments: &str) -> Schema {
    let arguments: Vec<&[u8]> = arguments.split_whitespace().map(str::as_bytes).collect();
    Schema::create(&arguments).expect("valid")
}

fn synonyms() -> Synonyms {
    let mut synonyms = Synonyms::default();
    synonyms.update("colour", ["red", "blue"]);
    synonyms
}

/// The tree of a query, or none if it is refused.
fn tree(schema: &Schema, query: &str) -> Option<Node> {
    let parameters = Parameters::new();
    let context =
        Context { schema, dialect: Dialect::Two, parameters: &parameters, keep_stop_words: false };
    parse(query, context).ok()
}

/// A document of a test: the values of its fields, by their positions in the schema.
#[derive(Debug, Clone)]
struct Sample {
    key: String,
    score: Option<f64>,
    values: Vec<(u16, String)>,
}

impl Sample {
    fn document(&self) -> Document<'_> {
        let fields = self.values.iter();
        let fields = fields.map(|(id, value)| (FieldId(*id), Value::Bytes(value.as_bytes())));
        Document {
            key: self.key.as_bytes(),
            language: None,
            score: self.score,
            payload: None,
            fields: fields.collect(),
        }
    }
}

/// The hits of a query in partitions that answer as one.
fn hits(partitions: &[Index], request: &Request<'_>) -> Hits {
    let mut statistics = partitions[0].statistics(request);
    for partition in &partitions[1..] {
        statistics.add(&partition.statistics(request));
    }
    statistics.complete();
    let mut hits = Hits::default();
    for partition in partitions {
        hits.merge(partition.search(request, &statistics).expect("supported"), request.top);
    }
    hits
}

fn value(field: u16) -> BoxedStrategy<String> {
    let word = prop::sample::select(vec![
        "red", "Blue", "run", "runs", "running", "the", "rad", "smith", "smyth", "b-c", "redder",
    ]);
    match field {
        0 | 1 | 6 => prop::collection::vec(word, 0..6).prop_map(|words| words.join(" ")).boxed(),
        2 => prop::sample::select(vec!["a", "a,b", "ab, ABC", ",", "b"])
            .prop_map(str::to_string)
            .boxed(),
        3 => prop::sample::select(vec!["a;A", "Ab;b c", "B"]).prop_map(str::to_string).boxed(),
        4 => prop_oneof![(-3i8..4).prop_map(|n| n.to_string()), Just("1e2".to_string())].boxed(),
        _ => (-2i8..3, -2i8..3).prop_map(|(lon, lat)| format!("{lon},{lat}")).boxed(),
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    let values: Vec<_> = (0u16..7)
        .map(|field| {
            prop::option::weighted(0.7, value(field)).prop_map(move |value| (field, value))
        })
        .collect();
    let score = prop::option::of(prop::sample::select(vec![0.0, 0.25, 1.0]));
    (0u8..12, score, values).prop_map(|(key, score, values)| Sample {
        key: format!("k{key}"),
        score,
        values: values.into_iter().filter_map(|(id, value)| Some((id, value?))).collect(),
    })
}

fn query() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "red",
        "blue",
        "run",
        "running",
        "the",
        "smith",
        "b\\-c",
        "nothing",
        "re*",
        "*ed",
        "*un*",
        "%rid%",
        "%%smoth%%",
        "w'r?d*'",
        "\"red blue\"",
        "\"run the red\"",
        "\"red\"",
        "@t:red",
        "@u:runs",
        "@t|u:(red blue)",
        "@t:\"red run\"",
        "@u:\"\"",
        "@g:{a}",
        "@g:{A|b}",
        "@g:{ab*|b}",
        "@g:{\"\"}",
        "@c:{A}",
        "@c:{b c}",
        "@c:{w'?'}",
        "@n:[1 3]",
        "@n:[(-1 inf]",
        "@n==100",
        "@l:[0 0 150 km]",
        "@l:[2 2 1 m]",
        "ismissing(@m)",
        "@m:smith",
        "a",
        "@t:(re* -blue)",
    ]);
    let leaf = leaf.prop_map(str::to_string);
    leaf.prop_recursive(4, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.clone().prop_map(|one| format!("-({one})")),
            inner.clone().prop_map(|one| format!("~({one})")),
            inner.prop_map(|one| format!("({one})=>{{$weight:2.5}}")),
            several.clone().prop_map(|all| format!("({})", all.join(" "))),
            several.clone().prop_map(|all| format!("({})", all.join("|"))),
            (several, 0u8..3, any::<bool>()).prop_map(|(all, slop, order)| {
                format!("({})=>{{$slop:{slop};$inorder:{order}}}", all.join(" "))
            }),
        ]
    })
}

fn scorer() -> impl Strategy<Value = Scorer> {
    prop::sample::select(vec![
        Scorer::Bm25Std,
        Scorer::Bm25StdTanh(4),
        Scorer::Bm25,
        Scorer::Tfidf,
        Scorer::TfidfDocNorm,
        Scorer::DisMax,
        Scorer::DocScore,
    ])
}

/// A quarter of the usual cases: each is long.
fn some_cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases / 4, ..config }
}

proptest! {
    #![proptest_config(some_cases())]

    /// What is found is what a scan finds, with the same scores, whatever happened before.
    #[test]
    fn an_index_answers_as_a_scan(
        changes in prop::collection::vec((sample(), prop::bool::weighted(0.8)), 0..30),
        query in query(),
        scorer in scorer(),
        verbatim in any::<bool>(),
        slop in prop::option::weighted(0.2, 0u32..3),
    ) {
        let schema = schema(SCHEMA);
        let Some(node) = tree(&schema, &query) else { return Ok(()) };
        let mut index = Index::new(schema.clone(), synonyms());
        let mut samples: Vec<Sample> = Vec::new();
        for (sample, is_put) in changes {
            samples.retain(|other| other.key != sample.key);
            if is_put {
                index.put(&sample.document()).expect("indexed");
                samples.push(sample);
            } else {
                index.remove(sample.key.as_bytes());
            }
        }
        let request = Request { scorer, verbatim, slop, top: 100, ..Request::new(&node) };
        let expected = naive::Scan::new(&schema, &synonyms(), &samples, &request).hits();
        let found = hits(&[index], &request).best;
        prop_assert!(found.is_sorted_by(|one, other| one.rank(other).is_lt()));
        let found: BTreeMap<String, f64> = found.iter().map(|hit| {
            (String::from_utf8_lossy(&hit.key).into_owned(), hit.score)
        }).collect();
        // The scan may multiply in another order.
        let alike = found.len() == expected.len() && found.iter().zip(&expected).all(|(one, other)| {
            one.0 == other.0 && (one.1 - other.1).abs() <= 1e-12 * one.1.abs()
        });
        prop_assert!(alike, "{query} found {found:?}, not {expected:?}");
    }

    /// Partitions answer as one index, to the last bit, and with the same explanations; and so do
    /// indexes of everything of which each shows a part.
    #[test]
    fn partitions_answer_as_one(
        samples in prop::collection::vec((sample(), 0usize..3), 0..20),
        query in query(),
        scorer in scorer(),
        top in 0usize..8,
    ) {
        let schema = schema(SCHEMA);
        let Some(node) = tree(&schema, &query) else { return Ok(()) };
        let mut whole = Index::new(schema.clone(), synonyms());
        let index = |_| Index::new(schema.clone(), synonyms());
        let mut parts: Vec<Index> = (0..3).map(index).collect();
        let mut showing: Vec<Index> = (0..3).map(index).collect();
        for (number, (sample, part)) in samples.iter().enumerate() {
            for (own, index) in showing.iter_mut().enumerate() {
                if number == samples.len() / 2 {
                    index.show(1 << own);
                }
                index.put_in(*part as u8, &sample.document()).expect("indexed");
            }
            whole.put(&sample.document()).expect("indexed");
            for part in &mut parts {
                part.remove(sample.key.as_bytes());
            }
            parts[*part].put(&sample.document()).expect("indexed");
        }
        let request = Request { scorer, top, explain: true, ..Request::new(&node) };
        let expected = hits(&[whole], &request);
        prop_assert_eq!(&hits(&parts, &request), &expected, "{}", query);
        for (own, index) in showing.iter_mut().enumerate() {
            index.show(1 << own);
        }
        prop_assert_eq!(&hits(&showing, &request), &expected, "{} of parts that are shown", query);
    }
}

#[test]
fn affixes_stand_for_the_same_words_in_all_partitions() {
    let schema = schema("SCHEMA t TEXT NOSTEM");
    let mut parts: Vec<Index> =
        (0..3).map(|_| Index::new(schema.clone(), Synonyms::default())).collect();
    for number in 0..700 {
        let sample = Sample {
            key: format!("k{number:03}"),
            score: None,
            values: vec![(0, format!("word{number:03}"))],
        };
        parts[number % 3].put(&sample.document()).expect("indexed");
    }
    let node = tree(&schema, "wo*").expect("valid");
    let request = Request { top: 1000, ..Request::new(&node) };
    let hits = hits(&parts, &request);
    assert_eq!(hits.total, limits::EXPANSIONS as u64);
    assert_eq!(&*hits.best[limits::EXPANSIONS - 1].key, b"k199", "the first words, in order");
    let mut statistics = parts[0].statistics(&request);
    statistics.add(&parts[1].statistics(&request));
    statistics.complete();
    assert!(statistics.is_cut());
}

#[test]
fn keys_and_fields_can_be_given() {
    let schema = schema("SCHEMA t TEXT u TEXT");
    let mut index = Index::new(schema.clone(), Synonyms::default());
    for (key, field) in [("a", 0), ("b", 1), ("c", 1)] {
        let values = vec![(field, "word".to_string())];
        let sample = Sample { key: key.to_string(), score: None, values };
        index.put(&sample.document()).expect("indexed");
    }
    let node = tree(&schema, "word").expect("valid");
    let found = |request: &Request<'_>| -> Vec<Vec<u8>> {
        let statistics = index.statistics(request);
        let hits = index.search(request, &statistics).expect("supported");
        assert_eq!(hits.total as usize, hits.best.len());
        hits.best.iter().map(|hit| hit.key.to_vec()).collect()
    };
    let request = Request::new(&node);
    assert_eq!(found(&request), [b"a", b"b", b"c"]);
    let in_second = Request { fields: Fields::one(1), ..request.clone() };
    assert_eq!(found(&in_second), [b"b", b"c"]);
    let keys = Some([&b"c"[..], b"a", b"x"].into_iter().collect());
    assert_eq!(found(&Request { keys, ..request }), [b"a", b"c"]);
}

#[test]
fn statistics_of_another_query_are_refused() {
    let schema = schema(SCHEMA);
    let index = Index::new(schema.clone(), synonyms());
    let all = ["red", "red blue", "@g:{a|b|c}", "\"red blue\" %red% re* w'r*'", "@n:[1 2]", "-red"];
    for one in all {
        for other in all {
            let (node, other_node) = (tree(&schema, one), tree(&schema, other));
            let (node, other_node) = (node.expect("valid"), other_node.expect("valid"));
            let statistics = index.statistics(&Request::new(&other_node));
            let result = index.search(&Request::new(&node), &statistics);
            assert_eq!(result.is_ok(), statistics.fit(&node), "{one} with {other}");
            assert!(one != other || result.is_ok(), "{one}");
        }
    }
}

#[test]
fn shapes_are_found() {
    let schema = schema("SCHEMA s GEOSHAPE FLAT");
    let mut index = Index::new(schema.clone(), Synonyms::default());
    let field = schema.position(b"s").expect("there").0;
    let mut put = |key: &[u8], shape: &[u8]| {
        let fields = vec![(field, Value::Bytes(shape))];
        let document = Document { key, language: None, score: None, payload: None, fields };
        index.put(&document).map_err(|unindexed| unindexed.text)
    };
    put(b"point", b"POINT (5 5)").expect("indexed");
    put(b"gone", b"POINT (5 5)").expect("indexed");
    put(b"square", b"POLYGON ((1 1, 1 3, 3 3, 3 1, 1 1))").expect("indexed");
    assert!(put(b"none", b"CIRCLE (1 1)").expect_err("is no shape").starts_with("Invalid shape"));
    put(b"gone", b"POINT (90 90)").expect("indexed");
    let found = |query: &str, shape: &str| {
        let parameters: Parameters = [("p".to_string(), shape.as_bytes().to_vec())].into();
        let context = Context {
            schema: &schema,
            dialect: Dialect::Two,
            parameters: &parameters,
            keep_stop_words: false,
        };
        let node = parse(query, context).expect("valid");
        let request = Request::new(&node);
        let hits = index.search(&request, &index.statistics(&request));
        let keys = |hits: Hits| {
            let keys = hits.best.iter().map(|hit| String::from_utf8_lossy(&hit.key).into_owned());
            keys.collect::<Vec<_>>().join(" ")
        };
        hits.map(keys).map_err(|error| error.to_string())
    };
    let around = "POLYGON ((0 0, 0 9, 9 9, 9 0, 0 0))";
    assert_eq!(found("@s:[WITHIN $p]", around), Ok("point square".into()));
    assert_eq!(found("@s:[CONTAINS $p]", "POINT (2 2)"), Ok("square".into()));
    assert_eq!(found("@s:[DISJOINT $p]", "POINT (2 2)"), Ok("gone point".into()));
    assert_eq!(found("-@s:[INTERSECTS $p]", around), Ok("gone".into()));
    let error = found("@s:[WITHIN $p]", "nowhere").expect_err("is no shape");
    assert!(error.starts_with("SEARCH_QUERY_BAD Invalid shape: "), "{error}");
}
