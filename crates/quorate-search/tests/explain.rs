//! Queries and what RediSearch 2.10 answered to `FT.EXPLAIN`, in dialects 1 and 2. Each line of
//! `data/explain.txt`: the dialects, the query, the answer. Left out are other forms of words, and
//! what 8.10 answers otherwise: its errors say the field's kind and begin with a code.

use quorate_search::Schema;
use quorate_search::query::{Context, Dialect, Parameters, explain, parse};

#[test]
fn queries_are_explained_as_redisearch_does() {
    let arguments = "SCHEMA t TEXT u TEXT NOSTEM g TAG INDEXEMPTY n NUMERIC l GEO s GEOSHAPE FLAT \
                     v VECTOR HNSW 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 p TEXT m TEXT \
                     INDEXEMPTY INDEXMISSING";
    let arguments: Vec<&[u8]> = arguments.split(' ').map(str::as_bytes).collect();
    let schema = Schema::create(&arguments).expect("valid");
    let given = [("w", "Word"), ("a", "1.5"), ("b", "2"), ("u", "km"), ("two", "two words")];
    let parameters: Parameters =
        given.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let mut cases = 0;
    for line in include_str!("data/explain.txt").lines() {
        let mut parts = line.split('\t');
        let mut part = || parts.next().expect("three parts");
        let (dialects, query, answer) = (part(), part(), part().replace("\\n", "\n"));
        for dialect in dialects.chars() {
            let number = u64::from(dialect.to_digit(10).expect("a digit"));
            let dialect = Dialect::numbered(number).expect("a dialect");
            let context = Context {
                schema: &schema,
                dialect,
                parameters: &parameters,
                keep_stop_words: false,
            };
            let explained = match parse(query, context) {
                Ok(node) => explain(&node, &schema, &|_, _| Vec::new()).trim_end().to_owned(),
                Err(error) => format!("-{error}"),
            };
            assert_eq!(explained, answer, "{query} in {dialect:?}");
            cases += 1;
        }
    }
    assert!(cases > 500, "{cases}");
}
