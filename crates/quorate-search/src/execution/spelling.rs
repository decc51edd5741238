//! What a query's words might have been meant to be: `FT.SPELLCHECK`.
//!
//! Like a search in two phases: each partition says which words it knows and which are near
//! ([`Index::spelling`]); added up, they tell how likely each is.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::dictionary;
use crate::allowance::Room;
use crate::edit_distance::Rows;
use crate::error::Error;
use crate::index::Index;
use crate::limits;
use crate::query::{Kind, Node};

/// The words of a query as one or more partitions know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// How many documents there are.
    pub documents: u64,
    /// How many letters may differ.
    pub(crate) distance: u8,
    pub(crate) words: Vec<Spelt>,
}

/// A word of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spelt {
    pub(crate) word: String,
    pub(crate) is_known: bool,
    /// Words that differ by few letters, and how many documents have them.
    pub(crate) near: BTreeMap<String, u64>,
}

/// A word that no document has, and what it might be.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// The word, in lower case.
    pub word: String,
    /// Words that it might be, the likeliest first; those that are as likely in their order.
    pub suggestions: Vec<Suggested>,
}

/// What a word might be.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggested {
    /// Which part of the documents has it; 0 for one that only a dictionary has.
    pub score: f64,
    /// The word.
    pub word: String,
}

impl Index {
    /// The words of a query and those that differ from them by at most `distance` letters.
    pub fn spelling(&self, node: &Node, distance: u8) -> Result<Spelling, Error> {
        let mut asked = Vec::new();
        collect_words(node, &mut asked);
        let mut room = Room::new(self.allowance().bytes);
        let words = asked.into_iter().map(|word| {
            let postings = self.terms.get(word);
            let is_known = postings.is_some_and(|found| self.documents.seen_with(found) > 0);
            let most = if is_known { 0 } else { limits::NEAR_WORDS };
            let near = match most {
                0 => Vec::new(),
                _ => {
                    let seen = |term: &str, documents| self.seen_with(term, documents);
                    dictionary::by_distance(&self.terms, word, distance, most, &seen)
                }
            };
            let bytes = near.iter().map(|(near, _)| near.len() + ENTRY_BYTES).sum::<usize>();
            room.take(bytes + word.len() + ENTRY_BYTES)?;
            Ok(Spelt { word: word.to_string(), is_known, near: near.into_iter().collect() })
        });
        let words = words.collect::<Result<Vec<Spelt>, Error>>()?;
        Ok(Spelling { documents: self.len(), distance, words })
    }
}

/// Bytes of a word besides its letters, about.
const ENTRY_BYTES: usize = 48;

/// Words and those of phrases, from left to right.
fn collect_words<'a>(node: &'a Node, words: &mut Vec<&'a str>) {
    match &node.kind {
        Kind::Word(word) => words.push(word),
        Kind::Phrase(phrase) => words.extend(phrase.iter().map(String::as_str)),
        Kind::And(nodes) | Kind::Or(nodes) => {
            nodes.iter().for_each(|node| collect_words(node, words));
        }
        Kind::Not(inner) | Kind::Optional(inner) | Kind::Nearest { filter: inner, .. } => {
            collect_words(inner, words);
        }
        Kind::Nothing
        | Kind::All
        | Kind::Empty
        | Kind::Affix(_)
        | Kind::Wildcard(_)
        | Kind::Fuzzy { .. }
        | Kind::Tags { .. }
        | Kind::Numeric { .. }
        | Kind::Geo { .. }
        | Kind::Shape { .. }
        | Kind::Missing(_)
        | Kind::Within { .. } => {}
    }
}

impl Spelling {
    /// Adds what another partition knows, for the same query.
    pub fn add(&mut self, other: Spelling) {
        self.documents = self.documents.saturating_add(other.documents);
        for (own, other) in self.words.iter_mut().zip(other.words) {
            own.is_known |= other.is_known;
            for (word, documents) in other.near {
                let sum = own.near.entry(word).or_default();
                *sum = sum.saturating_add(documents);
            }
        }
    }

    /// The words that no document has. Words of `included` are suggested as well; words of
    /// `excluded` are no mistakes.
    pub fn corrections(
        &self,
        included: &[&BTreeSet<String>],
        excluded: &[&BTreeSet<String>],
    ) -> Vec<Correction> {
        let wrong = self.words.iter().filter(|spelt| {
            !spelt.is_known && !excluded.iter().any(|words| words.contains(&spelt.word))
        });
        wrong.map(|spelt| self.correction(spelt, included)).collect()
    }

    fn correction(&self, spelt: &Spelt, included: &[&BTreeSet<String>]) -> Correction {
        let documents = self.documents.max(1) as f64;
        let mut scores: BTreeMap<&str, f64> = spelt
            .near
            .iter()
            .map(|(word, &having)| (word.as_str(), having as f64 / documents))
            .collect();
        for words in included {
            let mut rows = Rows::new(&spelt.word, usize::from(self.distance));
            for word in *words {
                let near = rows
                    .advance(word)
                    .is_ok_and(|differs| differs.whole <= usize::from(self.distance));
                if near {
                    scores.entry(word).or_insert(0.0);
                }
            }
        }
        let suggested = scores.into_iter();
        let mut suggestions: Vec<Suggested> =
            suggested.map(|(word, score)| Suggested { score, word: word.to_string() }).collect();
        // Stable: the words are in their order already.
        suggestions.sort_by(|one, other| other.score.total_cmp(&one.score));
        Correction { word: spelt.word.clone(), suggestions }
    }
}
