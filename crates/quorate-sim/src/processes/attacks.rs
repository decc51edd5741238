//! Attacks on real processes: each does one kind of thing, again and again, while clients work.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quorate_proto::Level;

use super::{node::Setup, pressure::Pressure};
use crate::{
    action::Family,
    fault::Kind,
    scenario::{Excused, Scenario},
};

/// A history of attacks.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The cluster, the clients, and what goes wrong.
    pub scenario: Scenario,
    needs: Needs,
    /// Clients that ask for too much, instead of faults.
    pub(super) pressure: Option<Pressure>,
}

/// What a machine must offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// File systems of their own for the data, which only root may mount.
    SmallDisks,
    /// libfaketime.
    FakeClocks,
    /// Copies of the data from before each start.
    Copies,
}

impl Attack {
    const fn new(scenario: Scenario) -> Self {
        Self { scenario, needs: Needs::Nothing, pressure: None }
    }

    const fn needing(needs: Needs, scenario: Scenario) -> Self {
        Self { scenario, needs, pressure: None }
    }

    const fn pressing(pressure: Pressure, scenario: Scenario) -> Self {
        Self { scenario, needs: Needs::Nothing, pressure: Some(pressure) }
    }

    /// The attack of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|attack| attack.scenario.name == name)
    }

    /// How nodes are to be set up for it.
    ///
    /// # Errors
    /// What this machine lacks.
    pub(super) fn setup(&self) -> Result<Setup, &'static str> {
        match self.needs {
            Needs::Nothing => Ok(Setup::default()),
            Needs::Copies => Ok(Setup { copies: true, ..Setup::default() }),
            Needs::SmallDisks if rustix::process::geteuid().is_root() => {
                Ok(Setup { small_disk: true, ..Setup::default() })
            }
            Needs::SmallDisks => Err("only root may mount the small disks that it fills"),
            Needs::FakeClocks => match fake_clock() {
                Some(library) => Ok(Setup { fake_clock: Some(library), ..Setup::default() }),
                None => Err("libfaketime is not installed"),
            },
        }
    }
}

/// Where distributions put the library.
fn fake_clock() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let folders = folders.chain([Path::new("/usr/local/lib").into(), Path::new("/usr/lib").into()]);
    let library = |folder: PathBuf| folder.join("faketime/libfaketime.so.1");
    folders.map(library).find(|path| path.exists())
}

const THREE: &[(&str, &str)] = &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3")];
const ONE: &[(&str, &str)] = &[("dc1", "r1")];
const TWO_DATACENTRES: &[(&str, &str)] =
    &[("dc1", "r1"), ("dc1", "r2"), ("dc1", "r3"), ("dc2", "r1"), ("dc2", "r2"), ("dc2", "r3")];

const QUORUMS: &[((Level, Level), u32)] = &[((Level::Quorum, Level::Quorum), 1)];

const FAMILIES: &[(Family, u32)] = &[
    (Family::Register, 4),
    (Family::Counter, 3),
    (Family::Set, 3),
    (Family::Hash, 2),
    (Family::SortedSet, 2),
    (Family::TimedSet, 1),
    (Family::TimedHash, 1),
    (Family::TimedCounter, 1),
    (Family::TimedSortedSet, 1),
];

const BASE: Scenario = Scenario {
    nodes: THREE,
    clients: 4,
    operations: 3_000,
    period: 12_000_000,
    families: FAMILIES,
    fault_gap: 1_000_000,
    ..Scenario::BASE
};

/// Nothing fails, and a few clients do what the checkers judge.
const PRESSED: Scenario =
    Scenario { clients: 1, operations: 300, levels: QUORUMS, faults: &[], faults_max: 0, ..BASE };

const GREEDY: Scenario = Scenario {
    name: "greedy",
    about: "clients pipeline small commands and GETs of 100 KB without an end; others are timed",
    ..PRESSED
};

const SLOW_READERS: Scenario = Scenario {
    name: "slow-readers",
    about: "clients ask for long values and read them slowly, or not at all; others are timed",
    ..PRESSED
};

const WIDE_READERS: Scenario = Scenario {
    name: "wide-readers",
    about: "clients ask for very many keys and read slowly, send commands that never end, and a million \
            GETs of which they read nothing; others are timed",
    ..PRESSED
};

const SLOW_HASHES: Scenario = Scenario {
    name: "slow-hashes",
    about: "twenty clients ask for a hash of a million fields and read slowly; others are timed",
    ..PRESSED
};

const PIPELINES: Scenario = Scenario {
    name: "pipelines",
    about: "pipelines touch one key again and again, and are compared with one that sets many keys",
    ..PRESSED
};

const LONG_COMMANDS: Scenario = Scenario {
    name: "long-commands",
    about: "commands on very many words, elements or bytes, four at once; others are timed",
    ..PRESSED
};

/// Run by name only: they take long, or what they promise does not hold on every machine.
const BY_NAME: [&str; 2] = ["large-commands", "stuck"];

/// The attacks that are run when none is named.
pub fn usual() -> Vec<&'static Attack> {
    ALL.iter().filter(|attack| !BY_NAME.contains(&attack.scenario.name)).collect()
}

/// Every attack.
pub const ALL: &[Attack] = &[
    Attack::new(Scenario {
        name: "kills",
        about: "processes are killed and started again",
        faults: &[(Kind::Kill, 1)],
        ..BASE
    }),
    Attack::new(Scenario {
        name: "stops",
        about: "processes stand still and go on",
        faults: &[(Kind::Pause, 3), (Kind::Kill, 1)],
        ..BASE
    }),
    Attack::new(Scenario {
        name: "cuts",
        about: "nodes are cut off from each other, connections break and are slow",
        faults: &[(Kind::Partition, 3), (Kind::Reset, 2), (Kind::Slow, 2)],
        ..BASE
    }),
    Attack::new(Scenario {
        name: "one-way-cuts",
        about: "one node does not hear another one, which hears it",
        faults: &[(Kind::Cut, 1)],
        ..BASE
    }),
    Attack::new(Scenario {
        name: "wipes",
        about: "a node loses its data, or its whole directory, and is filled by the others",
        levels: QUORUMS,
        faults: &[(Kind::Wipe, 1), (Kind::WipeAll, 2), (Kind::Partition, 1), (Kind::Slow, 1)],
        faults_max: 6,
        ..BASE
    }),
    Attack::needing(
        Needs::Copies,
        Scenario {
            name: "copies",
            about: "an old copy of a data directory is put back, and fenced once somebody can tell",
            levels: QUORUMS,
            faults: &[(Kind::PutBack, 2), (Kind::Kill, 4), (Kind::Partition, 1)],
            faults_max: 8,
            // Until it meets somebody who has met a later start, nobody knows that it lacks
            // anything.
            excused: Excused { stale_reads: true, writes_at_one: true, backwards: true },
            ..BASE
        },
    ),
    Attack::new(Scenario {
        name: "datacentres",
        about: "two datacentres of three are cut off from each other, and processes are killed",
        nodes: TWO_DATACENTRES,
        clients: 2,
        faults: &[(Kind::DatacentreCut, 3), (Kind::Kill, 2), (Kind::Cut, 1), (Kind::Reset, 1)],
        ..BASE
    }),
    Attack::new(Scenario {
        name: "descriptors",
        about: "a process has hardly a descriptor left, and idle clients ask for more",
        faults: &[(Kind::Descriptors, 3), (Kind::Reset, 1)],
        excused: Excused::NOTHING,
        ..BASE
    }),
    Attack::needing(
        Needs::SmallDisks,
        Scenario {
            name: "full-disks",
            about: "a disk has no room for another segment, and has room again",
            levels: QUORUMS,
            faults: &[(Kind::DiskFull, 3), (Kind::Reset, 1)],
            ..BASE
        },
    ),
    Attack::needing(
        Needs::FakeClocks,
        Scenario {
            name: "clocks",
            about: "wall clocks jump by minutes while processes are killed and cut off",
            levels: QUORUMS,
            // Who is right is open while two nodes contradict each other: then expired keys may
            // show.
            expiring_percent: 0,
            families: &[
                (Family::Register, 4),
                (Family::Counter, 3),
                (Family::Set, 3),
                (Family::Hash, 2),
            ],
            faults: &[(Kind::Skew, 3), (Kind::Kill, 1), (Kind::Cut, 1)],
            skew_max_ms: 600_000,
            faults_max: 8,
            ..BASE
        },
    ),
    Attack::new(Scenario {
        name: "everything",
        about: "processes are killed, stopped, cut off and slowed down, and one loses everything",
        levels: QUORUMS,
        faults: &[
            (Kind::Kill, 4),
            (Kind::Pause, 3),
            (Kind::Cut, 3),
            (Kind::Partition, 3),
            (Kind::Reset, 2),
            (Kind::Slow, 2),
            (Kind::WipeAll, 1),
            (Kind::Descriptors, 1),
        ],
        ..BASE
    }),
    Attack::pressing(
        Pressure::Greedy,
        Scenario { name: "greedy-one", nodes: ONE, replication_factor: 1, ..GREEDY },
    ),
    Attack::pressing(Pressure::Greedy, GREEDY),
    Attack::pressing(
        Pressure::SlowReaders,
        Scenario { name: "slow-readers-one", nodes: ONE, replication_factor: 1, ..SLOW_READERS },
    ),
    Attack::pressing(Pressure::SlowReaders, SLOW_READERS),
    Attack::pressing(
        Pressure::WideReaders,
        Scenario { name: "wide-readers-one", nodes: ONE, replication_factor: 1, ..WIDE_READERS },
    ),
    Attack::pressing(Pressure::WideReaders, WIDE_READERS),
    Attack::pressing(
        Pressure::SlowHashes,
        Scenario { name: "slow-hashes-one", nodes: ONE, replication_factor: 1, ..SLOW_HASHES },
    ),
    Attack::pressing(Pressure::SlowHashes, SLOW_HASHES),
    Attack::pressing(
        Pressure::Pipelines,
        Scenario { name: "pipelines-one", nodes: ONE, replication_factor: 1, ..PIPELINES },
    ),
    Attack::pressing(Pressure::Pipelines, PIPELINES),
    Attack::pressing(
        Pressure::RollingRestarts,
        Scenario {
            name: "rolling-restarts",
            about: "every node is stopped by SIGTERM and started again, ten times, while clients work",
            ..PRESSED
        },
    ),
    Attack::pressing(
        Pressure::Stuck,
        Scenario {
            name: "stuck",
            about: "nodes stand still, are not heard, and are killed, while clients of the others are timed",
            ..PRESSED
        },
    ),
    Attack::pressing(
        Pressure::LongCommands,
        Scenario { name: "long-commands-one", nodes: ONE, replication_factor: 1, ..LONG_COMMANDS },
    ),
    Attack::pressing(Pressure::LongCommands, LONG_COMMANDS),
    Attack::pressing(
        Pressure::LargeCommands,
        Scenario {
            name: "large-commands",
            about: "values of up to 500 MB and commands on 500,000 keys, one and four at once, in rounds; others are timed",
            ..PRESSED
        },
    ),
    Attack::pressing(
        Pressure::RepairStorm,
        Scenario {
            name: "repair-storm",
            about: "a replica lacks a third of a large hash that sixty clients read; others are timed",
            ..PRESSED
        },
    ),
];
