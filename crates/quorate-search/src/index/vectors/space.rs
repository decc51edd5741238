//! The vectors of a field by their slots, and how far they are from others.
//!
//! Distances are calculated by code that is compiled for several kinds of processors, of which the
//! best that the present one can run is chosen when the space is made (`fearless_simd`, whose
//! detection needs its feature `std`; without, it is what the target has). Results do not
//! depend on it.
//!
//! Besides exact distances, which answers are ordered by, there are coarse ones, by which graphs
//! are followed. For `FLOAT32` they are those to the first bytes of the components, which are kept
//! apart (see [`Fixed`]): a quarter of the memory is read, and hardly any is added. Where these do
//! not tell near from far, exact ones take their place. Other components that a field compresses have
//! codes besides.

use alloc::vec;
use alloc::vec::Vec;

use fearless_simd::{Level, dispatch};

use super::Slot;
use super::blocks::Blocks;
use super::codes::{Codes, Encoded};
use super::distance::{Brain, Component, Half, decoded, euclidean, product};
use super::fixed::{Fixed, Query};
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
    /// Whether coarse distances are exact ones, because others do not tell near from far.
    is_exact: bool,
}

#[derive(Debug)]
enum Stored {
    Float32(Blocks<f32>),
    Fixed(Fixed),
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
    /// The first bytes of components of `FLOAT32`, else the components.
    Cheap,
    /// A byte a component.
    Codes,
}

/// A vector that others are compared with.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    wide: Wide,
    /// The Euclidean length, if the metric asks for it.
    length: f64,
    encoded: Encoded,
    query: Query,
}

#[derive(Debug, Clone)]
enum Wide {
    Single(Vec<f32>),
    Double(Vec<f64>),
    Short(Vec<i16>),
}

/// The components of the stored vectors and of a probe, of one kind.
macro_rules! each {
    ($stored:expr, $wide:expr, ($blocks:ident, $query:ident) => $result:expr, $fixed:ident => $fixed_result:expr) => {
        match ($stored, $wide) {
            (Stored::Fixed($fixed), Wide::Single($query)) => $fixed_result,
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
            Element::Float32 if coarse != Coarse::Whole => Stored::Fixed(Fixed::new(dimensions)),
            Element::Float32 => Stored::Float32(Blocks::new(dimensions)),
            Element::Float64 => Stored::Float64(Blocks::new(dimensions)),
            Element::Float16 => Stored::Float16(Blocks::new(dimensions)),
            Element::Bfloat16 => Stored::Bfloat16(Blocks::new(dimensions)),
            Element::Int8 => Stored::Int8(Blocks::new(dimensions)),
            Element::Uint8 => Stored::Uint8(Blocks::new(dimensions)),
        };
        let is_coded = coarse == Coarse::Codes && element != Element::Float32;
        let codes = is_coded.then(|| Codes::new(dimensions));
        let (level, lengths) = (level(), Vec::new());
        Space { level, metric, dimensions, stored, lengths, codes, is_exact: false }
    }

    /// The vector of these bytes, to compare with.
    pub(super) fn probe(&self, bytes: &[u8]) -> Probe {
        let wide = match &self.stored {
            Stored::Float32(_) | Stored::Fixed(_) => Wide::Single(wide_of::<f32>(bytes)),
            Stored::Float64(_) => Wide::Double(wide_of::<f64>(bytes)),
            Stored::Float16(_) => Wide::Single(wide_of::<Half>(bytes)),
            Stored::Bfloat16(_) => Wide::Single(wide_of::<Brain>(bytes)),
            Stored::Int8(_) => Wide::Short(wide_of::<i8>(bytes)),
            Stored::Uint8(_) => Wide::Short(wide_of::<u8>(bytes)),
        };
        assert_eq!(wide.len(), self.dimensions, "invariant: sizes were checked");
        let length = if self.metric == Metric::Cosine { wide.length() } else { 1.0 };
        let query = match (&self.stored, &wide) {
            (Stored::Fixed(_), Wide::Single(numbers)) => Query::of(numbers),
            _ => Query::default(),
        };
        let mut probe = Probe { wide, length, encoded: Encoded::default(), query };
        self.encode(&mut probe);
        probe
    }

    fn encode(&self, probe: &mut Probe) {
        if self.codes.is_none() {
            return;
        }
        let Probe { wide, length, encoded, .. } = probe;
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
            Stored::Fixed(fixed) => {
                let mut numbers = vec![0.0; self.dimensions];
                fixed.read(slot, &mut numbers);
                // Of both halves, the upper one rounded: kept graphs have such fingerprints.
                let upper = |number: &f32| u64::from(number.to_bits().wrapping_add(0x8000) >> 16);
                let lower = hash(&numbers, |number| u64::from(number.to_bits() as u16));
                hash(&numbers, upper) ^ lower.rotate_left(32)
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
            (Stored::Fixed(fixed), Wide::Single(wide)) => fixed.set(slot, wide),
            (Stored::Fixed(_), _) => unreachable!("invariant: probes are made by the space"),
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
            Stored::Float32(_) | Stored::Fixed(_) | Stored::Float16(_) | Stored::Bfloat16(_) => {
                Wide::Single(vec![0.0; dimensions])
            }
        };
        let query = Query::default();
        let mut probe = Probe { wide, length: 1.0, encoded: Encoded::default(), query };
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
        }, fixed => {
            if self.is_exact {
                let level = self.level;
                dispatch!(level, _simd => fixed.read(slot, query));
            } else {
                fixed.load(slot, &mut probe.query);
            }
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
        }, fixed => {
            let mut numbers = vec![0.0; self.dimensions];
            dispatch!(level, _simd => {
                read(self, fixed, &mut numbers, query, probe.length, slots, |distance| {
                    distances.push(distance);
                })
            });
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
        }, fixed => {
            if self.is_exact {
                let mut numbers = vec![0.0; self.dimensions];
                dispatch!(level, _simd => {
                    read(self, fixed, &mut numbers, query, probe.length, slots, |distance| {
                        distances.push(distance as f32);
                    })
                });
            } else {
                self.coarse_fixed(fixed, probe, slots, distances);
            }
        });
    }

    fn coarse_fixed(&self, fixed: &Fixed, probe: &Probe, slots: &[Slot], distances: &mut Vec<f32>) {
        let query = probe.query.scale();
        fixed.products(self.level, &probe.query, slots, |slot, scale, product| {
            let product = product as f32 * (query.step * scale.step);
            distances.push(match self.metric {
                Metric::Euclidean => query.square + scale.square - 2.0 * product,
                Metric::InnerProduct => 1.0 - product,
                Metric::Cosine => apart(product.into(), probe.length * self.length(slot)) as f32,
            });
        });
    }

    /// Whether there may be a reason to [`Space::make_exact`].
    pub(super) fn is_cheap(&self) -> bool {
        matches!(self.stored, Stored::Fixed(_)) && !self.is_exact
    }

    /// From now on coarse distances are exact.
    pub(super) fn make_exact(&mut self) {
        self.is_exact = true;
    }

    /// Of vectors near that of a slot: how far coarse distances are from exact ones, and how far
    /// these are from their mean, summed up.
    pub(super) fn deviations(&self, slot: Slot, others: &[Slot]) -> (f64, f64) {
        let Stored::Fixed(fixed) = &self.stored else { return (0.0, 0.0) };
        let mut probe = self.probe_of(slot);
        let (mut coarse, mut exact) = (Vec::new(), Vec::new());
        self.coarse(&probe, others, &mut coarse);
        if let Wide::Single(numbers) = &mut probe.wide {
            fixed.read(slot, numbers);
        }
        self.exact(&probe, others, &mut exact);
        let mean = exact.iter().sum::<f64>() / exact.len().max(1) as f64;
        let errors =
            coarse.iter().zip(&exact).map(|(&coarse, exact)| (f64::from(coarse) - exact).abs());
        (errors.sum(), exact.iter().map(|exact| (exact - mean).abs()).sum())
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
            Stored::Fixed(fixed) => fixed.memory(),
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

/// As [`batched`], of vectors that are read first.
#[inline(always)]
fn read(
    space: &Space,
    fixed: &Fixed,
    numbers: &mut [f32],
    query: &[f32],
    length: f64,
    slots: &[Slot],
    mut take: impl FnMut(f64),
) {
    for &slot in slots {
        fixed.read(slot, numbers);
        take(match space.metric {
            Metric::Euclidean => euclidean::<f32>(query, numbers).into(),
            Metric::InnerProduct | Metric::Cosine => {
                apart(product::<f32>(query, numbers).into(), length * space.length(slot))
            }
        });
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
