//! Choosing random elements by their positions.

use crate::random::Random;

/// Random positions in a collection.
#[derive(Debug)]
pub(crate) enum Choice {
    /// Each at most once.
    Different(std::vec::IntoIter<usize>),
    /// Drawn one by one: there may be more of them than memory holds.
    Repeated {
        /// What draws them.
        random: Random,
        /// Length of the collection.
        length: usize,
        /// Draws that are left.
        left: usize,
    },
}

impl Choice {
    /// `count` different positions out of `length` (all when there are fewer), or, when `count` is
    /// negative, that many with repetitions.
    pub(crate) fn new(random: &mut Random, length: usize, count: i64) -> Self {
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        if length == 0 || count == 0 {
            return Self::Different(Vec::new().into_iter());
        }
        if count < 0 {
            return Self::Repeated { random: Random::new(random.next()), length, left: wanted };
        }
        let chosen = if wanted >= length {
            (0..length).collect()
        } else {
            different(random, length, wanted)
        };
        Self::Different(chosen.into_iter())
    }
}

impl Iterator for Choice {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Different(positions) => positions.next(),
            Self::Repeated { random, length, left } => {
                *left = left.checked_sub(1)?;
                Some(random.below(*length))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Self::Different(positions) => positions.len(),
            Self::Repeated { left, .. } => *left,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Choice {}

/// Floyd's algorithm: `wanted` draws, no table of all positions.
fn different(random: &mut Random, length: usize, wanted: usize) -> Vec<usize> {
    let mut chosen = hashbrown::HashSet::with_hasher(foldhash::fast::FixedState::default());
    let mut order = Vec::with_capacity(wanted);
    for bound in length - wanted..length {
        let draw = random.below(bound + 1);
        let pick = if chosen.insert(draw) { draw } else { bound };
        if pick == bound {
            chosen.insert(bound);
        }
        order.push(pick);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_chosen_as_asked_for() {
        let mut random = Random::new(1);
        for (length, count, expected) in
            [(0, 5, 0), (0, -5, 0), (5, 0, 0), (5, 3, 3), (5, 9, 5), (5, -3, 3), (2, -9, 9)]
        {
            let choice = Choice::new(&mut random, length, count);
            assert_eq!(choice.len(), expected, "{count} of {length}");
            let chosen: Vec<usize> = choice.collect();
            assert_eq!(chosen.len(), expected, "{count} of {length}");
            assert!(chosen.iter().all(|position| *position < length));
            let distinct: std::collections::BTreeSet<_> = chosen.iter().collect();
            assert!(count < 0 || distinct.len() == expected, "{count} of {length}");
        }
    }

    #[test]
    fn repetitions_beyond_memory_are_counted() {
        let choice = Choice::new(&mut Random::new(1), 3, i64::MIN + 1);
        assert_eq!(choice.len(), usize::MAX / 2);
    }
}
