//! The documents of one partition, by everything that queries ask for.
//!
//! A document is put and removed as a whole, and at once: the next query sees it. Nothing of a
//! removed one stays behind, so counts are exact and nothing is collected later. Documents have
//! small numbers, which are used again; what a query meets first or last is never decided by them.

mod beginnings;
mod dense;
mod description;
mod document;
mod documents;
mod heads;
mod kept;
mod labels;
mod memory;
mod numbers;
mod places;
mod postings;
mod shape;
mod shapes;
mod sorting;
mod terms;
#[cfg(test)]
mod tests;
mod varint;
mod vectors;

use alloc::boxed::Box;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use crate::allowance::Allowance;
use crate::analysis::Synonyms;
use crate::error::{Code, Error};
use crate::schema::{Coordinates, Field, FieldId, Kind, Schema};

use document::{Content, Held};
use numbers::Numbers;
use places::Places;
use shapes::Shapes;

pub(crate) use document::Entry;
pub use document::{Document, Unindexed, Value};
pub(crate) use documents::Documents;
pub(crate) use heads::{frequency, offset, position, said};
pub(crate) use labels::Labels;
pub use memory::Memory;
pub(crate) use places::Place;
pub(crate) use postings::{Bound, DocumentId, Position, Postings, Reader};
pub(crate) use shape::Shape;
pub use sorting::SortValue;
pub(crate) use terms::Terms;
pub(crate) use vectors::{Compared, Vectors};

/// The documents of one partition.
#[derive(Debug)]
pub struct Index {
    schema: Schema,
    synonyms: Synonyms,
    pub(crate) documents: Documents,
    pub(crate) terms: Terms,
    /// What other fields hold, by their positions in the schema.
    fields: Vec<FieldIndex>,
    /// Documents without the field, for fields that ask for it.
    missing: Vec<RoaringBitmap>,
    allowance: Allowance,
    /// What documents take that is not told by those who hold it.
    kept: Memory,
}

/// What a field holds.
#[derive(Debug)]
pub(crate) enum FieldIndex {
    /// Nothing that is not in terms.
    Terms,
    Labels(Labels),
    Numbers(Numbers),
    Places(Places),
    Shapes(Shapes),
    Vectors(Box<Vectors>),
}

impl FieldIndex {
    /// That of a field which no document has.
    fn new(field: &Field) -> FieldIndex {
        match field.kind {
            Kind::Tag(_) => FieldIndex::Labels(Labels::default()),
            Kind::Numeric => FieldIndex::Numbers(Numbers::default()),
            Kind::Geo => FieldIndex::Places(Places::default()),
            Kind::Vector(ref vector) => FieldIndex::Vectors(Box::new(Vectors::new(vector))),
            Kind::GeoShape(_) => FieldIndex::Shapes(Shapes::default()),
            Kind::Text(_) => FieldIndex::Terms,
        }
    }
}

impl Index {
    /// An index without documents.
    pub fn new(schema: Schema, synonyms: Synonyms) -> Index {
        Index {
            fields: schema.fields.iter().map(FieldIndex::new).collect(),
            missing: schema.fields.iter().map(|_| RoaringBitmap::new()).collect(),
            documents: Documents::new(schema.score),
            schema,
            synonyms,
            terms: Terms::default(),
            allowance: Allowance::default(),
            kept: Memory::default(),
        }
    }

    /// From now on it covers further fields, and goes by these synonyms. Documents are found as before;
    /// what is new of them is known once they are put again. Returns whether that is all that is
    /// different between the schemas: else nothing changes.
    pub fn extend(&mut self, schema: Schema, synonyms: Synonyms) -> bool {
        let own = self.schema.fields.len();
        let grown = Schema { fields: self.schema.fields.clone(), ..schema.clone() };
        if grown != self.schema || schema.fields.get(..own) != Some(&self.schema.fields[..]) {
            return false;
        }
        let added = &schema.fields[own..];
        self.fields.extend(added.iter().map(FieldIndex::new));
        self.missing.extend(added.iter().map(|_| RoaringBitmap::new()));
        (self.schema, self.synonyms) = (schema, synonyms);
        true
    }

    /// What it covers.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Its groups of synonyms.
    pub fn synonyms(&self) -> &Synonyms {
        &self.synonyms
    }

    /// How many documents queries see.
    pub fn len(&self) -> u64 {
        self.documents.all().len()
    }

    /// Whether queries see no document.
    pub fn is_empty(&self) -> bool {
        self.documents.all().is_empty()
    }

    /// The keys of all documents that queries see, in order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.documents.keys()
    }

    /// The values of a `TAG` field, of documents that queries see, in order; none of a field of
    /// another kind.
    pub fn tag_values(&self, field: FieldId) -> impl Iterator<Item = &str> {
        let labels = match self.fields.get(usize::from(field.0)) {
            Some(FieldIndex::Labels(labels)) => Some(labels),
            _ => None,
        };
        let all = labels.into_iter().flat_map(|labels| labels.entries());
        all.filter(|(_, documents)| self.documents.seen_of(documents) > 0).map(|(label, _)| label)
    }

    /// How many terms there are.
    pub fn terms(&self) -> usize {
        self.terms.len()
    }

    /// From now on queries see the documents of these groups only, as if no others were there: bit
    /// 0 stands for group 0, and so on. At first they see all.
    pub fn show(&mut self, groups: u64) {
        self.documents.show(groups);
    }

    /// What queries may take from now on.
    pub fn allow(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// What queries may take.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Whether a query is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.allowance.stop.is_set()
    }

    /// Puts a document in the place of what has its key, in group 0.
    pub fn put(&mut self, document: &Document<'_>) -> Result<(), Unindexed> {
        self.put_in(0, document)
    }

    /// Puts a document of a group, which is below 64, in the place of what has its key. If it cannot
    /// be indexed there is none of this key afterwards.
    pub fn put_in(&mut self, group: u8, document: &Document<'_>) -> Result<(), Unindexed> {
        self.remove(document.key);
        let content = Content::read(document, &self.schema, &self.synonyms)?;
        let id = self.documents.vacant(content.length);
        for (number, (field, missing)) in
            self.schema.fields.iter().zip(&mut self.missing).enumerate()
        {
            let there = document.fields.iter().any(|(field, _)| usize::from(field.0) == number);
            if field.index_missing && !there {
                missing.insert(id);
            }
        }
        let terms = content.terms.iter();
        let terms = terms.map(|(text, occurrence)| {
            self.terms.insert(text, id, occurrence, self.documents.words())
        });
        let terms = terms.collect();
        let mut values = content.values;
        for (field, held) in &mut values {
            match (&mut self.fields[usize::from(field.0)], held) {
                (FieldIndex::Labels(labels), Held::Label(label)) => {
                    *label = labels.insert(label, id);
                }
                (FieldIndex::Numbers(numbers), Held::Number(number)) => numbers.insert(*number, id),
                (FieldIndex::Places(places), Held::Place(place)) => places.insert(*place, id),
                _ => {}
            }
        }
        for (field, bytes) in &content.vectors {
            if let FieldIndex::Vectors(vectors) = &mut self.fields[usize::from(field.0)] {
                vectors.insert(bytes, id, document.key);
            }
        }
        for (field, shape) in content.shapes {
            if let FieldIndex::Shapes(shapes) = &mut self.fields[usize::from(field.0)] {
                shapes.insert(shape, id);
            }
        }
        let entry = Entry {
            key: document.key.into(),
            group,
            score: document.score.unwrap_or(self.schema.score),
            length: content.length,
            frequency_max: content.frequency_max,
            payload: document.payload.map(Into::into),
            terms,
            values: values.into(),
            sortable: content.sortable.into(),
        };
        self.kept += memory::of_entry(&entry);
        self.documents.insert(id, entry);
        Ok(())
    }

    /// Removes the document of this key; whether there was one.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some((id, entry)) = self.documents.remove(key) else { return false };
        self.kept -= memory::of_entry(&entry);
        for &term in &entry.terms {
            self.terms.remove(term, id, self.documents.words());
        }
        for (field, held) in &entry.values {
            match (&mut self.fields[usize::from(field.0)], held) {
                (FieldIndex::Labels(labels), Held::Label(label)) => labels.remove(label, id),
                (FieldIndex::Numbers(numbers), Held::Number(number)) => numbers.remove(*number, id),
                (FieldIndex::Places(places), Held::Place(place)) => places.remove(*place, id),
                _ => {}
            }
        }
        for missing in &mut self.missing {
            missing.remove(id);
        }
        for field in &mut self.fields {
            match field {
                FieldIndex::Vectors(vectors) => vectors.remove(id),
                FieldIndex::Shapes(shapes) => shapes.remove(id),
                FieldIndex::Terms
                | FieldIndex::Labels(_)
                | FieldIndex::Numbers(_)
                | FieldIndex::Places(_) => {}
            }
        }
        true
    }

    /// Works on the graphs of vectors: moves new ones into them, and frees the places of removed
    /// ones, for as long as it takes to compare about `budget` vectors a field. Returns whether
    /// there is more to do. Whoever owns the index calls it between other work; what is found does
    /// not wait for it, but is found faster afterwards.
    pub fn advance(&mut self, budget: usize) -> bool {
        let mut is_more = false;
        for field in &mut self.fields {
            if let FieldIndex::Vectors(vectors) = field {
                is_more |= vectors.advance(budget);
            }
        }
        is_more
    }

    /// Bytes that it occupies, about.
    pub fn memory(&self) -> Memory {
        let mut memory = self.kept;
        (memory.postings, memory.blocks) = self.terms.postings_memory();
        memory.terms = self.terms.memory();
        for field in &self.fields {
            match field {
                FieldIndex::Vectors(vectors) => memory.vectors += vectors.memory(),
                FieldIndex::Labels(labels) => memory.labels += labels.memory(),
                FieldIndex::Shapes(shapes) => memory.shapes += shapes.memory(),
                FieldIndex::Terms | FieldIndex::Numbers(_) | FieldIndex::Places(_) => {}
            }
        }
        memory
    }

    /// Bytes that the vectors of a field and their graph occupy; none of a field of another kind.
    pub fn vector_memory(&self, field: FieldId) -> usize {
        match self.fields.get(usize::from(field.0)) {
            Some(FieldIndex::Vectors(vectors)) => vectors.memory(),
            _ => 0,
        }
    }

    /// The shape that a query names.
    pub(crate) fn shape(&self, field: FieldId, text: &[u8]) -> Result<Shape, Error> {
        let coordinates = match &self.schema.fields[usize::from(field.0)].kind {
            Kind::GeoShape(coordinates) => *coordinates,
            _ => Coordinates::Flat,
        };
        Shape::parse(text, coordinates).map_err(|text| Error::new(Code::BadQuery, text))
    }

    pub(crate) fn field(&self, field: FieldId) -> &FieldIndex {
        &self.fields[usize::from(field.0)]
    }

    pub(crate) fn missing(&self, field: FieldId) -> &RoaringBitmap {
        &self.missing[usize::from(field.0)]
    }
}
