//! Documents: members, numbers and arrays that several clients change at once.

use super::*;

const EVERY_PART: &[(Family, u32)] =
    &[(Family::Document, 3), (Family::DocumentCounter, 2), (Family::DocumentArray, 3)];

pub(super) const DOCUMENTS: &[Scenario] = &[
    Scenario {
        name: "documents",
        about: "members, numbers and arrays of few documents, two datacentres, every level, links and \
                processes fail",
        families: EVERY_PART,
        keys: 3,
        ..Scenario::BASE
    },
    Scenario {
        name: "documents-apart",
        about: "documents in three and three nodes that are cut off from each other: increments add up, and \
                items of both sides stand in one order",
        nodes: THREE_AND_THREE,
        levels: &[
            ((Level::LocalQuorum, Level::LocalQuorum), 3),
            ((Level::Quorum, Level::Quorum), 1),
        ],
        families: EVERY_PART,
        keys: 2,
        clients: 2,
        faults: &[
            (Kind::DatacentreCut, 5),
            (Kind::Kill, 3),
            (Kind::Partition, 2),
            (Kind::Slow, 2),
            (Kind::Duplicate, 2),
        ],
        ..Scenario::BASE
    },
    Scenario {
        name: "documents-cut",
        about: "two documents that are compared by elements, links break all the time, and only reads repair",
        nodes: THREE,
        levels: QUORUMS,
        families: EVERY_PART,
        keys: 2,
        clients: 5,
        delay: (600, 8_000),
        period: 8_000_000,
        faults: &[(Kind::Reset, 6), (Kind::Slow, 1), (Kind::Cut, 4)],
        fault_gap: 100_000,
        faults_max: 80,
        calm_until: 2_000_000,
        repair: Repair::Reads,
        element_limits: TINY_MESSAGES,
        ..Scenario::BASE
    },
    Scenario {
        name: "documents-beside",
        about: "every call on documents is executed beside its shard, nodes are killed and lose power",
        nodes: THREE,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        families: EVERY_PART,
        keys: 2,
        faults: &[
            (Kind::Kill, 4),
            (Kind::PowerOff, 2),
            (Kind::Cut, 3),
            (Kind::Pause, 2),
            (Kind::Reset, 2),
            (Kind::SlowDisk, 1),
        ],
        long_call: 1,
        ..Scenario::BASE
    },
];
