//! Scripts: nodes without data, and what they may take for granted while some of their seeds are
//! missing.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use proptest::prelude::*;

use super::{
    rejoining_scenarios::{assert_whole, sealed_with_faults},
    scenarios::{A_WHILE, names},
    simulation::{Faults, World, config},
    *,
};

/// Longer than anybody could wait for.
const AN_HOUR: Duration = Duration::from_secs(3_600);

fn machine(world: &World, index: usize) -> &Membership {
    world.nodes[index].machine.as_ref().expect("up")
}

#[test]
fn a_node_that_meets_none_of_its_seeds_answers_for_nothing_and_never_seals() {
    let mut world = World::new(vec![config(0, &[1]), config(1, &[0])], 7);
    world.start(0);
    world.input(0, Membership::request_seal);
    world.run_for(AN_HOUR);
    assert!(!world.nodes[0].topology.sealed && !machine(&world, 0).is_founded(world.now));
    assert_eq!(machine(&world, 0).awaited(), ["node-1:1"]);
    world.start(1);
    world.run_for(A_WHILE);
    assert_eq!(names(&world, 0), ["n0", "n1"]);
    assert!(machine(&world, 0).is_founded(world.now));
    assert!(world.nodes[0].topology.sealed && world.nodes[1].topology.sealed);
}

#[test]
fn one_missing_seed_is_waited_for_until_the_node_is_started_without_it() {
    // Only one of them names the missing one: the other one founds nothing without it, either.
    let mut world = World::new(vec![config(0, &[1, 9]), config(1, &[0])], 7);
    world.start_all();
    (0..2).for_each(|index| world.input(index, Membership::request_seal));
    world.run_for(AN_HOUR);
    assert!(!world.nodes[0].topology.sealed && !world.nodes[1].topology.sealed);
    assert_eq!(machine(&world, 0).awaited(), ["node-9:1"]);
    assert_eq!(world.nodes[0].disk, None, "it has promised nothing");
    world.crash(0);
    world.nodes[0].config.seeds = vec!["node-1:1".into()];
    world.start(0);
    world.run_for(A_WHILE);
    assert!(world.nodes[0].topology.sealed && world.nodes[1].topology.sealed);
}

#[test]
fn the_own_address_among_the_seeds_is_not_waited_for() {
    let mut world = World::new(vec![config(0, &[0])], 7);
    world.start(0);
    assert!(machine(&world, 0).is_founded(world.now));
    world.input(0, Membership::request_seal);
    assert!(world.nodes[0].topology.sealed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// All stop, some lose everything, and those come up first, are written to, and wait.
    #[test]
    fn who_has_lost_everything_founds_nothing_while_others_are_down(
        seed in any::<u64>(),
        count in 2..=5_usize,
        left in 1..4_usize,
        lost in 0..30_u32,
    ) {
        let left = left.min(count - 1);
        let mut world = sealed_with_faults(seed, count, 0, 0);
        (0..count).for_each(|index| world.crash(index));
        (left..count).for_each(|index| world.wipe(index));
        (left..count).for_each(|index| world.start(index));
        world.faults = Faults { lost, doubled: 20, crash: 0, cut: 3 };
        for _ in 0..300 {
            let index = world.random.below(count as u32) as usize;
            world.input(index, Membership::request_seal);
            (0..3).for_each(|_| world.step());
        }
        world.run_for(A_WHILE * 20);
        for index in left..count {
            prop_assert!(!machine(&world, index).is_founded(world.now));
            prop_assert_eq!(&world.nodes[index].disk, &None);
            let awaited = machine(&world, index).awaited();
            let missing: Vec<_> = (0..left).map(|index| alloc::format!("node-{index}:1")).collect();
            prop_assert_eq!(awaited, missing);
        }
        world.faults = Faults::default();
        world.start_all();
        world.run_for(A_WHILE * 15);
        assert_whole(&world);
    }
}
