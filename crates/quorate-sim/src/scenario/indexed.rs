//! Hashes that are indexed.

use super::*;

/// Hashes, some of which expire.
const HASHES: &[(Family, u32)] =
    &[(Family::Hash, 3), (Family::TimedHash, 1), (Family::Register, 1)];

pub(super) const INDEXED: &[Scenario] = &[
    Scenario {
        name: "indexed",
        about: "indexes come and go while hashes are written, expire and are repaired, and links and processes \
                fail: each says what a scan of its documents finds",
        families: HASHES,
        shards: 2,
        indexed: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "indexed-alone",
        about: "one node, killed again and again, whose store answers later: indexes are there again",
        nodes: &[("dc1", "r1")],
        replication_factor: 1,
        levels: QUORUMS,
        families: HASHES,
        faults: &[(Kind::Kill, 4), (Kind::Pause, 1)],
        store_delay_us: 3_000,
        indexed: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "indexed-long",
        about: "large hashes are written beside their shards, and are indexed when that shows; indexes are \
                lent to questions meanwhile",
        nodes: THREE,
        levels: LARGE_LEVELS,
        families: &[(Family::Hash, 1)],
        keys: 30,
        members: 16,
        long_call: 8,
        indexed: true,
        ..Scenario::BASE
    },
    Scenario {
        name: "indexed-moving",
        about: "hashes are indexed while their slots go from member to member of five",
        nodes: FIVE,
        levels: QUORUMS,
        families: HASHES,
        operations: 1_500,
        period: 60_000_000,
        clients: 2,
        fault_gap: 4_000_000,
        fault_stretch: 2,
        faults_max: 12,
        moves: 6,
        indexed: true,
        ..Scenario::BASE
    },
];
