//! Scripts: operators change the list of a cluster, and its voters decide.

use alloc::collections::BTreeMap;

use quorate_proto::{Groups, MemberNumber, message::View, register::Voter};

use super::{
    scenarios::{A_WHILE, add, is_fenced, names, sealed_three},
    simulation::{Faults, World, config},
    *,
};
use crate::{
    movement::{Report, advance},
    peer_map::PeerMap,
    register::version,
};

fn order(world: &mut World, index: usize, ticket: u64, order: Order) {
    world.input(index, |membership, now| membership.handle_order(now, ticket, order, false));
}

/// What has come of an order.
fn outcome(world: &World, index: usize, ticket: u64) -> Option<Result<Carried, OrderError>> {
    let carried = &world.nodes[index].carried;
    carried.iter().find(|(found, _)| *found == ticket).map(|(_, result)| result.clone())
}

/// Gives an order, and lets it be carried out.
fn carried(world: &mut World, index: usize, wanted: Order) -> Result<Carried, OrderError> {
    let ticket = 1_000 + world.nodes[index].carried.len() as u64;
    order(world, index, ticket, wanted);
    world.run_for(A_WHILE * 4);
    outcome(world, index, ticket).expect("is answered")
}

fn view(world: &World, index: usize) -> View {
    world.nodes[index].machine.as_ref().expect("is up").view()
}

fn voters(world: &World, index: usize) -> Vec<Voter> {
    world.nodes[index].machine.as_ref().expect("is up").decision().expect("knows it").1
}

/// Whoever is to go on does, as if everything that moves was filled at once.
fn go_on(world: &mut World) {
    for index in 0..world.nodes.len() {
        world.input(index, |membership, now| {
            if !membership.is_driver() {
                return;
            }
            let view = membership.view();
            let numbers: Vec<MemberNumber> = view.numbers.iter().map(|(_, it)| it).collect();
            let level: PeerMap<Groups> = numbers.iter().map(|it| (*it, Groups::ALL)).collect();
            let report = |number: &MemberNumber| {
                (*number, Report { epoch: view.epoch, level: level.clone() })
            };
            let reports: PeerMap<Report> = numbers.iter().map(report).collect();
            membership.go_on(now, advance(&view, &reports, |_| true, 64));
        });
        world.run_for(A_WHILE);
    }
}

fn finish(world: &mut World) {
    for _ in 0..12 {
        go_on(world);
    }
}

fn candidate(index: usize) -> Config {
    Config { joins: true, ..config(index, &[0]) }
}

#[test]
fn a_node_waits_is_taken_in_and_has_its_number_for_ever() {
    let mut world = sealed_three();
    let index = add(&mut world, candidate(3));
    assert!(!world.nodes[index].topology.sealed);
    assert!(world.nodes[index].machine.as_ref().is_some_and(Membership::is_candidate));
    let refused = carried(&mut world, 0, Order::Join("n9".into()));
    assert_eq!(refused, Err(OrderError::NoCandidate("n9".into())));
    assert_eq!(view(&world, 0).epoch, 3, "nothing has changed");
    let joined = carried(&mut world, 0, Order::Join("n3".into())).expect("is possible");
    assert!(joined.changes && joined.epoch == 4 && joined.summary.slots > 0);
    for index in 0..4 {
        assert_eq!(names(&world, index), ["n0", "n1", "n2", "n3"]);
        assert_eq!(view(&world, index).epoch, 4);
    }
    let again = carried(&mut world, 3, Order::Join("n3".into())).expect("may be repeated");
    assert!(!again.changes);
    finish(&mut world);
    let end = view(&world, 3);
    assert!(end.ownership.as_ref().is_some_and(|it| it.movement.is_none()), "has ended");
    carried(&mut world, 1, Order::Leave("n3".into())).expect("is possible");
    finish(&mut world);
    assert!(is_fenced(&world, 3), "{:?}", world.nodes[3].events);
    assert_eq!(names(&world, 0), ["n0", "n1", "n2"]);
    let later = add(&mut world, candidate(5));
    carried(&mut world, 0, Order::Join("n5".into())).expect("is possible");
    assert_eq!(view(&world, later).numbers.of(config(5, &[]).member.id), Some(MemberNumber(4)));
}

#[test]
fn a_voter_that_leaves_has_no_vote_before_it_is_no_member() {
    let mut world = sealed_three();
    carried(&mut world, 2, Order::Leave("n0".into())).expect("is possible");
    finish(&mut world);
    assert!(is_fenced(&world, 0));
    let left = config(0, &[]).member.id;
    assert!(voters(&world, 1).iter().all(|voter| voter.member != left), "{:?}", voters(&world, 1));
    carried(&mut world, 1, Order::SetReplicationFactor(1.into()))
        .expect("the others decide without it");
}

#[test]
fn without_a_majority_nothing_is_decided_until_somebody_says_that_it_is_lost() {
    let mut world = sealed_three();
    let overruled = carried(&mut world, 2, Order::Override);
    assert_eq!(overruled, Err(OrderError::HasMajority));
    world.crash(0);
    world.crash(1);
    let refused = carried(&mut world, 2, Order::SetReplicationFactor(2.into()));
    assert_eq!(refused, Err(OrderError::Unreachable("n0, n1".into())));
    assert_eq!(view(&world, 2).epoch, 3);
    let overruled = carried(&mut world, 2, Order::Override).expect("nobody else is up");
    assert_eq!(version::generation(overruled.epoch), 1);
    carried(&mut world, 2, Order::SetReplicationFactor(2.into())).expect("it decides alone");
    let decided = view(&world, 2);
    // Those that were lost come back, and go by what was decided.
    world.start(0);
    world.start(1);
    world.run_for(A_WHILE * 2);
    assert!((0..3).all(|index| view(&world, index).epoch == decided.epoch));
    assert!((0..3).all(|index| view(&world, index).replication_factor == 2.into()));
}

#[test]
fn a_member_that_has_lost_everything_has_no_vote_until_it_is_given_one() {
    let mut world = sealed_three();
    let seat = config(1, &[]).member.id;
    world.wipe(1);
    world.start(1);
    world.run_for(A_WHILE * 4);
    let life = |world: &World| {
        let voters = voters(world, 0);
        voters.iter().filter(|voter| voter.member == seat).map(|voter| voter.life).max()
    };
    assert_eq!(life(&world), Some(0));
    world.crash(2);
    let refused = carried(&mut world, 0, Order::SetReplicationFactor(2.into()));
    assert_eq!(refused, Err(OrderError::Unreachable("n2".into())), "its old vote does not count");
    world.start(2);
    finish(&mut world);
    assert_eq!(life(&world), Some(1));
    world.crash(2);
    carried(&mut world, 0, Order::SetReplicationFactor(2.into())).expect("its new one does");
}

#[test]
fn a_member_that_has_lost_everything_need_not_know_how_many_replicas_were_decided() {
    let mut world = sealed_three();
    let seat = config(1, &[]).member.id;
    carried(&mut world, 0, Order::SetReplicationFactor(2.into())).expect("is possible");
    finish(&mut world);
    world.wipe(1);
    world.start(1);
    // What it heard first is not the newest list by the time it has its seat.
    carried(&mut world, 0, Order::Pause).expect("is possible");
    world.run_for(A_WHILE * 4);
    let taken = view(&world, 1);
    assert_eq!((taken.replication_factor, taken.epoch), (2.into(), view(&world, 0).epoch));
    let own = taken.members.iter().find(|member| member.id == seat).expect("is a member again");
    assert_eq!(own.incarnation.life, 1);
}

#[test]
fn a_trial_changes_nothing_and_a_stop_goes_on_only_when_it_is_told_to() {
    let mut world = sealed_three();
    let leave = Order::Leave("n2".into());
    world.input(0, |membership, now| membership.handle_order(now, 1, leave.clone(), true));
    world.run_for(A_WHILE);
    let trial = outcome(&world, 0, 1).expect("is answered").expect("is possible");
    assert_eq!((trial.epoch, view(&world, 0).epoch), (4, 3));
    carried(&mut world, 0, leave).expect("is possible");
    carried(&mut world, 1, Order::Pause).expect("is possible");
    let paused = view(&world, 0);
    finish(&mut world);
    let phases = |view: &View| view.ownership.clone();
    assert_eq!(phases(&view(&world, 0)), phases(&paused), "voters change, slots stay");
    carried(&mut world, 1, Order::Cancel).expect("is possible");
    finish(&mut world);
    assert_eq!(names(&world, 0), ["n0", "n1", "n2"]);
    let settled = view(&world, 2).ownership;
    assert!(settled.is_some_and(|it| it.movement.is_none()), "the way back has ended");
}

#[test]
fn of_two_orders_at_once_one_is_carried_out() {
    let mut world = sealed_three();
    order(&mut world, 0, 1, Order::Leave("n1".into()));
    order(&mut world, 2, 1, Order::SetReplicationFactor(2.into()));
    world.run_for(A_WHILE * 4);
    let results = [0, 2].map(|index| outcome(&world, index, 1).expect("is answered"));
    let done = results.iter().flatten().filter(|carried| carried.changes).count();
    assert_eq!(done, 1, "{results:?}");
    assert!((0..3).all(|index| view(&world, index).epoch == 4));
}

/// Lists that any node goes by, by epoch: there is one for each.
#[derive(Default)]
struct Decided(BTreeMap<u64, View>);

impl Decided {
    fn note(&mut self, world: &World) {
        for node in &world.nodes {
            let Some(disk) = &node.disk else { continue };
            let mut view = disk.view.clone();
            for member in &mut view.members {
                // What a member says of itself is not decided on.
                member.incarnation = Default::default();
            }
            let first = self.0.entry(view.epoch).or_insert_with(|| view.clone());
            assert_eq!(*first, view, "two lists of epoch {}", view.epoch);
        }
    }
}

#[test]
fn each_epoch_has_one_list_whatever_is_lost() {
    let mut changes = 0;
    for seed in 0..30 {
        let mut world = sealed_three();
        world.random = Random::new(seed);
        world.faults = Faults { lost: 5, doubled: 5, crash: 1, cut: 1 };
        let mut decided = Decided::default();
        let mut ticket = 0;
        for _ in 0..60 {
            ticket += 1;
            let index = world.random.below(3) as usize;
            let wanted = match world.random.below(4) {
                0 => Order::Pause,
                1 => Order::Resume,
                2 => Order::Rebalance,
                _ => Order::SetReplicationFactor((1 + world.random.below(3) as u16).into()),
            };
            order(&mut world, index, ticket, wanted);
            for _ in 0..100 {
                world.step();
                decided.note(&world);
            }
        }
        world.faults = Faults::default();
        world.start_all();
        finish(&mut world);
        decided.note(&world);
        let last = carried(&mut world, 0, Order::SetReplicationFactor(3.into()));
        assert!(last.is_ok() || matches!(last, Err(OrderError::Plan(_))), "seed {seed}: {last:?}");
        changes += decided.0.len() - 1;
    }
    assert!(changes > 120, "{changes} changes in all");
}
