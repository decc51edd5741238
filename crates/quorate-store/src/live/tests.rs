//! However live elements lie in memory, they are a map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_proto::{Origin, Stamp};

use super::*;
use crate::{
    cell::{Cell, Contribution, Element, Sum},
    part::Body,
    score::Score,
    set::Member,
};

/// Merges a body; returns whether that changed anything, and whether there was an element.
fn merge<P: Payload>(live: &mut Live<P>, name: &[u8], body: &Body<'_>) -> (bool, bool) {
    let hasher = FixedState::with_seed(1);
    let (changed, was_live) = live.update(&hasher, name, body.stamp(), |record, base, old| {
        let mut payload = P::of(old.unwrap_or(Element::NONE));
        let changed = payload.merge(body);
        if changed && payload.is_live() {
            encode(record, base, name, payload.element());
        }
        changed.then_some(())
    });
    (changed.is_some(), was_live)
}

/// What is done to an element.
#[derive(Clone, Debug)]
enum Step {
    Write {
        name: usize,
        length: usize,
        origin: u32,
    },
    Add {
        name: usize,
        origin: u32,
    },
    Remove {
        name: usize,
    },
    /// To all of a run of names, so that collections grow beyond a block, and shrink.
    WriteMany {
        first: usize,
        count: usize,
    },
    RemoveMany {
        first: usize,
        count: usize,
    },
    /// Drops what is older than this share of the steps.
    Cut {
        share: u8,
    },
}

const NAMES: usize = 400;

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![8 => 0..100_usize, 1 => 0..5_000_usize];
    let (name, origin) = (0..NAMES, 0..3_u32);
    prop_oneof![
        8 => (name.clone(), length, origin.clone())
            .prop_map(|(name, length, origin)| Step::Write { name, length, origin }),
        2 => (name.clone(), origin).prop_map(|(name, origin)| Step::Add { name, origin }),
        4 => name.clone().prop_map(|name| Step::Remove { name }),
        2 => (name.clone(), 0..NAMES).prop_map(|(first, count)| Step::WriteMany { first, count }),
        2 => (name, 0..NAMES).prop_map(|(first, count)| Step::RemoveMany { first, count }),
        1 => any::<u8>().prop_map(|share| Step::Cut { share }),
    ]
}

fn name_of(number: usize) -> Vec<u8> {
    format!("{}{number}", "n".repeat(number % 70)).into_bytes()
}

/// Elements beside a map of them.
struct Beside<P: Payload> {
    live: Live<P>,
    model: BTreeMap<Vec<u8>, P>,
    hasher: FixedState,
    clock: u64,
}

impl<P: Payload + PartialEq> Beside<P> {
    fn merge(&mut self, name: usize, body: &Body<'_>) {
        let name = name_of(name);
        let was_live = self.model.contains_key(&name);
        let mut payload = self.model.remove(&name).unwrap_or_else(|| P::of(Element::NONE));
        let expected = (payload.merge(body), was_live);
        if payload.is_live() {
            self.model.insert(name.clone(), payload);
        }
        assert_eq!(merge(&mut self.live, &name, body), expected);
    }

    fn run(&mut self, step: &Step, value: impl Fn(Stamp, usize) -> Body<'static>) {
        let (first, count) = match *step {
            Step::Write { name, .. } | Step::Add { name, .. } | Step::Remove { name } => (name, 1),
            Step::WriteMany { first, count } | Step::RemoveMany { first, count } => (first, count),
            Step::Cut { share } => {
                let horizon = Stamp::new(self.clock * u64::from(share) / 256, Origin(0));
                self.live.update_all(&self.hasher, |_, payload| payload.cut(horizon));
                self.model.retain(|_, payload| {
                    payload.cut(horizon);
                    payload.is_live()
                });
                return;
            }
        };
        for name in first..(first + count).min(NAMES) {
            self.clock += 1;
            let stamp = |origin| Stamp::new(self.clock, Origin(origin));
            let body = match *step {
                Step::Write { length, origin, .. } => value(stamp(origin), length),
                Step::WriteMany { .. } => value(stamp(0), name % 40),
                Step::Add { origin, .. } => {
                    let (at, sum) = (stamp(origin), Sum::from_bytes([0; 16]));
                    Body::Added(Contribution { since: at, last: at, sum })
                }
                Step::Remove { .. } | Step::RemoveMany { .. } => Body::Removed(stamp(0)),
                Step::Cut { .. } => return,
            };
            self.merge(name, &body);
        }
    }

    fn check(&self) {
        assert_eq!(self.live.len(), self.model.len());
        let found: BTreeMap<Vec<u8>, P> =
            self.live.iter().map(|(name, element)| (name.to_vec(), P::of(element))).collect();
        assert!(found == self.model);
        assert_eq!(self.live.iter().len(), self.model.len());
        for (number, (name, element)) in self.live.iter().enumerate() {
            let (other, found) = self.live.at(number).expect("a number below the length");
            assert!(other == name && P::of(found) == P::of(element));
            assert!(self.live.get(name).map(P::of) == Some(P::of(element)));
        }
        for name in (0..NAMES).map(name_of) {
            assert_eq!(self.live.get(&name).is_some(), self.model.contains_key(&name));
        }
    }
}

fn beside<P: Payload + PartialEq>(
    steps: &[Step],
    value: impl Fn(Stamp, usize) -> Body<'static>,
    check: impl Fn(&Beside<P>),
) {
    let hasher = FixedState::with_seed(1);
    let mut beside =
        Beside { live: Live::<P>::default(), model: BTreeMap::new(), hasher, clock: 1 << 40 };
    for step in steps {
        beside.run(step, &value);
        beside.check();
        check(&beside);
    }
}

fn bytes(stamp: Stamp, length: usize) -> Body<'static> {
    static FILLER: [u8; 5_000] = [b'v'; 5_000];
    Body::Bytes(stamp, &FILLER[..length])
}

fn score(length: usize) -> Score {
    let whole = (length / 4) as f64 - 10.0;
    Score::new(if length.is_multiple_of(4) { whole } else { whole + 0.1 }).expect("a number")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn fields_are_a_map(steps in prop::collection::vec(step(), 1..60)) {
        beside::<Cell>(&steps, bytes, |_| {});
    }

    #[test]
    fn members_are_a_map(steps in prop::collection::vec(step(), 1..60)) {
        beside::<Member>(&steps, |stamp, _| Body::Member(stamp), |_| {});
    }

    #[test]
    fn members_with_scores_are_a_map_with_an_order(steps in prop::collection::vec(step(), 1..60)) {
        let body = |stamp, length| Body::Score(stamp, score(length));
        beside::<Cell<Option<Score>>>(&steps, body, |beside| {
            let mut sorted: Vec<(Score, &[u8])> = beside
                .model
                .iter()
                .map(|(name, member)| (member.element().score(), &**name))
                .collect();
            sorted.sort_unstable();
            let found: Vec<(Score, &[u8])> = match &beside.live {
                Live::Block(_) => {
                    beside.live.iter().map(|(name, element)| (element.score(), name)).collect()
                }
                Live::Large(large) => {
                    let members = large.order.range(&large.records, 0, usize::MAX);
                    members.into_iter().map(|(name, score)| (score, name)).collect()
                }
            };
            assert_eq!(found, sorted);
        });
    }
}

/// Writes fields with values of `length`, each in turn.
fn written(live: &mut Live<Cell>, clock: u64, names: std::ops::Range<usize>, length: usize) {
    for name in names {
        merge(live, &name_of(name), &bytes(Stamp::new(clock, Origin(1)), length));
    }
}

#[test]
fn a_collection_grows_out_of_a_block_and_goes_back_late() {
    let is_block = |live: &Live<Cell>| matches!(live, Live::Block(_));
    let mut live = Live::default();
    let remove = |live: &mut Live<Cell>, name: usize| {
        merge(live, &name_of(name), &Body::Removed(Stamp::new(9, Origin(1))));
    };
    written(&mut live, 1, 0..block::ELEMENTS_MAX, 1);
    assert!(is_block(&live));
    written(&mut live, 1, block::ELEMENTS_MAX..block::ELEMENTS_MAX + 1, 1);
    for name in 0..=block::ELEMENTS_MAX - BACK_MAX {
        assert!(!is_block(&live));
        remove(&mut live, name);
    }
    assert!(is_block(&live));
    written(&mut live, 1, 0..2, 5_000);
    assert!(!is_block(&live), "long values do not fit");
}

#[test]
fn gaps_take_a_bounded_share() {
    let mut live = Live::default();
    for round in 0..40 {
        written(&mut live, round, 0..4_000, 20 + (round as usize * 37) % 300);
    }
    let bytes: usize = live
        .iter()
        .map(|(name, element): (&[u8], Element<'_, &[u8]>)| {
            name.len() + element.register().map_or(0, <[u8]>::len) + 16
        })
        .sum();
    let Live::Large(large) = &live else { panic!("a block") };
    let held = large.records.held_bytes();
    assert!(held < bytes * 3 / 2 + (2 << 16), "{held} for {bytes}");
}
