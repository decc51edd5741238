//! Movements from their plans to their ends, with members that report as they like.

use alloc::{collections::BTreeSet, format, vec::Vec};

use proptest::prelude::*;
use quorate_proto::{
    Groups, MemberNumber, NodeId, Numbers, Partitioner, Slot,
    hashkit::HashKind,
    message::{Member, View},
    ownership::Phase,
    slot::SLOTS,
};

use super::*;
use crate::{
    peer_map::PeerMap,
    random::Random,
    topology::{Topology, TopologyError},
};

const GROUPS_AT_ONCE: usize = 24;

fn member(id: u128, rack: usize) -> Member {
    Member {
        // Ids are random in life.
        id: NodeId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        name: format!("n{id}"),
        datacentre: "dc".into(),
        rack: format!("r{rack}"),
        tokens: Vec::new(),
        peer_address: format!("h{id}:1"),
        client_address: format!("h{id}:2"),
        cluster_address: format!("h{id}:3"),
        incarnation: Default::default(),
        duties: Default::default(),
    }
}

fn founded(members: usize, replication_factor: u16) -> View {
    let replication_factor = replication_factor.into();
    let mut members: Vec<Member> =
        (0..members).map(|index| member(index as u128 + 1, index)).collect();
    members.sort_by_key(|member| member.id);
    let numbers = Numbers::of_first(members.iter().map(|member| member.id)).unwrap();
    let epoch = members.len() as u64;
    View {
        epoch,
        sealed: true,
        partitioner: Default::default(),
        replication_factor,
        members,
        numbers,
        ownership: None,
    }
}

fn topology(view: &View) -> Topology {
    Topology::new(view, view.members[0].id).expect("a topology")
}

/// A cluster whose data is known: who holds each slot whole.
struct World {
    view: View,
    holders: Vec<BTreeSet<MemberNumber>>,
    random: Random,
}

impl World {
    fn new(members: usize, replication_factor: u16, seed: u64) -> Self {
        Self::of(founded(members, replication_factor), seed)
    }

    fn of(view: View, seed: u64) -> Self {
        let topology = topology(&view);
        let holders = Slot::all().map(|slot| topology.replicas(slot).iter().copied().collect());
        Self { view, holders: holders.collect(), random: Random::new(seed) }
    }

    /// Goes by the next member list.
    fn adopt(&mut self, view: View) {
        let (before, after) = (topology(&self.view), topology(&view));
        assert_eq!(after.epoch(), before.epoch() + 1);
        for slot in Slot::all() {
            let (was, is) = (before.readers(slot), after.readers(slot));
            let holders = &mut self.holders[slot.index()];
            assert!(is.iter().all(|reader| holders.contains(reader)), "a reader has nothing");
            assert!(is.iter().any(|reader| was.contains(reader)) || was.is_empty());
            let ownership = view.ownership.as_ref().unwrap();
            let old = ownership.owners.get(slot).len();
            let new = ownership.movement.as_ref().map(|movement| movement.target.get(slot).len());
            assert!(is.len() >= new.map_or(old, |new| new.min(old)), "too few readers");
            // Whoever has no part in it any more drops it.
            holders.retain(|holder| after.is_replica(slot, *holder));
        }
        self.view = view;
    }

    /// Members report, some of them that they are level: what one has, the other has then.
    fn reports(&mut self) -> PeerMap<Report> {
        let topology = topology(&self.view);
        let nodes: Vec<MemberNumber> = topology.nodes().collect();
        let mut reports: PeerMap<Report> = nodes
            .iter()
            .map(|node| (*node, Report { epoch: self.view.epoch, level: PeerMap::new() }))
            .collect();
        for one in &nodes {
            for other in nodes.iter().filter(|other| *other != one) {
                if self.random.below(3) == 0 {
                    continue;
                }
                let groups = Groups::from_bits(self.random.next_u64() | self.random.next_u64());
                reports[*one].level.insert(*other, groups);
                for slot in groups.iter().flat_map(Slot::of_group) {
                    let holders = &mut self.holders[slot.index()];
                    let is_shared =
                        [one, other].iter().all(|node| topology.is_replica(slot, **node));
                    if is_shared && (holders.contains(one) || holders.contains(other)) {
                        holders.extend([*one, *other]);
                    }
                }
            }
        }
        reports
    }

    /// Goes on until nothing moves, or for so many epochs.
    fn go_on(&mut self, epochs: usize) {
        let mut waited = 0;
        for _ in 0..epochs {
            while self.is_moving() {
                let reports = self.reports();
                if let Some(next) = advance(&self.view, &reports, |_| true, GROUPS_AT_ONCE) {
                    check_step(&self.view, &next);
                    self.adopt(next);
                    break;
                }
                waited += 1;
                assert!(waited < 1_000, "nothing goes on");
            }
        }
    }

    fn finish(&mut self) {
        self.go_on(1_000);
        assert!(!self.is_moving());
        let topology = topology(&self.view);
        for slot in Slot::all() {
            assert_eq!(topology.replicas(slot), topology.readers(slot));
            assert_eq!(topology.replicas(slot).len(), self.width());
        }
    }

    fn is_moving(&self) -> bool {
        self.view.ownership.as_ref().is_some_and(|ownership| ownership.movement.is_some())
    }

    fn width(&self) -> usize {
        let members = &self.view.members;
        let datacentres: BTreeSet<&str> = members.iter().map(|it| it.datacentre.as_str()).collect();
        let width_of = |datacentre: &str| {
            let factor = self.view.replication_factor.of(datacentre).unwrap();
            let held_by =
                members.iter().filter(|it| it.datacentre == datacentre && it.duties.holds_data());
            held_by.count().min(usize::from(factor))
        };
        datacentres.into_iter().map(width_of).sum()
    }

    fn begin(&mut self, plan: Plan) {
        let Summary { slots, copies, busiest } = plan.summary;
        assert!(busiest <= copies && busiest <= u32::from(SLOTS));
        assert!(slots <= SLOTS && copies <= u32::from(SLOTS) * self.view.members.len() as u32 * 4);
        self.adopt(plan.view);
    }

    /// Replicas that each member holds.
    fn load(&self) -> Vec<usize> {
        let topology = topology(&self.view);
        let held = |node| Slot::all().filter(|slot| topology.is_replica(*slot, node)).count();
        topology.nodes().map(held).collect()
    }
}

/// Slots go on by one phase at most, and never back.
fn check_step(before: &View, after: &View) {
    let (before, after) = (topology(before), topology(after));
    for slot in Slot::all().step_by(64) {
        if let (Some(was), Some(is)) = (before.phase(slot), after.phase(slot)) {
            assert!(is == was || is as u8 == was as u8 + 1, "{was:?} {is:?}");
        }
    }
}

fn spread(load: &[usize]) -> usize {
    load.iter().max().unwrap() - load.iter().min().unwrap()
}

#[test]
fn a_cluster_grows_from_three_to_six_and_shrinks_again() {
    let mut world = World::new(3, 3, 1);
    for id in 4..7 {
        let plan = plan::join(&world.view, member(id, id as usize)).unwrap();
        // What balance needs: the share of the newcomer, a tenth more at most.
        let share = u32::from(SLOTS) * 3 / id as u32;
        let copies = plan.summary.copies;
        assert!(copies >= share && copies <= share + share / 10, "{copies} of {share}");
        world.begin(plan);
        assert_eq!(plan::join(&world.view, member(9, 9)), Err(PlanError::UnderWay));
        world.finish();
        assert!(spread(&world.load()) <= 1, "{:?}", world.load());
    }
    for id in [5, 1, 6] {
        let leaver = member(id, 0).id;
        world.begin(plan::leave(&world.view, leaver).unwrap());
        assert_eq!(plan::leave(&world.view, leaver), Err(PlanError::UnderWay));
        world.finish();
        assert_eq!(world.view.numbers.of(leaver), None);
        assert!(spread(&world.load()) <= 1, "{:?}", world.load());
        assert_eq!(plan::leave(&world.view, leaver), Err(PlanError::NotMember(leaver)));
    }
}

#[test]
fn nothing_goes_on_before_all_who_are_up_know_the_epoch() {
    let mut world = World::new(3, 2, 2);
    world.begin(plan::join(&world.view, member(4, 4)).unwrap());
    let mut reports = world.reports();
    let slow = MemberNumber(1);
    reports[slow].epoch -= 1;
    assert_eq!(advance(&world.view, &reports, |_| true, 64), None);
    let without = advance(&world.view, &reports, |node| node != slow, 64).expect("it is down");
    // Not even then does a slot of its go on to be read elsewhere.
    let all = |epoch| {
        let level: PeerMap<Groups> = (0..4).map(|node| (MemberNumber(node), Groups::ALL)).collect();
        let report = |node| (MemberNumber(node), Report { epoch, level: level.clone() });
        (0..4).filter(|node| *node != slow.0).map(report).collect::<PeerMap<Report>>()
    };
    let mut silent = all(without.epoch);
    for report in silent.values_mut() {
        report.level.remove(slow);
    }
    let next = advance(&without, &silent, |node| node != slow, 64).expect("others are level");
    let topology = topology(&next);
    for slot in Slot::all().filter(|slot| topology.phase(*slot) == Some(Phase::Joint)) {
        assert!(!topology.is_replica(slot, slow));
    }
}

#[test]
fn a_dead_member_is_removed_unless_it_is_the_last_replica() {
    let mut world = World::new(4, 2, 3);
    let dead = world.view.members[2].id;
    let plan = plan::remove_dead(&world.view, dead).unwrap();
    assert_eq!(plan.view.numbers.of(dead), None);
    for holders in &mut world.holders {
        holders.remove(&MemberNumber(2));
    }
    world.begin(plan);
    world.finish();
    let alone = World::new(2, 1, 4);
    let refused = plan::remove_dead(&alone.view, alone.view.members[0].id);
    assert!(matches!(refused, Err(PlanError::LastReplica(..))), "{refused:?}");
}

#[test]
fn a_node_takes_the_place_of_another_one() {
    let mut world = World::new(3, 3, 5);
    let old = world.view.members[0].id;
    let plan = plan::replace(&world.view, old, member(9, 0)).unwrap();
    let copies = u32::from(SLOTS);
    assert_eq!(plan.summary, Summary { slots: SLOTS, copies, busiest: copies });
    assert_eq!(plan.view.epoch, world.view.epoch + 1);
    world.begin(plan);
    world.finish();
    assert_eq!(world.view.members.len(), 3);
}

#[test]
fn the_replication_factor_is_raised_and_lowered() {
    let mut world = World::new(5, 2, 6);
    for factor in [3, 1, 4] {
        world.begin(plan::set_replication_factor(&world.view, &factor.into()).unwrap());
        world.finish();
        assert!(spread(&world.load()) <= 1);
    }
}

#[test]
fn each_datacentre_may_have_a_factor_of_its_own() {
    let mut world = World::new(4, 2, 7);
    for id in [5, 6] {
        let member = Member { datacentre: "east".into(), ..member(id, id as usize) };
        world.begin(plan::join(&world.view, member).unwrap());
        world.finish();
    }
    for factor in ["dc:3,east:1", "dc:1,east:2", "dc:1,east:9,west:2"] {
        let factor = factor.parse().unwrap();
        world.begin(plan::set_replication_factor(&world.view, &factor).unwrap());
        world.finish();
    }
    let far = Member { datacentre: "north".into(), ..member(7, 7) };
    let refused = plan::join(&world.view, far.clone());
    assert_eq!(refused, Err(TopologyError::NoFactor("north".into()).into()));
    let without = plan::set_replication_factor(&world.view, &"dc:1".parse().unwrap());
    assert_eq!(without, Err(TopologyError::NoFactor("east".into()).into()));
    world.begin(plan::join(&world.view, Member { datacentre: "west".into(), ..far }).unwrap());
    world.finish();
}

#[test]
fn slots_follow_the_weights() {
    let mut world = World::new(4, 2, 9);
    let id = world.view.members[1].id;
    for (weight, share) in [(300, SLOTS), (50, SLOTS * 2 / 7), (0, 0), (100, SLOTS / 2)] {
        world.begin(plan::set_weight(&world.view, id, weight).unwrap());
        world.finish();
        let held = world.load()[1];
        assert!(held.abs_diff(usize::from(share)) <= 1, "{held} instead of {share} of {weight}");
    }
    assert_eq!(world.view.members.len(), 4);
    let stranger = NodeId(77);
    let refused = plan::set_weight(&world.view, stranger, 1);
    assert_eq!(refused, Err(PlanError::NotMember(stranger)));
    // A witness cannot be all that is left.
    let mut pair = World::new(2, 1, 10);
    let [one, other] = [0, 1].map(|at| pair.view.members[at].id);
    pair.begin(plan::set_weight(&pair.view, one, 0).unwrap());
    pair.finish();
    assert_eq!(plan::set_weight(&pair.view, other, 0), Err(PlanError::NoHolders));
    assert_eq!(plan::leave(&pair.view, other), Err(PlanError::NoHolders));
    pair.begin(plan::leave(&pair.view, one).unwrap());
    pair.finish();
    assert_eq!(pair.view.members.len(), 1);
}

/// A member of the ring, with a token of its own in its rack.
fn on_ring(id: u128, rack: usize, token: u32) -> Member {
    Member { tokens: alloc::vec![token], ..member(id, rack) }
}

#[test]
fn on_a_ring_slots_go_where_the_tokens_say() {
    let tokens = [0, 1_383_429_731, 3_530_913_378, 101_134_286];
    let mut view = founded(4, 2);
    view.partitioner = Partitioner::ring(HashKind::Murmur, None, &tokens).unwrap();
    for member in &mut view.members {
        let index: usize = member.name[1..].parse::<usize>().unwrap() - 1;
        (member.rack, member.tokens) = (format!("r{}", index / 2), alloc::vec![tokens[index]]);
    }
    let mut world = World::of(view, 8);
    let slots = |world: &World, id: u128| {
        let node = topology(&world.view).number_of(member(id, 0).id).unwrap();
        Slot::all().filter(|slot| topology(&world.view).is_replica(*slot, node)).count()
    };
    let before = slots(&world, 2);
    assert_eq!(slots(&world, 1) + before, usize::from(SLOTS));
    // It has taken the lower half of what the second one had, and nothing else.
    let ring = world.view.partitioner.as_ring().unwrap();
    let half = ring.end(ring.slot_of(1_383_429_731 / 2));
    let plan = plan::join(&world.view, on_ring(5, 0, half)).unwrap();
    let summary = plan.summary;
    world.begin(plan);
    world.finish();
    assert_eq!(
        (usize::from(summary.slots), before - slots(&world, 2)),
        (slots(&world, 5), slots(&world, 5))
    );
    // Another one takes its place, with its token: everything goes from the one to the other.
    let (moved, old) = (slots(&world, 5), member(5, 0).id);
    let same = on_ring(6, 0, half);
    let twice = plan::join(&world.view, same.clone());
    assert!(matches!(twice, Err(PlanError::Topology(TopologyError::Tokens(_)))), "{twice:?}");
    let plan = plan::replace(&world.view, old, same).unwrap();
    assert_eq!(usize::from(plan.summary.slots), moved);
    world.begin(plan);
    world.go_on(3);
    // Not even in the middle of it is there a way back that moves more.
    let back = plan::cancel(&world.view).unwrap();
    assert!(usize::from(back.summary.slots) <= moved);
    world.finish();
    assert_eq!(slots(&world, 6), moved);
    let plan = plan::leave(&world.view, member(6, 0).id).unwrap();
    world.begin(plan);
    world.finish();
    assert_eq!(slots(&world, 2), before);
    // A witness holds nothing. With its weight it would get back what its tokens say.
    let (second, last) = (member(2, 0).id, member(1, 0).id);
    world.begin(plan::set_weight(&world.view, second, 0).unwrap());
    world.finish();
    assert_eq!([slots(&world, 1), slots(&world, 2)], [usize::from(SLOTS), 0]);
    let back = plan::set_weight(&world.view, second, 100).unwrap();
    assert_eq!(usize::from(back.summary.slots), before);
    let heavy = plan::set_weight(&world.view, second, 200);
    assert!(matches!(heavy, Err(PlanError::Topology(TopologyError::Tokens(_)))), "{heavy:?}");
    // A witness cannot be all that is left.
    let mut few = world.view.clone();
    let others = few.members.iter_mut().filter(|member| member.id != last);
    others.for_each(|member| member.duties.weight = 0);
    assert_eq!(plan::set_weight(&few, last, 0), Err(PlanError::NoHolders));
    assert_eq!(plan::leave(&few, last), Err(PlanError::NoHolders));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn readers_always_have_the_data(
        members in 1..5_usize,
        factor in 1..4_u16,
        changes in prop::collection::vec((0..3_u8, 0..6_usize, any::<bool>()), 1..3),
        seed: u64,
    ) {
        let mut world = World::new(members, factor, seed);
        for (index, (kind, which, is_cancelled)) in changes.into_iter().enumerate() {
            let present = world.view.members[which % world.view.members.len()].id;
            let newcomer = member(100 + index as u128, which);
            let plan = match kind {
                0 => plan::join(&world.view, newcomer),
                1 => plan::leave(&world.view, present),
                _ => plan::replace(&world.view, present, newcomer),
            };
            let before = world.view.clone();
            match plan {
                Err(PlanError::LastMember(_)) => continue,
                plan => world.begin(plan.unwrap()),
            }
            if is_cancelled {
                world.go_on(which);
            }
            if is_cancelled && world.is_moving() {
                world.begin(plan::cancel(&world.view).unwrap());
                world.finish();
                prop_assert_eq!(&world.view.members, &before.members);
                let (was, is) = (topology(&before), topology(&world.view));
                prop_assert!(Slot::all().all(|slot| was.replicas(slot) == is.replicas(slot)));
            } else {
                world.finish();
            }
        }
    }
}

#[test]
fn a_member_that_dies_in_the_middle_of_a_change_can_be_given_up() {
    let mut world = World::new(4, 3, 6);
    world.begin(plan::join(&world.view, member(5, 5)).unwrap());
    world.go_on(6);
    assert!(world.is_moving());
    let dead = world.view.members[1].id;
    let number = world.view.numbers.of(dead).unwrap();
    let plan = plan::remove_dead(&world.view, dead).unwrap();
    assert_eq!((plan.view.numbers.of(dead), plan.view.members.len()), (None, 4));
    for holders in &mut world.holders {
        holders.remove(&number);
    }
    world.begin(plan);
    world.finish();
    assert!(spread(&world.load()) <= 1, "{:?}", world.load());
    // Who was to leave does so, unless nobody would be left.
    let mut world = World::new(3, 2, 7);
    world.begin(plan::leave(&world.view, world.view.members[0].id).unwrap());
    let plan = plan::remove_dead(&world.view, world.view.members[1].id).unwrap();
    assert_eq!(super::leaving(&plan.view), [MemberNumber(0)]);
    let mut world = World::new(2, 2, 8);
    world.begin(plan::leave(&world.view, world.view.members[0].id).unwrap());
    let plan = plan::remove_dead(&world.view, world.view.members[1].id).unwrap();
    assert_eq!(super::leaving(&plan.view), []);
}
