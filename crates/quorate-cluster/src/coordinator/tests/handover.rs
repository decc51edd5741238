//! A slot that gets another executor: who asks, who answers, and what waits.

use quorate_proto::ownership::{Ownership, SlotMap};

use super::*;
use crate::limits::{HANDOVER_PATIENCE, STALE_EPOCH_PAUSE};

impl Stage {
    /// The next list, in which these hold every slot in this order.
    fn order_is(&mut self, owners: &[u16]) {
        let before = Arc::clone(&self.coordinator.topology);
        let owners: Vec<MemberNumber> = owners.iter().copied().map(MemberNumber).collect();
        let owners = SlotMap::of_slots(|_| owners.clone());
        let ownership = Some(Ownership { owners, movement: None }.into());
        let view = View { epoch: before.epoch() + 1, ownership, ..before.view() };
        let topology = Topology::new(&view, before.member(before.me()).id).expect("a topology");
        self.coordinator.adopt(self.now, &mut self.replica, Arc::new(topology));
        self.settle();
    }

    /// This node asks whether others are done with the slot: whom, and how they answer.
    fn asked(&mut self) -> Vec<(u16, u64)> {
        let sent = self.sent();
        let questions = sent.iter().map(|(to, correlation, message)| match message {
            Message::AskOutcome { id: CallId { number: u64::MAX, .. }, .. } => (*to, *correlation),
            other => panic!("unexpected {other:?}"),
        });
        questions.collect()
    }

    fn sent_effects(&mut self) -> Vec<u16> {
        let mut to = Vec::new();
        while let Some(Output::Send { to: peer, message: Message::Replicate { .. }, .. }) =
            self.coordinator.outputs.front()
        {
            to.push(peer.0);
            self.coordinator.poll_output();
        }
        to
    }

    fn takes_over(&mut self, node: u16, epoch: u64) {
        let start = self.coordinator.topology.member(MemberNumber(node)).incarnation.start;
        let id = CallId { origin: Origin::new(node, start), number: u64::MAX };
        self.peer_asks(epoch, Message::AskOutcome { slot: self.slot, id });
    }

    fn forwarded(&self, words: &[&str]) -> Message {
        Message::Forward(quorate_proto::message::Forward {
            slot: self.slot,
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            resp3: false,
            budget_ms: 500,
            id: ID,
            command: Command::from_args(words).frame().clone(),
        })
    }
}

const DONE: Cause = Cause::OutcomeUnknown;

#[test]
fn a_new_executor_asks_before_it_executes_and_once() {
    let mut stage = Stage::three(1);
    stage.order_is(&[1, 0, 2]);
    let request = stage.set(Level::One);
    let asked = stage.asked();
    assert_eq!(asked.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [0, 2]);
    assert!(stage.replica.executed.is_empty());
    stage.respond(asked[1].1, rejected(DONE));
    assert!(stage.replica.executed.is_empty(), "one may still be at work");
    stage.respond(asked[0].1, rejected(DONE));
    assert_eq!(stage.replica.executed.len(), 1);
    let effects = stage.sent_effects();
    assert_eq!(effects, [0, 2]);
    assert_eq!(stage.reply().0, request);
    stage.set(Level::One);
    assert_eq!(stage.replica.executed.len(), 2, "what was taken over is its own");
}

#[test]
fn who_was_the_executor_before_asks_nobody() {
    let mut stage = Stage::three(1);
    stage.order_is(&[1, 0, 2]);
    let mut first = Stage::three(0);
    first.order_is(&[0, 2, 1]);
    first.set(Level::One);
    assert_eq!(first.replica.executed.len(), 1);
}

#[test]
fn who_is_behind_is_asked_again_and_who_is_down_or_silent_is_not_waited_for() {
    let mut stage = Stage::three(1);
    stage.order_is(&[1, 0, 2]);
    stage.set(Level::One);
    let asked = stage.asked();
    stage.respond(asked[0].1, rejected(Cause::StaleEpoch));
    stage.down(2);
    assert!(stage.replica.executed.is_empty());
    stage.pass(STALE_EPOCH_PAUSE);
    let again = stage.asked();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].0, 0);
    stage.coordinator.handle_quiet(stage.now, &mut stage.replica, MemberNumber(0), true);
    stage.settle();
    assert_eq!(stage.replica.executed.len(), 1);
}

#[test]
fn nobody_is_waited_for_longer_than_a_patience() {
    let mut stage = Stage::three(1);
    stage.order_is(&[1, 0, 2]);
    let mut request = stage.make_request(&["SET", "k", "v"], Level::One);
    request.terms.deadline = stage.now + 3 * HANDOVER_PATIENCE;
    stage.coordinator.handle_request(stage.now, &mut stage.replica, request);
    stage.pass(HANDOVER_PATIENCE - Duration::from_millis(1));
    assert!(stage.replica.executed.is_empty());
    stage.pass(STALE_EPOCH_PAUSE);
    assert_eq!(stage.replica.executed.len(), 1);
}

#[test]
fn the_old_executor_answers_once_it_goes_by_the_list_and_its_effects_have_come() {
    let mut stage = Stage::three(0);
    stage.order_is(&[0, 1, 2]);
    let request = stage.set(Level::Quorum);
    let sent = stage.sent();
    stage.takes_over(1, EPOCH + 2);
    assert_eq!(stage.coordinator.poll_output(), None, "it is the executor");
    stage.order_is(&[1, 0, 2]);
    let again = stage.sent();
    assert_eq!(targets(&again), [1, 2], "the effect, to all anew");
    stage.respond(again[1].1, Message::Ack);
    assert_eq!(stage.reply().0, request);
    assert_eq!(stage.coordinator.poll_output(), None, "the new executor lacks an effect");
    stage.respond(again[0].1, Message::Ack);
    assert!(matches!(stage.response(), Message::Rejected { cause: DONE, .. }));
    assert_eq!(targets(&sent), [1, 2]);
    stage.finished();
}

#[test]
fn what_was_forwarded_by_another_list_is_for_the_executor_of_both() {
    let mut stage = Stage::three(0);
    stage.order_is(&[0, 1, 2]);
    stage.peer_asks(EPOCH + 2, stage.forwarded(&["SET", "k", "v"]));
    assert_eq!(stage.replica.executed.len(), 1, "it is the executor as far as it knows");
    stage.sent();
    stage.order_is(&[1, 0, 2]);
    stage.sent();
    stage.peer_asks(EPOCH + 1, stage.forwarded(&["SET", "k", "v"]));
    let refused = core::iter::from_fn(|| stage.coordinator.poll_output());
    let refused = refused.filter(|output| {
        let is_it = |message: &Message| {
            matches!(message, Message::Rejected { cause: Cause::StaleEpoch, .. })
        };
        matches!(output, Output::Respond { message, .. } if is_it(message))
    });
    assert_eq!(refused.count(), 1);
    assert_eq!(stage.replica.executed.len(), 1);
}
