//! What clients say to the search engine.

use quorate_search::Schema;

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
