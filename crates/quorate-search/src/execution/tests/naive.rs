//! A scan: every document is looked at, by the definitions, without any index.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Request, Sample, Scorer};
use crate::Language;
use crate::analysis::{Forms, Synonyms, words};
use crate::execution::positions::{nearest, within};
use crate::index::{Place as Point, Position};
use crate::query::{Affix, Kind, Label, Node, Place};
use crate::schema::{self, FieldId, Fields, Schema};

pub(super) struct Scan<'a> {
    schema: &'a Schema,
    request: &'a Request<'a>,
    forms: Forms<'a>,
    documents: Vec<Scanned<'a>>,
    average_length: f64,
}

/// A document as the definitions see it.
struct Scanned<'a> {
    sample: &'a Sample,
    /// For each term, where it is and what each place counts.
    terms: BTreeMap<String, Vec<(Position, u32)>>,
    length: u32,
}

/// What a part of a query says of a document that it matches.
struct Match {
    score: f64,
    places: Vec<Position>,
    /// Scores and places of the parts of a group.
    parts: Option<Vec<Match>>,
    is_optional: bool,
    /// Whether it is a part of its group.
    counts: bool,
}

impl Match {
    fn one(score: f64, mut places: Vec<Position>) -> Match {
        places.sort_by_key(|place| place.1);
        places.dedup();
        Match { score, places, parts: None, is_optional: false, counts: true }
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        schema: &'a Schema,
        synonyms: &'a Synonyms,
        samples: &'a [Sample],
        request: &'a Request<'a>,
    ) -> Self {
        let forms = Forms { schema, synonyms, language: Language::English };
        let documents: Vec<Scanned<'a>> =
            samples.iter().map(|sample| Scanned::new(sample, &forms)).collect();
        let length: u32 = documents.iter().map(|document| document.length).sum();
        let count = documents.len().max(1) as f64;
        Scan { schema, request, forms, documents, average_length: f64::from(length) / count }
    }

    /// Keys and scores of what is found.
    pub(super) fn hits(&self) -> BTreeMap<String, f64> {
        let scored = self.documents.iter().filter_map(|document| {
            let found = self.node(self.request.node, document)?;
            Some((document.sample.key.clone(), self.score(&found, document)))
        });
        scored.collect()
    }

    fn score(&self, found: &Match, document: &Scanned<'_>) -> f64 {
        let own = document.sample.score.unwrap_or(self.schema.score);
        let words = document.terms.iter().filter(|(term, _)| !term.starts_with(['+', '<', '~']));
        let commonest = words.map(|(_, places)| total(places)).max().unwrap_or(0);
        match self.request.scorer {
            Scorer::Bm25Std => own * found.score,
            Scorer::Bm25StdTanh(factor) => libm::tanh(own * found.score / factor as f64),
            Scorer::Bm25 => own * found.score / distance(found),
            Scorer::Tfidf => own * found.score / f64::from(commonest.max(1)) / distance(found),
            Scorer::TfidfDocNorm => {
                own * found.score / f64::from(document.length.max(1)) / distance(found)
            }
            Scorer::DisMax => found.score,
            Scorer::DocScore => own,
            Scorer::Hamming => 0.0,
        }
    }

    fn node(&self, node: &Node, document: &Scanned<'_>) -> Option<Match> {
        let weight = node.attributes.weight;
        match &node.kind {
            Kind::Nothing => None,
            Kind::All => None,
            Kind::Word(word) => {
                let mut terms = alloc::vec![(word.clone(), weight)];
                if !self.request.verbatim {
                    let forms = self.forms.asked(word, node.fields, &node.attributes);
                    terms.extend(forms.into_iter().map(|form| (form, 1.0)));
                }
                self.alternatives(&terms, node.fields, document, 1.0, false)
            }
            Kind::Empty => {
                let terms = [(String::new(), weight)];
                self.alternatives(&terms, node.fields, document, 1.0, false)
            }
            Kind::Phrase(words) => {
                let words: Vec<&String> =
                    words.iter().filter(|word| !self.schema.is_stop_word(word)).collect();
                if words.is_empty() {
                    return None;
                }
                let parts: Option<Vec<Match>> =
                    words.iter().map(|word| self.term(word, 1.0, node.fields, document)).collect();
                let in_order = node.attributes.in_order.unwrap_or(true);
                group(parts?, Some(node.attributes.slop.unwrap_or(0)), in_order, weight)
            }
            Kind::Affix(affix) => {
                let affix = affix.clone();
                self.among(node, document, &|term| has(&affix, term))
            }
            Kind::Wildcard(pattern) => {
                let pattern: Vec<char> = pattern.chars().collect();
                self.among(node, document, &|term| follows(&pattern, term))
            }
            Kind::Fuzzy { word, distance } => {
                self.among(node, document, &|term| differs(word, term) <= usize::from(*distance))
            }
            Kind::And(nodes) => {
                let parts: Option<Vec<Match>> =
                    nodes.iter().map(|node| self.node(node, document)).collect();
                let slop = node.attributes.slop.or(self.request.slop);
                group(parts?, slop, node.attributes.in_order.unwrap_or(false), weight)
            }
            Kind::Or(nodes) => {
                let parts = nodes.iter().filter_map(|node| self.node(node, document)).collect();
                self.any(parts, weight)
            }
            Kind::Not(inner) => match self.node(inner, document) {
                Some(_) => None,
                None => Some(Match::one(self.plain(weight, 0), Vec::new())),
            },
            Kind::Optional(inner) => Some(match self.node(inner, document) {
                Some(found) => Match { score: found.score * weight, is_optional: true, ..found },
                None => Match { is_optional: true, counts: false, ..Match::one(0.0, Vec::new()) },
            }),
            Kind::Tags { field, labels } => self.tags(*field, labels, document, weight),
            Kind::Numeric { field, range } => {
                let number: f64 = document.value(*field)?.parse().expect("a number");
                range.contains(number).then(|| Match::one(self.plain(weight, 1), Vec::new()))
            }
            Kind::Geo { field, circle } => {
                let (longitude, latitude) = document.value(*field)?.split_once(',')?;
                let parsed = |text: &str| text.parse().expect("degrees");
                let place = Point::new(parsed(longitude), parsed(latitude))?;
                let middle = Point::new(circle.longitude, circle.latitude)?;
                let inside = place.distance(middle) <= circle.radius * circle.unit.metres();
                inside.then(|| Match::one(self.plain(weight, 1), Vec::new()))
            }
            Kind::Missing(field) => document
                .value(*field)
                .is_none()
                .then(|| Match::one(self.plain(weight, 1), Vec::new())),
            Kind::Shape { .. } | Kind::Nearest { .. } | Kind::Within { .. } => None,
        }
    }

    /// Those of the terms that any document has.
    fn among(
        &self,
        node: &Node,
        document: &Scanned<'_>,
        asked: &dyn Fn(&str) -> bool,
    ) -> Option<Match> {
        let mut terms: Vec<&String> =
            self.documents.iter().flat_map(|document| document.terms.keys()).collect();
        terms.sort();
        terms.dedup();
        let terms: Vec<(String, f64)> = terms
            .into_iter()
            .filter(|term| !term.starts_with(['+', '<', '~']) && asked(term))
            .map(|term| (term.clone(), 1.0))
            .collect();
        self.alternatives(&terms, node.fields, document, node.attributes.weight, true)
    }

    fn alternatives(
        &self,
        terms: &[(String, f64)],
        fields: Fields,
        document: &Scanned<'_>,
        weight: f64,
        always_group: bool,
    ) -> Option<Match> {
        let known: Vec<&(String, f64)> =
            terms.iter().filter(|(term, _)| self.count(term) > 0).collect();
        let mut parts: Vec<Match> = known
            .iter()
            .filter_map(|(term, own)| self.term(term, *own, fields, document))
            .collect();
        if known.len() == 1 && !always_group {
            return parts.pop();
        }
        self.any(parts, weight)
    }

    fn any(&self, parts: Vec<Match>, weight: f64) -> Option<Match> {
        if parts.is_empty() {
            return None;
        }
        let scores = parts.iter().map(|part| part.score);
        let score = match self.request.scorer {
            Scorer::DisMax => scores.fold(0.0, f64::max),
            _ => scores.sum(),
        };
        let places = parts.iter().flat_map(|part| part.places.clone()).collect();
        Some(Match { parts: Some(parts), ..Match::one(weight * score, places) })
    }

    fn tags(
        &self,
        field: FieldId,
        labels: &[Label],
        document: &Scanned<'_>,
        weight: f64,
    ) -> Option<Match> {
        let all = |document: &Scanned<'_>| self.labels(field, document);
        let mut known: Vec<String> = self.documents.iter().flat_map(all).collect();
        known.sort();
        known.dedup();
        let own = all(document);
        let mut parts = Vec::new();
        for label in labels {
            let asked = |text: &String| match label {
                Label::Words(words) => *text == self.folded(field, &words.join(" ")),
                Label::Affix(affix) => {
                    let text_asked = self.folded(field, &affix.text);
                    has(&Affix { text: text_asked, place: affix.place }, text)
                }
                Label::Wildcard(pattern) => {
                    follows(&self.folded(field, pattern).chars().collect::<Vec<_>>(), text)
                }
            };
            for label in known.iter().filter(|label| asked(label)) {
                let documents = self.documents.iter().filter(|other| all(other).contains(label));
                let count = documents.count() as f64;
                if own.contains(label) {
                    parts.push(Match::one(self.counted(1.0, count, 1, document), Vec::new()));
                }
            }
        }
        match labels {
            [Label::Words(_)] => {
                let only = parts.pop()?;
                Some(Match { score: only.score * weight, ..only })
            }
            _ => self.any(parts, weight),
        }
    }

    fn labels(&self, field: FieldId, document: &Scanned<'_>) -> Vec<String> {
        let field_of = &self.schema.fields[usize::from(field.0)];
        let schema::Kind::Tag(tag) = field_of.kind else { return Vec::new() };
        let Some(text) = document.value(field) else { return Vec::new() };
        let separator = char::from(tag.separator.expect("of a hash"));
        text.split(separator)
            .map(|label| self.folded(field, label.trim()))
            .filter(|label| !label.is_empty() || field_of.index_empty)
            .collect()
    }

    fn folded(&self, field: FieldId, text: &str) -> String {
        match self.schema.fields[usize::from(field.0)].kind {
            schema::Kind::Tag(tag) if tag.case_sensitive => text.to_string(),
            _ => text.to_lowercase(),
        }
    }

    fn term(
        &self,
        term: &str,
        weight: f64,
        fields: Fields,
        document: &Scanned<'_>,
    ) -> Option<Match> {
        let places = document.terms.get(term)?;
        let inside =
            |place: &&(Position, u32)| fields.0 & Fields::one(usize::from(place.0.0)).0 != 0;
        if !places.iter().any(|place| inside(&place)) {
            return None;
        }
        let score = self.counted(weight, self.count(term) as f64, total(places), document);
        let places = places.iter().filter(inside).map(|place| place.0);
        // An empty text has no place.
        Some(Match::one(score, places.filter(|_| !term.is_empty()).collect()))
    }

    fn count(&self, term: &str) -> usize {
        self.documents.iter().filter(|document| document.terms.contains_key(term)).count()
    }

    /// The score of a term that is `frequency` times in a document and in `count` documents.
    fn counted(&self, weight: f64, count: f64, frequency: u32, document: &Scanned<'_>) -> f64 {
        let (f, n) = (f64::from(frequency), self.documents.len() as f64);
        let (k1, average) = (f64::from(1.2_f32), self.average_length);
        match self.request.scorer {
            Scorer::Bm25Std | Scorer::Bm25StdTanh(_) => {
                let idf = libm::log(1.0 + (n - count + 0.5) / (count + 0.5));
                let share = if average > 0.0 { f64::from(document.length) / average } else { 0.0 };
                weight * idf * (f * (k1 + 1.0)) / (f + k1 * (1.0 - 0.75 + 0.75 * share))
            }
            Scorer::Bm25 => {
                let idf = libm::floor(libm::log2(1.0 + n / count));
                weight * idf * f / (f + k1 * (1.0 - 0.5 + 0.5 * average))
            }
            Scorer::Tfidf | Scorer::TfidfDocNorm => {
                weight * f * libm::floor(libm::log2(1.0 + n / count))
            }
            Scorer::DisMax | Scorer::DocScore | Scorer::Hamming => weight * f,
        }
    }

    /// The score of what has no term.
    fn plain(&self, weight: f64, frequency: u32) -> f64 {
        let f = f64::from(frequency);
        match self.request.scorer {
            Scorer::Bm25Std | Scorer::Bm25StdTanh(_) => 0.0,
            Scorer::Bm25 => {
                weight * f / (f + f64::from(1.2_f32) * (1.0 - 0.5 + 0.5 * self.average_length))
            }
            _ => weight * f,
        }
    }
}

impl<'a> Scanned<'a> {
    fn new(sample: &'a Sample, forms: &Forms<'_>) -> Self {
        let mut scanned = Scanned { sample, terms: BTreeMap::new(), length: 0 };
        let mut place = 0;
        for (number, (id, field)) in forms.schema.text_fields().enumerate() {
            let schema::Kind::Text(text) = &field.kind else { continue };
            let Some(value) = scanned.value(id).map(str::to_string) else { continue };
            let weight = text.weight as u32;
            let stem_weight = (weight / 5).max(1);
            let mut add = |term: &str, place: u32| {
                let places = scanned.terms.entry(term.to_string()).or_default();
                let weight = if term.starts_with('+') { stem_weight } else { weight };
                places.push(((number as u8, place), weight));
            };
            if value.is_empty() && field.index_empty {
                add("", 0);
                scanned.length += weight;
                continue;
            }
            for word in words(&value).filter(|word| !forms.schema.is_stop_word(&word.text)) {
                place += 1;
                add(&word.text, place);
                forms.indexed(&word.text, field).iter().for_each(|form| add(form, place));
                scanned.length += weight;
            }
        }
        scanned
    }

    fn value(&self, field: FieldId) -> Option<&'a str> {
        let mut values = self.sample.values.iter();
        values.find(|(id, _)| *id == field.0).map(|(_, value)| value.as_str())
    }
}

fn total(places: &[(Position, u32)]) -> u32 {
    places.iter().map(|place| place.1).sum()
}

fn group(parts: Vec<Match>, slop: Option<u32>, in_order: bool, weight: f64) -> Option<Match> {
    let required = parts.iter().filter(|part| !part.is_optional && !part.places.is_empty());
    let places: Vec<Vec<Position>> = required.map(|part| part.places.clone()).collect();
    if (slop.is_some() || in_order) && !within(&places, slop.unwrap_or(u32::MAX), in_order) {
        return None;
    }
    let score: f64 = parts.iter().map(|part| part.score).sum();
    let places = parts.iter().flat_map(|part| part.places.clone()).collect();
    Some(Match { parts: Some(parts), ..Match::one(weight * score, places) })
}

/// As [`super::super::matcher::Matcher::distance`] says it.
fn distance(found: &Match) -> f64 {
    let Some(parts) = &found.parts else { return 1.0 };
    let counted: Vec<&Match> = parts.iter().filter(|part| part.counts).collect();
    let placed: Vec<&&Match> = counted.iter().filter(|part| !part.places.is_empty()).collect();
    let squares: u32 = placed
        .windows(2)
        .filter_map(|pair| nearest(&pair[0].places, &pair[1].places))
        .map(|distance| distance * distance)
        .sum();
    match squares {
        0 => (counted.len() as f64 - 1.0).max(1.0),
        _ => f64::from(squares.isqrt()),
    }
}

fn has(affix: &Affix, text: &str) -> bool {
    affix.text.chars().count() >= 2
        && match affix.place {
            Place::Prefix => text.starts_with(&affix.text),
            Place::Suffix => text.ends_with(&affix.text),
            Place::Infix => text.contains(&affix.text),
        }
}

/// Whether a text follows a pattern without escapes.
fn follows(pattern: &[char], text: &str) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| follows(rest, &text[at..]))
        }
        Some((&letter, rest)) => text.chars().next().is_some_and(|first| {
            (letter == '?' || letter == first) && follows(rest, &text[first.len_utf8()..])
        }),
    }
}

/// The edit distance, by the definition.
fn differs(one: &str, other: &str) -> usize {
    let (mut one_rest, mut other_rest) = (one.chars(), other.chars());
    match (one_rest.next(), other_rest.next()) {
        (Some(a), Some(b)) if a == b => differs(one_rest.as_str(), other_rest.as_str()),
        (Some(_), Some(_)) => {
            let least = differs(one_rest.as_str(), other).min(differs(one, other_rest.as_str()));
            1 + least.min(differs(one_rest.as_str(), other_rest.as_str()))
        }
        _ => one.chars().count() + other.chars().count(),
    }
}

#[test]
fn patterns_and_distances_are_as_defined() {
    assert!(follows(&"r?d*".chars().collect::<Vec<_>>(), "redder"));
    assert_eq!(differs("kitten", "sitting"), 3);
}
