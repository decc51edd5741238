//! Places of the items of an array: names that sort as the items stand.
//!
//! A place is a path in a tree of digits (as Logoot and LSEQ have it), so that there is room between
//! any two, and the executor of an insertion chooses one that nobody else can choose: the digit
//! carries the stamp of the insertion. Everywhere the bytes decide, so concurrent insertions stand in
//! one order, and those of one command stay together. Against a list of references (RGA) it costs
//! longer names, but needs neither the tombstones of others nor a tree in memory to know the order.
//!
//! Items of an array that is assigned as a whole have digits alone, the same wherever that happens:
//! of two that assign one, the newer one wins item by item, and no item stands there twice.
//!
//! ```text
//! place := level (1 level)* 0
//! level := digit:u32 ( 0 | 1 stamp )       big-endian; digit 0 alone only leads further down
//! ```
//! Digits are taken [`STEP`] apart on the side where the last neighbour was inserted, so that a place
//! gets longer only after 16 million insertions in a row, in either direction; insertions that always
//! halve the last gap need a level for each 9 of them.

use quorate_proto::{Stamp, mutant::Mutant};

/// How far digits are apart where there is room.
const STEP: u64 = 256;

/// Above all digits.
const DIGIT_END: u64 = 1 << 32;

/// One digit of a place, with the stamp of the insertion that chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level {
    digit: u32,
    stamp: Option<Stamp>,
}

impl Level {
    /// Leads to places before all others at its level.
    const FLOOR: Self = Self { digit: 0, stamp: None };
}

/// Takes an encoded place off the front of `input`.
pub(crate) fn take<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let whole = *input;
    let mut rest = whole;
    loop {
        take_level(&mut rest)?;
        let (more, behind) = rest.split_first()?;
        rest = behind;
        match more {
            0 => break,
            1 => {}
            _ => return None,
        }
    }
    *input = rest;
    Some(&whole[..whole.len() - rest.len()])
}

fn take_level(input: &mut &[u8]) -> Option<Level> {
    let (digit, rest) = input.split_first_chunk()?;
    let (has_stamp, mut rest) = rest.split_first()?;
    let stamp = match has_stamp {
        0 => None,
        1 => {
            let (stamp, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(Stamp::from_bytes(*stamp))
        }
        _ => return None,
    };
    *input = rest;
    Some(Level { digit: u32::from_be_bytes(*digit), stamp })
}

/// The levels of an encoded place.
pub(crate) fn decode(mut place: &[u8]) -> Vec<Level> {
    let mut levels = Vec::new();
    while let Some(level) = take_level(&mut place) {
        levels.push(level);
        place = place.get(1..).unwrap_or_default();
    }
    levels
}

/// The encoded place.
pub(crate) fn encode(levels: &[Level]) -> Vec<u8> {
    let mut place = Vec::new();
    for (at, level) in levels.iter().enumerate() {
        if at > 0 {
            place.push(1);
        }
        place.extend_from_slice(&level.digit.to_be_bytes());
        place.push(u8::from(level.stamp.is_some()));
        if let Some(stamp) = level.stamp {
            place.extend_from_slice(&stamp.to_bytes());
        }
    }
    place.push(0);
    place
}

/// The places of the items of an array that is assigned where none was.
pub(crate) fn fresh(count: usize) -> impl Iterator<Item = Vec<Level>> {
    run(Vec::new(), count)
}

/// Places for items that are inserted at once, by an insertion at `stamp`, between two neighbours.
pub(crate) fn inserted(
    left: Option<&[Level]>,
    right: Option<&[Level]>,
    stamp: Stamp,
    count: usize,
) -> Box<dyn Iterator<Item = Vec<Level>>> {
    let base = between(left, right, (!Mutant::PlacesShared.is_planted()).then_some(stamp));
    if count == 1 { Box::new(std::iter::once(base)) } else { Box::new(run(base, count)) }
}

/// The place of the next item of an array that is assigned as a whole.
pub(crate) fn behind(last: &[Level]) -> Vec<Level> {
    between(Some(last), None, None)
}

/// Places below `base`.
fn run(base: Vec<Level>, count: usize) -> impl Iterator<Item = Vec<Level>> {
    let step = STEP.min((DIGIT_END - 1) / (count as u64 + 1)).max(1);
    (1..=count as u64).map(move |number| {
        let mut place = base.clone();
        place.push(Level { digit: (number * step) as u32, stamp: None });
        place
    })
}

fn newest(place: &[Level]) -> Option<Stamp> {
    place.iter().filter_map(|level| level.stamp).max()
}

/// A place behind `left` and before `right`, whose last digit carries `stamp`.
fn between(left: Option<&[Level]>, right: Option<&[Level]>, stamp: Option<Stamp>) -> Vec<Level> {
    let (left, mut right) = (left.unwrap_or_default(), right);
    // Whoever inserts several in a row goes on from where the last one stands.
    let backwards = right.is_some_and(|right| left.is_empty() || newest(right) > newest(left));
    let mut place = Vec::new();
    for at in 0.. {
        let low = left.get(at).copied().unwrap_or(Level::FLOOR);
        let high = right.and_then(|right| right.get(at)).copied();
        let end = high.map_or(DIGIT_END, |high| u64::from(high.digit));
        let gap = end.saturating_sub(u64::from(low.digit));
        if gap > 1 {
            let step = STEP.min(gap / 2);
            let digit = if backwards { end - step } else { u64::from(low.digit) + step };
            place.push(Level { digit: digit as u32, stamp });
            break;
        }
        place.push(low);
        if high != Some(low) {
            right = None;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quorate_proto::Origin;

    use super::*;

    fn stamp(clock: u64, origin: u32) -> Stamp {
        Stamp::new(clock, Origin(origin))
    }

    #[test]
    fn places_never_change() {
        let place = inserted(None, None, stamp(7, 9), 2).nth(1).expect("two places");
        let hexadecimal: String = encode(&place).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hexadecimal,
            "00000100 01 0000000000000007 00000009 01 00000200 00 00".replace(' ', "")
        );
    }

    #[test]
    fn in_a_row_places_stay_short() {
        for front in [false, true] {
            let mut places = vec![encode(&fresh(1).next().expect("one"))];
            for clock in 1..4_000 {
                let at = if front { 0 } else { places.len() };
                let left = at.checked_sub(1).map(|at| decode(&places[at]));
                let right = places.get(at).map(|place| decode(place));
                let new = inserted(left.as_deref(), right.as_deref(), stamp(clock, 1), 1);
                places.splice(at..at, new.map(|place| encode(&place)));
                assert!(places[at].len() <= 2 * 19, "{clock}: {}", places[at].len());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn there_is_a_place_between_any_two(
            start in 0..4_usize,
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u32, 1..4_usize), 1..200),
        ) {
            let mut places: Vec<Vec<u8>> = fresh(start).map(|place| encode(&place)).collect();
            for (clock, (at, origin, count)) in (1..).zip(steps) {
                let at = at.index(places.len() + 1);
                let left = at.checked_sub(1).map(|at| decode(&places[at]));
                let right = places.get(at).map(|place| decode(place));
                let new = inserted(left.as_deref(), right.as_deref(), stamp(clock, origin), count);
                let new: Vec<Vec<u8>> = new.map(|place| encode(&place)).collect();
                prop_assert_eq!(new.len(), count);
                places.splice(at..at, new);
                prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
            }
            for place in &places {
                prop_assert_eq!(&encode(&decode(place)), place);
                prop_assert_eq!(take(&mut &place[..]), Some(&place[..]));
            }
        }
    }
}
