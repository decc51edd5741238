//! What `FT.CREATE` and `FT.ALTER` accept and refuse. Outcomes marked as RediSearch's were
//! answered by one (2.10 or 8.10; where they differ, the texts are 8.10's).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn create(command: &str) -> Result<Schema, String> {
    let arguments: Vec<&[u8]> = command.split_whitespace().map(unquoted).collect();
    Schema::create(&arguments).map_err(|error| error.to_string())
}

fn alter(schema: &Schema, command: &str) -> Result<Schema, String> {
    let arguments: Vec<&[u8]> = command.split_whitespace().map(unquoted).collect();
    schema.alter(&arguments).map_err(|error| error.to_string())
}

/// `''` stands for nothing.
fn unquoted(word: &str) -> &[u8] {
    if word == "''" { b"" } else { word.as_bytes() }
}

fn refused(command: &str, error: &str) {
    assert_eq!(create(command).expect_err(command), error, "{command}");
}

#[test]
fn a_schema_with_everything_is_read() {
    let schema = create(
        "ON HASH PREFIX 2 a: b: FILTER @x>1 LANGUAGE French LANGUAGE_FIELD lang SCORE 0.25 \
         SCORE_FIELD s PAYLOAD_FIELD p MAXTEXTFIELDS NOOFFSETS NOFREQS TEMPORARY 60 STOPWORDS 2 \
         The of SKIPINITIALSCAN INDEXALL ENABLE SCHEMA title AS t TEXT WEIGHT 2.5 NOSTEM PHONETIC \
         dm:en WITHSUFFIXTRIE INDEXEMPTY INDEXMISSING SORTABLE UNF tags TAG SEPARATOR ; \
         CASESENSITIVE SORTABLE n NUMERIC NOINDEX loc GEO area GEOSHAPE FLAT",
    );
    let schema = schema.expect("valid");
    assert_eq!(schema.prefixes, [b"a:".to_vec(), b"b:".to_vec()]);
    assert_eq!(schema.language, Some(Language::French));
    assert_eq!(schema.score, 0.25);
    assert!(schema.options.no_highlight, "NOOFFSETS implies NOHL");
    let words = schema.stop_words.as_ref().expect("given");
    assert!(words.iter().eq(["of", "the"]));
    let title = schema.field(b"t").expect("defined");
    assert_eq!(title.path, b"title");
    assert_eq!(
        title.kind,
        Kind::Text(Text {
            weight: 2.5,
            no_stem: true,
            phonetic: Some(Phonetic::English),
            suffix_trie: true
        })
    );
    assert!(title.index_empty && title.index_missing && title.sortable && title.unnormalized);
    assert!(schema.field(b"tags").expect("defined").unnormalized, "it keeps its case anyway");
    assert!(schema.field(b"n").expect("defined").no_index);
    assert_eq!(schema.field(b"area").expect("defined").kind, Kind::GeoShape(Coordinates::Flat));
}

#[test]
fn defaults_are_those_of_redisearch() {
    let hash = create("SCHEMA t TEXT g TAG n NUMERIC SORTABLE s GEOSHAPE").expect("valid");
    assert_eq!(hash.prefixes, [b""]);
    assert!(hash.covers(b"anything"));
    assert_eq!(hash.score, 1.0);
    let Kind::Tag(tag) = hash.fields[1].kind else { panic!("a tag") };
    assert_eq!(tag.separator, Some(b','));
    assert!(hash.fields[2].unnormalized);
    assert_eq!(hash.fields[3].kind, Kind::GeoShape(Coordinates::Spherical));
    let json = create("ON JSON SCHEMA $.g AS g TAG $.t TEXT SORTABLE").expect("valid");
    let Kind::Tag(tag) = json.fields[0].kind else { panic!("a tag") };
    assert_eq!(tag.separator, None);
    assert!(json.fields[1].unnormalized);
    assert_eq!(json.fields[1].name, b"$.t");
    assert_eq!(create("PREFIX 0 SCHEMA t TEXT").expect("valid").prefixes, [b""]);
    let last = create("PREFIX 1 a PREFIX 1 b SCHEMA t TEXT").expect("valid");
    assert_eq!(last.prefixes, [b"b"]);
    assert!(last.covers(b"bc") && !last.covers(b"ab"));
}

#[test]
fn vectors_are_read() {
    let schema = create(
        "SCHEMA v VECTOR hnsw 16 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 INITIAL_CAP 10 M 8 \
         EF_CONSTRUCTION 50 EF_RUNTIME 20 EPSILON 0.2 INDEXMISSING \
         w VECTOR FLAT 8 TYPE INT8 DIM 3 DISTANCE_METRIC COSINE BLOCK_SIZE 7 \
         x VECTOR SVS-VAMANA 12 TYPE FLOAT16 DIM 4 DISTANCE_METRIC IP COMPRESSION leanvec4x8 \
         REDUCE 2 TRAINING_THRESHOLD 2048",
    );
    let schema = schema.expect("valid");
    let Kind::Vector(vector) = &schema.fields[0].kind else { panic!("a vector") };
    let graph = Graph {
        initial_capacity: Some(10),
        neighbours: 8,
        construction_candidates: 50,
        search_candidates: 20,
        epsilon: 0.2,
    };
    assert_eq!(vector.algorithm, Algorithm::Hnsw(graph));
    assert_eq!((vector.dimensions, vector.metric), (2, Metric::Euclidean));
    assert!(schema.fields[0].index_missing);
    let Kind::Vector(vector) = &schema.fields[1].kind else { panic!("a vector") };
    assert_eq!(vector.element, Element::Int8);
    let Kind::Vector(vector) = &schema.fields[2].kind else { panic!("a vector") };
    let Algorithm::Vamana(vamana) = vector.algorithm else { panic!("vamana") };
    assert_eq!(vamana.compression, Some(Compression::LeanVec4x8));
    assert_eq!((vamana.reduced_dimensions, vamana.degree), (Some(2), 32));
}

/// All answered by a RediSearch.
#[test]
fn what_is_wrong_is_refused_as_redisearch_does() {
    let convert = "Could not convert argument to expected type";
    for (command, error) in [
        ("ON FOO SCHEMA t TEXT", "SEARCH_ADD_ARGS Invalid rule type: FOO"),
        ("PREFIX 2 a SCHEMA t TEXT", "SEARCH_ARG_UNRECOGNIZED Unknown argument `t`"),
        (
            "PREFIX a SCHEMA t TEXT",
            &format!("SEARCH_PARSE_ARGS Bad arguments for PREFIX: {convert}"),
        ),
        ("LANGUAGE klingon SCHEMA t TEXT", "SEARCH_ADD_ARGS Invalid language"),
        ("FILTER SCHEMA t TEXT", "SEARCH_EXPR Unknown symbol 'SCHEMA'"),
        ("FILTER @a== SCHEMA t TEXT", "SEARCH_EXPR Syntax error at offset 2 near 'a'"),
        ("SCORE 2 SCHEMA t TEXT", "SEARCH_ADD_ARGS Invalid score"),
        ("SCORE abc SCHEMA t TEXT", "SEARCH_ADD_ARGS Invalid score"),
        ("SCORE -0.1 SCHEMA t TEXT", "SEARCH_ADD_ARGS Invalid score"),
        (
            "STOPWORDS 9 a SCHEMA t TEXT",
            "SEARCH_PARSE_ARGS Bad arguments for STOPWORDS: Expected an argument, but none provided",
        ),
        (
            "TEMPORARY abc SCHEMA t TEXT",
            &format!("SEARCH_PARSE_ARGS Bad arguments for TEMPORARY: {convert}"),
        ),
        ("BOGUS SCHEMA t TEXT", "SEARCH_ARG_UNRECOGNIZED Unknown argument `BOGUS`"),
        (
            "MAXTEXTFIELDS NOFIELDS SCHEMA t TEXT",
            "SEARCH_QUERY_BAD MAXTEXTFIELDS cannot be used with NOFIELDS",
        ),
        ("NOHL", "SEARCH_PARSE_ARGS No schema found"),
        ("NOHL SCHEMA", "SEARCH_PARSE_ARGS Fields arguments are missing"),
        ("SCHEMA t AS", "SEARCH_PARSE_ARGS AS requires an argument"),
        ("SCHEMA t AS b", "SEARCH_PARSE_ARGS Field `b` does not have a type"),
        ("SCHEMA t NOPE", "SEARCH_PARSE_ARGS Invalid field type for field `t`"),
        ("SCHEMA t TEXT t TEXT", "SEARCH_QUERY_BAD Duplicate field in schema - t"),
        ("SCHEMA t AS b TEXT u AS b TAG", "SEARCH_QUERY_BAD Duplicate field in schema - b"),
        (
            "SCHEMA t TEXT WEIGHT abc",
            &format!("SEARCH_PARSE_ARGS Bad arguments for weight: {convert}"),
        ),
        ("SCHEMA t TEXT NOPE", "SEARCH_PARSE_ARGS Field `NOPE` does not have a type"),
        (
            "SCHEMA t TEXT SORTABLE UNF WEIGHT 3",
            "SEARCH_PARSE_ARGS Invalid field type for field `WEIGHT`",
        ),
        (
            "SCHEMA t TEXT NOINDEX INDEXEMPTY",
            "SEARCH_PARSE_ARGS Field `INDEXEMPTY` does not have a type",
        ),
        (
            "SCHEMA t NUMERIC INDEXEMPTY",
            "SEARCH_PARSE_ARGS Field `INDEXEMPTY` does not have a type",
        ),
        (
            "SCHEMA t TEXT INDEXMISSING NOINDEX",
            "SEARCH_PARSE_ARGS 'Field cannot be defined with both `NOINDEX` and `INDEXMISSING` `t` '",
        ),
        (
            "SCHEMA t TAG SEPARATOR ab",
            "SEARCH_PARSE_ARGS Tag separator must be a single character. Got `ab`",
        ),
        (
            "SCHEMA t TAG SEPARATOR ''",
            "SEARCH_PARSE_ARGS Tag separator must be a single character. Got ``",
        ),
        ("SCHEMA t GEOSHAPE FOO", "SEARCH_PARSE_ARGS Field `FOO` does not have a type"),
    ] {
        refused(command, error);
    }
}

/// All answered by a RediSearch.
#[test]
fn what_is_wrong_with_vectors_is_refused_as_redisearch_does() {
    let bad = "SEARCH_PARSE_ARGS Bad arguments for";
    let hnsw = "SCHEMA v VECTOR HNSW";
    let three = "TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2";
    let missing = "SEARCH_PARSE_ARGS Missing mandatory parameter: cannot create HNSW index without specifying";
    for (command, error) in [
        (
            "SCHEMA v VECTOR NOPE 0".into(),
            format!("{bad} vector similarity algorithm: Unknown argument"),
        ),
        (
            format!("{hnsw} abc"),
            format!(
                "{bad} vector similarity number of parameters: Could not convert argument to expected type"
            ),
        ),
        (format!("{hnsw} 9 {three}"), format!("{bad} vector similarity: not enough arguments")),
        (format!("{hnsw} 0"), format!("{missing} TYPE argument")),
        (format!("{hnsw} 4 TYPE FLOAT32 DIM 2"), format!("{missing} DISTANCE_METRIC argument")),
        (format!("{hnsw} 4 TYPE FLOAT32 DISTANCE_METRIC L2"), format!("{missing} DIM argument")),
        (
            format!("{hnsw} 6 TYPE FLOAT32 DIM 0 DISTANCE_METRIC L2"),
            format!("{bad} vector similarity HNSW index `DIM`: Value is outside acceptable bounds"),
        ),
        (
            format!("{hnsw} 6 TYPE FLOATX DIM 2 DISTANCE_METRIC L2"),
            format!("{bad} vector similarity HNSW index `TYPE`: Unknown argument"),
        ),
        (
            format!("{hnsw} 5 TYPE FLOAT32 DIM 2 DISTANCE_METRIC"),
            format!(
                "{bad} vector similarity HNSW index `DISTANCE_METRIC`: Expected an argument, but none provided"
            ),
        ),
        (format!("{hnsw} 8 {three} BLOCK_SIZE 5"), format!("{bad} algorithm HNSW: BLOCK_SIZE")),
        (format!("SCHEMA v VECTOR FLAT 8 {three} M 5"), format!("{bad} algorithm FLAT: M")),
        (
            format!("{hnsw} 8 {three} M 0"),
            format!("{bad} vector similarity HNSW index `M`: Value is outside acceptable bounds"),
        ),
        (
            format!("{hnsw} 6 {three} SORTABLE"),
            "SEARCH_PARSE_ARGS Field `SORTABLE` does not have a type".into(),
        ),
        (
            format!("SCHEMA v VECTOR SVS-VAMANA 8 {three} REDUCE 1"),
            "SEARCH_PARSE_ARGS REDUCE is irrelevant when compression is not of type LeanVec".into(),
        ),
    ] {
        let command: String = command;
        refused(&command, &error);
    }
}

#[test]
fn a_schema_grows_and_is_left_alone_by_what_is_refused() {
    let schema = create("SCHEMA t TEXT").expect("valid");
    let grown = alter(&schema, "SKIPINITIALSCAN SCHEMA ADD g TAG n NUMERIC").expect("valid");
    assert_eq!(grown.fields.len(), 3);
    assert!(grown.options.skip_initial_scan);
    for (command, error) in [
        ("ADD u TEXT", "ALTER must be followed by SCHEMA"),
        ("SCHEMA u TEXT", "Unknown action passed to ALTER SCHEMA"),
        ("SCHEMA ADD u TEXT t TEXT", "SEARCH_QUERY_BAD Duplicate field in schema - t"),
    ] {
        assert_eq!(alter(&schema, command).expect_err(command), error);
    }
    assert_eq!(schema.fields.len(), 1);
}

#[test]
fn schemas_are_bounded() {
    let fields = |count: usize, kind: &str| -> String {
        (0..count).fold(String::from("SCHEMA"), |all, n| format!("{all} f{n} {kind}"))
    };
    assert!(create(&fields(1024, "TAG")).is_ok());
    refused(&fields(1025, "TAG"), "SEARCH_QUERY_BAD Schema is limited to 1024 fields");
    assert!(create(&fields(128, "TEXT")).is_ok());
    refused(&fields(129, "TEXT"), "SEARCH_QUERY_BAD Schema is limited to 128 TEXT fields");
}

fn common_option() -> impl Strategy<Value = &'static str> {
    prop::sample::select(alloc::vec!["", "SORTABLE", "SORTABLE UNF"])
}

fn field() -> impl Strategy<Value = String> {
    let text = ("", "WEIGHT 0.1", "NOSTEM", "PHONETIC dm:es", "WITHSUFFIXTRIE", "INDEXEMPTY");
    let text = prop::sample::subsequence(
        alloc::vec![text.0, text.1, text.2, text.3, text.4, text.5],
        0..6,
    );
    let tag = alloc::vec!["SEPARATOR |", "CASESENSITIVE", "WITHSUFFIXTRIE", "INDEXMISSING"];
    let tag = prop::sample::subsequence(tag, 0..4);
    prop_oneof![
        (text, common_option()).prop_map(|(o, c)| format!("TEXT {} {c}", o.join(" "))),
        (tag, common_option()).prop_map(|(o, c)| format!("TAG {} {c}", o.join(" "))),
        common_option().prop_map(|c| format!("NUMERIC {c} NOINDEX")),
        common_option().prop_map(|c| format!("GEO INDEXMISSING {c}")),
        Just("GEOSHAPE FLAT".to_string()),
        (1u32..9, 0.0f64..2.0).prop_map(|(dim, epsilon)| format!(
            "VECTOR HNSW 10 TYPE FLOAT64 DIM {dim} DISTANCE_METRIC IP EPSILON {epsilon} M 4"
        )),
        Just("VECTOR FLAT 6 TYPE UINT8 DIM 4 DISTANCE_METRIC COSINE".to_string()),
        Just(
            "VECTOR SVS-VAMANA 8 TYPE FLOAT32 DIM 4 DISTANCE_METRIC L2 COMPRESSION LVQ8"
                .to_string()
        ),
    ]
}

proptest! {
    #[test]
    fn a_schema_prints_as_what_makes_it(
        json in any::<bool>(),
        options in prop::sample::subsequence(alloc::vec![
            "PREFIX 2 a b", "FILTER @x", "LANGUAGE greek", "SCORE 0.3", "PAYLOAD_FIELD p",
            "NOOFFSETS", "NOHL", "NOFREQS", "NOFIELDS", "TEMPORARY 7", "STOPWORDS 0",
            "INDEXALL ENABLE", "SCORE_FIELD s", "LANGUAGE_FIELD l", "SKIPINITIALSCAN",
        ], 0..15),
        fields in prop::collection::vec(field(), 1..6),
    ) {
        let on = if json { "ON JSON" } else { "ON HASH" };
        let fields: Vec<String> =
            fields.iter().enumerate().map(|(n, field)| format!("f{n} {field}")).collect();
        let schema = create(&format!("{on} {} SCHEMA {}", options.join(" "), fields.join(" ")));
        let schema = schema.expect("valid");
        let printed = schema.arguments();
        let printed: Vec<&[u8]> = printed.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(Schema::create(&printed).expect("its own printing"), schema);
    }

    #[test]
    fn no_arguments_make_it_panic(arguments in prop::collection::vec(
        prop_oneof![
            prop::sample::select(alloc::vec![
                "SCHEMA", "PREFIX", "1", "TEXT", "VECTOR", "HNSW", "2", "TYPE", "t", "AS", "TAG",
                "SEPARATOR", "WEIGHT", "-1", "STOPWORDS",
            ]).prop_map(|word| word.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..3),
        ], 0..20)
    ) {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let _ = Schema::create(&arguments);
    }
}
