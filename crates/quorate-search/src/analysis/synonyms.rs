//! Groups of words that mean the same: `FT.SYNUPDATE` and `FT.SYNDUMP`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};

/// Words and the groups that they are in. Words never leave a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synonyms {
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Synonyms {
    /// Puts words into a group.
    pub fn update<'a>(&mut self, group: &str, words: impl IntoIterator<Item = &'a str>) {
        for word in words {
            self.groups.entry(word.to_lowercase()).or_default().insert(group.to_string());
        }
    }

    /// The groups of a word in lower case, in order.
    pub fn groups(&self, word: &str) -> impl Iterator<Item = &str> {
        self.groups.get(word).into_iter().flatten().map(String::as_str)
    }

    /// Each word and its groups, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.groups.iter().map(|(word, groups)| (word.as_str(), groups))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}
