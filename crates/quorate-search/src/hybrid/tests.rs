//! RediSearch's answers, and partitions that answer as one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::Schema;
use crate::analysis::Synonyms;
use crate::index::{self, Document};
use crate::schema::FieldId;
use crate::wire;

#[derive(Clone)]
struct Sample {
    key: String,
    title: String,
    place: u8,
}

struct Titles(Vec<Sample>);

impl Documents for Titles {
    fn value(&self, key: &[u8], path: &[u8]) -> Option<Value> {
        let found = self.0.iter().find(|sample| sample.key.as_bytes() == key)?;
        (path == b"title").then(|| Value::Text(found.title.clone()))
    }

    fn all(&self, key: &[u8]) -> Vec<(String, Value)> {
        let title = self.value(key, b"title");
        title.map(|title| ("title".to_string(), title)).into_iter().collect()
    }
}

fn schema(metric: &str) -> Schema {
    let text = format!(
        "SCHEMA title TEXT v VECTOR FLAT 6 TYPE INT8 DIM 1 DISTANCE_METRIC {metric} n NUMERIC"
    );
    let arguments: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    Schema::create(&arguments).expect("valid")
}

fn indexed(samples: &[Sample], schema: &Schema) -> Index {
    let mut index = Index::new(schema.clone(), Synonyms::default());
    for sample in samples {
        let vector = [sample.place];
        let fields = vec![
            (FieldId(0), index::Value::Bytes(sample.title.as_bytes())),
            (FieldId(1), index::Value::Bytes(&vector)),
        ];
        let key = sample.key.as_bytes();
        let document = Document { key, language: None, score: None, payload: None, fields };
        index.put(&document).expect("indexed");
    }
    index
}

fn parsed(text: &str, schema: &Schema) -> Result<Hybrid, Error> {
    let arguments: Vec<&[u8]> = text
        .split(' ')
        .map(|argument| if argument == "0" { b"\0".as_slice() } else { argument.as_bytes() })
        .collect();
    // The offset of LIMIT is a text.
    let arguments: Vec<&[u8]> = arguments
        .iter()
        .enumerate()
        .map(|(at, argument)| match at.checked_sub(1).map(|before| arguments[before]) {
            Some(b"LIMIT" | b"REDUCE" | b"COUNT" | b"GROUPBY") if *argument == b"\0" => b"0",
            _ => *argument,
        })
        .collect();
    Hybrid::parse(&arguments, schema)
}

/// What partitions answer together; what they say goes over the wire.
fn answer(parts: &[Vec<Sample>], hybrid: &Hybrid, schema: &Schema) -> Vec<String> {
    let parts: Vec<(Index, Titles)> =
        parts.iter().map(|part| (indexed(part, schema), Titles(part.clone()))).collect();
    let mut statistics = parts[0].0.hybrid_statistics(hybrid);
    for (index, _) in &parts[1..] {
        let bytes = wire::encode(&index.hybrid_statistics(hybrid));
        statistics.add(&wire::decode(&bytes).expect("what was written"));
    }
    statistics.complete();
    let mut merged = HybridPartial::default();
    for (index, documents) in &parts {
        let partial = index.hybrid(hybrid, &statistics, documents).expect("supported");
        merged.merge(wire::decode(&wire::encode(&partial)).expect("what was written"), hybrid);
    }
    let answer = merged.finish(hybrid, 0, Bounds::default()).expect("supported");
    let mut rows = vec![answer.total.to_string()];
    rows.extend(answer.rows.iter().map(|row| {
        let fields = row.fields();
        let fields =
            fields.map(|(name, value)| format!("{name}={}", value.text().unwrap_or_default()));
        fields.collect::<Vec<String>>().join(" ")
    }));
    rows
}

fn samples() -> Vec<Sample> {
    let all = [("d:1", "hello world", 0), ("d:2", "hello there", 1), ("d:3", "goodbye world", 2)];
    all.iter()
        .map(|&(key, title, place)| Sample { key: key.into(), title: title.into(), place })
        .collect()
}

#[test]
fn answers_are_those_of_redisearch() {
    let schema = schema("L2");
    let start = "SEARCH hello VSIM @v $b";
    let each: &[(&str, &[&str])] = &[
        (
            " PARAMS 2 b 0",
            &[
                "3",
                "__key=d:1 __score=0.032522474881",
                "__key=d:2 __score=0.032522474881",
                "__key=d:3 __score=0.015873015873",
            ],
        ),
        (
            " KNN 2 K 2 COMBINE RRF 2 CONSTANT 60 LOAD 2 @__key @title PARAMS 2 b 0",
            &["2", "__key=d:1 title=hello world", "__key=d:2 title=hello there"],
        ),
        (
            " RANGE 2 RADIUS 1 FILTER @title:world COMBINE RRF 4 CONSTANT 1 WINDOW 1 PARAMS 2 b 0",
            &["2", "__key=d:1 __score=0.5", "__key=d:2 __score=0.5"],
        ),
        (
            " KNN 4 K 9 YIELD_SCORE_AS near COMBINE LINEAR 6 ALPHA 0.0 BETA 1 YIELD_SCORE_AS s \
             PARAMS 2 b 0 LIMIT 1 9",
            &["3", "__key=d:2 near=0.5 s=0.5", "__key=d:3 near=0.2 s=0.2"],
        ),
        (
            " PARAMS 2 b 0 LOAD 1 @title GROUPBY 1 @title REDUCE COUNT 0 AS c SORTBY 1 @title LIMIT 0 1",
            &["3", "title=goodbye world c=1"],
        ),
        (
            " NOSORT PARAMS 2 b 0 APPLY upper(@title) AS u LIMIT 2 1",
            &["3", "__key=d:3 __score=0.015873015873 title=goodbye world u=GOODBYE WORLD"],
        ),
    ];
    for (rest, expected) in each {
        let text = [start, rest].concat();
        let hybrid = parsed(&text, &schema).expect("valid");
        let whole = [samples()];
        assert_eq!(&answer(&whole, &hybrid, &schema), expected, "{text}");
        let parts: Vec<Vec<Sample>> = samples().chunks(1).map(<[Sample]>::to_vec).collect();
        assert_eq!(&answer(&parts, &hybrid, &schema), expected, "{text} in partitions");
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let schema = schema("COSINE");
    for (text, expected) in [
        ("hello", "SEARCH_PARSE_ARGS SEARCH argument is required"),
        ("SEARCH hello", "SEARCH_PARSE_ARGS VSIM argument is required"),
        ("SEARCH hello VSIM @title $b", "SEARCH_QUERY_BAD Expected a VECTOR field, found `title`"),
        ("SEARCH hello VSIM @v b", "SEARCH_PARSE_ARGS Expected a parameter of a vector, found `b`"),
        ("SEARCH hello VSIM @v $b", "SEARCH_PARAM_NOT_FOUND Parameter not found `b`"),
        (
            "SEARCH hello VSIM @v $b FOO",
            "SEARCH_ARG_UNRECOGNIZED Unknown argument `FOO` at position 5 for <main>",
        ),
        (
            "SEARCH hello VSIM @v $b RANGE 2 EPSILON 1",
            "SEARCH_PARSE_ARGS Bad arguments for RADIUS: Expected an argument, but none provided",
        ),
        (
            "SEARCH hello VSIM @v $b COMBINE RRF 2 ALPHA 1",
            "SEARCH_ARG_UNRECOGNIZED Unknown argument `ALPHA` in COMBINE",
        ),
        (
            "SEARCH hello VSIM @v $b PARAMS 2 b ab",
            "SEARCH_QUERY_BAD Error parsing vector similarity query: query vector blob size (2) \
             does not match index's expected size (1).",
        ),
        (
            "SEARCH hello VSIM @v $b PARAMS 2 b 0 LOAD 1 @title APPLY @__score*2 AS d",
            "SEARCH_PROP_NOT_FOUND Property not loaded nor in pipeline: `__score`",
        ),
    ] {
        assert_eq!(parsed(text, &schema).expect_err("refused").to_string(), expected, "{text}");
    }
}

proptest! {
    /// The answer is that of one partition, however documents are spread.
    #[test]
    fn partitions_answer_as_one(
        all in prop::collection::vec(("(red|blue|green| ){1,6}", 0u8..5, 0usize..3), 1..15),
        window in 1usize..9,
        nearest in 1u8..9,
        linear in any::<bool>(),
        metric in prop::sample::select(vec!["L2", "IP"]),
    ) {
        let schema = schema(metric);
        let combine = if linear { "LINEAR" } else { "RRF" };
        let text = format!(
            "SEARCH red|blue VSIM @v $b KNN 2 K {nearest} COMBINE {combine} 2 WINDOW {window} PARAMS \
             2 b x LOAD 2 @__key @title"
        );
        let hybrid = parsed(&text, &schema).expect("valid");
        let mut parts = vec![Vec::new(), Vec::new(), Vec::new()];
        let mut whole = Vec::new();
        for (number, (title, place, part)) in all.into_iter().enumerate() {
            let sample = Sample { key: format!("k{number:02}"), title, place };
            parts[part].push(sample.clone());
            whole.push(sample);
        }
        prop_assert_eq!(answer(&parts, &hybrid, &schema), answer(&[whole], &hybrid, &schema));
    }
}
