//! Executors that are up and silent, late writes, and nodes that are about to stop.

use alloc::vec;

use quorate_proto::message::Forward;

use super::*;
use crate::limits::{
    BEGUN_WITHIN, OUTCOME_PATIENCE, REPEATED_AFTER, RETURN_PATIENCE, SCAN_INTERVAL,
};

const OK: &[u8] = b"+OK\r\n";

impl Stage {
    fn quiet(&mut self, peer: u16, is_quiet: bool) {
        let (now, replica) = (self.now, &mut self.replica);
        self.coordinator.handle_quiet(now, replica, MemberNumber(peer), is_quiet);
        self.settle();
    }

    fn forward(&self, number: u64, words: &[&str]) -> Message {
        Message::Forward(Forward {
            slot: self.slot,
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            resp3: false,
            budget_ms: 5_000,
            id: CallId { origin: Origin(6), number },
            command: Command::from_args(words).frame().clone(),
        })
    }

    fn peer_sends(&mut self, message: Message, late: Duration) {
        let (now, replica) = (self.now, &mut self.replica);
        self.coordinator.handle_late_message(now, replica, (LINK, EPOCH, 77), message, late);
        self.settle();
    }

    /// Acknowledges all effects that are sent now, and is told what the peer is answered.
    fn acknowledged(&mut self) -> Message {
        for (_, correlation, _) in self.sent() {
            self.respond(correlation, Message::Ack);
        }
        self.response()
    }
}

fn denied() -> Message {
    rejected(Cause::OutcomeUnknown)
}

/// The questions what became of a write that are sent now.
fn questions(stage: &mut Stage) -> Vec<(u16, u64)> {
    let sent = stage.sent();
    let asked = sent.into_iter().map(|(to, correlation, message)| {
        assert!(matches!(message, Message::AskOutcome { .. }), "{message:?}");
        (to, correlation)
    });
    asked.collect()
}

#[test]
fn a_write_that_overwrites_is_repeated_when_its_executor_is_silent() {
    let mut stage = Stage::three(1);
    let request = stage.set(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [0]);
    stage.quiet(0, true);
    stage.pass(REPEATED_AFTER - Duration::from_millis(1));
    assert_eq!(stage.sent(), [], "the executor may still begin it");
    stage.pass(Duration::from_millis(1));
    let asked = questions(&mut stage);
    assert_eq!(asked.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [0, 2]);
    stage.respond(asked[1].1, denied());
    let sent = stage.sent();
    assert_eq!(targets(&sent), [0, 2], "executed here");
    assert_eq!(stage.replica.executed, ["v"]);
    stage.respond(sent[1].1, Message::Ack);
    assert_eq!(stage.reply(), (request, "6".into()));
}

#[test]
fn a_write_that_somebody_has_heard_of_is_not_repeated() {
    let mut stage = Stage::three(1);
    stage.set(Level::Quorum);
    stage.sent();
    stage.quiet(0, true);
    stage.pass(REPEATED_AFTER);
    let asked = questions(&mut stage);
    stage.respond(asked[1].1, Message::Reply(Bytes::from_static(OK)));
    assert_eq!(stage.sent(), []);
    // The executor goes on, and has the last word.
    stage.quiet(0, false);
    stage.respond(asked[0].1, Message::Reply(Bytes::from_static(OK)));
    assert_eq!(stage.reply().1, "+OK");
    assert!(stage.replica.executed.is_empty());
    stage.finished();
}

#[test]
fn a_write_that_depends_on_what_it_finds_waits_for_its_executor() {
    let mut stage = Stage::three(1);
    stage.increment("once");
    stage.sent();
    stage.quiet(0, true);
    stage.pass(REPEATED_AFTER);
    assert_eq!(stage.sent(), []);
    stage.down(0);
    let asked = questions(&mut stage);
    stage.respond(asked[0].1, denied());
    stage.pass(OUTCOME_PATIENCE);
    assert!(stage.reply().1.starts_with("-UNKNOWN"));
    assert!(stage.replica.executed.is_empty());
    stage.finished();
}

#[test]
fn what_others_may_have_read_is_not_repeated() {
    let mut stage = Stage::three(1);
    stage.set(Level::Quorum);
    stage.sent();
    stage.down(2);
    stage.quiet(0, true);
    stage.pass(REPEATED_AFTER);
    // This node alone has not heard of it: the two others may have, and show it.
    assert_eq!(targets(&stage.sent()), [0]);
    stage.pass(OUTCOME_PATIENCE);
    assert!(stage.reply().1.starts_with("-UNKNOWN"));
    assert!(stage.replica.executed.is_empty());
    stage.finished();
}

#[test]
fn who_is_lost_has_not_denied_it() {
    let mut stage = Stage::three(1);
    stage.set(Level::Quorum);
    stage.sent();
    stage.quiet(0, true);
    stage.pass(REPEATED_AFTER);
    assert_eq!(questions(&mut stage).len(), 2);
    stage.down(2);
    assert_eq!(stage.sent(), [], "it may hold the write, and show it");
    stage.pass(OUTCOME_PATIENCE);
    stage.down(0);
    assert!(stage.reply().1.starts_with("-UNKNOWN"));
    assert!(stage.replica.executed.is_empty());
    stage.finished();
}

#[test]
fn a_lost_executor_has_time_to_come_back() {
    let mut stage = Stage::three(1);
    let request = stage.set(Level::Quorum);
    stage.sent();
    stage.pass(REPEATED_AFTER);
    stage.down(0);
    let asked = questions(&mut stage);
    stage.respond(asked[0].1, denied());
    stage.pass(RETURN_PATIENCE - SCAN_INTERVAL);
    assert_eq!(stage.sent(), []);
    stage.pass(SCAN_INTERVAL);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [2], "executed here");
    stage.respond(sent[0].1, Message::Ack);
    assert_eq!(stage.reply(), (request, "6".into()));
}

#[test]
fn of_a_repeated_write_it_is_not_said_that_nothing_was_done() {
    let mut stage = Stage::three(1);
    stage.set(Level::Quorum);
    stage.sent();
    stage.quiet(0, true);
    stage.pass(REPEATED_AFTER);
    stage.unfit(1, Unfit::ReadOnly, true);
    let asked = questions(&mut stage);
    stage.respond(asked[1].1, denied());
    let sent = stage.sent();
    let [(2, correlation, Message::Forward(_))] = &sent[..] else { panic!("{sent:?}") };
    let refusal = b"-UNAVAILABLE level QUORUM needs 2 replicas; nothing was done\r\n";
    stage.respond(*correlation, Message::Reply(Bytes::from_static(refusal)));
    let reply = stage.reply().1;
    assert!(reply.starts_with("-UNKNOWN level QUORUM needs 2 replicas; its first"), "{reply}");
    assert!(!reply.contains("nothing was done"), "{reply}");
    stage.finished();
}

#[test]
fn what_its_executor_denies_is_executed_whatever_it_is() {
    let mut stage = Stage::three(1);
    stage.increment("once");
    stage.sent();
    stage.down(0);
    let asked = questions(&mut stage);
    stage.respond(asked[0].1, rejected(Cause::Overloaded));
    assert_eq!(stage.sent(), [], "it is for the executor to say so");
    stage.coordinator.handle_peer_up(MemberNumber(0), Fitness::FIT);
    let asked = questions(&mut stage);
    stage.respond(asked[0].1, rejected(Cause::Overloaded));
    let sent = stage.sent();
    let [(0, _, Message::Forward(_))] = &sent[..] else { panic!("{sent:?}") };
}

#[test]
fn an_executor_denies_only_what_it_would_remember_and_keeps_to_it() {
    let mut stage = Stage::three(0);
    let ask = |stage: &mut Stage, number| {
        let id = CallId { origin: Origin(6), number };
        stage.peer_asks(EPOCH, Message::AskOutcome { slot: stage.slot, id });
        match stage.response() {
            Message::Rejected { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(&mut stage, 4), Cause::OutcomeUnknown, "it may have forgotten it");
    let sends = stage.forward(5, &["SET", "k", "v"]);
    stage.peer_sends(sends, Duration::ZERO);
    assert!(matches!(stage.acknowledged(), Message::Reply(_)));
    assert_eq!(ask(&mut stage, 4), Cause::OutcomeUnknown, "an older one");
    assert_eq!(ask(&mut stage, 6), Cause::Overloaded);
    let sends = stage.forward(6, &["SET", "k", "late"]);
    stage.peer_sends(sends, Duration::ZERO);
    assert!(matches!(stage.response(), Message::Rejected { cause: Cause::Overloaded, .. }));
    assert_eq!(ask(&mut stage, 6), Cause::Overloaded);
    assert_eq!(stage.replica.executed, ["v"]);
    stage.finished();
}

#[test]
fn a_write_that_may_be_repeated_is_not_begun_late() {
    let mut stage = Stage::three(0);
    let late = BEGUN_WITHIN + Duration::from_millis(1);
    let sends = stage.forward(5, &["SET", "k", "v"]);
    stage.peer_sends(sends.clone(), late);
    assert!(matches!(stage.response(), Message::Rejected { cause: Cause::Overloaded, .. }));
    stage.peer_sends(sends, BEGUN_WITHIN);
    assert!(matches!(stage.acknowledged(), Message::Reply(_)), "in time");
    // Behind another one it would be begun too late.
    let first = stage.forward(6, &["APPEND", "k", "w"]);
    stage.peer_sends(first, late);
    let asked = stage.sent();
    let behind = stage.forward(7, &["SET", "k", "x"]);
    stage.peer_sends(behind, Duration::from_millis(100));
    stage.now += BEGUN_WITHIN;
    let version = stage.replica.version;
    stage.respond(asked[0].1, digest(version.into()));
    let mut refused = 0;
    while let Some(output) = stage.coordinator.poll_output() {
        refused += u32::from(matches!(
            output,
            Output::Respond { message: Message::Rejected { cause: Cause::Overloaded, .. }, .. }
        ));
    }
    assert_eq!((refused, &stage.replica.executed[..]), (1, &["v".into(), "w".into()][..]));
}

#[test]
fn replicas_that_are_silent_are_asked_last() {
    let mut stage = Stage::three(0);
    stage.quiet(1, true);
    stage.get(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [2]);
    stage.quiet(1, false);
    stage.get(Level::Quorum);
    let asked = stage.sent();
    assert_eq!(targets(&asked), [1]);
    stage.quiet(1, true);
    assert_eq!(targets(&stage.sent()), [2], "at once");
    let mut stage = Stage::new(3, &["x", "x", "x", "x"]);
    let topology = Arc::clone(&stage.coordinator.topology);
    let is_others = |slot: &Slot| topology.replicas(*slot) == [0, 1, 2].map(MemberNumber);
    stage.slot = Slot::all().find(is_others).expect("a slot");
    stage.quiet(0, true);
    for write in [false, true] {
        let words: &[&str] = if write { &["SET", "k", "v"] } else { &["GET", "k"] };
        stage.request(words, Level::Quorum);
        assert_eq!(targets(&stage.sent()), [1]);
    }
    stage.quiet(1, true);
    assert_eq!(targets(&stage.sent()), [2], "the read, not the write");
}

#[test]
fn a_node_that_stops_leaves_writes_to_others_and_does_what_it_is_asked() {
    let mut stage = Stage::three(0);
    stage.coordinator.handle_leaving();
    stage.set(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [1]);
    let sends = stage.forward(5, &["SET", "k", "v"]);
    stage.peer_sends(sends, Duration::ZERO);
    assert!(matches!(stage.acknowledged(), Message::Reply(_)));
    // All stop at once.
    for peer in [1, 2] {
        stage.unfit(peer, Unfit::ReadOnly, true);
    }
    let request = stage.set(Level::Quorum);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1, 2], "executed here");
    stage.respond(sent[0].1, Message::Ack);
    assert_eq!(stage.reply(), (request, "7".into()));
    assert_eq!(stage.replica.executed, vec!["v"; 2]);
}
