//! Walking over what lives in hash tables, a few at a time, while it changes.
//!
//! Everything has a *position*: a hash of its name, the same on every replica. A walk goes through
//! positions in order, so what stays present is met exactly once, whatever comes and goes, and
//! whichever replica answers each step.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

/// Positions leave room for a slot number in a 63-bit cursor.
const POSITION_BITS: u32 = 49;

/// Seed of the position hash. Part of what a cursor means, so it never changes.
const POSITION_SEED: u64 = 0x51_07;

/// The position of `name`, `1..2^49`.
pub(crate) fn position(name: &[u8]) -> u64 {
    let hash = FixedState::with_seed(POSITION_SEED).hash_one(name);
    (hash >> (u64::BITS - POSITION_BITS)).max(1)
}

/// The items at the next positions after `after`: at least `limit` of them, or all that are left;
/// items that share a position are never parted. Also returns the last position given, or 0 when
/// none is left behind it.
pub(crate) fn next_chunk<T>(
    items: impl Iterator<Item = (u64, T)>,
    after: u64,
    limit: usize,
) -> (Vec<T>, u64) {
    let mut ahead: Vec<(u64, T)> = items.filter(|(position, _)| *position > after).collect();
    let limit = limit.max(1);
    if ahead.len() <= limit {
        return (ahead.into_iter().map(|(_, item)| item).collect(), 0);
    }
    let (_, (last, _), _) = ahead.select_nth_unstable_by_key(limit - 1, |(position, _)| *position);
    let last = *last;
    let before = ahead.len();
    ahead.retain(|(position, _)| *position <= last);
    let next = if ahead.len() == before { 0 } else { last };
    (ahead.into_iter().map(|(_, item)| item).collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_meets_everything_once() {
        let names: Vec<String> = (0..1000).map(|number| format!("name-{number}")).collect();
        for limit in [1, 7, 999, 1000, 5000] {
            let mut met = Vec::new();
            let mut after = 0;
            loop {
                let items = names.iter().map(|name| (position(name.as_bytes()), name));
                let (chunk, next) = next_chunk(items, after, limit);
                met.extend(chunk);
                if next == 0 {
                    break;
                }
                assert!(next > after);
                after = next;
            }
            met.sort_unstable();
            let mut expected: Vec<_> = names.iter().collect();
            expected.sort_unstable();
            assert_eq!(met, expected, "limit {limit}");
        }
    }

    #[test]
    fn equal_positions_stay_together() {
        let items = [(5, 'a'), (5, 'b'), (5, 'c'), (9, 'd')];
        assert_eq!(next_chunk(items.into_iter(), 0, 1), (vec!['a', 'b', 'c'], 5));
        assert_eq!(next_chunk(items.into_iter(), 5, 1), (vec!['d'], 0));
    }
}
