//! Reads, and the read phase of a read-modify-write.

use core::time::Duration;

use super::*;
use crate::limits::RETRY_AFTER;

#[test]
fn a_read_at_one_is_local_once_this_node_has_caught_up() {
    let mut stage = Stage::three(1);
    stage.get(Level::One);
    assert_eq!(stage.reply().1, "5");
    stage.unfit(1, Unfit::CatchingUp, true);
    stage.get(Level::One);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [0]);
    // The link is lost: another one is asked. It refuses: what is here must do.
    stage.down(0);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [2]);
    stage.respond(sent[0].1, rejected(Cause::Overloaded));
    assert_eq!(stage.reply().1, "5");
    stage.finished();
}

#[test]
fn a_forwarded_read_that_takes_long_is_put_to_another_replica() {
    let mut stage = Stage::three(1);
    stage.unfit(1, Unfit::CatchingUp, true);
    stage.get(Level::One);
    let first = stage.sent();
    stage.pass(Duration::from_millis(130));
    let second = stage.sent();
    assert_eq!((first[0].0, second[0].0), (0, 2));
    stage.respond(second[0].1, Message::Reply("new".into()));
    assert_eq!(stage.reply().1, "new");
    stage.respond(first[0].1, Message::Reply("late".into()));
    stage.finished();
}

#[test]
fn a_read_is_answered_with_the_state_that_was_compared() {
    let mut stage = Stage::three(0);
    let id = stage.get(Level::Quorum);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1]);
    // Too few hold this write: the read must not show it.
    stage.replica.version = 6;
    stage.respond(sent[0].1, digest(5));
    assert_eq!(stage.reply(), (id, "5".into()));
    stage.finished();
}

#[test]
fn a_newer_state_is_merged_before_the_answer() {
    let mut stage = Stage::three(0);
    stage.get(Level::Quorum);
    let asked = stage.sent();
    stage.respond(asked[0].1, digest(8));
    let asked = stage.sent();
    assert!(matches!(asked[0].2, Message::AskStates { .. }));
    stage.respond(asked[0].1, state("8"));
    // The other one had it all: two replicas hold it now.
    assert_eq!(stage.reply().1, "8");
    stage.finished();
}

#[test]
fn an_older_replica_is_repaired_before_the_answer() {
    let mut stage = Stage::three(0);
    stage.get(Level::Quorum);
    let asked = stage.sent();
    stage.respond(asked[0].1, digest(3));
    let asked = stage.sent();
    stage.respond(asked[0].1, state("3"));
    let repairs = stage.sent();
    let Message::Replicate { effect, .. } = &repairs[0].2 else { panic!("{repairs:?}") };
    assert_eq!((repairs[0].0, &effect[..]), (1, b"5".as_slice()));
    // What comes meanwhile was not sent to anybody.
    stage.replica.version = 7;
    stage.respond(repairs[0].1, Message::Ack);
    assert_eq!(stage.reply().1, "5");
    stage.finished();
}

#[test]
fn a_merge_leaves_replicas_behind_that_were_equal() {
    let mut stage = Stage::three(0);
    stage.get(Level::All);
    let asked = stage.sent();
    stage.respond(asked[0].1, digest(5));
    stage.respond(asked[1].1, digest(8));
    let asked = stage.sent();
    assert_eq!(targets(&asked), [2]);
    stage.respond(asked[0].1, state("8"));
    let repairs = stage.sent();
    assert_eq!(targets(&repairs), [1]);
    stage.respond(repairs[0].1, Message::Ack);
    assert_eq!(stage.reply().1, "8");
    stage.finished();
}

#[test]
fn silent_replicas_are_bypassed_in_every_phase_of_a_read() {
    let mut stage = Stage::three(0);
    stage.get(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [1]);
    stage.pass(RETRY_AFTER);
    let asked = stage.sent();
    assert_eq!(targets(&asked), [2]);
    stage.respond(asked[0].1, digest(3));
    assert_eq!(targets(&stage.sent()), [2]);
    // It does not give its state: the read starts over without it.
    stage.pass(RETRY_AFTER);
    let asked = stage.sent();
    assert_eq!(targets(&asked), [1]);
    stage.respond(asked[0].1, digest(4));
    let asked = stage.sent();
    stage.respond(asked[0].1, state("4"));
    assert_eq!(targets(&stage.sent()), [1]);
    // It takes no repair, and nobody else is left: the deadline decides.
    stage.pass(RETRY_AFTER);
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.pass(Duration::from_secs(1));
    let text = stage.reply().1;
    assert!(text.starts_with("-TIMEOUT") && text.ends_with("nothing was changed"), "{text}");
    stage.finished();
}

#[test]
fn a_replica_that_refuses_is_asked_once() {
    let mut stage = Stage::three(0);
    stage.get(Level::Quorum);
    let asked = stage.sent();
    stage.respond(asked[0].1, rejected(Cause::Overloaded));
    let asked = stage.sent();
    assert_eq!(targets(&asked), [2]);
    stage.respond(asked[0].1, rejected(Cause::Overloaded));
    let text = stage.reply().1;
    assert!(text.contains("1 is alive (alive: a; down: none; left out: b, c)"), "{text}");
    stage.finished();
}

#[test]
fn a_read_goes_on_without_a_replica_that_went_down() {
    let mut stage = Stage::three(0);
    stage.get(Level::Quorum);
    let first = stage.sent();
    stage.down(1);
    let second = stage.sent();
    assert_eq!(targets(&second), [2]);
    stage.respond(first[0].1, digest(9));
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.respond(second[0].1, digest(5));
    assert_eq!(stage.reply().1, "5");
    stage.finished();
}

#[test]
fn a_read_modify_write_learns_the_newest_state_first() {
    let mut stage = Stage::three(0);
    stage.increment("i");
    let asked = stage.sent();
    assert!(stage.replica.executed.is_empty());
    stage.respond(asked[0].1, digest(8));
    let asked = stage.sent();
    stage.respond(asked[0].1, state("8"));
    assert_eq!(stage.replica.version, 9);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1, 2]);
    stage.respond(sent[0].1, Message::Ack);
    assert_eq!(stage.reply().1, "9");
}

#[test]
fn a_read_modify_write_that_changes_nothing_still_repairs() {
    let mut stage = Stage::three(0);
    stage.replica.idle = true;
    stage.increment("i");
    let asked = stage.sent();
    stage.respond(asked[0].1, digest(2));
    let asked = stage.sent();
    stage.respond(asked[0].1, state("2"));
    let repairs = stage.sent();
    assert_eq!(targets(&repairs), [1]);
    assert!(stage.replica.executed.is_empty());
    stage.respond(repairs[0].1, Message::Ack);
    assert_eq!(stage.reply().1, "5");
    stage.finished();
}

#[test]
fn nothing_is_shown_that_a_loss_of_power_takes_back() {
    for level in [Level::One, Level::Quorum] {
        let mut stage = Stage::three(0);
        stage.replica.read_durable_at = Some(12);
        stage.get(level);
        for (_, correlation, _) in stage.sent() {
            stage.respond(correlation, digest(5));
        }
        let command = Command::from_args(["GET", "k"]);
        let command = command.frame().clone();
        stage.peer_asks(EPOCH, Message::AskDigest { slot: stage.slot, command });
        stage.coordinator.handle_durable(11);
        assert_eq!(stage.coordinator.poll_output(), None);
        stage.coordinator.handle_durable(12);
        assert_eq!(stage.reply().1, "5");
        assert_eq!(stage.response(), digest(5));
        stage.finished();
    }
}

#[test]
fn an_answer_that_waits_for_a_slow_disk_has_a_deadline_too() {
    let mut stage = Stage::three(0);
    stage.replica.read_durable_at = Some(12);
    stage.get(Level::One);
    stage.pass(Duration::from_millis(1_100));
    let text = stage.reply().1;
    assert!(text.starts_with("-TIMEOUT") && text.contains("nothing was changed"), "{text}");
    stage.coordinator.handle_durable(12);
    stage.finished();
}

#[test]
fn in_doubt_of_its_clock_a_node_asks_others_and_answers_for_what_no_clock_decides() {
    for level in [Level::One, Level::Quorum] {
        let mut stage = Stage::three(0);
        stage.unfit(0, Unfit::ClockInDoubt, true);
        stage.replica.timeless = true;
        // The others know the time.
        let id = stage.get(level);
        let sent = stage.sent();
        assert_eq!(targets(&sent), [1]);
        assert!(matches!(sent[0].2, Message::Forward(_)));
        stage.respond(sent[0].1, Message::Reply("+hello".into()));
        assert_eq!(stage.reply(), (id, "+hello".into()));
    }
    // None of them does.
    let mut stage = Stage::three(0);
    stage.unfit(0, Unfit::ClockInDoubt, true);
    stage.replica.timeless = true;
    stage.get(Level::One);
    for peer in [1, 2] {
        let sent = stage.sent();
        assert_eq!(targets(&sent), [peer]);
        stage.respond(sent[0].1, rejected(Cause::ClockInDoubt));
    }
    let (_, reply) = stage.reply();
    assert!(reply.starts_with("-UNAVAILABLE the clock of this node"), "{reply}");
    stage.finished();
    // Asked by another node, it says why it does not answer.
    for timeless in [true, false] {
        stage.replica.timeless = timeless;
        let command = Command::from_args(["GET", "k"]);
        let forward = Message::Forward(quorate_proto::message::Forward {
            slot: stage.slot,
            read_level: Level::One,
            write_level: Level::One,
            resp3: false,
            budget_ms: 100,
            id: ID,
            command: command.frame().clone(),
        });
        stage.peer_asks(EPOCH, forward);
        match stage.response() {
            Message::Rejected { cause: Cause::ClockInDoubt, .. } => assert!(timeless),
            other => assert!(!timeless && matches!(other, Message::Reply(_)), "{other:?}"),
        }
    }
    stage.finished();
}

#[test]
fn a_quorum_read_that_no_clock_decides_is_answered_without_one() {
    let mut stage = Stage::three(0);
    stage.unfit(0, Unfit::ClockInDoubt, true);
    for peer in [1, 2] {
        stage.unfit(peer, Unfit::CatchingUp, true);
    }
    for timeless in [false, true] {
        stage.replica.timeless = timeless;
        let id = stage.get(Level::Quorum);
        let sent = stage.sent();
        assert!(matches!(sent[0].2, Message::AskDigest { .. }));
        stage.respond(sent[0].1, digest(5));
        let (found, reply) = stage.reply();
        assert_eq!(found, id);
        assert_eq!(reply.starts_with("-UNAVAILABLE"), timeless, "{reply}");
    }
    stage.finished();
}

#[test]
fn a_quorum_read_that_nobody_else_coordinates_is_a_quorum_read_here() {
    let mut stage = Stage::three(0);
    stage.unfit(0, Unfit::ReadOnly, true);
    let id = stage.get(Level::Quorum);
    for peer in [1, 2] {
        let sent = stage.sent();
        assert_eq!(targets(&sent), [peer]);
        stage.respond(sent[0].1, rejected(Cause::Overloaded));
    }
    let sent = stage.sent();
    assert!(matches!(sent[0].2, Message::AskDigest { .. }), "{sent:?}");
    stage.respond(sent[0].1, digest(5));
    assert_eq!(stage.reply(), (id, "5".into()));
}
