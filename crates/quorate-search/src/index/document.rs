//! Documents as they come in, and what is kept of them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::places::Place;
use super::postings::Occurrence;
use super::shape::Shape;
use super::sorting::SortValue;
use super::vectors::bytes_of;
use crate::Language;
use crate::analysis::{Forms, Synonyms, words};
use crate::arguments::shown;
use crate::schema::{Field, FieldId, Fields, Kind, Schema, Tag, Text, Vector};

/// A document as it comes in.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'a> {
    /// Its key, which names it.
    pub key: &'a [u8],
    /// Its language, if it says so.
    pub language: Option<Language>,
    /// Its score, if it says so.
    pub score: Option<f64>,
    /// What the scorer `HAMMING` compares.
    pub payload: Option<&'a [u8]>,
    /// The fields that it has; a field that is not here is missing.
    pub fields: Vec<(FieldId, Value<'a>)>,
}

/// A value of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Text, or what it says: a number, labels, a longitude and a latitude.
    Bytes(&'a [u8]),
    /// A number.
    Number(f64),
    /// Several.
    Many(Vec<Value<'a>>),
}

/// Why a document is not indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unindexed {
    /// The field that is to blame.
    pub field: FieldId,
    /// What is wrong with it.
    pub text: String,
}

/// What an index keeps of a document, besides what is in terms.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Terms and how they occur.
    pub(super) terms: BTreeMap<String, Occurrence>,
    /// Values of other fields.
    pub(super) values: Vec<(FieldId, Held)>,
    /// Vectors, in the bytes of their fields' components.
    pub(super) vectors: Vec<(FieldId, Vec<u8>)>,
    /// Shapes.
    pub(super) shapes: Vec<(FieldId, Shape)>,
    /// Values to sort by.
    pub(super) sortable: Vec<(FieldId, SortValue)>,
    /// Words, by the weights of their fields.
    pub(super) length: u32,
    /// How often the commonest word occurs, by the weights of fields; what words stand for does
    /// not count.
    pub(super) frequency_max: u32,
    /// Words so far, by which their positions are counted.
    words: u32,
}

/// A value of a field that is not text.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Label(Arc<str>),
    Number(f64),
    Place(Place),
}

impl Content {
    /// What `document` says.
    pub(super) fn read(
        document: &Document<'_>,
        schema: &Schema,
        synonyms: &Synonyms,
    ) -> Result<Content, Unindexed> {
        let language = document.language.or(schema.language).unwrap_or(Language::English);
        let forms = Forms { schema, synonyms, language };
        let mut content = Content::default();
        for (id, field) in schema.fields_with_ids() {
            let value = document.fields.iter().find(|(field, _)| *field == id);
            let Some((_, value)) = value else { continue };
            if field.sortable {
                content.sortable.extend(SortValue::of(value, field).map(|value| (id, value)));
            }
            if field.no_index {
                continue;
            }
            let mut reader = FieldReader { content: &mut content, forms, id, field };
            reader.value(value).map_err(|text| Unindexed { field: id, text })?;
        }
        Ok(content)
    }
}

/// How far the last word of a text is from the first of the next one in an array. RediSearch's
/// default (`MULTI_TEXT_SLOP`).
const VALUES_APART: u32 = 100;

/// The share of a field's weight with which the stem of a word counts. RediSearch's
/// (`STEM_TOKEN_FACTOR`, in single precision).
const STEM_SHARE: f32 = 0.2;

/// Reads a field of a document.
struct FieldReader<'a> {
    content: &'a mut Content,
    forms: Forms<'a>,
    id: FieldId,
    field: &'a Field,
}

impl FieldReader<'_> {
    fn value(&mut self, value: &Value<'_>) -> Result<(), String> {
        let field = self.field;
        match (value, &field.kind) {
            (value, Kind::Vector(vector)) => self.vector(value, vector),
            (Value::Many(values), Kind::Text(_)) => {
                for (number, value) in values.iter().enumerate() {
                    if number > 0 {
                        self.content.words += VALUES_APART - 1;
                    }
                    self.value(value)?;
                }
                Ok(())
            }
            (Value::Many(values), _) => values.iter().try_for_each(|value| self.value(value)),
            (Value::Bytes(bytes), Kind::Text(text)) => {
                self.text(&String::from_utf8_lossy(bytes), text);
                Ok(())
            }
            (Value::Bytes(bytes), Kind::Tag(tag)) => {
                self.labels(&String::from_utf8_lossy(bytes), tag);
                Ok(())
            }
            (Value::Bytes(bytes), Kind::Numeric) => {
                let number = crate::arguments::number::<f64>(bytes);
                let number = number.filter(|number| !number.is_nan() && !overflows(*number, bytes));
                let refused = || format!("Invalid numeric value: '{}'", shown(bytes));
                self.hold(Held::Number(number.ok_or_else(refused)?));
                Ok(())
            }
            (Value::Number(number), Kind::Numeric) if !number.is_nan() => {
                self.hold(Held::Number(*number));
                Ok(())
            }
            (Value::Bytes(bytes), Kind::Geo) => {
                let refused = || format!("Invalid geo string: '{}'", shown(bytes));
                self.hold(Held::Place(place(bytes).ok_or_else(refused)?));
                Ok(())
            }
            (Value::Bytes(bytes), Kind::GeoShape(coordinates)) => {
                self.content.shapes.push((self.id, Shape::parse(bytes, *coordinates)?));
                Ok(())
            }
            (Value::Number(number), _) => Err(format!("Unexpected number: {number}")),
        }
    }

    /// Bytes, a list of numbers, or a list of such.
    fn vector(&mut self, value: &Value<'_>, vector: &Vector) -> Result<(), String> {
        let expected = vector.dimensions as usize;
        let bytes = match value {
            Value::Bytes(bytes) => bytes.to_vec(),
            Value::Number(number) => return Err(format!("Unexpected number: {number}")),
            Value::Many(values) => {
                let number = |value: &Value<'_>| match value {
                    Value::Number(number) => Some(*number),
                    Value::Bytes(_) | Value::Many(_) => None,
                };
                let numbers: Option<Vec<f64>> = values.iter().map(number).collect();
                match numbers {
                    Some(numbers) if numbers.len() == expected => {
                        bytes_of(&numbers, vector.element)
                    }
                    Some(numbers) => {
                        let length = numbers.len();
                        return Err(format!(
                            "Invalid vector length. Expected {expected}, got {length}"
                        ));
                    }
                    None => return values.iter().try_for_each(|value| self.vector(value, vector)),
                }
            }
        };
        if bytes.len() != vector.bytes() {
            let (size, expected) = (bytes.len(), vector.bytes());
            return Err(format!(
                "Could not add vector with blob size {size} (expected size {expected})"
            ));
        }
        self.content.vectors.push((self.id, bytes));
        Ok(())
    }

    fn hold(&mut self, held: Held) {
        self.content.values.push((self.id, held));
    }

    fn text(&mut self, text: &str, options: &Text) {
        let texts = self.forms.schema.text_fields();
        let Some(number) = texts.map(|(id, _)| id).position(|id| id == self.id) else { return };
        // As RediSearch counts: by whole weights, and at least once.
        let weight = (options.weight as u32).max(1);
        let stem_weight = ((options.weight as f32 * STEM_SHARE) as u32).max(1);
        if text.is_empty() {
            if self.field.index_empty {
                self.content.length += weight;
                self.occurs("", number, weight, None);
            }
            return;
        }
        for word in words(text) {
            let word = word.text;
            if self.forms.schema.is_stop_word(&word) {
                continue;
            }
            self.content.words += 1;
            self.content.length += weight;
            let position = Some(self.content.words);
            for form in self.forms.indexed(&word, self.field) {
                let weight = if form.starts_with('+') { stem_weight } else { weight };
                self.occurs(&form, number, weight, position);
            }
            let frequency = self.occurs(&word, number, weight, position);
            self.content.frequency_max = self.content.frequency_max.max(frequency);
        }
    }

    /// Notes that a term occurs once more; returns how often it does by now.
    fn occurs(&mut self, term: &str, field: usize, weight: u32, position: Option<u32>) -> u32 {
        let options = self.forms.schema.options;
        let terms = &mut self.content.terms;
        let occurrence = if terms.contains_key(term) {
            terms.get_mut(term).expect("invariant: it is there")
        } else {
            terms.entry(term.to_string()).or_default()
        };
        occurrence.fields |= Fields::one(field).0;
        if !options.no_frequencies {
            occurrence.frequency += weight;
        } else {
            occurrence.frequency = 1;
        }
        if let Some(position) = position.filter(|_| !options.no_offsets) {
            occurrence.positions.push((field as u8, position));
        }
        occurrence.frequency
    }

    fn labels(&mut self, text: &str, tag: &Tag) {
        let mut label = |label: &str| {
            let label = label.trim_matches(|space: char| space.is_ascii_whitespace());
            if label.is_empty() && !self.field.index_empty {
                return;
            }
            let label = if tag.case_sensitive { label.to_string() } else { label.to_lowercase() };
            self.content.values.push((self.id, Held::Label(label.into())));
        };
        match tag.separator {
            Some(separator) => text.split(char::from(separator)).for_each(&mut label),
            None => label(text),
        }
    }
}

/// Whether digits stand for more than a number can be; `inf` does not.
fn overflows(number: f64, text: &[u8]) -> bool {
    number.is_infinite() && text.iter().any(u8::is_ascii_digit)
}

/// As far from the equator as places are indexed, in degrees: Redis's bound, that of web maps.
const LATITUDE_MAX: f64 = 85.05112878;

/// `longitude,latitude`, or with a space.
fn place(bytes: &[u8]) -> Option<Place> {
    let text = str::from_utf8(bytes).ok()?;
    let (longitude, latitude) = text.split_once([',', ' '])?;
    let latitude = latitude.trim().parse().ok().filter(|own: &f64| own.abs() <= LATITUDE_MAX)?;
    Place::new(longitude.trim().parse().ok()?, latitude)
}

/// A document of an index.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: Arc<[u8]>,
    /// The group of documents that it belongs to.
    pub(super) group: u8,
    /// What its scores are multiplied by.
    pub(crate) score: f64,
    /// Words, by the weights of their fields.
    pub(crate) length: u32,
    /// How often the commonest word occurs, by the weights of its fields.
    pub(crate) frequency_max: u32,
    /// What the scorer `HAMMING` compares.
    pub(crate) payload: Option<Box<[u8]>>,
    /// Its terms.
    pub(super) terms: Box<[super::terms::TermId]>,
    /// Its other values.
    pub(super) values: Box<[(FieldId, Held)]>,
    /// Values to sort by.
    pub(super) sortable: Box<[(FieldId, SortValue)]>,
}

impl Entry {
    /// The value of a `SORTABLE` field, if the document has one.
    pub(crate) fn sort_value(&self, field: FieldId) -> Option<&SortValue> {
        self.sortable.iter().find(|(id, _)| *id == field).map(|(_, value)| value)
    }
}
