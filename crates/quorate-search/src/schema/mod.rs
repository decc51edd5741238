//! What an index covers and how fields of documents are read.
//!
//! A schema is made from the arguments of `FT.CREATE` ([`Schema::create`]), grows by those of
//! `FT.ALTER` ([`Schema::alter`]), and prints itself as the arguments that make it again
//! ([`Schema::arguments`]): that is how it is stored and how nodes tell each other of it.

mod definition;
mod field;
mod print;
#[cfg(test)]
mod tests;
mod vector;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Language;

pub use field::{Coordinates, Field, FieldId, Fields, Kind, Phonetic, Tag, Text};
pub use vector::{Algorithm, Compression, Element, Flat, Graph, Metric, Vamana, Vector};

/// The kind of key that documents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Hashes: a field's path is the name of a field of the hash.
    Hash,
    /// JSON documents: a field's path is a JSONPath.
    Json,
}

/// What an index covers.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// The kind of key that documents are.
    pub source: Source,
    /// Keys that begin with one of these are documents. Never empty: the empty prefix stands for
    /// every key.
    pub prefixes: Vec<Vec<u8>>,
    /// An expression that documents must satisfy: a valid one, see [`crate::expression`].
    pub filter: Option<Vec<u8>>,
    /// The language of documents that name none.
    pub language: Option<Language>,
    /// The field that names a document's language.
    pub language_field: Option<Vec<u8>>,
    /// The score of documents that have none, 0 to 1.
    pub score: f64,
    /// The field that holds a document's score.
    pub score_field: Option<Vec<u8>>,
    /// The field that holds a document's payload.
    pub payload_field: Option<Vec<u8>>,
    /// Whether every document is noted, so that `*` is answered from the index.
    pub index_all: bool,
    /// The index is dropped when it was not used for these seconds.
    pub temporary_seconds: Option<u64>,
    /// Words that are not indexed, in lower case; none: the default list.
    pub stop_words: Option<BTreeSet<String>>,
    /// What is left out.
    pub options: Options,
    /// The fields, in the order of their definition.
    pub fields: Vec<Field>,
}

/// What an index leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `MAXTEXTFIELDS`: room for many `TEXT` fields. Here there always is.
    pub max_text_fields: bool,
    /// `NOOFFSETS`: positions of terms are not kept, so phrases cannot be searched for.
    pub no_offsets: bool,
    /// `NOHL`: nothing is kept for `HIGHLIGHT`. Implied by `NOOFFSETS`.
    pub no_highlight: bool,
    /// `NOFIELDS`: the fields in which a term occurs are not kept.
    pub no_fields: bool,
    /// `NOFREQS`: how often a term occurs is not kept.
    pub no_frequencies: bool,
    /// `SKIPINITIALSCAN`: documents that are there already are not indexed.
    pub skip_initial_scan: bool,
}

impl Schema {
    /// The field of this name.
    pub fn field(&self, name: &[u8]) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field of this name and its position.
    pub fn position(&self, name: &[u8]) -> Option<(FieldId, &Field)> {
        let mut fields = self.fields_with_ids();
        fields.find(|(_, field)| field.name == name)
    }

    /// The `TEXT` fields and their positions, in order.
    pub fn text_fields(&self) -> impl Iterator<Item = (FieldId, &Field)> {
        self.fields_with_ids().filter(|(_, field)| matches!(field.kind, Kind::Text(_)))
    }

    /// The fields and their positions, in order.
    pub fn fields_with_ids(&self) -> impl Iterator<Item = (FieldId, &Field)> {
        (0..).map(FieldId).zip(&self.fields)
    }

    /// Whether keys of this name are documents, as far as the name decides.
    pub fn covers(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

impl Default for Schema {
    /// Every hash, without fields.
    fn default() -> Self {
        Schema {
            source: Source::Hash,
            prefixes: alloc::vec![Vec::new()],
            filter: None,
            language: None,
            language_field: None,
            score: 1.0,
            score_field: None,
            payload_field: None,
            index_all: false,
            temporary_seconds: None,
            stop_words: None,
            options: Options::default(),
            fields: Vec::new(),
        }
    }
}
