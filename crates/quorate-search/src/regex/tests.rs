//! Against a definition by edit distances, and a scan of all documents.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::pattern::{Node, Set};
use super::*;
use crate::analysis::Synonyms;
use crate::index;
use crate::index::Document;

struct Texts(Vec<String>);

impl Documents for Texts {
    fn value(&self, key: &[u8], path: &[u8]) -> Option<Value> {
        let number: usize = str::from_utf8(key).ok()?.parse().ok()?;
        (path == b"t").then(|| Value::Text(self.0[number].clone()))
    }

    fn all(&self, _: &[u8]) -> Vec<(String, Value)> {
        Vec::new()
    }
}

fn schema() -> Schema {
    Schema::create(&[b"SCHEMA", b"t", b"TEXT"]).expect("valid")
}

fn parsed(text: &str) -> Result<Regex, Error> {
    let arguments: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    Regex::parse(&arguments, &schema())
}

/// The distance of a text.
fn distance(pattern: &str, text: &str, most: u8) -> Option<u8> {
    let pattern = Pattern::parse(pattern).expect("valid");
    let automaton = Automaton::new(&pattern).expect("small");
    automaton.distance(text, most, &mut limits::REGEX_WORK.clone()).expect("short")
}

#[test]
fn patterns_mean_what_they_say() {
    for (pattern, text, expected) in [
        ("abc", "xabcx", Some(0)),
        ("abc", "xabx", Some(1)),
        ("abc", "xaxcx", Some(1)),
        ("abc", "xabbcx", Some(1)),
        ("abc", "x", None),
        ("^abc$", "abc", Some(0)),
        ("^abc$", "abcd", Some(1)),
        ("^abc$", "xabcd", Some(2)),
        ("^abc$", "", None),
        ("a.c", "abc", Some(0)),
        ("a[0-9]+c", "a12c", Some(0)),
        ("a[^0-9]c", "a1c", Some(1)),
        ("a\\d{2,3}c", "a1c", Some(1)),
        ("a\\d{2,3}c", "a1234c", Some(1)),
        ("(ab|cd){2}e", "abcde", Some(0)),
        ("(a*)*b", "aab", Some(0)),
        ("x?", "", Some(0)),
        ("[\\D]", "5", Some(1)),
        ("[]a-]x", "]x", Some(0)),
        ("[]a-]x", "-x", Some(0)),
        ("(?i)aBc", "AbC", Some(0)),
        ("aBc", "abc", Some(1)),
        ("(?:é|è)\\.", "è.", Some(0)),
        ("", "x", Some(0)),
    ] {
        assert_eq!(distance(pattern, text, 2), expected, "{pattern} in {text}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (pattern, expected) in [
        ("a(b", "SEARCH_SYNTAX Invalid pattern at offset 3: expected `)`"),
        ("a)", "SEARCH_SYNTAX Invalid pattern at offset 1: unexpected `)`"),
        ("*a", "SEARCH_SYNTAX Invalid pattern at offset 0: nothing to repeat"),
        ("[a", "SEARCH_SYNTAX Invalid pattern at offset 2: expected `]`"),
        ("[b-a]", "SEARCH_SYNTAX Invalid pattern at offset 4: invalid range"),
        ("a{2,1}", "SEARCH_SYNTAX Invalid pattern at offset 5: invalid number of repetitions"),
        ("\\q", "SEARCH_SYNTAX Invalid pattern at offset 1: unknown escape"),
        ("(((a{99}){99}){99}){99}", "SEARCH_LIMIT_OVER Pattern has more than 2048 states"),
    ] {
        let arguments: [&[u8]; 2] = [b"t", pattern.as_bytes()];
        let error = Regex::parse(&arguments, &schema()).expect_err("refused").to_string();
        assert_eq!(error, expected, "{pattern}");
    }
    for (text, expected) in [
        ("n abc", "SEARCH_QUERY_BAD Expected a TEXT field, found `n`"),
        ("t abc DISTANCE 9", "SEARCH_PARSE_ARGS DISTANCE requires an integer from 0 to 8"),
        ("t abc LIMIT 1", "SEARCH_PARSE_ARGS LIMIT requires two arguments"),
        ("t abc NOPE", "SEARCH_ARG_UNRECOGNIZED Unknown argument `NOPE`"),
        (
            "t",
            "SEARCH_PARSE_ARGS Bad arguments for FT.REGEX: Expected an argument, but none provided",
        ),
    ] {
        assert_eq!(parsed(text).expect_err("refused").to_string(), expected);
    }
    assert!(parsed(&["t ", &"(".repeat(9000)].concat()).is_err());
    assert!(parsed(&["t a", &"*".repeat(4000)].concat()).is_err());
}

fn indexed(texts: &[String], numbers: impl Iterator<Item = usize>) -> Index {
    let mut index = Index::new(schema(), Synonyms::default());
    for number in numbers {
        let key = number.to_string();
        let fields = vec![(FieldId(0), index::Value::Bytes(texts[number].as_bytes()))];
        let document =
            Document { key: key.as_bytes(), language: None, score: None, payload: None, fields };
        index.put(&document).expect("indexed");
    }
    index
}

#[test]
fn work_is_bounded_and_hits_are_ordered() {
    let texts: Vec<String> = ["hello wurld", "hello world", "nothing", "hallo wurld"]
        .into_iter()
        .map(str::to_string)
        .collect();
    let index = indexed(&texts, 0..4);
    let regex = parsed("t hello.world DISTANCE 2 LIMIT 0 2").expect("valid");
    let documents = Texts(texts);
    let hits = index.regex(&regex, &documents).expect("short");
    let found: Vec<(u8, Option<f64>)> =
        hits.best.iter().map(|hit| (hit.key[0], hit.distance)).collect();
    assert_eq!((hits.total, found), (3, vec![(b'1', Some(0.0)), (b'0', Some(1.0))]));
    let nearer = parsed("t hello.world DISTANCE 1").expect("valid");
    assert_eq!(pieces::candidates(&index, &nearer).map(|found| found.len()), Some(2));
    let automaton = Automaton::new(&regex.pattern).expect("small");
    let error = automaton.distance("hello", 2, &mut 3).expect_err("too much");
    assert!(error.to_string().starts_with("SEARCH_LIMIT_OVER FT.REGEX has too much text"));
}

#[test]
fn stop_words_hide_pieces() {
    let texts = vec!["their thereof".to_string(), "the heir".to_string()];
    let index = indexed(&texts, 0..2);
    let documents = Texts(texts);
    for pattern in ["hei", "their", "the", "eir"] {
        let regex = parsed(&["t ", pattern].concat()).expect("valid");
        let expected = documents.0.iter().filter(|text| text.contains(pattern)).count();
        assert_eq!(index.regex(&regex, &documents).expect("short").total, expected as u64);
    }
}

/// All texts of a pattern of the tests, which have few.
fn language(node: &Node) -> BTreeSet<String> {
    match node {
        Node::Start | Node::End => [String::new()].into(),
        Node::One(set) => {
            set.ranges.iter().flat_map(|&(from, to)| from..=to).map(String::from).collect()
        }
        Node::Sequence(nodes) => nodes.iter().fold([String::new()].into(), |texts, node| {
            let ends = language(node);
            let both =
                texts.iter().flat_map(|text| ends.iter().map(move |end| [&text[..], end].concat()));
            both.collect()
        }),
        Node::Either(nodes) => nodes.iter().flat_map(language).collect(),
        Node::Repeat { node, least, most } => {
            let mut texts: BTreeSet<String> = BTreeSet::new();
            for count in *least..=most.unwrap_or(*least) {
                let nodes = vec![(**node).clone(); count as usize];
                texts.extend(language(&Node::Sequence(nodes)));
            }
            texts
        }
    }
}

/// The least number of letters by which a part of a text differs from a word (Sellers, 1980).
fn differs(word: &str, text: &str) -> usize {
    let word: Vec<char> = word.chars().collect();
    let mut column: Vec<usize> = (0..=word.len()).collect();
    let mut best = word.len();
    for letter in text.chars() {
        let mut next = vec![0];
        for (at, &own) in word.iter().enumerate() {
            let same = column[at] + usize::from(own != letter);
            next.push(same.min(column[at + 1] + 1).min(next[at] + 1));
        }
        column = next;
        best = best.min(column[word.len()]);
    }
    best
}

fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a", "b", "abc", "abcabc", "the", "[ab]", "[a-c]", "b?", "c{1,2}", " ", "theabc", "\\.",
    ]);
    leaf.prop_map(str::to_string).prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|all| all.concat()),
            prop::collection::vec(inner.clone(), 2..3)
                .prop_map(|all| format!("({})", all.join("|"))),
            inner.clone().prop_map(|one| format!("({one})?")),
            inner.prop_map(|one| format!("({one}){{1,2}}")),
        ]
    })
}

proptest! {
    /// What is found is what a scan finds by the definition, in partitions as well.
    #[test]
    fn nothing_is_missed(
        pattern in pattern(),
        texts in prop::collection::vec("((abc|the|ab|b|c|B|x|[.\\\\]| ){0,6})", 1..8),
        letters in 0u8..3,
    ) {
        let arguments: [&[u8]; 7] = [
            b"t", pattern.as_bytes(), b"DISTANCE", &[b'0' + letters], b"LIMIT", b"0", b"100",
        ];
        let regex = Regex::parse(&arguments, &schema()).expect("valid");
        let language = language(&regex.pattern.node);
        prop_assume!(language.len() < 200);
        let least = |text: &String| language.iter().map(|word| differs(word, text)).min();
        let mut expected: Vec<(usize, String)> = texts.iter().enumerate()
            .filter_map(|(number, text)| Some((least(text)?, number.to_string())))
            .filter(|(least, _)| *least <= usize::from(letters))
            .collect();
        expected.sort();
        let mut hits = Hits::default();
        let documents = Texts(texts.clone());
        for part in 0..2 {
            let index = indexed(&texts, (0..texts.len()).filter(|number| number % 2 == part));
            hits.merge(index.regex(&regex, &documents).expect("short"), regex.top());
        }
        let found: Vec<(usize, String)> = hits.best.iter().map(|hit| {
            (hit.distance.unwrap_or(9.0) as usize, String::from_utf8_lossy(&hit.key).into_owned())
        }).collect();
        prop_assert_eq!(found, expected, "{}", pattern);
    }

    #[test]
    fn no_pattern_makes_it_panic(pattern in "([a-c(|)*+?{}0-9,\\[\\]^$.\\\\-]|\\PC){0,20}", text in "\\PC{0,9}") {
        if let Ok(pattern) = Pattern::parse(&pattern)
            && let Ok(automaton) = Automaton::new(&pattern)
        {
            let _ = automaton.distance(&text, 2, &mut 100_000);
            let _ = pieces::pieces(&pattern.node);
        }
    }
}

#[test]
fn a_class_within_a_set_is_what_it_is_alone() {
    for class in ["\\D", "\\W", "\\S", "\\d", "\\w", "\\s"] {
        let one = |text: &str| match Pattern::parse(text).expect("valid").node {
            Node::Sequence(mut nodes) => nodes.remove(0),
            node => node,
        };
        let set = |node: Node| match node {
            Node::One(set) => set,
            _ => Set::default(),
        };
        let (alone, within) = (set(one(class)), set(one(&format!("[{class}]"))));
        for letter in ('\0'..'\u{300}').chain(['\u{d7ff}', '\u{e000}', char::MAX]) {
            assert_eq!(alone.contains(letter, false), within.contains(letter, false), "{letter:?}");
        }
    }
}
