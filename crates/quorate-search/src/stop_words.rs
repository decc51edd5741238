//! Words that say nothing about a text: neither indexed nor searched for.

use crate::Schema;

/// The stop words of schemas that define none of their own, in order.
pub const DEFAULT: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

impl Schema {
    /// Whether a word, in lower case, is a stop word.
    pub fn is_stop_word(&self, word: &str) -> bool {
        match &self.stop_words {
            Some(own) => own.contains(word),
            None => DEFAULT.binary_search(&word).is_ok(),
        }
    }
}
