//! Set algebra over members, wherever the sets live.

use foldhash::fast::RandomState;
use hashbrown::HashSet;

type Members = HashSet<Vec<u8>, RandomState>;
type Borrowed<'a> = HashSet<&'a [u8], RandomState>;

/// Every member of any set, once, in the order of first appearance.
pub fn union(sets: &[Vec<&[u8]>]) -> Vec<Vec<u8>> {
    let mut seen = Members::default();
    let all = sets.iter().flatten();
    all.filter(|member| seen.insert(member.to_vec())).map(|member| member.to_vec()).collect()
}

/// Every member of all sets; no more than `limit` of them unless it is zero.
pub fn intersection(sets: &[Vec<&[u8]>], limit: usize) -> Vec<Vec<u8>> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let Some(smallest) = (0..sets.len()).min_by_key(|&index| sets[index].len()) else {
        return Vec::new();
    };
    let others: Vec<Borrowed<'_>> = sets
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != smallest)
        .map(|(_, set)| set.iter().copied().collect())
        .collect();
    sets[smallest]
        .iter()
        .filter(|member| others.iter().all(|other| other.contains(*member)))
        .take(limit)
        .map(|member| member.to_vec())
        .collect()
}

/// Every member of the first set that is in none of the others.
pub fn difference(sets: &[Vec<&[u8]>]) -> Vec<Vec<u8>> {
    let Some((first, others)) = sets.split_first() else {
        return Vec::new();
    };
    let others: Borrowed<'_> = others.iter().flatten().copied().collect();
    let kept = first.iter().filter(|member| !others.contains(*member));
    kept.map(|member| member.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(texts: &[&'static str]) -> Vec<Vec<&'static [u8]>> {
        texts.iter().map(|text| text.as_bytes().chunks(1).collect()).collect()
    }

    fn shown(members: Vec<Vec<u8>>) -> String {
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
}
