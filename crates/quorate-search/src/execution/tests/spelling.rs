//! Corrections, as RediSearch gave them; it also suggests stems, which are no words.

use alloc::collections::BTreeSet;

use super::*;

fn parts(count: usize) -> (Schema, Vec<Index>) {
    let schema = schema("SCHEMA t TEXT u TEXT");
    let mut parts: Vec<Index> =
        (0..count).map(|_| Index::new(schema.clone(), Synonyms::default())).collect();
    let documents = [
        ("d1", "hello world name"),
        ("d2", "hello world name"),
        ("d3", "hello world name"),
        ("d4", "hallo help jello the"),
        ("d5", "helos Helot"),
    ];
    for (number, (key, text)) in documents.into_iter().enumerate() {
        let values = vec![(0, text.to_string())];
        let sample = Sample { key: key.to_string(), score: None, values };
        parts[number % count].put(&sample.document()).expect("indexed");
    }
    (schema, parts)
}

/// Each wrong word and what it might be.
fn corrected(query: &str, distance: u8, included: &[&str], excluded: &[&str]) -> Vec<String> {
    let set = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<BTreeSet<_>>();
    let (included, excluded) = (set(included), set(excluded));
    let mut answers = Vec::new();
    for count in [1, 3] {
        let (schema, parts) = parts(count);
        let node = tree(&schema, query).expect("valid");
        let mut spelling = parts[0].spelling(&node, distance).expect("fits");
        for part in &parts[1..] {
            spelling.add(part.spelling(&node, distance).expect("fits"));
        }
        let lines = spelling.corrections(&[&included], &[&excluded]).into_iter().map(|wrong| {
            let suggestions = wrong.suggestions.iter();
            let suggestions: Vec<String> =
                suggestions.map(|one| format!("{} {}", one.score, one.word)).collect();
            format!("{}: {}", wrong.word, suggestions.join(", "))
        });
        answers.push(lines.collect::<Vec<String>>());
    }
    assert_eq!(answers[0], answers[1], "partitions answer as one");
    answers.swap_remove(0)
}

#[test]
fn corrections_are_those_of_redisearch() {
    let near = "0.6 hello, 0.2 helos, 0.2 helot, 0.2 help";
    let helo = format!("helo: {near}");
    assert_eq!(corrected("helo", 1, &[], &[]).concat(), helo);
    assert_eq!(corrected("HELO wrld", 1, &[], &[]), [helo, "wrld: 0.6 world".to_string()]);
    assert_eq!(corrected("hello", 1, &[], &[]), [""; 0]);
    let two = "helo: 0.6 hello, 0.2 hallo, 0.2 helos, 0.2 helot, 0.2 help, 0.2 jello";
    assert_eq!(corrected("-helo", 2, &[], &[]), [two]);
    let dictionary = ["helio", "helo2", "hello", "zzz"];
    let both = format!("helo: {near}, 0 helio, 0 helo2");
    assert_eq!(corrected("\"helo\"", 1, &dictionary, &[]), [both]);
    assert_eq!(corrected("hella", 1, &[], &["hella"]), [""; 0]);
    assert_eq!(corrected("hallo2", 1, &[], &["hallo"]), ["hallo2: 0.2 hallo"]);
    assert_eq!(corrected("xxxxx", 1, &[], &[]), ["xxxxx: "]);
    assert_eq!(corrected("hel* %helo%", 1, &[], &[]), [""; 0]);
}
