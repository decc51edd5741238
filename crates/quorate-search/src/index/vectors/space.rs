//! The vectors of a field by their slots, and how far they are from others.
//!
//! Distances are calculated by code that is compiled for several kinds of processors, of which the
//! best that the present one can run is chosen when the space is made (`fearless_simd`, whose
//! detection needs its feature `std`; without, it is what the target has). Results do not
//! depend on it.
//!
//! Besides exact distances, which answers are ordered by, there are coarse ones, by which graphs
//! are followed. For `FLOAT32` they are those to the upper halves of the components, which are kept
//! apart: half the memory is read, and none is added. If a field is quantised they are those to
//! codes of one byte a component.

use alloc::vec;
use alloc::vec::Vec;

use fearless_simd::{Level, dispatch};

use super::Slot;
use super::blocks::Blocks;
use super::codes::{Codes, Encoded};
use super::distance::{Brain, Component, Half, decoded, euclidean, product};
use super::split::Split;
use crate::schema::{Element, Metric};

/// Vectors of one kind, dimension and metric.
#[derive(Debug)]
pub(super) struct Space {
    level: Level,
    metric: Metric,
    dimensions: usize,
    stored: Stored,
    /// The Euclidean lengths of the vectors, if the metric asks for them.
    lengths: Vec<f64>,
    codes: Option<Codes>,
}

#[derive(Debug)]
enum Stored {
    Float32(Blocks<f32>),
    Split(Split),
    Float64(Blocks<f64>),
    Float16(Blocks<Half>),
    Bfloat16(Blocks<Brain>),
    Int8(Blocks<i8>),
    Uint8(Blocks<u8>),
}

/// What coarse distances are calculated from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coarse {
    /// The components, as they are: no graph is followed.
    Whole,
    /// The upper halves of components of `FLOAT32`, else the components.
    Halves,
    /// Codes.
    Codes,
}

/// A vector that others are compared with.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    wide: Wide,
    /// The Euclidean length, if the metric asks for it.
    length: f64,
    encoded: Encoded,
}

#[derive(Debug, Clone)]
enum Wide {
    Single(Vec<f32>),
    Double(Vec<f64>),
    Short(Vec<i16>),
}

/// The components of the stored vectors and of a probe, of one kind.
macro_rules! each {
    ($stored:expr, $wide:expr, ($blocks:ident, $query:ident) => $result:expr, $split:ident => $split_result:expr) => {
        match ($stored, $wide) {
            (Stored::Split($split), Wide::Single($query)) => $split_result,
            (Stored::Float32($blocks), Wide::Single($query)) => $result,
            (Stored::Float64($blocks), Wide::Double($query)) => $result,
            (Stored::Float16($blocks), Wide::Single($query)) => $result,
            (Stored::Bfloat16($blocks), Wide::Single($query)) => $result,
            (Stored::Int8($blocks), Wide::Short($query)) => $result,
            (Stored::Uint8($blocks), Wide::Short($query)) => $result,
            _ => unreachable!("invariant: probes are made by the space"),
        }
    };
}

impl Space {
    /// Components of a vector.
    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn new(
        element: Element,
        dimensions: usize,
        metric: Metric,
        coarse: Coarse,
    ) -> Space {
        let stored = match element {
            Element::Float32 if coarse == Coarse::Halves => Stored::Split(Split::new(dimensions)),
            Element::Float32 => Stored::Float32(Blocks::new(dimensions)),
            Element::Float64 => Stored::Float64(Blocks::new(dimensions)),
            Element::Float16 => Stored::Float16(Blocks::new(dimensions)),
            Element::Bfloat16 => Stored::Bfloat16(Blocks::new(dimensions)),
            Element::Int8 => Stored::Int8(Blocks::new(dimensions)),
            Element::Uint8 => Stored::Uint8(Blocks::new(dimensions)),
        };
        let codes = (coarse == Coarse::Codes).then(|| Codes::new(dimensions));
        Space { level: level(), metric, dimensions, stored, lengths: Vec::new(), codes }
    }

    /// The vector of these bytes, to compare with.
    pub(super) fn probe(&self, bytes: &[u8]) -> Probe {
        let wide = match &self.stored {
            Stored::Float32(_) | Stored::Split(_) => Wide::Single(wide_of::<f32>(bytes)),
            Stored::Float64(_) => Wide::Double(wide_of::<f64>(bytes)),
            Stored::Float16(_) => Wide::Single(wide_of::<Half>(bytes)),
            Stored::Bfloat16(_) => Wide::Single(wide_of::<Brain>(bytes)),
            Stored::Int8(_) => Wide::Short(wide_of::<i8>(bytes)),
            Stored::Uint8(_) => Wide::Short(wide_of::<u8>(bytes)),
        };
        assert_eq!(wide.len(), self.dimensions, "invariant: sizes were checked");
        let length = if self.metric == Metric::Cosine { wide.length() } else { 1.0 };
        let mut probe = Probe { wide, length, encoded: Encoded::default() };
        self.encode(&mut probe);
        probe
    }

    fn encode(&self, probe: &mut Probe) {
        if self.codes.is_none() {
            return;
        }
        let Probe { wide, length, encoded } = probe;
        // A vector without a direction is at a right angle to all.
        let scale = if *length == 0.0 { 0.0 } else { 1.0 / *length };
        let scaled = |number: f64| (number * scale) as f32;
        match wide {
            Wide::Single(wide) => encoded.set(wide.iter().map(|&number| scaled(number.into()))),
            Wide::Double(wide) => encoded.set(wide.iter().map(|&number| scaled(number))),
            Wide::Short(wide) => encoded.set(wide.iter().map(|&number| scaled(number.into()))),
        }
    }

    /// What tells the vector of a slot from others, but for chance.
    pub(super) fn fingerprint(&self, slot: Slot) -> u64 {
        match &self.stored {
            Stored::Float32(blocks) => hash(blocks.row(slot), |number| number.to_bits().into()),
            Stored::Split(split) => {
                let upper = hash(split.upper().row(slot), |half| half.bits().into());
                upper ^ hash(split.lower().row(slot), |half| u64::from(*half)).rotate_left(32)
            }
            Stored::Float64(blocks) => hash(blocks.row(slot), |number| number.to_bits()),
            Stored::Float16(blocks) => hash(blocks.row(slot), |half| half.bits().into()),
            Stored::Bfloat16(blocks) => hash(blocks.row(slot), |half| half.bits().into()),
            Stored::Int8(blocks) => hash(blocks.row(slot), |number| *number as u64),
            Stored::Uint8(blocks) => hash(blocks.row(slot), |number| u64::from(*number)),
        }
    }

    /// Stores a vector in a slot.
    pub(super) fn set(&mut self, slot: Slot, bytes: &[u8]) {
        let probe = self.probe(bytes);
        match (&mut self.stored, &probe.wide) {
            (Stored::Split(split), Wide::Single(wide)) => split.set(slot, wide),
            (Stored::Split(_), _) => unreachable!("invariant: probes are made by the space"),
            (Stored::Float32(blocks), _) => fill(blocks, slot, bytes),
            (Stored::Float64(blocks), _) => fill(blocks, slot, bytes),
            (Stored::Float16(blocks), _) => fill(blocks, slot, bytes),
            (Stored::Bfloat16(blocks), _) => fill(blocks, slot, bytes),
            (Stored::Int8(blocks), _) => fill(blocks, slot, bytes),
            (Stored::Uint8(blocks), _) => fill(blocks, slot, bytes),
        }
        if self.metric == Metric::Cosine {
            let slots = self.lengths.len().max(slot as usize + 1);
            self.lengths.resize(slots, 0.0);
            self.lengths[slot as usize] = probe.length;
        }
        if let Some(codes) = &mut self.codes {
            codes.set(slot, &probe.encoded);
        }
    }

    /// A probe of what is kept of a vector for coarse distances.
    pub(super) fn probe_of(&self, slot: Slot) -> Probe {
        let dimensions = self.dimensions;
        let wide = match &self.stored {
            Stored::Float64(_) => Wide::Double(vec![0.0; dimensions]),
            Stored::Int8(_) | Stored::Uint8(_) => Wide::Short(vec![0; dimensions]),
            Stored::Float32(_) | Stored::Split(_) | Stored::Float16(_) | Stored::Bfloat16(_) => {
                Wide::Single(vec![0.0; dimensions])
            }
        };
        let mut probe = Probe { wide, length: 1.0, encoded: Encoded::default() };
        self.load(slot, &mut probe);
        probe
    }

    /// Makes a probe of what is kept of a vector for coarse distances.
    pub(super) fn load(&self, slot: Slot, probe: &mut Probe) {
        if let Some(codes) = &self.codes {
            codes.load(slot, &mut probe.encoded);
            return;
        }
        each!(&self.stored, &mut probe.wide, (blocks, query) => {
            let level = self.level;
            dispatch!(level, _simd => widen(blocks.row(slot), query));
        }, split => {
            let level = self.level;
            dispatch!(level, _simd => widen(split.upper().row(slot), query));
        });
        probe.length = self.length(slot);
    }

    /// Exact distances of vectors from a probe.
    pub(super) fn exact(&self, probe: &Probe, slots: &[Slot], distances: &mut Vec<f64>) {
        distances.clear();
        let level = self.level;
        each!(&self.stored, &probe.wide, (blocks, query) => {
            dispatch!(level, _simd => batched(self, blocks, query, probe.length, slots, |distance| {
                distances.push(distance);
            }));
        }, split => {
            dispatch!(level, _simd => split.sums(self.metric, query, slots, distances));
            if self.metric != Metric::Euclidean {
                for (distance, &slot) in distances.iter_mut().zip(slots) {
                    *distance = apart(*distance, probe.length * self.length(slot));
                }
            }
        });
    }

    /// Coarse distances of vectors from a probe.
    pub(super) fn coarse(&self, probe: &Probe, slots: &[Slot], distances: &mut Vec<f32>) {
        distances.clear();
        let level = self.level;
        if let Some(codes) = &self.codes {
            dispatch!(level, _simd => codes.distances(self.metric, &probe.encoded, slots, distances));
            return;
        }
        each!(&self.stored, &probe.wide, (blocks, query) => {
            dispatch!(level, _simd => batched(self, blocks, query, probe.length, slots, |distance| {
                distances.push(distance as f32);
            }));
        }, split => {
            let blocks = split.upper();
            dispatch!(level, _simd => batched(self, blocks, query, probe.length, slots, |distance| {
                distances.push(distance as f32);
            }));
        });
    }

    #[inline(always)]
    fn length(&self, slot: Slot) -> f64 {
        self.lengths.get(slot as usize).copied().unwrap_or(1.0)
    }

    /// Whether coarse distances are those to codes.
    pub(super) fn is_quantised(&self) -> bool {
        self.codes.is_some()
    }

    /// Bytes that are occupied.
    pub(super) fn memory(&self) -> usize {
        let stored = match &self.stored {
            Stored::Float32(blocks) => blocks.memory(),
            Stored::Split(split) => split.memory(),
            Stored::Float64(blocks) => blocks.memory(),
            Stored::Float16(blocks) => blocks.memory(),
            Stored::Bfloat16(blocks) => blocks.memory(),
            Stored::Int8(blocks) => blocks.memory(),
            Stored::Uint8(blocks) => blocks.memory(),
        };
        let codes = self.codes.as_ref().map_or(0, Codes::memory);
        stored + codes + self.lengths.capacity() * size_of::<f64>()
    }
}

impl Wide {
    fn len(&self) -> usize {
        match self {
            Wide::Single(wide) => wide.len(),
            Wide::Double(wide) => wide.len(),
            Wide::Short(wide) => wide.len(),
        }
    }

    /// The Euclidean length.
    fn length(&self) -> f64 {
        let squares: f64 = match self {
            Wide::Single(wide) => wide.iter().map(|&number| f64::from(number).powi(2)).sum(),
            Wide::Double(wide) => wide.iter().map(|&number| number.powi(2)).sum(),
            Wide::Short(wide) => wide.iter().map(|&number| f64::from(number).powi(2)).sum(),
        };
        libm::sqrt(squares)
    }
}

/// A hash of the components of a vector (FNV-1a, a component at a time).
fn hash<C>(row: &[C], bits: impl Fn(&C) -> u64) -> u64 {
    let mixed = |hash: u64, component: &C| (hash ^ bits(component)).wrapping_mul(0x0100_0000_01b3);
    row.iter().fold(0xcbf2_9ce4_8422_2325, mixed)
}

/// The distances of slots from a query.
#[inline(always)]
fn batched<C: Component>(
    space: &Space,
    blocks: &Blocks<C>,
    query: &[C::Wide],
    length: f64,
    slots: &[Slot],
    mut take: impl FnMut(f64),
) {
    if space.metric == Metric::Euclidean {
        for &slot in slots {
            take(C::number(euclidean(query, blocks.row(slot))));
        }
        return;
    }
    for &slot in slots {
        let sum = C::number(product(query, blocks.row(slot)));
        take(apart(sum, length * space.length(slot)));
    }
}

/// The distance of vectors with an inner product, by the product of their lengths.
#[inline(always)]
fn apart(product: f64, lengths: f64) -> f64 {
    // A vector without a direction is at a right angle to all.
    if lengths == 0.0 { 1.0 } else { 1.0 - product / lengths }
}

#[inline(always)]
fn widen<C: Component>(row: &[C], wide: &mut [C::Wide]) {
    for (wide, component) in wide.iter_mut().zip(row) {
        *wide = component.wide();
    }
}

fn wide_of<C: Component>(bytes: &[u8]) -> Vec<C::Wide> {
    decoded::<C>(bytes).into_iter().map(C::wide).collect()
}

fn fill<C: Component>(blocks: &mut Blocks<C>, slot: Slot, bytes: &[u8]) {
    blocks.reach(slot);
    blocks.row_mut(slot).copy_from_slice(&decoded::<C>(bytes));
}

/// What the processor can do.
fn level() -> Level {
    #[cfg(feature = "std")]
    let level = Level::new();
    #[cfg(not(feature = "std"))]
    let level = Level::baseline();
    level
}
