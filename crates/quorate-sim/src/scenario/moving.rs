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
        name: "moving-counts",
        about: "everybody counts in two counters while their slots go from member to member of five, again and \
                again from the one that executes, and shards hear of it at different moments: no two \
                increments find the same",
        nodes: FIVE,
        levels: QUORUMS,
        families: &[(Family::Counter, 1)],
        keys: 2,
        operations: 5_000,
        period: 12_000_000,
        clients: 6,
        delay: (1_000, 8_000),
        faults: &[],
        faults_max: 0,
        mail_delay_us: 30_000,
        unique: true,
        available: true,
        moves: 12,
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
    MEMBERS,
    RING,
    Scenario {
        name: "voters",
        about: "three voters are killed, cut off and slow while two operators at once want changes, and one \
                loses its disk: each list follows exactly one other",
        nodes: THREE,
        period: 20_000_000,
        faults: &[
            (Kind::Kill, 12),
            (Kind::Slow, 10),
            (Kind::Cut, 6),
            (Kind::Lossy, 3),
            (Kind::Reset, 3),
            (Kind::Pause, 3),
            (Kind::WipeAll, 1),
        ],
        fault_gap: 400_000,
        faults_max: 60,
        orders: 200,
        order_gap: 120_000,
        ..ORDERS_ALONE
    },
    Scenario {
        name: "voters-struck",
        about: "as voters, and now and then only one node knows what was decided when the others are killed \
                and it is cut off",
        nodes: THREE,
        period: 40_000_000,
        faults: &[(Kind::Slow, 2), (Kind::Kill, 1)],
        fault_gap: 4_000_000,
        faults_max: 10,
        orders: 300,
        order_gap: 120_000,
        strikes_percent: 10,
        ..ORDERS_ALONE
    },
    Scenario {
        name: "witness",
        about: "two datacentres and a third place, whose witnesses come, go and are replaced while clients \
                work, links and processes fail, and a datacentre is cut off",
        nodes: WITNESSED,
        founding: 6,
        replication_factor: 2,
        witnesses: &[5, 6],
        levels: &[
            ((Level::Quorum, Level::Quorum), 3),
            ((Level::LocalQuorum, Level::LocalQuorum), 1),
            ((Level::LocalQuorum, Level::EachQuorum), 1),
        ],
        ..MEMBERS
    },
    Scenario {
        name: "overruled",
        about: "most of three voters are lost for good, some right after they have decided; operators overrule \
                them, two at once, and remove them",
        nodes: FIVE,
        founding: 4,
        period: 60_000_000,
        faults: &[(Kind::Slow, 2), (Kind::Kill, 1), (Kind::Cut, 1)],
        fault_gap: 6_000_000,
        faults_max: 8,
        orders: 100,
        order_gap: 600_000,
        strikes_percent: 10,
        overrules: true,
        ..ORDERS_ALONE
    },
];

/// Nobody asks for anything but operators.
const ORDERS_ALONE: Scenario = Scenario {
    levels: QUORUMS,
    clients: 0,
    operations: 0,
    families: &[(Family::Register, 1)],
    keys: 1,
    ..Scenario::BASE
};

const MEMBERS: Scenario = Scenario {
    name: "members",
    about: "members join, leave and are replaced by orders of operators, two at once, while links and \
            processes fail: voters decide",
    nodes: FIVE,
    founding: 3,
    levels: QUORUMS,
    operations: 300,
    keys: 2,
    period: 40_000_000,
    clients: 2,
    fault_gap: 5_000_000,
    fault_stretch: 2,
    faults_max: 10,
    orders: 30,
    order_gap: 3_000_000,
    ..Scenario::BASE
};

/// A ring whose members have tokens of their own, some of which are in no slot's end but for being
/// named, and others that join between them.
const RING: Scenario = Scenario {
    name: "ring",
    about: "a ring of tokens: members join with tokens of their own, leave and are replaced by orders of \
            operators, while nodes are killed and cut off",
    nodes: TWO_TWO_ONE,
    tokens: &[
        &[1_383_429_731],
        &[101_134_286, 2_147_483_648],
        &[0],
        &[3_530_913_378],
        &[1_000_000_007, 3_000_000_019, 4_000_000_007],
    ],
    founding: 3,
    families: EVERY_FAMILY,
    pairs_percent: 5,
    ..MEMBERS
};

/// Run by name only: losses beyond what the cluster promises to come back from by itself, such as that
/// of half of the voters, after which a schedule may end without coming to rest.
pub(super) const BEYOND: &[Scenario] = &[Scenario {
    name: "members-lost",
    about: "as members, and some are lost for good and removed, also when that leaves no majority of voters",
    gives_up: true,
    ..MEMBERS
}];
