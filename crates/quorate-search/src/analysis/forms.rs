//! The terms that a word is indexed as, and those that a query's word asks for.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Synonyms, sound, stem};
use crate::schema::{Field, Fields, Kind, Schema};
use crate::{Language, query};

/// What decides the forms of words.
#[derive(Debug, Clone, Copy)]
pub struct Forms<'a> {
    /// The index.
    pub schema: &'a Schema,
    /// Its synonyms.
    pub synonyms: &'a Synonyms,
    /// Of the text.
    pub language: Language,
}

impl Forms<'_> {
    /// The terms that stand for a document's word besides itself, in a `TEXT` field.
    pub fn indexed(&self, word: &str, field: &Field) -> Vec<String> {
        let mut terms: Vec<String> =
            self.synonyms.groups(word).map(|group| format!("~{group}")).collect();
        let Kind::Text(text) = &field.kind else { return terms };
        if text.phonetic.is_some() {
            terms.extend(sound(word).map(|code| format!("<{code}")));
        }
        if !text.no_stem {
            let stem = stem(self.language, word);
            if stem != word {
                terms.push(format!("+{stem}"));
            }
        }
        terms
    }

    /// The terms that a query's word asks for besides itself, in some of the `TEXT` fields. A
    /// number has no other form.
    pub fn asked(&self, word: &str, fields: Fields, attributes: &query::Attributes) -> Vec<String> {
        if word.parse::<f64>().is_ok() {
            return Vec::new();
        }
        let mut terms: Vec<String> =
            self.synonyms.groups(word).map(|group| format!("~{group}")).collect();
        let texts = || {
            self.schema.text_fields().enumerate().filter_map(move |(number, (_, field))| {
                let asked = fields.0 & Fields::one(number).0 != 0;
                match &field.kind {
                    Kind::Text(text) if asked => Some(text),
                    _ => None,
                }
            })
        };
        if attributes.phonetic != Some(false) && texts().any(|text| text.phonetic.is_some()) {
            terms.extend(sound(word).map(|code| format!("<{code}")));
        }
        if texts().any(|text| !text.no_stem) {
            let stem = stem(self.language, word);
            terms.push(format!("+{stem}"));
            if stem != word {
                terms.push(stem);
            }
        }
        terms
    }
}
