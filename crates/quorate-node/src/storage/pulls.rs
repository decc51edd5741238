//! Anti-entropy by clocks between two real storages: that it brings what is missing, and its cost.
//!
//! The tables of the book come from
//! `cargo test --release -p quorate-node --lib what_clocks_cost -- --ignored --nocapture`.

use std::time::{Duration, Instant as Clock};

use quorate_cluster::{
    clocks::{self, Clocks, Holdings as _, Output},
    limits::CLOCKS_INTERVAL,
    time::Instant,
};
use quorate_proto::{Dot, MemberNumber, Origin, message::View, resp::Command};

use super::{
    rounds::{key, pair, set},
    *,
};

const ME: MemberNumber = MemberNumber(0);
const PEER: MemberNumber = MemberNumber(1);

/// Two storages, of which the first asks the other one.
struct Exchanges {
    ours: Storage,
    theirs: Storage,
    clocks: Clocks,
    now: Instant,
    requests: u64,
    asking: Duration,
    answering: Duration,
}

impl Exchanges {
    /// Both hold the same, and have had an anti-entropy round.
    fn new(keys: u64) -> Self {
        let (ours, theirs) = pair(keys);
        let mut clocks = Clocks::new(1);
        clocks.handle_peer_up(Instant::ZERO, PEER);
        let (asking, answering) = Default::default();
        let now = Instant::ZERO;
        let mut pair = Self { ours, theirs, clocks, now, requests: 0, asking, answering };
        pair.exchange();
        pair.clocks.handle_round_begun(PEER);
        pair.clocks.handle_synced(PEER, &mut pair.ours);
        pair.exchange();
        assert_eq!(pair.clocks.metrics().pended, 0);
        pair
    }

    fn exchange(&mut self) {
        self.now += CLOCKS_INTERVAL;
        let begun = Clock::now();
        self.clocks.handle_timeout(self.now, &mut self.ours);
        self.asking += begun.elapsed();
        while let Some(output) = self.clocks.poll_output() {
            let Output::Send { correlation, message, .. } = output else { continue };
            self.requests += 1;
            let begun = Clock::now();
            let answer = clocks::answer(&self.theirs, ME, &message).expect("a question");
            self.answering += begun.elapsed();
            let begun = Clock::now();
            let ours = &mut self.ours;
            self.clocks.handle_response(self.now, ours, PEER, correlation, answer);
            self.asking += begun.elapsed();
        }
    }

    fn bytes(&self) -> u64 {
        self.clocks.metrics().bytes
    }
}

#[test]
fn what_is_missing_is_pulled() {
    let mut pair = Exchanges::new(1_000);
    for missing in [1, 100, 1_000] {
        let before = pair.clocks.metrics().pulled;
        (0..missing).for_each(|number| drop(set(&mut pair.theirs, &key(number))));
        (0..2).for_each(|_| pair.exchange());
        assert_eq!(pair.clocks.metrics().pulled - before, missing);
        assert_eq!(Storage::digest(&mut pair.ours), Storage::digest(&mut pair.theirs));
    }
}

#[test]
fn a_slot_with_one_replica_has_no_dots() {
    let mut alone = Exchanges::new(0).ours;
    let view = View { replication_factor: 1.into(), ..alone.topology.view() };
    let me = alone.topology.member(alone.topology.me()).id;
    alone.topology = Arc::new(Topology::new(&view, me).expect("a topology"));
    let command = Command::from_args(&["SET", "key", "value"]);
    let executed = alone
        .execute_now(&Call::piece(Slot::of_key(b"key"), command), false)
        .expect("is carried out");
    assert!(!executed.effect.is_empty());
    assert_eq!((executed.dot, alone.knowledge().version()), (None, 0));
}

#[test]
#[ignore = "a measurement: needs a release build"]
fn what_clocks_cost() {
    println!(
        "| missing | requests | bytes | CPU ms asking | CPU ms answering |\n|---|---|---|---|---|"
    );
    let mut pair = Exchanges::new(1_000_000);
    for missing in [0, 1, 100, 10_000] {
        for number in 0..missing {
            set(&mut pair.theirs, &key(number * (1_000_000 / missing)));
        }
        let (bytes, pulled) = (pair.bytes(), pair.clocks.metrics().pulled);
        (pair.requests, pair.asking, pair.answering) = Default::default();
        pair.exchange();
        pair.exchange();
        assert_eq!(pair.clocks.metrics().pulled - pulled, missing);
        println!(
            "| {missing} | {} | {} | {:.1} | {:.1} |",
            pair.requests,
            pair.bytes() - bytes,
            pair.asking.as_secs_f64() * 1e3,
            pair.answering.as_secs_f64() * 1e3,
        );
    }
    let writes = 2_000_000;
    let effect = Bytes::from(vec![0; 100]);
    let mut knowledge = Knowledge::default();
    let slot = |number: u64| Slot::new((number * 7_919 % 16_384) as u16).expect("a slot");
    let per_write = |begun: Clock| begun.elapsed().as_nanos() as u64 / writes;
    let begun = Clock::now();
    for number in 0..writes {
        knowledge.issue(slot(number), Origin(1), &effect);
    }
    println!("executor: {} ns a write", per_write(begun));
    let begun = Clock::now();
    for number in 0..writes {
        let dot = Dot { origin: Origin(2), counter: number / 16_384 + 1 };
        knowledge.note(slot(number), vec![dot], &effect);
    }
    println!("other replica: {} ns a write", per_write(begun));
}
