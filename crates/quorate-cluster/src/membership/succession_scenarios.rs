//! Scripts: lists that are decided on once the first one is final.

use quorate_proto::message::{Member, View};

use super::{
    scenarios::{A_WHILE, add, is_fenced, names, sealed_three},
    simulation::{World, config},
    *,
};
use crate::movement::plan;

/// Hands a list to one node. Says what became of it.
fn adopt(world: &mut World, index: usize, view: &View) -> Result<Adoption, UnfitSuccessor> {
    let mut adopted = None;
    world.input(index, |membership, now| adopted = Some(membership.adopt(now, view)));
    adopted.expect("was asked")
}

fn present(world: &World, index: usize) -> View {
    world.nodes[index].machine.as_ref().expect("up").view()
}

fn id(index: usize) -> quorate_proto::NodeId {
    config(index, &[]).member.id
}

/// The list in which node 2 is about to leave.
fn leaving(world: &World) -> View {
    plan::leave(&present(world, 0), id(2)).expect("possible").view
}

#[test]
fn a_list_is_handed_on_and_written_down() {
    let mut world = sealed_three();
    let next = leaving(&world);
    assert_eq!(adopt(&mut world, 0, &next), Ok(Adoption::Adopted));
    assert_eq!(adopt(&mut world, 0, &next), Ok(Adoption::Known));
    world.run_for(A_WHILE);
    for index in 0..3 {
        let found = present(&world, index);
        assert_eq!((found.epoch, &found.ownership), (next.epoch, &next.ownership));
        assert_eq!(world.nodes[index].topology, found, "the shards are told");
        assert_eq!(world.nodes[index].disk.as_ref().map(|disk| &disk.view), Some(&found));
    }
}

#[test]
fn whoever_was_away_takes_the_newest_and_keeps_it() {
    let mut world = sealed_three();
    world.crash(1);
    let mut next = leaving(&world);
    for _ in 0..5 {
        adopt(&mut world, 0, &next).expect("fits");
        next.epoch += 1;
    }
    world.start(1);
    world.run_for(A_WHILE);
    assert_eq!(present(&world, 1).epoch, next.epoch - 1);
    world.crash(1);
    world.start(1);
    let (again, decided) = (present(&world, 1), present(&world, 0));
    assert_eq!((again.epoch, again.ownership), (decided.epoch, decided.ownership));
}

#[test]
fn an_older_list_changes_nothing() {
    let mut world = sealed_three();
    let (first, next) = (present(&world, 0), leaving(&world));
    adopt(&mut world, 0, &next).expect("fits");
    assert_eq!(adopt(&mut world, 0, &first), Ok(Adoption::Known));
    world.run_for(A_WHILE);
    assert!((0..3).all(|index| present(&world, index).epoch == next.epoch));
}

#[test]
fn a_member_that_has_left_stops_and_is_linked_no_more() {
    let mut world = sealed_three();
    let mut next = leaving(&world);
    next.epoch += 1;
    next.members.retain(|member| member.id != id(2));
    next.numbers.retire(id(2));
    let target =
        next.ownership.take().and_then(|ownership| ownership.movement).expect("moves").target;
    next.ownership =
        Some(quorate_proto::ownership::Ownership { owners: target, movement: None }.into());
    adopt(&mut world, 0, &next).expect("fits");
    world.run_for(A_WHILE);
    assert_eq!(names(&world, 1), ["n0", "n1"]);
    assert!(is_fenced(&world, 2), "{:?}", world.nodes[2].events);
    assert_eq!(
        adopt(&mut world, 0, &View { epoch: 99, ..View::default() }),
        Err(UnfitSuccessor::NotDecided(99))
    );
}

#[test]
fn a_newcomer_takes_the_list_that_it_is_in() {
    let mut world = sealed_three();
    let newcomer = config(3, &[0]);
    let joined = plan::join(&present(&world, 0), newcomer.member.clone()).expect("possible").view;
    adopt(&mut world, 0, &joined).expect("fits");
    world.run_for(A_WHILE);
    let index = add(&mut world, newcomer);
    world.run_for(A_WHILE);
    assert_eq!(present(&world, index).epoch, joined.epoch);
    assert_eq!(names(&world, 1), ["n0", "n1", "n2", "n3"]);
    assert!((0..4).all(|index| present(&world, index).ownership == joined.ownership));
}

#[test]
fn a_list_of_strangers_or_with_moved_members_is_refused() {
    let mut world = sealed_three();
    let before = present(&world, 0);
    let mut next = leaving(&world);
    next.members[1].rack = "elsewhere".into();
    let refused = Err(UnfitSuccessor::Relocated(next.members[1].id));
    assert_eq!(adopt(&mut world, 0, &next), refused);
    let strangers: Vec<Member> = (10..13).map(|index| config(index, &[]).member).collect();
    let numbers = Numbers::of_first(strangers.iter().map(|member| member.id)).expect("few");
    let other = View { epoch: 77, members: strangers, numbers, ..before.clone() };
    let hello = Hello {
        cluster: "test".into(),
        member: config(10, &[]).member,
        shard: 0,
        view: other,
        lineage: Vec::new(),
    };
    world.input(0, |membership, now| membership.handle_hello(now, LinkId(1_000_000), 0, &hello));
    world.run_for(A_WHILE);
    assert_eq!(present(&world, 0), before);
}
