//! Effects that cross to another datacentre once, on both ends.

use alloc::{format, vec};
use core::time::Duration;

use super::*;
use crate::limits::{RELAY_PATIENCE, RELAY_SILENCE};

const APART: [&str; 6] = ["x", "x", "x", "y", "y", "y"];

/// The first of three nodes here, with three in another datacentre.
fn apart() -> Stage {
    let mut stage = Stage::new(0, &APART);
    stage.replica.named = true;
    stage
}

fn relayed(took: &[u16], is_last: bool) -> Message {
    Message::Relayed { took: took.iter().copied().map(MemberNumber).collect(), is_last }
}

/// The relay with its correlation, and whom it is to send the effect to; what else was sent must be
/// for replicas beside this one.
fn relay(sent: &[(u16, u64, Message)]) -> (u16, u64, Vec<u16>) {
    let far: Vec<_> = sent.iter().filter(|(to, ..)| *to > 2).collect();
    let [(relay, correlation, Message::Relay { to, .. })] = far.as_slice() else {
        panic!("one crossing: {far:?}")
    };
    (*relay, *correlation, to.iter().map(|node| node.0).collect())
}

/// A write at this level, which its own datacentre has taken, and its crossing.
fn written(level: Level) -> (Stage, u64, (u16, u64, Vec<u16>)) {
    let mut stage = apart();
    let id = stage.set(level);
    let sent = stage.sent();
    for (to, correlation, _) in &sent {
        if *to <= 2 {
            stage.respond(*correlation, Message::Ack);
        }
    }
    (stage, id, relay(&sent))
}

#[test]
fn a_write_crosses_once_and_is_answered_without_the_other_datacentre() {
    let mut stage = apart();
    stage.set(Level::LocalQuorum);
    let sent = stage.sent();
    let (first, _, others) = relay(&sent);
    let mut reached = others.clone();
    reached.push(first);
    reached.sort_unstable();
    assert_eq!((targets(&sent).len(), reached), (3, [3, 4, 5].to_vec()));
    // One effect, and less besides than a second one with its frame would be.
    let bytes = |message: &Message| message.body_length();
    let direct = sent.iter().find(|(to, ..)| *to == 1).map(|(.., message)| bytes(message));
    let crossing = sent.iter().find(|(to, ..)| *to == first).map(|(.., message)| bytes(message));
    assert!(crossing.unwrap() < direct.unwrap() + 16, "{crossing:?} {direct:?}");

    let (mut stage, id, (relay, correlation, others)) = written(Level::LocalQuorum);
    assert_eq!(stage.reply(), (id, "6".into()));
    assert_eq!(stage.coordinator.in_flight(), 1, "the other datacentre has yet to answer");
    stage.respond(correlation, relayed(&[&[relay], &others[..]].concat(), true));
    stage.finished();
    assert!(stage.replica.hints.is_empty());
}

#[test]
fn a_slot_has_one_relay_and_others_have_others() {
    let mut stage = apart();
    let topology = Arc::clone(&stage.coordinator.topology);
    let first = |slot| topology.replicas(slot)[0].0;
    let mut relays = BTreeMap::new();
    for slot in Slot::all().step_by(61).filter(|slot| first(*slot) == 0) {
        stage.slot = slot;
        for _ in 0..2 {
            stage.set(Level::One);
            let outputs = core::iter::from_fn(|| stage.coordinator.poll_output());
            let crossed = outputs.filter_map(|output| match output {
                Output::Send { to, message: Message::Relay { .. }, .. } => Some(to.0),
                _ => None,
            });
            crossed.for_each(|to| *relays.entry((slot, to)).or_insert(0) += 1);
        }
    }
    let all: BTreeSet<u16> = relays.keys().map(|(_, to)| *to).collect();
    assert_eq!(all, [3, 4, 5].into());
    assert!(relays.values().all(|writes| *writes == 2), "one slot, two relays");
}

#[test]
fn a_relay_answers_for_those_whom_it_names_only() {
    let (mut stage, id, (relay, correlation, others)) = written(Level::EachQuorum);
    stage.respond(correlation, relayed(&[relay], false));
    assert_eq!(stage.coordinator.poll_output(), None);
    // Nor for somebody who is none of those behind it.
    stage.respond(correlation, relayed(&[1, 9], false));
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.respond(correlation, relayed(&others[..1], false));
    assert_eq!(stage.reply(), (id, "6".into()));
    // Whoever has not taken it in the end is asked directly.
    stage.respond(correlation, relayed(&[], true));
    let sent = stage.sent();
    assert_eq!(targets(&sent), others[1..]);
    assert!(matches!(sent[0].2, Message::Replicate { .. }));
    stage.respond(sent[0].1, Message::Ack);
    stage.finished();
}

#[test]
fn those_behind_a_relay_that_is_lost_or_refuses_get_the_effect_directly() {
    for cause in [None, Some(Cause::Overloaded), Some(Cause::NotReplica)] {
        let (mut stage, id, (relay, correlation, others)) = written(Level::EachQuorum);
        match cause {
            None => stage.down(relay),
            Some(cause) => stage.respond(correlation, rejected(cause)),
        }
        let sent = stage.sent();
        assert_eq!(targets(&sent), others);
        assert_eq!(stage.replica.hints, [(relay, "6".into())]);
        sent.iter().for_each(|(_, correlation, _)| stage.respond(*correlation, Message::Ack));
        assert_eq!(stage.reply(), (id, "6".into()));
        stage.finished();
    }
}

#[test]
fn those_behind_a_silent_relay_get_the_effect_directly_as_well() {
    let (mut stage, id, (relay, correlation, others)) = written(Level::EachQuorum);
    stage.pass(RELAY_SILENCE - Duration::from_millis(1));
    assert_eq!(stage.coordinator.poll_output(), None);
    stage.pass(Duration::from_millis(40));
    let sent = stage.sent();
    assert_eq!(targets(&sent), others);
    sent.iter().for_each(|(_, correlation, _)| stage.respond(*correlation, Message::Ack));
    assert_eq!(stage.reply(), (id, "6".into()));
    // It may still answer for itself.
    stage.respond(correlation, relayed(&[&[relay], &others[..]].concat(), true));
    stage.finished();
    assert!(stage.replica.hints.is_empty());
}

#[test]
fn silence_to_the_end_leaves_hints_for_all_of_a_datacentre() {
    let (mut stage, _, (..)) = written(Level::LocalQuorum);
    stage.reply();
    stage.pass(Duration::from_millis(500));
    assert_eq!(stage.sent().len(), 2);
    stage.pass(Duration::from_millis(600));
    let hinted: BTreeSet<u16> = stage.replica.hints.iter().map(|(to, _)| *to).collect();
    assert_eq!(hinted, [3, 4, 5].into());
    stage.finished();
}

#[test]
fn one_replica_there_needs_no_relay_and_neither_do_those_that_are_down() {
    let mut stage = Stage::new(0, &["x", "x", "y"]);
    stage.set(Level::All);
    assert!(stage.sent().iter().all(|(.., message)| matches!(message, Message::Replicate { .. })));
    let mut stage = apart();
    stage.down(3);
    stage.down(4);
    stage.set(Level::LocalQuorum);
    assert!(stage.sent().iter().all(|(.., message)| matches!(message, Message::Replicate { .. })));
}

/// Node d, asked to pass an effect on.
fn asked(at_once: bool) -> (Stage, Vec<(u16, u64, Message)>) {
    let mut stage = Stage::new(3, &APART);
    let to = [4, 5].map(MemberNumber).to_vec();
    let dots = vec![Dot { origin: Origin(1), counter: 9 }];
    let (outcome, effect) = (None, "9".into());
    let slot = stage.slot;
    stage.peer_asks(EPOCH, Message::Relay { slot, to, at_once, dots, outcome, effect });
    let mut sent = Vec::new();
    for _ in 0..2 {
        let Some(Output::Send { to, correlation, message }) = stage.coordinator.poll_output()
        else {
            panic!("it is passed on")
        };
        sent.push((to.0, correlation, message));
    }
    assert_eq!(targets(&sent), [4, 5]);
    (stage, sent)
}

#[test]
fn what_is_passed_on_is_merged_here_and_whoever_takes_it_is_named() {
    let (mut stage, sent) = asked(true);
    assert_eq!(stage.response(), relayed(&[3], false));
    stage.respond(sent[1].1, Message::Ack);
    assert_eq!(stage.response(), relayed(&[5], false));
    stage.respond(sent[0].1, rejected(Cause::StoreFull));
    assert_eq!(stage.response(), relayed(&[], true));
    stage.finished();

    let (mut stage, sent) = asked(false);
    sent.iter().for_each(|(_, correlation, _)| stage.respond(*correlation, Message::Ack));
    assert_eq!(stage.response(), relayed(&[3, 4, 5], true));
    stage.finished();
}

#[test]
fn a_relay_waits_for_nobody_long() {
    let (mut stage, sent) = asked(false);
    stage.respond(sent[0].1, Message::Ack);
    stage.pass(RELAY_PATIENCE);
    assert_eq!(stage.response(), relayed(&[3, 4], true));
    stage.finished();

    let (mut stage, sent) = asked(false);
    stage.respond(sent[0].1, Message::Ack);
    stage.down(5);
    assert_eq!(stage.response(), relayed(&[3, 4], true));
    stage.finished();
}

#[test]
fn errors_name_the_datacentre_that_is_short() {
    let mut stage = apart();
    stage.down(4);
    stage.down(5);
    stage.set(Level::EachQuorum);
    let slot = stage.slot.number();
    let text = format!(
        "-UNAVAILABLE level EACH_QUORUM of slot {slot} needs 2 replicas in datacentre y, 1 is alive \
         (alive: d; down: e, f); nothing was done"
    );
    assert_eq!(stage.reply().1, text);
}
