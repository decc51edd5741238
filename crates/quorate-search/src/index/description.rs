//! What an index knows of a document, in words: by which two indexes are compared.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Index;
use crate::schema::Fields;

impl Index {
    /// All that is known of the document of this key: its terms and where they are, its other values,
    /// what it is sorted by. Two indexes of one schema that say the same of every document answer
    /// alike. Vectors are told by their fields only.
    pub fn describe(&self, key: &[u8]) -> Option<String> {
        let id = self.documents.number(key)?;
        let entry = self.documents.get(id);
        let mut terms: Vec<String> = Vec::new();
        for &term in &entry.terms {
            let (text, postings) = self.terms.term(term);
            let mut reader = postings.reader();
            if reader.seek(id) != Some(id) {
                terms.push(format!("{text}: lost"));
                continue;
            }
            let mut positions = Vec::new();
            reader.positions(Fields::ALL, &mut positions);
            terms.push(format!("{text}: {} at {positions:?}", reader.frequency()));
        }
        terms.sort_unstable();
        let values: Vec<String> = entry.values.iter().map(|value| format!("{value:?}")).collect();
        let missing: Vec<bool> = self.missing.iter().map(|missing| missing.contains(id)).collect();
        Some(format!(
            "group {}, score {}, {} words, {} of one, payload {:?}, terms {terms:?}, values {values:?}, \
             missing {missing:?}, sorted by {:?}",
            entry.group,
            entry.score,
            entry.length,
            entry.frequency_max,
            entry.payload,
            entry.sortable,
        ))
    }
}
