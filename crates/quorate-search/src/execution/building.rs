//! From the tree of a query to what goes through its documents.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::Request;
use super::matcher::{All, Kind, Matcher, Set, Term};
use super::statistics::{LeafTerms, Statistics};
use crate::error::{Code, Error};
use crate::index::{FieldIndex, Index, Postings};
use crate::query::{Kind as Asked, Label, Node};
use crate::schema::{FieldId, Fields};

/// Makes matchers of the parts of a query, in the order in which their terms were counted.
pub(super) struct Builder<'a, 'r> {
    index: &'a Index,
    request: &'r Request<'r>,
    leaves: core::slice::Iter<'r, LeafTerms>,
    /// Documents of all partitions.
    all: u64,
}

impl<'a, 'r> Builder<'a, 'r> {
    pub(super) fn new(
        index: &'a Index,
        request: &'r Request<'r>,
        statistics: &'r Statistics,
    ) -> Self {
        Builder { index, request, leaves: statistics.leaves.iter(), all: statistics.documents }
    }

    /// What goes through the documents of the whole query, or of its filter.
    pub(super) fn matcher(mut self) -> Result<Matcher<'a>, Error> {
        match &self.request.node.kind {
            Asked::Nearest { filter, .. } => self.node(filter),
            _ => self.node(self.request.node),
        }
    }

    fn node(&mut self, node: &Node) -> Result<Matcher<'a>, Error> {
        let weight = node.attributes.weight;
        Ok(match &node.kind {
            Asked::Nothing => any(Vec::new(), weight),
            Asked::All => {
                let all = self.index.documents.all();
                Matcher::new(Kind::Everything(Set::kept(all)), weight, all.len())
            }
            Asked::Word(word) => self.word(word, node),
            Asked::Phrase(words) => self.phrase(words, node),
            Asked::Empty => {
                let leaf = self.leaf();
                alone(self.terms(leaf, &[String::new()], node), weight)
            }
            Asked::Affix(_) | Asked::Wildcard(_) | Asked::Fuzzy { .. } => {
                let leaf = self.leaf();
                let terms: Vec<String> = leaf.documents.keys().cloned().collect();
                any(self.terms(leaf, &terms, node), weight)
            }
            Asked::And(nodes) => {
                let nodes = self.nodes(nodes)?;
                let slop = node.attributes.slop.or(self.request.slop);
                let in_order = node.attributes.in_order.unwrap_or(self.request.in_order);
                all(self.index, nodes, slop, in_order, weight)
            }
            Asked::Or(nodes) => any(self.nodes(nodes)?, weight),
            Asked::Not(inner) => {
                let child = Box::new(self.node(inner)?);
                let documents = Set::kept(self.index.documents.all());
                let estimate = self.index.documents.all().len();
                Matcher::new(Kind::Not { documents, child }, weight, estimate)
            }
            Asked::Optional(inner) => {
                let child = Box::new(self.node(inner)?);
                let documents = Set::kept(self.index.documents.all());
                let estimate = self.index.documents.all().len();
                Matcher::new(Kind::Optional { documents, child }, weight, estimate)
            }
            Asked::Tags { field, labels } => self.tags(*field, labels, weight),
            Asked::Numeric { field, range } => match self.index.field(*field) {
                FieldIndex::Numbers(numbers) => made(numbers.within(*range), weight),
                _ => any(Vec::new(), weight),
            },
            Asked::Geo { field, circle } => match self.index.field(*field) {
                FieldIndex::Places(places) => made(places.within(*circle), weight),
                _ => any(Vec::new(), weight),
            },
            Asked::Missing(field) => {
                let missing = self.index.missing(*field);
                Matcher::new(Kind::Filter(Set::kept(missing)), weight, missing.len())
            }
            Asked::Within { radius, vector } => made(self.index.within(*radius, vector)?, weight),
            Asked::Nearest { .. } => {
                let text = "KNN is only possible as a whole query";
                return Err(Error::new(Code::BadQuery, text));
            }
            Asked::Shape { field, relation, shape, .. } => match self.index.field(*field) {
                FieldIndex::Shapes(shapes) => {
                    let shape = self.index.shape(*field, shape)?;
                    made(shapes.lying(*relation, &shape), weight)
                }
                _ => any(Vec::new(), weight),
            },
        })
    }

    fn nodes(&mut self, nodes: &[Node]) -> Result<Vec<Matcher<'a>>, Error> {
        nodes.iter().map(|node| self.node(node)).collect()
    }

    fn leaf(&mut self) -> &'r LeafTerms {
        self.leaves.next().expect("invariant: statistics fit the query")
    }

    /// A word, or its forms. Its weight is its own, as in RediSearch.
    fn word(&mut self, word: &String, node: &Node) -> Matcher<'a> {
        let leaf = self.leaf();
        let mut matchers = self.terms(leaf, core::slice::from_ref(word), node);
        matchers.iter_mut().for_each(|matcher| matcher.weight = node.attributes.weight);
        matchers.extend(self.terms(leaf, &self.request.forms(self.index, word, node), node));
        alone(matchers, 1.0)
    }

    /// Words next to each other. Stop words are not there, neither in documents.
    fn phrase(&mut self, words: &[String], node: &Node) -> Matcher<'a> {
        let leaf = self.leaf();
        let schema = self.index.schema();
        let words: Vec<String> =
            words.iter().filter(|word| !schema.is_stop_word(word)).cloned().collect();
        let mut matchers = self.terms(leaf, &words, node);
        if matchers.len() < words.len() {
            matchers.clear();
        }
        let attributes = &node.attributes;
        let slop = attributes.slop.unwrap_or(0);
        let in_order = attributes.in_order.unwrap_or(true);
        all(self.index, matchers, Some(slop), in_order, attributes.weight)
    }

    fn tags(&mut self, field: FieldId, labels: &[Label], weight: f64) -> Matcher<'a> {
        let mut matchers = Vec::new();
        let mut exact = true;
        for label in labels {
            exact &= matches!(label, Label::Words(_));
            let leaf = self.leaf();
            matchers.extend(leaf.documents.iter().map(|(label, &documents)| {
                let kept = self.index.labels(field).and_then(|kept| kept.get(label));
                let (documents_here, estimate) = match kept {
                    Some(kept) => (Set::kept(kept), kept.len()),
                    None => (Set::Made(RoaringBitmap::new().into_iter()), 0),
                };
                let term = Term::new(label.clone(), documents, self.all);
                let kind = Kind::Label { documents: documents_here, term };
                Matcher::new(kind, 1.0, estimate)
            }));
        }
        match matchers.pop() {
            Some(mut only) if exact && labels.len() == 1 => {
                only.weight = weight;
                only
            }
            last => {
                matchers.extend(last);
                any(matchers, weight)
            }
        }
    }

    /// The fields in which words of a part count: all, if it names every one there is.
    fn text_fields(&self, node: &Node) -> Fields {
        let fields = Fields(node.fields.0 & self.request.fields.0);
        let all = self.index.schema().text_fields().count();
        let is_all = (0..all).all(|number| fields.0 & Fields::one(number).0 != 0);
        if is_all { Fields::ALL } else { fields }
    }

    /// The terms of `leaf`, as far as there are any, in the order of `texts`.
    fn terms(&self, leaf: &LeafTerms, texts: &[String], node: &Node) -> Vec<Matcher<'a>> {
        let counted = texts.iter().filter_map(|text| Some((text, *leaf.documents.get(text)?)));
        let fields = self.text_fields(node);
        counted
            .map(|(text, documents)| {
                let postings = self.index.terms.get(text);
                let estimate = postings.map_or(0, |postings| postings.documents());
                let reader = postings.map(Postings::reader).unwrap_or_default();
                let term = Term::new(text.clone(), documents, self.all);
                Matcher::new(Kind::Term { reader, fields, term }, 1.0, u64::from(estimate))
            })
            .collect()
    }
}

fn made(documents: RoaringBitmap, weight: f64) -> Matcher<'static> {
    let estimate = documents.len();
    Matcher::new(Kind::Filter(Set::Made(documents.into_iter())), weight, estimate)
}

/// What one of some matches; one alone is no group.
fn alone(mut children: Vec<Matcher<'_>>, weight: f64) -> Matcher<'_> {
    match children.pop() {
        Some(mut only) if children.is_empty() => {
            only.weight *= weight;
            only
        }
        last => {
            children.extend(last);
            any(children, weight)
        }
    }
}

fn any(children: Vec<Matcher<'_>>, weight: f64) -> Matcher<'_> {
    let estimate = children.iter().map(|child| child.estimate).sum();
    Matcher::new(Kind::Any { children }, weight, estimate)
}

fn all<'a>(
    index: &'a Index,
    children: Vec<Matcher<'a>>,
    slop: Option<u32>,
    in_order: bool,
    weight: f64,
) -> Matcher<'a> {
    let estimate = children.iter().map(|child| child.estimate).min().unwrap_or(0);
    let mut order: Vec<usize> = (0..children.len()).collect();
    order.sort_by_key(|&child| children[child].estimate);
    let stop = &index.allowance().stop;
    let all = All { children, order, slop, in_order, places: Vec::new(), stop };
    Matcher::new(Kind::All(all), weight, estimate)
}
