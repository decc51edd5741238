//! Scripts: members that have lost everything, those that only seem to, and those that come back.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use proptest::prelude::*;

use super::{
    scenarios::{A_WHILE, add, formed, is_fenced, refusals, sealed_three},
    simulation::{Faults, World, config},
    *,
};

pub(super) fn is_member(world: &World, index: usize) -> bool {
    let node = &world.nodes[index];
    let machine = node.machine.as_ref().expect("up");
    machine.standing() == Standing::Sealed && machine.me() == NodeId(index as u128 + 1)
}

/// All are members under their old identities, know the same, and are linked.
pub(super) fn assert_whole(world: &World) {
    for (index, node) in world.nodes.iter().enumerate() {
        assert!(is_member(world, index), "node {index} is none: {:?}", node.events);
        assert_eq!(node.topology, world.nodes[0].topology);
        let machine = node.machine.as_ref().expect("up");
        let others = node.topology.members.iter().filter(|member| member.id != machine.me());
        others.for_each(|member| {
            let is_linked = machine.link_to(member.id).is_some();
            assert!(is_linked, "node {index} is not linked to {}: {:?}", member.name, node.events);
        });
    }
}

fn life(world: &World, index: usize) -> u16 {
    world.nodes[index].config.member.incarnation.life
}

#[test]
fn a_member_that_has_lost_everything_takes_its_seat_again() {
    let mut world = sealed_three();
    for round in 1..=3 {
        let before = world.nodes[2].config.member.incarnation;
        world.wipe(2);
        world.start(2);
        world.run_for(A_WHILE);
        assert_whole(&world);
        let now = world.nodes[2].config.member.incarnation;
        assert!(now.life == round && now.previous == before.start, "{now}");
        let disk = world.nodes[2].disk.as_ref().expect("persisted");
        assert!(disk.view.sealed && disk.view.members[2].incarnation == now);
        // What follows is an ordinary start.
        world.crash(2);
        world.start(2);
        world.run_for(A_WHILE);
        assert_eq!(life(&world, 2), round);
    }
}

#[test]
fn the_others_find_a_member_that_knows_nobody() {
    let mut world = sealed_three();
    world.wipe(0);
    assert!(world.nodes[0].config.seeds.is_empty());
    world.start(0);
    world.run_for(A_WHILE);
    assert_whole(&world);
}

#[test]
fn the_seat_waits_for_all_who_may_know_more_of_it() {
    let mut world = sealed_three();
    world.wipe(2);
    world.crash(1);
    world.nodes[2].config.seeds = vec!["node-0:1".into()];
    world.start(2);
    world.run_for(A_WHILE * 5);
    let machine = world.nodes[2].machine.as_ref().expect("up");
    assert!(machine.is_rejoining() && !machine.is_founded(world.now));
    assert_eq!(machine.awaited(), ["n1 (node-1:1)"]);
    world.start(1);
    world.run_for(A_WHILE);
    assert_whole(&world);
}

#[test]
fn two_of_three_that_have_lost_everything_come_back() {
    for order in [[1, 2], [2, 1]] {
        let mut world = sealed_three();
        world.nodes[2].config.seeds = vec!["node-0:1".into()];
        order.iter().for_each(|index| world.wipe(*index));
        order.iter().for_each(|index| world.start(*index));
        world.run_for(A_WHILE * 3);
        assert_whole(&world);
    }
}

#[test]
fn the_disk_of_one_that_was_counted_as_empty_stays_away() {
    let mut world = sealed_three();
    world.nodes[2].config.seeds = vec!["node-0:1".into()];
    let copy = world.copy(1);
    world.wipe(1);
    world.wipe(2);
    world.start_all();
    while !is_member(&world, 2) {
        world.step();
    }
    world.put_back(1, copy);
    world.start(1);
    world.run_for(A_WHILE);
    assert!(is_fenced(&world, 1));
}

#[test]
fn an_old_data_directory_is_fenced() {
    let mut world = sealed_three();
    let copy = world.copy(2);
    world.wipe(2);
    world.start(2);
    world.run_for(A_WHILE);
    world.put_back(2, copy);
    world.start(2);
    world.run_for(A_WHILE);
    assert!(is_fenced(&world, 2));
    assert!(world.nodes[0].machine.as_ref().expect("up").link_to(NodeId(3)).is_none());
    let reason =
        |event: &Event| matches!(event, Event::Refused { reason: Refusal::Fenced { .. }, .. });
    assert!(world.nodes[..2].iter().any(|node| node.events.iter().any(reason)));
    // Without it the node is taken back.
    world.wipe(2);
    world.start(2);
    world.run_for(A_WHILE);
    assert_whole(&world);
}

#[test]
fn a_copy_from_any_number_of_starts_ago_is_fenced() {
    for starts in 0..=3 {
        let mut world = sealed_three();
        let copy = world.copy(2);
        for _ in 0..starts {
            world.crash(2);
            world.start(2);
            world.run_for(A_WHILE);
        }
        world.put_back(2, copy);
        world.start(2);
        world.run_for(A_WHILE);
        // Nobody has met a start that is not in a copy of the present directory.
        assert_eq!(is_fenced(&world, 2), starts > 0, "{starts}: {:?}", world.nodes[2].events);
    }
}

#[test]
fn a_copy_that_only_some_can_tell_is_fenced_by_them() {
    let mut world = sealed_three();
    let copy = world.copy(2);
    world.crash(1);
    world.crash(2);
    world.start(2);
    world.run_for(A_WHILE);
    // Only node 0 has met the second start. The copy starts as the second one, too.
    world.crash(0);
    world.put_back(2, copy);
    world.start(1);
    world.start(2);
    world.run_for(A_WHILE);
    assert!(is_member(&world, 2) && !is_fenced(&world, 2));
    world.start(0);
    world.run_for(A_WHILE);
    assert!(is_fenced(&world, 2), "{:?}", world.nodes[2].events);
    assert!(world.nodes[2].machine.is_none() && !is_fenced(&world, 0) && !is_fenced(&world, 1));
}

#[test]
fn a_copy_beside_its_running_original_stops() {
    let mut world = sealed_three();
    let copy = world.copy(2);
    let mut elsewhere = config(2, &[]);
    elsewhere.member.peer_address = "node-9:1".into();
    let index = world.nodes.len();
    let mut other = World::new(vec![elsewhere], 1);
    world.nodes.append(&mut other.nodes);
    world.put_back(index, copy);
    world.nodes[index].config.member.peer_address = "node-9:1".into();
    world.start(index);
    assert!(!world.nodes[index].machine.as_ref().expect("up").is_founded(world.now));
    world.run_for(A_WHILE);
    assert!(is_fenced(&world, index), "{:?}", world.nodes[index].events);
    world.nodes.truncate(3);
    world.run_for(A_WHILE);
    assert_whole(&world);
}

#[test]
fn a_member_that_moves_waits_until_its_old_link_is_given_up() {
    let mut world = sealed_three();
    world.vanish(2);
    world.nodes[2].config.member.peer_address = "node-9:1".into();
    world.start(2);
    world.run_for(A_WHILE * 2);
    assert_whole(&world);
    assert_eq!(world.nodes[0].topology.members[2].peer_address, "node-9:1");
}

#[test]
fn a_seat_is_not_taken_from_the_living() {
    let mut world = sealed_three();
    let mut namesake = config(2, &[0]);
    namesake.member.id = NodeId(99);
    let index = add(&mut world, namesake);
    let told = refusals(&world, index);
    assert!(told.len() == 1 && told.iter().all(|text| text.contains("is alive")), "{told:?}");
    let reason =
        |event: &Event| matches!(event, Event::Refused { reason: Refusal::SeatTaken { .. }, .. });
    assert!(world.nodes.iter().any(|node| node.events.iter().any(reason)));
    world.crash(index);
    world.nodes.truncate(3);
    world.run_for(A_WHILE);
    assert_whole(&world);
    assert_eq!(life(&world, 2), 0);
}

#[test]
fn a_seat_belongs_to_its_address_and_place() {
    let mut world = sealed_three();
    world.crash(2);
    let mut elsewhere = config(2, &[0]);
    (elsewhere.member.id, elsewhere.member.peer_address) = (NodeId(99), "node-9:1".into());
    let index = add(&mut world, elsewhere);
    let told = refusals(&world, index);
    assert!(told.iter().all(|text| text.contains("belongs to a member at node-2:1")), "{told:?}");
    let mut moved = config(2, &[0]);
    (moved.member.id, moved.member.rack) = (NodeId(98), "r9".into());
    let index = add(&mut world, moved);
    assert!(refusals(&world, index).iter().all(|text| text.contains("rack \"r2\"")));
}

#[test]
fn a_link_that_stands_without_its_member_is_given_up() {
    let mut world = sealed_three();
    // Without power nobody closes anything.
    world.vanish(2);
    world.wipe_vanished(2);
    world.start(2);
    world.run_for(A_WHILE * 2);
    assert_whole(&world);
    assert_eq!(life(&world, 2), 1);
}

#[test]
fn a_node_alone_and_a_new_cluster_are_no_members_of_anything() {
    let world = formed(vec![config(0, &[]), config(1, &[0])]);
    for node in &world.nodes {
        let machine = node.machine.as_ref().expect("up");
        assert!(!machine.is_rejoining() && machine.is_founded(world.now));
        assert_eq!(life(&world, 0), 0);
    }
}

/// Nodes that know each other, with their list sealed, from when on things go wrong.
pub(super) fn sealed_with_faults(seed: u64, count: usize, crash: u32, lost: u32) -> World {
    let configs = (0..count).map(|index| config(index, &(0..count).collect::<Vec<_>>()));
    let mut world = World::new(configs.collect(), seed);
    world.start_all();
    world.input(0, Membership::request_seal);
    world.run_for(A_WHILE);
    world.faults = Faults { lost, doubled: 20, crash, cut: 3 };
    world
}

/// Members lose everything, one after the other and several at once, while messages get lost.
fn lose_and_come_back(seed: u64, count: usize, crash: u32, lost: u32) {
    let mut world = sealed_with_faults(seed, count, crash, lost);
    for _ in 0..600 {
        let index = world.random.below(count as u32) as usize;
        match world.random.below(60) {
            // Somebody must be left who knows what was.
            0 if index > 0 => world.wipe(index),
            1 => world.start(index),
            _ => world.step(),
        }
    }
    world.faults = Faults::default();
    world.start_all();
    world.run_for(A_WHILE * 15);
    assert_whole(&world);
    let fenced: BTreeSet<usize> = (0..count).filter(|index| is_fenced(&world, *index)).collect();
    assert!(fenced.is_empty(), "fenced: {fenced:?}");
}

/// A stale link made a member's new life pass for that of a newcomer that was gone; members that
/// had heard of different lives of each other waited for ever.
#[test]
fn several_that_have_lost_everything_agree_on_who_is_gone() {
    for (seed, count, crash, lost) in [
        (11_621_951_793_393_680_721, 4, 0, 29),
        (11_104_601_483_663_931_850, 5, 0, 26),
        (5_550_259_926_777_841_807, 4, 1, 2),
        (18_007_687_332_992_853_979, 5, 0, 23),
        (1_457_638_428_446_346_529, 4, 2, 1),
    ] {
        lose_and_come_back(seed, count, crash, lost);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// The world itself asserts that no start is used twice and that all writes come first.
    #[test]
    fn whatever_is_lost_everybody_comes_back(
        seed in any::<u64>(),
        count in 2..=5_usize,
        crash in 0..5_u32,
        lost in 0..30_u32,
    ) {
        lose_and_come_back(seed, count, crash, lost);
    }

    /// Data directories are copied, and put back, at any distance.
    #[test]
    fn a_copy_shares_no_start_with_anybody(
        seed in any::<u64>(),
        count in 2..=4_usize,
        crash in 0..5_u32,
        lost in 0..30_u32,
    ) {
        let mut world = sealed_with_faults(seed, count, crash, lost);
        let mut copies: Vec<_> = (0..count).map(|index| world.copy(index)).collect();
        for _ in 0..600 {
            let index = world.random.below(count as u32) as usize;
            match world.random.below(60) {
                0 => copies[index] = world.copy(index),
                // Somebody must be left who knows what was.
                1 if index > 0 => world.put_back(index, copies[index].clone()),
                2 => world.start(index),
                _ => world.step(),
            }
        }
        world.faults = Faults::default();
        // Who is fenced is started with an empty directory.
        for _ in 0..count {
            let fenced: Vec<usize> = (1..count).filter(|index| is_fenced(&world, *index)).collect();
            for index in fenced {
                world.wipe(index);
                world.nodes[index].events.clear();
            }
            world.start_all();
            world.run_for(A_WHILE * 15);
        }
        assert_whole(&world);
    }
}
