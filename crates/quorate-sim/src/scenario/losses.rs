//! What disks, processes and clocks lose.

use super::*;

pub(super) const LOSSES: &[Scenario] = &[
    Scenario {
        name: "power",
        about: "sync always: machines lose power, one by one and all at once, and nothing is lost",
        nodes: THREE,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        faults: &[
            (Kind::PowerOff, 4),
            (Kind::PowerOffAll, 1),
            (Kind::SlowDisk, 3),
            (Kind::Reset, 1),
            (Kind::Partition, 1),
        ],
        ..Scenario::BASE
    },
    Scenario {
        name: "power-everysec",
        about: "sync every second: one machine loses power once, and the others have what it forgot",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[(Kind::PowerOff, 1)],
        faults_max: 1,
        ..Scenario::BASE
    },
    Scenario {
        name: "counters",
        about: "counters at every level while one machine loses power and links fail",
        nodes: THREE,
        families: &[(Family::Counter, 1)],
        keys: 2,
        faults: &[(Kind::PowerOff, 3), (Kind::Partition, 3), (Kind::Cut, 2), (Kind::Slow, 1)],
        excused: Excused { writes_at_one: true, ..Excused::NOTHING },
        ..Scenario::BASE
    },
    Scenario {
        name: "disk",
        about: "disks are full, slow, or fail",
        nodes: THREE,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        faults: &[
            (Kind::DiskFull, 3),
            (Kind::SyncsFail, 2),
            (Kind::WritesFail, 2),
            (Kind::SlowDisk, 2),
            (Kind::PowerOff, 1),
        ],
        ..Scenario::BASE
    },
    Scenario {
        name: "one-full",
        about: "the disk of one node of three is full for a while: every operation at quorum succeeds",
        nodes: THREE,
        levels: QUORUMS,
        clients: 4,
        // Some segments of the logs.
        operations: 3_000,
        faults: &[(Kind::DiskFull, 1)],
        faults_max: 1,
        fault_gap: 2_000_000,
        fault_stretch: 4,
        calm_until: 2_000_000,
        available: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "rot",
        about: "a bit of one log flips: it is noticed, and the replicas fill in what is missing",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[(Kind::Rot, 2), (Kind::Partition, 1), (Kind::Cut, 1), (Kind::Slow, 1)],
        faults_max: 6,
        ..Scenario::BASE
    },
    Scenario {
        name: "scrub",
        about: "bits of a log flip under a node that scrubs: nobody misses anything after a restart",
        nodes: THREE,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        period: 25_000_000,
        faults: &[(Kind::Flip, 6), (Kind::Kill, 3), (Kind::PowerOff, 2), (Kind::Partition, 1)],
        scrub_seconds: 1,
        ..Scenario::BASE
    },
    Scenario {
        name: "wipe",
        about: "one node loses all of its data and is filled again by the others",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[(Kind::Wipe, 2), (Kind::Partition, 2), (Kind::Cut, 1), (Kind::Slow, 1)],
        faults_max: 6,
        keys: 3,
        ..Scenario::BASE
    },
    Scenario {
        name: "lost",
        about: "one node loses everything, its identity too: it takes its seat again and is filled",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[
            (Kind::WipeAll, 3),
            (Kind::Partition, 2),
            (Kind::Cut, 1),
            (Kind::Slow, 1),
            (Kind::Kill, 1),
        ],
        faults_max: 6,
        keys: 3,
        ..Scenario::BASE
    },
    Scenario {
        name: "seat-retaken",
        about: "one node loses everything while another one is down, all are killed while it is filled, and \
                the one that has all that was acknowledged comes back last",
        nodes: THREE,
        shards: 3,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        mail_delay_us: 300_000,
        faults: &[(Kind::KilledWhileFilled, 1)],
        period: 30_000_000,
        keys: 30,
        ..Scenario::BASE
    },
    FOUNDERS,
    Scenario {
        name: "founders-five",
        about: "the same with three or four of five",
        nodes: FIVE,
        replication_factor: 5,
        clients: 2,
        ..FOUNDERS
    },
    Scenario {
        name: "lost-counters",
        about: "counters at every level, and one node loses everything: no incarnation counts twice",
        nodes: THREE,
        families: &[(Family::Counter, 1)],
        keys: 2,
        faults: &[(Kind::WipeAll, 4), (Kind::Kill, 1), (Kind::Partition, 1), (Kind::Slow, 1)],
        faults_max: 6,
        excused: Excused { writes_at_one: true, ..Excused::NOTHING },
        ..Scenario::BASE
    },
    Scenario {
        name: "copies",
        about: "counters, and an old copy of a data directory is put back: it is fenced, and nothing \
                acknowledged is merged away",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Counter, 2), (Family::Register, 1)],
        keys: 2,
        faults: &[
            (Kind::PutBack, 3),
            (Kind::Kill, 4),
            (Kind::Partition, 2),
            (Kind::Cut, 1),
            (Kind::Slow, 1),
        ],
        faults_max: 8,
        // Until the copy meets somebody who has met a later start, nobody knows that it lacks
        // anything.
        excused: Excused { stale_reads: true, writes_at_one: true, backwards: true },
        ..Scenario::BASE
    },
    Scenario {
        name: "refill",
        about: "sync always: one node loses everything, machines lose power while it is filled again",
        nodes: THREE,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        faults: &[
            (Kind::WipeAll, 2),
            (Kind::PowerOff, 4),
            (Kind::PowerOffAll, 1),
            (Kind::SlowDisk, 4),
            (Kind::Slow, 1),
        ],
        keys: 3,
        ..Scenario::BASE
    },
    Scenario {
        name: "clocks",
        about: "clocks differ, jump and drift within the bound",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[
            (Kind::Skew, 6),
            (Kind::Drift, 2),
            (Kind::Kill, 2),
            (Kind::Pause, 1),
            (Kind::Partition, 1),
        ],
        skew_max_ms: 110,
        ..Scenario::BASE
    },
    Scenario {
        name: "wild-clocks",
        about: "clocks jump by hours while links fail: no jump is believed, and nothing is poisoned",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[(Kind::Skew, 4), (Kind::Partition, 2), (Kind::Cut, 2), (Kind::Pause, 1)],
        skew_max_ms: 7_200_000,
        faults_max: 10,
        ..Scenario::BASE
    },
    Scenario {
        name: "wrong-starts",
        about: "nodes start while their clocks are hours away: others date their writes",
        nodes: THREE,
        levels: QUORUMS,
        faults: &[(Kind::Skew, 3), (Kind::Kill, 3), (Kind::Slow, 1)],
        // Who is right is open while two nodes contradict each other: then neither answers for
        // these.
        expiring_percent: 30,
        skew_max_ms: 7_200_000,
        faults_max: 10,
        ..Scenario::BASE
    },
];
