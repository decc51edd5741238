use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::limits;

const ALL: [Dialect; 4] = [Dialect::One, Dialect::Two, Dialect::Three, Dialect::Four];

fn schema() -> Schema {
    let arguments = "SCHEMA t TEXT u TEXT PHONETIC dm:en g TAG INDEXEMPTY n NUMERIC l GEO s \
                     GEOSHAPE FLAT v VECTOR HNSW 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 m TEXT \
                     INDEXEMPTY INDEXMISSING";
    let arguments: Vec<&[u8]> = arguments.split_whitespace().map(str::as_bytes).collect();
    Schema::create(&arguments).expect("valid")
}

fn parameters() -> Parameters {
    let given = [
        ("w", "Word"),
        ("odd", "a'b\\c\" $d.É*"),
        ("n", "1.5"),
        ("k", "3"),
        ("empty", ""),
        ("wkt", "POINT (1 1)"),
        ("vec", "\0\0\0\0\0\0\0\0"),
    ];
    given.iter().map(|&(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

fn read(query: &str, dialect: Dialect) -> Result<Node, String> {
    let (schema, parameters) = (schema(), parameters());
    let context =
        Context { schema: &schema, dialect, parameters: &parameters, keep_stop_words: false };
    parse(query, context).map_err(|error| error.to_string())
}

fn explained(query: &str) -> String {
    let node = read(query, Dialect::Two).expect(query);
    let text = explain(&node, &schema(), &|_, _| Vec::new());
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// The tree prints as a query that is read as the same tree.
fn reads_back(query: &str, dialect: Dialect) {
    let Ok(node) = read(query, dialect) else { return };
    let schema = schema();
    let printed = node.printed(&schema);
    let context = Context {
        schema: &schema,
        dialect: Dialect::Two,
        parameters: &printed.parameters,
        keep_stop_words: true,
    };
    match parse(&printed.query, context) {
        Ok(again) => assert_eq!(again, node, "{query} printed as {}", printed.query),
        Err(error) => panic!("{query} printed as {}: {error}", printed.query),
    }
}

#[test]
fn vectors_are_explained() {
    let nearest = "nearest vectors to `$vec` in vector index associated with field @v";
    assert_eq!(
        explained("*=>[KNN 5 @v $vec]"),
        format!("VECTOR {{K=5 {nearest}, yields distance as `__v_score`}}")
    );
    assert_eq!(
        explained("(foo bar)=>[knn $k @v $vec EF_RUNTIME 10 as d]"),
        format!(
            "VECTOR {{ INTERSECT {{ foo bar }} }} => {{K=3 {nearest}, EF_RUNTIME = 10, yields \
             distance as `d`}}"
        )
    );
    assert_eq!(
        explained("foo=>{$weight:2}=>[KNN 5 @v $vec]=>{$yield_distance_as:d; $weight:3}"),
        format!(
            "VECTOR {{ foo => {{$weight: 2;}} }} => {{K=5 {nearest}, yields distance as `d`}} => \
             {{ $weight: 3; }}"
        )
    );
    assert_eq!(
        explained("@v:[VECTOR_RANGE 3 $vec]=>{$YIELD_DISTANCE_AS: d; $EPSILON: 0.5}"),
        "VECTOR {Vectors that are within 3 distance radius from `$vec` in vector index associated \
         with field @v, EPSILON = 0.5, yields distance as `d`}"
    );
    assert_eq!(explained("@s:[within $wkt]"), "GEOSHAPE{2 POINT (1 1)}");
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (query, error) in [
        ("(hello", "SEARCH_SYNTAX Syntax error at offset 1 near hello"),
        ("@nope:x", "SEARCH_SYNTAX Unknown field at offset 0 near nope"),
        ("@n:hello", "SEARCH_SYNTAX Expected a TEXT field at offset 0 near n"),
        ("foo @t:{a}", "SEARCH_SYNTAX Expected a TAG field at offset 4 near t"),
        ("$x", "SEARCH_PARAM_NOT_FOUND Parameter not found `x`"),
        ("hello world=>[KNN 5 @v $vec]", "SEARCH_SYNTAX Syntax error at offset 11 near >["),
        ("*=>[KNN 5 @v $vec] foo", "SEARCH_SYNTAX Syntax error at offset 19 near foo"),
        ("*=>[KNN -1 @v $vec]", "SEARCH_SYNTAX Syntax error at offset 8 near -1"),
        (
            "*=>[FOO 5 @v $vec]",
            "SEARCH_SYNTAX Syntax error: Expecting Vector Similarity command at offset 4 near FOO",
        ),
        (
            "*=>[KNN 2 @v $w]",
            "SEARCH_QUERY_BAD Error parsing vector similarity query: query vector blob size (4) \
             does not match index's expected size (8).",
        ),
        ("*=>[KNN 5 @t $vec]", "SEARCH_SYNTAX Expected a VECTOR field at offset 10 near t"),
        ("*=>[KNN 5 @v $vec AS t]", "SEARCH_FIELD_DUP Property `t` already exists in schema"),
        ("@n:[$w 2]", "SEARCH_SYNTAX Bad lower range: Word"),
        (
            "@t:\"\"",
            "SEARCH_SYNTAX Use `INDEXEMPTY` in field creation in order to index and query for \
             empty strings",
        ),
    ] {
        assert_eq!(read(query, Dialect::Two).expect_err(query), error, "{query}");
    }
}

#[test]
fn later_dialects_read_as_the_second() {
    for query in ["foo -bar baz", "@t:foo bar", "@n>5 w'a*'", "~y x"] {
        let second = read(query, Dialect::Two);
        assert_eq!(read(query, Dialect::Three), second);
        assert_eq!(read(query, Dialect::Four), second);
        assert_ne!(read(query, Dialect::One), second, "{query}");
    }
}

#[test]
fn queries_are_bounded() {
    let code = |query: &str| read(query, Dialect::Two).expect_err("too much");
    let deep = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
    let at = limits::QUERY_DEPTH / 2;
    let nested = limits::QUERY_DEPTH;
    assert_eq!(
        code(&deep),
        format!("SEARCH_LIMIT_OVER Query is nested more than {nested} deep at offset {at}")
    );
    for dialect in ALL {
        assert!(read(&"-".repeat(10_000), dialect).is_err());
        assert!(read(&"~(".repeat(10_000), dialect).is_err());
        assert!(read(&"@t:(".repeat(10_000), dialect).is_err());
    }
    assert!(read(&format!("{}a{}", "(".repeat(90), ")".repeat(90)), Dialect::Two).is_ok());
    let long = "a ".repeat(limits::QUERY_TOKENS + 1);
    assert!(code(&long).starts_with("SEARCH_LIMIT_OVER Query has more than"));
    let long = "a".repeat(limits::QUERY_BYTES + 1);
    assert!(code(&long).starts_with("SEARCH_LIMIT_OVER Query is longer than"));
}

#[test]
fn special_cases_read_back() {
    for query in [
        "",
        "the",
        "*",
        "(*)",
        "ismissing (a b)",
        "@t:ismissing(@m)",
        "w'$odd'",
        "$odd* *$odd *$odd* %$odd%",
        "@g:{$odd|$odd*|w'$odd'|\"\"|a $odd}",
        "@m:\"\" ''",
        "$empty",
        "\"a\\-b 1.5\" 1.5 -5 +5 1\\.5",
        "a\\\\\\\\\\\\b",
        "@g:{a|\"\"s}",
        "(a b) c|(d|e)|((f|g)|h)",
        "(a b)=>{$weight:2} c",
        "@t:(a b) c @t:(@u)",
        "@n:[-inf (1e300] @n!=$n @l:[1 -2 3 km]",
        "@s:[DISJOINT $wkt] | -@s:[CONTAINS $wkt]",
        "the=>[KNN 3 @v $vec]",
        "(a|b)=>[KNN 3 @v $vec HYBRID_POLICY BATCHES BATCH_SIZE 3 AS a\\-b]=>{$weight:0.1}",
        "@v:[VECTOR_RANGE inf $vec]=>{$epsilon:1; $weight:2}",
    ] {
        for dialect in ALL {
            reads_back(query, dialect);
        }
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "foo",
        "bar",
        "the",
        "1",
        "2.5",
        "-3",
        "@t:",
        "@u:",
        "@t|u:",
        "@g:{",
        "}",
        "@n:[",
        "]",
        "(",
        ")",
        "(",
        ")",
        "\"",
        "\"",
        "|",
        "|",
        "-",
        "~",
        "*",
        "%",
        "=>{$weight:2}",
        ":",
        "$w",
        "$odd",
        "hel*",
        "*lo",
        "*el*",
        "%fz%",
        "w'a*b'",
        "@g:{a|b}",
        "@n:[1 2]",
        "@n>2",
        "\"x y\"",
        ";",
        "$",
        "@",
        "\\",
        "ismissing(@m)",
        "é",
        "@l:[1 2 3 km]",
        "inf",
        "''",
        "==",
        "=>[",
        "(foo bar)",
        "=>{$slop:1;$inorder:true}",
        "@s:[WITHIN $wkt]",
        "=>[KNN 2 @v $vec]",
        "@v:[VECTOR_RANGE 2 $vec]",
        " ",
        " ",
        " ",
        " ",
        " ",
        " ",
    ])
}

proptest! {
    #[test]
    fn what_is_read_reads_back(
        pieces in prop::collection::vec(piece(), 1..14),
        dialect in prop::sample::select(ALL.to_vec()),
    ) {
        reads_back(&pieces.concat(), dialect);
    }

    #[test]
    fn no_query_makes_it_panic(query in ".{0,40}", dialect in prop::sample::select(ALL.to_vec())) {
        reads_back(&query, dialect);
    }
}
