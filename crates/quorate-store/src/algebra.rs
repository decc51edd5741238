//! Set algebra over members, with scores and without, wherever the sets live.

use std::cmp::Ordering;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, hash_map::Entry};

type Members<'a> = HashSet<&'a [u8], RandomState>;

/// Every member of any set, once, in the order of first appearance.
pub fn union<'a>(sets: &[Vec<&'a [u8]>]) -> Vec<&'a [u8]> {
    if let [only] = sets {
        return only.clone();
    }
    let mut seen = Members::default();
    sets.iter().flatten().copied().filter(|member| seen.insert(member)).collect()
}

/// Every member of all sets; no more than `limit` of them unless it is zero.
pub fn intersection<'a>(sets: &[Vec<&'a [u8]>], limit: usize) -> Vec<&'a [u8]> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let Some(smallest) = (0..sets.len()).min_by_key(|&index| sets[index].len()) else {
        return Vec::new();
    };
    let others: Vec<Members<'_>> = sets
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != smallest)
        .map(|(_, set)| set.iter().copied().collect())
        .collect();
    sets[smallest]
        .iter()
        .filter(|member| others.iter().all(|other| other.contains(*member)))
        .take(limit)
        .copied()
        .collect()
}

/// Every member of the first set that is in none of the others.
pub fn difference<'a>(sets: &[Vec<&'a [u8]>]) -> Vec<&'a [u8]> {
    let Some((first, others)) = sets.split_first() else {
        return Vec::new();
    };
    let others: Members<'_> = others.iter().flatten().copied().collect();
    first.iter().filter(|member| !others.contains(*member)).copied().collect()
}

/// A member with a score.
pub type Scored = (Vec<u8>, f64);

/// How sets are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Every member of any.
    Union,
    /// Every member of all.
    Intersection,
    /// Every member of the first that is in no other.
    Difference,
}

/// What becomes of the scores that a member has in several sorted sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

impl Aggregate {
    /// The one that an option names.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let words = [("SUM", Self::Sum), ("MIN", Self::Min), ("MAX", Self::Max)];
        let mut words = words.into_iter();
        words.find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, one)| one)
    }

    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => number_or_zero(one + other),
            Self::Min if other < one => other,
            Self::Max if other > one => other,
            Self::Min | Self::Max => one,
        }
    }
}

/// Opposite infinities add up to zero, as in Redis.
fn number_or_zero(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// Multiplies all scores with a weight. Nothing times infinity is not a number.
pub fn weigh(members: &mut [Scored], weight: f64) {
    members.iter_mut().for_each(|(_, score)| *score *= weight);
}

/// Combines sorted sets. The members come in the order of their scores, then of their bytes. A
/// score that is not a number counts as zero where it is a member's first; in an intersection a
/// later one makes a sum zero, and changes no minimum and no maximum.
pub fn combine_scored(
    operation: Operation,
    aggregate: Aggregate,
    mut sets: Vec<Vec<Scored>>,
) -> Vec<Scored> {
    let count = sets.len();
    if operation != Operation::Difference {
        // Sums of scores depend on their order: from the smallest set to the largest.
        sets.sort_by_key(Vec::len);
    }
    let mut seen: HashMap<Vec<u8>, (f64, usize), RandomState> = HashMap::default();
    for (index, set) in sets.into_iter().enumerate() {
        for (member, score) in set {
            match seen.entry(member) {
                Entry::Occupied(mut found) => {
                    let (sum, sets) = found.get_mut();
                    let is_union = operation == Operation::Union;
                    let score = if is_union { number_or_zero(score) } else { score };
                    *sum = aggregate.of(*sum, score);
                    *sets += 1;
                }
                Entry::Vacant(vacant) => {
                    let wanted = operation == Operation::Union || index == 0;
                    if wanted {
                        vacant.insert((number_or_zero(score), 1));
                    }
                }
            }
        }
    }
    let is_member = |sets: usize| match operation {
        Operation::Union => true,
        Operation::Intersection => sets == count,
        Operation::Difference => sets == 1,
    };
    let members = seen.into_iter().filter(|(_, (_, sets))| is_member(*sets));
    let mut members: Vec<Scored> = members.map(|(member, (score, _))| (member, score)).collect();
    members.sort_unstable_by(|(one, score), (other, others)| {
        score.partial_cmp(others).unwrap_or(Ordering::Equal).then_with(|| one.cmp(other))
    });
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(texts: &[&'static str]) -> Vec<Vec<&'static [u8]>> {
        texts.iter().map(|text| text.as_bytes().chunks(1).collect()).collect()
    }

    fn shown(members: Vec<&[u8]>) -> String {
        members.concat().into_iter().map(char::from).collect()
    }

    #[test]
    fn the_three_operations() {
        assert_eq!(shown(union(&sets(&["abc", "cd", ""]))), "abcd");
        assert_eq!(shown(intersection(&sets(&["abcd", "db", "bxd"]), 0)), "db");
        assert_eq!(shown(intersection(&sets(&["abcd", "db"]), 1)), "d");
        assert_eq!(shown(difference(&sets(&["abcd", "db", "x"]))), "ac");
        assert_eq!(shown(difference(&sets(&["abc"]))), "abc");
        assert!(union(&[]).is_empty() && intersection(&[], 0).is_empty());
    }

    #[test]
    fn scores_are_weighed_and_joined() {
        let set = |members: &[(&str, f64)]| -> Vec<Scored> {
            members.iter().map(|(member, score)| (member.as_bytes().to_vec(), *score)).collect()
        };
        let sets =
            || vec![set(&[("a", 1.0), ("b", 2.0), ("c", 9.0)]), set(&[("b", 5.0), ("d", 0.5)])];
        let union = |aggregate| combine_scored(Operation::Union, aggregate, sets());
        assert_eq!(union(Aggregate::Sum), set(&[("d", 0.5), ("a", 1.0), ("b", 7.0), ("c", 9.0)]));
        assert_eq!(union(Aggregate::Min), set(&[("d", 0.5), ("a", 1.0), ("b", 2.0), ("c", 9.0)]));
        assert_eq!(union(Aggregate::Max), set(&[("d", 0.5), ("a", 1.0), ("b", 5.0), ("c", 9.0)]));
        let both = combine_scored(Operation::Intersection, Aggregate::Sum, sets());
        assert_eq!(both, set(&[("b", 7.0)]));
        let first = combine_scored(Operation::Difference, Aggregate::Sum, sets());
        assert_eq!(first, set(&[("a", 1.0), ("c", 9.0)]));
        let joined = |operation, aggregate| {
            let mut infinite = set(&[("a", f64::INFINITY)]);
            weigh(&mut infinite, 0.0);
            combine_scored(operation, aggregate, vec![set(&[("a", 5.0)]), infinite])
        };
        for (aggregate, union, intersection) in
            [(Aggregate::Sum, 5.0, 0.0), (Aggregate::Min, 0.0, 5.0), (Aggregate::Max, 5.0, 5.0)]
        {
            assert_eq!(joined(Operation::Union, aggregate), set(&[("a", union)]));
            assert_eq!(joined(Operation::Intersection, aggregate), set(&[("a", intersection)]));
        }
    }
}
