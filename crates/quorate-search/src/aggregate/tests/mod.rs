//! Against a naive evaluation, whole and in partitions; against RediSearch's answers.

mod naive;
mod properties;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::analysis::Synonyms;
use crate::expression::Value;
use crate::index::{self, Document};
use crate::wire;
use crate::{Index, Schema};

const SCHEMA: &str =
    "SCHEMA title TEXT tag TAG num NUMERIC name TEXT SORTABLE price NUMERIC SORTABLE";

fn schema(arguments: &str) -> Schema {
    let arguments: Vec<&[u8]> = arguments.split_whitespace().map(str::as_bytes).collect();
    Schema::create(&arguments).expect("valid")
}

/// Documents as a store has them: hashes.
#[derive(Debug, Clone, Default)]
struct Store(Vec<(String, Vec<(String, String)>)>);

impl Documents for Store {
    fn value(&self, key: &[u8], path: &[u8]) -> Option<Value> {
        let (_, fields) = self.0.iter().find(|(own, _)| own.as_bytes() == key)?;
        let (_, value) = fields.iter().find(|(name, _)| name.as_bytes() == path)?;
        Some(Value::Text(value.clone()))
    }

    fn all(&self, key: &[u8]) -> Vec<(String, Value)> {
        let found = self.0.iter().find(|(own, _)| own.as_bytes() == key);
        let fields = found.map(|(_, fields)| fields.clone()).unwrap_or_default();
        fields.into_iter().map(|(name, value)| (name, Value::Text(value))).collect()
    }
}

fn indexed(store: &Store, schema: &Schema) -> Index {
    let mut index = Index::new(schema.clone(), Synonyms::default());
    for (key, fields) in &store.0 {
        let fields = fields.iter().filter_map(|(name, value)| {
            let (id, _) = schema.position(name.as_bytes())?;
            Some((id, index::Value::Bytes(value.as_bytes())))
        });
        let document = Document {
            key: key.as_bytes(),
            language: None,
            score: None,
            payload: None,
            fields: fields.collect(),
        };
        index.put(&document).expect("indexed");
    }
    index
}

/// The arguments of a text, whose parts with spaces are in guillemets.
fn split(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '«' => quoted = true,
            '»' => quoted = false,
            ' ' if !quoted => arguments.push(String::new()),
            letter => arguments.last_mut().expect("there is one").push(letter),
        }
    }
    arguments
}

fn parsed(text: &str, schema: &Schema) -> Result<Aggregation, Error> {
    let arguments = split(text);
    let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
    Aggregation::parse(&arguments, schema, Dialect::Two)
}

/// What partitions answer together; what they say goes over the wire.
fn answer(
    parts: &[(Index, Store)],
    aggregation: &Aggregation,
    bounds: Bounds,
) -> Result<Answer, Error> {
    const SEED: u64 = 7;
    let request = aggregation.request();
    let mut statistics = parts[0].0.statistics(&request);
    parts[1..].iter().for_each(|(index, _)| statistics.add(&index.statistics(&request)));
    statistics.complete();
    let mut merged = Partial::default();
    for (index, store) in parts {
        let partial = index.aggregate(aggregation, &statistics, store, SEED, bounds)?;
        let sent: Partial = wire::decode(&wire::encode(&partial)).expect("what was written");
        merged.merge(sent, aggregation, bounds)?;
    }
    merged.finish(aggregation, SEED, bounds)
}

/// Rows as texts: `name=value` joined by blanks.
fn shown(answer: &Answer) -> Vec<String> {
    let rows = answer.rows.iter().map(|row| {
        let fields = row.fields().map(|(name, value)| {
            format!("{name}={}", value.text().unwrap_or_else(|| "nil".to_string()))
        });
        fields.collect::<Vec<String>>().join(" ")
    });
    rows.collect()
}

fn store(documents: &[(&str, &[(&str, &str)])]) -> Store {
    let documents = documents.iter().map(|(key, fields)| {
        let fields = fields.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        (key.to_string(), fields.collect())
    });
    Store(documents.collect())
}

fn sample() -> Store {
    store(&[
        (
            "d:1",
            &[
                ("title", "hello world"),
                ("tag", "red"),
                ("num", "1"),
                ("name", "Zoe"),
                ("price", "5"),
            ],
        ),
        ("d:2", &[("title", "hello there"), ("tag", "Red;blue"), ("num", "2.5"), ("extra", "x")]),
        ("d:3", &[("title", "goodbye world"), ("num", "-3"), ("name", "Al"), ("price", "7")]),
    ])
}

/// What an aggregation of the sample answers, in one partition and in two alike; or its refusal.
fn asked(text: &str) -> Vec<String> {
    let schema = schema(SCHEMA);
    let aggregation = match parsed(text, &schema) {
        Ok(aggregation) => aggregation,
        Err(error) => return vec![format!("-{error}")],
    };
    let store = sample();
    let (one, other) = store.0.split_at(1);
    let parts: Vec<Store> = vec![Store(one.to_vec()), Store(other.to_vec())];
    let parts: Vec<(Index, Store)> =
        parts.into_iter().map(|part| (indexed(&part, &schema), part)).collect();
    let whole = [(indexed(&store, &schema), store)];
    let bounds = Bounds::default();
    let (split, whole) =
        (answer(&parts, &aggregation, bounds), answer(&whole, &aggregation, bounds));
    assert_eq!(split, whole, "{text}");
    match whole {
        Ok(answer) => {
            let mut rows = vec![answer.total.to_string()];
            rows.extend(shown(&answer));
            rows
        }
        Err(error) => vec![format!("-{error}")],
    }
}

#[test]
fn answers_are_those_of_redisearch() {
    let each: &[(&str, &[&str])] = &[
        (
            "* GROUPBY 1 @tag REDUCE COUNT 0 AS c SORTBY 4 @c DESC @tag ASC",
            &["3", "tag=Red;blue c=1", "tag=red c=1", "tag=nil c=1"],
        ),
        (
            "* LOAD 2 @__key @title APPLY upper(@title) AS u LIMIT 0 2",
            &[
                "3",
                "__key=d:1 title=hello world u=HELLO WORLD",
                "__key=d:2 title=hello there u=HELLO THERE",
            ],
        ),
        (
            "* GROUPBY 0 REDUCE AVG 1 @num REDUCE QUANTILE 2 @num 0.5 REDUCE TOLIST 1 @title \
             REDUCE STDDEV 1 @num",
            &[
                "1",
                "__generated_aliasavgnum=0.166666666667 __generated_aliasquantilenum,0.5=1 \
                    __generated_aliastolisttitle=goodbye world,hello there,hello world \
                    __generated_aliasstddevnum=2.84312035154",
            ],
        ),
        ("* LOAD 1 @num LIMIT 0 1", &["3", "num=1"]),
        ("* APPLY foo(@num) AS x", &["-SEARCH_EXPR Unknown function name 'foo'"]),
        ("* GROUPBY 1 @tag REDUCE NOPE 0", &["-SEARCH_REDUCER_NOT_FOUND No such reducer: NOPE"]),
        ("* APPLY @num+ AS x", &["-SEARCH_EXPR Syntax error at offset 4 near 'num'"]),
        (
            "* SORTBY 1 @nope",
            &["-SEARCH_PROP_NOT_FOUND Property not loaded nor in pipeline: `nope`"],
        ),
        ("* FOO", &["-SEARCH_ARG_UNRECOGNIZED Unknown argument `FOO` at position 1 for <main>"]),
        ("* LIMIT 0", &["-SEARCH_PARSE_ARGS LIMIT requires two arguments"]),
        ("* TIMEOUT abc", &["-SEARCH_PARSE_ARGS TIMEOUT requires a non negative integer"]),
        (
            "* DIALECT 9",
            &["-SEARCH_PARSE_ARGS DIALECT requires a non negative integer >=1 and <= 4"],
        ),
        ("$x", &["-SEARCH_PARAM_NOT_FOUND Parameter not found `x`"]),
    ];
    for (text, expected) in each {
        assert_eq!(&asked(text), expected, "{text}");
    }
}

#[test]
fn stages_do_what_they_say() {
    let each: &[(&str, &[&str])] = &[
        (
            "hello LOAD *",
            &[
                "2",
                "title=hello world tag=red num=1 name=Zoe price=5",
                "title=hello there tag=Red;blue num=2.5 extra=x",
            ],
        ),
        // Of a SORTABLE field what is sorted by, unless it is loaded.
        ("* SORTBY 1 @name", &["3", "name=al", "name=zoe", ""]),
        ("* LOAD 1 @name SORTBY 2 @name DESC", &["3", "name=Zoe", "name=Al", ""]),
        ("* SORTBY 2 @num DESC MAX 2", &["3", "num=2.5", "num=1"]),
        ("* SORTBY 1 @num LIMIT 1 1", &["3", "num=1"]),
        (
            "* SORTBY 1 @num MAX 2 LOAD 2 @__key @extra",
            &["3", "num=-3 __key=d:3", "num=1 __key=d:1"],
        ),
        ("* LIMIT 1 1 APPLY @num*2 AS d", &["3", "num=2.5 d=5"]),
        (
            "* SORTBY 1 @num FILTER @num>0 APPLY @num+@price AS s",
            &["2", "num=1 price=5 s=6", "num=2.5 s=nil"],
        ),
        ("«@num:[$n inf]» LOAD 3 @num AS n PARAMS 2 n 0", &["2", "n=1", "n=2.5"]),
        (
            "hello ADDSCORES SCORER DOCSCORE APPLY @__score*2 AS s",
            &["2", "__score=1 s=2", "__score=1 s=2"],
        ),
        (
            "hello|goodbye APPLY matched_terms() AS m SORTBY 1 @m",
            &["3", "m=goodbye,+goodby", "m=hello", "m=hello"],
        ),
        (
            "* APPLY split(@tag,';') AS t GROUPBY 1 @t REDUCE COUNT 0 AS c",
            &["4", "t=Red c=1", "t=blue c=1", "t=red c=1", "t=nil c=1"],
        ),
        (
            "* GROUPBY 0 REDUCE FIRST_VALUE 4 @title BY @num DESC AS f REDUCE COUNT_DISTINCT 1 @price \
          AS d REDUCE COUNT_DISTINCTISH 1 @title AS i",
            &["1", "f=hello there d=2 i=3"],
        ),
        ("* SORTBY 1 @num GROUPBY 0 REDUCE FIRST_VALUE 1 @title AS f", &["1", "f=goodbye world"]),
        (
            "* GROUPBY 0 REDUCE MIN 1 @num AS a REDUCE MAX 1 @num AS b REDUCE SUM 1 @num AS s",
            &["1", "a=-3 b=2.5 s=0.5"],
        ),
        (
            "* GROUPBY 1 @tag REDUCE COUNT 0 AS c GROUPBY 1 @c REDUCE COUNT 0 AS n",
            &["1", "c=1 n=3"],
        ),
        (
            "* GROUPBY 1 @tag LOAD 1 @num",
            &["-SEARCH_QUERY_BAD LOAD cannot follow GROUPBY: a group is no document"],
        ),
        (
            "* GROUPBY 1 tag",
            &[
                "-SEARCH_PARSE_ARGS Bad arguments for GROUPBY: Unknown property `tag`. Did you mean \
             `@tag`?",
            ],
        ),
        (
            "* GROUPBY 1 @tag SORTBY 1 @num",
            &["-SEARCH_PROP_NOT_FOUND Property not loaded nor in pipeline: `num`"],
        ),
        ("nothing GROUPBY 0 REDUCE COUNT 0", &["0"]),
        ("* LIMIT 0 0", &["3"]),
    ];
    for (text, expected) in each {
        assert_eq!(&asked(text), expected, "{text}");
    }
}

#[test]
fn what_is_held_is_bounded() {
    let schema = schema(SCHEMA);
    let refused = |text: &str, bounds: Bounds| {
        let parts = [(indexed(&sample(), &schema), sample())];
        let aggregation = parsed(text, &schema).expect("valid");
        answer(&parts, &aggregation, bounds).expect_err("refused").to_string()
    };
    let few = Bounds { groups: 2, ..Bounds::default() };
    let text = refused("* GROUPBY 1 @title REDUCE COUNT 0", few);
    assert_eq!(text, "SEARCH_LIMIT_OVER GROUPBY has more than 2 groups");
    let small = Bounds { bytes: 300, ..Bounds::default() };
    let expected = "SEARCH_OOM Query needs more than 300 bytes: narrow it, use LIMIT or SORTBY \
                    MAX, return less, or raise MAXQUERYMEMORY with FT.CONFIG SET";
    for text in ["* LOAD *", "* GROUPBY 0 REDUCE TOLIST 1 @title REDUCE TOLIST 1 @num"] {
        assert_eq!(refused(text, small), expected);
    }
    let mut doubled = "hello".to_string();
    (0..20).for_each(|_| doubled.push_str(" APPLY format('%s%s',@title,@title) AS title"));
    let text = refused(&doubled, Bounds::default());
    assert!(text.starts_with("SEARCH_LIMIT_OVER An expression has a value"), "{text}");
    let stages = format!("*{}", " FILTER 1".repeat(limits::STAGES + 1));
    let error = parsed(&stages, &schema).expect_err("refused").to_string();
    assert_eq!(error, "SEARCH_LIMIT_OVER Aggregation has more than 128 stages");
}

#[test]
fn the_nearest_are_chosen_before_stages() {
    let schema = schema("SCHEMA v VECTOR FLAT 6 TYPE INT8 DIM 1 DISTANCE_METRIC L2 n NUMERIC");
    let store = store(&[
        ("a", &[("v", "b"), ("n", "1")]),
        ("b", &[("v", "a"), ("n", "2")]),
        ("c", &[("v", "z"), ("n", "3")]),
        ("d", &[("v", "c"), ("n", "4")]),
    ]);
    let parts: Vec<(Index, Store)> = store
        .0
        .chunks(2)
        .map(|part| Store(part.to_vec()))
        .map(|part| (indexed(&part, &schema), part))
        .collect();
    let text = "«*=>[KNN 2 @v $v AS s]» PARAMS 2 v a LOAD 1 @__key FILTER @n>1 SORTBY 1 @s";
    let aggregation = parsed(text, &schema).expect("valid");
    let answer = answer(&parts, &aggregation, Bounds::default()).expect("supported");
    assert_eq!(shown(&answer), ["s=0 __key=b n=2"]);
}

#[test]
fn states_of_another_aggregation_are_refused() {
    let schema = schema(SCHEMA);
    let texts = [
        "*",
        "* SORTBY 1 @num",
        "* GROUPBY 1 @tag REDUCE COUNT 0",
        "* GROUPBY 2 @tag @num REDUCE COUNT 0",
        "* GROUPBY 1 @tag REDUCE SUM 1 @num",
        "* GROUPBY 1 @tag REDUCE QUANTILE 3 @num 0.5 9",
        "* GROUPBY 1 @tag REDUCE QUANTILE 3 @num 0.5 8",
    ];
    let index = indexed(&sample(), &schema);
    let bounds = Bounds::default();
    for (number, text) in texts.iter().enumerate() {
        let aggregation = parsed(text, &schema).expect("valid");
        let statistics = index.statistics(&aggregation.request());
        let partial = index.aggregate(&aggregation, &statistics, &sample(), 0, bounds);
        let partial = partial.expect("supported");
        for (other_number, other) in texts.iter().enumerate() {
            let other = parsed(other, &schema).expect("valid");
            let result = Partial::default().merge(partial.clone(), &other, bounds);
            let alike = number == other_number || number.max(other_number) < 2;
            assert_eq!(result.is_ok(), alike, "{text}");
            assert_eq!(partial.clone().finish(&other, 0, bounds).is_ok(), alike, "{text}");
        }
    }
}

#[test]
fn cursors_are_asked_for() {
    let schema = schema(SCHEMA);
    let cursor = |text: &str| parsed(text, &schema).map(|aggregation| aggregation.cursor);
    assert_eq!(cursor("*"), Ok(None));
    let default = CursorOptions { count: 1000, max_idle_ms: 300_000 };
    assert_eq!(cursor("* WITHCURSOR"), Ok(Some(default)));
    let given = CursorOptions { count: 5, max_idle_ms: 9 };
    assert_eq!(cursor("* WITHCURSOR MAXIDLE 9 COUNT 5 LIMIT 0 9"), Ok(Some(given)));
    assert!(cursor("* WITHCURSOR COUNT 0").is_err());
}
