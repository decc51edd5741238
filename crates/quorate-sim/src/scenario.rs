//! Scenarios: a cluster, a workload, what goes wrong, and what is promised even so.
//!
//! A new one is a few lines: take [`Scenario::BASE`] and change what matters.

mod documents;
mod indexed;
mod late;
mod long;
mod losses;
mod moving;
mod pieces;
mod repairs;
mod workloads;

use quorate_cluster::elements::Limits;
use quorate_node::config::{
    PartitionerKind, ReadRepair, RingSettings, SyncPolicy, TokenList, Tokens,
};
use quorate_proto::{Level, ReplicationFactor, frame::PieceSizes};

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
    /// Other numbers of them, for each datacentre by its name.
    pub by_datacentre: &'static [(&'static str, u16)],
    /// The tokens of each node, of a cluster with a ring; none without one.
    pub tokens: &'static [&'static [u32]],
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
    /// What stores take to answer, at most, in microseconds; nothing where it is zero.
    pub store_delay_us: u32,
    /// What a command takes, in microseconds; nothing where it is zero. A node does nothing else
    /// meanwhile.
    pub command_us: u64,
    /// Commands that a greedy client sends at once, again and again; there is none where it is zero.
    /// Then no operation may wait for longer than a few turns.
    pub greedy: usize,
    /// Pairs of `SET` and `GET` of a key of its own that a client sends at once, again and again; there
    /// is none where it is zero. What it reads must be what it has written right before.
    pub pipelined: usize,
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
    /// Whether no two increments may be answered alike: one datacentre in which no node seems to be away
    /// that is not.
    pub unique: bool,
    /// Whether every operation must be acknowledged that begins after the calm, whatever fails.
    pub available: bool,
    /// Microseconds within which every operation at a local level must be answered that begins after
    /// the calm, whatever lies between the datacentres; any where it is zero.
    pub local_within: u64,
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
    /// Words and elements from which on a call is executed beside its shard.
    pub long_call: usize,
    /// How large messages are cut on links.
    pub pieces: PieceSizes,
    /// Members of each set, and fields of each hash.
    pub members: u64,
    /// How often slots are to go to other members: they are taken from one, spread over all again,
    /// or get another number of replicas.
    pub moves: u32,
    /// Whether indexes are made and removed all the while. In the end every node knows of the same,
    /// and each says what a naive scan of its documents finds.
    pub indexed: bool,
    /// How many of the nodes form the cluster; the others wait to be taken in. All where it is zero.
    pub founding: usize,
    /// Orders that operators give at most; none of them comes where it is zero.
    pub orders: u32,
    /// Mean time between two of them.
    pub order_gap: u64,
    /// Whether operators lose members for good, and remove them.
    pub gives_up: bool,
    /// Nodes that come without data, to have a vote. Operators let only these come and go.
    pub witnesses: &'static [usize],
    /// Of a hundred decisions, how many are known to one node only when all others are killed, and that
    /// one is cut off.
    pub strikes_percent: u32,
    /// Whether a majority of the voters is lost for good now and then, and overruled.
    pub overrules: bool,
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
    /// All of these are refused as long as something fails: what a read does not repair stays as it
    /// is.
    Reads,
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
/// Two nodes in each of two datacentres.
const TWO_AND_TWO: &[(&str, &str)] = &[("dc1", "r1"), ("dc1", "r2"), ("dc2", "r1"), ("dc2", "r2")];
/// Three nodes in each of two datacentres.
const THREE_AND_THREE: &[(&str, &str)] =
    &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3"), ("dc2", "r1"), ("dc2", "r2"), ("dc2", "r3")];
/// More nodes than replicas, in two datacentres.
const FOUR_AND_THREE: &[(&str, &str)] = &[
    ("dc1", "r1"),
    ("dc1", "r2"),
    ("dc1", "r3"),
    ("dc1", "r4"),
    ("dc2", "r1"),
    ("dc2", "r2"),
    ("dc2", "r3"),
];
/// More nodes than replicas.
const FIVE: &[(&str, &str)] =
    &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3"), ("dc1", "r4"), ("dc1", "r5")];
/// Two nodes in each of two racks, and one in a third.
const TWO_TWO_ONE: &[(&str, &str)] =
    &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3"), ("dc1", "r1"), ("dc1", "r2")];
/// Three nodes in one datacentre, so that a majority of five voters could be there, two in another one, and
/// two in a third place.
const WITNESSED: &[(&str, &str)] = &[
    ("dc1", "r1"),
    ("dc1", "r2"),
    ("dc1", "r3"),
    ("dc2", "r1"),
    ("dc2", "r2"),
    ("third", "r1"),
    ("third", "r2"),
];
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

/// What one datacentre can do alone.
const LOCAL: &[((Level, Level), u32)] = &[
    ((Level::LocalQuorum, Level::LocalQuorum), 3),
    ((Level::LocalOne, Level::LocalQuorum), 1),
    ((Level::LocalOne, Level::LocalOne), 1),
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
        by_datacentre: &[],
        tokens: &[],
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
        store_delay_us: 0,
        command_us: 0,
        greedy: 0,
        pipelined: 0,
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
        unique: false,
        available: false,
        local_within: 0,
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
        long_call: usize::MAX,
        pieces: PieceSizes::DEFAULT,
        members: 8,
        moves: 0,
        indexed: false,
        founding: 0,
        orders: 0,
        order_gap: 4_000_000,
        gives_up: false,
        witnesses: &[],
        strikes_percent: 0,
        overrules: false,
    };

    /// Replicas in each datacentre, as they are configured.
    pub fn factor(&self) -> ReplicationFactor {
        let each = self.by_datacentre.iter().map(|(name, factor)| ((*name).into(), *factor));
        ReplicationFactor::by_datacentre(each).unwrap_or(self.replication_factor.into())
    }

    /// The ring, and what `node` has of it.
    pub fn ring(&self, node: usize) -> RingSettings {
        let Some(tokens) = self.tokens.get(node) else { return RingSettings::default() };
        RingSettings {
            kind: PartitionerKind::Ring,
            tokens: Tokens::Given(TokenList(tokens.to_vec())),
            cuts: TokenList(self.tokens.concat()),
            ..RingSettings::default()
        }
    }

    /// How many of the nodes form the cluster.
    pub fn founders(&self) -> usize {
        if self.founding == 0 { self.nodes.len() } else { self.founding }
    }

    /// The scenario of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        all().chain(moving::BEYOND).find(|scenario| scenario.name == name)
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
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    let first = [workloads::WORKLOADS, losses::LOSSES, repairs::REPAIRS];
    let more = [
        late::LATE,
        long::LONG,
        documents::DOCUMENTS,
        moving::MOVING,
        indexed::INDEXED,
        pieces::PIECES,
    ];
    let all = first.into_iter().chain(more);
    all.flatten()
}
