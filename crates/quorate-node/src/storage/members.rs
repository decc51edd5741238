//! Members that join and leave: what is kept of and for the others means what it meant.

use quorate_cluster::{
    anti_entropy::Digests as _, clocks, coordinator::Replica as _, handoff::Hints,
};
use quorate_proto::{
    Dot, MemberNumber, NodeId, Numbers, Origin,
    command::Call,
    message::{Member, Message, View},
    resp::Command,
};

use super::{
    rounds::{WALL_MS, storage_with},
    *,
};

/// The other one of two that hold everything.
const PEER: MemberNumber = MemberNumber(1);

/// Newcomers whose ids are before and behind those of the others.
const NEWCOMERS: [u128; 2] = [0, 1_000];

/// Writes of both nodes, hints of many slots for the peer, a dirty group and a floor.
fn with_everything() -> Storage {
    let mut storage = storage_with(0, 1 << 20, u64::MAX);
    let view = View { replication_factor: 4.into(), ..storage.topology.view() };
    let me = storage.topology.member(storage.topology.me()).id;
    storage.topology = Arc::new(Topology::new(&view, me).expect("a topology"));
    storage.knowledge.set_current(storage.topology.origins());
    let theirs = Origin::new(PEER.0, storage.topology.member(PEER).incarnation.start);
    for number in 0..50 {
        let key = format!("key{number}");
        let slot = Slot::of_key(key.as_bytes());
        let command = Command::from_args(&["SET", &key, "value"]);
        let executed =
            storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
        storage.hint(PEER, slot, executed.dot, &executed.effect);
        let dots = vec![Dot { origin: theirs, counter: 1 }];
        storage.merge_now(slot, dots, &executed.effect).expect("is merged");
    }
    storage.mark_dirty(PEER, [7].into_iter().collect());
    storage.store.raise_floor(9, WALL_MS - 1_000);
    storage.write().expect("is written");
    storage
}

/// What is kept of and for the node `id`, with members by their ids.
fn told(storage: &mut Storage, id: NodeId) -> Result<String, &'static str> {
    let topology = Arc::clone(&storage.topology);
    let issuer = |origin: Origin| {
        let member = topology.get(MemberNumber(origin.number()));
        let member = member.filter(|member| member.incarnation.start == origin.start());
        member.map(|member| (member.id, origin.start())).ok_or("an origin is nobody's")
    };
    let peer = topology.number_of(id).ok_or("it is no member")?;
    let own = issuer(storage.store.origin())?;
    let (group, from) = (0, Slot::all().next().unwrap_or_default());
    let question = Message::AskClocks { group, shards: 1, since: 0, from };
    let Some(Message::Clocks { slots, .. }) = clocks::answer(storage, peer, &question) else {
        return Err("no clocks");
    };
    let ranges = slots.iter().flat_map(|of_slot| &of_slot.ranges);
    let ranges = ranges.map(|range| Ok((issuer(range.origin)?, range.first, range.last)));
    let ranges = ranges.collect::<Result<Vec<_>, &'static str>>()?;
    let floors = [9, 10].map(|group| storage.floor_ms(group));
    storage.rewind(peer);
    let mut hints = Vec::new();
    for hint in Hints::read(storage, peer, usize::MAX) {
        let issuers = hint.dots.iter().map(|dot| issuer(dot.origin));
        let issuers = issuers.collect::<Result<Vec<_>, _>>()?;
        hints.push((hint.first, hint.last, hint.slot, issuers, hint.effect));
    }
    let dirty = storage.dirty_groups(peer);
    Ok(format!("{own:?} {ranges:?} {floors:?} {dirty:?} {hints:?}"))
}

/// The topology after another node has joined.
fn joined(before: &Topology, id: u128) -> Topology {
    let newcomer =
        Member { id: NodeId(id), name: format!("new{id}"), ..before.member(before.me()).clone() };
    before.with_member(newcomer).expect("there is room")
}

/// The same with every member at its position: a planted bug.
fn renumbered(before: &Topology, id: u128) -> Topology {
    let view = joined(before, id).view();
    let numbers = Numbers::of_first(view.members.iter().map(|member| member.id));
    let view = View { numbers: numbers.expect("numbers"), ..view };
    Topology::new(&view, before.member(before.me()).id).expect("a topology")
}

/// Lets the newcomers join, one after the other. Says what means something else then.
fn check(join: impl Fn(&Topology, u128) -> Topology) -> Result<(), String> {
    let mut storage = with_everything();
    let peer = storage.topology.member(PEER).id;
    let before = told(&mut storage, peer)?;
    for id in NEWCOMERS {
        let (topology, terms) = (join(&storage.topology, id), storage.hints.terms.clone());
        storage.adopt(Arc::new(topology), terms);
        let after = told(&mut storage, peer)?;
        if after != before {
            return Err(format!("{after} instead of {before}"));
        }
        let newcomer = storage.topology.number_of(NodeId(id)).expect("a member");
        let kept = storage.pending(newcomer) + u64::from(storage.dirty_groups(newcomer).len());
        if kept > 0 {
            return Err("something is kept for one that has just come".into());
        }
    }
    Ok(())
}

#[test]
fn what_is_kept_means_the_same_after_others_have_joined() {
    check(joined).expect("nothing has changed");
}

#[test]
fn a_position_taken_for_a_number_shows() {
    check(renumbered).expect_err("everybody has moved");
}

#[test]
fn nothing_is_kept_for_one_that_has_left() {
    let mut storage = with_everything();
    let peer = storage.topology.member(PEER).id;
    let terms = storage.hints.terms.clone();
    let left = storage.topology.without_member(peer).expect("it was one");
    storage.adopt(Arc::new(left), terms.clone());
    assert_eq!((storage.hint_bytes(), storage.pending(PEER)), (0, 0));
    // Should it come back, it is another member, and nothing waits for it.
    let again = joined(&storage.topology, peer.0);
    storage.adopt(Arc::new(again), terms);
    let number = storage.topology.number_of(peer).expect("a member");
    assert_eq!(number, MemberNumber(2));
    assert_eq!((storage.pending(number), storage.hint_bytes()), (0, 0));
}
