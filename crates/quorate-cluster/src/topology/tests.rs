//! What a topology says, against what its view and the ring say.

use alloc::{boxed::Box, format, vec, vec::Vec};

use proptest::prelude::*;
use quorate_proto::{
    ownership::{Movement, Runs},
    slot::SLOTS,
};

use super::*;
use crate::limits::MEMBERS_MAX;

fn member(index: usize, datacentre: usize, rack: usize) -> Member {
    Member {
        id: NodeId(0x1000 - index as u128),
        name: format!("n{index}"),
        datacentre: format!("dc{datacentre}"),
        rack: format!("r{rack}"),
        tokens: Vec::new(),
        peer_address: format!("10.0.0.{index}:16379"),
        client_address: format!("10.0.0.{index}:6379"),
        cluster_address: format!("10.0.0.{index}:11379"),
        incarnation: Default::default(),
        duties: Default::default(),
    }
}

fn view(members: Vec<Member>, replication_factor: u16) -> View {
    let numbers = Numbers::of_first(members.iter().map(|member| member.id)).unwrap();
    View {
        epoch: members.len() as u64,
        sealed: true,
        partitioner: Default::default(),
        replication_factor: replication_factor.into(),
        members,
        numbers,
        ownership: None,
    }
}

fn three() -> View {
    view((0..3).map(|index| member(index, 0, index)).collect(), 3)
}

#[test]
fn members_are_numbered_by_id() {
    let view = three();
    let me = view.members[0].id;
    let topology = Topology::new(&view, me).unwrap();
    assert_eq!(topology.me(), MemberNumber(2), "the highest id of the first three");
    assert_eq!(topology.member(topology.me()).name, "n0");
    assert_eq!((topology.len(), topology.epoch(), topology.sealed()), (3, 3, true));
    for node in topology.nodes() {
        assert_eq!(topology.number_of(topology.member(node).id), Some(node));
    }
    assert_eq!(topology.number_of(NodeId(5)), None);
    assert_eq!(topology.peers().collect::<Vec<_>>(), [MemberNumber(0), MemberNumber(1)]);
    assert_eq!(Topology::new(&topology.view(), me).unwrap().view(), topology.view());
}

#[test]
fn three_nodes_hold_everything_in_six_ranges() {
    let view = three();
    let topology = Topology::new(&view, view.members[0].id).unwrap();
    let ranges: Vec<SlotRange<'_>> = topology.ranges().collect();
    assert_eq!(ranges.len(), 6);
    assert_eq!(ranges[0].first.number(), 0);
    assert_eq!(ranges[5].last.number(), SLOTS - 1);
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].last.number() + 1, pair[1].first.number());
        assert_ne!(pair[0].replicas, pair[1].replicas);
    }
}

#[test]
fn levels_count_the_right_replicas() {
    // Three in the one datacentre, two in the other.
    let members = (0..5).map(|index| member(index, index / 3, index)).collect();
    let view = view(members, 3);
    let topology = Topology::new(&view, view.members[0].id).unwrap();
    let (me, far) = (topology.me(), topology.number_of(view.members[4].id).unwrap());
    assert!(topology.is_local(me) && !topology.is_local(far));
    assert_eq!(topology.datacentre_name(topology.datacentre(far)), "dc1");
    for slot in Slot::all().step_by(100) {
        let replicas = topology.replicas(slot);
        assert_eq!(replicas.len(), 5);
        assert!(replicas[..3].iter().all(|&node| topology.is_local(node)), "nearest first");
        let required = |level, node| {
            let required = topology.required_to_write(slot, level, node);
            assert_eq!(required, topology.required_to_read(slot, level, node));
            let mask =
                |counted: Positions| counted.iter().fold(0, |mask, position| mask | 1 << position);
            let votes = required.votes().iter().map(|it| (it.answers, mask(it.counted)));
            votes.collect::<Vec<(u8, u32)>>()
        };
        assert_eq!(required(Level::One, me), [(1, 0b11111)]);
        assert_eq!(required(Level::LocalOne, far), [(1, 0b11000)]);
        assert_eq!(required(Level::LocalQuorum, me), [(2, 0b00111)]);
        assert_eq!(required(Level::LocalQuorum, far), [(2, 0b11000)]);
        assert_eq!(required(Level::Quorum, me), [(3, 0b11111)]);
        assert_eq!(required(Level::EachQuorum, me), [(2, 0b00111), (2, 0b11000)]);
        assert_eq!(required(Level::All, me), [(5, 0b11111)]);
        let local = topology.required_to_read(slot, Level::LocalQuorum, me);
        let met_by = |answered: [usize; 3]| local.is_met_by(answered.into_iter().collect());
        assert!(met_by([0, 2, 2]) && !met_by([0, 3, 4]));
    }
}

#[test]
fn views_that_are_no_topologies_are_refused() {
    let good = three();
    let me = good.members[0].id;
    let refused = |view: &View| Topology::new(view, me).map(|_| ()).unwrap_err();

    let mut twice = good.clone();
    twice.members.push(good.members[1].clone());
    assert_eq!(refused(&twice), TopologyError::Twice(good.members[1].id));

    let none = View { replication_factor: 0.into(), ..good.clone() };
    assert_eq!(refused(&none), TopologyError::NoReplicas);

    let stranger = Topology::new(&good, NodeId(1)).map(|_| ()).unwrap_err();
    assert_eq!(stranger, TopologyError::NotMember(NodeId(1)));

    let spread: Vec<Member> = (0..65).map(|index| member(index, index, 0)).collect();
    assert_eq!(refused(&view(spread, 1)), TopologyError::TooManyReplicas(65));

    let crowd: Vec<Member> = (0..=MEMBERS_MAX).map(|index| member(index, 0, 0)).collect();
    assert_eq!(refused(&view(crowd, 1)), TopologyError::TooManyMembers(MEMBERS_MAX + 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn nodes_of_a_datacentre_agree_and_all_agree_on_the_sets(
        places in prop::collection::vec((0..3_usize, 0..3_usize), 1..9),
        factor in 1..4_u16,
    ) {
        let members: Vec<Member> =
            places.iter().enumerate().map(|(index, &(dc, rack))| member(index, dc, rack)).collect();
        let mut view = view(members, factor);
        let first = Topology::new(&view, view.members[0].id).unwrap();
        view.members.reverse();
        for other in view.members.clone() {
            let topology = Topology::new(&view, other.id).unwrap();
            let same_place = other.datacentre == first.member(first.me()).datacentre;
            for slot in Slot::all().step_by(97) {
                let (ours, theirs) = (first.replicas(slot), topology.replicas(slot));
                if same_place {
                    prop_assert_eq!(ours, theirs);
                }
                let mut sorted = [ours.to_vec(), theirs.to_vec()];
                sorted.iter_mut().for_each(|set| set.sort_unstable());
                prop_assert_eq!(&sorted[0], &sorted[1]);
                for node in topology.nodes() {
                    let position = topology.position(slot, node);
                    prop_assert_eq!(topology.is_replica(slot, node), position.is_some());
                    prop_assert!(position.is_none_or(|position| theirs[position] == node));
                }
                for level in Level::ALL {
                    let required = topology.required_to_read(slot, level, topology.me());
                    for Votes { answers, counted } in required.votes().iter().copied() {
                        prop_assert!(answers >= 1 && counted.len() >= usize::from(answers));
                    }
                }
                // A majority of one place and a majority of all meet: LOCAL_QUORUM in each
                // datacentre is a majority there.
                let local = topology.required_to_read(slot, Level::LocalQuorum, topology.me());
                let [Votes { answers, counted }] = *local.votes() else { unreachable!("one vote") };
                prop_assert!(usize::from(answers) * 2 > counted.len());
                // EACH_QUORUM contains the LOCAL_QUORUM of every datacentre.
                let each = topology.required_to_write(slot, Level::EachQuorum, topology.me());
                for node in topology.nodes() {
                    let there = topology.required_to_read(slot, Level::LocalQuorum, node);
                    prop_assert!(there.votes().iter().all(|votes| each.votes().contains(votes)));
                }
            }
        }
        prop_assert_eq!(vec![first.ranges().map(|r| r.last.index() - r.first.index() + 1).sum::<usize>()],
            vec![usize::from(SLOTS)]);
    }
}

#[test]
fn what_does_not_move_slots_needs_no_placement() {
    let before = view((0..3).map(|index| member(index, 0, index)).collect(), 2);
    let me = before.members[0].id;
    let topology = Topology::new(&before, me).unwrap();
    let mut started = before.clone();
    started.members[1].incarnation.start = quorate_proto::Start::from_random(7);
    started.members[2].peer_address = "elsewhere:1".into();
    let updated = topology.updated(&started).unwrap();
    assert_eq!(updated.view(), Topology::new(&started, me).unwrap().view());
    assert!(Slot::all().all(|slot| updated.replicas(slot) == topology.replicas(slot)));
    started.members[2].rack = "another".into();
    assert!(topology.updated(&started).is_none());
}

/// A newcomer with this id.
fn newcomer(id: u128) -> Member {
    Member { id: NodeId(id), name: format!("new{id:x}"), ..member(9, 0, 9) }
}

#[test]
fn numbers_stay_when_others_join_and_leave() {
    let view = three();
    let me = view.members[0].id;
    let first = Topology::new(&view, me).unwrap();
    let known: Vec<(NodeId, MemberNumber)> = first.numbers().iter().collect();
    // One whose id is before all others, and one whose id is behind them.
    let grown = first.with_member(newcomer(1)).unwrap().with_member(newcomer(0x9999)).unwrap();
    assert_eq!(grown.epoch(), first.epoch() + 2);
    for (id, number) in &known {
        assert_eq!(grown.number_of(*id), Some(*number));
        assert_eq!(grown.member(*number).id, *id);
    }
    assert_eq!(grown.number_of(NodeId(1)), Some(MemberNumber(3)));
    assert_eq!(grown.number_of(NodeId(0x9999)), Some(MemberNumber(4)));
    let (joined, left) = (vec![MemberNumber(3), MemberNumber(4)], vec![]);
    assert_eq!(grown.changes_since(&first), PeerChanges { left, joined });
    // The numbers of those who leave are nobody's.
    let left = grown.without_member(NodeId(1)).unwrap();
    let again = left.with_member(newcomer(1)).unwrap();
    assert!(again.numbers().is_former(MemberNumber(3)) && again.get(MemberNumber(3)).is_none());
    assert_eq!(again.number_of(NodeId(1)), Some(MemberNumber(5)));
    assert_eq!(again.nodes().map(|node| node.0).collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
    let (left, joined) = (vec![MemberNumber(3)], vec![MemberNumber(5)]);
    assert_eq!(again.changes_since(&grown), PeerChanges { left, joined });
    assert_eq!(Topology::new(&again.view(), me).unwrap().view(), again.view());
    assert_eq!(left_out(&again), TopologyError::NotMember(NodeId(77)));
}

fn left_out(topology: &Topology) -> TopologyError {
    topology.without_member(NodeId(77)).map(|_| ()).unwrap_err()
}

#[test]
fn placement_goes_by_ids_whatever_the_numbers_are() {
    let view = three();
    let me = view.members[0].id;
    let grown = Topology::new(&view, me).unwrap().with_member(newcomer(1)).unwrap();
    let renumbered = View {
        numbers: Numbers::of_first(grown.view().members.iter().map(|member| member.id)).unwrap(),
        ..grown.view()
    };
    let renumbered = Topology::new(&renumbered, me).unwrap();
    assert_ne!(renumbered.me(), grown.me(), "the positions of the others have moved");
    let ids = |topology: &Topology, slot| -> Vec<NodeId> {
        topology.replicas(slot).iter().map(|node| topology.member(*node).id).collect()
    };
    assert!(Slot::all().all(|slot| ids(&grown, slot) == ids(&renumbered, slot)));
}

#[test]
fn a_final_list_has_a_number_for_everybody_and_another_one_has_none() {
    let good = three();
    let me = good.members[0].id;
    let refused = |view: &View| Topology::new(view, me).map(|_| ()).unwrap_err();
    let missing = View { numbers: Numbers::default(), ..good.clone() };
    assert_eq!(refused(&missing), TopologyError::Numbers(3));
    let surplus = View { members: good.members[..2].to_vec(), ..good.clone() };
    assert_eq!(refused(&surplus), TopologyError::Numbers(2));
    let early = View { sealed: false, ..good.clone() };
    assert_eq!(refused(&early), TopologyError::Numbers(3));
    // While a list is not final, its members go by the numbers that sealing it would give.
    let forming = View { sealed: false, numbers: Numbers::default(), ..good.clone() };
    let forming = Topology::new(&forming, me).unwrap();
    assert_eq!(forming.numbers(), &good.numbers);
    assert_eq!(forming.updated(&good).unwrap().view(), Topology::new(&good, me).unwrap().view());
}

/// Four nodes of which the first three hold everything, and the last one is to take the place of
/// the first.
fn moving(phase: Phase) -> (View, [MemberNumber; 4]) {
    let mut view = view((0..4).map(|index| member(index, 0, index)).collect(), 3);
    let numbers =
        [0, 1, 2, 3].map(|index: usize| view.numbers.of(view.members[index].id).expect("a number"));
    let all = |owners: &[MemberNumber]| Runs::of_slots(|_| owners.to_vec());
    let movement = Some(Movement {
        target: all(&numbers[1..]),
        phases: Runs::of_slots(|_| phase),
        leaving: vec![numbers[0]],
    });
    view.ownership = Some(Box::new(Ownership { owners: all(&numbers[..3]), movement }));
    (view, numbers)
}

#[test]
fn the_owners_of_a_slot_that_moves_go_by_its_phase() {
    for (phase, replicas, readers) in [
        (Phase::Waiting, [0, 1, 2].as_slice(), 3),
        (Phase::Filling, &[0, 1, 2, 3], 3),
        (Phase::Joint, &[1, 2, 3, 0], 4),
        (Phase::Moved, &[1, 2, 3], 3),
    ] {
        let (view, numbers) = moving(phase);
        let topology = Topology::new(&view, view.members[0].id).unwrap();
        let slot = Slot::of_key(b"key");
        let expected: Vec<MemberNumber> = replicas.iter().map(|index| numbers[*index]).collect();
        assert_eq!(topology.replicas(slot), expected, "{phase:?}");
        assert_eq!(topology.readers(slot), &expected[..readers]);
        assert_eq!(topology.phase(slot), Some(phase));
        assert_eq!(topology.updated(&view).map(|same| same.view()), Some(topology.view()));
        let waiting = topology.updated(&moving(Phase::Waiting).0);
        assert_eq!(waiting.is_some(), phase == Phase::Waiting);
    }
}

#[test]
fn a_write_to_a_slot_that_moves_meets_its_level_among_old_and_new() {
    let (view, numbers) = moving(Phase::Filling);
    let topology = Topology::new(&view, view.members[1].id).unwrap();
    let slot = Slot::of_key(b"key");
    let at = |node: usize| topology.position(slot, numbers[node]).unwrap();
    let met = |required: Requirement, nodes: &[usize]| {
        required.is_met_by(nodes.iter().map(|node| at(*node)).collect())
    };
    let write = |level| topology.required_to_write(slot, level, topology.me());
    let read = |level| topology.required_to_read(slot, level, topology.me());
    for level in [Level::Quorum, Level::LocalQuorum] {
        assert!(met(write(level), &[1, 2]), "they are of both");
        assert!(!met(write(level), &[0, 1]), "too few of the new ones");
        assert!(!met(write(level), &[2, 3]), "too few of the old ones");
        assert!(met(write(level), &[0, 1, 3]));
        assert!(met(read(level), &[0, 1]) && !met(read(level), &[1, 3]));
    }
    assert!(!met(write(Level::All), &[0, 1, 2]) && met(write(Level::All), &[0, 1, 2, 3]));
    assert!(!met(write(Level::One), &[0]) && met(write(Level::One), &[0, 3]));
    assert!(write(Level::Quorum).lacks([at(0), at(1)].into_iter().collect(), at(3)));
    let (view, _) = moving(Phase::Joint);
    let topology = Topology::new(&view, view.members[1].id).unwrap();
    let at = |node: usize| topology.position(slot, numbers[node]).unwrap();
    let both = topology.required_to_read(slot, Level::Quorum, topology.me());
    assert!(!both.is_met_by([at(0), at(1)].into_iter().collect()));
    assert!(!both.is_met_by([at(2), at(3)].into_iter().collect()));
    assert!(both.is_met_by([at(0), at(1), at(3)].into_iter().collect()));
    assert!(topology.required_to_read(slot, Level::One, topology.me()).is_single());
}

#[test]
fn owners_that_are_no_members_are_refused() {
    let (mut view, _) = moving(Phase::Filling);
    let me = view.members[1].id;
    let refused = |view: &View| Topology::new(view, me).map(|_| ()).unwrap_err();
    let early = View { sealed: false, numbers: Numbers::default(), ..view.clone() };
    assert_eq!(refused(&early), TopologyError::EarlyOwners);
    let movement = view.ownership.as_mut().unwrap().movement.as_mut().unwrap();
    movement.target = Runs::of_slots(|_| vec![MemberNumber(9)]);
    assert_eq!(refused(&view), TopologyError::StrangeOwner(MemberNumber(9)));
}

#[test]
fn agreed_owners_are_those_of_founding_until_something_moves() {
    let founded = view((0..5).map(|index| member(index, index / 3, index)).collect(), 2);
    let owners = placed(&founded, &founded.numbers);
    let agreed =
        View { ownership: Some(Box::new(Ownership { owners, movement: None })), ..founded.clone() };
    for member in &founded.members {
        let [founded, agreed] =
            [&founded, &agreed].map(|view| Topology::new(view, member.id).unwrap());
        assert!(Slot::all().all(|slot| founded.has_same_owners(&agreed, slot)));
        assert_eq!(Slot::all().find(|slot| agreed.phase(*slot).is_some()), None);
    }
}
