//! What gossip promises, in a simulated cluster, and that planted mistakes are noticed.

use alloc::{boxed::Box, vec, vec::Vec};

use core::time::Duration;

use proptest::prelude::*;
use quorate_proto::message::{self, Delta, Digest, GossipStep, Load, Place, Topic};

use super::{
    simulation::{EPOCH_MS, World, id, place},
    *,
};
use crate::limits::{GOSSIP_SILENCE_MAX, GOSSIP_VERSION_MAX};

/// A cluster in which everybody knows everybody.
fn settled(count: usize, seed: u64) -> World {
    let mut world = World::new(count, seed);
    world.run(15);
    for of in 0..count {
        assert_eq!(world.ignorant(id(of), "old"), 0);
    }
    world
}

/// Rounds until all that run know that `of` is called so.
fn rounds_until(world: &mut World, of: NodeId, name: &str) -> u32 {
    for round in 0..100 {
        if world.ignorant(of, name) == 0 {
            return round;
        }
        world.run(1);
    }
    panic!("{} nodes have not heard it", world.ignorant(of, name));
}

#[test]
fn a_thousand_nodes_agree_within_12_rounds() {
    for (count, seed) in [(1_000, 0), (300, 1), (300, 2), (300, 3)] {
        let mut world = World::new(count, seed);
        world.introduce();
        world.lost = 5;
        for dead in (7..count).step_by(20) {
            world.nodes.remove(&id(dead));
        }
        world.node(0).say(&place("new"), false);
        let rounds = rounds_until(&mut world, id(0), "new");
        assert!(rounds <= 12, "{rounds} rounds");
        let per_round = |bytes: usize| bytes / world.nodes.len() / rounds as usize;
        let (digests, others) = (per_round(world.digest_bytes), per_round(world.other_bytes));
        // Each node opens two exchanges and is asked for two, on average.
        assert!(digests <= 5 * count * record::DIGEST_BYTES, "{digests} bytes of digests");
        assert!(others <= 1_024, "{others} bytes besides digests");
        assert!(world.largest <= GOSSIP_PACKET_MAX);
    }
}

#[test]
fn traffic_besides_digests_does_not_grow_with_the_cluster() {
    let others = [10, 40, 160].map(|count| {
        let mut world = World::new(count, 4);
        world.introduce();
        world.run(3);
        world.other_bytes = 0;
        for round in 0..10_u64 {
            // As many nodes have news as before, however many there are.
            for number in 0..5 {
                world.node(number).say(&Load { hint_bytes: round, ..Load::default() }, false);
            }
            world.run(1);
        }
        world.other_bytes / count / 10
    });
    assert!(others[2] <= others[0] + others[0] / 4, "{others:?}");
}

#[test]
fn a_dead_node_is_found_out_and_a_slow_one_is_not() {
    for seed in 0..3 {
        let mut world = World::new(30, seed);
        (world.lost, world.delay) = (5, Duration::from_millis(400));
        world.run(60);
        assert_eq!(world.verdicts, [], "false suspicions");
        world.nodes.remove(&id(3));
        let died = world.now;
        world.run(15);
        let by: Vec<NodeId> = world.verdicts.iter().map(|(_, by, _)| *by).collect();
        assert!(world.verdicts.iter().all(|(_, _, of)| *of == id(3)), "{:?}", world.verdicts);
        assert_eq!(by.len(), 29, "everybody has found out");
        let last = world.verdicts.iter().map(|(at, ..)| at.since(died)).max();
        let most = GOSSIP_SILENCE_MAX + GOSSIP_INTERVAL * 2;
        assert!(last.is_some_and(|last| last < most), "{last:?}");
    }
}

/// Node 1 hears of node 0 only what others tell, and they are slow to.
fn one_way_cut(bug: Option<Bug>) -> usize {
    let mut world = World::new(6, 1);
    bug.into_iter().for_each(|bug| world.plant(bug));
    world.cut.insert((id(0), id(1)));
    world.run(40);
    // Nothing of what the node counts arrives any more; but it answers.
    world.node(0).round_at = Instant::NEVER;
    world.run(6);
    world.verdicts.len()
}

#[test]
fn who_answers_others_is_not_dead() {
    assert_eq!(one_way_cut(None), 0);
    assert!(one_way_cut(Some(Bug::NoQuestions)) > 0, "the planted mistake shows");
}

/// A node starts again while old news of it are on their way. How many believe those.
fn restart(bug: Option<Bug>) -> usize {
    let mut world = settled(8, 2);
    let old = world.node(1).nodes[&id(0)].delta(id(0), None, 4_096).expect("news").0;
    world.start(id(0), 8);
    world.node(0).say(&place("new"), true);
    world.run(10);
    assert_eq!(world.ignorant(id(0), "new"), 0);
    bug.into_iter().for_each(|bug| world.plant(bug));
    let (now, wall) = (world.now, world.wall());
    let gossip = message::Gossip { step: GossipStep::Close, digests: vec![], deltas: vec![old] };
    let message = Message::Gossip(Box::new(gossip));
    world.node(1).handle_message(now, wall, id(2), message);
    world.ignorant(id(0), "new")
}

#[test]
fn a_later_start_is_believed() {
    assert_eq!(restart(None), 0);
    assert!(restart(Some(Bug::OldGenerations)) > 0, "the planted mistake shows");
}

/// Node 1 gets the second half of what node 0 says, and exchanges with it afterwards. Whether it
/// knows both halves then.
fn gap(bug: Option<Bug>) -> bool {
    let mut world = World::new(2, 3);
    bug.into_iter().for_each(|bug| world.plant(bug));
    let load = Load { hint_bytes: 7, ..Load::default() };
    world.node(0).say(&load, false);
    let theirs = Digest {
        id: id(0),
        version: 1,
        ..world.node(0).nodes[&id(0)].digest(id(0)).expect("told")
    };
    let half = world.node(0).nodes[&id(0)].delta(id(0), Some(&theirs), 4_096).expect("news").0;
    let (now, wall) = (world.now, world.wall());
    let gossip = message::Gossip { step: GossipStep::Close, digests: vec![], deltas: vec![half] };
    world.node(1).handle_message(now, wall, id(0), Message::Gossip(Box::new(gossip)));
    world.run(5);
    let node = world.node(1);
    node.news::<Place>(id(0)).is_some() && node.news::<Load>(id(0)) == Some(load)
}

#[test]
fn what_is_known_has_no_gaps() {
    assert!(gap(None));
    assert!(!gap(Some(Bug::Gaps)), "the planted mistake shows");
}

/// A node is dead for long, and one who was away tells of it. Whether it is taken for alive.
fn ghost(bug: Option<Bug>) -> bool {
    let mut world = settled(4, 5);
    let old = world.node(1).nodes[&id(0)].delta(id(0), None, 4_096).expect("news").0;
    world.nodes.remove(&id(0));
    let rounds = GOSSIP_FORGOTTEN_AFTER.as_secs() / GOSSIP_INTERVAL.as_secs() + 20;
    world.run(rounds as u32);
    assert!(world.node(1).news::<Place>(id(0)).is_none(), "it is forgotten");
    assert!(world.node(1).nodes[&id(0)].digest(id(0)).is_none());
    bug.into_iter().for_each(|bug| world.plant(bug));
    let (now, wall) = (world.now, world.wall());
    let gossip = message::Gossip { step: GossipStep::Close, digests: vec![], deltas: vec![old] };
    world.node(1).handle_message(now, wall, id(2), Message::Gossip(Box::new(gossip)));
    let is_back = world.node(1).nodes[&id(0)].health == Health::Up;
    assert_eq!(world.node(1).news::<Place>(id(0)).is_some(), is_back);
    // It comes back itself, at another address.
    world.plant(Bug::NoQuestions);
    world.start(id(0), 4);
    world.node(0).say(&place("moved"), true);
    world.run(8);
    assert_eq!(world.ignorant(id(0), "moved"), 0);
    is_back
}

#[test]
fn the_dead_are_forgotten_until_they_come_back() {
    assert!(!ghost(None));
    assert!(ghost(Some(Bug::Ghosts)), "the planted mistake shows");
}

#[test]
fn two_halves_find_together_again() {
    let mut world = settled(10, 6);
    let halves = |a: usize, b: usize| (a < 5) != (b < 5);
    let pairs = (0..10).flat_map(|a| (0..10).map(move |b| (a, b)));
    world.cut = pairs.filter(|&(a, b)| halves(a, b)).map(|(a, b)| (id(a), id(b))).collect();
    world.run(30);
    assert_eq!(world.verdicts.len(), 2 * 5 * 5);
    world.node(0).say(&place("new"), true);
    world.cut.clear();
    world.run(12);
    assert_eq!(world.ignorant(id(0), "new"), 0);
    let down = |node: &Gossip| node.members().any(|(_, health, _)| health != Health::Up);
    assert!(!world.nodes.values().any(down));
}

#[test]
fn a_clock_that_went_back_does_not_silence_a_node() {
    let mut world = settled(5, 7);
    let mut node = Gossip::new(id(0), world.now, Wall(EPOCH_MS - 3_600_000), 9);
    node.set_members(world.now, (0..5).map(id));
    node.say(&place("new"), true);
    world.nodes.insert(id(0), node);
    world.run(10);
    assert_eq!(world.ignorant(id(0), "new"), 0);
}

#[test]
fn large_news_come_in_pieces() {
    let mut world = World::new(120, 8);
    let long = |number: usize| alloc::format!("{number:0250}");
    for number in 0..120 {
        let name = long(number);
        let place = Place {
            name: name.clone(),
            datacentre: name.clone(),
            rack: name.clone(),
            peer_address: name.clone(),
            client_address: name.clone(),
        };
        world.node(number).say(&place, false);
    }
    world.run(25);
    for of in 0..120 {
        assert_eq!(world.ignorant(id(of), &long(of)), 0, "{of}");
    }
    assert!(world.largest <= GOSSIP_PACKET_MAX, "{}", world.largest);
}

fn made_up() -> impl Strategy<Value = Message> {
    let number = prop_oneof![0..4_u64, Just(GOSSIP_VERSION_MAX), Just(u64::MAX), any::<u64>()];
    let generation = prop_oneof![number.clone(), EPOCH_MS..EPOCH_MS + 100_000];
    let ids = || (0..8_usize).prop_map(id);
    let digest = (ids(), generation.clone(), number.clone(), number.clone());
    let digest =
        digest.prop_map(|(id, generation, beat, version)| Digest { id, generation, beat, version });
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let entry = (0..5_u16, number.clone(), value).prop_map(|(topic, version, value)| Entry {
        topic,
        version,
        value: value.into(),
    });
    let delta =
        (ids(), generation, number.clone(), number.clone(), prop::collection::vec(entry, 0..4));
    let delta = delta.prop_map(|(id, generation, beat, since, entries)| Delta {
        id,
        generation,
        beat,
        since,
        entries,
    });
    let step = prop::sample::select(GossipStep::ALL.to_vec());
    let gossip = (step, prop::collection::vec(digest, 0..6), prop::collection::vec(delta, 0..6));
    let gossip = gossip.prop_map(|(step, digests, deltas)| {
        Message::Gossip(Box::new(message::Gossip { step, digests, deltas }))
    });
    let probe =
        (ids(), number.clone()).prop_map(|(target, number)| Message::Probe { target, number });
    prop_oneof![4 => gossip, 1 => probe, 1 => number.prop_map(|number| Message::ProbeAnswer { number })]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a member makes up, a stranger changes nothing, memory is bounded, and what honest
    /// nodes say of themselves is known everywhere some rounds later.
    #[test]
    fn made_up_messages_do_not_last(messages in prop::collection::vec((0..8_usize, made_up()), 1..40)) {
        let mut world = World::new(4, 10);
        world.run(6);
        let (now, wall) = (world.now, world.wall());
        for (from, message) in messages {
            let before = world.node(1).digests();
            world.node(1).handle_message(now, wall, id(from), message);
            if from >= 4 {
                prop_assert_eq!(world.node(1).digests(), before, "a stranger");
                prop_assert!(world.node(1).poll_output().is_none());
            }
            world.collect(id(1));
        }
        for number in 0..4 {
            world.node(number).say(&place("true"), true);
        }
        world.run(12);
        for of in 0..4 {
            prop_assert_eq!(world.ignorant(id(of), "true"), 0);
        }
        let topics = Topic::Load as usize + 5;
        prop_assert!(world.nodes.values().all(|node| node.nodes.len() == 4));
        prop_assert!(topics <= crate::limits::GOSSIP_TOPICS_MAX);
        prop_assert!(world.largest <= GOSSIP_PACKET_MAX);
    }
}
