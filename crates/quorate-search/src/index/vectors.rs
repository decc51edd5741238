//! The vectors of a `VECTOR` field, compared one by one.
//!
//! That finds what is asked for exactly, whatever algorithm the schema names: no graph is built
//! yet.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::distance::{Brain, Component, Half, decoded, euclidean, product};
use super::postings::DocumentId;
use crate::schema::{Element, Metric, Vector};

/// Vectors and the documents that have them.
#[derive(Debug)]
pub(crate) struct Vectors {
    metric: Metric,
    components: Components,
    /// Whose the vectors are, in their order.
    owners: Vec<DocumentId>,
    /// Where the vectors of a document are.
    places: BTreeMap<DocumentId, Vec<usize>>,
}

/// The components of all vectors, one behind the other.
#[derive(Debug)]
enum Components {
    Float32(Flat<f32>),
    Float64(Flat<f64>),
    Float16(Flat<Half>),
    Bfloat16(Flat<Brain>),
    Int8(Flat<i8>),
    Uint8(Flat<u8>),
}

#[derive(Debug)]
struct Flat<C> {
    dimensions: usize,
    components: Vec<C>,
    /// The Euclidean length of each.
    lengths: Vec<f64>,
}

/// A vector that others are compared with.
#[derive(Debug)]
pub(crate) struct Compared<'a> {
    vectors: &'a Vectors,
    components: Components,
}

macro_rules! each {
    ($components:expr, $flat:ident => $result:expr) => {
        match $components {
            Components::Float32($flat) => $result,
            Components::Float64($flat) => $result,
            Components::Float16($flat) => $result,
            Components::Bfloat16($flat) => $result,
            Components::Int8($flat) => $result,
            Components::Uint8($flat) => $result,
        }
    };
}

impl Vectors {
    pub(super) fn new(vector: &Vector) -> Vectors {
        Vectors {
            metric: vector.metric,
            components: Components::new(vector.element, vector.dimensions as usize),
            owners: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Gives a document a vector, besides those that it has. The bytes are as many as the schema
    /// says.
    pub(super) fn insert(&mut self, bytes: &[u8], document: DocumentId) {
        self.places.entry(document).or_default().push(self.owners.len());
        self.owners.push(document);
        self.components.push(bytes);
    }

    /// Removes the vectors of a document; the last ones take their places.
    pub(super) fn remove(&mut self, document: DocumentId) {
        let mut places = self.places.remove(&document).unwrap_or_default();
        places.sort_unstable();
        for place in places.into_iter().rev() {
            self.owners.swap_remove(place);
            self.components.swap_remove(place);
            let Some(moved) = self.owners.get(place) else { continue };
            let former = self.owners.len();
            let moved = self.places.get_mut(moved).into_iter().flatten();
            for other in moved.filter(|other| **other == former) {
                *other = place;
            }
        }
    }

    /// To compare vectors with one of that many bytes.
    pub(crate) fn compared<'a>(&'a self, bytes: &[u8]) -> Compared<'a> {
        let (element, dimensions) = self.components.shape();
        let mut components = Components::new(element, dimensions);
        components.push(bytes);
        Compared { vectors: self, components }
    }

    /// The documents that have vectors, in order.
    pub(crate) fn documents(&self) -> impl Iterator<Item = DocumentId> {
        self.places.keys().copied()
    }
}

impl Compared<'_> {
    /// The distance of a document: that of the nearest of its vectors, if it has any.
    pub(crate) fn distance(&self, document: DocumentId) -> Option<f64> {
        let places = self.vectors.places.get(&document)?;
        places.iter().map(|&place| self.distance_at(place)).min_by(f64::total_cmp)
    }

    fn distance_at(&self, place: usize) -> f64 {
        let metric = self.vectors.metric;
        match (&self.vectors.components, &self.components) {
            (Components::Float32(all), Components::Float32(one)) => {
                all.distance(place, one, metric)
            }
            (Components::Float64(all), Components::Float64(one)) => {
                all.distance(place, one, metric)
            }
            (Components::Float16(all), Components::Float16(one)) => {
                all.distance(place, one, metric)
            }
            (Components::Bfloat16(all), Components::Bfloat16(one)) => {
                all.distance(place, one, metric)
            }
            (Components::Int8(all), Components::Int8(one)) => all.distance(place, one, metric),
            (Components::Uint8(all), Components::Uint8(one)) => all.distance(place, one, metric),
            // What is compared is made like all others.
            _ => f64::INFINITY,
        }
    }
}

impl Components {
    fn new(element: Element, dimensions: usize) -> Components {
        match element {
            Element::Float32 => Components::Float32(Flat::new(dimensions)),
            Element::Float64 => Components::Float64(Flat::new(dimensions)),
            Element::Float16 => Components::Float16(Flat::new(dimensions)),
            Element::Bfloat16 => Components::Bfloat16(Flat::new(dimensions)),
            Element::Int8 => Components::Int8(Flat::new(dimensions)),
            Element::Uint8 => Components::Uint8(Flat::new(dimensions)),
        }
    }

    fn shape(&self) -> (Element, usize) {
        let element = match self {
            Components::Float32(_) => Element::Float32,
            Components::Float64(_) => Element::Float64,
            Components::Float16(_) => Element::Float16,
            Components::Bfloat16(_) => Element::Bfloat16,
            Components::Int8(_) => Element::Int8,
            Components::Uint8(_) => Element::Uint8,
        };
        (element, each!(self, flat => flat.dimensions))
    }

    fn push(&mut self, bytes: &[u8]) {
        each!(self, flat => flat.push(bytes));
    }

    fn swap_remove(&mut self, place: usize) {
        each!(self, flat => flat.swap_remove(place));
    }
}

impl<C: Component> Flat<C> {
    fn new(dimensions: usize) -> Self {
        Flat { dimensions, components: Vec::new(), lengths: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        let components: Vec<C> = decoded(bytes);
        assert_eq!(components.len(), self.dimensions, "invariant: sizes were checked");
        self.lengths.push(libm::sqrt(product(&components, &components)));
        self.components.extend(components);
    }

    fn swap_remove(&mut self, place: usize) {
        self.lengths.swap_remove(place);
        let last = self.components.len() - self.dimensions;
        self.components.copy_within(last.., place * self.dimensions);
        self.components.truncate(last);
    }

    fn at(&self, place: usize) -> &[C] {
        &self.components[place * self.dimensions..][..self.dimensions]
    }

    /// The distance of the vector at a place to the only one of `other`.
    fn distance(&self, place: usize, other: &Flat<C>, metric: Metric) -> f64 {
        let (one, other_one) = (self.at(place), other.at(0));
        match metric {
            Metric::Euclidean => euclidean(one, other_one),
            Metric::InnerProduct => 1.0 - product(one, other_one),
            Metric::Cosine => {
                let lengths = self.lengths[place] * other.lengths[0];
                // A vector without a direction is at a right angle to all.
                if lengths == 0.0 { 1.0 } else { 1.0 - product(one, other_one) / lengths }
            }
        }
    }
}

/// The bytes of a vector of these numbers.
pub(super) fn bytes_of(numbers: &[f64], element: Element) -> Vec<u8> {
    let mut bytes = vec![];
    for &number in numbers {
        match element {
            Element::Float32 => bytes.extend((number as f32).to_le_bytes()),
            Element::Float64 => bytes.extend(number.to_le_bytes()),
            Element::Float16 => bytes.extend(Half::of(number).bits().to_le_bytes()),
            Element::Bfloat16 => bytes.extend(Brain::of(number).bits().to_le_bytes()),
            Element::Int8 => bytes.extend(i8::of(number).to_le_bytes()),
            Element::Uint8 => bytes.extend(u8::of(number).to_le_bytes()),
        }
    }
    bytes
}
