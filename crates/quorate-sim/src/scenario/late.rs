//! Stores that answer later.

use super::*;

/// Up to three milliseconds: longer than most messages take.
const DELAY_US: u32 = 3_000;

/// Two registers, everybody at once, and links that break.
pub(super) const QUICK_AND_HOT: Scenario = Scenario {
    nodes: THREE,
    levels: QUORUMS,
    families: &[(Family::Register, 1)],
    keys: 2,
    clients: 5,
    period: 8_000_000,
    delay: (600, 4_000),
    expiring_percent: 0,
    faults: &[(Kind::Reset, 4), (Kind::Slow, 2), (Kind::Cut, 2), (Kind::Kill, 1)],
    linearizable: true,
    ..Scenario::BASE
};

pub(super) const LATE: &[Scenario] = &[
    Scenario {
        name: "late",
        about: "stores answer later, every family and level, links and processes fail",
        store_delay_us: DELAY_US,
        ..Scenario::BASE
    },
    Scenario {
        name: "late-hot",
        about: "stores answer later, two registers, everybody at once, links break: linearizable",
        store_delay_us: DELAY_US,
        ..QUICK_AND_HOT
    },
    Scenario {
        name: "late-transactions",
        about: "stores answer later, transactions on two keys: both or nothing",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Twin, 3), (Family::Register, 1)],
        swaps_percent: 30,
        store_delay_us: DELAY_US,
        ..Scenario::BASE
    },
    Scenario {
        name: "late-large",
        about: "stores answer later, large hashes and sets are compared by elements",
        nodes: THREE,
        levels: LARGE_LEVELS,
        families: &[(Family::Hash, 2), (Family::Set, 1), (Family::SortedSet, 1)],
        keys: 2,
        element_limits: TINY_MESSAGES,
        store_delay_us: DELAY_US,
        ..Scenario::BASE
    },
    Scenario {
        name: "late-hints",
        about: "stores answer so late that clients of a node that stood still have given up: hints alone make \
                the replicas equal",
        nodes: THREE,
        faults: &[(Kind::Pause, 4), (Kind::Partition, 2), (Kind::Cut, 2), (Kind::Reset, 1)],
        expiring_percent: 0,
        calm_until: 2_000_000,
        repair: Repair::Hints,
        store_delay_us: 150_000,
        ..Scenario::BASE
    },
    Scenario {
        name: "late-alone",
        about: "one node whose store answers later, killed again and again: linearizable",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::List, 1), (Family::Twin, 1)],
        swaps_percent: 30,
        keys: 4,
        clients: 6,
        expiring_percent: 0,
        faults: &[(Kind::Kill, 4), (Kind::Pause, 1)],
        store_delay_us: DELAY_US,
        linearizable: true,
        ..Scenario::BASE
    },
];
