//! Single situations, message by message.

use alloc::{collections::VecDeque, vec, vec::Vec};

use quorate_proto::{NodeId, Start};

use super::*;
use crate::limits::BALLOT_PATIENCE;

const NOW: Instant = Instant::from_millis(1_000);

fn voter(id: u128) -> Voter {
    Voter { member: NodeId(id), life: 0 }
}

fn first(voters: &[u128]) -> Document {
    let voters = voters.iter().map(|&id| voter(id)).collect();
    Document { version: 3, author: Ballot::default(), voters, value: Bytes::from_static(b"3") }
}

fn register(id: u128, base: &Document) -> Register {
    let origin = Origin::new(id as u16, Start::from_random(id as u32));
    Register::new(voter(id), origin, State::new(base.clone()), id as u64)
}

/// Members that reach each other at once.
struct Members(Vec<Register>);

impl Members {
    fn new(count: u128, base: &Document) -> Self {
        Self((1..=count).map(|id| register(id, base)).collect())
    }

    fn at(&mut self, id: u128) -> &mut Register {
        &mut self.0[id as usize - 1]
    }

    /// Lets a member do what it wants and those that are `up` answer. Tells how it ended, and how
    /// often it asked somebody.
    fn run(&mut self, id: u128, up: &[u128]) -> (Vec<Outcome>, usize) {
        let (mut outcomes, mut asked) = (Vec::new(), 0);
        let mut questions = VecDeque::new();
        loop {
            while let Some(output) = self.at(id).poll_output() {
                match output {
                    Output::Ask { voter, request } => questions.push_back((voter, request)),
                    Output::Finished(outcome) => outcomes.push(outcome),
                    Output::Persist(_) | Output::Decided(_) => {}
                }
            }
            let Some((voter, request)) = questions.pop_front() else { return (outcomes, asked) };
            asked += 1;
            if up.contains(&voter.member.0) {
                let answer = self.at(voter.member.0).handle_request(NOW, request);
                self.at(id).handle_answer(NOW, voter, answer);
            }
        }
    }

    fn set(&mut self, id: u128, value: &'static [u8]) {
        let voters = self.at(id).decided().voters.clone();
        let change = self.change(id, &voters, value);
        self.at(id).compare_and_set(NOW, change).expect("begins");
    }

    fn change(&mut self, id: u128, voters: &[Voter], value: &'static [u8]) -> Change {
        let expected = self.at(id).decided().version;
        Change { expected, voters: voters.to_vec(), value: Bytes::from_static(value) }
    }
}

fn value(outcome: &[Outcome]) -> &[u8] {
    let [Outcome::Decided { document, is_over: true } | Outcome::Current(document)] = outcome
    else {
        panic!("{outcome:?}")
    };
    &document.value
}

#[test]
fn a_change_is_decided_by_a_majority_and_the_next_one_of_its_author_in_one_round_trip() {
    let mut members = Members::new(3, &first(&[1, 2, 3]));
    members.set(1, b"4");
    let (outcome, asked) = members.run(1, &[2]);
    assert_eq!((value(&outcome), asked), (&b"4"[..], 6), "prepare, accept, learn; two others each");
    members.set(1, b"5");
    let (outcome, asked) = members.run(1, &[3]);
    assert_eq!((value(&outcome), asked), (&b"5"[..], 4), "accept, learn");
    assert_eq!(members.at(3).decided().version, 5, "it has not heard of the one before");
    assert_eq!(members.at(2).decided().version, 4);
    members.at(2).read(NOW).expect("begins");
    assert_eq!(value(&members.run(2, &[1, 3]).0), b"5");
}

#[test]
fn a_minority_decides_nothing_and_an_unasked_change_is_known_not_to_be() {
    let mut members = Members::new(3, &first(&[1, 2, 3]));
    members.set(1, b"4");
    assert_eq!(members.run(1, &[]).0, []);
    let mut now = NOW;
    let outcome = loop {
        now += BALLOT_PATIENCE;
        members.at(1).handle_timeout(now);
        if let (outcome @ [_], _) = (&members.run(1, &[]).0[..], 0) {
            break outcome.to_vec();
        }
    };
    assert_eq!(outcome, [Outcome::Unreachable]);
    assert_eq!(members.at(1).poll_timeout(), None);
    assert_eq!(members.at(1).decided().version, 3);
}

#[test]
fn of_two_changes_the_second_is_told_of_the_first() {
    let mut members = Members::new(3, &first(&[1, 2, 3]));
    let voters = [1, 2, 3].map(voter);
    let late = members.change(3, &voters, b"of 3");
    members.set(1, b"of 1");
    members.run(1, &[2]);
    members.at(3).compare_and_set(NOW, late.clone()).expect("it has not heard of the first");
    assert_eq!(members.at(3).compare_and_set(NOW, late.clone()), Err(ChangeError::Busy));
    assert_eq!(members.at(3).read(NOW), Err(ChangeError::Busy));
    let (outcome, _) = members.run(3, &[1, 2]);
    let [Outcome::Lost(document)] = &outcome[..] else { panic!("{outcome:?}") };
    assert_eq!(&document.value[..], b"of 1");
    let error = ChangeError::Changed { expected: 3, decided: 4 };
    assert_eq!(members.at(3).compare_and_set(NOW, late), Err(error));
}

#[test]
fn what_a_proposer_has_left_half_done_is_completed_by_the_next_one() {
    let mut members = Members::new(3, &first(&[1, 2, 3]));
    members.set(1, b"half");
    let ballot = Ballot { round: 1, origin: members.at(1).origin };
    let base = first(&[1, 2, 3]);
    let document =
        Document { version: 4, author: ballot, value: Bytes::from_static(b"half"), ..base.clone() };
    members.at(2).handle_request(NOW, Request::Accept { base, ballot, document });
    members.at(3).read(NOW).expect("begins");
    assert_eq!(value(&members.run(3, &[2]).0), b"half");
}

#[test]
fn a_voter_that_leaves_is_needed_until_its_change_is_over() {
    let mut members = Members::new(4, &first(&[1, 2, 3, 4]));
    let change = members.change(2, &[2, 3, 4].map(voter), b"without 1");
    members.at(2).compare_and_set(NOW, change).expect("one less");
    let (outcome, _) = members.run(2, &[1, 3]);
    assert_eq!(value(&outcome), b"without 1");
    members.at(4).read(NOW).expect("begins");
    assert_eq!(value(&members.run(4, &[3]).0), b"without 1", "1 has left, and 2 is down");
}

#[test]
fn voters_change_by_one() {
    let mut members = Members::new(3, &first(&[1, 2, 3]));
    for voters in [vec![voter(1)], vec![], [1, 2, 4].map(voter).to_vec()] {
        let change = members.change(1, &voters, b"4");
        assert_eq!(members.at(1).compare_and_set(NOW, change), Err(ChangeError::Voters));
    }
}

#[test]
fn a_voter_that_has_lost_everything_has_no_vote() {
    let base = first(&[1, 2, 3]);
    let mut members = Members::new(3, &base);
    members.at(2).me.life = 1;
    let ballot = Ballot { round: 1, origin: Origin(9) };
    let request = Request::Prepare { base: base.clone(), ballot };
    assert_eq!(members.at(2).handle_request(NOW, request.clone()), Answer::Decided(base));
    members.at(1).read(NOW).expect("begins");
    let promise = members.at(3).handle_request(NOW, request);
    members.at(1).handle_answer(NOW, Voter { member: NodeId(3), life: 1 }, promise);
    assert!(members.at(1).is_busy());
}

#[test]
fn what_is_overruled_is_void_wherever_that_is_heard() {
    let mut members = Members::new(3, &first(&[1, 2, 3]));
    members.at(3).override_voters(NOW, vec![voter(3)], Bytes::from_static(b"alone"));
    members.set(1, b"4");
    assert_eq!(value(&members.run(1, &[2]).0), b"4", "they are alive after all");
    members.set(2, b"5");
    let (outcome, _) = members.run(2, &[1, 3]);
    assert!(matches!(
        &outcome[..],
        [Outcome::Decided { .. } | Outcome::Lost(_) | Outcome::Unknown]
    ));
    let document = members.at(3).decided().clone();
    assert_eq!(&members.at(2).decided().value[..], b"alone");
    members.at(1).handle_decided(NOW, document);
    assert_eq!(&members.at(1).decided().value[..], b"alone");
    members.set(1, b"6");
    assert_eq!(members.run(1, &[2]).0, [], "2 has no vote any more");
    members.at(1).handle_timeout(NOW + BALLOT_PATIENCE);
    assert_eq!(value(&members.run(1, &[3]).0), b"6");
}
