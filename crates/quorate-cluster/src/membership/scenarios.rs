//! Scripts: who may join, who is refused with which words, and what restarts may change.

use alloc::{collections::BTreeSet, string::ToString, vec, vec::Vec};
use core::time::Duration;

use quorate_proto::message::{RefusalCode, Refused};

use super::{
    simulation::{World, config},
    *,
};
use crate::topology::Topology;

pub(super) const A_WHILE: Duration = Duration::from_secs(3);

pub(super) fn formed(configs: Vec<Config>) -> World {
    let mut world = World::new(configs, 7);
    world.start_all();
    world.run_for(A_WHILE);
    world
}

pub(super) fn three() -> Vec<Config> {
    vec![config(0, &[]), config(1, &[0]), config(2, &[1])]
}

pub(super) fn sealed_three() -> World {
    let mut world = formed(three());
    world.input(2, Membership::request_seal);
    world.run_for(A_WHILE);
    assert!(
        world.nodes.iter().all(|node| node.topology.sealed && node.topology.members.len() == 3)
    );
    world
}

/// Adds a node and lets it try.
pub(super) fn add(world: &mut World, config: Config) -> usize {
    let mut other = World::new(vec![config], 1);
    world.nodes.append(&mut other.nodes);
    let index = world.nodes.len() - 1;
    world.start(index);
    world.run_for(A_WHILE);
    index
}

pub(super) fn refusals(world: &World, index: usize) -> BTreeSet<String> {
    let told = |event: &Event| match event {
        Event::RefusedBy { text, .. } => Some(text.clone()),
        _ => None,
    };
    world.nodes[index].events.iter().filter_map(told).collect()
}

pub(super) fn is_fenced(world: &World, index: usize) -> bool {
    world.nodes[index].events.iter().any(|event| matches!(event, Event::Fenced { .. }))
}

pub(super) fn names(world: &World, index: usize) -> Vec<&str> {
    world.nodes[index].topology.members.iter().map(|member| member.name.as_str()).collect()
}

#[test]
fn a_chain_of_seeds_forms_one_list() {
    let world = formed(three());
    for node in &world.nodes {
        assert_eq!(node.topology.members.len(), 3);
        assert_eq!(node.topology.epoch, 3);
        assert!(!node.topology.sealed);
        assert_eq!(node.disk, None, "forming leaves nothing behind");
    }
}

#[test]
fn a_node_at_work_says_so_to_all_that_are_linked() {
    let mut world = sealed_three();
    world.input(1, |membership, _| membership.tell_of_work());
    world.run_for(A_WHILE);
    let me = world.nodes[1].config.member.id;
    let told: Vec<&[NodeId]> = world.nodes.iter().map(|node| node.at_work.as_slice()).collect();
    assert_eq!(told, [&[me][..], &[], &[me]]);
    assert_eq!(world.nodes[0].topology.members.len(), 3, "no link is closed for it");
}

#[test]
fn a_lone_node_seals_at_once() {
    let mut world = formed(vec![config(0, &[])]);
    world.input(0, Membership::request_seal);
    assert!(world.nodes[0].topology.sealed);
    assert_eq!(world.nodes[0].topology.epoch, 1);
}

#[test]
fn a_node_that_joins_with_the_seal_requested_is_in_or_refused_for_now() {
    // Node 2 is down: nodes 0 and 1 promise a list with it and wait, and say so to node 3.
    let mut world = formed(three());
    world.crash(2);
    world.input(0, Membership::request_seal);
    world.run_for(A_WHILE);
    let machine = world.nodes[0].machine.as_ref().expect("up");
    assert_eq!(machine.awaited(), ["n2 (node-2:1)"]);
    let late = add(&mut world, config(3, &[0]));
    assert_eq!(
        refusals(&world, late),
        BTreeSet::from(["try again: the member list is being sealed with 3 nodes".to_string()])
    );
    world.start(2);
    world.run_for(A_WHILE);
    assert!(world.nodes[..3].iter().all(|node| node.topology.sealed));
}

#[test]
fn the_others_finish_what_a_dead_initiator_began() {
    let mut world = formed(three());
    world.input(0, Membership::request_seal);
    while world.nodes[1..].iter().any(|node| node.disk.is_none()) {
        world.step();
    }
    world.crash(0);
    world.start(0);
    world.run_for(A_WHILE);
    assert!(world.nodes.iter().all(|node| node.topology.sealed));
}

#[test]
fn a_late_join_is_refused_with_what_to_do() {
    let mut world = sealed_three();
    let late = add(&mut world, config(3, &[1]));
    assert_eq!(
        refusals(&world, late),
        BTreeSet::from([
            "the cluster already holds data with 3 nodes; a node that is to join it is started with \
             join: true, and taken in on a member: quorate join"
                .to_string()
        ])
    );
    world.input(late, Membership::request_seal);
    world.run_for(A_WHILE * 6);
    assert!(!world.nodes[late].topology.sealed, "nor does it become a cluster of its own");
}

#[test]
fn another_clusters_node_is_refused_from_either_side() {
    let mut world = sealed_three();
    let mut other = config(5, &[]);
    other.seeds.clear();
    let index = add(&mut world, other);
    world.input(index, Membership::request_seal);
    world.crash(index);
    world.nodes[index].config.seeds = vec!["node-0:1".into()];
    world.start(index);
    world.run_for(A_WHILE);
    assert_eq!(
        refusals(&world, index),
        BTreeSet::from([
            "this node belongs to another cluster (sealed with nodes n0, n1, n2)".to_string()
        ])
    );
}

#[test]
fn settings_that_must_agree_are_named_with_both_values() {
    let mut world = formed(three());
    let mut name = config(3, &[0]);
    name.cluster = "production".into();
    let index = add(&mut world, name);
    assert_eq!(
        refusals(&world, index),
        BTreeSet::from(["this node belongs to the cluster \"test\", not to \"production\"; \
             check the cluster name"
            .to_string()])
    );
    let mut factor = config(4, &[0]);
    factor.replication_factor = 2.into();
    let index = add(&mut world, factor);
    assert_eq!(
        refusals(&world, index),
        BTreeSet::from([
            "the replication factor is 3 here and 2 there; it must be the same on all nodes"
                .to_string()
        ])
    );
    assert_eq!(names(&world, 0), ["n0", "n1", "n2"]);
}

#[test]
fn identities_and_names_are_taken_once() {
    let mut world = formed(three());
    let mut copy = config(1, &[0]);
    copy.member.name = "n9".into();
    copy.member.peer_address = "node-9:1".into();
    let index = add(&mut world, copy);
    assert!(is_fenced(&world, index), "{:?}", world.nodes[index].events);

    let mut namesake = config(4, &[0]);
    namesake.member.name = "n1".into();
    let index = add(&mut world, namesake);
    let told = refusals(&world, index);
    assert!(told.iter().all(|text| text.starts_with("the name \"n1\" is taken")), "{told:?}");
    assert_eq!(told.len(), 1);
    assert_eq!(names(&world, 0), ["n0", "n1", "n2"]);
}

#[test]
fn sealed_members_come_back_at_other_addresses() {
    let mut world = sealed_three();
    // Two of three move at once: they find each other again through the third.
    for index in [0, 2] {
        world.crash(index);
        let member = &mut world.nodes[index].config.member;
        member.peer_address = alloc::format!("moved-{index}:1");
    }
    world.start_all();
    world.run_for(Duration::from_secs(15));
    for node in &world.nodes {
        let addresses: Vec<&str> =
            node.topology.members.iter().map(|member| member.peer_address.as_str()).collect();
        assert_eq!(addresses, ["moved-0:1", "node-1:1", "moved-2:1"]);
        assert_eq!((node.topology.epoch, node.topology.sealed), (3, true));
        let machine = node.machine.as_ref().expect("up");
        let others = machine.members.keys().filter(|id| **id != machine.me());
        assert!(others.into_iter().all(|id| machine.link_to(*id).is_some()));
    }
}

#[test]
fn a_link_to_a_silent_member_is_dialled_anew() {
    let mut world = sealed_three();
    let link_before = world.nodes[0].machine.as_ref().expect("up").link_to(NodeId(2));
    world.input(0, |machine, now| machine.handle_silent(now, NodeId(2)));
    assert_eq!(world.nodes[0].machine.as_ref().expect("up").link_to(NodeId(2)), None);
    world.run_for(A_WHILE);
    let link = world.nodes[0].machine.as_ref().expect("up").link_to(NodeId(2));
    assert!(link.is_some() && link != link_before);
}

#[test]
fn a_settled_cluster_falls_silent() {
    let world = sealed_three();
    for node in &world.nodes {
        assert_eq!(node.machine.as_ref().expect("up").poll_timeout(), None);
    }
}

#[test]
fn what_was_sealed_cannot_be_set_differently() {
    let world = sealed_three();
    let start = |change: fn(&mut Config)| {
        let node = &world.nodes[1];
        let mut config = node.config.clone();
        change(&mut config);
        Membership::new(config, node.disk.clone(), Instant::ZERO, 1).map(|_| ())
    };
    let text = |change| start(change).expect_err("refused").to_string();
    assert_eq!(start(|_| {}), Ok(()));
    assert_eq!(start(|config| config.member.client_address = "x:1".into()), Ok(()));
    assert_eq!(
        text(|config| config.member.rack = "r7".into()),
        "rack is set to \"r7\", but this node belongs to \"r1\"; \
         that cannot change once the cluster holds data"
    );
    assert!(text(|config| config.member.datacentre = "west".into()).starts_with("dc is set to"));
    assert!(text(|config| config.cluster = "other".into()).contains("the cluster \"test\""));
    assert!(text(|config| config.member.id = NodeId(77)).contains("is not a member of"));
    assert_eq!(
        text(|config| config.replication_factor = 5.into()),
        "the replication factor is set to 5, but the cluster was formed with 3; \
         that cannot change once the cluster holds data"
    );
    assert!(text(|config| config.member.name.clear()).starts_with("name is \"\"; allowed: 1 to"));
    let zero = text(|config| config.replication_factor = 0.into());
    assert_eq!(zero, "rf is \"0\"; allowed: at least 1");
    assert_eq!(
        text(|config| config.replication_factor = "elsewhere:3".parse().unwrap()),
        "rf is \"elsewhere:3\"; allowed: at least 1 for each datacentre, dc too"
    );
}

#[test]
fn data_links_are_for_members_of_the_same_list() {
    let world = sealed_three();
    let view = &world.nodes[0].topology;
    let topology = Topology::new(view, NodeId(1)).expect("a topology");
    let hello = |member: &Member, view: &View| Hello {
        cluster: "test".into(),
        member: member.clone(),
        shard: 3,
        view: view.clone(),
        lineage: Vec::new(),
    };
    let fellow = hello(&view.members[1], view);
    assert_eq!(check_data_link("test", &topology, &fellow), Ok(()));
    assert!(matches!(
        check_data_link("prod", &topology, &fellow),
        Err(Refusal::ClusterName { .. })
    ));
    let mut elsewhere = view.clone();
    elsewhere.members.truncate(2);
    let stranger = hello(&view.members[1], &elsewhere);
    let refusal = check_data_link("test", &topology, &stranger).expect_err("refused");
    assert_eq!(
        refusal.to_string(),
        "this node belongs to another cluster (sealed with nodes n0, n1, n2)"
    );
    elsewhere.sealed = false;
    let early = hello(&view.members[1], &elsewhere);
    let refusal = check_data_link("test", &topology, &early).expect_err("refused");
    assert!(refusal.code().passes());
}

#[test]
fn strangers_and_nonsense_on_a_link_are_shut_out() {
    let mut machine = Membership::new(config(0, &[]), None, Instant::ZERO, 1).expect("starts");
    while machine.poll_output().is_some() {}
    // A request before any introduction.
    let link = LinkId(9);
    machine.handle_request(Instant::ZERO, link, 1, Message::Members(Box::default()));
    assert_eq!(machine.poll_output(), Some(Output::CloseIncoming { link }));
    // A list that names a member twice.
    let member = config(1, &[]).member;
    let view = View {
        epoch: 2,
        sealed: false,
        replication_factor: 3.into(),
        members: vec![member.clone(), member.clone()],
        ..View::default()
    };
    let hello = Hello { cluster: "test".into(), member, shard: 0, view, lineage: Vec::new() };
    machine.handle_hello(Instant::ZERO, link, 1, &hello);
    let Some(Output::Respond { message: Message::Refused(refused), .. }) = machine.poll_output()
    else {
        panic!("refused");
    };
    let Refused { code, text } = refused;
    assert_eq!(code, RefusalCode::Final);
    assert!(text.starts_with("conflicting member lists"), "{text}");
    // A message that is not for the membership.
    let hello = Hello { view: View { members: Vec::new(), ..hello.view }, ..hello };
    machine.handle_hello(Instant::ZERO, link, 1, &hello);
    while machine.poll_output().is_some() {}
    machine.handle_request(Instant::ZERO, link, 2, Message::Ack);
    assert_eq!(machine.poll_output(), Some(Output::CloseIncoming { link }));
}
