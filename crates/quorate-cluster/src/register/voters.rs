//! Who has a vote.

use alloc::{collections::BTreeMap, vec::Vec};

use quorate_proto::{mutant::Mutant, register::Voter};

use crate::limits::VOTERS_MAX;

/// A member that may have a vote, with data or as a witness without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elector<'a> {
    /// The member in its present life.
    pub voter: Voter,
    /// Where it is.
    pub datacentre: &'a str,
    /// Where it is there.
    pub rack: &'a str,
}

/// An odd number of voters, five at most, spread over as many datacentres and racks as possible.
/// Where that leaves a choice, those that have a vote at `present` keep it.
pub fn choose_voters(electors: &[Elector], present: &[Voter]) -> Vec<Voter> {
    let count = electors.len().min(VOTERS_MAX);
    let count = count - usize::from(count > 0 && count.is_multiple_of(2));
    let mut left: Vec<Elector> = electors.to_vec();
    let mut in_datacentre: BTreeMap<&str, usize> = BTreeMap::new();
    let mut in_rack: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let rank = |elector: &Elector| {
            let Elector { voter, datacentre, rack } = *elector;
            if Mutant::VotersBunched.is_planted() {
                return (0, 0, !present.contains(&voter), voter);
            }
            let neighbours = in_datacentre.get(datacentre).copied().unwrap_or(0);
            let closest = in_rack.get(&(datacentre, rack)).copied().unwrap_or(0);
            (neighbours, closest, !present.contains(&voter), voter)
        };
        let ranks = left.iter().enumerate().map(|(place, elector)| (rank(elector), place));
        let (_, place) = ranks.min().expect("invariant: there are as many electors");
        let Elector { voter, datacentre, rack } = left.swap_remove(place);
        *in_datacentre.entry(datacentre).or_default() += 1;
        *in_rack.entry((datacentre, rack)).or_default() += 1;
        chosen.push(voter);
    }
    chosen.sort_unstable();
    chosen
}

/// The voters one step from `present` towards `wanted`, both in ascending order; `None` when they
/// are the same. Voters whose lives are over go first, since they count and never answer; nobody
/// else goes before all that come are there, but where there is one more than [`VOTERS_MAX`] already,
/// because others were wanted before: no document has more.
pub fn next_voters(
    present: &[Voter],
    wanted: &[Voter],
    is_over: impl Fn(&Voter) -> bool,
) -> Option<Vec<Voter>> {
    let mut goes = present.iter().filter(|voter| !wanted.contains(voter));
    let over = goes.clone().find(|voter| present.len() > 1 && is_over(voter));
    let has_room = present.len() <= VOTERS_MAX;
    let comes = wanted.iter().find(|voter| has_room && !present.contains(voter));
    let mut next = present.to_vec();
    match (over, comes, goes.next()) {
        (Some(voter), _, _) | (None, None, Some(voter)) => next.retain(|other| other != voter),
        (None, Some(voter), _) => {
            next.push(*voter);
            next.sort_unstable();
        }
        (None, None, None) => return None,
    }
    Some(next)
}

/// Whether these can be voters.
pub(super) fn is_possible(voters: &[Voter]) -> bool {
    !voters.is_empty() && voters.is_sorted_by(|a, b| a < b)
}

/// Whether `next` may follow `present`: one more, one less, or the same.
pub(super) fn is_one_step(present: &[Voter], next: &[Voter]) -> bool {
    let missing_in = |these: &[Voter], those: &[Voter]| {
        those.iter().filter(|voter| !these.contains(voter)).count()
    };
    is_possible(next) && missing_in(present, next) + missing_in(next, present) <= 1
}

/// How many of `voters` are a majority.
pub(super) fn majority(voters: &[Voter]) -> usize {
    voters.len() / 2 + 1
}

#[cfg(test)]
mod tests {
    use quorate_proto::NodeId;

    use super::*;

    fn voter(id: u128) -> Voter {
        Voter { member: NodeId(id), life: 0 }
    }

    /// Members from 1 on, in these datacentres and racks.
    fn electors<'a>(places: &[(&'a str, &'a str)]) -> Vec<Elector<'a>> {
        let elector = |(id, &(datacentre, rack)): (usize, &(&'a str, &'a str))| Elector {
            voter: voter(id as u128 + 1),
            datacentre,
            rack,
        };
        places.iter().enumerate().map(elector).collect()
    }

    fn chosen(electors: &[Elector], present: &[u128]) -> Vec<u128> {
        let present: Vec<Voter> = present.iter().map(|&id| voter(id)).collect();
        choose_voters(electors, &present).iter().map(|voter| voter.member.0).collect()
    }

    #[test]
    fn their_number_is_odd_and_five_at_most() {
        let all = [("a", "1"); 9];
        let numbers = (0..=9).map(|n| chosen(&electors(&all[..n]), &[]).len());
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 1, 3, 3, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn they_are_spread_over_datacentres_and_racks() {
        let three = electors(&[("a", "1"), ("a", "1"), ("a", "1"), ("b", "1"), ("c", "1")]);
        assert_eq!(chosen(&three[..4], &[]), [1, 2, 4]);
        assert_eq!(chosen(&three, &[]), [1, 2, 3, 4, 5]);
        let racks = electors(&[("a", "1"), ("a", "1"), ("a", "2"), ("a", "2"), ("a", "3")]);
        assert_eq!(chosen(&racks[..4], &[]), [1, 2, 3]);
        let witness = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("b", "3")];
        let witness = electors(&[&witness[..], &[("c", "1")]].concat());
        assert_eq!(chosen(&witness, &[]), [1, 2, 4, 5, 7], "no datacentre has three of five");
    }

    #[test]
    fn those_that_have_a_vote_keep_it() {
        let all = electors(&[("a", "1"); 8]);
        assert_eq!(chosen(&all, &[4, 5, 6, 7, 8]), [4, 5, 6, 7, 8]);
        assert_eq!(chosen(&all[..7], &[4, 5, 6, 7, 8]), [1, 4, 5, 6, 7]);
    }

    #[test]
    fn they_change_by_one_and_come_before_they_go() {
        let (mut voters, wanted) = ([1, 2, 3].map(voter).to_vec(), [2, 3, 4, 5, 6].map(voter));
        let mut sizes = Vec::new();
        while let Some(next) = next_voters(&voters, &wanted, |_| false) {
            assert!(is_one_step(&voters, &next));
            sizes.push(next.len());
            voters = next;
        }
        assert_eq!(sizes, [4, 5, 6, 5]);
        assert_eq!(voters, wanted);
        assert!(!is_one_step(&[1, 2, 3].map(voter), &[2, 3, 4].map(voter)));
        assert!(!is_one_step(&[voter(1)], &[]));
        assert!(!is_one_step(&[1, 2].map(voter), &[2, 1].map(voter)));
    }

    #[test]
    fn nobody_comes_where_there_is_one_too_many() {
        let (mut voters, wanted) =
            ([1, 2, 3, 4, 5, 6].map(voter).to_vec(), [1, 2, 4, 5, 7].map(voter));
        let mut sizes = Vec::new();
        while let Some(next) = next_voters(&voters, &wanted, |_| false) {
            assert!(is_one_step(&voters, &next));
            sizes.push(next.len());
            voters = next;
        }
        assert_eq!((sizes, voters), (alloc::vec![5, 6, 5], wanted.to_vec()));
    }

    #[test]
    fn lives_that_are_over_go_before_others_come() {
        let lives = |lives: &[(u128, u16)]| -> Vec<Voter> {
            let voter = |&(id, life): &(u128, u16)| Voter { member: NodeId(id), life };
            lives.iter().map(voter).collect()
        };
        let mut voters = lives(&[(1, 0), (2, 0), (3, 0)]);
        // Two lives of a member were over before the voters had changed for the first.
        let wanted = lives(&[(1, 0), (2, 2), (3, 0)]);
        let is_over = |voter: &Voter| voter.member == NodeId(2) && voter.life < 2;
        let mut steps = Vec::new();
        while let Some(next) = next_voters(&voters, &wanted, is_over) {
            assert!(is_one_step(&voters, &next));
            let alive = voters.iter().filter(|voter| !is_over(voter)).count();
            assert!(alive >= majority(&voters), "{voters:?}");
            steps.push(next.len());
            voters = next;
        }
        assert_eq!((steps, voters), (alloc::vec![2, 3], wanted));
        let alone = lives(&[(2, 0)]);
        assert_eq!(next_voters(&alone, &alone, is_over), None);
        assert_eq!(next_voters(&alone, &lives(&[(2, 2)]), is_over), Some(lives(&[(2, 0), (2, 2)])));
    }
}
