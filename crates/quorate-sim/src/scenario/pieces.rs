//! Messages between nodes that are cut to pieces, as large ones are: here nearly all that write are.

use super::{late::QUICK_AND_HOT, *};

/// A write is three pieces or more, and two of them are on their way at a time.
const TINY_PIECES: PieceSizes = PieceSizes { large: 30, piece: 20, window: 40 };

pub(super) const PIECES: &[Scenario] = &[
    Scenario {
        name: "pieces",
        about: "messages between nodes are cut to pieces, every family and level, links and processes fail",
        pieces: TINY_PIECES,
        ..Scenario::BASE
    },
    Scenario {
        name: "pieces-hot",
        about: "messages between nodes are cut to pieces, two registers, everybody at once, links break: \
                linearizable",
        pieces: TINY_PIECES,
        ..QUICK_AND_HOT
    },
    Scenario {
        name: "pieces-large",
        about: "messages between nodes are cut to pieces, large hashes and sets are compared by elements, and \
                only reads repair",
        nodes: THREE,
        levels: LARGE_LEVELS,
        families: &[(Family::Hash, 2), (Family::Set, 1), (Family::SortedSet, 1)],
        keys: 2,
        members: 40,
        repair: Repair::Reads,
        element_limits: TINY_MESSAGES,
        pieces: PieceSizes { large: 60, piece: 50, window: 100 },
        ..Scenario::BASE
    },
];
