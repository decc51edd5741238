//! Scores of sorted sets: floating-point numbers that converge.
//!
//! A score is a [cell](crate::cell): a register, to which each origin contributes increments. What
//! a client is told is the floating-point sum as Redis computes it, rounded after every increment.
//! So the origin that increments keeps, as its sum, the exact distance from everything else to the
//! score that it has answered, in two numbers (the second one holds what the first one rounds
//! away). Contributions of several origins are added in the order of origins, so that all replicas
//! see the same score.

use std::{cmp::Ordering, num::NonZeroU64};

use quorate_proto::Stamp;

use crate::{
    cell::{Element, Stored, Sum, Value},
    part::Body,
    record::Encoded,
    varint,
};

/// Integers below this are exact.
const INTEGER_MAX: f64 = (1_u64 << 53) as f64;

/// A score: any number but NaN, and but for a negative zero.
///
/// Kept as inverted bits, which are zero for no number, so that an optional score takes no more.
#[derive(Clone, Copy)]
pub struct Score(NonZeroU64);

impl Score {
    /// Zero.
    pub const ZERO: Self = match Self::new(0.0) {
        Some(zero) => zero,
        None => unreachable!(),
    };

    /// The score `value`; `None` for NaN. A negative zero becomes a positive one.
    pub const fn new(value: f64) -> Option<Self> {
        if value.is_nan() {
            return None;
        }
        match NonZeroU64::new(!(value + 0.0).to_bits()) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// The number.
    pub const fn value(self) -> f64 {
        f64::from_bits(!self.0.get())
    }

    /// Big-endian bits of the number.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.value().to_bits().to_be_bytes()
    }

    /// The inverse of [`Score::to_bytes`]; `None` for NaN.
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        Self::new(f64::from_bits(u64::from_be_bytes(bytes)))
    }
}

impl std::fmt::Debug for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value().fmt(f)
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value().partial_cmp(&other.value()).unwrap_or(Ordering::Equal)
    }
}

impl Value<'_> for Score {
    fn body(self, stamp: Stamp) -> Body<'static> {
        Body::Score(stamp, self)
    }

    /// A zero and the bits of the double; for an integer one more than its zigzag as a varint.
    fn write(self, out: &mut Encoded) {
        let value = self.value();
        if value % 1.0 == 0.0 && value.abs() < INTEGER_MAX {
            varint::write(out, 1 + varint::zigzag(value as i64));
        } else {
            out.push(0);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }

    fn read(mut bytes: &[u8]) -> Self {
        let value = match varint::read(&mut bytes) {
            0 => bytes.first_chunk().map_or(0.0, |bits| f64::from_le_bytes(*bits)),
            integer => varint::zigzag_back(integer - 1) as f64,
        };
        Self::new(value).expect("invariant: a score is a number")
    }
}

impl Stored for Option<Score> {
    type View<'a> = Score;

    fn view(&self) -> Self {
        *self
    }

    fn of(body: &Body<'_>) -> Self {
        if let Body::Score(_, score) = body { Some(*score) } else { None }
    }

    fn is_below(old: Score, new: Score) -> bool {
        old.0 < new.0
    }

    fn put(&mut self, new: Self) {
        *self = new;
    }
}

/// A member of a sorted set.
impl Element<'_, Score> {
    /// The visible score. Zero, to which increments are added, when there is no register.
    pub fn score(&self) -> Score {
        if self.contributions().is_empty() {
            return self.register().unwrap_or(Score::ZERO);
        }
        let sum = self.plus(self.contributions().iter().map(|part| part.sum));
        Score::new(sum.rounded()).unwrap_or(Score::ZERO)
    }

    /// The register and some sums.
    fn plus(&self, sums: impl Iterator<Item = Sum>) -> Exact {
        let mut exact = Exact { high: self.register().unwrap_or(Score::ZERO).value(), low: 0.0 };
        sums.for_each(|sum| exact.add(Exact::of(sum)));
        exact
    }

    /// The part body that makes the score `target`, which an increment at `stamp` has led to: what
    /// this origin contributes then. Infinity has no distance to any score, so it becomes a new
    /// value.
    pub(crate) fn reach(&self, target: Score, stamp: Stamp) -> Body<'static> {
        let others = self.contributions().iter().filter(|part| part.origin() != stamp.origin());
        let rest = self.plus(others.map(|part| part.sum));
        if !target.value().is_finite() || !rest.high.is_finite() {
            return Body::Score(stamp, target);
        }
        let mut distance = Exact { high: target.value(), low: 0.0 };
        distance.add(Exact { high: -rest.high, low: -rest.low });
        Body::Added(self.contribution(distance.sum(), stamp))
    }
}

/// The unevaluated sum of two numbers, the second one far smaller than the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact {
    pub(crate) high: f64,
    pub(crate) low: f64,
}

impl Exact {
    /// What the sum of a contribution stands for; nothing if a peer sent no finite number.
    pub(crate) fn of(sum: Sum) -> Self {
        let bytes = sum.to_bytes();
        let number = |at: usize| {
            let bits =
                bytes[at..].iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
            Some(f64::from_bits(bits)).filter(|number| number.is_finite()).unwrap_or_default()
        };
        Self { high: number(0), low: number(8) }
    }

    pub(crate) fn sum(self) -> Sum {
        let mut bytes = [0; Sum::LENGTH];
        bytes[..8].copy_from_slice(&self.high.to_bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.low.to_bits().to_be_bytes());
        Sum::from_bytes(bytes)
    }

    /// Adds without losing what rounding cuts off (Knuth's two-sum).
    pub(crate) fn add(&mut self, other: Self) {
        let high = self.high + other.high;
        if !high.is_finite() {
            *self = Self { high, low: 0.0 };
            return;
        }
        let part = high - self.high;
        let lost = (self.high - (high - part)) + (other.high - part);
        *self = Self { high, low: self.low + other.low + lost };
    }

    pub(crate) fn rounded(self) -> f64 {
        self.high + self.low
    }
}
