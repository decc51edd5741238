//! A set of counters of one origin: everything up to some counter, and ranges above it.

use alloc::vec::Vec;

/// A set of counters. One that is known without gaps takes no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Every counter from 1 up to here is in.
    prefix: u64,
    /// First and last of each further range: ascending, and neither touching each other nor the
    /// prefix.
    above: Vec<(u64, u64)>,
}

impl Counters {
    /// Adds a counter. Returns whether it was not in.
    pub fn insert(&mut self, counter: u64) -> bool {
        if counter == self.prefix + 1 && self.above.is_empty() {
            self.prefix = counter;
            return true;
        }
        let new = !self.contains(counter);
        if new {
            self.insert_range(counter, counter);
        }
        new
    }

    /// Adds the counters from `first` to `last`, which are from 1 to
    /// [`COUNTER_MAX`](quorate_proto::dot::COUNTER_MAX).
    pub fn insert_range(&mut self, mut first: u64, mut last: u64) {
        debug_assert!(1 <= first && first <= last);
        if first <= self.prefix + 1 {
            self.prefix = self.prefix.max(last);
            let reached = self.above.partition_point(|(first, _)| *first <= self.prefix + 1);
            if let Some((_, last)) = self.above.drain(..reached).next_back() {
                self.prefix = self.prefix.max(last);
            }
            return;
        }
        let start = self.above.partition_point(|(_, end)| end + 1 < first);
        let end = self.above.partition_point(|(begin, _)| *begin <= last + 1);
        if start < end {
            first = first.min(self.above[start].0);
            last = last.max(self.above[end - 1].1);
        }
        self.above.splice(start..end, [(first, last)]);
    }

    /// Adds all of `other`.
    pub fn insert_all(&mut self, other: &Self) {
        other.ranges().for_each(|(first, last)| self.insert_range(first, last));
    }

    /// Whether `counter` is in.
    pub fn contains(&self, counter: u64) -> bool {
        if counter <= self.prefix {
            return counter > 0;
        }
        let at = self.above.partition_point(|(_, last)| *last < counter);
        self.above.get(at).is_some_and(|(first, _)| *first <= counter)
    }

    /// First and last of each range, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let prefix = (self.prefix > 0).then_some((1, self.prefix));
        prefix.into_iter().chain(self.above.iter().copied())
    }

    /// What is in here and not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        // Nearly always all has come, and without gaps.
        if self.prefix <= other.prefix && self.above.is_empty() {
            return rest;
        }
        let mut others = other.ranges().peekable();
        for (mut first, last) in self.ranges() {
            while let Some(&(from, to)) = others.peek()
                && first <= last
                && from <= last
            {
                if first < from {
                    rest.insert_range(first, from - 1);
                }
                first = first.max(to + 1);
                // It may reach into the next range as well.
                if to > last {
                    break;
                }
                others.next();
            }
            if first <= last {
                rest.insert_range(first, last);
            }
        }
        rest
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.ranges().fold(0, |sum: u64, (first, last)| sum.saturating_add(last - first + 1))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prefix == 0 && self.above.is_empty()
    }

    /// Every counter from 1 up to here is in; the next one is not.
    pub fn prefix(&self) -> u64 {
        self.prefix
    }

    /// Forgets the highest ranges until at most `ranges` are left above the prefix.
    pub fn keep_lowest(&mut self, ranges: usize) {
        self.above.truncate(ranges);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn build(ranges: &[(u64, u64)]) -> Counters {
        let mut counters = Counters::default();
        ranges.iter().for_each(|(first, more)| counters.insert_range(*first, first + more));
        counters
    }

    fn plain(counters: &Counters) -> BTreeSet<u64> {
        counters.ranges().flat_map(|(first, last)| first..=last).collect()
    }

    #[test]
    fn gaps_close() {
        let mut counters = Counters::default();
        for (counter, new) in [(1, true), (3, true), (3, false), (5, true), (1, false)] {
            assert_eq!(counters.insert(counter), new, "{counter}");
        }
        assert_eq!(counters.ranges().collect::<Vec<_>>(), [(1, 1), (3, 3), (5, 5)]);
        assert!(counters.insert(2) && counters.insert(4));
        assert_eq!((counters.prefix(), counters.above.len()), (5, 0));
    }

    #[test]
    fn the_highest_are_forgotten() {
        let mut counters = build(&[(1, 1), (5, 0), (9, 0), (12, 3)]);
        counters.keep_lowest(2);
        assert_eq!(counters.ranges().collect::<Vec<_>>(), [(1, 2), (5, 5), (9, 9)]);
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_trouble() {
        let last = quorate_proto::dot::COUNTER_MAX;
        let whole = build(&[(1, last - 1)]);
        assert_eq!((whole.len(), whole.contains(0)), (last, false));
        let end = build(&[(last, 0)]);
        assert!(end.without(&whole).is_empty());
        assert_eq!(whole.without(&end).ranges().collect::<Vec<_>>(), [(1, last - 1)]);
    }

    proptest! {
        #[test]
        fn counters_are_a_set(
            a in prop::collection::vec((1_u64..60, 0_u64..6), 0..12),
            b in prop::collection::vec((1_u64..60, 0_u64..6), 0..12),
            kept in 0_usize..4,
        ) {
            let (x, y) = (build(&a), build(&b));
            let (set_x, set_y) = (plain(&x), plain(&y));
            let expected: BTreeSet<u64> =
                a.iter().flat_map(|(first, more)| *first..=first + more).collect();
            prop_assert_eq!(&set_x, &expected);
            prop_assert_eq!(x.len(), set_x.len() as u64);
            prop_assert!((0..70).all(|counter| x.contains(counter) == set_x.contains(&counter)));
            prop_assert_eq!(plain(&x.without(&y)), &set_x - &set_y);
            let mut union = x.clone();
            union.insert_all(&y);
            prop_assert_eq!(plain(&union), &set_x | &set_y);
            // Ranges neither touch nor overlap, so equal sets are equal values.
            let ranges: Vec<_> = union.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            let mut one_by_one = Counters::default();
            for counter in plain(&union).into_iter().rev() {
                prop_assert!(one_by_one.insert(counter));
            }
            prop_assert_eq!(&one_by_one, &union);
            let mut less = union.clone();
            less.keep_lowest(kept);
            prop_assert!(less.above.len() <= kept);
            prop_assert!(plain(&less).is_subset(&plain(&union)), "it only claims less");
        }
    }
}
