//! What clients and peers say to the search engine.

use quorate_search::aggregate::{Aggregation, Partial};
use quorate_search::execution::{Hits, Spelling, Statistics};
use quorate_search::expression::{Expression, Row, Value};
use quorate_search::hybrid::{Hybrid, HybridPartial, HybridStatistics};
use quorate_search::query::{Context, Dialect, Parameters, explain, parse};
use quorate_search::regex::Regex;
use quorate_search::wire::{Message, decode, encode};
use quorate_search::{Code, Schema};

/// Arguments of `FT.CREATE`, a line each: what is accepted prints as what makes it again.
pub(crate) fn schema(bytes: &[u8]) {
    let arguments: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let schema = match Schema::create(&arguments) {
        Ok(schema) => schema,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let printed = schema.arguments();
    let printed: Vec<&[u8]> = printed.iter().map(Vec::as_slice).collect();
    assert_eq!(Schema::create(&printed), Ok(schema));
}

pub(crate) fn schema_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "ON HASH PREFIX 1 d: SCHEMA title TEXT WEIGHT 2 SORTABLE tag TAG SEPARATOR ; \
         CASESENSITIVE num NUMERIC SORTABLE loc GEO geom GEOSHAPE FLAT",
        "ON JSON LANGUAGE french SCORE 0.5 STOPWORDS 2 a the SCHEMA $.t AS t TEXT PHONETIC dm:en \
         $.v AS v VECTOR HNSW 10 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 M 8 EPSILON 0.5",
        "NOOFFSETS NOFREQS TEMPORARY 9 SCHEMA v VECTOR SVS-VAMANA 8 TYPE FLOAT16 DIM 4 \
         DISTANCE_METRIC IP COMPRESSION LVQ8 w VECTOR FLAT 6 TYPE INT8 DIM 1 DISTANCE_METRIC COSINE",
    ];
    seeds.iter().map(|seed| seed.replace(' ', "\n").into_bytes()).collect()
}

/// A query behind its dialect: what is read prints as a query that is read as the same.
pub(crate) fn query(bytes: &[u8]) {
    let Some((&dialect, query)) = bytes.split_first() else { return };
    let Some(dialect) = Dialect::numbered(u64::from(dialect % 4) + 1) else { return };
    let query = String::from_utf8_lossy(query);
    let fields = "SCHEMA t TEXT u TEXT g TAG INDEXEMPTY n NUMERIC l GEO s GEOSHAPE v VECTOR FLAT 6 \
                  TYPE INT8 DIM 2 DISTANCE_METRIC L2 m TEXT INDEXEMPTY INDEXMISSING";
    let fields: Vec<&[u8]> = fields.split(' ').map(str::as_bytes).collect();
    let schema = Schema::create(&fields).expect("a valid schema");
    let given = [("w", "wo'\\rd"), ("n", "1"), ("v", "ab"), ("s", "POINT (1 1)")];
    let parameters: Parameters =
        given.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
    let context =
        Context { schema: &schema, dialect, parameters: &parameters, keep_stop_words: false };
    let node = match parse(&query, context) {
        Ok(node) => node,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let _ = explain(&node, &schema, &|_, _| Vec::new());
    let printed = node.printed(&schema);
    let again = Context {
        dialect: Dialect::Two,
        parameters: &printed.parameters,
        keep_stop_words: true,
        ..context
    };
    match parse(&printed.query, again) {
        // Parentheses that were not there go beyond what a query may be.
        Err(error) if error.code == Code::Limit => {}
        read => assert_eq!(read, Ok(node), "{}", printed.query),
    }
}

pub(crate) fn query_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "1hello -world|(foo \"exact phrase\") @t|u:(a b)=>{$weight:2;$slop:1;$inorder:true}",
        "1@g:{a|b c|d*|w'x?y'|\"q\"} @n:[(1 inf] @n>=$n @l:[1 2 3 km] -@s:[WITHIN $s] ~opt",
        "1(foo %bar% %%baz%% pre* *fix *in*)=>[KNN 5 @v $v EF_RUNTIME 3 AS d]=>{$weight:2}",
        "1@v:[VECTOR_RANGE 2 $v]=>{$yield_distance_as:d} ismissing(@m) w'a*' $w ''",
        "0@t:foo bar|baz -qux \"a b\"",
    ];
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// A document in which every property is a text.
struct Texts;

impl Row for Texts {
    fn property(&self, name: &str) -> Value {
        Value::Text(name.to_owned())
    }
}

/// An expression: it is refused, or has a value or none.
pub(crate) fn expression(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let value = Expression::parse(&text).and_then(|expression| expression.evaluate(&Texts));
    if let Err(error) = value {
        assert!(!error.to_string().is_empty());
    }
}

pub(crate) fn expression_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "(@a+2*-3)^2/4%5 - 1.5e3 >= 2 && !(@b != 'x') || \"y\" < NULL",
        "format('%s %%', upper(substr(@a, 1, -2)), contains(@b, 'x'), split(@c, ',;', ' '))",
        "case(exists(@a), timefmt(1517417144, '%F %T'), parsetime('2018-01-31', '%Y-%m-%d'))",
        "geodistance('1,2', 3, 4) + dayofyear(0) + log2(8) + to_number('5') + strlen(to_str(@n))",
    ];
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// What a peer says of a query: it is refused, or is written as what is read as the same.
pub(crate) fn wire(bytes: &[u8]) {
    fn again<M: Message>(bytes: &[u8]) {
        if let Ok(message) = decode::<M>(bytes) {
            let written = encode(&message);
            let read = decode::<M>(&written).expect("what was written");
            assert_eq!(encode(&read), written);
        }
    }
    again::<Statistics>(bytes);
    again::<Hits>(bytes);
    again::<Spelling>(bytes);
    again::<Partial>(bytes);
    again::<HybridStatistics>(bytes);
    again::<HybridPartial>(bytes);
}

pub(crate) fn wire_seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 7] = [
        b"\x01\x01\xac\x02\x05\x02\x01\x02\x01a\x01\x02bc\xac\x02\x00\x00",
        b"\x01\x02\x07\x01\x03\x01\x01k\0\0\0\0\0\0\xf0\x3f\x01\x01e\x00\x00\x01\x01d\
          \0\0\0\0\0\0\0\x40\x01\x01\x02\x01s",
        b"\x01\x03\x09\x01\x01\x02ab\x00\x01\x02ac\x02",
        b"\x01\x04\x03\x02\x01m\x01n\x01\x01k\x00\x01\x01\x01\0\0\0\0\0\0\xf0\x3f\
          \x01\x02\x00\x02\x01x\x01\x01t\x00",
        b"\x01\x04\x00\x00\x00\x01\x01\xff\x09\x00\x05\x01\x01\x01\xff\x02\x01\x03\x04\
          \x03\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x40\x04\0\0\0\0\0\0\0\0\
          \x06\x01\0\0\0\0\0\0\0\0\x00\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x40\
          \x07\x05\x01\x01\x02\x00\x08\x01\x00\x01k\x03\x01\x00\x09\x01\x07\x01k\x00",
        b"\x01\x05\x01\x01\x01\x00\x01\x01a\x01\x01\x01\x00",
        b"\x01\x06\x00\x00\x00\x00\x00\x00\x01\x01n\x01\x01k\x00\x00\x01\x00\x00\x00\x00",
    ];
    seeds.iter().map(|seed| seed.to_vec()).collect()
}

/// Arguments of `FT.AGGREGATE`, `FT.HYBRID` and `FT.REGEX`, a line each: they are refused, or ask
/// for something.
pub(crate) fn aggregation(bytes: &[u8]) {
    let fields = "SCHEMA t TEXT SORTABLE g TAG n NUMERIC v VECTOR FLAT 6 TYPE INT8 DIM 2 \
                  DISTANCE_METRIC L2";
    let fields: Vec<&[u8]> = fields.split(' ').map(str::as_bytes).collect();
    let schema = Schema::create(&fields).expect("a valid schema");
    let arguments: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    match Aggregation::parse(&arguments, &schema, Dialect::Two) {
        Ok(aggregation) => {
            let empty = Partial::default().finish(&aggregation, 0, Default::default());
            assert!(empty.is_ok_and(|answer| answer.rows.is_empty()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match Hybrid::parse(&arguments, &schema) {
        Ok(hybrid) => {
            let empty = HybridPartial::default().finish(&hybrid, 0, Default::default());
            assert!(empty.is_ok_and(|answer| answer.rows.is_empty()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Err(error) = Regex::parse(&arguments, &schema) {
        assert!(!error.to_string().is_empty());
    }
}

pub(crate) fn aggregation_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "* LOAD 3 @t AS u APPLY upper(@u) AS w FILTER @n>1 SORTBY 4 @w DESC @n ASC MAX 5 LIMIT 1 2",
        "a|b VERBATIM LANGUAGE german SCORER TFIDF ADDSCORES GROUPBY 2 @g @t REDUCE COUNT 0 AS c \
         REDUCE QUANTILE 3 @n 0.5 100 REDUCE FIRST_VALUE 4 @t BY @n DESC AS f LOAD *",
        "SEARCH a SCORER BM25 YIELD_SCORE_AS s VSIM @v $x KNN 2 K 5 FILTER @n:[1,2] COMBINE LINEAR 4 \
         ALPHA 1 WINDOW 5 PARAMS 2 x ab NOSORT LOAD *",
        "t (a|b[^c-e]+)?x{3}\\d$ DISTANCE 2 LIMIT 0 5",
        "@n:[$x,inf] PARAMS 2 x 1 DIALECT 3 TIMEOUT 5 WITHCURSOR COUNT 5 MAXIDLE 100 LOAD *",
    ];
    seeds.iter().map(|seed| seed.replace(' ', "\n").replace(',', " ").into_bytes()).collect()
}
