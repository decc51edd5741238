//! The best of many documents, beside all of them scored.

use super::*;

/// Documents: several windows, and blocks that are full.
const DOCUMENTS: u64 = 10_000;

/// Words, the first the commonest.
const WORDS: u64 = 50;

/// Numbers that look random (SplitMix64).
fn mixed(mut number: u64) -> u64 {
    number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number ^ (number >> 27)
}

fn text(document: u64) -> String {
    if document == 7_777 {
        return "baw3 ".repeat(300);
    }
    let mut words = Vec::new();
    for place in 0..3 + mixed(document) % 12 {
        // The least of three is small more often than not.
        let drawn = mixed(document * 100 + place);
        let word = (drawn % WORDS).min((drawn >> 20) % WORDS).min((drawn >> 40) % WORDS);
        words.push(format!("baw{word}"));
    }
    words.join(" ")
}

fn index() -> Index {
    let schema = schema("SCHEMA t TEXT NOSTEM u TEXT NOSTEM WEIGHT 2");
    let mut index = Index::new(schema, Synonyms::default());
    let mut put = |key: u64, text: &str| {
        let mut values = vec![(0, text.to_string())];
        if mixed(key).is_multiple_of(4) {
            values.push((1, text.replace('1', "2")));
        }
        let sample = Sample { key: format!("k{key:05}"), score: None, values };
        index.put_in((key % 3) as u8, &sample.document()).expect("indexed");
    };
    for document in 0..DOCUMENTS {
        put(document, &text(document));
    }
    // Some are written anew, which splits blocks and leaves others with room.
    for document in (0..DOCUMENTS).step_by(7) {
        put(document, &text(document + DOCUMENTS));
    }
    for document in (3_000..3_500).chain((0..DOCUMENTS).step_by(11)) {
        index.remove(format!("k{document:05}").as_bytes());
    }
    index
}

#[test]
fn the_best_are_those_of_all() {
    let mut index = index();
    let keys: Vec<String> = (0..DOCUMENTS).step_by(5).map(|key| format!("k{key:05}")).collect();
    let queries = [
        "baw0",
        "baw3",
        "baw15",
        "baw0|baw1|baw2|baw9|baw14",
        "(baw1|baw2)=>{$weight:3}|baw9",
        "baw1*",
        "%baw9%",
        "baw0|(baw4|baw8)=>{$weight:0}",
        "@t:(baw5|baw6)",
        "(baw0|baw7=>{$weight:1e-300})=>{$weight:1e-10}",
        "baw7=>{$weight:1e30}",
        "baw0 baw1",
        "baw30 baw0",
        "baw2 baw0 baw1 baw4",
        "(baw1 baw4=>{$weight:5})=>{$weight:0.3}",
        "baw3 baw20",
        "\"baw1 baw0\"",
        "\"baw0 baw0\"",
        "\"baw3 baw3 baw3\"",
        "\"baw2 baw0 baw1\"",
        "@u:(baw2 baw0)",
    ];
    for (groups, among) in [(u64::MAX, false), (u64::MAX, true), (0b101, false)] {
        index.show(groups);
        for (query, top) in queries.iter().flat_map(|query| [0, 1, 10, 500].map(|top| (query, top)))
        {
            let node = tree(index.schema(), query).expect("valid");
            let mut request = Request { top, ..Request::new(&node) };
            request.keys = among.then(|| keys.iter().map(|key| key.as_bytes()).collect());
            let statistics = index.statistics(&request);
            let found = index.search(&request, &statistics).expect("found");
            // What is explained is scored whole.
            request.explain = true;
            let mut expected = index.search(&request, &statistics).expect("found");
            expected.best.iter_mut().for_each(|hit| hit.explanation = None);
            assert!(top == 0 || expected.total > 0, "{query}");
            assert_eq!(found, expected, "{query}, the best {top}, groups {groups:b}, {among}");
        }
    }
}
