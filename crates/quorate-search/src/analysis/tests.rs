use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::query::{Context, Dialect, Parameters, explain, parse};
use crate::{Language, Schema, limits};

fn split(text: &str) -> Vec<String> {
    words(text).map(|word| word.text).collect()
}

/// What a RediSearch finds in such texts.
#[test]
fn texts_fall_into_words() {
    assert_eq!(split("foo, bar. a-b c_d 1.5"), ["foo", "bar", "a", "b", "c_d", "1", "5"]);
    assert_eq!(split("x\\-y \\z \\"), ["x-y", "z"]);
    assert_eq!(split("Héllo ÉCOLE Straße"), ["héllo", "école", "straße"]);
    assert_eq!(split(" \t\n\0"), Vec::<String>::new());
    let word = words("  one").next().expect("a word");
    assert_eq!((word.start, word.end), (2, 5));
}

#[test]
fn long_words_are_cut() {
    let long = "é".repeat(limits::TERM_BYTES);
    let words: Vec<Word> = words(&long).collect();
    assert_eq!(words.len(), 1);
    assert_eq!(words[0].text.len(), limits::TERM_BYTES);
    assert_eq!(words[0].end, long.len());
}

#[test]
fn words_have_stems() {
    for (language, word, expected) in [
        (Language::English, "running", "run"),
        (Language::English, "fruitlessly", "fruitless"),
        (Language::English, "ran", "ran"),
        (Language::French, "continuellement", "continuel"),
        (Language::German, "automaten", "automat"),
        (Language::Russian, "книгами", "книг"),
        (Language::Chinese, "你好世界", "你好世界"),
    ] {
        assert_eq!(stem(language, word), expected, "{word}");
    }
}

/// The codes that a RediSearch shows for these words.
#[test]
fn words_have_sounds() {
    for (word, code) in
        [("hello", "HL"), ("world", "ARLT"), ("foo", "F"), ("smith", "SM0"), ("running", "RNNK")]
    {
        assert_eq!(sound(word).as_deref(), Some(code), "{word}");
    }
    assert_eq!(sound("héllo").as_deref(), Some("L"));
    assert_eq!(sound("123"), None);
}

fn schema() -> Schema {
    let fields = "SCHEMA t TEXT n TEXT NOSTEM p TEXT PHONETIC dm:en";
    let fields: Vec<&[u8]> = fields.split(' ').map(str::as_bytes).collect();
    Schema::create(&fields).expect("valid")
}

#[test]
fn forms_depend_on_the_field() {
    let (schema, mut synonyms) = (schema(), Synonyms::default());
    synonyms.update("g", ["Running", "jogging"]);
    synonyms.update("f", ["running"]);
    let forms = Forms { schema: &schema, synonyms: &synonyms, language: Language::English };
    let indexed = |field: usize, word| forms.indexed(word, &schema.fields[field]);
    assert_eq!(indexed(0, "running"), ["~f", "~g", "+run"]);
    assert_eq!(indexed(1, "jogging"), ["~g"]);
    assert_eq!(indexed(2, "runs"), ["<RNS", "+run"]);
    assert_eq!(indexed(0, "run"), Vec::<String>::new());
}

/// As the explanations of a RediSearch show the forms.
#[test]
fn forms_of_a_query_are_explained() {
    let (schema, mut synonyms, parameters) = (schema(), Synonyms::default(), Parameters::new());
    synonyms.update("g1", ["hello", "hi"]);
    let forms = Forms { schema: &schema, synonyms: &synonyms, language: Language::English };
    let explained = |query: &str| {
        let context = Context {
            schema: &schema,
            dialect: Dialect::Two,
            parameters: &parameters,
            keep_stop_words: false,
        };
        let node = parse(query, context).expect("valid");
        let asked = |word: &str, node: &crate::query::Node| {
            forms.asked(word, node.fields, &node.attributes)
        };
        let words: Vec<String> =
            explain(&node, &schema, &asked).split_whitespace().map(str::to_string).collect();
        words.join(" ")
    };
    for (query, explanation) in [
        ("hello", "UNION { hello ~g1(expanded) <HL(expanded) +hello(expanded) }"),
        ("@t:running", "@t:UNION { @t:running @t:+run(expanded) @t:run(expanded) }"),
        ("@n:running", "@n:running"),
        ("-foo=>{$phonetic:false}", "NOT{ UNION { foo +foo(expanded) } }"),
        ("123", "123"),
        (
            "hello=>{$weight: 2.0}",
            "UNION { hello => {$weight: 2;} ~g1(expanded) <HL(expanded) +hello(expanded) }",
        ),
    ] {
        assert_eq!(explained(query), explanation);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,30}|[а-яёa-zéß'\\\\ -]{0,30}|[a-z]{0,12}") {
        for word in words(&text) {
            prop_assert!(!word.text.is_empty() && word.end <= text.len());
            let _ = sound(&word.text);
            for &language in Language::ALL {
                let _ = stem(language, &word.text);
            }
        }
    }
}
