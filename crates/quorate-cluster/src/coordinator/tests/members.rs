//! Members that join and leave while requests are under way.

use quorate_proto::ownership::{Ownership, SlotMap};

use super::*;
use crate::limits::STALE_EPOCH_PAUSE;

/// Of the newcomers of these tests: before and behind the ids of the others.
const FIRST: u128 = 1;
const LAST: u128 = 1_000;

impl Stage {
    fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.coordinator.topology)
    }

    fn adopt(&mut self, topology: Topology) {
        let topology = Arc::new(topology);
        self.coordinator.adopt(self.now, &mut self.replica, topology);
        self.settle();
    }

    /// A member with this id, of which every slot is to get a replica, joins and is up.
    fn join(&mut self, id: u128) -> u16 {
        let before = self.topology();
        let newcomer = Member {
            id: NodeId(id),
            name: alloc::format!("new{id}"),
            ..before.member(before.me()).clone()
        };
        self.adopt(before.with_member(newcomer).expect("grows"));
        let number = self.topology().number_of(NodeId(id)).expect("is a member");
        number.0
    }

    fn leave(&mut self, node: u16) {
        self.down(node);
        let before = self.topology();
        let id = before.member(MemberNumber(node)).id;
        self.adopt(before.without_member(id).expect("shrinks"));
    }

    fn up(&mut self, node: u16) {
        self.coordinator.handle_peer_up(MemberNumber(node), Fitness::default());
    }
}

impl Stage {
    /// A list in which these hold every slot, and nothing moves.
    fn give_to(&mut self, owners: &[u16]) {
        let before = self.topology();
        let owners: Vec<MemberNumber> = owners.iter().copied().map(MemberNumber).collect();
        let owners = SlotMap::of_slots(|_| owners.clone());
        let ownership = Some(Ownership { owners, movement: None }.into());
        let view = View { epoch: before.epoch() + 1, ownership, ..before.view() };
        self.adopt(Topology::new(&view, before.member(before.me()).id).expect("a topology"));
    }

    fn replicated(&self) -> Message {
        let (dots, outcome, effect) = (Vec::new(), None, "9".into());
        Message::Replicate { slot: self.slot, dots, outcome, effect }
    }

    fn question(&self) -> Message {
        let command = Command::from_args(&["GET", "k"]).frame().clone();
        Message::AskDigest { slot: self.slot, command }
    }

    fn cause(&mut self) -> Cause {
        match self.response() {
            Message::Rejected { cause, .. } => cause,
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn neighbouring_epochs_go_together_once_slots_have_moved() {
    let mut stage = Stage::three(0);
    stage.peer_asks(EPOCH - 1, stage.question());
    assert_eq!(stage.cause(), Cause::StaleEpoch, "a list that has grown");
    stage.peer_asks(EPOCH + 1, stage.question());
    assert_eq!(stage.response(), digest(5), "slots have moved");
    stage.give_to(&[0, 1, 2]);
    for epoch in [EPOCH, EPOCH + 1, EPOCH + 2] {
        let version = u128::from(stage.replica.version);
        stage.peer_asks(epoch, stage.question());
        assert_eq!(stage.response(), digest(version));
        stage.peer_asks(epoch, stage.replicated());
        assert_eq!(stage.response(), Message::Ack);
    }
    for epoch in [0, EPOCH - 1, EPOCH + 3, u64::MAX] {
        stage.peer_asks(epoch, stage.question());
        assert_eq!(stage.cause(), Cause::StaleEpoch);
    }
    assert_eq!(stage.replica.version, 9);
    let round = Message::CompareGroup { group: 0, digest: 1, scope: Scope::Alive };
    stage.peer_asks(EPOCH, round);
    assert_eq!(stage.cause(), Cause::StaleEpoch, "rounds prove something of an epoch");
}

#[test]
fn who_holds_a_slot_no_more_answers_for_it_no_more() {
    let mut stage = Stage::three(0);
    stage.give_to(&[1, 2]);
    for epoch in [EPOCH, EPOCH + 1] {
        stage.peer_asks(epoch, stage.replicated());
        assert_eq!(stage.response(), Message::Ack, "it lacks nothing");
        stage.peer_asks(epoch, stage.question());
        let of_this_epoch = epoch == stage.coordinator.topology.epoch();
        let cause = if of_this_epoch { Cause::NotReplica } else { Cause::StaleEpoch };
        assert_eq!(stage.cause(), cause, "who is behind asks others once it hears");
    }
    assert_eq!(stage.replica.version, 5, "and it takes nothing");
    // Whoever is ahead may count on it, and it does not know yet.
    stage.peer_asks(EPOCH + 2, stage.replicated());
    assert_eq!(stage.cause(), Cause::StaleEpoch);
    stage.peer_asks(EPOCH + 2, stage.question());
    assert_eq!(stage.cause(), Cause::StaleEpoch);
    stage.finished();
}

#[test]
fn an_effect_that_was_refused_for_its_epoch_is_sent_again() {
    let mut stage = Stage::three(0);
    let request = stage.set(Level::Quorum);
    for (_, correlation, _) in stage.sent() {
        stage.respond(correlation, rejected(Cause::StaleEpoch));
    }
    assert_eq!(stage.sent(), []);
    stage.pass(STALE_EPOCH_PAUSE);
    let again = stage.sent();
    assert_eq!(targets(&again), [1, 2]);
    stage.respond(again[0].1, Message::Ack);
    assert_eq!(stage.reply(), (request, "6".into()));
    stage.respond(again[1].1, rejected(Cause::StaleEpoch));
    stage.pass(Duration::from_millis(1_000));
    assert_eq!(stage.sent(), []);
    assert_eq!(stage.replica.hints, [(2, "6".into())], "at the deadline");
    stage.finished();
}

#[test]
fn a_forward_that_was_refused_for_its_epoch_is_sent_again() {
    for is_write in [true, false] {
        let mut stage = Stage::new(3, &["x", "x", "x", "x"]);
        let outside = Slot::all().find(|slot| !stage.topology().is_replica(*slot, MemberNumber(3)));
        stage.slot = outside.expect("a slot of the others");
        let request = if is_write { stage.set(Level::Quorum) } else { stage.get(Level::Quorum) };
        let first = stage.sent();
        stage.respond(first[0].1, rejected(Cause::StaleEpoch));
        assert_eq!(stage.sent(), []);
        stage.pass(STALE_EPOCH_PAUSE);
        let again = stage.sent();
        assert_eq!(targets(&again), targets(&first));
        stage.respond(again[0].1, Message::Reply("fine".into()));
        assert_eq!(stage.reply(), (request, "fine".into()));
        stage.finished();
    }
}

#[test]
fn a_read_that_was_refused_for_its_epoch_asks_others_or_once_more() {
    let mut stage = Stage::three(0);
    let request = stage.get(Level::Quorum);
    let first = stage.sent();
    stage.respond(first[0].1, rejected(Cause::StaleEpoch));
    let other = stage.sent();
    assert_ne!(targets(&other), targets(&first));
    stage.respond(other[0].1, rejected(Cause::StaleEpoch));
    assert_eq!(stage.sent(), [], "nobody is left");
    stage.pass(STALE_EPOCH_PAUSE);
    let again = stage.sent();
    assert_eq!(targets(&again).len(), 1);
    stage.respond(again[0].1, digest(5));
    assert_eq!(stage.reply(), (request, "5".into()));
    stage.finished();
}

#[test]
fn an_effect_under_way_reaches_those_that_have_joined() {
    for id in [FIRST, LAST] {
        let mut stage = Stage::new(0, &["x", "x"]);
        let request = stage.set(Level::Quorum);
        let early = stage.sent();
        assert_eq!(targets(&early), [1]);
        assert_eq!(stage.join(id), 2, "numbered behind the others");
        assert_eq!(stage.replica.hints, [(2, "6".into())], "it is down");
        let again = stage.sent();
        assert_eq!(targets(&again), [1]);
        // What answers the first question may be about another replica now.
        stage.respond(early[0].1, Message::Ack);
        assert_eq!(stage.coordinator.in_flight(), 1);
        stage.respond(again[0].1, Message::Ack);
        assert_eq!(stage.reply(), (request, "6".into()));
        stage.finished();
    }
}

#[test]
fn what_was_acknowledged_counts_among_the_replicas_of_now() {
    for id in [FIRST, LAST] {
        let mut stage = Stage::three(0);
        let request = stage.set(Level::All);
        let early = stage.sent();
        assert_eq!(targets(&early), [1, 2]);
        stage.respond(early[0].1, Message::Ack);
        let joined = stage.join(id);
        if stage.topology().is_replica(stage.slot, MemberNumber(joined)) {
            // It is down, and stands in the place of one that was asked.
            let (answered, reply) = stage.reply();
            assert_eq!(answered, request);
            assert!(reply.contains("2 of 3 replicas took the write (took it: "), "{reply}");
        } else {
            let again = stage.sent();
            assert_eq!(targets(&again), [2], "not the one that has it");
            stage.respond(again[0].1, Message::Ack);
            assert_eq!(stage.reply(), (request, "6".into()));
        }
        stage.finished();
    }
}

#[test]
fn the_own_vote_counts_once_the_log_is_synced() {
    let mut stage = Stage::new(0, &["x", "x"]);
    stage.replica.durable_at = Some(9);
    let request = stage.set(Level::Quorum);
    stage.sent();
    stage.join(LAST);
    let again = stage.sent();
    stage.respond(again[0].1, Message::Ack);
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.coordinator.handle_durable(9);
    assert_eq!(stage.reply(), (request, "6".into()));
    stage.finished();
}

#[test]
fn a_read_under_way_begins_again() {
    for id in [FIRST, LAST] {
        let mut stage = Stage::new(0, &["x", "x"]);
        let request = stage.get(Level::Quorum);
        let early = stage.sent();
        let joined = stage.join(id);
        let again = stage.sent();
        assert_eq!(targets(&again), [1]);
        stage.respond(early[0].1, digest(7));
        assert_eq!(stage.coordinator.poll_output(), None, "it is not asked any more");
        stage.respond(again[0].1, digest(5));
        assert_eq!(stage.reply(), (request, "5".into()));
        stage.up(joined);
        stage.finished();
    }
}

#[test]
fn writes_behind_one_that_reads_keep_their_order() {
    let mut stage = Stage::new(0, &["x", "x"]);
    stage.increment("first");
    stage.increment("second");
    stage.sent();
    stage.join(FIRST);
    let asked = stage.sent();
    assert_eq!(targets(&asked), [1], "the first one reads, the second one waits");
    stage.respond(asked[0].1, digest(5));
    let asked = stage.sent();
    let question = asked.iter().find(|(.., message)| matches!(message, Message::AskDigest { .. }));
    stage.respond(question.expect("the second one reads now").1, digest(6));
    assert_eq!(stage.replica.executed, ["first", "second"]);
}

#[test]
fn one_that_leaves_is_not_waited_for() {
    let mut stage = Stage::new(0, &["x", "x"]);
    let joined = stage.join(FIRST);
    stage.up(joined);
    let request = stage.set(Level::All);
    let sent = stage.sent();
    assert_eq!(targets(&sent).len(), 2);
    stage.leave(1);
    let again = stage.sent();
    assert_eq!(targets(&again), [joined]);
    stage.respond(again[0].1, Message::Ack);
    assert_eq!(stage.reply(), (request, "6".into()), "all there are");
    stage.finished();
}

#[test]
fn a_member_that_has_left_still_answers_what_was_forwarded_to_it() {
    for answers in [true, false] {
        let mut stage = Stage::new(3, &["x", "x", "x", "x"]);
        let request = stage.increment("once");
        let sent = stage.sent();
        assert_eq!(targets(&sent), [0]);
        let gone = MemberNumber(0);
        stage.coordinator.handle_peer_left(stage.now, &mut stage.replica, gone);
        let before = stage.topology();
        let id = before.member(gone).id;
        stage.adopt(before.without_member(id).expect("shrinks"));
        assert!(stage.coordinator.awaits(gone));
        if answers {
            stage.respond(sent[0].1, Message::Reply(Bytes::from_static(b"+OK\r\n")));
            assert_eq!(stage.reply(), (request, "+OK".into()));
        } else {
            stage.coordinator.handle_parted(stage.now, &mut stage.replica, gone);
            assert!(matches!(&stage.sent()[0].2, Message::AskOutcome { .. }));
            stage.pass(crate::limits::OUTCOME_PATIENCE);
            assert!(stage.reply().1.starts_with("-UNKNOWN"));
        }
        assert!(!stage.coordinator.awaits(gone));
    }
}
