//! Scripts of link and heartbeat events, and properties of what is reported.

use alloc::vec;

use proptest::prelude::*;

use super::*;

const PEER: MemberNumber = MemberNumber(1);
const TWO: [MemberNumber; 2] = [PEER, MemberNumber(2)];

fn heartbeat(ready: bool, hints_pending: u64, wall_ms: u64) -> Heartbeat {
    let fitness = if ready { Fitness::FIT } else { Fitness::default() };
    Heartbeat { epoch: 3, fitness, hints_pending, wall_ms }
}

fn drain(liveness: &mut Liveness) -> Vec<Output> {
    core::iter::from_fn(|| liveness.poll_output()).collect()
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn linked() -> Liveness {
    let mut liveness = Liveness::new(Settings::default(), TWO, at(0));
    liveness.handle_link_up(at(0), PEER);
    assert_eq!(drain(&mut liveness), [Output::Up(PEER), Output::SendHeartbeat(PEER)]);
    liveness
}

#[test]
fn the_defaults_are_sound_and_nonsense_is_refused() {
    assert_eq!(Settings::default().check(), Ok(()));
    for (heartbeat_interval, silence_max) in [(0, 1_000), (500, 1_000), (200, 5_000)] {
        let settings = Settings {
            heartbeat_interval: Duration::from_millis(heartbeat_interval),
            silence_max: Duration::from_millis(silence_max),
            ..Settings::default()
        };
        assert!(settings.check().is_err(), "{settings:?}");
    }
}

#[test]
fn this_node_is_up_and_peers_are_not_until_linked() {
    let liveness = Liveness::new(Settings::default(), TWO, at(0));
    assert!(!liveness.is_up(PEER));
}

#[test]
fn heartbeats_go_out_at_the_interval_on_links_that_are_up() {
    let mut liveness = linked();
    let mut sent = 0;
    for millis in 0..1_000 {
        // The peer answers nothing but is heard otherwise.
        liveness.handle_heard(at(millis), PEER);
        liveness.handle_timeout(at(millis));
        let outputs = drain(&mut liveness);
        assert!(outputs.iter().all(|output| *output == Output::SendHeartbeat(PEER)));
        sent += outputs.len();
    }
    assert_eq!(sent, 5);
}

#[test]
fn a_silent_peer_is_down_within_a_second_and_its_link_given_up() {
    let mut liveness = linked();
    let mut now = at(0);
    while liveness.is_up(PEER) {
        now = liveness.poll_timeout().expect("a deadline");
        liveness.handle_timeout(now);
    }
    assert_eq!(now, at(1_000));
    let outputs = drain(&mut liveness);
    assert!(outputs.ends_with(&[Output::Down(PEER), Output::GiveUpLink(PEER)]));
    // Being heard on its own link is not enough while nothing can be sent to it.
    liveness.handle_heartbeat(at(1_100), PEER, &heartbeat(false, 0, 0));
    assert!(!liveness.is_up(PEER));
    liveness.handle_link_up(at(1_200), PEER);
    assert!(liveness.is_up(PEER));
}

#[test]
fn a_peer_is_quiet_between_its_last_word_and_its_end() {
    let mut liveness = linked();
    let quiet = |is_quiet| Output::Quiet { node: PEER, is_quiet };
    let after = |ms: u64, liveness: &mut Liveness| {
        liveness.handle_timeout(at(ms));
        let mut outputs = drain(liveness);
        outputs.retain(|output| !matches!(output, Output::SendHeartbeat(_)));
        outputs
    };
    assert_eq!(after(190, &mut liveness), []);
    assert_eq!(after(349, &mut liveness), []);
    assert_eq!(after(350, &mut liveness), [quiet(true)]);
    assert_eq!(after(600, &mut liveness), []);
    liveness.handle_heard(at(700), PEER);
    assert_eq!(after(700, &mut liveness), [quiet(false)]);
    assert!(liveness.poll_timeout().expect("a deadline") <= at(1_050));
    // In time in which this node did nothing nobody was silent.
    assert_eq!(after(5_000, &mut liveness), []);
    let mut now = 5_000;
    while liveness.is_up(PEER) {
        now += 50;
        liveness.handle_timeout(at(now));
    }
    let outputs = drain(&mut liveness);
    let ends: Vec<_> =
        outputs.into_iter().filter(|it| !matches!(it, Output::SendHeartbeat(_))).collect();
    assert_eq!(ends, [quiet(true), Output::Down(PEER), Output::GiveUpLink(PEER)]);
}

#[test]
fn a_peer_that_is_heard_may_answer_late_but_not_never() {
    let mut liveness = linked();
    for millis in (0..6_000).step_by(100) {
        liveness.handle_heard(at(millis), PEER);
        liveness.handle_timeout(at(millis));
        assert!(liveness.is_up(PEER), "at {millis} ms");
        match millis {
            1_500 => liveness.handle_answer(at(millis), PEER),
            3_000 => liveness.handle_work(at(millis), PEER),
            4_500 => liveness.handle_progress(at(millis), PEER),
            _ => {}
        }
        drain(&mut liveness);
    }
    let mut now = 6_000;
    while liveness.is_up(PEER) {
        now += 100;
        liveness.handle_heard(at(now), PEER);
        liveness.handle_timeout(at(now));
    }
    assert_eq!(now, 6_500);
    assert!(drain(&mut liveness).ends_with(&[Output::Down(PEER), Output::GiveUpLink(PEER)]));
}

#[test]
fn nobody_is_silent_while_this_node_does_nothing() {
    let mut liveness = linked();
    liveness.handle_timeout(at(0));
    liveness.handle_answer(at(100), PEER);
    // A turn of ten seconds: nothing was asked, and nothing taken in.
    liveness.handle_timeout(at(10_000));
    assert!(liveness.is_up(PEER));
    assert!(!drain(&mut liveness).contains(&Output::Down(PEER)));
    // From now on it counts, together with what was silence before.
    liveness.handle_timeout(at(10_200));
    liveness.handle_timeout(at(10_400));
    liveness.handle_timeout(at(10_600));
    liveness.handle_timeout(at(10_800));
    assert!(liveness.is_up(PEER));
    liveness.handle_timeout(at(10_900));
    assert!(!liveness.is_up(PEER));
}

#[test]
fn a_closed_link_takes_the_peer_down_at_once() {
    let mut liveness = linked();
    liveness.handle_heartbeat(at(1), PEER, &heartbeat(true, 7, 0));
    assert_eq!(
        drain(&mut liveness),
        [Output::Fitness { node: PEER, before: Fitness::default(), fitness: Fitness::FIT }]
    );
    assert_eq!(liveness.hints_pending(PEER), Some(7));
    assert_eq!(liveness.fitness(PEER), Fitness::FIT);
    liveness.handle_link_down(PEER);
    assert_eq!(drain(&mut liveness), [Output::Down(PEER)]);
    assert!(!liveness.is_up(PEER));
    assert_eq!(liveness.hints_pending(PEER), None);
    liveness.handle_link_down(PEER);
    assert_eq!(drain(&mut liveness), [], "down only once");
    liveness.handle_link_up(at(2), PEER);
    assert_eq!(liveness.fitness(PEER), Fitness::default(), "it may be another process");
}

#[test]
fn clock_skew_is_reported_when_it_is_certain_and_only_once() {
    let mut liveness = linked();
    // A round trip of 100 ms: the middle of it was at wall 10,000, give or take 50 ms.
    let reply = |ahead: i64| heartbeat(true, 0, 10_000_u64.wrapping_add_signed(ahead));
    liveness.handle_heartbeat_reply(at(100), Wall(10_050), PEER, &reply(290));
    assert_eq!(liveness.clock_ahead_ms(PEER), Some(290));
    assert_eq!(
        drain(&mut liveness),
        [Output::Fitness { node: PEER, before: Fitness::default(), fitness: Fitness::FIT }]
    );

    let mut now = 200;
    for (ahead, expected) in [
        (-400, Some(Output::ClockSkew { node: PEER, ahead_ms: -400 })),
        (-400, None),
        (-220, None),
        (-120, Some(Output::ClockAgrees(PEER))),
        (-120, None),
    ] {
        liveness.handle_timeout(at(now));
        assert_eq!(drain(&mut liveness), [Output::SendHeartbeat(PEER)]);
        liveness.handle_heartbeat_reply(at(now + 100), Wall(10_050), PEER, &reply(ahead));
        assert_eq!(drain(&mut liveness), Vec::from_iter(expected), "ahead {ahead}");
        now += 200;
    }
}

#[test]
fn a_late_answer_is_none_to_a_later_heartbeat() {
    let mut liveness = linked();
    liveness.handle_timeout(at(200));
    liveness.handle_timeout(at(400));
    // The clocks agree, and the first answer took 600 ms.
    for (now, read_at) in [(600, 300), (601, 301)] {
        let reply = heartbeat(true, 0, read_at);
        liveness.handle_heartbeat_reply(at(now), Wall(now), PEER, &reply);
        liveness.handle_timeout(at(now));
    }
    let reply = heartbeat(true, 0, 500);
    liveness.handle_heartbeat_reply(at(1_000), Wall(1_000), PEER, &reply);
    assert_eq!(liveness.clock_ahead_ms(PEER), Some(-200));
    assert!(!drain(&mut liveness).iter().any(|output| matches!(output, Output::ClockSkew { .. })));
}

proptest! {
    /// Whatever happens, up and down alternate, and nobody silent is up.
    #[test]
    fn reports_alternate_and_match_the_getter(
        events in prop::collection::vec((0..5_u8, 1..3_u16, 0..400_u64), 0..200),
    ) {
        let mut liveness = Liveness::new(Settings::default(), TWO, at(0));
        let mut reported = [false; 3];
        let mut heard = [at(0); 3];
        let mut now = 0;
        for (event, node, pause) in events {
            now += pause;
            while let Some(due) = liveness.poll_timeout()
                && due < at(now)
            {
                liveness.handle_timeout(due);
            }
            let node = MemberNumber(node);
            match event {
                0 => liveness.handle_link_up(at(now), node),
                1 => liveness.handle_link_down(node),
                2 => liveness.handle_heard(at(now), node),
                3 => liveness.handle_heartbeat(at(now), node, &heartbeat(true, 1, 0)),
                _ => {}
            }
            if matches!(event, 0 | 2 | 3) {
                heard[node.index()] = at(now);
            }
            liveness.handle_timeout(at(now));
            for output in drain(&mut liveness) {
                match output {
                    Output::Up(node) => {
                        prop_assert!(!reported[node.index()]);
                        reported[node.index()] = true;
                    }
                    Output::Down(node) => {
                        prop_assert!(reported[node.index()]);
                        reported[node.index()] = false;
                    }
                    _ => {}
                }
            }
            for node in TWO {
                prop_assert_eq!(liveness.is_up(node), reported[node.index()]);
                let silence = at(now).since(heard[node.index()]);
                prop_assert!(!liveness.is_up(node) || silence < SILENCE_MAX);
            }
        }
    }
}

fn patiently(peer: MemberNumber) -> (MemberNumber, Duration) {
    (peer, READINESS_PATIENCE)
}

#[test]
fn a_fresh_or_lone_node_is_ready_at_once() {
    assert!(Readiness::new(TWO.map(patiently), false, at(0)).is_ready());
    assert!(Readiness::new([], true, at(0)).is_ready());
    assert!(!Readiness::new([PEER].map(patiently), true, at(0)).is_ready());
}

#[test]
fn a_node_that_was_away_is_ready_after_hints_and_comparison_with_all_peers() {
    let mut readiness = Readiness::new(TWO.map(patiently), true, at(0));
    for (millis, node) in [(10, 1), (20, 2)] {
        let node = MemberNumber(node);
        readiness.handle_up(node);
        assert!(!readiness.handle_hints_pending(at(millis), node, 12));
        assert!(!readiness.handle_hints_pending(at(millis + 1), node, 0));
    }
    assert!(!readiness.handle_synced(at(30), MemberNumber(1)));
    assert_eq!(readiness.awaited(at(30)).collect::<Vec<_>>(), [MemberNumber(2)]);
    assert!(readiness.handle_synced(at(40), MemberNumber(2)));
    assert!(readiness.is_ready());
    assert_eq!(readiness.poll_timeout(at(40)), None);
    // What happens later does not take it back.
    readiness.handle_down(at(50), MemberNumber(1));
    assert!(!readiness.handle_hints_pending(at(60), MemberNumber(2), 5));
    assert!(readiness.is_ready());
}

#[test]
fn comparison_and_hints_count_in_either_order() {
    let mut readiness = Readiness::new([PEER].map(patiently), true, at(0));
    readiness.handle_up(PEER);
    assert!(!readiness.handle_synced(at(1), PEER));
    assert!(!readiness.handle_hints_pending(at(2), PEER, 3));
    assert!(readiness.handle_hints_pending(at(3), PEER, 0));
}

#[test]
fn a_peer_that_stays_down_is_given_up() {
    let mut readiness = Readiness::new(TWO.map(patiently), true, at(0));
    readiness.handle_up(MemberNumber(2));
    readiness.handle_hints_pending(at(10), MemberNumber(2), 0);
    readiness.handle_synced(at(20), MemberNumber(2));
    let deadline = readiness.poll_timeout(at(20)).expect("waits for node 1");
    assert_eq!(deadline, Instant::ZERO + READINESS_PATIENCE);
    assert!(!readiness.handle_timeout(Instant::from_micros(deadline.as_micros() - 1)));
    assert!(readiness.handle_timeout(deadline));
}

#[test]
fn where_nobody_listens_nobody_is_waited_for_long() {
    let mut readiness = Readiness::new([PEER].map(patiently), true, at(0));
    let soon = Instant::ZERO + MEETING_PATIENCE;
    assert!(readiness.awaits_clocks(soon, at(0)));
    readiness.handle_unreachable(PEER);
    assert_eq!(readiness.poll_timeout(at(1)), Some(soon));
    assert!(!readiness.awaits_clocks(soon, at(0)) && readiness.awaits_clocks(at(899), at(0)));
    // It is there after all, and its clock is about to be known.
    readiness.handle_up(PEER);
    assert!(readiness.awaits_clocks(soon, at(0)) && !readiness.handle_timeout(soon));
    readiness.handle_down(at(2_000), PEER);
    assert!(readiness.handle_timeout(at(2_000) + MEETING_PATIENCE));
}

#[test]
fn who_has_lost_everything_waits_for_all() {
    let mut readiness = Readiness::new([(PEER, Duration::MAX)], true, at(0));
    readiness.handle_unreachable(PEER);
    assert!(!readiness.handle_timeout(at(3_600_000)));
    assert!(!readiness.awaits_clocks(at(0) + READINESS_PATIENCE, at(0)), "but not for clocks");
}

#[test]
fn a_peer_that_comes_back_before_it_is_given_up_is_waited_for() {
    let mut readiness = Readiness::new([PEER].map(patiently), true, at(0));
    readiness.handle_up(PEER);
    readiness.handle_hints_pending(at(10), PEER, 0);
    readiness.handle_down(at(20), PEER);
    readiness.handle_up(PEER);
    assert!(!readiness.handle_synced(at(30), PEER), "what it keeps is unknown again");
    assert!(!readiness.handle_timeout(Instant::from_millis(60_000)));
    assert_eq!(readiness.poll_timeout(at(30)), None);
    assert!(vec![PEER].into_iter().eq(readiness.awaited(at(30))));
}

#[test]
fn a_peer_that_leaves_is_not_waited_for_and_one_that_joins_is() {
    let mut readiness = Readiness::new([PEER].map(patiently), true, at(0));
    readiness.handle_up(PEER);
    readiness.handle_hints_pending(at(10), PEER, 0);
    readiness.handle_joined(at(10), MemberNumber(7), READINESS_PATIENCE);
    assert!(!readiness.handle_synced(at(20), PEER));
    assert_eq!(readiness.awaited(at(20)).collect::<Vec<_>>(), [MemberNumber(7)]);
    assert!(readiness.handle_left(at(30), MemberNumber(7)));
}

#[test]
fn peers_come_and_go_without_touching_the_others() {
    let mut liveness = linked();
    liveness.handle_joined(MemberNumber(9));
    liveness.handle_link_up(at(10), MemberNumber(9));
    assert!(liveness.is_up(PEER) && liveness.is_up(MemberNumber(9)));
    liveness.handle_left(MemberNumber(9));
    drain(&mut liveness);
    assert!(liveness.is_up(PEER) && !liveness.is_up(MemberNumber(9)));
    while liveness.is_up(PEER) {
        let due = liveness.poll_timeout().expect("a deadline");
        liveness.handle_timeout(due);
    }
    assert!(drain(&mut liveness).ends_with(&[Output::Down(PEER), Output::GiveUpLink(PEER)]));
}
