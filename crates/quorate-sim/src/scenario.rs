//! Scenarios: a cluster, a workload, what goes wrong, and what is promised even so.
//!
//! A new one is a few lines: take [`Scenario::BASE`] and change what matters.

use quorate::config::{ReadRepair, SyncPolicy};
use quorate_cluster::elements::Limits;
use quorate_proto::Level;

use crate::{action::Family, fault::Kind};

/// A kind of schedule. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    /// The nodes: datacentre and rack.
    pub nodes: &'static [(&'static str, &'static str)],
    /// Replicas in each datacentre.
    pub replication_factor: u16,
    /// Shards of each node.
    pub shards: u16,
    /// When a write is safe on disk.
    pub sync: SyncPolicy,
    /// Levels of reads and writes that connections ask for, with their weights.
    pub levels: &'static [((Level, Level), u32)],
    /// Clients of each node.
    pub clients: u32,
    /// Whether a client that lost its node goes to another one.
    pub roaming: bool,
    /// Operations in all.
    pub operations: u32,
    /// Time within which they start, and faults begin.
    pub period: u64,
    /// Families of keys with their weights.
    pub families: &'static [(Family, u32)],
    /// Keys of each family. A third of the operations goes to the first one.
    pub keys: u32,
    /// How many registers in a hundred are written with an expiry.
    pub expiring_percent: u32,
    /// How many commands in a hundred are `MSET` or `DEL` of two registers.
    pub pairs_percent: u32,
    /// How many writes of twins in a hundred watch them.
    pub swaps_percent: u32,
    /// How many of a hundred operations delete everything.
    pub flushes_percent: u32,
    /// Delay between nodes of a datacentre, least and most.
    pub delay: (u64, u64),
    /// Delay between datacentres, least and most.
    pub far_delay: (u64, u64),
    /// How much later the shards of a node hear of its membership at most, in microseconds.
    pub mail_delay_us: u32,
    /// The faults that happen, with their weights.
    pub faults: &'static [(Kind, u32)],
    /// Mean time between them.
    pub fault_gap: u64,
    /// How many times as long as usual they last.
    pub fault_stretch: u64,
    /// How many there are at most.
    pub faults_max: usize,
    /// Before this nothing fails.
    pub calm_until: u64,
    /// Which ways of repair work once the calm is over.
    pub repair: Repair,
    /// How far the clocks differ at most when they are skewed, in milliseconds.
    pub skew_max_ms: u64,
    /// Whether the cluster must still form when the schedule begins.
    pub forms: bool,
    /// What is not promised in this scenario.
    pub excused: Excused,
    /// Whether registers and lists are linearizable: with equal clocks, quorums that overlap, and
    /// round trips longer than a tick of the stamps. Lists only where one node executes all: two
    /// executors that append at the same time do not see each other.
    pub linearizable: bool,
    /// Whether every operation must be acknowledged that begins after the calm, whatever fails.
    pub available: bool,
    /// Whether one node is killed and comes back: nothing is refused meanwhile or by a node that
    /// starts, and what was written while it was away is read there, at `ONE` too.
    pub comes_back: bool,
    /// Bytes of hints for one target before they collapse into dirty ranges.
    pub hint_bytes_max: u64,
    /// Bytes of all hints of a node before they do.
    pub hints_bytes_max: u64,
    /// How long hints are kept before they do, in milliseconds.
    pub hint_window_ms: u64,
    /// Whether ledgers must tell at any moment why live replicas differ. Not where keys expire,
    /// which every replica forgets by itself and at a moment of its own.
    pub ledger: bool,
    /// How often the operating system writes to disk what nobody has synced; zero for never.
    pub write_back: u64,
    /// Seconds between scrubs; zero for none. Digests and logs must always be found as they should
    /// be then, but for bits that flip.
    pub scrub_seconds: u64,
    /// Whether all tombstones must be forgotten in the end.
    pub forgets: bool,
    /// When reads repair replicas that are behind.
    pub read_repair: ReadRepair,
    /// How states travel between replicas.
    pub element_limits: Limits,
    /// Members of each set, and fields of each hash.
    pub members: u64,
}

/// Which of the ways of repair work that need no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// All of them.
    Every,
    /// Anti-entropy rounds and exchanges of clocks get no answer, so that hints have to do all.
    Hints,
    /// Anti-entropy rounds and hints are refused as long as something fails. By then clocks alone
    /// must have made those equal that went on all the time.
    Clocks,
}

/// Promises that a scenario's faults go beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excused {
    /// A replica lost data that it had acknowledged, so a quorum may miss it until it is repaired.
    pub stale_reads: bool,
    /// A replica lost data, and what was acknowledged at ONE may have been nowhere else.
    pub writes_at_one: bool,
    /// Reads answer before they have repaired what they show, so a later one may not show it.
    pub backwards: bool,
}

impl Excused {
    /// Everything is promised.
    pub const NOTHING: Self = Self { stale_reads: false, writes_at_one: false, backwards: false };
}

/// One datacentre of three racks.
const THREE: &[(&str, &str)] = &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3")];
/// Two nodes here and one far away.
const TWO_AND_ONE: &[(&str, &str)] = &[("dc1", "r1"), ("dc1", "r2"), ("dc2", "r1")];
/// Three nodes in each of two datacentres.
const THREE_AND_THREE: &[(&str, &str)] =
    &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3"), ("dc2", "r1"), ("dc2", "r2"), ("dc2", "r3")];
/// More nodes than replicas.
const FIVE: &[(&str, &str)] =
    &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3"), ("dc1", "r4"), ("dc1", "r5")];
/// Three datacentres of two.
const TWO_TWO_TWO: &[(&str, &str)] =
    &[("dc1", "r1"), ("dc1", "r2"), ("dc2", "r1"), ("dc2", "r2"), ("dc3", "r1"), ("dc3", "r2")];

const QUORUMS: &[((Level, Level), u32)] = &[((Level::Quorum, Level::Quorum), 1)];
const MIXED: &[((Level, Level), u32)] = &[
    ((Level::Quorum, Level::Quorum), 4),
    ((Level::LocalQuorum, Level::LocalQuorum), 3),
    ((Level::One, Level::One), 2),
    ((Level::One, Level::All), 1),
    ((Level::All, Level::One), 1),
];

/// What is acknowledged is at every node.
const EVERYWHERE: &[((Level, Level), u32)] =
    &[((Level::Quorum, Level::All), 3), ((Level::One, Level::All), 1)];

/// Some writes at ONE, so that replicas differ for long.
const LARGE_LEVELS: &[((Level, Level), u32)] = &[
    ((Level::Quorum, Level::Quorum), 5),
    ((Level::Quorum, Level::One), 2),
    ((Level::All, Level::Quorum), 1),
];

/// Everything is large, and little fits in a message.
const TINY_MESSAGES: Limits = Limits { whole_state: 32, fingerprints: 6, bytes: 200 };

const EVERY_FAMILY: &[(Family, u32)] = &[
    (Family::Register, 4),
    (Family::Counter, 2),
    (Family::Set, 2),
    (Family::Hash, 2),
    (Family::SortedSet, 1),
];

/// What networks and processes do.
const LINKS_AND_PROCESSES: &[(Kind, u32)] = &[
    (Kind::Kill, 4),
    (Kind::Pause, 3),
    (Kind::Cut, 3),
    (Kind::Partition, 3),
    (Kind::DatacentreCut, 1),
    (Kind::Reset, 3),
    (Kind::Slow, 2),
    (Kind::Lossy, 2),
    (Kind::Duplicate, 2),
    (Kind::SlowDisk, 1),
];

impl Scenario {
    /// Three nodes, two datacentres, every family of keys, 500 operations, and whatever networks
    /// and processes do.
    pub const BASE: Self = Self {
        name: "base",
        about: "three nodes in two datacentres, every family and level, links and processes fail",
        nodes: TWO_AND_ONE,
        replication_factor: 3,
        shards: 1,
        sync: SyncPolicy::EverySecond,
        levels: MIXED,
        clients: 3,
        roaming: true,
        operations: 500,
        period: 15_000_000,
        families: EVERY_FAMILY,
        keys: 6,
        expiring_percent: 5,
        pairs_percent: 0,
        swaps_percent: 0,
        flushes_percent: 0,
        delay: (150, 900),
        far_delay: (5_000, 15_000),
        mail_delay_us: 0,
        faults: LINKS_AND_PROCESSES,
        fault_gap: 1_500_000,
        fault_stretch: 1,
        faults_max: 24,
        calm_until: 0,
        repair: Repair::Every,
        skew_max_ms: 0,
        forms: false,
        excused: Excused::NOTHING,
        linearizable: false,
        available: false,
        comes_back: false,
        hint_bytes_max: 1 << 18,
        hints_bytes_max: 1 << 20,
        hint_window_ms: 3 * 3_600_000,
        ledger: false,
        write_back: 0,
        scrub_seconds: 0,
        forgets: false,
        read_repair: ReadRepair::Blocking,
        element_limits: Limits::DEFAULT,
        members: 8,
    };

    /// The scenario of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|scenario| scenario.name == name)
    }
}

/// Most of a cluster loses everything while the rest is down.
const FOUNDERS: Scenario = Scenario {
    name: "founders",
    about: "most of three nodes lose everything while the rest is down, for up to a minute: they found no \
            cluster of their own, and what was acknowledged is there once all are back",
    nodes: THREE,
    levels: EVERYWHERE,
    period: 90_000_000,
    faults: &[(Kind::WipeMost, 1)],
    fault_gap: 6_000_000,
    calm_until: 8_000_000,
    // What was read may have been on its way to the one that kept its data.
    excused: Excused { backwards: true, ..Excused::NOTHING },
    ..Scenario::BASE
};

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario::BASE,
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
        name: "refill",
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
    Scenario {
        name: "deletes",
        about: "few keys written, deleted, expired and written again while nodes are away",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::Set, 2), (Family::Hash, 2)],
        keys: 3,
        expiring_percent: 30,
        ..Scenario::BASE
    },
    Scenario {
        name: "lifetimes",
        about: "collections and counters get times to live, are emptied and made again",
        nodes: THREE,
        levels: QUORUMS,
        families: &[
            (Family::TimedSet, 1),
            (Family::TimedHash, 1),
            (Family::TimedCounter, 1),
            (Family::TimedSortedSet, 1),
        ],
        keys: 3,
        operations: 800,
        delay: (150, 20_000),
        faults: LINKS_AND_PROCESSES,
        ..Scenario::BASE
    },
    Scenario {
        name: "forgetting",
        about: "minutes of deletions while nodes are away or lose data: tombstones go, nothing comes back",
        nodes: THREE,
        sync: SyncPolicy::No,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::Set, 2), (Family::Hash, 2)],
        keys: 3,
        clients: 2,
        operations: 900,
        period: 180_000_000,
        expiring_percent: 20,
        faults: &[
            (Kind::Kill, 3),
            (Kind::PowerOff, 2),
            (Kind::Wipe, 1),
            (Kind::WipeAll, 1),
            (Kind::Partition, 3),
            (Kind::Cut, 2),
            (Kind::Pause, 2),
            (Kind::Slow, 2),
            (Kind::Duplicate, 2),
        ],
        fault_gap: 12_000_000,
        fault_stretch: 12,
        faults_max: 12,
        hint_bytes_max: 2_048,
        write_back: 70_000_000,
        forgets: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "hints",
        about: "links fail and anti-entropy rounds do not work: hints alone make the replicas equal",
        nodes: THREE,
        faults: &[
            (Kind::Partition, 4),
            (Kind::Cut, 3),
            (Kind::Reset, 3),
            (Kind::Pause, 2),
            (Kind::Lossy, 1),
            (Kind::Duplicate, 2),
        ],
        // Replicas that forget an expired key at different moments differ until an anti-entropy
        // round.
        expiring_percent: 0,
        calm_until: 2_000_000,
        repair: Repair::Hints,
        ..Scenario::BASE
    },
    Scenario {
        name: "survivors",
        about: "a node dies amid its writes, and only clocks make those that are left equal",
        nodes: THREE,
        // What was acknowledged is on the disk of the one that dies.
        sync: SyncPolicy::Always,
        levels: &[((Level::One, Level::One), 3), ((Level::Quorum, Level::Quorum), 1)],
        clients: 4,
        operations: 1_000,
        families: &[(Family::Register, 1), (Family::Counter, 2), (Family::Set, 2)],
        // So many that few are read again, and repaired by that.
        keys: 40,
        expiring_percent: 0,
        faults: &[(Kind::Falter, 1)],
        faults_max: 1,
        fault_gap: 800_000,
        // Every node has had an anti-entropy round with every other one.
        calm_until: 12_000_000,
        repair: Repair::Clocks,
        ..Scenario::BASE
    },
    Scenario {
        name: "overflow",
        about: "hints overflow while nodes are away, and anti-entropy rounds settle the rest",
        nodes: THREE,
        faults: &[(Kind::Kill, 3), (Kind::Partition, 3)],
        hint_bytes_max: 2_048,
        ..Scenario::BASE
    },
    Scenario {
        name: "ledger",
        about: "targets that are up refuse what their hints hold, few and not for long: ledgers tell",
        nodes: THREE,
        expiring_percent: 0,
        period: 60_000_000,
        operations: 700,
        faults: &[
            (Kind::SyncsFail, 6),
            (Kind::Kill, 1),
            (Kind::PowerOff, 1),
            (Kind::Partition, 1),
            (Kind::Slow, 1),
            (Kind::Lossy, 1),
            (Kind::Reset, 1),
        ],
        excused: Excused { writes_at_one: true, ..Excused::NOTHING },
        fault_gap: 9_000_000,
        fault_stretch: 6,
        faults_max: 8,
        hint_bytes_max: 2_048,
        hints_bytes_max: 3_072,
        hint_window_ms: 3_000,
        ledger: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "hint-age",
        about: "hints are kept for a second and a half, three shards a node: ledgers tell",
        nodes: TWO_AND_ONE,
        shards: 3,
        expiring_percent: 0,
        period: 60_000_000,
        operations: 700,
        faults: &[(Kind::SyncsFail, 4), (Kind::Kill, 2), (Kind::Partition, 2), (Kind::Cut, 2)],
        excused: Excused { writes_at_one: true, ..Excused::NOTHING },
        fault_gap: 8_000_000,
        fault_stretch: 6,
        faults_max: 8,
        hint_window_ms: 1_500,
        ledger: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "forming",
        about: "the cluster forms and is sealed while links and processes fail",
        nodes: THREE,
        forms: true,
        levels: QUORUMS,
        operations: 150,
        period: 40_000_000,
        faults: &[
            (Kind::Kill, 3),
            (Kind::Cut, 2),
            (Kind::Partition, 2),
            (Kind::Reset, 3),
            (Kind::Slow, 2),
            (Kind::Pause, 2),
        ],
        faults_max: 10,
        ..Scenario::BASE
    },
    Scenario {
        name: "large",
        about: "hashes, sets and counters that are compared by elements, many of them in tiny messages",
        nodes: THREE,
        levels: LARGE_LEVELS,
        families: &[(Family::Hash, 4), (Family::Set, 2), (Family::Counter, 1)],
        keys: 2,
        members: 40,
        clients: 4,
        operations: 800,
        delay: (1_000, 40_000),
        element_limits: TINY_MESSAGES,
        hint_bytes_max: 2_048,
        ..Scenario::BASE
    },
    Scenario {
        name: "large-hot",
        about: "one hash compared by elements, slow links, everybody at once: repair before the answer",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Hash, 1)],
        keys: 1,
        members: 4,
        clients: 5,
        period: 8_000_000,
        delay: (1_000, 60_000),
        faults: &[(Kind::Kill, 1), (Kind::Cut, 1), (Kind::Slow, 4), (Kind::Reset, 2)],
        element_limits: TINY_MESSAGES,
        ..Scenario::BASE
    },
    Scenario {
        name: "large-wipe",
        about: "large hashes and sets while one node loses all of its data",
        nodes: THREE,
        levels: QUORUMS,
        families: &[(Family::Hash, 2), (Family::Set, 2)],
        keys: 2,
        members: 30,
        faults: &[(Kind::Wipe, 2), (Kind::Partition, 2), (Kind::Cut, 1), (Kind::Slow, 1)],
        faults_max: 6,
        element_limits: TINY_MESSAGES,
        ..Scenario::BASE
    },
    Scenario {
        name: "background",
        about: "reads answer before they repair: they see what was acknowledged, in any order",
        nodes: THREE,
        levels: LARGE_LEVELS,
        clients: 4,
        delay: (1_000, 40_000),
        read_repair: ReadRepair::Background,
        element_limits: TINY_MESSAGES,
        excused: Excused { backwards: true, ..Excused::NOTHING },
        ..Scenario::BASE
    },
    Scenario {
        name: "processes",
        about: "what can be done to real processes: see --processes",
        nodes: THREE,
        clients: 4,
        operations: 3_000,
        faults: &[
            (Kind::Kill, 3),
            (Kind::Pause, 2),
            (Kind::Cut, 2),
            (Kind::Partition, 2),
            (Kind::Reset, 2),
            (Kind::Slow, 1),
        ],
        ..Scenario::BASE
    },
    Scenario {
        name: "killed",
        about: "one node, synced every second, killed again and again: what it has answered is there",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        sync: SyncPolicy::EverySecond,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::List, 1), (Family::Set, 1)],
        clients: 6,
        expiring_percent: 0,
        linearizable: true,
        faults: &[(Kind::Kill, 4), (Kind::Pause, 1)],
        ..Scenario::BASE
    },
    Scenario {
        name: "alone",
        about: "one node, sync always, killed and without power: linearizable and durable",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        sync: SyncPolicy::Always,
        levels: QUORUMS,
        families: &[(Family::Register, 3), (Family::List, 1), (Family::Set, 1)],
        clients: 6,
        expiring_percent: 0,
        linearizable: true,
        faults: &[(Kind::Kill, 2), (Kind::PowerOff, 2), (Kind::Pause, 1), (Kind::SlowDisk, 1)],
        ..Scenario::BASE
    },
];
