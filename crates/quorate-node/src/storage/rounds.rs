//! Anti-entropy rounds between two real storages: that they settle everything, and what they cost.
//!
//! The table of the book comes from
//! `cargo test --release -p quorate-node --lib what_a_round_costs -- --ignored --nocapture`.

use std::time::{Duration, Instant as Clock};

use quorate_cluster::{
    anti_entropy::{self, AntiEntropy, Output, wire_bytes},
    coordinator::Replica as _,
    elements,
    random::Random,
    time::Instant,
};
use quorate_log::HintOptions;
use quorate_proto::{
    Duties, Incarnation, MemberNumber, NodeId, Numbers, Origin, Start,
    message::{Member, Message, View},
    resp::Command,
};
use quorate_store::StoreOptions;

use super::*;

pub(super) const WALL_MS: u64 = 1_700_000_000_000;

/// The start of either node.
const START: Start = Start::from_random(1);

/// Two nodes that hold everything, as one of them sees it.
pub(super) fn topology(number: u16) -> Topology {
    let member = |number: u16| Member {
        id: NodeId(u128::from(number) + 1),
        name: format!("n{number}"),
        datacentre: "dc".into(),
        rack: format!("r{number}"),
        tokens: Vec::new(),
        peer_address: format!("h{number}:1"),
        client_address: format!("h{number}:2"),
        cluster_address: format!("h{number}:3"),
        incarnation: Incarnation { start: START, ..Incarnation::default() },
        duties: Duties::default(),
    };
    let members = vec![member(0), member(1)];
    let numbers = Numbers::of_first(members.iter().map(|member| member.id)).expect("numbers");
    let view = View {
        epoch: 2,
        sealed: true,
        partitioner: Default::default(),
        replication_factor: 2.into(),
        members,
        numbers,
        ownership: None,
    };
    Topology::new(&view, NodeId(u128::from(number) + 1)).expect("a topology")
}

/// One of two nodes that hold everything.
pub(super) fn storage(number: u16) -> Storage {
    storage_with(number, 1 << 20, u64::MAX)
}

/// The same with bounds of hints: bytes of each queue, and of all.
pub(super) fn storage_with(number: u16, bytes_max: u64, total_max: u64) -> Storage {
    let topology = Arc::new(topology(number));
    let options =
        HintOptions { log_id: 0, bytes_max, segment_bytes_max: total_max / 8, new_salt: 1 };
    let budget = Arc::new(HintBudget::new(total_max));
    let terms = HintTerms { options, age_max_ms: 1_000, budget };
    let disk = crate::startup::memory_disk();
    let hints = HintQueues::open(disk, "hints".into(), terms, &topology, Groups::ALL);
    let hints = hints.expect("queues");
    let store = Store::new(StoreOptions {
        origin: Origin::new(number, START),
        digest_secret: [7; 16],
        seed: u64::from(number),
        keep_removed: true,
    });
    let mut storage = Storage::new(Parts {
        store,
        log: None,
        policy: SyncPolicy::No,
        checkpoint_bytes_min: 1 << 20,
        hints,
        element_limits: elements::Limits::DEFAULT,
        long_call: usize::MAX,
        topology,
        shard: 0,
        shards: 1,
        incomplete: false,
        last_transaction: 0,
    });
    storage.wall_ms = WALL_MS;
    storage
}

pub(super) fn key(number: u64) -> String {
    format!("key:{number:012}")
}

pub(super) fn set(storage: &mut Storage, key: &str) -> (Slot, Bytes) {
    let slot = Slot::of_key(key.as_bytes());
    let command = Command::from_args(&["SET", key, &"v".repeat(64)]);
    let executed = storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
    (slot, executed.effect)
}

/// Two storages that hold the same.
pub(super) fn pair(keys: u64) -> (Storage, Storage) {
    let (mut ours, mut theirs) = (storage(0), storage(1));
    for number in 0..keys {
        let (slot, effect) = set(&mut ours, &key(number));
        theirs.merge_now(slot, Vec::new(), &effect).expect("is merged");
    }
    (ours, theirs)
}

/// What a round came to.
#[derive(Debug, Default)]
struct Cost {
    keys: u64,
    requests: u64,
    bytes: u64,
    /// Of the node that asks.
    asking: Duration,
    /// Of the node that answers.
    answering: Duration,
}

fn round(ours: &mut Storage, theirs: &mut Storage) -> Cost {
    let (me, peer) = (MemberNumber(0), MemberNumber(1));
    let mut sync = AntiEntropy::new([MemberNumber(1)]);
    let mut now = Instant::ZERO;
    let mut cost = Cost::default();
    sync.request(now, peer);
    loop {
        let begun = Clock::now();
        sync.handle_timeout(now, ours);
        cost.asking += begun.elapsed();
        while let Some(output) = sync.poll_output() {
            let Output::Send { correlation, message, .. } = output else {
                let Output::Completed { keys, .. } = output else { continue };
                cost.keys = keys;
                return cost;
            };
            let begun = Clock::now();
            let response = anti_entropy::answer(theirs, me, &message);
            let response = response.or_else(|| elements::answer(theirs, &message));
            let response = response.unwrap_or_else(|| {
                let Message::Replicate { slot, effect, .. } = &message else {
                    panic!("unexpected {message:?}");
                };
                theirs.merge_now(*slot, Vec::new(), effect).expect("is merged");
                Message::Ack
            });
            cost.answering += begun.elapsed();
            cost.requests += 1;
            cost.bytes += wire_bytes(&message) + wire_bytes(&response);
            let begun = Clock::now();
            sync.handle_response(now, ours, peer, correlation, response);
            cost.asking += begun.elapsed();
        }
        // Only the pace takes time.
        now = sync.poll_timeout().expect("the round goes on").max(now);
    }
}

/// Changes keys all over the key space, in turns on this side and on that.
fn diverge(ours: &mut Storage, theirs: &mut Storage, keys: u64, differences: u64) {
    for number in 0..differences {
        let side = if number % 2 == 0 { &mut *ours } else { &mut *theirs };
        set(side, &key(number * (keys / differences.max(1))));
    }
}

#[test]
fn a_round_settles_what_differs_between_two_storages() {
    let (mut ours, mut theirs) = pair(5_000);
    assert_eq!(round(&mut ours, &mut theirs).keys, 0);
    for differences in [1, 100, 5_000] {
        diverge(&mut ours, &mut theirs, 5_000, differences);
        assert_eq!(round(&mut ours, &mut theirs).keys, differences);
        assert_eq!(Storage::digest(&mut ours), Storage::digest(&mut theirs));
    }
    let mut empty = storage(0);
    assert_eq!(round(&mut empty, &mut theirs).keys, 5_000);
    assert_eq!(Storage::digest(&mut empty), Storage::digest(&mut theirs));
    let mut empty = storage(1);
    assert_eq!(round(&mut ours, &mut empty).keys, 5_000);
    assert_eq!(Storage::digest(&mut empty), Storage::digest(&mut ours));
}

/// Everything is large, and little fits in a message.
const TINY_MESSAGES: elements::Limits =
    elements::Limits { whole_state: 0, fingerprints: 4, bytes: 100 };

/// Runs a command on one of two nodes, and perhaps its effect on the other one.
fn run(nodes: &mut [Storage; 2], at: usize, words: &[&str], reaches: bool) {
    let slot = Slot::of_key(words[1].as_bytes());
    let executed = nodes[at].execute_now(&Call::piece(slot, Command::from_args(words)), false);
    let effect = executed.expect("is carried out").effect;
    if reaches {
        nodes[1 - at].merge_now(slot, Vec::new(), &effect).expect("is merged");
    }
}

#[test]
fn keys_with_many_elements_become_equal_however_little_fits() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut nodes = [storage(0), storage(1)];
        for step in 1..=random.below(120) {
            nodes.iter_mut().for_each(|node| node.wall_ms = WALL_MS + u64::from(step));
            let (name, value) = (format!("n{}", random.below(30)), format!("v{step}"));
            let words: &[&str] = match random.below(9) {
                0 | 1 => &["HSET", "{k}h", &name, &value],
                2 => &["HDEL", "{k}h", &name],
                3 => &["HINCRBY", "{k}h", "number", "3"],
                4 | 5 => &["SADD", "{k}s", &name],
                6 => &["SREM", "{k}s", &name],
                7 => &["DEL", "{k}s"],
                _ => &["PEXPIRE", "{k}h", "900000"],
            };
            let (at, reaches) = (random.below(2) as usize, random.below(2) == 0);
            run(&mut nodes, at, words, reaches);
        }
        let lost = seed % 2 == 0;
        let [ours, theirs] = &mut nodes;
        (ours.element_limits, theirs.element_limits) = (TINY_MESSAGES, TINY_MESSAGES);
        ours.incomplete = lost;
        round(ours, theirs);
        assert_eq!(Storage::digest(ours), Storage::digest(theirs), "seed {seed}");
        if lost {
            let slot = Slot::of_key(b"{k}");
            let (ours, theirs) = (ours.store.slot_version(slot), theirs.store.slot_version(slot));
            assert_eq!(ours, theirs, "seed {seed}");
        }
    }
}

/// Two nodes with a hash of so many fields, one of which differs.
fn large_pair(fields: u64, limits: elements::Limits) -> [Storage; 2] {
    let mut nodes = [storage(0), storage(1)];
    let value = "v".repeat(16);
    for number in 0..fields {
        run(&mut nodes, 0, &["HSET", "large", &key(number), &value], true);
    }
    nodes.iter_mut().for_each(|node| node.element_limits = limits);
    run(&mut nodes, 0, &["HSET", "large", &key(fields / 2), "changed"], false);
    nodes
}

#[test]
fn of_a_large_hash_only_what_differs_travels() {
    let [mut ours, mut theirs] = large_pair(20_000, elements::Limits::DEFAULT);
    // Digests of groups and of one group's slots, and eight bytes for each of 3 times 141 elements.
    let cost = round(&mut ours, &mut theirs);
    assert!(cost.keys == 1 && cost.bytes < 20_000, "{cost:?}");
    assert_eq!(Storage::digest(&mut ours), Storage::digest(&mut theirs));
}

/// `cargo test --release -p quorate-node --lib what_a_large_key_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: needs a release build and 1 GiB of memory"]
fn what_a_large_key_costs() {
    println!("| fields | states travel | requests | bytes | CPU ms asking | CPU ms answering |");
    println!("|---|---|---|---|---|---|");
    let whole = elements::Limits { whole_state: usize::MAX, ..elements::Limits::DEFAULT };
    for fields in [1_000, 100_000, 1_000_000] {
        for (name, limits) in [("whole", whole), ("by elements", elements::Limits::DEFAULT)] {
            let [mut ours, mut theirs] = large_pair(fields, limits);
            let cost = round(&mut ours, &mut theirs);
            assert_eq!(Storage::digest(&mut ours), Storage::digest(&mut theirs));
            println!(
                "| {fields} | {name} | {} | {} | {:.1} | {:.1} |",
                cost.requests,
                cost.bytes,
                cost.asking.as_secs_f64() * 1e3,
                cost.answering.as_secs_f64() * 1e3,
            );
        }
    }
}

#[test]
#[ignore = "a measurement: needs a release build and 5 GiB of memory"]
fn what_a_round_costs() {
    println!("| keys | differences | requests | bytes | CPU ms asking | CPU ms answering |");
    println!("|---|---|---|---|---|---|");
    for keys in [100_000, 1_000_000, 10_000_000] {
        let (mut ours, mut theirs) = pair(keys);
        for differences in [0, 1, 10, 100, 1_000, 10_000, 100_000] {
            diverge(&mut ours, &mut theirs, keys, differences);
            let cost = round(&mut ours, &mut theirs);
            assert_eq!(cost.keys, differences);
            println!(
                "| {keys} | {differences} | {} | {} | {:.1} | {:.1} |",
                cost.requests,
                cost.bytes,
                cost.asking.as_secs_f64() * 1e3,
                cost.answering.as_secs_f64() * 1e3,
            );
        }
    }
}
