//! Numbers of documents: integers stay integers, and others are doubles.
//!
//! What NUMINCRBY adds is a contribution of the origin, as with scores of sorted sets: the exact
//! distance from everything else to the number that was answered. The lowest bit of its lower half
//! tells whether the number is a double; integers do not need it.

use quorate_proto::Stamp;

use super::cell::{Held, Leaf};
use crate::{
    cell::{Contribution, Element, Sum},
    score::Exact,
};

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Integer(i64),
    /// Above all that fits the first one.
    Unsigned(u64),
    /// Finite.
    Double(f64),
}

impl Number {
    pub(crate) const ZERO: Self = Self::Integer(0);

    /// The nearest double.
    pub(crate) fn to_double(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    fn is_double(self) -> bool {
        matches!(self, Self::Double(_))
    }

    fn exact(self) -> Exact {
        let high = self.to_double();
        let low = match self {
            Self::Integer(value) => i128::from(value) - high as i128,
            Self::Unsigned(value) => i128::from(value) - high as i128,
            Self::Double(_) => 0,
        };
        Exact { high, low: low as f64 }
    }

    /// The number of a sum; a sum beyond all doubles becomes the last one.
    fn of(sum: Exact, is_double: bool) -> Self {
        if !is_double {
            let integer = (sum.high as i128).saturating_add(sum.low as i128);
            if let Ok(integer) = i64::try_from(integer) {
                return Self::Integer(integer);
            }
        }
        Self::Double(sum.rounded().clamp(f64::MIN, f64::MAX))
    }

    /// The same number of the same type, so that nobody can tell them apart.
    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Double(one), Self::Double(other)) => one.to_bits() == other.to_bits(),
            _ => self == other,
        }
    }
}

const DOUBLE: u8 = 1;

fn is_double(sum: Sum) -> bool {
    sum.to_bytes()[Sum::LENGTH - 1] & DOUBLE != 0
}

fn marked(sum: Sum, is_double: bool) -> Sum {
    let mut bytes = sum.to_bytes();
    bytes[Sum::LENGTH - 1] = bytes[Sum::LENGTH - 1] & !DOUBLE | u8::from(is_double);
    Sum::from_bytes(bytes)
}

fn exact(sum: Sum) -> Exact {
    Exact::of(marked(sum, false))
}

/// An element of a document.
impl Element<'_, Held<'_>> {
    /// The number that shows; `None` when the element is something else. What has been added to
    /// something that was removed meanwhile is added to zero.
    pub(crate) fn json_number(&self) -> Option<Number> {
        let base = match self.register().map(Held::leaf) {
            Some(Leaf::Number(number)) => number,
            None => Number::ZERO,
            Some(_) => return None,
        };
        if self.contributions().is_empty() {
            return Some(base);
        }
        let (sum, is_double) = plus(base, self.contributions().iter().map(|part| part.sum));
        Some(Number::of(sum, is_double))
    }

    /// What this origin contributes after an increment at `stamp` has led to `target`. `None` where
    /// no distance leads there exactly: then the number is written as a value.
    pub(crate) fn json_contribution(&self, target: Number, stamp: Stamp) -> Option<Contribution> {
        let base = match self.register().map(Held::leaf) {
            Some(Leaf::Number(number)) => number,
            _ => return None,
        };
        let others = self.contributions().iter().filter(|part| part.origin() != stamp.origin());
        let sums: Vec<Sum> = others.map(|part| part.sum).collect();
        let (rest, _) = plus(base, sums.iter().copied());
        let mut distance = target.exact();
        distance.add(Exact { high: -rest.high, low: -rest.low });
        let own = marked(distance.sum(), target.is_double());
        // All replicas add in the order of origins.
        let contribution = self.contribution(own, stamp);
        let before = self.contributions().iter().filter(|part| part.origin() < stamp.origin());
        let behind = self.contributions().iter().filter(|part| part.origin() > stamp.origin());
        let all = before.map(|part| part.sum).chain([own]).chain(behind.map(|part| part.sum));
        let (sum, is_double) = plus(base, all);
        Number::of(sum, is_double).is(target).then_some(contribution)
    }
}

fn plus(base: Number, sums: impl Iterator<Item = Sum>) -> (Exact, bool) {
    let (mut total, mut double) = (base.exact(), base.is_double());
    for sum in sums {
        total.add(exact(sum));
        double |= is_double(sum);
    }
    (total, double)
}

#[cfg(test)]
mod tests {
    use quorate_proto::Origin;

    use super::*;
    use crate::cell::Contributions;

    #[test]
    fn increments_of_two_origins_add_up() {
        let cell = Leaf::Number(Number::Integer(1 << 60)).encode(0);
        let held = Held::checked(&cell);
        let stamp = |clock, origin| Stamp::new(clock, Origin(origin));
        let alone = Element::new(held, stamp(1, 1), Contributions::NONE);
        let target = |by: i64| Number::Integer((1 << 60) + by);
        let parts = [
            alone.json_contribution(target(3), stamp(2, 1)).expect("exact"),
            alone.json_contribution(target(5), stamp(2, 2)).expect("exact"),
        ];
        let both = Element::new(held, stamp(1, 1), Contributions::Stored(&parts));
        assert_eq!(both.json_number(), Some(target(8)));
        let half = Number::Double(0.5);
        assert_eq!(
            both.json_contribution(half, stamp(3, 2)).map(|part| part.since),
            Some(stamp(2, 2))
        );
    }

    #[test]
    fn integers_and_doubles_stay_what_they_are() {
        let cell = Leaf::Number(Number::Integer(1)).encode(0);
        let stamp = |clock| Stamp::new(clock, Origin(1));
        let one = Element::new(Held::checked(&cell), stamp(1), Contributions::NONE);
        for target in [Number::Integer(i64::MIN), Number::Double(3.0), Number::Double(0.1 + 0.2)] {
            let part = one.json_contribution(target, stamp(2)).expect("exact");
            let sum = Element::new(
                Held::checked(&cell),
                stamp(1),
                Contributions::Stored(std::slice::from_ref(&part)),
            );
            assert_eq!(sum.json_number(), Some(target));
        }
    }
}
