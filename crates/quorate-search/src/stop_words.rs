//! Words that say nothing about a text: neither indexed nor searched for.

use crate::Schema;

/// The stop words of schemas that define none of their own, in order.
pub const DEFAULT: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

impl Schema {
    /// Whether this is a part of a word that is not indexed.
    pub(crate) fn hides(&self, part: &str) -> bool {
        match &self.stop_words {
            Some(own) => own.iter().any(|word| word.contains(part)),
            None => DEFAULT.iter().any(|word| word.contains(part)),
        }
    }

    /// Whether a word, in lower case, is a stop word.
    pub fn is_stop_word(&self, word: &str) -> bool {
        match &self.stop_words {
            Some(own) => own.contains(word),
            None => DEFAULT.binary_search(&word).is_ok(),
        }
    }
}
