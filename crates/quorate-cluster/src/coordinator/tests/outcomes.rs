//! What becomes of writes whose executor is lost before it has answered.

use alloc::{boxed::Box, vec};

use quorate_proto::{Outcome, message::Forward};

use super::*;
use crate::limits::{OUTCOME_PATIENCE, OUTCOME_REPLY_MAX, OUTCOMES_BYTES_MAX};

const OK: &[u8] = b"+OK\r\n";

/// Node `b` has forwarded a write to `a`, and lost it. The call's id, and the question to `c`.
fn lost(stage: &mut Stage) -> (CallId, u64) {
    stage.set(Level::Quorum);
    let sent = stage.sent();
    let [(0, _, Message::Forward(forward))] = &sent[..] else { panic!("{sent:?}") };
    let id = forward.id;
    stage.down(0);
    let sent = stage.sent();
    let [(2, correlation, Message::AskOutcome { id: asked, .. })] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(*asked, id);
    (id, *correlation)
}

fn effect_comes(stage: &mut Stage, id: CallId) {
    let outcome = Some(Box::new(Outcome { id, reply: Bytes::from_static(OK) }));
    let effect = Bytes::from_static(b"7");
    let message = Message::Replicate { slot: stage.slot, dots: Vec::new(), outcome, effect };
    stage.peer_asks(EPOCH, message);
    assert_eq!(stage.response(), Message::Ack);
}

fn ask(stage: &mut Stage) -> Option<Message> {
    stage.peer_asks(EPOCH, Message::AskOutcome { slot: stage.slot, id: ID });
    stage.coordinator.poll_output().map(|output| match output {
        Output::Respond { link: LINK, correlation: 77, message } => message,
        other => panic!("unexpected {other:?}"),
    })
}

#[test]
fn a_write_that_enough_replicas_hold_is_answered() {
    let mut stage = Stage::three(1);
    let (id, correlation) = lost(&mut stage);
    stage.respond(correlation, Message::Reply(Bytes::from_static(OK)));
    assert_eq!(stage.coordinator.poll_output(), None, "one replica is no quorum");
    effect_comes(&mut stage, id);
    stage.pass(OUTCOME_PATIENCE);
    assert_eq!(stage.reply(), (1, "+OK".into()));
    stage.finished();
}

#[test]
fn a_write_that_too_few_hold_is_unknown() {
    let mut stage = Stage::three(1);
    let (_, correlation) = lost(&mut stage);
    stage.respond(correlation, Message::Reply(Bytes::from_static(OK)));
    stage.pass(OUTCOME_PATIENCE);
    assert!(stage.reply().1.starts_with("-UNKNOWN the link to the executor a was lost"));
    assert!(stage.replica.executed.is_empty());
    stage.finished();
}

#[test]
fn an_executor_that_is_linked_again_is_asked_and_has_the_last_word() {
    for (answer, expected) in [
        (Message::Reply(Bytes::from_static(OK)), "+OK"),
        (rejected(Cause::OutcomeUnknown), "-UNKNOWN"),
    ] {
        let mut stage = Stage::three(1);
        let (_, at_c) = lost(&mut stage);
        stage.respond(at_c, rejected(Cause::OutcomeUnknown));
        assert_eq!(stage.coordinator.poll_output(), None, "the executor may come back");
        stage.coordinator.handle_peer_up(MemberNumber(0), Fitness::FIT);
        let sent = stage.sent();
        let [(0, correlation, Message::AskOutcome { .. })] = &sent[..] else { panic!("{sent:?}") };
        stage.respond(*correlation, answer);
        assert!(stage.reply().1.starts_with(expected));
        stage.finished();
    }
}

#[test]
fn an_executor_remembers_what_it_has_answered() {
    let mut stage = Stage::three(0);
    assert_eq!(ask(&mut stage), Some(unknown()));
    stage.peer_asks(EPOCH, forward(&stage));
    let sent = stage.sent();
    assert!(matches!(&sent[0].2, Message::Replicate { outcome: None, .. }), "it has no dot");
    assert_eq!(ask(&mut stage), None, "it is answered once it is known");
    stage.respond(sent[0].1, Message::Ack);
    let Message::Reply(reply) = stage.response() else { panic!("no reply") };
    assert_eq!(ask(&mut stage), Some(Message::Reply(reply)));
    assert_eq!(stage.replica.executed, ["v"]);
}

fn forward(stage: &Stage) -> Message {
    Message::Forward(Forward {
        slot: stage.slot,
        read_level: Level::Quorum,
        write_level: Level::Quorum,
        resp3: false,
        budget_ms: 1_000,
        id: ID,
        command: Command::from_args(["SET", "k", "v"]).frame().clone(),
    })
}

fn unknown() -> Message {
    let text = "the outcome of the call is not known here".into();
    Message::Rejected { cause: Cause::OutcomeUnknown, text }
}

#[test]
fn memory_of_replies_is_bounded() {
    let mut outcomes = Outcomes::default();
    let id = |number| CallId { origin: Origin(6), number };
    let reply = Bytes::from(vec![b'x'; OUTCOME_REPLY_MAX]);
    let most = (OUTCOMES_BYTES_MAX / OUTCOME_REPLY_MAX) as u64;
    for number in 0..most {
        outcomes.note(id(number), &reply);
        outcomes.note(id(number), &reply);
    }
    assert_eq!(outcomes.reply(id(most - 1)), Some(&reply));
    assert_eq!(outcomes.reply(id(0)), None);
    outcomes.note(id(most), &Bytes::from(vec![b'x'; OUTCOME_REPLY_MAX + 1]));
    assert_eq!(outcomes.reply(id(most)), None);
}
