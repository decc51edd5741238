//! Whether words are near each other, and how near.

use alloc::vec;
use alloc::vec::Vec;

use crate::index::Position;

/// Whether one place can be chosen for each of some words, all different, with at most `slop` other
/// words between them; in the order of the words, if it matters. The fields of a document follow
/// each other in the order of the schema, as in RediSearch.
pub(super) fn within(words: &[Vec<Position>], slop: u32, in_order: bool) -> bool {
    let places = words.iter().map(|word| word.iter().map(|place| place.1).collect());
    let places: Vec<Vec<u32>> = places.collect();
    let reach = (words.len() as u32).saturating_sub(1).saturating_add(slop);
    if in_order { ordered(&places, reach) } else { unordered(&places, reach) }
}

/// Whether each word is right behind the one before it.
pub(super) fn following(words: &[Vec<Position>]) -> bool {
    let Some((first, others)) = words.split_first() else { return true };
    let mut begins = first.iter();
    begins.any(|&(_, begin)| {
        let mut behind = others.iter().zip(begin + 1..);
        behind.all(|(word, place)| word.binary_search_by_key(&place, |other| other.1).is_ok())
    })
}

/// For each place of the first word, the others are put as early as they can be.
fn ordered(words: &[Vec<u32>], reach: u32) -> bool {
    let Some((first, others)) = words.split_first() else { return true };
    first.iter().any(|&begin| {
        let end = others.iter().try_fold(begin, |last, word| {
            word.get(word.partition_point(|&place| place <= last)).copied()
        });
        end.is_some_and(|end| end - begin <= reach)
    })
}

/// Each place begins a window, in which each word must find a place of its own.
fn unordered(words: &[Vec<u32>], reach: u32) -> bool {
    if words.is_empty() {
        return true;
    }
    let mut begins: Vec<u32> = words.iter().flatten().copied().collect();
    begins.sort_unstable();
    begins.dedup();
    begins.into_iter().any(|begin| {
        let end = begin.saturating_add(reach);
        let inside: Vec<&[u32]> = words
            .iter()
            .map(|word| {
                let (from, to) = (
                    word.partition_point(|&place| place < begin),
                    word.partition_point(|&place| place <= end),
                );
                &word[from..to]
            })
            .collect();
        inside.iter().all(|places| !places.is_empty()) && is_assignable(&inside)
    })
}

/// Whether each word can have a place of its own (augmenting paths in a bipartite graph).
fn is_assignable(words: &[&[u32]]) -> bool {
    let mut owners: Vec<(u32, usize)> = Vec::new();
    (0..words.len()).all(|word| assign(words, word, &mut owners, &mut vec![false; words.len()]))
}

fn assign(
    words: &[&[u32]],
    word: usize,
    owners: &mut Vec<(u32, usize)>,
    tried: &mut [bool],
) -> bool {
    if tried[word] {
        return false;
    }
    tried[word] = true;
    let free = words[word].iter().find(|&&place| owners.iter().all(|owner| owner.0 != place));
    if let Some(&place) = free {
        owners.push((place, word));
        return true;
    }
    for &place in words[word] {
        let Some(at) = owners.iter().position(|owner| owner.0 == place) else { continue };
        let other = owners[at].1;
        if assign(words, other, owners, tried) {
            owners[at].1 = word;
            return true;
        }
    }
    false
}

/// The least distance between a place of one word and a place of another.
pub(super) fn nearest(one: &[Position], other: &[Position]) -> Option<u32> {
    let (mut one, mut other) = (one, other);
    let mut least: Option<u32> = None;
    while let (Some(&(_, a)), Some(&(_, b))) = (one.first(), other.first()) {
        let distance = a.abs_diff(b);
        least = Some(least.map_or(distance, |least| least.min(distance)));
        if a < b {
            one = &one[1..];
        } else {
            other = &other[1..];
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition: every choice is tried.
    fn chosen(
        words: &[Vec<Position>],
        slop: u32,
        in_order: bool,
        chosen_so_far: &mut Vec<Position>,
    ) -> bool {
        let Some((word, others)) = words.split_first() else {
            let places = chosen_so_far.iter().map(|place| place.1);
            let (low, high) = (places.clone().min().unwrap_or(0), places.max().unwrap_or(0));
            let increasing = chosen_so_far.windows(2).all(|pair| pair[0].1 < pair[1].1);
            let between = u64::from(high - low) + 1 - chosen_so_far.len() as u64;
            return (increasing || !in_order) && between <= u64::from(slop);
        };
        word.iter().any(|&place| {
            let fits = chosen_so_far.iter().all(|other| other.1 != place.1);
            if !fits {
                return false;
            }
            chosen_so_far.push(place);
            let fits = chosen(others, slop, in_order, chosen_so_far);
            chosen_so_far.pop();
            fits
        })
    }

    fn word() -> impl Strategy<Value = Vec<Position>> {
        prop::collection::btree_set(0u32..20, 0..5).prop_map(|places| {
            places.into_iter().map(|place| (u8::from(place >= 12), place)).collect()
        })
    }

    proptest! {
        #[test]
        fn places_are_found_whenever_there_are_some(
            words in prop::collection::vec(word(), 1..5),
            slop in 0u32..4,
            in_order in any::<bool>(),
        ) {
            prop_assert_eq!(
                within(&words, slop, in_order),
                chosen(&words, slop, in_order, &mut Vec::new())
            );
            prop_assert_eq!(following(&words), chosen(&words, 0, true, &mut Vec::new()));
        }

        #[test]
        fn nearest_is_the_least(one in word(), other in word()) {
            let all = one.iter().flat_map(|a| other.iter().map(|b| a.1.abs_diff(b.1)));
            prop_assert_eq!(nearest(&one, &other), all.min());
        }
    }
}
