//! Members of a ring: they agree on where keys lie, and keep their tokens.

use alloc::{string::ToString, vec};

use quorate_proto::{Partitioner, hashkit::HashKind};

use super::{
    scenarios::{A_WHILE, add, formed as formed_of, refusals},
    simulation::{World, config},
    *,
};

/// Three nodes in three racks, with a token each, seeds of each other.
fn ring() -> Vec<Config> {
    let tokens: [u32; 3] = [0, 1_383_429_731, 3_530_913_378];
    let one = |index: usize| {
        let mut config = config(index, &[0, 1, 2]);
        config.partitioner = Partitioner::ring(HashKind::Murmur, None, &tokens).expect("few");
        config.member.tokens = vec![tokens[index]];
        config
    };
    (0..3).map(one).collect()
}

fn formed() -> World {
    formed_of(ring())
}

#[test]
fn a_ring_is_founded_with_the_tokens_of_its_members() {
    let world = formed();
    for node in &world.nodes {
        let tokens: Vec<&[u32]> =
            node.topology.members.iter().map(|member| &*member.tokens).collect();
        assert_eq!(tokens, [&[0][..], &[1_383_429_731], &[3_530_913_378]]);
        assert_eq!(node.topology.partitioner, ring()[0].partitioner);
    }
}

#[test]
fn another_partitioner_is_refused_with_both_named() {
    for change in [
        |config: &mut Config| {
            (config.partitioner, config.member.tokens) = (Partitioner::Slots, vec![]);
        },
        |config: &mut Config| {
            config.partitioner =
                Partitioner::ring(HashKind::Md5, None, &config.member.tokens).expect("few");
        },
    ] {
        let mut world = formed();
        let mut other = ring().remove(0);
        let place = config(3, &[0]).member;
        other.member = Member { tokens: vec![262_143], ..place };
        other.seeds = vec!["node-0:1".into()];
        change(&mut other);
        let index = add(&mut world, other);
        let told = refusals(&world, index);
        let ours = "the partitioner is ring, hash murmur, 3 ring tokens from 0 to 3530913378 here";
        assert!(told.iter().all(|text| text.starts_with(ours)), "{told:?}");
        assert_eq!(told.len(), 1);
    }
}

#[test]
fn two_members_of_a_rack_have_different_tokens() {
    let mut world = formed();
    let mut twin = ring().remove(0);
    let place = config(3, &[0]).member;
    twin.member = Member { rack: "r0".into(), tokens: vec![0], ..place };
    twin.seeds = vec!["node-0:1".into()];
    let index = add(&mut world, twin);
    let told = refusals(&world, index);
    assert!(told.iter().all(|text| text.contains("of one rack have the same tokens")), "{told:?}");
    assert_eq!(told.len(), 1);
}

#[test]
fn neither_the_ring_nor_the_tokens_change_once_they_are_sealed() {
    let mut world = formed();
    world.input(0, Membership::request_seal);
    world.run_for(A_WHILE);
    let start = |change: fn(&mut Config)| {
        let node = &world.nodes[1];
        let mut config = node.config.clone();
        change(&mut config);
        Membership::new(config, node.disk.clone(), Instant::ZERO, 1).map(|_| ())
    };
    assert_eq!(start(|_| {}), Ok(()));
    let text = |change| start(change).expect_err("refused").to_string();
    let slots = text(|config| {
        config.partitioner = Partitioner::Slots;
    });
    assert!(
        slots.starts_with("partitioner, hash, hash_tag and ring_tokens say slots, but the cluster")
    );
    let moved = text(|config| config.member.tokens = vec![0]);
    assert!(moved.starts_with("tokens say 0, but this node joined with 1383429731"), "{moved}");
    let inside = text(|config| config.member.tokens = vec![5]);
    assert!(inside.starts_with("tokens: token 5 of node \"n1\" is inside a slot"), "{inside}");
}
