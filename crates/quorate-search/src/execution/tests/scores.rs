//! Scores and their explanations, as RediSearch gave them: 2.10, and 8.10 where both were asked,
//! which weighs lengths by 0.75 and shows weights.

use super::*;
use crate::execution::Explanation;

/// Key, score, payload and values.
type Given = (&'static str, f64, Option<&'static str>, &'static [(u16, &'static str)]);

/// What a RediSearch was given; the texts of `t` count twice.
const DOCUMENTS: [Given; 4] = [
    (
        "1",
        0.5,
        Some("abcd"),
        &[(0, "hello world hello"), (1, "the quick brown fox runs"), (2, "1"), (3, "a,b")],
    ),
    ("2", 1.0, None, &[(0, "hello there"), (1, "fox fox"), (2, "2"), (3, "b")]),
    ("3", 1.0, Some("abce"), &[(0, "bye world"), (1, "hello big bad world"), (2, "3"), (3, "c")]),
    ("4", 1.0, None, &[(0, "nothing"), (1, "running dogs"), (2, "4"), (3, "c")]),
];

fn indexed() -> (Schema, Index) {
    let schema = schema("SCHEMA t TEXT WEIGHT 2.5 u TEXT n NUMERIC g TAG");
    let mut index = Index::new(schema.clone(), Synonyms::default());
    for (key, score, payload, values) in DOCUMENTS {
        let fields =
            values.iter().map(|&(id, value)| (FieldId(id), Value::Bytes(value.as_bytes())));
        let document = Document {
            key: key.as_bytes(),
            language: None,
            score: Some(score),
            payload: payload.map(str::as_bytes),
            fields: fields.collect(),
        };
        index.put(&document).expect("indexed");
    }
    (schema, index)
}

/// Keys and scores, in order.
fn scores(query: &str, scorer: Scorer) -> Vec<(String, f64)> {
    let (schema, index) = indexed();
    let node = tree(&schema, query).expect("valid");
    let request = Request { scorer, payload: Some(b"abcd"), ..Request::new(&node) };
    let hits = hits(&[index], &request);
    let key = |hit: &Hit| String::from_utf8_lossy(&hit.key).into_owned();
    hits.best.iter().map(|hit| (key(hit), hit.score)).collect()
}

/// 2.10 has scored the second document so: a stem counts a fifth of its field's weight, at least
/// once.
#[test]
fn a_word_found_by_its_stem_counts_less_than_itself() {
    let scores = |weight: &str| {
        let schema = schema(&format!("SCHEMA t TEXT WEIGHT {weight}"));
        let mut index = Index::new(schema.clone(), Synonyms::default());
        for (key, text) in [("a", "running dog"), ("b", "cat runs")] {
            let fields = vec![(FieldId(0), Value::Bytes(text.as_bytes()))];
            let key = key.as_bytes();
            let document = Document { key, language: None, score: None, payload: None, fields };
            index.put(&document).expect("indexed");
        }
        let node = tree(&schema, "running").expect("valid");
        let request = Request { scorer: Scorer::Tfidf, ..Request::new(&node) };
        let hits = hits(&[index], &request).best;
        hits.iter().map(|hit| (hit.score * 100.0).round()).collect::<Vec<_>>()
    };
    assert_eq!(scores("10"), [120.0, 20.0]);
    assert_eq!(scores("1"), [200.0, 100.0]);
}

#[test]
fn scores_are_those_of_redisearch() {
    let third = 0.333_333_333_333_333_3;
    for (query, scorer, expected) in [
        ("hello", Scorer::Tfidf, &[("2", 1.0), ("1", 0.5), ("3", third)][..]),
        ("hello world", Scorer::Tfidf, &[("3", 1.333_333_333_333_333_3), ("1", 0.75)]),
        ("hello|fox @n:[1 2]", Scorer::Tfidf, &[("2", 2.5), ("3", third), ("1", 0.25)]),
        ("@t:hello @g:{a}", Scorer::Tfidf, &[("1", 0.75)]),
        ("\"hello world\"", Scorer::Tfidf, &[("1", 0.75)]),
        ("~hello fox", Scorer::Tfidf, &[("2", 2.0), ("1", 0.208_333_333_333_333_34)]),
        ("(hello fox)=>{$weight:3}", Scorer::Tfidf, &[("2", 6.0), ("1", 0.625)]),
        ("*", Scorer::Tfidf, &[("2", 0.5), ("4", 0.5), ("3", third), ("1", 0.125)]),
        ("-hello", Scorer::Tfidf, &[("4", 0.0)]),
        ("@g:{b|c}", Scorer::Tfidf, &[("2", 0.5), ("4", 0.5), ("3", third), ("1", 0.125)]),
        ("run", Scorer::Tfidf, &[("4", 0.5), ("1", 0.125)]),
        ("@u:hello", Scorer::Tfidf, &[("3", third)]),
        ("hello", Scorer::TfidfDocNorm, &[("2", 0.5), ("1", 0.2), ("3", 0.125)]),
        ("hello world", Scorer::TfidfDocNorm, &[("3", 0.5), ("1", 0.3)]),
        (
            "hello",
            Scorer::Bm25,
            &[
                ("2", 0.307_692_299_227_743),
                ("1", 0.235_294_112_697_192_22),
                ("3", 0.181_818_175_906_977_57),
            ],
        ),
        (
            "hello world",
            Scorer::Bm25,
            &[("3", 0.581_818_166_370_234_6), ("1", 0.389_140_262_311_063_7)],
        ),
        (
            "hello|fox @n:[1 2]",
            Scorer::Bm25,
            &[
                ("2", 0.797_202_774_362_463_6),
                ("3", 0.181_818_175_906_977_57),
                ("1", 0.139_037_429_534_723_28),
            ],
        ),
        ("hello", Scorer::DisMax, &[("1", 4.0), ("2", 2.0), ("3", 1.0)]),
        ("hello world", Scorer::DisMax, &[("1", 6.0), ("3", 4.0)]),
        ("hello|fox @n:[1 2]", Scorer::DisMax, &[("1", 4.0), ("2", 3.0), ("3", 1.0)]),
        ("hello", Scorer::DocScore, &[("2", 1.0), ("3", 1.0), ("1", 0.5)]),
        ("*", Scorer::Hamming, &[("1", 1.0), ("3", 0.5), ("2", 0.0), ("4", 0.0)]),
    ] {
        let expected: Vec<(String, f64)> =
            expected.iter().map(|&(key, score)| (key.to_string(), score)).collect();
        let found = scores(query, scorer);
        let close = |(one, other): (&(String, f64), &(String, f64))| {
            one.0 == other.0 && (one.1 - other.1).abs() < 1e-12
        };
        let alike = found.len() == expected.len() && found.iter().zip(&expected).all(close);
        assert!(alike, "{query} by {scorer:?}: {found:?}, not {expected:?}");
    }
}

/// As a RediSearch answered: stems do not count for how common a document's commonest term is.
#[test]
fn the_commonest_word_is_a_word() {
    let schema = schema("SCHEMA t TEXT WEIGHT 2");
    let mut index = Index::new(schema.clone(), Synonyms::default());
    for (key, text) in [("a", "runs running red"), ("b", "red run"), ("c", "red runs blue run red")]
    {
        let values = vec![(0, text.to_string())];
        let sample = Sample { key: key.to_string(), score: None, values };
        index.put(&sample.document()).expect("indexed");
    }
    let node = tree(&schema, "red").expect("valid");
    let request = Request { scorer: Scorer::Tfidf, ..Request::new(&node) };
    let scores: Vec<f64> = hits(&[index], &request).best.iter().map(|hit| hit.score).collect();
    assert_eq!(scores, [1.0, 1.0, 1.0]);
}

/// An explanation, a line a part.
fn lines(explanation: &Explanation, depth: usize, lines: &mut Vec<String>) {
    lines.push(format!("{}{}", "  ".repeat(depth), explanation.text));
    for child in &explanation.children {
        self::lines(child, depth + 1, lines);
    }
}

#[test]
fn scores_are_explained_in_the_words_of_redisearch() {
    let (schema, index) = indexed();
    let explained = |query: &str, scorer| {
        let node = tree(&schema, query).expect("valid");
        let request = Request {
            scorer,
            explain: true,
            top: 1,
            payload: Some(b"abcd"),
            ..Request::new(&node)
        };
        let statistics = index.statistics(&request);
        let hits = index.search(&request, &statistics).expect("supported");
        let mut all = Vec::new();
        lines(hits.best[0].explanation.as_ref().expect("asked for"), 0, &mut all);
        all
    };
    let length = "(1 - b 0.75 + b 0.75 * Doc Len 4 / Average Doc Len 6.50)";
    assert_eq!(
        explained("hello fox @n:[2 2]", Scorer::Bm25Std),
        [
            "Final BM25 : words BM25 1.62 * document score 1.00".to_string(),
            "  (Weight 1.00 * children BM25 1.62)".to_string(),
            format!(
                "    hello: (0.55 = Weight 1.00 * IDF 0.36 * (F 2.00 * (k1 1.2 + 1)) / (F 2.00 + k1 \
                 1.2 * {length}))"
            ),
            format!(
                "    fox: (1.07 = Weight 1.00 * IDF 0.69 * (F 2.00 * (k1 1.2 + 1)) / (F 2.00 + k1 \
                 1.2 * {length}))"
            ),
            "    Irrelevant token -> score is 0".to_string(),
        ]
    );
    assert_eq!(
        explained("hello world", Scorer::Tfidf),
        [
            "Final TFIDF : words TFIDF 4.00 * document score 1.00 / norm 3 / slop 1",
            "  (Weight 1.00 * total children TFIDF 4.00)",
            "    (TFIDF 1.00 = Weight 1.00 * TF 1 * IDF 1.00)",
            "    (TFIDF 3.00 = Weight 1.00 * TF 3 * IDF 1.00)",
        ]
    );
    assert_eq!(
        explained("@g:{a}", Scorer::Hamming),
        ["String length is 4. Bit count is 0. Result is (1 / count + 1) = 1.00"]
    );
    assert_eq!(explained("@g:{a}", Scorer::DocScore), ["Document's score is 0.50"]);
    assert_eq!(explained("@g:{a}", Scorer::DisMax), ["DISMAX 1.00 = Weight 1.00 * Frequency 1"]);
}

/// As a RediSearch 8.10 answered: two terms that half and all of the documents have.
#[test]
fn the_default_scorer_is_that_of_8_10() {
    let schema = schema("SCHEMA t TEXT WEIGHT 2 NOSTEM");
    let mut index = Index::new(schema.clone(), Synonyms::default());
    for (key, text) in [("1", "hello world"), ("2", "goodbye world")] {
        let values = vec![(0, text.to_string())];
        index
            .put(&Sample { key: key.to_string(), score: None, values }.document())
            .expect("indexed");
    }
    let node = tree(&schema, "hello").expect("valid");
    let request = Request::new(&node);
    let hits = hits(&[index], &request);
    // ln(1 + 1.5 / 1.5) * 2 * (k1 + 1) / (2 + k1), k1 in single precision.
    let k1 = f64::from(1.2_f32);
    let expected = core::f64::consts::LN_2 * (2.0 * (k1 + 1.0)) / (2.0 + k1);
    assert!((hits.best[0].score - expected).abs() < 1e-15);
}
