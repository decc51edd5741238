//! What clients do, and where nodes are.

use super::*;

pub(super) const WORKLOADS: &[Scenario] = &[
    Scenario::BASE,
    Scenario {
        name: "greedy",
        about: "every command takes time, clients send ten thousand at once, and nobody else waits for \
                them: turns are bounded",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[],
        command_us: 40,
        greedy: 10_000,
        available: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "in-order",
        about: "clients send many pairs of SET and GET of one key at once, links and processes fail: each \
                reads what it has written right before",
        nodes: THREE,
        levels: QUORUMS,
        clients: 1,
        pipelined: 40,
        fault_gap: 400_000,
        faults_max: 40,
        ..Scenario::BASE
    },
    Scenario {
        name: "in-order-calm",
        about: "the same without faults, on five nodes of two shards: everything is acknowledged",
        nodes: FIVE,
        shards: 2,
        levels: QUORUMS,
        clients: 1,
        pipelined: 100,
        faults: &[],
        available: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "calm",
        about: "nothing fails: every operation is acknowledged",
        faults: &[],
        levels: MIXED,
        available: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "comes-back",
        about: "one node of three is killed and starts again while its clients knock: it refuses nothing, \
                and reads at ONE are not stale",
        nodes: THREE,
        levels: &[((Level::One, Level::Quorum), 2), ((Level::LocalQuorum, Level::Quorum), 1)],
        clients: 6,
        roaming: false,
        operations: 2_000,
        delay: (1_000, 30_000),
        faults: &[(Kind::Kill, 1)],
        faults_max: 1,
        period: 20_000_000,
        // Those that stay are ready by then.
        calm_until: 6_000_000,
        comes_back: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "quorum",
        about: "three racks, quorum reads and writes on few keys: reads see what was acknowledged",
        nodes: THREE,
        levels: QUORUMS,
        keys: 2,
        ..Scenario::BASE
    },
    Scenario {
        name: "stuck",
        about: "processes stand still, links are slow and fall silent one way: what waits for them goes \
                elsewhere, and what its client was told to have been done otherwise is not begun afterwards",
        nodes: THREE,
        levels: QUORUMS,
        families: &[
            (Family::Register, 4),
            (Family::Hash, 1),
            (Family::Set, 1),
            (Family::Counter, 1),
        ],
        keys: 2,
        clients: 5,
        operations: 1_000,
        expiring_percent: 0,
        faults: &[(Kind::Pause, 4), (Kind::Cut, 1), (Kind::Slow, 1)],
        fault_gap: 600_000,
        ..Scenario::BASE
    },
    Scenario {
        name: "hot",
        about: "two registers, slow links, everybody at once: quorum reads while writes are on their way",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Register, 1)],
        keys: 2,
        clients: 5,
        period: 8_000_000,
        delay: (1_000, 60_000),
        expiring_percent: 0,
        faults: &[(Kind::Kill, 1), (Kind::Cut, 1), (Kind::Slow, 4), (Kind::Reset, 2)],
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "hot-cut",
        about: "two registers, everybody at once, links break all the time, and only reads repair",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Register, 1)],
        keys: 2,
        clients: 5,
        period: 8_000_000,
        delay: (1_000, 60_000),
        expiring_percent: 0,
        faults: &[(Kind::Reset, 6), (Kind::Slow, 1), (Kind::Cut, 4)],
        fault_gap: 100_000,
        faults_max: 80,
        calm_until: 2_000_000,
        repair: Repair::Reads,
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "linear",
        about: "registers with equal clocks at quorum: linearizable",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Register, 1)],
        keys: 4,
        expiring_percent: 0,
        delay: (600, 2_500),
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "flushes",
        about: "everything is deleted now and then, by nodes that may have missed writes: nothing that was \
                acknowledged before is left",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::Set, 1)],
        keys: 3,
        expiring_percent: 0,
        flushes_percent: 8,
        delay: (600, 2_500),
        faults: &[(Kind::Partition, 4), (Kind::Pause, 3), (Kind::Cut, 3), (Kind::Kill, 1)],
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "transactions",
        about: "transactions on two keys, links and processes fail: both or nothing",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Twin, 3), (Family::Register, 1)],
        swaps_percent: 30,
        ..Scenario::BASE
    },
    Scenario {
        name: "watched",
        about: "transactions that watch, one replica of each key, asked through every node: linearizable",
        nodes: THREE,
        replication_factor: 1,
        levels: QUORUMS,
        families: &[(Family::Twin, 1)],
        keys: 4,
        swaps_percent: 80,
        delay: (1_000, 20_000),
        faults: &[(Kind::Slow, 1)],
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "killed-transactions",
        about: "one node, killed again and again, and transactions that watch: linearizable",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        levels: QUORUMS,
        families: &[(Family::Twin, 1)],
        keys: 4,
        swaps_percent: 50,
        clients: 6,
        faults: &[(Kind::Kill, 4), (Kind::Pause, 1)],
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "far-transactions",
        about: "one node of three shards, killed again and again, and transactions over shards that watch: \
                linearizable",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        shards: 3,
        levels: QUORUMS,
        families: &[(Family::FarTwin, 4), (Family::Register, 1)],
        swaps_percent: 50,
        clients: 6,
        expiring_percent: 0,
        faults: &[(Kind::Kill, 4), (Kind::Pause, 1)],
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "durable-transactions",
        about: "the same with sync always, and without power: linearizable and durable",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        shards: 3,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        families: &[(Family::FarTwin, 1)],
        swaps_percent: 50,
        clients: 9,
        faults: &[(Kind::Kill, 1), (Kind::PowerOff, 4), (Kind::SlowDisk, 2)],
        linearizable: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "power-transactions",
        about: "one node of three shards that loses power and the last second of each log: what was written \
                together is kept or lost together",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        shards: 3,
        levels: &[((Level::One, Level::One), 1)],
        families: &[(Family::FarTwin, 1)],
        clients: 6,
        faults: &[(Kind::PowerOff, 6), (Kind::SlowDisk, 2), (Kind::Kill, 1)],
        excused: Excused { stale_reads: true, writes_at_one: true, backwards: true },
        ..Scenario::BASE
    },
    Scenario {
        name: "two-datacentres",
        about: "three and three with local quorums, datacentres cut off from each other",
        nodes: THREE_AND_THREE,
        faults: &[
            (Kind::DatacentreCut, 4),
            (Kind::Kill, 3),
            (Kind::Partition, 2),
            (Kind::Slow, 2),
            (Kind::Reset, 2),
            (Kind::Pause, 2),
        ],
        clients: 2,
        ..Scenario::BASE
    },
    Scenario {
        name: "each-datacentre",
        about: "three and three, a quorum in each datacentre, then one of either",
        nodes: THREE_AND_THREE,
        levels: &[
            ((Level::LocalQuorum, Level::EachQuorum), 6),
            ((Level::EachQuorum, Level::LocalQuorum), 2),
            ((Level::EachQuorum, Level::Quorum), 1),
            ((Level::LocalOne, Level::EachQuorum), 1),
            ((Level::LocalOne, Level::All), 1),
        ],
        faults: &[
            (Kind::Partition, 8),
            (Kind::Slow, 2),
            (Kind::Lossy, 1),
            (Kind::Kill, 1),
            (Kind::Reset, 1),
            (Kind::DatacentreCut, 1),
        ],
        clients: 2,
        ..Scenario::BASE
    },
    Scenario {
        name: "far",
        about: "25 ms from a datacentre to the other, three replicas and two: what is asked at a local level \
                does not wait for that",
        nodes: THREE_AND_THREE,
        by_datacentre: &[("dc1", 3), ("dc2", 2)],
        levels: LOCAL,
        far_delay: (25_000, 25_000),
        faults: &[(Kind::DatacentreCut, 1)],
        calm_until: 3_000_000,
        available: true,
        local_within: 40_000,
        clients: 2,
        ..Scenario::BASE
    },
    Scenario {
        name: "hour-apart",
        about: "two datacentres are cut off from each other for an hour, and both write: nobody waits for the \
                other, ledgers tell what each lacks, and all is equal soon after",
        nodes: TWO_AND_TWO,
        levels: LOCAL,
        far_delay: (25_000, 25_000),
        operations: 1_500,
        period: 3_660_000_000,
        expiring_percent: 0,
        faults: &[(Kind::HourApart, 1)],
        faults_max: 1,
        fault_gap: 5_000_000,
        calm_until: 5_000_000,
        // A third of the hour: what is older, rounds must bring.
        hint_window_ms: 1_200_000,
        available: true,
        local_within: 40_000,
        ledger: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "three-datacentres",
        about: "two nodes in each of three datacentres",
        nodes: TWO_TWO_TWO,
        clients: 2,
        ..Scenario::BASE
    },
    Scenario {
        name: "five",
        about: "more nodes than replicas: requests are forwarded",
        nodes: FIVE,
        levels: QUORUMS,
        clients: 2,
        ..Scenario::BASE
    },
    Scenario {
        name: "pairs",
        about: "commands on two registers with replicas of their own: errors say which part was done",
        nodes: FIVE,
        levels: QUORUMS,
        clients: 2,
        families: &[(Family::Register, 1)],
        keys: 8,
        pairs_percent: 60,
        faults: &[
            (Kind::Kill, 4),
            (Kind::Partition, 3),
            (Kind::Pause, 2),
            (Kind::Cut, 2),
            (Kind::DiskFull, 2),
            (Kind::Slow, 1),
        ],
        ..Scenario::BASE
    },
    Scenario {
        name: "shards",
        about: "three shards a node: mail between them",
        nodes: THREE,
        shards: 3,
        ..Scenario::BASE
    },
];
