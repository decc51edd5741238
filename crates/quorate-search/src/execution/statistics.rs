//! What the scores of a query depend on, over all partitions.
//!
//! A query is executed in two phases. First every partition says how many documents it has, and
//! which terms the query means in it and in how many documents they are; what they say is added
//! up. Then each finds and scores its documents with the sums. So neither scores nor which words
//! a prefix stands for depend on where documents live.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Request;
use super::dictionary::{self, Found};
use crate::analysis::Forms;
use crate::index::{FieldIndex, Index, Labels};
use crate::limits;
use crate::query::{Affix, Kind, Label, Node};
use crate::schema::{self, FieldId};

/// What is known of the documents of one or more partitions, for one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// How many there are.
    pub documents: u64,
    /// Words of all of them, by the weights of fields.
    pub length: u64,
    /// For each part of the query that asks for terms, from left to right.
    pub leaves: Vec<LeafTerms>,
}

/// The terms that a part of a query asks for, and how many documents have them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafTerms {
    /// Those that there are, for an affix or a pattern the first of them.
    pub documents: BTreeMap<String, u64>,
    /// Whether it is an affix or a pattern, which may stand for many.
    pub open: bool,
    /// Whether it stands for more than are here.
    pub cut: bool,
}

impl Statistics {
    /// Adds what is known of other documents, for the same query.
    pub fn add(&mut self, other: &Statistics) {
        // Peers may send any numbers.
        self.documents = self.documents.saturating_add(other.documents);
        self.length = self.length.saturating_add(other.length);
        for (leaf, other) in self.leaves.iter_mut().zip(&other.leaves) {
            for (term, documents) in &other.documents {
                let sum = leaf.documents.entry(term.to_string()).or_default();
                *sum = sum.saturating_add(*documents);
            }
            leaf.cut |= other.cut;
        }
    }

    /// Leaves of each affix or pattern as many terms as it may stand for. Each partition gave one
    /// more, so the first of all are there.
    pub fn complete(&mut self) {
        for leaf in self.leaves.iter_mut().filter(|leaf| leaf.open) {
            leaf.cut |= leaf.documents.len() > limits::EXPANSIONS;
            while leaf.documents.len() > limits::EXPANSIONS {
                leaf.documents.pop_last();
            }
        }
    }

    /// Whether they may be of this query: of each of its parts that asks for terms.
    pub(super) fn fit(&self, node: &Node) -> bool {
        let mut leaves = 0;
        visit_leaves(node, &mut |_, _| leaves += 1);
        self.leaves.len() == leaves
    }

    /// Whether something stood for more terms than are searched for.
    pub fn is_cut(&self) -> bool {
        self.leaves.iter().any(|leaf| leaf.cut)
    }

    /// Words of a document, on average.
    pub(super) fn average_length(&self) -> f64 {
        if self.documents == 0 { 0.0 } else { self.length as f64 / self.documents as f64 }
    }
}

impl Index {
    /// The first phase of a query.
    pub fn statistics(&self, request: &Request<'_>) -> Statistics {
        let mut leaves = Vec::new();
        visit_leaves(request.node, &mut |node, leaf| {
            leaves.push(self.terms_of(node, leaf, request))
        });
        Statistics {
            documents: self.documents.all().len(),
            length: self.documents.length(),
            leaves,
        }
    }

    fn terms_of(&self, node: &Node, leaf: Leaf<'_>, request: &Request<'_>) -> LeafTerms {
        let seen = |term: &str, documents| self.seen_with(term, documents);
        match leaf {
            Leaf::Word(word) => {
                let forms = request.forms(self, word, node);
                self.exact(core::iter::once(word).chain(&forms))
            }
            Leaf::Phrase(words) => self.exact(words.iter()),
            Leaf::Empty => self.exact(core::iter::once(&String::new())),
            Leaf::Affix(affix) => found(dictionary::by_affix(&self.terms, affix, &seen)),
            Leaf::Wildcard(pattern) => found(dictionary::by_pattern(&self.terms, pattern, &seen)),
            Leaf::Fuzzy { word, distance } => {
                let most = dictionary::FOUND_MAX;
                found(dictionary::by_distance(&self.terms, word, distance, most, &seen))
            }
            Leaf::Label(field, label) => self.label(field, label),
        }
    }

    /// Those of some terms that there are.
    fn exact<'t>(&self, terms: impl Iterator<Item = &'t String>) -> LeafTerms {
        let counted = terms.filter_map(|term| {
            let documents = self.documents.seen_with(self.terms.get(term)?);
            (documents > 0).then(|| (term.to_string(), documents))
        });
        LeafTerms { documents: counted.collect(), ..LeafTerms::default() }
    }

    /// How many of the documents that queries see have a term, of which so many have it in all.
    pub(super) fn seen_with(&self, term: &str, documents: u64) -> u64 {
        match self.documents.seen() {
            None => documents,
            Some(_) => {
                self.terms.get(term).map_or(0, |postings| self.documents.seen_with(postings))
            }
        }
    }

    fn label(&self, field: FieldId, label: &Label) -> LeafTerms {
        let Some(labels) = self.labels(field) else { return LeafTerms::default() };
        let folded = |text: &str| self.folded(field, text);
        let seen_of = |label: &str| labels.get(label).map(|found| self.documents.seen_of(found));
        let seen = |label: &str, _| seen_of(label).unwrap_or(0);
        match label {
            Label::Words(words) => {
                let text = folded(&words.join(" "));
                let documents = seen_of(&text).filter(|documents| *documents > 0);
                let documents = documents.map(|documents| (text, documents));
                LeafTerms { documents: documents.into_iter().collect(), ..LeafTerms::default() }
            }
            Label::Affix(affix) => {
                let mut affix = affix.clone();
                affix.text = folded(&affix.text);
                found(dictionary::by_affix(labels, &affix, &seen))
            }
            Label::Wildcard(pattern) => {
                found(dictionary::by_pattern(labels, &folded(pattern), &seen))
            }
        }
    }

    pub(super) fn labels(&self, field: FieldId) -> Option<&Labels> {
        match self.field(field) {
            FieldIndex::Labels(labels) => Some(labels),
            FieldIndex::Terms
            | FieldIndex::Numbers(_)
            | FieldIndex::Places(_)
            | FieldIndex::Shapes(_)
            | FieldIndex::Vectors(_) => None,
        }
    }

    /// A label as the field keeps it.
    fn folded(&self, field: FieldId, label: &str) -> String {
        match self.schema().fields[usize::from(field.0)].kind {
            schema::Kind::Tag(tag) if tag.case_sensitive => label.to_string(),
            _ => label.to_lowercase(),
        }
    }
}

/// A part of a query that asks for terms.
enum Leaf<'q> {
    Word(&'q String),
    Phrase(&'q [String]),
    Empty,
    Affix(&'q Affix),
    Wildcard(&'q str),
    Fuzzy { word: &'q str, distance: u8 },
    Label(FieldId, &'q Label),
}

/// Visits the parts of a query that ask for terms, with their nodes, from left to right.
fn visit_leaves<'q>(node: &'q Node, visit: &mut impl FnMut(&'q Node, Leaf<'q>)) {
    match &node.kind {
        Kind::And(nodes) | Kind::Or(nodes) => {
            nodes.iter().for_each(|node| visit_leaves(node, visit));
        }
        Kind::Not(inner) | Kind::Optional(inner) | Kind::Nearest { filter: inner, .. } => {
            visit_leaves(inner, visit);
        }
        Kind::Word(word) => visit(node, Leaf::Word(word)),
        Kind::Phrase(words) => visit(node, Leaf::Phrase(words)),
        Kind::Empty => visit(node, Leaf::Empty),
        Kind::Affix(affix) => visit(node, Leaf::Affix(affix)),
        Kind::Wildcard(pattern) => visit(node, Leaf::Wildcard(pattern)),
        Kind::Fuzzy { word, distance } => {
            visit(node, Leaf::Fuzzy { word, distance: *distance });
        }
        Kind::Tags { field, labels } => {
            labels.iter().for_each(|label| visit(node, Leaf::Label(*field, label)));
        }
        Kind::Nothing
        | Kind::All
        | Kind::Numeric { .. }
        | Kind::Geo { .. }
        | Kind::Missing(_)
        | Kind::Shape { .. }
        | Kind::Within { .. } => {}
    }
}

fn found(found: Found) -> LeafTerms {
    let cut = found.len() > limits::EXPANSIONS;
    LeafTerms { documents: found.into_iter().collect(), open: true, cut }
}

impl Request<'_> {
    /// The terms that a word of the query asks for besides itself.
    pub(super) fn forms(&self, index: &Index, word: &str, node: &Node) -> Vec<String> {
        if self.verbatim {
            return Vec::new();
        }
        let (schema, synonyms) = (index.schema(), index.synonyms());
        Forms { schema, synonyms, language: self.language }.asked(
            word,
            node.fields,
            &node.attributes,
        )
    }
}
