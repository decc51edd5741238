//! Reads that find large keys different, and reads that are repaired in the background.

use core::time::Duration;

use super::*;
use crate::limits::RETRY_AFTER;

fn stage(members: &[u64]) -> Stage {
    let mut stage = Stage::three(0);
    *stage.replica = Fake::with(members);
    stage
}

/// Lets other replicas respond until the read is answered. Returns what was sent, by kind.
fn run(stage: &mut Stage, others: &mut [Fake]) -> (String, Vec<(u16, Message)>) {
    let mut sent = Vec::new();
    loop {
        match stage.coordinator.poll_output() {
            Some(Output::Send { to, correlation, message }) => {
                sent.push((to.0, message.clone()));
                let response = others[usize::from(to.0) - 1].respond(stage.slot, &message);
                stage.respond(correlation, response);
            }
            Some(Output::Reply { reply, .. }) => {
                let reply = core::str::from_utf8(&reply).expect("text").into();
                return (reply, sent);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn repairs(sent: &[(u16, Message)]) -> Vec<(u16, &str)> {
    let effects = sent.iter().filter_map(|(to, message)| match message {
        Message::Replicate { effect, .. } => {
            Some((*to, core::str::from_utf8(effect).expect("text")))
        }
        _ => None,
    });
    effects.collect()
}

fn shown(members: &[u64]) -> String {
    String::from_utf8(Fake::with(members).state().to_vec()).expect("text")
}

#[test]
fn each_side_gets_only_what_it_lacks() {
    let (ours, theirs) = (member(30_000, 1), member(60_000, 2));
    let mut stage = stage(&[ours]);
    stage.get(Level::Quorum);
    let mut others = [Fake::with(&[theirs])];
    let (reply, sent) = run(&mut stage, &mut others);
    assert_eq!(reply, shown(&[ours, theirs]));
    assert_eq!(others[0].members, stage.replica.members);
    let kinds: Vec<u8> = sent.iter().map(|(_, message)| message.kind()).collect();
    assert_eq!(kinds, [21, 48, 50, 18], "digest, comparison, elements, repair");
    assert_eq!(repairs(&sent), [(1, &*std::format!("0,{ours}"))]);
    let Message::AskElements { fingerprints, .. } = &sent[2].1 else { panic!("{sent:?}") };
    assert_eq!(fingerprints, &[theirs]);
    let ReadRepairs { reads, bytes } = stage.coordinator.read_repairs();
    assert!(reads == 1 && (200..700).contains(&bytes), "{bytes}");
    stage.finished();
}

#[test]
fn many_reads_of_one_key_repair_it_once() {
    let (ours, theirs) = (member(30_000, 1), member(60_000, 2));
    let mut stage = stage(&[ours]);
    for _ in 0..5 {
        stage.get(Level::Quorum);
    }
    let mut other = Fake::with(&[theirs]);
    let (mut kinds, mut replies) = (Vec::new(), Vec::new());
    while replies.len() < 5 {
        match stage.coordinator.poll_output().expect("a step") {
            Output::Send { correlation, message, .. } => {
                kinds.push(message.kind());
                let response = other.respond(stage.slot, &message);
                stage.respond(correlation, response);
            }
            Output::Reply { reply, .. } => replies.push(reply),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(replies.iter().all(|reply| **reply == *shown(&[ours, theirs]).as_bytes()));
    let count = |kind: u8| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!((count(48), count(50), count(18)), (1, 1, 1), "one comparison and one repair");
    assert_eq!(count(21), 9, "the four that waited compare digests again");
    stage.finished();
}

#[test]
fn a_repair_that_ends_without_success_is_another_ones_turn() {
    let (ours, theirs) = (member(30_000, 1), member(60_000, 2));
    let mut stage = stage(&[ours]);
    for _ in 0..2 {
        stage.get(Level::Quorum);
    }
    let mut others = [Fake::with(&[theirs]), Fake::with(&[theirs])];
    let mut replies = 0;
    let mut is_lost = false;
    while replies < 2 {
        match stage.coordinator.poll_output().expect("a step") {
            // The replica that the first one repairs from dies.
            Output::Send { to, message: Message::CompareElements { .. }, .. } if !is_lost => {
                is_lost = true;
                stage.down(to.0);
            }
            Output::Send { to, correlation, message } => {
                let response = others[usize::from(to.0) - 1].respond(stage.slot, &message);
                stage.respond(correlation, response);
            }
            Output::Reply { reply, .. } => {
                assert_eq!(reply, shown(&[ours, theirs]));
                replies += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    stage.finished();
}

#[test]
fn a_replica_that_was_equal_gets_what_came_from_another_one() {
    let new = member(30_000, 1);
    let mut stage = stage(&[]);
    stage.get(Level::All);
    let mut others = [Fake::with(&[]), Fake::with(&[new])];
    let (reply, sent) = run(&mut stage, &mut others);
    assert_eq!(reply, shown(&[new]));
    assert_eq!(repairs(&sent), [(1, &*std::format!("0,{new}"))]);
    assert_eq!(others[0].members, others[1].members);
    stage.finished();
}

#[test]
fn what_is_large_at_the_other_replica_alone_travels_by_elements_too() {
    let mut stage = Stage::three(0);
    stage.get(Level::Quorum);
    let mut others = [Fake::with(&[])];
    let (reply, sent) = run(&mut stage, &mut others);
    assert_eq!(reply, shown(&[]));
    assert_eq!(repairs(&sent), []);
    stage.finished();
}

#[test]
fn a_difference_that_does_not_fit_in_a_message_takes_several() {
    let ours: Vec<u64> = (0..20).map(|number| member(number * 3_000 + 7, 1)).collect();
    let theirs: Vec<u64> = (0..20).map(|number| member(number * 3_000 + 9, 2)).collect();
    for (fingerprints, bytes) in [(3, 1_000), (1_000, 16), (5, 24)] {
        let limits = Some(Limits { whole_state: 0, fingerprints, bytes });
        let mut stage = stage(&ours);
        stage.replica.limits = limits;
        stage.get(Level::Quorum);
        let mut others = [Fake { limits, ..Fake::with(&theirs) }];
        let (reply, sent) = run(&mut stage, &mut others);
        assert_eq!(reply, shown(&[&ours[..], &theirs].concat()));
        assert_eq!(others[0].members, stage.replica.members);
        assert!(repairs(&sent).len() > 4, "{sent:?}");
        assert!(!sent.iter().any(|(_, message)| matches!(message, Message::AskStates { .. })));
        stage.finished();
    }
}

/// Answers the first questions of a read for a replica with `theirs`; returns the next ones.
fn until_asked(stage: &mut Stage, theirs: &mut Fake, kind: u8) -> u64 {
    loop {
        let sent = stage.sent();
        let [(_, correlation, message)] = &sent[..] else { panic!("{sent:?}") };
        if message.kind() == kind {
            return *correlation;
        }
        let response = theirs.respond(stage.slot, message);
        stage.respond(*correlation, response);
    }
}

#[test]
fn what_changes_meanwhile_is_repaired_or_not_shown() {
    let (new, old) = (member(48_001, 3), member(60_000, 2));
    let mut stage = stage(&[]);
    stage.get(Level::Quorum);
    let mut theirs = Fake::with(&[old]);
    let correlation = until_asked(&mut stage, &mut theirs, 50);
    // A write that is on its way to the others arrives here alone.
    stage.replica.members.insert(new);
    let fingerprints = alloc::vec![old];
    let slot = stage.slot;
    let asked = Message::AskElements { slot, keys: alloc::vec!["k".into()], fingerprints };
    let response = theirs.respond(slot, &asked);
    stage.respond(correlation, response);
    let mut others = [theirs];
    let (reply, sent) = run(&mut stage, &mut others);
    assert_eq!(reply, shown(&[new, old]));
    assert!(others[0].members.contains(&new), "{sent:?}");
    stage.finished();
}

#[test]
fn what_is_removed_meanwhile_hides_nothing_behind_it() {
    let limits = Some(Limits { whole_state: 0, fingerprints: 4, bytes: 1_000 });
    let ours: Vec<u64> = (0..9).map(|number| member(number + 1, 1)).collect();
    let (near, far) = (member(3, 2), member(60_000, 2));
    let mut stage = stage(&ours);
    stage.replica.limits = limits;
    stage.get(Level::Quorum);
    let mut theirs = Fake { limits, ..Fake::with(&[near, far]) };
    let correlation = until_asked(&mut stage, &mut theirs, 50);
    // As a horizon does, which comes with what was asked for.
    stage.replica.members = common().collect();
    let slot = stage.slot;
    let fingerprints = alloc::vec![near];
    let asked = Message::AskElements { slot, keys: alloc::vec!["k".into()], fingerprints };
    let response = theirs.respond(slot, &asked);
    stage.respond(correlation, response);
    let (reply, _) = run(&mut stage, &mut [theirs]);
    assert_eq!(reply, shown(&[near, far]));
    stage.finished();
}

#[test]
fn what_changes_between_two_exchanges_is_compared_once_more() {
    let limits = Some(Limits { whole_state: 0, fingerprints: 2, bytes: 1_000 });
    let ours: Vec<u64> = (0..6).map(|number| member(number * 9_000 + 7, 1)).collect();
    let mut stage = stage(&ours);
    stage.replica.limits = limits;
    stage.get(Level::Quorum);
    let mut theirs = Fake { limits, ..Fake::with(&[]) };
    let correlation = until_asked(&mut stage, &mut theirs, 18);
    // This belongs to what has been compared already.
    let new = member(2, 2);
    stage.replica.members.insert(new);
    let slot = stage.slot;
    let first = encode(0, ours[..2].iter().copied());
    let response = theirs.respond(
        slot,
        &Message::Replicate { slot, dots: Vec::new(), outcome: None, effect: first },
    );
    stage.respond(correlation, response);
    let mut others = [theirs];
    let (reply, _) = run(&mut stage, &mut others);
    assert_eq!(reply, shown(&[&ours[..], &[new]].concat()));
    assert_eq!(others[0].members, stage.replica.members);
    stage.finished();
}

#[test]
fn fingerprints_that_collide_lead_to_whole_states() {
    let (ours, theirs) = (member(30_000, 1), member(30_000, 2));
    let mut stage = stage(&[ours]);
    stage.replica.blurred = 0xff;
    stage.get(Level::Quorum);
    let mut others = [Fake { blurred: 0xff, ..Fake::with(&[theirs]) }];
    let (reply, sent) = run(&mut stage, &mut others);
    assert_eq!(reply, shown(&[ours, theirs]));
    assert_eq!(others[0].members, stage.replica.members);
    assert!(sent.iter().any(|(_, message)| matches!(message, Message::AskStates { .. })));
    stage.finished();
}

#[test]
fn a_replica_that_is_silent_or_lost_is_done_without() {
    for (kind, lost) in [(48, false), (48, true), (50, true), (18, false), (18, true)] {
        let (ours, theirs) = (member(30_000, 1), member(60_000, 2));
        let mut stage = stage(&[ours]);
        stage.get(Level::Quorum);
        until_asked(&mut stage, &mut Fake::with(&[theirs]), kind);
        if lost {
            stage.down(1);
        } else {
            stage.pass(RETRY_AFTER);
        }
        let mut others = [Fake::default(), Fake::with(&[])];
        let (_, sent) = run(&mut stage, &mut others);
        assert!(sent.iter().all(|(to, _)| *to == 2), "{sent:?}");
        assert_eq!(others[1].members, stage.replica.members);
        stage.finished();
    }
}

#[test]
fn answers_that_make_no_sense_lose_the_replica() {
    let lies = [
        Message::Elements {
            digest: 0,
            until: u64::MAX,
            buckets: alloc::vec![999],
            fingerprints: Vec::new(),
        },
        Message::States("5".into()),
        rejected(Cause::NotReplica),
    ];
    for lie in lies {
        let mut stage = stage(&[member(30_000, 1)]);
        stage.get(Level::Quorum);
        let correlation = until_asked(&mut stage, &mut Fake::with(&[]), 48);
        stage.respond(correlation, lie);
        let (_, sent) = run(&mut stage, &mut [Fake::default(), Fake::with(&[])]);
        assert!(sent.iter().all(|(to, _)| *to == 2), "{sent:?}");
    }
    for covered in [0, 2] {
        let mut stage = stage(&[]);
        stage.get(Level::Quorum);
        let correlation = until_asked(&mut stage, &mut Fake::with(&[member(60_000, 2)]), 50);
        let states = Bytes::new();
        stage.respond(correlation, Message::FingerprintStates { covered, states });
        let (_, sent) = run(&mut stage, &mut [Fake::default(), Fake::with(&[])]);
        assert!(sent.iter().all(|(to, _)| *to == 2), "{sent:?}");
    }
}

fn background(mut stage: Stage) -> Stage {
    let topology = Arc::clone(&stage.coordinator.topology);
    let peers: Vec<MemberNumber> = topology.peers().collect();
    stage.coordinator = Coordinator::new(topology).with_read_repair(ReadRepair::Background);
    let me = stage.coordinator.topology.me();
    stage.coordinator.handle_fitness(me, Fitness::FIT);
    peers.into_iter().for_each(|peer| stage.coordinator.handle_peer_up(peer, Fitness::FIT));
    stage
}

#[test]
fn in_the_background_the_answer_waits_for_no_repair() {
    let (ours, theirs) = (member(30_000, 1), member(60_000, 2));
    for large in [true, false] {
        let mut stage = background(stage(&[ours]));
        if !large {
            stage.replica.members.clear();
        }
        stage.get(Level::Quorum);
        let mut other = Fake::with(&[theirs]);
        if !large {
            other.members.clear();
            other.version = 4;
        }
        until_asked(&mut stage, &mut other, if large { 50 } else { 23 });
        let mut stage = background(stage);
        stage.requests = 0;
        stage.get(Level::Quorum);
        let mut replied = None;
        let mut repairs = 0;
        while let Some(output) = stage.coordinator.poll_output() {
            match output {
                // Repairs are sent, and nobody acknowledges them.
                Output::Send { message: Message::Replicate { .. }, .. } => repairs += 1,
                Output::Send { correlation, message, .. } => {
                    let response = other.respond(stage.slot, &message);
                    stage.respond(correlation, response);
                }
                Output::Reply { reply, .. } => replied = Some(reply),
                other => panic!("unexpected {other:?}"),
            }
        }
        let reply = replied.expect("is answered");
        assert_eq!((reply, repairs), (stage.replica.state(), 1));
        assert_eq!(stage.replica.members.contains(&theirs), large, "what is merged shows");
        stage.finished();
    }
}

#[test]
fn a_write_that_reads_first_repairs_before_it_executes() {
    let mut stage = background(Stage::three(0));
    stage.increment("i");
    let asked = stage.sent();
    stage.respond(asked[0].1, digest(3));
    let asked = stage.sent();
    stage.respond(asked[0].1, state("3"));
    let repairs = stage.sent();
    assert!(matches!(repairs[0].2, Message::Replicate { .. }));
    assert!(stage.replica.executed.is_empty());
    stage.respond(repairs[0].1, Message::Ack);
    assert_eq!(stage.replica.executed.len(), 1);
}

#[test]
fn ready_replicas_are_asked_first() {
    let mut stage = Stage::three(0);
    stage.unfit(1, Unfit::CatchingUp, true);
    stage.get(Level::Quorum);
    assert_eq!(targets(&stage.sent()), [2]);
    stage.pass(RETRY_AFTER);
    assert_eq!(targets(&stage.sent()), [1]);
}

#[test]
fn a_forwarded_read_at_one_is_passed_on_by_a_node_that_lost_data() {
    let mut stage = Stage::three(1);
    stage.unfit(1, Unfit::CatchingUp, true);
    stage.unfit(1, Unfit::Incomplete, true);
    let command = Command::from_args(["GET", "k"]).frame().clone();
    let forward = quorate_proto::message::Forward {
        slot: stage.slot,
        read_level: Level::One,
        write_level: Level::One,
        resp3: false,
        budget_ms: 1_000,
        id: ID,
        command,
    };
    stage.peer_asks(EPOCH, Message::Forward(forward));
    let response = stage.response();
    assert!(matches!(response, Message::Rejected { cause: Cause::Incomplete, .. }), "{response:?}");
    // Whoever asked tries the next one.
    let mut stage = Stage::three(1);
    stage.unfit(1, Unfit::CatchingUp, true);
    stage.get(Level::One);
    let sent = stage.sent();
    stage.respond(sent[0].1, rejected(Cause::Incomplete));
    assert_eq!(targets(&stage.sent()), [2]);
    stage.pass(Duration::from_secs(2));
    stage.reply();
    stage.finished();
}
