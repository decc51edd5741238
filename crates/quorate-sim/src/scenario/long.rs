//! Calls that are executed beside their shard, and effects that are merged there, as long and large
//! ones are: here all are.

use super::{late::QUICK_AND_HOT, *};

/// Every call on keys has a word.
const EVERY_CALL: usize = 1;

pub(super) const LONG: &[Scenario] = &[
    Scenario {
        name: "long",
        about: "every call is executed beside its shard, every family and level, links and \
                processes fail",
        long_call: EVERY_CALL,
        ..Scenario::BASE
    },
    Scenario {
        name: "long-hot",
        about: "every call is executed beside its shard, two registers, everybody at once, links \
                break, rounds of repair all the time: linearizable",
        long_call: EVERY_CALL,
        ..QUICK_AND_HOT
    },
    Scenario {
        name: "long-large",
        about: "every call is executed beside its shard, large hashes and sets are compared by \
                elements",
        nodes: THREE,
        levels: LARGE_LEVELS,
        families: &[(Family::Hash, 2), (Family::Set, 1), (Family::SortedSet, 1)],
        keys: 2,
        members: 40,
        element_limits: TINY_MESSAGES,
        long_call: EVERY_CALL,
        ..Scenario::BASE
    },
    Scenario {
        name: "long-cut",
        about: "every call is executed beside its shard, one hash compared by elements, links \
                break all the time, and only reads repair",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Hash, 1)],
        keys: 1,
        members: 4,
        clients: 5,
        expiring_percent: 0,
        delay: (600, 8_000),
        period: 8_000_000,
        faults: &[(Kind::Reset, 8), (Kind::Slow, 2), (Kind::Cut, 2)],
        fault_gap: 100_000,
        faults_max: 80,
        calm_until: 2_000_000,
        repair: Repair::Reads,
        element_limits: TINY_MESSAGES,
        long_call: EVERY_CALL,
        ..Scenario::BASE
    },
    Scenario {
        name: "long-killed",
        about: "every call is executed, and every effect merged, beside its shard; nodes are cut off and \
                killed, and only reads repair",
        nodes: THREE,
        sync: SyncPolicy::EverySecond,
        levels: QUORUMS,
        families: &[(Family::Register, 2), (Family::Set, 1), (Family::Hash, 1)],
        keys: 3,
        clients: 5,
        expiring_percent: 0,
        faults: &[(Kind::Kill, 6), (Kind::Cut, 3), (Kind::Partition, 3)],
        fault_gap: 300_000,
        faults_max: 40,
        repair: Repair::Reads,
        long_call: EVERY_CALL,
        ..Scenario::BASE
    },
    Scenario {
        name: "long-alone",
        about: "one node that executes every call beside its shard, killed again and again: linearizable",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::List, 1), (Family::Set, 1)],
        keys: 4,
        clients: 6,
        expiring_percent: 0,
        faults: &[(Kind::Kill, 4), (Kind::Pause, 1)],
        long_call: EVERY_CALL,
        linearizable: true,
        ..Scenario::BASE
    },
];
