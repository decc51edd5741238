//! What a topology says, against what its view and the ring say.

use alloc::{format, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

fn member(index: usize, datacentre: usize, rack: usize) -> Member {
    Member {
        id: NodeId(0x1000 - index as u128),
        name: format!("n{index}"),
        datacentre: format!("dc{datacentre}"),
        rack: format!("r{rack}"),
        peer_address: format!("10.0.0.{index}:16379"),
        client_address: format!("10.0.0.{index}:6379"),
        cluster_address: format!("10.0.0.{index}:11379"),
        incarnation: Default::default(),
    }
}

fn view(members: Vec<Member>, replication_factor: u16) -> View {
    View { epoch: members.len() as u64, sealed: true, replication_factor, members }
}

fn three() -> View {
    view((0..3).map(|index| member(index, 0, index)).collect(), 3)
}

#[test]
fn members_are_indexed_by_id() {
    let view = three();
    let me = view.members[0].id;
    let topology = Topology::new(&view, me).unwrap();
    assert_eq!(topology.me(), MemberNumber(2), "the highest id of three");
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
            let Requirement { answers, counted } = topology.required(slot, level, node);
            (answers, counted)
        };
        assert_eq!(required(Level::One, me), (1, 0b11111));
        assert_eq!(required(Level::LocalQuorum, me), (2, 0b00111));
        assert_eq!(required(Level::LocalQuorum, far), (2, 0b11000));
        assert_eq!(required(Level::Quorum, me), (3, 0b11111));
        assert_eq!(required(Level::All, me), (5, 0b11111));
        let local = topology.required(slot, Level::LocalQuorum, me);
        assert!(local.is_met_by(0b00101) && !local.is_met_by(0b11001));
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

    let none = View { replication_factor: 0, ..good.clone() };
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
                    let required = topology.required(slot, level, topology.me());
                    let enough = required.counted.count_ones() >= u32::from(required.answers);
                    prop_assert!(required.answers >= 1 && enough);
                }
                // A majority of one place and a majority of all meet: LOCAL_QUORUM in each
                // datacentre is a majority there.
                let local = topology.required(slot, Level::LocalQuorum, topology.me());
                prop_assert!(u32::from(local.answers) * 2 > local.counted.count_ones());
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
