//! Slots that go to other members.

use super::*;

pub(super) const MOVING: &[Scenario] = &[
    Scenario {
        name: "moving",
        about: "slots go from member to member of five, replicas become two and three, while links and \
                processes fail",
        nodes: FIVE,
        levels: QUORUMS,
        operations: 1_500,
        period: 60_000_000,
        clients: 2,
        fault_gap: 4_000_000,
        fault_stretch: 2,
        faults_max: 12,
        moves: 6,
        ..Scenario::BASE
    },
    Scenario {
        name: "moving-apart",
        about: "slots move in two datacentres, three replicas in one and two in the other, each of which \
                gets fewer and more again, while links and processes fail",
        nodes: FOUR_AND_THREE,
        by_datacentre: &[("dc1", 3), ("dc2", 2)],
        levels: &[
            ((Level::Quorum, Level::Quorum), 2),
            ((Level::LocalQuorum, Level::EachQuorum), 2),
            ((Level::LocalQuorum, Level::LocalQuorum), 1),
        ],
        operations: 1_500,
        period: 60_000_000,
        clients: 2,
        fault_gap: 4_000_000,
        fault_stretch: 2,
        faults_max: 10,
        moves: 6,
        ..Scenario::BASE
    },
    Scenario {
        name: "moving-calm",
        about: "slots go from member to member of five, two shards each, and nothing fails: all is acknowledged",
        nodes: FIVE,
        levels: QUORUMS,
        shards: 2,
        operations: 1_500,
        period: 60_000_000,
        clients: 2,
        faults: &[],
        faults_max: 0,
        mail_delay_us: 30_000,
        available: true,
        moves: 8,
        ..Scenario::BASE
    },
    Scenario {
        name: "moving-deletes",
        about: "few keys are written, deleted and expire while their slots move and nodes are away: nothing \
                comes back, and tombstones go",
        nodes: FIVE,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::Set, 2), (Family::Hash, 2)],
        keys: 3,
        expiring_percent: 20,
        operations: 1_500,
        period: 150_000_000,
        clients: 2,
        faults: &[(Kind::Kill, 3), (Kind::Partition, 3), (Kind::Cut, 2), (Kind::Pause, 2)],
        fault_gap: 12_000_000,
        fault_stretch: 6,
        faults_max: 8,
        hint_bytes_max: 2_048,
        forgets: true,
        moves: 12,
        ..Scenario::BASE
    },
];
