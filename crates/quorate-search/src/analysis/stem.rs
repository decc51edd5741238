//! The stems of words, by the Snowball algorithms (<https://snowballstem.org>).

use alloc::string::String;

use frostem::{Algorithm, Stemmer};

use crate::Language;

/// The fewest letters of a word that has a stem. RediSearch's bound.
const LETTERS_MIN: usize = 4;

/// The stem of a word in lower case; the word itself if it is short, or if there is no algorithm
/// for the language.
pub fn stem(language: Language, word: &str) -> String {
    match algorithm(language) {
        Some(algorithm) if word.chars().nth(LETTERS_MIN - 1).is_some() => {
            Stemmer::new(algorithm).stem(word).into_owned()
        }
        _ => word.into(),
    }
}

fn algorithm(language: Language) -> Option<Algorithm> {
    Some(match language {
        Language::Arabic => Algorithm::Arabic,
        Language::Armenian => Algorithm::Armenian,
        Language::Basque => Algorithm::Basque,
        Language::Catalan => Algorithm::Catalan,
        Language::Danish => Algorithm::Danish,
        Language::Dutch => Algorithm::Dutch,
        Language::English => Algorithm::English,
        Language::Finnish => Algorithm::Finnish,
        Language::French => Algorithm::French,
        Language::German => Algorithm::German,
        Language::Greek => Algorithm::Greek,
        Language::Hindi => Algorithm::Hindi,
        Language::Hungarian => Algorithm::Hungarian,
        // Malay is near enough to Indonesian, and has no algorithm of its own.
        Language::Indonesian | Language::Malay => Algorithm::Indonesian,
        Language::Irish => Algorithm::Irish,
        Language::Italian => Algorithm::Italian,
        Language::Lithuanian => Algorithm::Lithuanian,
        Language::Nepali => Algorithm::Nepali,
        Language::Norwegian => Algorithm::Norwegian,
        Language::Portuguese => Algorithm::Portuguese,
        Language::Romanian => Algorithm::Romanian,
        Language::Russian => Algorithm::Russian,
        Language::Serbian => Algorithm::Serbian,
        Language::Spanish => Algorithm::Spanish,
        Language::Swedish => Algorithm::Swedish,
        Language::Tamil => Algorithm::Tamil,
        Language::Turkish => Algorithm::Turkish,
        Language::Yiddish => Algorithm::Yiddish,
        Language::Chinese | Language::Tagalog => return None,
    })
}
