//! What waits while the store has not answered, and what does not.

use quorate_proto::message::Forward;

use super::*;

type Stage = super::Stage<1>;

impl Stage {
    /// Asks something, and does not wait for the store.
    fn ask(&mut self, words: &[&str], level: Level) -> u64 {
        let request = self.make_request(words, level);
        let id = request.id;
        self.coordinator.handle_request(self.now, &mut self.replica, request);
        id
    }

    fn take(&mut self, message: Message) {
        self.coordinator.handle_message(self.now, &mut self.replica, LINK, EPOCH, 77, message);
    }

    fn hear(&mut self, correlation: u64, message: Message) {
        let (now, replica) = (self.now, &mut self.replica);
        self.coordinator.handle_response(now, replica, correlation, message);
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.coordinator.handle_timeout(self.now, &mut self.replica);
    }

    /// What was answered to clients; what was sent is of no interest.
    fn replies(&mut self) -> Vec<(u64, String)> {
        let outputs = core::iter::from_fn(|| self.coordinator.poll_output());
        let replies = outputs.filter_map(|output| match output {
            Output::Reply { request, reply } => {
                Some((request, core::str::from_utf8(&reply).expect("text").trim_end().into()))
            }
            _ => None,
        });
        replies.collect()
    }

    fn is_silent(&mut self) -> bool {
        self.coordinator.poll_output().is_none()
    }
}

fn effect(stage: &Stage, version: &'static str) -> Message {
    let effect = version.into();
    Message::Replicate { slot: stage.slot, dots: Vec::new(), outcome: None, effect }
}

fn question() -> Bytes {
    Command::from_args(["GET", "k"]).frame().clone()
}

#[test]
fn writes_and_effects_wait_behind_an_execution_in_order() {
    let mut stage = Stage::three(0);
    stage.ask(&["SET", "k", "first"], Level::One);
    stage.ask(&["APPEND", "k", "second"], Level::Quorum);
    stage.ask(&["SET", "k", "third"], Level::One);
    stage.take(effect(&stage, "20"));
    assert!(stage.coordinator.is_gated(stage.slot));
    assert!(stage.is_silent());
    stage.turn();
    assert_eq!(stage.replica.executed, ["first"]);
    assert_eq!(stage.replies().len(), 1);
    // The effect first, which no write need wait for another time.
    stage.turn();
    assert_eq!((stage.replica.version, stage.response()), (20, Message::Ack));
    let asked = stage.sent();
    assert!(matches!(asked[0].2, Message::AskDigest { .. }), "the second one reads");
    stage.hear(asked[0].1, digest(20));
    stage.settle();
    assert_eq!(stage.replica.executed, ["first", "second", "third"]);
    assert!(!stage.coordinator.is_gated(stage.slot));
}

#[test]
fn other_slots_do_not_wait() {
    let mut stage = Stage::three(0);
    stage.ask(&["SET", "k", "first"], Level::One);
    let first = stage.slot;
    let topology = Arc::clone(&stage.coordinator.topology);
    let is_other = |slot: &Slot| *slot != first && topology.replicas(*slot).is_sorted();
    stage.slot = Slot::all().find(is_other).expect("another slot");
    stage.ask(&["SET", "k", "second"], Level::One);
    stage.turn();
    assert_eq!(stage.replica.executed, ["first", "second"]);
}

#[test]
fn what_is_pending_does_not_show_and_reads_go_past_it() {
    let mut stage = Stage::three(0);
    stage.ask(&["SET", "k", "v"], Level::One);
    stage.take(Message::AskDigest { slot: stage.slot, command: question() });
    assert_eq!(stage.response(), digest(5));
    // Asked behind the write, answered with it: never before.
    let read = stage.ask(&["GET", "k"], Level::One);
    stage.take(Message::AskStates { slot: stage.slot, command: question() });
    assert!(stage.is_silent());
    stage.turn();
    let replies = stage.replies();
    assert!(replies.contains(&(read, "6".into())), "{replies:?}");
}

#[test]
fn comparisons_begin_once_what_has_come_is_merged() {
    let mut stage = Stage::three(0);
    stage.take(effect(&stage, "20"));
    stage.take(Message::AskDigest { slot: stage.slot, command: question() });
    let read = stage.ask(&["GET", "k"], Level::Quorum);
    assert!(stage.is_silent(), "whoever is compared now differs");
    stage.turn();
    assert_eq!((stage.response(), stage.response()), (Message::Ack, digest(20)));
    stage.turn();
    let asked = stage.sent();
    assert!(matches!(asked[0].2, Message::AskDigest { .. }));
    stage.hear(asked[0].1, digest(20));
    assert_eq!(stage.reply(), (read, "20".into()));
    assert!(!stage.coordinator.is_gated(stage.slot));
}

#[test]
fn a_read_that_waits_for_a_merge_ends_at_its_deadline() {
    let mut stage = Stage::three(0);
    stage.take(effect(&stage, "20"));
    let read = stage.ask(&["GET", "k"], Level::Quorum);
    stage.wait(Duration::from_secs(60));
    let replies = stage.replies();
    assert!(replies.len() == 1 && replies[0].0 == read && replies[0].1.starts_with("-TIMEOUT"));
    stage.turn();
    assert_eq!(stage.response(), Message::Ack);
    assert!(!stage.coordinator.is_gated(stage.slot));
    stage.finished();
}

#[test]
fn a_digest_is_that_of_the_reply() {
    let mut stage = Stage::three(0);
    let read = stage.ask(&["GET", "k"], Level::Quorum);
    assert!(stage.is_silent(), "nobody is asked before the own state is known");
    stage.turn();
    let asked = stage.sent();
    // It changes before the others answer.
    stage.take(effect(&stage, "8"));
    stage.turn();
    assert_eq!(stage.response(), Message::Ack);
    stage.hear(asked[0].1, digest(5));
    assert_eq!(stage.reply(), (read, "5".into()));
}

#[test]
fn a_write_that_has_read_waits_for_a_merge_before_all_others() {
    let mut stage = Stage::three(0);
    stage.ask(&["APPEND", "k", "first"], Level::Quorum);
    stage.ask(&["APPEND", "k", "second"], Level::Quorum);
    let asked = stage.sent();
    // It must not wait: whoever has sent it may be who is asked.
    stage.take(effect(&stage, "7"));
    stage.hear(asked[0].1, digest(5));
    assert!(stage.is_silent() && stage.replica.executed.is_empty());
    stage.turn();
    assert_eq!((stage.replica.version, stage.response()), (7, Message::Ack));
    stage.turn();
    assert_eq!(stage.replica.executed, ["first"]);
}

#[test]
fn states_are_all_merged_before_a_read_answers() {
    let mut stage = Stage::three(0);
    let read = stage.ask(&["GET", "k"], Level::All);
    stage.turn();
    let asked = stage.sent();
    stage.hear(asked[0].1, digest(7));
    stage.hear(asked[1].1, digest(9));
    let asked = stage.sent();
    stage.hear(asked[0].1, state("7"));
    stage.hear(asked[1].1, state("9"));
    stage.settle();
    let repairs = stage.sent();
    assert_eq!(targets(&repairs), [1, 2]);
    repairs.iter().for_each(|repair| stage.hear(repair.1, Message::Ack));
    assert_eq!(stage.reply(), (read, "9".into()));
    stage.finished();
}

#[test]
fn an_effect_that_nobody_waits_for_any_more_is_kept_for_everybody() {
    let mut stage = Stage::three(0);
    let id = stage.ask(&["SET", "k", "v"], Level::Quorum);
    let behind = stage.ask(&["SET", "k", "w"], Level::Quorum);
    stage.wait(Duration::from_secs(2));
    let replies = stage.replies();
    assert_eq!(replies.len(), 2);
    for (request, reply) in replies {
        if request == id {
            assert!(reply.starts_with("-TIMEOUT") && reply.ends_with("may still take effect"));
        } else {
            assert_eq!(request, behind);
            assert!(reply.starts_with("-UNAVAILABLE the write waited too long"), "{reply}");
        }
    }
    assert!(stage.replica.hints.is_empty() && stage.coordinator.in_flight() == 1);
    stage.turn();
    assert_eq!(stage.replica.executed, ["v"]);
    assert_eq!(stage.replica.hints, [(1, "6".into()), (2, "6".into())]);
    stage.finished();
    assert!(!stage.coordinator.is_gated(stage.slot));
}

#[test]
fn who_goes_down_before_the_effect_is_known_gets_a_hint() {
    let mut stage = Stage::three(0);
    let id = stage.ask(&["SET", "k", "v"], Level::Quorum);
    stage.coordinator.handle_peer_down(stage.now, &mut stage.replica, MemberNumber(1));
    assert!(stage.is_silent());
    stage.turn();
    assert_eq!(stage.replica.hints, [(1, "6".into())]);
    let sent = stage.sent();
    assert_eq!(targets(&sent), [2]);
    stage.hear(sent[0].1, Message::Ack);
    assert_eq!(stage.reply(), (id, "6".into()));
    stage.finished();
}

#[test]
fn a_refusal_that_comes_late_moves_the_write() {
    let mut stage = Stage::three(0);
    stage.ask(&["SET", "k", "v"], Level::Quorum);
    stage.ask(&["SET", "k", "w"], Level::Quorum);
    stage.replica.full = true;
    stage.turn();
    let sent = stage.sent();
    assert_eq!(targets(&sent), [1, 1], "those behind it need not ask");
    assert!(sent.iter().all(|(.., message)| matches!(message, Message::Forward(_))));
    assert!(!stage.coordinator.is_gated(stage.slot));
}

#[test]
fn a_caller_that_has_lost_its_link_hears_of_an_execution_that_is_under_way() {
    let mut stage = Stage::three(0);
    let forward = Forward {
        slot: stage.slot,
        read_level: Level::One,
        write_level: Level::One,
        resp3: false,
        budget_ms: 1_000,
        id: ID,
        command: Command::from_args(["SET", "k", "v"]).frame().clone(),
    };
    let message = Message::Forward(forward);
    let (now, replica) = (stage.now, &mut stage.replica);
    stage.coordinator.handle_message(now, replica, LinkId(3), EPOCH, 33, message);
    stage.take(Message::AskOutcome { slot: stage.slot, id: ID });
    assert!(stage.is_silent());
    stage.turn();
    let outputs: Vec<Output> = core::iter::from_fn(|| stage.coordinator.poll_output()).collect();
    let told = Message::Reply("6".into());
    let told = Output::Respond { link: LINK, correlation: 77, message: told };
    assert!(outputs.contains(&told), "{outputs:?}");
}

#[test]
fn an_execution_under_way_counts_among_the_replicas_of_now() {
    let mut stage = Stage::new(0, &["x", "x"]);
    let id = stage.ask(&["SET", "k", "v"], Level::All);
    let behind = stage.ask(&["SET", "k", "w"], Level::One);
    let before = Arc::clone(&stage.coordinator.topology);
    let newcomer =
        Member { id: NodeId(1), name: "new".into(), ..before.member(before.me()).clone() };
    let topology = Arc::new(before.with_member(newcomer).expect("grows"));
    stage.coordinator.adopt(stage.now, &mut stage.replica, topology);
    stage.coordinator.handle_peer_up(MemberNumber(2), Fitness::FIT);
    stage.settle();
    assert_eq!(stage.replica.executed[0], "v");
    let outputs: Vec<Output> = core::iter::from_fn(|| stage.coordinator.poll_output()).collect();
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { to, correlation, message: Message::Replicate { effect, .. } }
            if effect == "6" =>
        {
            Some((to.0, *correlation))
        }
        _ => None,
    });
    let sent: Vec<(u16, u64)> = sent.collect();
    assert_eq!(sent.iter().map(|(to, _)| *to).collect::<Vec<u16>>(), [2, 1]);
    sent.iter().for_each(|(_, correlation)| stage.hear(*correlation, Message::Ack));
    assert!(stage.replies().contains(&(id, "6".into())));
    // The one behind it has gone to whoever executes now.
    let is_its_reply =
        |output: &Output| matches!(output, Output::Reply { request, .. } if *request == behind);
    let is_forwarded =
        |output: &Output| matches!(output, Output::Send { message: Message::Forward(_), .. });
    assert!(outputs.iter().any(|output| is_its_reply(output) || is_forwarded(output)));
}
