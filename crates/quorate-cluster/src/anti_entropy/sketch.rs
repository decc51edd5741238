//! Sketches: a set of fingerprints in a few symbols, from which a difference can be told.
//!
//! Two sides add their fingerprints to a sketch each. Subtracting one from the other leaves the
//! sketch of what only one of them has, and that can be read back if the sketch has about twice as
//! many symbols as there are differences, however large the sets are.
//!
//! ```text
//!  symbol             0    1    2    3    4    5    6    7  ...
//!  fingerprint a      x    x              x              x        denser at the beginning:
//!  fingerprint b      x         x    x         x                  symbol i holds one in 1 + i/2
//!  symbol = the sum, the checks and the number of the fingerprints in it
//! ```
//! A symbol of the difference that holds one fingerprint names it; taking it out of the other
//! symbols leaves new ones that hold one, until all are empty. Symbols of a longer sketch begin
//! with those of a shorter one, and nobody needs to know beforehand how many differences there are:
//! rateless invertible Bloom lookup tables (Yang, Gilad, Alizadeh, "Practical Rateless Set
//! Reconciliation", 2024, section 4), with the positions computed in integers, so that all machines
//! agree on them.
//!
//! The positions and checks travel between nodes, so they never change.

use alloc::vec::Vec;

use quorate_proto::{
    Slot,
    message::{Message, Symbol},
};

use super::{
    Digests,
    cost::SYMBOL,
    fingerprint::{self, fingerprint, mix},
};
use crate::{chunk::Chunk, limits::SYNC_SYMBOLS_MAX};

/// Bits behind the point of the ratio by which positions grow.
const FRACTION_BITS: u32 = 16;

/// What only one of two sets has, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) only_ours: Vec<u64>,
    pub(super) only_theirs: Vec<u64>,
}

/// Answers who would be content with a sketch of a slot: with its fingerprints if they are shorter.
pub(super) fn answer(digests: &impl Digests, slot: Slot, length: usize) -> Message {
    let (count, symbols) = sketch(digests, slot, length.min(SYNC_SYMBOLS_MAX));
    if count * size_of::<u64>() <= symbols.len() * SYMBOL {
        let Chunk { until, fingerprints } = fingerprint::chunk(digests, slot, 0);
        return Message::Fingerprints { until, fingerprints };
    }
    Message::Sketch(symbols)
}

/// The fingerprints of a slot as a sketch of `length` symbols, and how many they are.
pub(super) fn sketch(digests: &impl Digests, slot: Slot, length: usize) -> (usize, Vec<Symbol>) {
    let mut symbols = alloc::vec![Symbol::default(); length];
    let mut count = 0;
    digests.for_each_key(
        slot,
        |_| true,
        |key, digest| {
            count += 1;
            add(&mut symbols, fingerprint(key, digest), 1);
        },
    );
    (count, symbols)
}

/// What differs between the sets of two sketches of one length; `None` when that is too much for
/// them to tell.
pub(super) fn difference(mut ours: Vec<Symbol>, theirs: &[Symbol]) -> Option<Difference> {
    for (ours, theirs) in ours.iter_mut().zip(theirs) {
        ours.sum ^= theirs.sum;
        ours.check ^= theirs.check;
        ours.count = ours.count.wrapping_sub(theirs.count);
    }
    let mut symbols = ours;
    let mut difference = Difference::default();
    let mut pure: Vec<usize> = (0..symbols.len()).collect();
    // As many fingerprints as there are symbols can be read at most, whatever a peer made up.
    let mut left = symbols.len();
    while let Some(position) = pure.pop() {
        let Symbol { sum, check, count } = symbols[position];
        if !matches!(count, -1 | 1) || check != check_of(sum) {
            continue;
        }
        left = left.checked_sub(1)?;
        if count == 1 { &mut difference.only_ours } else { &mut difference.only_theirs }.push(sum);
        add(&mut symbols, sum, -count);
        pure.extend(Positions::of(sum).take_while(|position| *position < symbols.len()));
    }
    if symbols.iter().any(|symbol| *symbol != Symbol::default()) {
        return None;
    }
    difference.only_ours.sort_unstable();
    difference.only_theirs.sort_unstable();
    Some(difference)
}

/// Adds a fingerprint to a sketch `count` times, or takes it out.
fn add(symbols: &mut [Symbol], fingerprint: u64, count: i32) {
    let length = symbols.len();
    for position in Positions::of(fingerprint).take_while(|position| *position < length) {
        let symbol = &mut symbols[position];
        symbol.sum ^= fingerprint;
        symbol.check ^= check_of(fingerprint);
        symbol.count = symbol.count.wrapping_add(count);
    }
}

/// Tells a symbol with one fingerprint from one with several.
fn check_of(fingerprint: u64) -> u32 {
    (mix(!fingerprint) >> 32) as u32
}

/// The symbols that hold a fingerprint, ascending and without end.
struct Positions {
    state: u64,
    next: u64,
}

impl Positions {
    fn of(fingerprint: u64) -> Self {
        Self { state: fingerprint, next: 0 }
    }
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let position = self.next;
        self.state = mix(self.state);
        // With r uniform below 1, no position follows up to i + (i + 3/2) (1/sqrt(r) - 1) with just
        // the probability that symbols holding one in 1 + i/2 all leave the fingerprint out.
        let root = self.state.isqrt().max(1);
        let ratio = (1 << (32 + FRACTION_BITS)) / root - (1 << FRACTION_BITS);
        let gap = (2 * position + 3).saturating_mul(ratio).div_ceil(2 << FRACTION_BITS);
        self.next = position.saturating_add(gap.max(1));
        usize::try_from(position).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch_of(fingerprints: impl IntoIterator<Item = u64>, length: usize) -> Vec<Symbol> {
        let mut symbols = alloc::vec![Symbol::default(); length];
        fingerprints.into_iter().for_each(|one| add(&mut symbols, one, 1));
        symbols
    }

    /// Numbers that look like fingerprints.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        (0..).map(move |number| mix(seed << 32 | number))
    }

    #[test]
    fn positions_and_checks_never_change() {
        // Computed by another implementation.
        let positions = |fingerprint| Positions::of(fingerprint).take(6).collect::<Vec<_>>();
        assert_eq!(positions(0), [0, 1, 2, 8, 25, 38]);
        assert_eq!(positions(0xd835_c7cf_08b4_fda8), [0, 1, 3, 4, 7, 8]);
        assert_eq!((check_of(0), check_of(1)), (0xe4d9_7177, 0xf320_3e90));
    }

    #[test]
    fn symbols_hold_one_fingerprint_in_one_plus_half_their_position() {
        let many = 20_000;
        let symbols = sketch_of(numbers(1).take(many), 100);
        for (position, symbol) in symbols.iter().enumerate() {
            let expected = many as f64 / (1.0 + position as f64 / 2.0);
            let ratio = f64::from(symbol.count) / expected;
            assert!((0.8..1.25).contains(&ratio), "symbol {position}: {ratio}");
        }
    }

    #[test]
    fn what_is_read_is_what_differs() {
        for (common, ours, theirs) in [(0, 0, 0), (600, 0, 0), (600, 1, 0), (600, 3, 2), (0, 4, 4)]
        {
            let shared = || numbers(1).take(common);
            let mut expected = Difference {
                only_ours: numbers(2).take(ours).collect(),
                only_theirs: numbers(3).take(theirs).collect(),
            };
            let our_sketch = sketch_of(shared().chain(expected.only_ours.iter().copied()), 64);
            let theirs = sketch_of(shared().chain(expected.only_theirs.iter().copied()), 64);
            expected.only_ours.sort_unstable();
            expected.only_theirs.sort_unstable();
            assert_eq!(difference(our_sketch, &theirs), Some(expected));
        }
    }

    #[test]
    fn about_twice_as_many_symbols_as_differences_are_needed() {
        for (length, differences, least) in [(16, 1, 200), (16, 6, 180), (128, 64, 190)] {
            let told = (0..200).filter(|seed| {
                let ours = sketch_of(numbers(*seed).take(differences), length);
                difference(ours, &sketch_of([], length)).is_some()
            });
            let told = told.count();
            assert!(told >= least, "{differences} in {length}: {told} of 200");
        }
    }

    #[test]
    fn too_many_differences_are_not_told() {
        let ours = sketch_of(numbers(1).take(100), 16);
        assert_eq!(difference(ours, &sketch_of([], 16)), None);
    }

    #[test]
    fn what_a_peer_makes_up_ends() {
        for seed in 0..2_000 {
            let mut made_up = numbers(seed);
            let mut symbol = || Symbol {
                sum: made_up.next().unwrap_or_default() % 4,
                check: check_of(made_up.next().unwrap_or_default() % 4),
                count: (made_up.next().unwrap_or_default() % 3) as i32 - 1,
            };
            let theirs: Vec<Symbol> = (0..16).map(|_| symbol()).collect();
            if let Some(found) = difference(sketch_of([], 16), &theirs) {
                assert!(found.only_ours.len() + found.only_theirs.len() <= 16);
            }
        }
        let extreme = Symbol { sum: u64::MAX, check: u32::MAX, count: i32::MIN };
        assert_eq!(difference(sketch_of(numbers(1).take(5), 16), &[extreme; 16]), None);
    }
}
