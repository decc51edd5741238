//! Writes, forwarding, and what peers ask for.

use alloc::format;
use core::time::Duration;

use quorate_proto::{
    command::{Batch, Entry},
    message::Forward,
};

use super::*;

#[test]
fn a_write_is_answered_at_its_level_and_ends_when_all_have_it() {
    let mut stage = Stage::three(0);
    let id = stage.set(Level::Quorum);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1, 2]);
    stage.respond(sent[1].1, Message::Ack);
    assert_eq!(stage.reply(), (id, "6".into()));
    assert_eq!(stage.coordinator.in_flight(), 1);
    stage.respond(sent[0].1, Message::Ack);
    stage.finished();
    // Answers that come twice change nothing.
    stage.respond(sent[0].1, Message::Ack);
    stage.finished();
}

#[test]
fn whoever_does_not_take_an_effect_gets_a_hint() {
    let mut stage = Stage::three(0);
    stage.down(2);
    stage.set(Level::One);
    assert_eq!(stage.replica.hints, [(2, "6".into())]);
    let send = stage.coordinator.poll_output();
    assert!(matches!(send, Some(Output::Send { to: MemberNumber(1), .. })));
    assert_eq!(stage.reply().1, "6");
    stage.down(1);
    assert_eq!(stage.replica.hints.len(), 2);
    stage.finished();

    let mut stage = Stage::three(0);
    stage.set(Level::Quorum);
    let sent = stage.sent();
    stage.respond(sent[0].1, rejected(Cause::StoreFull));
    assert_eq!(stage.replica.hints, [(1, "6".into())]);
    stage.respond(sent[1].1, Message::Ack);
    stage.reply();
    stage.finished();
}

#[test]
fn a_level_that_cannot_be_met_does_nothing() {
    let mut stage = Stage::three(0);
    stage.down(1);
    stage.down(2);
    let id = stage.set(Level::Quorum);
    let slot = stage.slot.number();
    let text = format!(
        "-UNAVAILABLE level QUORUM of slot {slot} needs 2 replicas, 1 is alive \
         (alive: a; down: b, c); nothing was done"
    );
    assert_eq!(stage.reply(), (id, text));
    assert!(stage.replica.executed.is_empty() && stage.replica.hints.is_empty());
    stage.finished();
    stage.get(Level::All);
    assert!(stage.reply().1.contains("level ALL"));
    stage.finished();
}

#[test]
fn what_a_full_replica_refuses_the_next_one_executes() {
    let mut stage = Stage::three(0);
    stage.replica.full = true;
    let id = stage.set(Level::Quorum);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1]);
    // That one is full as well, and so is the last one: now it is known that nothing was done.
    stage.respond(sent[0].1, rejected(Cause::StoreFull));
    let sent = stage.sent();
    assert_eq!(targets(&sent), [2]);
    stage.respond(sent[0].1, rejected(Cause::StoreFull));
    assert_eq!(stage.reply(), (id, "-MISCONF c refused: no; nothing was done".into()));
    stage.finished();
}

#[test]
fn a_refusal_moves_a_forwarded_write_to_the_next_replica_here_too() {
    let mut stage = Stage::three(1);
    let id = stage.set(Level::One);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [0]);
    stage.respond(sent[0].1, rejected(Cause::ClockInDoubt));
    let Some(Output::Send { to: MemberNumber(0), message: Message::Replicate { .. }, .. }) =
        stage.coordinator.poll_output()
    else {
        panic!("it is executed here and replicated")
    };
    stage.coordinator.poll_output();
    assert_eq!(stage.reply(), (id, "6".into()));

    // Too much may wait there, and not at the next one.
    let id = stage.set(Level::One);
    let sent = stage.sent();
    stage.respond(sent[0].1, rejected(Cause::Overloaded));
    for replica in [0, 2] {
        let output = stage.coordinator.poll_output();
        let Some(Output::Send { to, message: Message::Replicate { .. }, .. }) = output else {
            panic!("it is executed here and replicated: {output:?}")
        };
        assert_eq!(to, MemberNumber(replica));
    }
    assert_eq!(stage.reply(), (id, "7".into()));

    // One that was refused for another reason ends.
    let id = stage.set(Level::One);
    let sent = stage.sent();
    stage.respond(sent[0].1, rejected(Cause::NotReplica));
    assert_eq!(stage.reply(), (id, "-UNAVAILABLE a refused: no; nothing was done".into()));
}

/// A read that follows writes of its connection.
fn following(stage: &mut Stage) -> Request {
    let mut request = stage.make_request(&["GET", "k"], Level::Quorum);
    let entries = [Entry::Call(request.call)];
    let batch = Batch::of(&[], &entries, &Default::default()).expect("one slot").in_order();
    request.call = batch.finish().expect("has keys").moved_to(stage.slot);
    request
}

#[test]
fn what_follows_writes_that_went_to_another_executor_waits_for_them() {
    let mut stage = Stage::three(1);
    stage.set(Level::Quorum);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [0]);
    stage.unfit(0, Unfit::ReadOnly, true);
    for _ in 0..2 {
        let request = following(&mut stage);
        stage.coordinator.handle_request(stage.now, &mut stage.replica, request);
    }
    assert_eq!(stage.sent(), [], "executed here they would overtake it");
    stage.respond(sent[0].1, Message::Reply(Bytes::from_static(b"+OK\r\n")));
    assert_eq!(stage.reply().1, "+OK");
    assert!(matches!(&stage.sent()[..], [(_, _, Message::AskDigest { .. }), ..]));

    // Not for ever.
    stage.unfit(0, Unfit::ReadOnly, false);
    let request = following(&mut stage);
    let id = request.id;
    stage.coordinator.handle_request(stage.now, &mut stage.replica, request);
    assert_eq!(stage.sent(), []);
    stage.pass(Duration::from_secs(2));
    let mut replies = core::iter::from_fn(|| stage.coordinator.poll_output());
    let is_told = |output: Output| match output {
        Output::Reply { request, reply } => {
            request == id && reply.starts_with(b"-UNAVAILABLE the write waited too long")
        }
        _ => false,
    };
    assert!(replies.any(is_told));
}

#[test]
fn what_follows_a_refused_write_is_refused_for_the_same_reason() {
    let mut stage = Stage::three(0);
    let request = following(&mut stage);
    stage.coordinator.note_refusal(stage.now, request.call.slot(), Cause::StoreFull);
    stage.coordinator.handle_request(stage.now, &mut stage.replica, request);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1], "it goes where the write before it has gone");
    assert!(matches!(sent[0].2, Message::Forward(_)));
}

#[test]
fn writes_that_a_full_replica_refuses_keep_their_order() {
    let mut stage = Stage::three(0);
    stage.increment("first");
    stage.increment("second");
    let asked = stage.sent();
    stage.replica.full = true;
    stage.respond(asked[0].1, digest(5));
    let forwarded: Vec<Bytes> = stage
        .sent()
        .into_iter()
        .filter_map(|(_, _, message)| match message {
            Message::Forward(forward) => Some(forward.command),
            _ => None,
        })
        .collect();
    let expected = ["first", "second"].map(|name| Command::from_args(["APPEND", "k", name]));
    assert_eq!(forwarded, expected.map(|command| command.frame().clone()));
}

#[test]
fn a_replica_that_takes_no_writes_executes_none_as_long_as_another_can() {
    let mut stage = Stage::three(1);
    stage.unfit(0, Unfit::ReadOnly, true);
    stage.set(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [0, 2], "executed here");
    stage.unfit(1, Unfit::ReadOnly, true);
    stage.set(Level::One);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [2]);
    assert!(matches!(sent[0].2, Message::Forward(_)));
    // Reads go to the one that keeps up, too.
    stage.get(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [2]);
    // What too few could take is not begun.
    let mut stage = Stage::three(2);
    for node in [0, 1] {
        stage.unfit(node, Unfit::ReadOnly, true);
    }
    stage.set(Level::Quorum);
    let slot = stage.slot.number();
    let text = format!(
        "-UNAVAILABLE level QUORUM of slot {slot} needs 2 replicas, 1 is alive \
         (alive: c; down: none; left out: a, b); nothing was done"
    );
    assert_eq!(stage.reply().1, text);
    assert!(stage.replica.executed.is_empty());
    stage.unfit(0, Unfit::ReadOnly, false);
    stage.set(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [0]);
}

#[test]
fn who_was_drained_executes_only_where_nobody_else_can_and_answers_reads() {
    let mut stage = Stage::three(0);
    stage.unfit(0, Unfit::Drained, true);
    stage.set(Level::Quorum);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1]);
    assert!(matches!(sent[0].2, Message::Forward(_)));
    // It reads what it holds.
    let asked = stage.get(Level::One);
    assert_eq!(stage.reply().0, asked);
    // It takes the effects of others, and counts.
    let mut stage = Stage::three(1);
    stage.unfit(0, Unfit::Drained, true);
    stage.set(Level::All);
    assert_eq!(targets(&stage.sent()), [0, 2], "executed here, though the other comes first");
    stage.unfit(1, Unfit::Drained, true);
    stage.unfit(2, Unfit::Drained, true);
    stage.set(Level::One);
    assert!(matches!(stage.sent()[0].2, Message::Forward(_)), "all alike: the first");
}

#[test]
fn where_nobody_in_the_datacentre_holds_the_slot_the_level_counts_all() {
    // Node d is in a datacentre of its own, and holds nothing.
    let mut stage = Stage::new(3, &["x", "x", "x", "w"]);
    stage.make_witness(3);
    stage.set(Level::LocalQuorum);
    let sent = stage.sent();
    assert_eq!(targets(&sent).len(), 1);
    let Message::Forward(forward) = &sent[0].2 else { panic!("forwarded") };
    assert_eq!((forward.write_level, forward.read_level), (Level::Quorum, Level::Quorum));
    stage.get(Level::LocalOne);
    let Message::Forward(forward) = &stage.sent()[0].2 else { panic!("forwarded") };
    assert_eq!(forward.read_level, Level::One);
}

#[test]
fn what_a_peer_sends_to_a_full_replica_it_gets_back() {
    let mut stage = Stage::three(0);
    stage.replica.full = true;
    let command = Command::from_args(["SET", "k", "v"]);
    let forward = Message::Forward(Forward {
        slot: stage.slot,
        read_level: Level::One,
        write_level: Level::One,
        resp3: false,
        budget_ms: 100,
        id: ID,
        command: command.frame().clone(),
    });
    stage.peer_asks(EPOCH, forward.clone());
    let text = "the disk is full".into();
    assert_eq!(stage.response(), Message::Rejected { cause: Cause::StoreFull, text });
    stage.unfit(0, Unfit::ClockInDoubt, true);
    stage.peer_asks(EPOCH, forward);
    let Message::Rejected { cause: Cause::ClockInDoubt, .. } = stage.response() else {
        panic!("refused")
    };
    stage.finished();
}

#[test]
fn a_write_that_too_few_take_in_time_is_unknown() {
    let mut stage = Stage::three(0);
    stage.set(Level::Quorum);
    stage.sent();
    stage.pass(Duration::from_millis(1_001));
    let text = stage.reply().1;
    assert!(text.starts_with("-TIMEOUT level QUORUM"), "{text}");
    assert!(text.contains("1 of 2 replicas"), "{text}");
    assert!(text.ends_with("(answered: a; silent: b, c); the write may still take effect"));
    assert_eq!(stage.replica.hints.len(), 2);
    stage.finished();
}

#[test]
fn a_write_does_not_wait_for_replicas_that_are_gone() {
    let mut stage = Stage::three(0);
    stage.set(Level::Quorum);
    stage.sent();
    stage.down(1);
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.down(2);
    let text = stage.reply().1;
    assert!(text.starts_with("-UNKNOWN level QUORUM"), "{text}");
    assert!(text.contains("(took it: a; lost: b, c)"), "{text}");
    assert_eq!(stage.replica.hints.len(), 2);
    stage.finished();
}

#[test]
fn what_must_be_durable_counts_only_then() {
    let mut stage = Stage::three(0);
    stage.replica.durable_at = Some(12);
    stage.set(Level::All);
    for (_, correlation, _) in stage.sent() {
        stage.respond(correlation, Message::Ack);
    }
    let effect = "9".into();
    stage.peer_asks(
        EPOCH,
        Message::Replicate { slot: stage.slot, dots: Vec::new(), outcome: None, effect },
    );
    stage.coordinator.handle_durable(11);
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.coordinator.handle_durable(12);
    assert_eq!(stage.reply().1, "6");
    assert_eq!(stage.response(), Message::Ack);
    stage.finished();
}

#[test]
fn a_write_goes_to_the_executor_with_the_time_that_is_left() {
    let mut stage = Stage::three(1);
    let id = stage.set(Level::Quorum);
    let sent = stage.sent();
    let Message::Forward(forward) = &sent[0].2 else { panic!("{sent:?}") };
    assert_eq!((sent[0].0, forward.budget_ms), (0, 1_000));
    stage.respond(sent[0].1, Message::Reply("done".into()));
    assert_eq!(stage.reply(), (id, "done".into()));
    assert!(stage.replica.executed.is_empty());
    stage.finished();
    // An executor that has not caught up is passed over.
    stage.unfit(0, Unfit::CatchingUp, true);
    stage.set(Level::One);
    assert_eq!(stage.replica.executed.len(), 1);
}

#[test]
fn a_write_that_never_left_goes_to_the_next_executor() {
    let mut stage = Stage::three(1);
    stage.set(Level::Quorum);
    stage.down(0);
    assert_eq!(stage.replica.executed, ["v"]);
    assert_eq!(targets(&stage.sent()), [2]);
    assert_eq!(stage.replica.hints, [(0, "6".into())]);
}

#[test]
fn a_forwarded_request_is_served_here_or_refused() {
    let mut stage = Stage::three(1);
    let forward = |slot, name: &str| {
        Message::Forward(Forward {
            slot,
            read_level: Level::One,
            write_level: Level::One,
            resp3: false,
            budget_ms: 100,
            id: ID,
            command: Command::from_args([name, "k", "v"]).frame().clone(),
        })
    };
    // Not the executor, but it was chosen: no second hop.
    stage.peer_asks(EPOCH, forward(stage.slot, "SET"));
    stage.coordinator.outputs.retain(|output| matches!(output, Output::Respond { .. }));
    assert_eq!(stage.response(), Message::Reply("6".into()));
    let cause = |message| match message {
        Message::Rejected { cause, .. } => cause,
        other => panic!("unexpected {other:?}"),
    };
    stage.peer_asks(EPOCH + 2, forward(stage.slot, "SET"));
    assert_eq!(cause(stage.response()), Cause::StaleEpoch);
    stage.peer_asks(EPOCH, forward(stage.slot, "NONSENSE"));
    assert_eq!(cause(stage.response()), Cause::Malformed);
    let mut outsider = Stage::new(4, &["x"; 5]);
    let me = MemberNumber(4);
    let foreign = Slot::all().find(|slot| !outsider.coordinator.topology.is_replica(*slot, me));
    outsider.peer_asks(EPOCH, forward(foreign.expect("some slot is"), "SET"));
    assert_eq!(cause(outsider.response()), Cause::NotReplica);
}

#[test]
fn writes_behind_a_read_modify_write_keep_their_order() {
    let mut stage = Stage::three(0);
    stage.increment("first");
    stage.increment("second");
    stage.request(&["SET", "k", "third"], Level::Quorum);
    assert_eq!(stage.coordinator.in_flight(), 3);
    let asked = stage.sent();
    assert_eq!(targets(&asked), [1]);
    stage.respond(asked[0].1, digest(5));
    assert_eq!(stage.replica.executed, ["first"]);
    let asked = stage.sent();
    let question = asked.iter().find(|(.., message)| matches!(message, Message::AskDigest { .. }));
    let (_, correlation, _) = question.expect("the second one reads now");
    stage.respond(*correlation, digest(6));
    assert_eq!(stage.replica.executed, ["first", "second", "third"]);
}

fn questions(sent: &[(u16, u64, Message)]) -> Vec<u64> {
    let is_question = |message: &Message| matches!(message, Message::AskDigest { .. });
    sent.iter().filter(|(.., message)| is_question(message)).map(|(_, asked, _)| *asked).collect()
}

#[test]
fn one_reading_is_that_of_all_who_waited_when_it_began() {
    let mut stage = Stage::three(0);
    for name in ["1", "2", "3"] {
        stage.increment(name);
    }
    stage.request(&["SET", "k", "4"], Level::Quorum);
    stage.increment("5");
    stage.request(&["APPEND", "other", "6"], Level::Quorum);
    stage.increment("7");
    let first = questions(&stage.sent());
    assert_eq!(first.len(), 1);
    stage.respond(first[0], digest(5));
    assert_eq!(stage.replica.executed, ["1"], "the others came when it had begun");
    let second = questions(&stage.sent());
    stage.increment("8");
    assert_eq!(second.len(), 1);
    stage.respond(second[0], digest(6));
    assert_eq!(stage.replica.executed, ["1", "2", "3", "4", "5"], "up to another key");
    let third = questions(&stage.sent());
    assert_eq!(third.len(), 1);
    stage.respond(third[0], digest(10));
    assert_eq!(stage.replica.executed[5..], ["6", "7"], "which is read as well");
    let fourth = questions(&stage.sent());
    stage.respond(fourth[0], digest(12));
    assert_eq!(stage.replica.executed[7..], ["8"]);
}

#[test]
fn a_reading_that_ends_early_is_nobodys() {
    let mut stage = Stage::three(0);
    let written = stage.increment("1");
    let second = stage.increment("2");
    let first = questions(&stage.sent());
    stage.pass(Duration::from_millis(500));
    stage.sent();
    stage.increment("3");
    stage.respond(first[0], digest(5));
    assert_eq!(questions(&stage.sent()).len(), 1, "of the second one, for the third one, too");
    stage.pass(Duration::from_millis(500));
    assert_eq!([stage.reply().0, stage.reply().0], [written, second]);
    assert_eq!(stage.replica.executed, ["1"]);
    let again = questions(&stage.sent());
    stage.respond(again[0], digest(6));
    assert_eq!(stage.replica.executed, ["1", "3"]);
}

#[test]
fn writes_that_wait_too_long_are_answered() {
    let mut stage = Stage::three(0);
    let first = stage.increment("first");
    let second = stage.increment("second");
    stage.sent();
    stage.pass(Duration::from_millis(500));
    stage.sent();
    stage.pass(Duration::from_millis(500));
    let mut ended = [stage.reply(), stage.reply()];
    ended.sort();
    assert_eq!((ended[0].0, ended[1].0), (first, second));
    assert!(stage.replica.executed.is_empty());
    stage.finished();
    assert_eq!(stage.coordinator.poll_timeout(), None);
}

#[test]
fn a_local_quorum_stays_in_its_datacentre() {
    let mut stage = Stage::new(0, &["x", "x", "y", "y"]);
    stage.set(Level::LocalQuorum);
    let sent = stage.sent();
    assert_eq!(sent.len(), 3, "one here, two in the other datacentre");
    let (local, remote): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(to, ..)| *to < 2);
    for (_, correlation, _) in remote {
        stage.respond(correlation, Message::Ack);
    }
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.respond(local[0].1, Message::Ack);
    assert_eq!(stage.reply().1, "6");
    stage.finished();

    // A non-owner whose own datacentre is gone: another one may serve QUORUM, not LOCAL_QUORUM.
    let mut stage = Stage::new(3, &["x", "x", "x", "y", "y", "y", "y"]);
    let me = stage.coordinator.topology.me();
    let foreign = Slot::all().find(|slot| !stage.coordinator.topology.is_replica(*slot, me));
    stage.slot = foreign.expect("some slot is");
    for peer in 4..7 {
        stage.down(peer);
    }
    stage.set(Level::LocalQuorum);
    assert!(stage.reply().1.starts_with("-UNAVAILABLE level LOCAL_QUORUM"));
    stage.get(Level::LocalQuorum);
    assert!(stage.reply().1.starts_with("-UNAVAILABLE level LOCAL_QUORUM"));
    stage.set(Level::One);
    assert!(matches!(stage.sent()[..], [(0..3, _, Message::Forward(_))]));
}
